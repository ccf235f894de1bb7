//! `vigil issuer`: a small issuer for demonstrations, on this machine alone.

use std::io::{BufRead, stdin};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use vigil_issuer::{Issuer, SigningAlgorithm, UsersFile};
use vigil_serve::config::{ConfigError, load};

use crate::{exit, output, signals};

/// Serve a small issuer for demonstrations and tests: on the loopback address alone, keys and sessions in memory. For
/// work, use a real one: docs/sign-in.md.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil issuer hash                      # asks for a password, prints what goes into users.toml
  vigil issuer --config users.toml
  vigil sign-in --issuer http://127.0.0.1:7300")]
pub struct IssuerArgs {
    /// Who may sign in (TOML).
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read a password from standard input and print its hash.
    Hash,
}

/// Serves until SIGTERM or an interrupt, or hashes a password.
pub async fn run(args: IssuerArgs) -> anyhow::Result<ExitCode> {
    if let Some(Action::Hash) = args.action {
        return hash();
    }
    let missing = || exit::wrong_use(anyhow::anyhow!("--config FILE is missing; vigil issuer --help shows the use"));
    let path = args.config.ok_or_else(missing)?;
    let file: UsersFile = load(&path)?;
    if let Some((key, problem)) = file.problem() {
        return Err(ConfigError::invalid(&path, key, problem).into());
    }
    let issuer = Issuer::start_with(file, SigningAlgorithm::Es256).await?;
    output::line(format!("issuer at {}, for demonstrations alone", issuer.url()))?;
    signals::shutdown().cancelled().await;
    issuer.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn hash() -> anyhow::Result<ExitCode> {
    eprintln!("password, and return:");
    let mut line = String::new();
    stdin().lock().read_line(&mut line).context("no password came")?;
    let password = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!password.is_empty(), "no password came");
    output::line(
        vigil_issuer::users::hash(password).map_err(|error| anyhow::anyhow!("it cannot be hashed: {error}"))?,
    )?;
    Ok(ExitCode::SUCCESS)
}
