//! The coverage ledger: what became of each camera in each minute, told to the region, and kept while it is away.
//!
//! ```text
//! cameras --every second--> Recorder --every minute--> Journal --> outbox of its own --> region (ship)
//!                                                         |
//!                                                         +--> the last hour, in memory --> CoverageService, metrics
//! ```
//!
//! A minute whose report cannot be kept (the disk is full) is lost and later shown as unknown: the ledger never says that
//! something was watched which it cannot vouch for. A kill loses the minute under way, at most.

mod journal;
mod recorder;
mod service;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vigil_base::SharedClock;

pub(crate) use journal::Journal;
use recorder::Recorder;
pub(crate) use recorder::Sample;
pub(crate) use service::CoverageLog;

/// How often counts are taken: so much of a minute may be told with its neighbour.
const TICK: Duration = Duration::from_secs(1);

/// Records what `samples` tells of the cameras each time it is called, until `shutdown`, and then what there is of the last minute.
pub(crate) async fn run(
    samples: impl Fn() -> Vec<Sample> + Send,
    journal: Arc<Journal>,
    clock: SharedClock,
    shutdown: CancellationToken,
) {
    let mut recorder = Recorder::new(clock.now(), clock.monotonic());
    loop {
        // At whole seconds, so that a minute's last tick falls on its end.
        let now = clock.now();
        let wait = (now.round_down(TICK) + TICK).since(now);
        let go_on = shutdown.run_until_cancelled(tokio::time::sleep(wait)).await.is_some();
        let mut reports = recorder.tick(clock.now(), clock.monotonic(), samples());
        if !go_on {
            reports.extend(recorder.finish());
        }
        if !reports.is_empty() {
            let journal = journal.clone();
            if tokio::task::spawn_blocking(move || journal.keep(reports)).await.is_err() {
                tracing::error!("keeping the coverage of a minute panicked");
            }
        }
        if !go_on {
            return;
        }
    }
}
