//! The configuration, read again while the edge runs.
//!
//! All of it is read and checked first; a configuration that is wrong anywhere changes nothing. Then the cameras become
//! what it says, each by itself.

use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vigil_runtime::StartError;
use vigil_serve::HealthBoard;
use vigil_serve::config::ConfigError;
use vigil_serve::error::chain;
use vigil_serve::reload::{self, Reloads};

use crate::cameras::{CameraUnfit, Cameras, Changes};
use crate::config::{self, EdgeConfig};
use crate::model::ModelError;

/// A configuration is not taken over.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{} cannot change while the edge runs: restart it", keys.join(", "))]
    Fixed { keys: Vec<&'static str> },
    #[error("the cameras do not fit the model")]
    Camera(#[from] CameraUnfit),
    #[error("the plate models, which cameras with plates = true need, cannot be used")]
    Plates(#[from] ModelError),
    #[error("the cameras are as configured but for one")]
    Start(#[from] StartError),
}

/// Serves requests until `shutdown`. What is under way then is handed back, to be waited for: the last events of a camera
/// that is taken out may not have reached the outbox.
pub(crate) async fn serve(
    mut reloads: Reloads,
    running: EdgeConfig,
    cameras: Arc<Cameras>,
    board: HealthBoard,
    shutdown: CancellationToken,
) -> Option<JoinHandle<()>> {
    let running = Arc::new(running);
    while let Some(Some(())) = shutdown.run_until_cancelled(reloads.requests.recv()).await {
        let (file, running, cameras, board) = (reloads.file.clone(), running.clone(), cameras.clone(), board.clone());
        let mut work = tokio::task::spawn_blocking(move || {
            tell(take_over(&file, &running, &cameras), &board);
        });
        if shutdown.run_until_cancelled(&mut work).await.is_none() {
            return Some(work);
        }
    }
    // Nobody asks any more, which is no reason to end.
    shutdown.cancelled().await;
    None
}

fn take_over(file: &std::path::Path, running: &EdgeConfig, cameras: &Cameras) -> Result<Changes, Refusal> {
    let next = config::load(file)?;
    let keys = fixed(running, &next);
    if !keys.is_empty() {
        return Err(Refusal::Fixed { keys });
    }
    cameras.check(&next)?;
    cameras.prepare_plates(&next)?;
    Ok(cameras.change(&next)?)
}

/// Keys that differ although they cannot change.
fn fixed(running: &EdgeConfig, next: &EdgeConfig) -> Vec<&'static str> {
    let keys = [
        ("edge_id", running.edge == next.edge),
        ("region_id", running.region == next.region),
        ("region_address", running.region_address == next.region_address),
        ("data_dir", running.data_dir == next.data_dir),
        ("listen", running.listen == next.listen),
        ("ops_listen", running.ops_listen == next.ops_listen),
        ("tls", running.tls == next.tls),
        ("log", running.log == next.log),
        ("model", running.model == next.model),
        ("plates", running.plates == next.plates),
        ("outbox", running.outbox_max_bytes == next.outbox_max_bytes),
    ];
    keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}

fn tell(outcome: Result<Changes, Refusal>, board: &HealthBoard) {
    match outcome {
        Ok(changes) => reload::taken_over(board, changes),
        Err(refusal @ Refusal::Start(_)) => reload::refused(board, &chain(&refusal)),
        Err(refusal) => reload::refused(board, &reload::nothing_changed("edge", &chain(&refusal))),
    }
}
