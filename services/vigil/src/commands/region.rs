//! `vigil region`: serve a region, or look after its index while it does not run.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use vigil_base::{Clock, SystemClock, Timestamp};
use vigil_region::RegionConfig;
use vigil_region::export::ExportRequest;
use vigil_region::index::IndexError;
use vigil_region::index::sqlite::ReindexedSlice;
use vigil_serve::Access;

use super::region_policy::{self, PolicyArgs};
use super::serve;
use crate::{exit, output, when};

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
    /// Write the index as Parquet files, a folder for each UTC day, which `DuckDB`, Spark and pandas read; the region may be running.
    /// Goes into an audit log of its own, in the region's. Ends with status 3 when a part of the index could not be read.
    Export(ExportArgs),
}

/// What to export.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil region export --config region.toml --out /data/export
  vigil region export --config region.toml --out /data/may --from 2026-05-01T00:00:00Z --until 2026-06-01T00:00:00Z
  duckdb -c \"SELECT class, count(*) FROM '/data/export/*/*.parquet' GROUP BY 1\"")]
struct ExportArgs {
    /// The folder for the files.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Events that began at or after this time; all when absent.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Events that began before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Plates, too: personal data.
    #[arg(long)]
    with_plates: bool,
    /// Why; goes into the audit log.
    #[arg(long, env = "VIGIL_PURPOSE", value_name = "TEXT")]
    purpose: Option<String>,
    /// The case it is for.
    #[arg(long, env = "VIGIL_CASE", value_name = "NUMBER")]
    case: Option<String>,
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
        Some(Action::Export(args)) => export(&RegionConfig::load(&file)?, args).await,
    }
}

async fn export(config: &RegionConfig, args: ExportArgs) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    let time = |text: Option<&String>, default| text.map_or(Ok(default), |text| when::parse(text, now));
    let from = time(args.from.as_ref(), Timestamp::MIN).context("--from").map_err(exit::wrong_use)?;
    let until = time(args.until.as_ref(), Timestamp::MAX).context("--until").map_err(exit::wrong_use)?;
    let access = Access { purpose: args.purpose, case: args.case, on_behalf_of: None };
    let request = ExportRequest { out: args.out.clone(), time: from..until, with_plates: args.with_plates, access };
    let done = vigil_region::export::export(config, request).await?;
    output::line(format!("{} events in {} files in {}", done.events, done.files, args.out.display()))?;
    for problem in &done.missing {
        output::line(format!("MISSING: {problem}"))?;
    }
    Ok(if done.missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(exit::PARTIAL) })
}

fn reindex(config: &RegionConfig) -> anyhow::Result<ExitCode> {
    let (mut is_whole, mut slices) = (true, 0);
    let mut tell = |slice: ReindexedSlice| {
        is_whole &= slice.outcome.is_ok();
        slices += 1;
        // Nobody to tell it to ends the work between two slices.
        output::line(in_words(&slice)).map_err(|_| IndexError::Cancelled)
    };
    if !vigil_region::reindex(config, &mut tell)? {
        output::line("appearances are derived anew when the region starts")?;
        anyhow::bail!("the index of this region is in PostgreSQL, whose own REINDEX does the rest");
    }
    if slices == 0 {
        output::line(format!("the index of region {} is empty: there is nothing to build anew", config.region_id))?;
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
