//! Configuration files as people write them: the examples are good, mistakes are named with file, line and key, and what
//! is secret stays so.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::path::Path;

use common::{run, vigil};

fn check(folder: &Path, name: &str, text: &str) -> (Option<i32>, String, String) {
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    run(vigil().args(["config", "check"]).arg(file))
}

const EDGE: &str = r#"
edge_id = "edge-1"
region_id = "north"
region_address = "http://127.0.0.1:7100"
data_dir = "data"
[[cameras]]
id = "gate-1"
stream = { address = "rtsp://10.0.0.20/stream1" }
"#;

const REGION: &str = "region_id = \"north\"\ndata_dir = \"data\"\n";

const GATEWAY: &str = r#"
listen = "127.0.0.1:7000"
ops_listen = "127.0.0.1:7001"
token_key_file = "token.key"
[[regions]]
region_id = "north"
address = "http://127.0.0.1:7100"
"#;

#[test]
fn the_configurations_in_the_readme_are_good() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("camera.pw"), "secret\n").unwrap();
    let examples: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    let name_of = |example: &str| example.trim_start_matches("# ").split([':', '\n']).next().unwrap().to_owned();
    let (examples, sections): (Vec<&str>, Vec<&str>) =
        examples.into_iter().partition(|example| !name_of(example).contains([',', '[']));
    // A line that stands before the first table, and the file that it names.
    let (policies, examples): (Vec<&str>, Vec<&str>) =
        examples.into_iter().partition(|example| name_of(example) == "policy.toml");
    std::fs::write(folder.path().join("policy.toml"), policies[0]).unwrap();
    let policy = folder.path().join("policy.toml");
    assert_eq!(run(vigil().args(["region", "policy", "check"]).arg(policy)).0, Some(0));
    assert_eq!((examples.len(), policies.len()), (4, 1));
    let (rules, configurations): (Vec<&str>, Vec<&str>) =
        examples.into_iter().partition(|example| name_of(example).ends_with(".rules.toml"));
    std::fs::write(folder.path().join(name_of(rules[0])), rules[0]).unwrap();
    for example in configurations {
        let name = &name_of(example);
        let (status, stdout, stderr) = check(folder.path(), name, example);
        assert_eq!(status, Some(0), "{name}: {stderr}");
        assert!(stdout.contains("good"), "{stdout}");
        if name == "region.toml" {
            assert_good_with(folder.path(), example, &sections);
        }
    }
}

/// The region's configuration with all sections that the README shows for themselves, and the certificates they name.
fn assert_good_with(folder: &Path, region: &str, sections: &[&str]) {
    let own = folder.join("own");
    let pki = own.join("pki");
    let made = [vec!["init"], vec!["issue", "region", "north"]];
    for args in made {
        assert_eq!(run(vigil().arg("pki").args(args).arg("--dir").arg(&pki)).0, Some(0));
    }
    for file in ["region-north.pem", "region-north.key", "authority.pem", "authority.crl"] {
        std::fs::copy(pki.join(file), own.join(file)).unwrap();
    }
    std::fs::write(own.join("region-db.url"), "postgres://vigil:password@127.0.0.1:5432/vigil\n").unwrap();
    std::fs::copy(folder.join("policy.toml"), own.join("policy.toml")).unwrap();
    let (tables, lines): (Vec<&str>, Vec<&str>) =
        sections.iter().partition(|section| section.starts_with('[') || section.contains("\n["));
    let whole = format!("{}{region}{}", lines.concat(), tables.concat());
    let (status, _, stderr) = check(&own, "region.toml", &whole);
    assert_eq!(status, Some(0), "{sections:?}: {stderr}");
}

#[test]
fn a_key_that_is_not_known_is_named_with_its_path_and_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let second = "[[cameras]]\nid = \"gate-2\"\n";
    let cases = [
        ("edge.toml", EDGE.replace("edge_id", "egde_id"), "line 2: egde_id: no such key; did you mean edge_id?"),
        ("edge.toml", format!("{EDGE}[analysis]\nrat = 5.0"), "line 10: analysis.rat: no such key; did you mean rate?"),
        ("edge.toml", EDGE.replace("[[cameras]]", "[[camera]]"), "camera: no such key; did you mean cameras?"),
        (
            "edge.toml",
            format!("{EDGE}{second}streem = {{}}"),
            "line 11: cameras[1].streem: no such key; did you mean stream?",
        ),
        (
            "edge.toml",
            EDGE.replace("address =", "adress ="),
            "cameras[0].stream.adress: no such key; did you mean address?",
        ),
        (
            "edge.toml",
            format!("{EDGE}[model]\nfrobnicate = 1"),
            "model.frobnicate: no such key; there are manifest, name,",
        ),
        (
            "region.toml",
            format!("{REGION}retension = \"30days\""),
            "line 3: retension: no such key; did you mean retention?",
        ),
        (
            "region.toml",
            format!("{REGION}[limits]\nmax_edge = 3"),
            "limits.max_edge: no such key; did you mean max_edges?",
        ),
        (
            "gateway.toml",
            GATEWAY.replace("address =", "url ="),
            "regions[0].url: no such key; there are region_id, address",
        ),
        ("gateway.toml", GATEWAY.replace("listen = \"127.0.0.1:7000\"", ""), "listen: is missing"),
    ];
    for (name, text, told) in cases {
        let (status, _, stderr) = check(folder.path(), name, &text);
        assert_eq!(status, Some(2), "{told}: {stderr}");
        assert!(stderr.contains(name) && stderr.contains(told), "{told}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "one line says it: {stderr}");
    }
}

