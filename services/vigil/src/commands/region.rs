//! `vigil region`: serve a region, or look after its index while it does not run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use vigil_region::RegionConfig;

use super::serve;
use crate::{exit, output};

/// What a region is told.
#[derive(Debug, Args)]
pub struct RegionArgs {
    /// Configuration file (TOML); `vigil config check` explains what is wrong with one.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Bring the index's tables to this program's version, while the region does not run; make them where there are none.
    Migrate,
}

/// Serves until SIGTERM or an interrupt, or does what is asked.
pub async fn run(args: RegionArgs) -> anyhow::Result<ExitCode> {
    let missing = || exit::wrong_use(anyhow::anyhow!("--config FILE is missing; vigil region --help shows the use"));
    let file = args.config.ok_or_else(missing)?;
    match args.action {
        None => serve::region(&file).await,
        Some(Action::Migrate) => {
            let config = RegionConfig::load(&file)?;
            let region = config.region_id.clone();
            tokio::task::spawn_blocking(move || vigil_region::migrate(&config)).await??;
            output::line(format!("the index of region {region} is of this program's version"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
