//! A replica: a process that answers questions from the region's tables, or from a standby's copy of them, and changes nothing.
//!
//! It takes no edges, so what it knows of them is what the region has written down: each edge about once a minute, after the events that
//! it had sent until then. Whoever reads an edge's `complete_until` in a copy of the tables so has all events before it in that copy,
//! however far behind the copy is; that is what a replica vouches for, and no more.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vigil_base::Timestamp;

use crate::context::Context;
use crate::edges::{Freshness, SAVE_EVERY};
use crate::index::{EdgeRecord, Result};

/// How often edges and cameras are read again.
const READ_EVERY: Duration = Duration::from_secs(5);
/// An edge that was not written down for this long is not connected: twice the time between.
const AWAY_AFTER: Duration = Duration::from_secs(2 * SAVE_EVERY.as_secs());

/// Reads edges and cameras again and again until `shutdown`.
pub(crate) async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(READ_EVERY);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        match shutdown.run_until_cancelled(read_again(&context)).await {
            Some(Ok(())) => context.index_works(),
            Some(Err(error)) => context.index_failed(&error),
            None => return,
        }
    }
}

async fn read_again(context: &Context) -> Result<()> {
    context.guard.renew_roster().await?;
    context.edges.read_again().await
}

/// Whether the region has written nothing of an edge for so long that it cannot be connected.
pub(crate) fn is_away(edge: &EdgeRecord, now: Timestamp) -> bool {
    now.since(edge.last_seen) > AWAY_AFTER
}

/// What the copy holds, of the edges that were connected as of the newest that it tells of them; and how many have been silent for
/// too long by now: all, where the region is down or its copy is no longer kept up.
pub(crate) fn freshness(edges: &[&EdgeRecord], now: Timestamp) -> Freshness {
    let newest = edges.iter().map(|edge| edge.last_seen).max().unwrap_or(now);
    let connected = || edges.iter().filter(|edge| !is_away(edge, newest));
    let untold = connected().any(|edge| edge.complete_until.is_none());
    let away = edges.iter().filter(|edge| is_away(edge, now)).count();
    Freshness {
        complete_until: connected().filter_map(|edge| edge.complete_until).min().filter(|_| !untold),
        edges_offline: u32::try_from(away).unwrap_or(u32::MAX),
    }
}

#[cfg(test)]
mod tests {
    use vigil_base::EdgeId;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    fn edge(id: &str, last_seen: i64, complete_until: Option<i64>) -> EdgeRecord {
        EdgeRecord {
            id: EdgeId::new(id).unwrap(),
            instance: String::new(),
            software_version: String::new(),
            last_seen: at(last_seen),
            complete_until: complete_until.map(at),
        }
    }

    #[test]
    fn a_replica_vouches_for_what_was_written_down_of_the_connected_edges() {
        let (a, b, gone) = (edge("a", 1_000, Some(990)), edge("b", 950, Some(940)), edge("gone", 500, Some(499)));
        let told = |edges: &[&EdgeRecord], now| {
            let Freshness { complete_until, edges_offline } = freshness(edges, at(now));
            (complete_until, edges_offline)
        };
        assert_eq!(told(&[&a, &b, &gone], 1_010), (Some(at(940)), 1));
        assert_eq!(told(&[&a, &b, &gone], 9_999), (Some(at(940)), 3), "the region went: what was held is held");
        let untold = edge("c", 1_000, None);
        assert_eq!(told(&[&a, &untold], 1_010), (None, 0));
        assert_eq!(told(&[], 1_010), (None, 0));
    }
}
