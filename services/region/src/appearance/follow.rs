//! From the index's feed into the files: what is committed is followed at once, and made durable every [`CHECKPOINT_EVERY`].

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vigil_base::{Event, EventId, Timestamp};
use vigil_proto::convert::event_from_wire;
use vigil_serve::error::chain;

use super::store::AppearanceStore;
use crate::context::Context;
use crate::index::{CommitSeq, IndexError, Result};

/// Commits that are taken in at a time: some milliseconds of work.
const PAGE: usize = 1_024;
/// How often what was followed is made durable. A crash costs so much reading of the feed, and nothing else.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// When it is tried again after a failure.
const RETRY: Duration = Duration::from_secs(5);
/// The appearances on the health board.
const APPEARANCES: &str = "appearances";

/// Follows the feed until `shutdown`, and makes durable what was followed.
pub(crate) async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let mut latest = context.guard.latest();
    let mut lineage = context.guard.lineage();
    let mut durable = None;
    let mut checked_at = context.clock.monotonic();
    while !shutdown.is_cancelled() {
        let newest = *latest.borrow_and_update();
        let current = context.guard.lineage();
        if !Arc::ptr_eq(&lineage, &current) {
            context.appearances.stand_in(&current, newest);
            lineage = current;
        }
        match shutdown.run_until_cancelled(catch_up(&context, newest)).await {
            None => break,
            Some(Ok(())) => context.board.clear(APPEARANCES),
            Some(Err(error)) => {
                context.board.report(APPEARANCES, format!("cannot follow the index: {}", chain(&error)), false);
                shutdown.run_until_cancelled(tokio::time::sleep(RETRY)).await;
                continue;
            }
        }
        let followed = *context.appearances.followed().borrow();
        let now = context.clock.monotonic();
        if durable != Some(followed) && now.saturating_sub(checked_at) >= CHECKPOINT_EVERY {
            durable = checkpoint(&context).await.then_some(followed);
            checked_at = now;
        }
        // Woken by time, too: what came last is not left undurable for as long as nothing else comes.
        let waiting = tokio::time::timeout(CHECKPOINT_EVERY, latest.changed());
        if let Some(Ok(Err(_))) = shutdown.run_until_cancelled(waiting).await {
            break;
        }
    }
    checkpoint(&context).await;
}

/// Takes in all commits up to `newest`.
async fn catch_up(context: &Context, newest: CommitSeq) -> Result<()> {
    loop {
        let after = *context.appearances.followed().borrow();
        if after >= newest {
            return Ok(());
        }
        let page = context.guard.unguarded().read(after, Arc::default(), PAGE).await?;
        let through = if page.through > after { page.through } else { newest };
        let with_looks = page.items.into_iter().filter(|item| item.event.appearance.is_some());
        // What is in the index was checked when it came; what a later version refuses has no appearance for this one.
        let events: Vec<Event> = with_looks.filter_map(|item| event_from_wire(item.event).ok()).collect();
        let now = context.clock.now();
        blocking(context, move |store| store.apply(&events, through, now)).await?;
    }
}

async fn checkpoint(context: &Context) -> bool {
    match blocking(context, AppearanceStore::checkpoint).await {
        Ok(()) => true,
        Err(error) => {
            context.board.report(APPEARANCES, chain(&error), false);
            false
        }
    }
}

/// Removes what began before `older_than`, and what is no longer in the index.
pub(crate) async fn purge(context: &Context, older_than: Timestamp) -> Result<()> {
    blocking(context, move |store| store.purge(older_than)).await?;
    let strays = blocking(context, AppearanceStore::strays).await?;
    for stray in strays {
        let id: Option<EventId> = uuid::Uuid::from_bytes(stray.id).to_string().parse().ok();
        let is_there = match id {
            Some(id) => context.guard.unguarded().event(id).await?.is_some(),
            None => false,
        };
        if !is_there {
            blocking(context, move |_| stray.remove()).await?;
        }
    }
    Ok(())
}

/// Files are read and written off the async runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    context: &Context,
    act: impl FnOnce(&AppearanceStore) -> Result<T> + Send + 'static,
) -> Result<T> {
    let store = Arc::clone(&context.appearances);
    context.threads.run(move || act(&store)).await.unwrap_or(Err(IndexError::Closed))
}
