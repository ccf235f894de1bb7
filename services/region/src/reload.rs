//! The configuration, read again while the region runs: another policy needs no restart.
//!
//! All of it is read and checked first, the policy too; a configuration that is wrong anywhere changes nothing. Questions under way end
//! with the policy they began with; live streams follow the new one from the next event on.

use std::path::Path;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use vigil_policy::Policy;
use vigil_serve::config::ConfigError;
use vigil_serve::error::chain;
use vigil_serve::reload::{self, Reloads};

use crate::config::RegionConfig;
use crate::context::Context;
use crate::guard::load_policy;

/// A configuration is not taken over.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{} cannot change while the region runs: restart it", keys.join(", "))]
    Fixed { keys: Vec<&'static str> },
    #[error("the file was not read: the task that reads it was stopped")]
    Stopped,
}

/// Serves requests until `shutdown`.
pub(crate) async fn serve(
    mut reloads: Reloads,
    running: RegionConfig,
    context: Arc<Context>,
    shutdown: CancellationToken,
) {
    while let Some(Some(())) = shutdown.run_until_cancelled(reloads.requests.recv()).await {
        match take_over(&reloads.file, &running).await {
            Ok(policy) => {
                let told = policy.as_ref().map_or_else(
                    || "there is no policy: whoever may ask is given everything".to_owned(),
                    |policy| format!("policy {} with {} rules", policy.version(), policy.rules()),
                );
                context.guard.set_policy(policy);
                reload::taken_over(&context.board, told);
            }
            Err(refusal) => reload::refused(&context.board, &reload::nothing_changed("region", &chain(&refusal))),
        }
    }
    // Nobody asks any more, which is no reason to end.
    shutdown.cancelled().await;
}

async fn take_over(file: &Path, running: &RegionConfig) -> Result<Option<Arc<Policy>>, Refusal> {
    let file = file.to_owned();
    let read = move || {
        let config = RegionConfig::load(&file)?;
        let policy = config.policy.as_deref().map(load_policy).transpose()?;
        Ok::<_, ConfigError>((config, policy))
    };
    let (next, policy) = tokio::task::spawn_blocking(read).await.map_err(|_| Refusal::Stopped)??;
    let keys = fixed(running, &next);
    if keys.is_empty() { Ok(policy) } else { Err(Refusal::Fixed { keys }) }
}

/// Keys that differ although they cannot change.
fn fixed(running: &RegionConfig, next: &RegionConfig) -> Vec<&'static str> {
    let keys = [
        ("region_id", running.region_id == next.region_id),
        ("display_name", running.display_name == next.display_name),
        ("listen", running.listen == next.listen),
        ("ops_listen", running.ops_listen == next.ops_listen),
        ("data_dir", running.data_dir == next.data_dir),
        ("index", running.index == next.index),
        ("retention", running.retention == next.retention),
        ("audit_dir", running.audit_dir == next.audit_dir),
        ("access", running.access == next.access),
        ("slice", running.slice == next.slice),
        ("tls", running.tls == next.tls),
        ("enrolment", running.enrolment == next.enrolment),
        ("limits", running.limits == next.limits),
    ];
    keys.into_iter().filter(|(_, same)| !same).map(|(key, _)| key).collect()
}
