//! Retention: slices of events and minutes of coverage older than the configured time are removed, every hour, in small steps
//! between the commits.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::appearance;
use crate::context::Context;
use crate::index::IndexError;

/// How often old events are looked for.
const EVERY: Duration = Duration::from_hours(1);
/// When it is tried again after a failure.
const RETRY: Duration = Duration::from_mins(1);

/// Keeps retention until `shutdown`; begins at once, since a region may have been off for days.
pub(crate) async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let removing = shutdown.run_until_cancelled(run_once(&context));
        match removing.await {
            Some(Ok(events)) => context.telemetry.purge_ended(events),
            Some(Err(error)) => {
                context.telemetry.purge_failed(&error);
                ticks.reset_after(RETRY);
            }
            None => return,
        }
    }
}

/// Removes all that is too old now; returns how many events.
async fn run_once(context: &Context) -> Result<u64, IndexError> {
    let older_than = context.clock.now() - context.retention;
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
