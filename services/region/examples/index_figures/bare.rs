//! What the least index that could answer anything costs: one table, keyed by the event, and the payload; written in batches of
//! the same size, each durable.

use std::path::Path;
use std::time::Instant;

use futures::pin_mut;
use rusqlite::{Connection, params};
use tokio_postgres::NoTls;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::types::Type;
use uuid::Uuid;
use vigil_base::Timestamp;
use vigil_region::index::NewRevision;

/// Events a second of prepared inserts into a file of SQLite.
pub fn insert(path: &Path, batches: &[Vec<NewRevision>]) -> f64 {
    let mut connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA cache_size = -65536;
             CREATE TABLE events (camera TEXT, begin_us INTEGER, event_id BLOB, revision INTEGER, end_us INTEGER,
                class TEXT, edge TEXT, confidence REAL, latitude REAL, longitude REAL, plate TEXT, payload BLOB,
                PRIMARY KEY (camera, begin_us, event_id))",
        )
        .unwrap();
    // The payload is not public: any bytes of its size do.
    let payloads: Vec<Vec<u8>> = batches.iter().flatten().map(|revision| vec![7; revision.len()]).collect();
    let mut payloads = payloads.iter();
    let started = Instant::now();
    for batch in batches {
        let transaction = connection.transaction().unwrap();
        for revision in batch {
            let event = revision.event();
            let sql = "INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
            let row = params![
                event.camera.as_str(),
                event.begin_time.as_micros(),
                event.id.as_bytes(),
                event.revision,
                event.end_time.as_micros(),
                &*event.object_class,
                event.edge.as_str(),
                event.confidence,
                event.location.map(|at| at.latitude),
                event.location.map(|at| at.longitude),
                event.plate.as_ref().map(|plate| &plate.text),
                payloads.next().unwrap(),
            ];
            transaction.prepare_cached(sql).unwrap().execute(row).unwrap();
        }
        transaction.commit().unwrap();
    }
    batches.iter().map(Vec::len).sum::<usize>() as f64 / started.elapsed().as_secs_f64()
}

/// Runs statements, each in a transaction of its own.
pub async fn run(url: &str, statements: &[&str]) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    for statement in statements {
        client.batch_execute(statement).await.unwrap();
    }
    drop(client);
    connection.await.unwrap().unwrap();
}

/// Events a second of binary COPY into a new table of PostgreSQL.
pub async fn copy(url: &str, table: &str, batches: &[Vec<NewRevision>]) -> f64 {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client
        .batch_execute(&format!(
            "CREATE TABLE {table} (camera text, begin_us int8, event_id uuid, revision int8, end_us int8, class text, edge text,
                 confidence float4, latitude float8, longitude float8, plate text, payload bytea,
                 PRIMARY KEY (camera, begin_us, event_id))",
        ))
        .await
        .unwrap();
    let copy = client.prepare(&format!("COPY {table} FROM STDIN (FORMAT binary)")).await.unwrap();
    let types = [
        Type::TEXT,
        Type::INT8,
        Type::UUID,
        Type::INT8,
        Type::INT8,
        Type::TEXT,
        Type::TEXT,
        Type::FLOAT4,
        Type::FLOAT8,
        Type::FLOAT8,
        Type::TEXT,
        Type::BYTEA,
    ];
    let payloads: Vec<Vec<u8>> = batches.iter().flatten().map(|revision| vec![7; revision.len()]).collect();
    let mut payloads = payloads.iter();
    let micros = Timestamp::as_micros;
    let started = Instant::now();
    for batch in batches {
        let writer = BinaryCopyInWriter::new(client.copy_in(&copy).await.unwrap(), &types);
        pin_mut!(writer);
        for revision in batch {
            let event = revision.event();
            let row: [&(dyn tokio_postgres::types::ToSql + Sync); 12] = [
                &event.camera.as_str(),
                &micros(event.begin_time),
                &Uuid::from_bytes(*event.id.as_bytes()),
                &i64::from(event.revision),
                &micros(event.end_time),
                &&*event.object_class,
                &event.edge.as_str(),
                &event.confidence,
                &event.location.map(|at| at.latitude),
                &event.location.map(|at| at.longitude),
                &event.plate.as_ref().map(|plate| plate.text.as_str()),
                payloads.next().unwrap(),
            ];
            writer.as_mut().write(&row).await.unwrap();
        }
        writer.finish().await.unwrap();
    }
    let rate = batches.iter().map(Vec::len).sum::<usize>() as f64 / started.elapsed().as_secs_f64();
    drop(client);
    connection.await.unwrap().unwrap();
    rate
}
