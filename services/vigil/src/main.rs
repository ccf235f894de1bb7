//! The one binary and its command line.
//!
//! Each command is a file below [`commands`]. Exit status: 0 done, 1 failed, 2 wrong use or configuration, 3 answered in
//! part (some region did not answer).
#![allow(clippy::print_stderr)] // A command line speaks on standard error.
#![allow(clippy::needless_pass_by_value)] // A command owns its arguments.

mod client;
mod commands;
#[cfg(feature = "edge")]
mod detection_log;
#[cfg(feature = "edge")]
mod detector;
mod event_json;
mod exit;
mod filter_args;
#[cfg(feature = "edge")]
mod ground;
mod heat;
#[cfg(feature = "edge")]
mod live;
mod output;
mod paths;
mod place;
#[cfg(feature = "edge")]
mod plates;
#[cfg(feature = "edge")]
mod progress;
#[cfg(feature = "edge")]
mod rules_trial;
mod session;
mod signals;
mod watched;
mod when;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Video analytics for safe cities: cameras become events, regions keep them, a gateway answers for all regions.
#[derive(Debug, Parser)]
#[command(name = "vigil", version, propagate_version = true, max_term_width = 110)]
#[command(after_help = "Exit status: 0 done; 1 failed; 2 wrong use or configuration; 3 answered in part.
Logs go to standard error; VIGIL_LOG sets what is logged, for example VIGIL_LOG=info,vigil_camera=debug.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(all(feature = "edge", feature = "region", feature = "gateway"))]
    Demo(commands::demo::DemoArgs),
    /// Read cameras, detect and track, and ship events to the region.
    #[cfg(feature = "edge")]
    Edge(commands::serve::ServeArgs),
    /// Keep a region's events and answer for it.
    #[cfg(feature = "region")]
    Region(commands::region::RegionArgs),
    /// Answer questions over all regions at once.
    #[cfg(feature = "gateway")]
    Gateway(commands::serve::ServeArgs),
    Query(commands::query::QueryArgs),
    Journeys(commands::journeys::JourneysArgs),
    Path(commands::path::PathArgs),
    Presence(commands::presence::PresenceArgs),
    Look(commands::look::LookArgs),
    Subscribe(commands::subscribe::SubscribeArgs),
    Cameras(commands::cameras::CamerasArgs),
    Status(commands::status::StatusArgs),
    Coverage(commands::coverage::CoverageArgs),
    Audit(commands::audit::AuditArgs),
    Issuer(commands::issuer::IssuerArgs),
    SignIn(commands::sign_in::SignInArgs),
    SignOut(commands::sign_in::SignOutArgs),
    Whoami(commands::sign_in::WhoamiArgs),
    #[cfg(feature = "edge")]
    Analyze(commands::analyze::AnalyzeArgs),
    Track(commands::track::TrackArgs),
    #[cfg(feature = "edge")]
    Camsim(commands::camsim::CamsimArgs),
    Config(commands::config::ConfigArgs),
    Pki(commands::pki::PkiArgs),
    #[cfg(feature = "edge")]
    Model(commands::model::ModelArgs),
    #[cfg(feature = "edge")]
    Doctor(commands::doctor::DoctorArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vigil: {}", vigil_serve::error::chain(error.as_ref()));
            exit::code_of(&error)
        }
    }
}

fn dispatch(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        #[cfg(all(feature = "edge", feature = "region", feature = "gateway"))]
        Command::Demo(args) => server(logged(commands::demo::run(args))),
        #[cfg(feature = "edge")]
        Command::Edge(args) => server(commands::serve::edge(args)),
        #[cfg(feature = "region")]
        Command::Region(args) => server(commands::region::run(args)),
        #[cfg(feature = "gateway")]
        Command::Gateway(args) => server(commands::serve::gateway(args)),
        Command::Query(args) => client(commands::query::run(args)),
        Command::Journeys(args) => client(commands::journeys::run(args)),
        Command::Path(args) => client(commands::path::run(args)),
        Command::Presence(args) => client(commands::presence::run(args)),
        Command::Look(args) => client(commands::look::run(args)),
        Command::Subscribe(args) => client(commands::subscribe::run(args)),
        Command::Cameras(args) => client(commands::cameras::run(args)),
        Command::Status(args) => client(commands::status::run(args)),
        Command::Coverage(args) => client(commands::coverage::run(args)),
        Command::Audit(args) => client(commands::audit::run(args)),
        Command::Issuer(args) => server(logged(commands::issuer::run(args))),
        Command::SignIn(args) => client(commands::sign_in::sign_in(args)),
        Command::SignOut(args) => commands::sign_in::sign_out(args),
        Command::Whoami(args) => client(commands::sign_in::whoami(args)),
        #[cfg(feature = "edge")]
        Command::Analyze(args) => {
            // A camera's fault ends the command, and is its error.
            log("warn,vigil_camera=error");
            commands::analyze::run(args)
        }
        Command::Track(args) => commands::track::run(args),
        #[cfg(feature = "edge")]
        Command::Camsim(args) => server(logged(commands::camsim::run(args))),
        Command::Config(args) => commands::config::run(args),
        Command::Pki(args) => commands::pki::run(args),
        #[cfg(feature = "edge")]
        Command::Model(args) => commands::model::run(args),
        #[cfg(feature = "edge")]
        Command::Doctor(args) => {
            // What is wrong stands in its table.
            log("error");
            commands::doctor::run(args)
        }
    }
}

/// Runs a serving command on all cores.
fn server(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}

/// Runs a client command: one thread is enough for it.
fn client(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(logged(command))
}

/// People who typed a command see what is wrong, not what goes well.
async fn logged(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    log("warn");
    command.await
}

fn log(level: &str) {
    vigil_serve::logs::init(vigil_serve::logs::LogFormat::Text, Some(level));
}
