//! What an edge makes of its configuration.

#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

use vigil_base::CameraId;
use vigil_edge::config::{self, EdgeConfig};

const HEAD: &str = r#"
edge_id = "edge-1"
region_id = "north"
region_address = "http://127.0.0.1:7100"
data_dir = "data"
"#;

fn load(rest: &str) -> Result<EdgeConfig, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    std::fs::write(&path, format!("{HEAD}{rest}")).unwrap();
    config::load(&path).map_err(|error| vigil_serve::error::chain(&error))
}

#[test]
fn the_second_stream_is_analysed_and_the_first_is_the_cameras() {
    let config = load(
        r#"
[[cameras]]
id = "gate"
stream = { address = "rtsp://10.0.0.20/main" }
analysis_stream = { address = "rtsp://10.0.0.20/small" }
[[cameras]]
id = "door"
stream = { address = "rtsp://10.0.0.21/main" }
"#,
    )
    .unwrap();
    let path = |camera: &str, analysed: bool| {
        let found = config.cameras.iter().find(|known| known.id == CameraId::new(camera).unwrap()).unwrap();
        if analysed { found.analysed.address.to_string() } else { found.stream.address.to_string() }
    };
    assert!(path("gate", false).ends_with("/main") && path("gate", true).ends_with("/small"));
    assert!(path("door", true).ends_with("/main"));
}

#[test]
fn a_second_stream_that_cannot_be_is_named() {
    let told = load(
        "[[cameras]]\nid = \"gate\"\nstream = { address = \"rtsp://10.0.0.20/a\" }\nanalysis_stream = { address = \"ftp://x/\" }\n",
    );
    assert!(told.unwrap_err().contains("analysis_stream"));
}

#[test]
fn the_rate_lies_between_its_bounds_whatever_is_written() {
    let camera = "[[cameras]]\nid = \"gate\"\nstream = { address = \"rtsp://10.0.0.20/a\" }\n";
    let attention = |analysis: &str| load(&format!("{analysis}\n{camera}")).map(|c| c.cameras[0].analysis.attention());
    let usual = attention("").unwrap();
    assert!(usual.min_rate < usual.max_rate && usual.parts);
    let slow = attention("[analysis]\nrate = 1.0\nlook = \"whole\"").unwrap();
    assert!(slow.min_rate == 1.0 && slow.max_rate == 1.0 && !slow.parts);
    assert!(attention("[analysis]\nmin_rate = 0.0").unwrap_err().contains("analysis.min_rate"));
}

#[test]
fn a_required_provider_stands_alone_and_has_no_stand_in() {
    let camera = "[[cameras]]\nid = \"gate\"\nstream = { address = \"rtsp://10.0.0.20/a\" }\n";
    assert!(load(camera).unwrap().model.fallback);
    assert!(!load(&format!("[model]\nrequired = \"cuda\"\n{camera}")).unwrap().model.fallback);
    let both = load(&format!("[model]\nrequired = \"cuda\"\nproviders = [\"cpu\"]\n{camera}"));
    assert!(both.unwrap_err().contains("model.providers"));
}
