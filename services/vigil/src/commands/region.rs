//! `vigil region`: serve a region, or look after its index while it does not run.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use vigil_region::RegionConfig;
use vigil_region::index::IndexError;
use vigil_region::index::sqlite::ReindexedSlice;

use super::region_policy::{self, PolicyArgs};
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
    /// Build anew what is derived from the events, while the region does not run: their columns, counts, indexes, and the list of
    /// slices where region.db was lost. Tells what was put right; a damaged slice is left alone: exit status 1.
    Reindex,
    /// Look at a policy file, without a region.
    Policy(PolicyArgs),
}

/// Serves until SIGTERM or an interrupt, or does what is asked.
pub async fn run(args: RegionArgs) -> anyhow::Result<ExitCode> {
    if let Some(Action::Policy(policy)) = args.action {
        return region_policy::run(&policy);
    }
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
        // Dealt with above: it needs no configuration.
        Some(Action::Policy(_)) => Ok(ExitCode::SUCCESS),
        Some(Action::Reindex) => {
            let config = RegionConfig::load(&file)?;
            tokio::task::spawn_blocking(move || reindex(&config)).await?
        }
    }
}

fn reindex(config: &RegionConfig) -> anyhow::Result<ExitCode> {
    let mut is_whole = true;
    let mut tell = |slice: ReindexedSlice| {
        is_whole &= slice.outcome.is_ok();
        // Nobody to tell it to ends the work between two slices.
        output::line(in_words(&slice)).map_err(|_| IndexError::Cancelled)
    };
    if !vigil_region::reindex(config, &mut tell)? {
        output::line("appearances are derived anew when the region starts")?;
        anyhow::bail!("the index of this region is in PostgreSQL, whose own REINDEX does the rest");
    }
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn in_words(slice: &ReindexedSlice) -> String {
    let name = &slice.name;
    let done = match &slice.outcome {
        Ok(done) => done,
        Err(problem) => return format!("{name}: LEFT ALONE: {problem}"),
    };
    let corrected = if done.corrected > 0 { format!(", {} of them put right", done.corrected) } else { String::new() };
    let counts = if done.counts_differed { ", counts put right" } else { "" };
    let taken_back = if done.taken_back { ", taken back into the index" } else { "" };
    format!("{name}: {} events{corrected}{counts}{taken_back}", done.events)
}
