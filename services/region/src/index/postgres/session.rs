//! What the writer holds while it may write: its connection with the lock of the schema, and one beside it that looks things up
//! and notes what stands by itself.
//!
//! The lock is a session-level advisory lock of the very connection that writes: with the connection the lock is gone, and
//! without it nothing can be written, so two processes never write to one schema.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use vigil_base::Timestamp;

use super::apply::MAKE_STAGING;
use super::connect::Connection;
use super::days;
use super::failure::{Failure, index_error};
use super::schema::{self, Opened, Upgrade};
use super::{PostgresConfig, Shared, starts};
use crate::index::{IndexError, Lineage, Result};

/// How long the lock is waited for: a region that was killed has it until its server notices.
const LOCK_PATIENCE: &str = "3s";
/// What a transaction may take beyond its longest statement; then the server hangs, and its connection is given up.
pub(super) const GRACE: Duration = Duration::from_secs(5);

/// Acknowledged means durable, also where a server's default is not. What is stronger (a standby that must have applied it) stays.
const DURABLE: &str =
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";

/// Of the connection beside the one that writes. What is noted over it is followed by a commit of the other, whose sync takes in
/// all of the log before it.
const NOT_BY_ITSELF: &str = "SET synchronous_commit = off";

/// Both connections.
#[derive(Debug)]
pub(super) struct Session {
    /// Holds the lock.
    pub(super) writing: Arc<Connection>,
    /// Looks up what is stored while the other writes, and notes plates.
    pub(super) finding: Arc<Connection>,
}

impl Session {
    /// Takes the lock, and notes that a writer goes on from here.
    pub(super) async fn begin(
        config: &PostgresConfig,
        shared: &Shared,
        upgrade: Upgrade,
        now: Timestamp,
    ) -> Result<(Self, Opened, Lineage)> {
        let (writing, opened) = begin_writing(config, shared, upgrade, now).await?;
        let finding = shared.server.connect().await?;
        check_same(&finding, &config.schema).await?;
        let set = finding.client().batch_execute(NOT_BY_ITSELF).await;
        set.map_err(|e| index_error(shared.server.name(), "open", e))?;
        let started = starts::begin(&writing, opened.latest).await;
        let lineage = started.map_err(|e| index_error(shared.server.name(), "open", e))?;
        Ok((Self { writing, finding: Arc::new(finding) }, opened, lineage))
    }

    /// Returns when one of the connections has ended.
    pub(super) async fn lost(&self) {
        tokio::select! {
            () = self.writing.lost().cancelled() => {}
            () = self.finding.lost().cancelled() => {}
        }
    }

    /// Gives the lock back before the connection goes, so that whoever opens the index next need not wait for the server to
    /// notice.
    pub(super) async fn give_back(self) {
        let unlocked = self.writing.client().batch_execute("SELECT pg_advisory_unlock_all()");
        let _ = timeout(GRACE, unlocked).await;
    }
}

/// A connection that holds the writer's lock over a schema of this program's version.
pub(super) async fn begin_writing(
    config: &PostgresConfig,
    shared: &Shared,
    upgrade: Upgrade,
    now: Timestamp,
) -> Result<(Arc<Connection>, Opened)> {
    let index = shared.server.name();
    let connection = shared.server.connect().await?;
    take_lock(&connection, &config.schema).await?;
    let opened = schema::open(&connection, &config.schema, &config.region, upgrade).await;
    let opened = opened.map_err(|failure| failure.told(index, "open"))?;
    let prepared = async {
        connection.client().batch_execute(DURABLE).await?;
        connection.client().batch_execute(MAKE_STAGING).await?;
        shared.load(&connection).await?;
        make_days(&connection, shared, now).await
    };
    prepared.await.map_err(|e| index_error(index, "open", e))?;
    Ok((Arc::new(connection), opened))
}

/// Waits a little for the lock of the schema.
///
/// # Errors
/// [`IndexError::Taken`] when another process keeps it.
async fn take_lock(connection: &Connection, schema: &str) -> Result<()> {
    let index = connection.index_name();
    let locked = async {
        let client = connection.client();
        client.execute("SELECT set_config('lock_timeout', $1, false)", &[&LOCK_PATIENCE]).await?;
        client.execute("SELECT pg_advisory_lock(hashtextextended('vigil-region ' || $1, 0))", &[&schema]).await?;
        client.batch_execute("SET lock_timeout = 0").await
    };
    locked.await.map_err(|error| match index_error(index, "lock", error) {
        IndexError::Busy => IndexError::Taken { index: index.to_owned() },
        other => other,
    })
}

/// A second connection must lead to the server where the lock is held: an address may name several.
async fn check_same(connection: &Connection, schema: &str) -> Result<()> {
    let index = connection.index_name();
    let sql = "SELECT pg_try_advisory_lock(hashtextextended('vigil-region ' || $1, 0))";
    let row = connection.client().query_one(sql, &[&schema]).await.map_err(|e| index_error(index, "open", e))?;
    if !row.get::<_, bool>(0) {
        return Ok(());
    }
    let problem =
        "index.url leads to several servers that can be written; add target_session_attrs=read-write, or name one";
    Err(IndexError::Unreachable { index: index.to_owned(), source: Arc::new(std::io::Error::other(problem)) })
}

/// Makes the days to come, in a transaction of its own.
pub(super) async fn make_days(
    connection: &Connection,
    shared: &Shared,
    now: Timestamp,
) -> std::result::Result<(), tokio_postgres::Error> {
    let missing = shared.days.missing([], now);
    if missing.is_empty() {
        return Ok(());
    }
    connection.client().batch_execute("BEGIN").await?;
    for day in &missing {
        if let Err(error) = days::make(connection, *day).await {
            // The error that matters is the first.
            let _ = connection.client().batch_execute("ROLLBACK").await;
            return Err(error);
        }
    }
    connection.client().batch_execute("COMMIT").await?;
    shared.days.made(&missing);
    Ok(())
}

/// The end of something that the server does; none when the server hangs.
pub(super) async fn within<T>(
    statement_timeout: Duration,
    work: impl Future<Output = std::result::Result<T, Failure>>,
) -> std::result::Result<T, Option<Failure>> {
    match timeout(statement_timeout + GRACE, work).await {
        Ok(done) => done.map_err(Some),
        Err(_) => Err(None),
    }
}

/// The database cannot be reached.
pub(super) fn unreachable(shared: &Shared, why: &str) -> IndexError {
    let source = Arc::new(std::io::Error::other(why.to_owned()));
    IndexError::Unreachable { index: shared.server.name().to_string(), source }
}
