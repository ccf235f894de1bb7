//! What keeps a region from starting, said by name; and what it says of itself to operators.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::error::Error;
use std::fs;
use std::path::Path;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use vigil_region::{RegionConfig, RegionError, RegionServer};

use common::server::{TestRegion, http_get};
use common::{NOON, afternoon, event, region};

fn config(data_dir: &Path) -> RegionConfig {
    RegionConfig::local(region(), data_dir)
}

async fn failure(config: RegionConfig) -> String {
    let error = RegionServer::start_at(config, afternoon()).await.err().expect("it started");
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Nobody asks for the configuration to be read again.
fn no_reloads() -> vigil_serve::Reloads {
    vigil_serve::Reloads { file: "none.toml".into(), requests: tokio::sync::mpsc::channel(1).1 }
}

#[tokio::test]
async fn a_port_in_use_is_named_and_leaves_the_data_folder_free() {
    let temp = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let error = failure(RegionConfig { listen: address, ..config(temp.path()) }).await;
    assert!(error.contains(&address.to_string()), "{error}");
    let error = failure(RegionConfig { ops_listen: address, ..config(temp.path()) }).await;
    assert!(error.contains(&address.to_string()) && error.contains("metrics"), "{error}");
    TestRegion::start(temp.path()).await;
}

#[tokio::test]
async fn a_data_folder_that_cannot_be_written_is_named() {
    let error = failure(config(Path::new("/proc/vigil"))).await;
    assert!(error.contains("/proc/vigil"), "{error}");
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    fs::write(&file, "no folder").unwrap();
    let error = failure(config(&file)).await;
    assert!(error.contains(file.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn a_second_region_on_the_same_folder_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let _first = TestRegion::start(temp.path()).await;
    let error = failure(config(temp.path())).await;
    assert!(error.contains("in use by another process"), "{error}");
}

#[tokio::test]
async fn a_damaged_token_key_is_named() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("token.key"), "short").unwrap();
    assert!(failure(config(temp.path())).await.contains("token.key"));
}

#[tokio::test]
async fn a_damaged_index_ends_the_process_with_an_error_that_names_it() {
    let temp = tempfile::tempdir().unwrap();
    let served = TestRegion::start(temp.path()).await;
    let events: Vec<_> = (0..400).map(|_| event(NOON)).collect();
    served.edge("edge-1").await.publish(&events).await;
    served.stop().await;
    let path = temp.path().join("region.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[8_192..40_000].fill(0xa5);
    fs::write(&path, bytes).unwrap();
    let error = vigil_region::run(config(temp.path()), no_reloads(), CancellationToken::new()).await.unwrap_err();
    assert!(matches!(&error, RegionError::Index(index) if index.to_string().contains("region.db")), "{error:?}");
}

#[tokio::test]
async fn a_region_runs_until_it_is_told_to_end() {
    let temp = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(vigil_region::run(config(temp.path()), no_reloads(), shutdown.clone()));
    shutdown.cancel();
    running.await.unwrap().unwrap();
    TestRegion::start(temp.path()).await;
}

#[tokio::test]
async fn metrics_and_health_are_served() {
    let temp = tempfile::tempdir().unwrap();
    let server = RegionServer::start_at(config(temp.path()), afternoon()).await.unwrap();
    let health = http_get(server.ops_address(), "/healthz").await;
    assert!(health.starts_with("HTTP/1.1 200") && health.contains("\"ready\":true"), "{health}");
    let metrics = http_get(server.ops_address(), "/metrics").await;
    assert!(metrics.contains("vigil_ingest_revisions_total{region=\"north\",outcome=\"accepted\"}"), "{metrics}");
    server.stop().await;
}
