//! Simulated cameras and edges that read them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use vigil_camsim::{Credentials, MountConfig, SimConfig, Simulator};

use super::{Process, free_address, vigil};

/// Where `scripts/setup` puts what it fetches and builds.
pub fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/vigil");
    std::env::var_os("VIGIL_CACHE").map_or_else(home, PathBuf::from)
}

/// A clip of `scripts/setup`.
pub fn clip(name: &str) -> PathBuf {
    let clip = cache().join("clips").join(name);
    assert!(clip.is_file(), "{} is missing: run scripts/setup", clip.display());
    clip
}

/// The product's own models.
pub fn manifest() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/manifest.toml")
}

/// The first part of the plaza clip: people walk in it from the first frame on.
pub fn plaza(name: &str) -> MountConfig {
    MountConfig { max_length: Some(Duration::from_secs(20)), ..MountConfig::new(name, clip("vtest.avi")) }
}

/// Cameras that show the plaza, on a free port; they ask for `credentials` where some are given.
pub fn simulator(names: &[&str], credentials: Option<Credentials>) -> Simulator {
    let config = SimConfig { credentials, ..SimConfig::new(cache().join("camsim")) };
    let config = names.iter().fold(config, |config, name| config.with_mount(plaza(name)));
    tokio::task::block_in_place(|| Simulator::start(config)).unwrap()
}

/// `[[cameras]]` of a configuration: `stream` is the inside of the stream's table.
pub fn camera(id: &str, stream: &str) -> String {
    format!("[[cameras]]\nid = \"{id}\"\nstream = {{ {stream} }}\n")
}

/// An edge's configuration, and where it shows itself.
pub struct EdgePlan {
    pub config: PathBuf,
    pub data: PathBuf,
    pub log: PathBuf,
    pub grpc: SocketAddr,
    pub ops: SocketAddr,
}

impl EdgePlan {
    /// Writes the configuration of edge `id` into a folder of its own below `folder`; `cameras` are [`camera`]s.
    pub fn write(folder: &Path, id: &str, region: (&str, SocketAddr), cameras: &str) -> Self {
        let own = folder.join(id);
        std::fs::create_dir_all(own.join("data")).unwrap();
        let (grpc, ops) = (free_address(), free_address());
        let text = format!(
            "edge_id = \"{id}\"\nregion_id = \"{}\"\nregion_address = \"http://{}\"\ndata_dir = \"data\"\nlisten = \"{grpc}\"\n\
             ops_listen = \"{ops}\"\n[model]\nmanifest = \"{}\"\nworkers = 1\n{cameras}",
            region.0,
            region.1,
            manifest().display()
        );
        let config = own.join("edge.toml");
        std::fs::write(&config, text).unwrap();
        Self { config, data: own.join("data"), log: own.join("log"), grpc, ops }
    }

    /// What starts it.
    pub fn command(&self) -> Command {
        let mut command = vigil();
        command.arg("edge").arg("--config").arg(&self.config);
        command
    }

    pub fn start(&self) -> Process {
        Process::start(self.command(), &self.log)
    }
}
