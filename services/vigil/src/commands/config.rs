//! `vigil config check`: what is wrong with a configuration file, without starting anything.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use vigil_base::SystemClock;
use vigil_trust::{Credentials, Identity, Owner, TlsFiles};

use crate::{exit, output};

/// Work with configuration files.
#[derive(Debug, Args)]
pub struct ConfigArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read a configuration file as its process would, and say what is wrong: file, line, key. Status 2 when something is.
    Check {
        /// Which process it is for; told from the file's name when it is edge.toml, region.toml or gateway.toml.
        #[arg(long, value_enum)]
        role: Option<Role>,
        /// The file.
        file: PathBuf,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Role {
    #[cfg(feature = "edge")]
    Edge,
    #[cfg(feature = "region")]
    Region,
    #[cfg(feature = "gateway")]
    Gateway,
}

/// Runs the command.
pub fn run(args: ConfigArgs) -> anyhow::Result<ExitCode> {
    let Action::Check { role, file } = args.action;
    let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let Some(role) = role.or_else(|| Role::from_str(name, true).ok()) else {
        let unnamed = format!("{}: say which process it is for: --role edge, region or gateway", file.display());
        return Err(exit::wrong_use(anyhow::anyhow!(unnamed)));
    };
    let summary = match role {
        #[cfg(feature = "edge")]
        Role::Edge => {
            let config = vigil_edge::config::load(&file)?;
            // With a token there is no certificate yet.
            let tls = config.tls.as_ref().filter(|_| config.enrol_token.is_none());
            check_tls(tls, &Owner::Exactly(Identity::Edge(config.edge.clone())))?;
            format!("edge {} of region {}, {} cameras", config.edge, config.region, config.cameras.len())
        }
        #[cfg(feature = "region")]
        Role::Region => {
            let config = vigil_region::RegionConfig::load(&file)?;
            check_tls(config.tls.as_ref(), &Owner::Exactly(Identity::Region(config.region_id.clone())))?;
            let policy = config.policy.as_deref().map(vigil_region::load_policy).transpose()?;
            let policy = policy.map_or("no policy".to_owned(), |policy| format!("policy {}", policy.version()));
            format!("region {}, {policy}", config.region_id)
        }
        #[cfg(feature = "gateway")]
        Role::Gateway => {
            let config = vigil_gateway::GatewayConfig::load(&file)?;
            check_tls(config.tls.as_ref(), &Owner::Any(vigil_trust::Role::Gateway))?;
            format!("gateway over {} regions", config.regions.len())
        }
    };
    output::line(format!("{}: good: {summary}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The certificates as the process would take them, and still good.
fn check_tls(files: Option<&TlsFiles>, owner: &Owner) -> anyhow::Result<()> {
    let Some(files) = files else { return Ok(()) };
    let checked = Credentials::load(files, owner, SystemClock::shared()).and_then(|found| found.check_time(files));
    checked.map_err(exit::wrong_use)
}
