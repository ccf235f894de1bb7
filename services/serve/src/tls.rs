//! Certificates that are followed while a process runs: new files are taken up, and what is wrong with them is told.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vigil_base::error::chain;
use vigil_trust::{Keeper, Refresh};

use crate::health::HealthBoard;

/// Between two looks at the files: as long as for a change of models. Three files of some kilobytes are read, and a list of
/// at most a megabyte.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The component's name on the health board.
const COMPONENT: &str = "certificate";

/// Follows the files of `keeper` until `shutdown`.
pub async fn follow(keeper: Arc<Keeper>, board: HealthBoard, shutdown: CancellationToken) {
    let mut refusal: Option<String> = None;
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    while shutdown.run_until_cancelled(ticks.tick()).await.is_some() {
        let looking = Arc::clone(&keeper);
        let Ok(found) = tokio::task::spawn_blocking(move || looking.refresh()).await else { return };
        match found {
            Refresh::Same => {}
            Refresh::Taken => {
                refusal = None;
                tracing::info!(certificate = %keeper.files().certificate.display(), "new certificates are in use");
            }
            Refresh::Refused(error) => {
                let text =
                    format!("the new certificates are not taken, and the old ones stay in use: {}", chain(&error));
                if refusal.as_ref() != Some(&text) {
                    tracing::error!("{text}");
                }
                refusal = Some(text);
            }
            // On the board by the keeper, for as long as it lasts.
            Refresh::OldLists(error) => {
                refusal = None;
                let error = chain(&error);
                tracing::error!(%error, "the new list of what was revoked is not taken, and the one before stays in force");
            }
        }
        match refusal.clone().or_else(|| keeper.problem()) {
            Some(problem) => board.report(COMPONENT, problem, false),
            None => board.clear(COMPONENT),
        }
    }
}