#[test]
fn a_value_that_cannot_be_is_named_with_file_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let camera = "[[cameras]]\nid = \"gate-1\"\nstream = { address = \"rtsp://10.0.0.21/1\" }\n";
    let with = |key: &str| EDGE.replace(" }", &format!(", {key} }}"));
    let cases = [
        (format!("{EDGE}[analysis]\nrate = 0.0\n"), "cameras[0].analysis.rate"),
        (format!("{EDGE}[analysis]\nrate = \"often\"\n"), "analysis.rate: is a string; a number is expected"),
        (format!("{EDGE}{camera}"), "cameras[1].id: gate-1 stands twice"),
        (format!("{EDGE}[outbox]\nmax_size = \"plenty\"\n"), "outbox.max_size: \"plenty\" is no size"),
        (EDGE.replace("rtsp://10.0.0.20/stream1", "http://10.0.0.20"), "cameras[0].stream.address"),
        (EDGE.replace("north", "../north"), "region_id: region id \"../north\""),
        (EDGE.replace("http://127.0.0.1:7100", "127.0.0.1"), "region_address"),
        (with("transport = \"tpc\""), "cameras[0].stream.transport: unknown variant `tpc`, expected `tcp` or `udp`"),
        (with("stall_timeout = \"soon\""), "cameras[0].stream.stall_timeout: is a string; a duration such as 5s"),
        (with("stall_timeout = \"1ms\""), "stall_timeout = 1ms must be within 100ms and 5m"),
        (with("user = \"me\", password_file = \"absent.pw\""), "absent.pw"),
        (format!("edge_id = \"twice\"{EDGE}"), "line 2: edge_id: stands twice"),
        (format!("{EDGE}oops"), "line 9: is not TOML"),
    ];
    for (text, named) in cases {
        let (status, _, stderr) = check(folder.path(), "edge.toml", &text);
        assert_eq!(status, Some(2), "{named}: {stderr}");
        assert!(stderr.contains("edge.toml") && stderr.contains(named), "{named} is not named: {stderr}");
    }
}

#[test]
fn a_password_in_a_wrong_configuration_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let with = |inside: &str| EDGE.replace("address = \"rtsp://10.0.0.20/stream1\"", inside);
    let cases = [
        with("address = \"rtsp://viewer:hunter2@10.0.0.20/1\", user = \"other\""),
        with("address = \"http://viewer:hunter2@10.0.0.20/1\""),
        with("adress = \"rtsp://viewer:hunter2@10.0.0.20/1\""),
        with("address = \"rtsp://10.0.0.20/1\", user = \"viewer\", pasword = \"hunter2\""),
        with("address = \"rtsp://10.0.0.20/1\", user = \"viewer\", password = \"hunter2"),
        with("address = \"rtsp://10.0.0.20/1\", user = \"viewer\", password = [\"hunter2\"]"),
        with("address = \"rtsp://10.0.0.20/1\", password = \"hunter2\""),
        with("address = \"rtsp://10.0.0.20/1\", user = \"viewer\", password = \"hunter2\", transport = \"tpc\""),
        EDGE.replace("stream = {", "stream = \"rtsp://viewer:hunter2@10.0.0.20/1\" # {"),
    ];
    for text in cases {
        let file = folder.path().join("edge.toml");
        std::fs::write(&file, &text).unwrap();
        for command in [&["config", "check"][..], &["edge", "--config"]] {
            let (status, stdout, stderr) = run(vigil().args(command).arg(&file));
            assert_eq!(status, Some(2), "{text}: {stderr}");
            assert!(!format!("{stdout}{stderr}").contains("hunter2"), "{stderr}");
        }
    }
    let (status, stdout, stderr) = run(vigil().args(["doctor", "--camera", "http://viewer:hunter2@10.0.0.20/1"]));
    assert_eq!(status, Some(2));
    assert!(!format!("{stdout}{stderr}").contains("hunter2"), "{stderr}");
}

#[test]
fn a_missing_configuration_is_named() {
    for role in ["edge", "region", "gateway"] {
        let (status, _, stderr) = run(vigil().args([role, "--config", "no-such-file.toml"]));
        assert_eq!(status, Some(2), "{role}: {stderr}");
        assert!(stderr.contains("no-such-file.toml"), "{stderr}");
    }
}
