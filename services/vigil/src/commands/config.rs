//! `vigil config check`: what is wrong with a configuration file, without starting anything.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};

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
            format!("edge {} of region {}, {} cameras", config.edge, config.region, config.cameras.len())
        }
        #[cfg(feature = "region")]
        Role::Region => format!("region {}", vigil_region::RegionConfig::load(&file)?.region_id),
        #[cfg(feature = "gateway")]
        Role::Gateway => format!("gateway over {} regions", vigil_gateway::GatewayConfig::load(&file)?.regions.len()),
    };
    output::line(format!("{}: good: {summary}", file.display()))?;
    Ok(ExitCode::SUCCESS)
}
