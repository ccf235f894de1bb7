//! All events of a time, read beside the region that may be running: over a connection of its own, within one snapshot.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::mpsc;
use vigil_base::Timestamp;
use vigil_proto::v1;

use super::failure::Failure;
use super::rows::Found;
use super::{OwnRuntime, PostgresConfig, Shared, schema};
use crate::index::{IndexError, Result};

/// Events that are given at a time.
const CHUNK: usize = 1_000;
/// Chunks between the server and whoever takes them.
const WAITING: usize = 2;

/// Gives all events that begin within a time, in time order. Blocks.
///
/// # Errors
/// The server cannot be reached, the schema is another region's or of another version; those of `give`.
pub fn scan(
    config: &PostgresConfig,
    time: &Range<Timestamp>,
    give: &mut dyn FnMut(Vec<v1::Event>) -> Result<()>,
) -> Result<()> {
    let shared = Shared::new(config)?;
    let runtime = OwnRuntime::start()?;
    let (chunks, mut taken) = mpsc::channel(WAITING);
    let (config, time) = (config.clone(), time.clone());
    let reading = runtime.handle().spawn(async move { read(&config, &shared, time, chunks).await });
    while let Some(chunk) = taken.blocking_recv() {
        give(chunk)?;
    }
    runtime.wait_for(async move { reading.await.unwrap_or(Err(IndexError::Closed)) })
}

async fn read(
    config: &PostgresConfig,
    shared: &Arc<Shared>,
    time: Range<Timestamp>,
    chunks: mpsc::Sender<Vec<v1::Event>>,
) -> Result<()> {
    let connection = shared.server.connect().await?;
    let reading = async {
        let _ = schema::check(&connection, &config.region).await?;
        let client = connection.client();
        let begin = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
             DECLARE all_events NO SCROLL CURSOR FOR SELECT {} FROM events
             WHERE begin_time >= '{}' AND begin_time < '{}' ORDER BY begin_time, event_id",
            Found::columns("true"),
            time.start,
            time.end
        );
        client.batch_execute(&begin).await?;
        let fetch = client.prepare(&format!("FETCH {CHUNK} FROM all_events")).await?;
        loop {
            let rows = client.query(&fetch, &[]).await?;
            let events = rows.iter().map(|row| Found::read(row).event(connection.index_name()));
            let events: Vec<v1::Event> =
                events.collect::<std::result::Result<Vec<_>, Failure>>()?.into_iter().flatten().collect();
            // Whoever took them has gone.
            if rows.is_empty() || chunks.send(events).await.is_err() {
                return Ok(());
            }
        }
    };
    reading.await.map_err(|failure: Failure| failure.told(connection.index_name(), "read all events"))
}
