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

#[test]
fn plates_are_read_only_where_a_camera_says_so_and_can_be_seen() {
    let camera =
        |more: &str| format!("[[cameras]]\nid = \"gate\"\nstream = {{ address = \"rtsp://10.0.0.20/a\" }}\n{more}\n");
    assert!(!load(&camera("")).unwrap().cameras[0].plates, "off unless it is asked for");
    assert!(load(&camera("plates = true")).unwrap().cameras[0].plates);
    let people = format!("[analysis]\nclasses = [\"person\"]\n{}", camera("plates = true"));
    let told = load(&people).unwrap_err();
    assert!(told.contains("cameras[0].plates") && told.contains("no vehicles are watched"), "{told}");
    let named =
        load(&format!("[plates]\nmanifest = \"own.toml\"\nmodel = \"uk\"\n{}", camera("plates = true"))).unwrap();
    assert!(named.plates.manifest.unwrap().ends_with("own.toml") && named.plates.name.as_deref() == Some("uk"));
    assert!(load(&format!("[plates]\non = true\n{}", camera(""))).is_err());
}

#[test]
fn a_rule_that_looks_for_plates_needs_them_read() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "[[rules]]\nid = \"wanted\"\nplate_listed = { plates = [\"SECRET1\"] }\n";
    std::fs::write(folder.path().join("gate.rules.toml"), rules).unwrap();
    let path = folder.path().join("edge.toml");
    let camera =
        "[[cameras]]\nid = \"gate\"\nrules = \"gate.rules.toml\"\nstream = { address = \"rtsp://10.0.0.20/a\" }\n";
    std::fs::write(&path, format!("{HEAD}{camera}")).unwrap();
    let told = vigil_serve::error::chain(&config::load(&path).unwrap_err());
    assert!(told.contains("cameras[0].plates: is not true") && !told.contains("SECRET1"), "{told}");
    std::fs::write(&path, format!("{HEAD}{camera}plates = true\n")).unwrap();
    assert!(config::load(&path).is_ok());
}
