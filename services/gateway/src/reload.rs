//! The configuration, read again while the gateway runs: another set of regions needs no restart.
//!
//! All of it is read and checked first; a configuration that is wrong anywhere changes nothing. Questions under way end
//! with the regions they began with; live streams over all regions join new ones at once.

use std::path::Path;

use tokio_util::sync::CancellationToken;
use vigil_serve::HealthBoard;
use vigil_serve::config::ConfigError;
use vigil_serve::error::chain;
use vigil_serve::reload::{self, Reloads};

use crate::config::GatewayConfig;
use crate::federation::{Changes, Federation};

/// A configuration is not taken over.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{} cannot change while the gateway runs: restart it", keys.join(", "))]
    Fixed { keys: Vec<&'static str> },
    #[error("the file was not read: the task that reads it was stopped")]
    Stopped,
}

/// Serves requests until `shutdown`.
pub(crate) async fn serve(
    mut reloads: Reloads,
    running: GatewayConfig,
    federation: &Federation,
    board: &HealthBoard,
    shutdown: &CancellationToken,
) {
    while let Some(Some(())) = shutdown.run_until_cancelled(reloads.requests.recv()).await {
        match take_over(&reloads.file, &running, federation, shutdown).await {
            Ok(changes) => reload::taken_over(board, changes),
            Err(refusal) => reload::refused(board, &reload::nothing_changed("gateway", &chain(&refusal))),
        }
    }
    // Nobody asks any more, which is no reason to end.
    shutdown.cancelled().await;
}

async fn take_over(
    file: &Path,
    running: &GatewayConfig,
    federation: &Federation,
    shutdown: &CancellationToken,
) -> Result<Changes, Refusal> {
    let file = file.to_owned();
    let next =
        tokio::task::spawn_blocking(move || GatewayConfig::load(&file)).await.map_err(|_| Refusal::Stopped)??;
    let keys = fixed(running, &next);
    if !keys.is_empty() {
        return Err(Refusal::Fixed { keys });
    }
    Ok(federation.replace(&next.regions, shutdown))
}

/// Keys that differ although they cannot change.
fn fixed(running: &GatewayConfig, next: &GatewayConfig) -> Vec<&'static str> {
    let keys = [
        ("listen", running.listen == next.listen),
        ("ops_listen", running.ops_listen == next.ops_listen),
        ("tls", running.tls == next.tls),
        ("token_key_file", running.token_key_file == next.token_key_file),
        ("audit_dir", running.audit_dir == next.audit_dir),
        ("access", running.required == next.required),
        ("default_deadline", running.default_deadline == next.default_deadline),
        ("region_share", running.region_share.to_bits() == next.region_share.to_bits()),
        ("max_concurrent_requests", running.max_concurrent_requests == next.max_concurrent_requests),
        ("max_subscriptions", running.max_subscriptions == next.max_subscriptions),
        ("subscriber_patience", running.subscriber_patience == next.subscriber_patience),
        ("max_fan_out", running.max_fan_out == next.max_fan_out),
    ];
    keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}
