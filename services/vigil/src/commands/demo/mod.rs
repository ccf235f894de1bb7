//! `vigil demo`: the whole chain on one machine, as separate processes over real RTSP and gRPC.
//!
//! [`plan`] lays out folders, ports and configurations; [`process`] starts and ends the processes; [`measure`] asks the
//! gateway and takes the times; [`report`] shows them.

mod measure;
mod plan;
mod process;
mod report;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;

use crate::{output, progress, signals};
use measure::Measurement;
use plan::Plan;
use process::Processes;

/// Simulated street cameras in two regions become events, and a question asked of both regions is answered.
///
/// Starts two regions, an edge with two cameras in each, and a gateway over both, all on this machine, and asks the
/// gateway while they run. Ends with status 0 only when both regions answered with events.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// How long the cameras run once everything is up.
    #[arg(long, default_value = "60s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Duration,
    /// Keep everything in this folder instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print one JSON object as the last line, and nothing else, on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let temporary =
        tempfile::Builder::new().prefix("vigil-demo-").tempdir().context("cannot make a temporary folder")?;
    let folder = args.data.clone().unwrap_or_else(|| temporary.path().to_owned());
    let manifest = vigil_edge::default_manifest()?;
    let shutdown = signals::shutdown();

    let simulator =
        tokio::task::block_in_place(|| progress::start_simulator(plan::cameras()?).map_err(anyhow::Error::from))
            .context("the simulated cameras")?;
    let plan = Plan::write(&folder, &manifest, &simulator)?;
    say(&args, format_args!("{} cameras over RTSP at {}", plan::CAMERAS.len(), simulator.url("")));
    let waiting = progress::spinner("starting two regions, two edges and a gateway");
    let mut processes = Processes::start(&plan).await?;
    waiting.finish_and_clear();
    say(&args, format_args!("gateway at {}, logs in {}", plan.gateway_url(), folder.display()));

    let mut measurement = Measurement::new(&plan).await?;
    let measured = tokio::select! {
        measured = measurement.run(args.duration, &shutdown, |event| {
            if !args.json {
                let _ = output::line(output::event_row(event).join("  "));
            }
        }) => measured,
        died = processes.first_death() => Err(died),
    };
    let summary = match measured {
        Ok(()) => measurement.summary().await,
        Err(error) => Err(error),
    };
    processes.stop().await;
    simulator.stop();
    let summary =
        summary.with_context(|| format!("the logs are in {}", keep(temporary, args.data.as_ref()).display()))?;
    report::show(&summary, args.json)?;
    Ok(if summary.succeeded() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Told to people only; programs read the last line.
fn say(args: &DemoArgs, text: std::fmt::Arguments<'_>) {
    if args.json {
        eprintln!("{text}");
    } else {
        let _ = output::line(text);
    }
}

/// After a failure the folder stays, so that its logs can be read.
fn keep(temporary: tempfile::TempDir, given: Option<&PathBuf>) -> PathBuf {
    given.cloned().unwrap_or_else(|| temporary.keep())
}
