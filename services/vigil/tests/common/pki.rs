//! Certificates from the command line, and processes that show them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Process, example, look, region_command, run, vigil};

pub fn pki(folder: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    run(vigil().arg("pki").args(args).arg("--dir").arg(folder.join("pki")))
}

pub fn issue(folder: &Path, role: &str, name: &str) {
    let (status, shown, stderr) = pki(folder, &["issue", role, name, "--replace", "--host", "127.0.0.1"]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(shown.contains(&format!("vigil://{role}/{name}")) && shown.contains("fingerprint"), "{shown}");
}

pub fn file(folder: &Path, stem: &str, ending: &str) -> PathBuf {
    folder.join("pki").join(format!("{stem}.{ending}"))
}

pub fn tls_section(folder: &Path, stem: &str) -> String {
    format!(
        "[tls]\ncertificate = \"{}\"\nkey = \"{}\"\nauthority = \"{}\"\n",
        file(folder, stem, "pem").display(),
        file(folder, stem, "key").display(),
        file(folder, "authority", "pem").display()
    )
}

/// A region's or gateway's configuration, with certificates.
pub fn secure(config: &Path, tls: &str) {
    let text = std::fs::read_to_string(config).unwrap().replace("http://", "https://");
    // Before the first table: what follows a table belongs to it.
    let (head, tables) = text.split_once("[[").map_or((text.as_str(), String::new()), |(h, t)| (h, format!("[[{t}")));
    std::fs::write(config, format!("{head}{tls}{tables}")).unwrap();
}

pub fn operator(folder: &Path, server: SocketAddr, args: &[&str]) -> Command {
    let mut command = vigil();
    command.args(args).arg("--server").arg(format!("https://{server}"));
    command.arg("--certificate").arg(file(folder, "operator-alice", "pem"));
    command
}

/// Ids of all events a server has.
pub fn found(folder: &Path, server: SocketAddr) -> Vec<String> {
    let (status, shown, stderr) = run(&mut operator(folder, server, &["query", "--json", "--limit", "10000000"]));
    assert_eq!(status, Some(0), "{stderr}");
    let events = shown.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    events.filter_map(|event| Some(event.get("event_id")?.as_str()?.to_owned())).collect()
}

/// Region north with the certificate that was made for it, once it serves; `more` stands in its `[tls]` section.
pub async fn secure_region(folder: &Path, address: SocketAddr, more: &str) -> Process {
    let region = region_command(folder, "north", address);
    secure(&folder.join("north/region.toml"), &format!("{}{more}", tls_section(folder, "region-north")));
    let region = Process::start(region, &folder.join("north/log"));
    look::eventually("the region serves", async || tokio::net::TcpStream::connect(address).await.ok()).await;
    region
}

/// The example `event_source` as edge `id`, with the certificate that was made for it; its outbox lies in `own`.
pub fn secure_source(folder: &Path, own: &Path, id: &str, region: (&str, SocketAddr)) -> Command {
    let mut command = example("event_source");
    command.arg(own.join("outbox")).arg(format!("https://{}", region.1)).args([region.0, id]);
    let stem = format!("edge-{id}");
    command.arg(file(folder, &stem, "pem")).arg(file(folder, &stem, "key")).arg(file(folder, "authority", "pem"));
    command
}
