//! `vigil edge`, `vigil region`, `vigil gateway`: the processes that serve until they are told to end.

#[cfg(feature = "region")]
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use vigil_serve::Reloads;
use vigil_serve::logs::{self, LogFormat};

use crate::signals;

/// What every serving process is told.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Configuration file (TOML); `vigil config check` explains what is wrong with one.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

/// Runs an edge until SIGTERM or an interrupt; SIGHUP makes it read its configuration again.
#[cfg(feature = "edge")]
pub async fn edge(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = vigil_edge::config::load(&args.config)?;
    logs::init(config.log, None);
    allow_open_files();
    let reloads = Reloads { file: args.config, requests: signals::hang_ups() };
    vigil_edge::run(config, reloads, signals::shutdown()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a region until SIGTERM or an interrupt; SIGHUP makes it read its configuration and policy again.
#[cfg(feature = "region")]
pub async fn region(file: &Path) -> anyhow::Result<ExitCode> {
    let config = vigil_region::RegionConfig::load(file)?;
    logs::init(LogFormat::Auto, None);
    allow_open_files();
    let reloads = Reloads { file: file.to_owned(), requests: signals::hang_ups() };
    vigil_region::run(config, reloads, signals::shutdown()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Runs a gateway until SIGTERM or an interrupt; SIGHUP makes it read its configuration again.
#[cfg(feature = "gateway")]
pub async fn gateway(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let config = vigil_gateway::GatewayConfig::load(&args.config)?;
    logs::init(LogFormat::Auto, None);
    allow_open_files();
    let reloads = Reloads { file: args.config, requests: signals::hang_ups() };
    vigil_gateway::run(config, reloads, signals::shutdown()).await?;
    Ok(ExitCode::SUCCESS)
}

/// Raises the soft limit on open files to the hard one: a gateway holds two connections for each region, and the usual soft
/// limit of 1,024 is there for programs that call `select`, which none of these does.
fn allow_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
}
