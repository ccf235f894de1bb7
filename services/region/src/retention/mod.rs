//! Retention: slices of events and minutes of coverage older than the configured time are removed, every hour, in small steps
//! between the commits, by a clock that others confirm ([`time`]).

mod time;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use vigil_base::Timestamp;

use crate::appearance;
use crate::context::Context;
use crate::index::IndexError;

pub(crate) use time::EdgesTime;
use time::{Believed, BelievedTime};

/// On the health board.
const RETENTION: &str = "retention";
/// How often old events are looked for.
const EVERY: Duration = Duration::from_hours(1);
/// When it is tried again after a failure, and while the clock is not believed.
const RETRY: Duration = Duration::from_mins(1);

/// How far back a region keeps what it has.
pub(crate) struct Horizon {
    keep: Duration,
    /// None until the index was first asked.
    time: Mutex<Option<BelievedTime>>,
}

impl Horizon {
    /// A region that keeps all for so long.
    pub(crate) fn new(keep: Duration) -> Self {
        Self { keep, time: Mutex::default() }
    }

    /// What began since then is kept, whatever the clock says.
    ///
    /// # Errors
    /// The index cannot be asked.
    pub(crate) async fn kept_since(&self, context: &Context) -> Result<Timestamp, IndexError> {
        Ok(self.time(context, context.edges.time()).await?.time - self.keep)
    }

    async fn time(&self, context: &Context, edges: Option<EdgesTime>) -> Result<Believed, IndexError> {
        if let Some(time) = &mut *self.time.lock() {
            return Ok(time.now(edges));
        }
        let stats = context.guard.unguarded().stats().await?;
        let mut time = self.time.lock();
        Ok(time.get_or_insert_with(|| BelievedTime::new(&context.clock, &stats)).now(edges))
    }
}

/// Keeps retention until `shutdown`; begins at once, since a region may have been off for days.
pub(crate) async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    while let Some(ran) = shutdown.run_until_cancelled(run_once(&context)).await {
        let clock = match ran {
            Ok(Run { events, clock }) => {
                context.telemetry.purge_ended(events);
                clock
            }
            Err(error) => {
                context.telemetry.purge_failed(&error);
                Trust::Doubted
            }
        };
        if shutdown.run_until_cancelled(wait(&context, clock)).await.is_none() {
            return;
        }
    }
}

/// Until the next run.
async fn wait(context: &Context, clock: Trust) {
    match clock {
        Trust::Believed => tokio::time::sleep(EVERY).await,
        Trust::Doubted => tokio::time::sleep(RETRY).await,
        Trust::Unconfirmed => {
            let _ = tokio::time::timeout(RETRY, context.edges.time_is_told()).await;
        }
    }
}

/// How far the region's clock is believed.
enum Trust {
    Believed,
    /// Nobody who would know is connected: the next edge that comes may confirm it.
    Unconfirmed,
    /// Edges contradict it.
    Doubted,
}

struct Run {
    /// How many events were removed.
    events: u64,
    clock: Trust,
}

/// Removes all that is too old now.
async fn run_once(context: &Context) -> Result<Run, IndexError> {
    let edges = context.edges.time();
    let believed = context.horizon.time(context, edges).await?;
    let clock = match (&believed.problem, edges) {
        (None, _) => Trust::Believed,
        (Some(_), None) => Trust::Unconfirmed,
        (Some(_), Some(_)) => Trust::Doubted,
    };
    match believed.problem {
        Some(problem) => context.board.report(RETENTION, problem, false),
        None => context.board.clear(RETENTION),
    }
    let events = remove(context, believed.time - context.horizon.keep).await?;
    Ok(Run { events, clock })
}

/// Removes what is older; returns how many events.
async fn remove(context: &Context, older_than: Timestamp) -> Result<u64, IndexError> {
    if context.is_replica {
        // The index is the region's to purge; here only what was derived from it is old.
        appearance::purge(context, older_than).await?;
        return Ok(0);
    }
    let mut removed = 0;
    loop {
        let events = context.guard.unguarded().purge(older_than).await?;
        context.telemetry.purged(events);
        removed += events;
        if events == 0 {
            break;
        }
    }
    appearance::purge(context, older_than).await?;
    while context.guard.unguarded().purge_coverage(older_than).await? > 0 {}
    context.edges.forget_unseen(older_than).await?;
    Ok(removed)
}
