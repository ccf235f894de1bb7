//! Reading tables that another process writes: the same server's, or a standby's in recovery.
//!
//! There is no writer and no writer's lock; nothing is made, migrated or removed. One connection looks again and again at what the
//! index says of itself: the newest commit, so that readers of the feed go on; what retention has removed; and whether these are
//! still tables that this program reads rightly. Where they are not (the region was started with a later version, or its index made
//! anew), questions are refused until they are again. A copy that is behind is not noticed here: it shows in the times that it holds.
//!
//! A standby may cancel a question that stands in the way of what it replays (PostgreSQL 15, 27.4.2, "Handling Query Conflicts");
//! whoever asked is told to ask again.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use vigil_base::RegionId;
use vigil_serve::error::chain;

use super::connect::Connection;
use super::failure::Failure;
use super::readers::Readers;
use super::runtime::OwnRuntime;
use super::schema::{self, Opened};
use super::writer::Writer;
use super::{PostgresConfig, PostgresIndex, Shared, starts};
use crate::index::tail::LiveTail;
use crate::index::{IndexError, Lineage, Result};

/// How often the index is looked at: what a reader of the feed waits at the most, beside what the copy is behind.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A server that does not answer for this long is looked for anew.
const PATIENCE: Duration = Duration::from_secs(5);

impl PostgresIndex {
    /// Opens the index for reading alone: whatever would change it is answered with [`IndexError::Replica`]. Blocks until the server
    /// has answered.
    ///
    /// # Errors
    /// [`IndexError::Unreachable`], [`IndexError::Refused`], [`IndexError::Unfit`].
    pub fn open_replica(config: &PostgresConfig) -> Result<Self> {
        let shared = Shared::new(config)?;
        let runtime = OwnRuntime::start()?;
        let opening = {
            let (shared, region) = (Arc::clone(&shared), config.region.clone());
            async move { begin(&shared, &region).await }
        };
        let (connection, opened, lineage) = runtime.wait_for(opening)?;
        let tail = Arc::new(LiveTail::new(opened.latest, opened.purged_through, lineage));
        let follower = Follower {
            shared: Arc::clone(&shared),
            region: config.region.clone(),
            connection: Some(connection),
            opened,
            tail: Arc::clone(&tail),
        };
        let following = CancellationToken::new();
        let (end, ended) = sync_channel(1);
        let until = following.clone();
        runtime.handle().spawn(async move {
            until.run_until_cancelled(follower.follow()).await;
            // Nobody may wait for it.
            let _ = end.send(());
        });
        Ok(Self {
            readers: Readers::new(Arc::clone(&shared), config.connections, runtime.handle().clone()),
            writer: Writer::of_replica(shared.server.name()),
            shared,
            tail,
            index_id: opened.index_id,
            ended: Mutex::new(Some(ended)),
            following: Some(following),
            _runtime: runtime,
        })
    }
}

async fn begin(shared: &Shared, region: &RegionId) -> Result<(Connection, Opened, Lineage)> {
    let connection = shared.server.connect().await?;
    let opening = async {
        let opened = schema::check(&connection, region).await?;
        shared.load(&connection).await?;
        Ok((opened, starts::read(&connection).await?))
    };
    let (opened, lineage) = opening.await.map_err(|failure: Failure| failure.told(shared.server.name(), "open"))?;
    Ok((connection, opened, lineage))
}

/// Looks at what the index says of itself.
struct Follower {
    shared: Arc<Shared>,
    region: RegionId,
    /// None after it was lost.
    connection: Option<Connection>,
    opened: Opened,
    tail: Arc<LiveTail>,
}

impl Follower {
    async fn follow(mut self) {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match timeout(PATIENCE, self.look()).await {
                Ok(Ok((opened, lineage))) => self.stand_at(opened, lineage),
                Ok(Err(error)) => self.fail(&error),
                Err(_) => self.connection = None,
            }
        }
    }

    /// What the index says of itself, and its starts where it has changed.
    async fn look(&mut self) -> Result<(Opened, Option<Lineage>)> {
        let Some(connection) = self.connection.as_ref().filter(|connection| !connection.lost().is_cancelled()) else {
            let (connection, opened, lineage) = begin(&self.shared, &self.region).await?;
            self.connection = Some(connection);
            return Ok((opened, Some(lineage)));
        };
        let looking = async {
            let opened = schema::check(connection, &self.region).await?;
            if opened.latest == self.opened.latest && opened.purged_through == self.opened.purged_through {
                return Ok((opened, None));
            }
            self.shared.days.load(connection).await?;
            Ok((opened, Some(starts::read(connection).await?)))
        };
        looking.await.map_err(|failure: Failure| failure.told(self.shared.server.name(), "look at the index"))
    }

    fn stand_at(&mut self, opened: Opened, lineage: Option<Lineage>) {
        if opened.index_id != self.opened.index_id {
            let problem = "it was made anew since this replica started; start the replica again".to_owned();
            return self.fail(&IndexError::Unfit { index: self.shared.server.name().to_string(), problem });
        }
        if opened.latest < self.opened.latest {
            self.shared.names.forget();
        }
        // Readers compare by the pointer.
        if let Some(lineage) = lineage.filter(|lineage| *lineage != *self.tail.lineage()) {
            self.tail.begin(lineage);
        }
        if self.shared.unfit.lock().take().is_some() {
            tracing::info!(index = %self.shared.server.name(), "the index can be read again");
        }
        self.tail.purged(opened.purged_through);
        if opened.latest != self.opened.latest {
            self.tail.restart(opened.latest);
        }
        self.opened = opened;
    }

    /// A server that is away is away for questions, too, which say so themselves.
    fn fail(&mut self, error: &IndexError) {
        tracing::debug!(error = %chain(error), "the index cannot be looked at");
        if matches!(error, IndexError::Unfit { .. }) && self.shared.unfit.lock().replace(error.clone()).is_none() {
            tracing::error!(error = %chain(error), "questions are refused until the index can be read again");
        }
    }
}
