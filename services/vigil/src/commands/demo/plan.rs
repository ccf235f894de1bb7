//! Folders, ports and configurations of the demo.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use vigil_base::Codec;
use vigil_camsim::{MountConfig, SimConfig, Simulator};

use crate::paths;

/// The demo's regions, each with its edge and cameras: id, and what its people call it.
pub const REGIONS: [(&str, &str); 2] = [("north", "North district"), ("south", "South district")];

/// The demo's cameras: region (index), id, name, latitude, longitude.
pub const CAMERAS: [(usize, &str, &str, f64, f64); 4] = [
    (0, "plaza-1", "Plaza, west side", 52.5200, 13.4050),
    (0, "plaza-2", "Plaza, seen half a minute later", 52.5204, 13.4061),
    (1, "street-1", "Cycle street", 52.4870, 13.4250),
    (1, "square-1", "Square, H.265", 52.4866, 13.4262),
];

/// One process to start.
#[derive(Debug)]
pub struct ProcessPlan {
    /// Its name in messages and of its log file.
    pub name: String,
    /// The `vigil` command that runs it.
    pub command: &'static str,
    /// Its configuration.
    pub config: PathBuf,
    /// Its log.
    pub log: PathBuf,
    /// Its gRPC address, asked for health.
    pub address: SocketAddr,
}

/// Everything the demo starts, in the order of starting.
#[derive(Debug)]
pub struct Plan {
    /// Regions, gateway, edges.
    pub processes: Vec<ProcessPlan>,
    gateway: SocketAddr,
}

/// The simulated cameras: two clips, four views, both codecs.
pub fn cameras() -> anyhow::Result<SimConfig> {
    let (plaza, street) = (paths::clip("vtest.avi")?, paths::clip("bikes.mp4")?);
    let offset = |mount: MountConfig, seconds| MountConfig { start_offset: Duration::from_secs(seconds), ..mount };
    let square = offset(MountConfig::new("square-1", plaza.clone()), 50);
    Ok(SimConfig::new(paths::cache().join("camsim"))
        .with_mount(MountConfig::new("plaza-1", plaza.clone()))
        .with_mount(offset(MountConfig::new("plaza-2", plaza), 30))
        .with_mount(MountConfig::new("street-1", street))
        .with_mount(MountConfig { codec: Codec::H265, ..square }))
}

impl Plan {
    /// Writes all configurations below `folder`.
    pub fn write(folder: &Path, manifest: &Path, simulator: &Simulator) -> anyhow::Result<Self> {
        let manifest = std::path::absolute(manifest).context("the manifest's path")?;
        // One port for gRPC and one for metrics, for each region, its edge, and the gateway.
        let ports = free_addresses(2 * (2 * REGIONS.len() + 1)).context("no free ports on the loopback address")?;
        let mut ports = ports.into_iter();
        let mut take = || ports.next().context("too few ports were taken");
        let (mut regions, mut edges) = (Vec::new(), Vec::new());
        let mut gateway_regions = String::new();
        for (index, (region, title)) in REGIONS.iter().enumerate() {
            let (listen, ops) = (take()?, take()?);
            let text = format!(
                "region_id = \"{region}\"\ndisplay_name = \"{title}\"\nlisten = \"{listen}\"\nops_listen = \"{ops}\"\ndata_dir = \"data\"\n"
            );
            regions.push(process(folder, &format!("region-{region}"), "region", listen, &text)?);
            write!(gateway_regions, "[[regions]]\nregion_id = \"{region}\"\naddress = \"http://{listen}\"\n\n")?;
            let (edge_listen, edge_ops) = (take()?, take()?);
            let mut text = format!(
                "edge_id = \"edge-{region}\"\nregion_id = \"{region}\"\nregion_address = \"http://{listen}\"\n\
                 data_dir = \"data\"\nlisten = \"{edge_listen}\"\nops_listen = \"{edge_ops}\"\n\n\
                 [model]\nmanifest = {}\nworkers = 1\n\n",
                toml::Value::from(manifest.display().to_string())
            );
            for (_, id, name, latitude, longitude) in CAMERAS.iter().filter(|camera| camera.0 == index) {
                write!(
                    text,
                    "[[cameras]]\nid = \"{id}\"\nname = \"{name}\"\nlocation = {{ latitude = {latitude}, longitude = {longitude} }}\n\
                     stream = {{ address = \"{}\" }}\n\n",
                    simulator.url(id)
                )?;
            }
            edges.push(process(folder, &format!("edge-{region}"), "edge", edge_listen, &text)?);
        }
        let (gateway, ops) = (take()?, take()?);
        let text = format!(
            "listen = \"{gateway}\"\nops_listen = \"{ops}\"\ntoken_key_file = \"token.key\"\n\n{gateway_regions}"
        );
        let gateway_process = process(folder, "gateway", "gateway", gateway, &text)?;
        let processes = regions.into_iter().chain([gateway_process]).chain(edges).collect();
        Ok(Self { processes, gateway })
    }

    /// Where the gateway answers.
    pub fn gateway_url(&self) -> String {
        format!("http://{}", self.gateway)
    }
}

fn process(
    folder: &Path,
    name: &str,
    command: &'static str,
    address: SocketAddr,
    config_text: &str,
) -> anyhow::Result<ProcessPlan> {
    let own = folder.join(name);
    std::fs::create_dir_all(own.join("data")).with_context(|| format!("cannot make {}", own.display()))?;
    let config = own.join(format!("{command}.toml"));
    std::fs::write(&config, config_text).with_context(|| format!("cannot write {}", config.display()))?;
    Ok(ProcessPlan { name: name.to_owned(), command, config, log: own.join("log.jsonl"), address })
}

/// Addresses nobody listens on now. All are held at once, so that no two are the same.
fn free_addresses(count: usize) -> std::io::Result<Vec<SocketAddr>> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<Result<_, _>>()?;
    listeners.iter().map(TcpListener::local_addr).collect()
}
