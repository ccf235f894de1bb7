//! How large the index is and how full its disk, told to metrics, and to the health board before the disk is full.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::context::Context;

/// How often the index and its disk are looked at.
const EVERY: Duration = Duration::from_secs(30);
/// With less than this free on its disk, operators are told: hours of a busy region are left, not days.
const LOW_DISK_BYTES: u64 = 1024 * 1024 * 1024;
/// Parts of the index that cannot be read, on the health board.
const PARTS: &str = "index/slices";
/// The disk on the health board.
const DISK: &str = "disk";

/// Looks again and again until `shutdown`.
pub(crate) async fn run(context: Arc<Context>, shutdown: CancellationToken) {
    let mut ticks = tokio::time::interval(EVERY);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        // A failure shows where it matters: in the questions and commits that fail, too.
        let Ok(stats) = context.guard.unguarded().stats().await else { continue };
        let unreadable = context.guard.unreadable();
        context.telemetry.index_figures(&stats, unreadable.len());
        match unreadable.as_slice() {
            [] => context.board.clear(PARTS),
            [first, rest @ ..] => context.board.report(PARTS, and_others(&first.problem, rest.len()), false),
        }
        match low_disk(stats.disk_free_bytes) {
            Some(problem) => context.board.report(DISK, problem, false),
            None => context.board.clear(DISK),
        }
    }
}

fn and_others(problem: &str, others: usize) -> String {
    if others == 0 { problem.to_owned() } else { format!("{problem}; and {others} more") }
}

fn low_disk(free_bytes: u64) -> Option<String> {
    let free_mib = free_bytes / (1024 * 1024);
    (free_bytes < LOW_DISK_BYTES)
        .then(|| format!("{free_mib} MiB are free on the index's disk; add space or shorten retention"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_that_fills_up_is_told_before_it_is_full() {
        assert_eq!(low_disk(LOW_DISK_BYTES), None);
        assert!(low_disk(LOW_DISK_BYTES - 1).unwrap().starts_with("1023 MiB are free"));
    }
}
