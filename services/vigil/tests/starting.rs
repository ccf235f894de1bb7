//! What keeps a process from starting: it says what is in the way, by name, and ends with status 1.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::edge::{EdgePlan, cache, camera, clip, manifest};
use common::{free_address, run, vigil};

/// The default model's file, as the manifest names it.
const MODEL: &str = "nanodet-g-int8.onnx";

fn edge_plan(folder: &Path) -> EdgePlan {
    let camera = camera("gate", &format!("address = \"rtsp://{}/gate\"", free_address()));
    EdgePlan::write(folder, "edge-1", ("north", free_address()), &camera)
}

/// The process ends by itself with status 1, and says all of `named`.
fn assert_refuses(mut command: Command, named: &[&str]) {
    let (status, _, stderr) = run(&mut command);
    assert_eq!(status, Some(1), "{command:?}: {stderr}");
    for name in named {
        assert!(stderr.contains(name), "{name} is not named: {stderr}");
    }
}

/// The configuration with one address replaced by another.
fn readdress(config: &Path, from: SocketAddr, to: SocketAddr) {
    let text = std::fs::read_to_string(config).unwrap();
    assert!(text.contains(&from.to_string()));
    std::fs::write(config, text.replace(&from.to_string(), &to.to_string())).unwrap();
}

#[test]
fn a_port_in_use_is_named_by_every_server() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = &taken.local_addr().unwrap();
    let told = [&*taken.to_string(), "is it free", "in use"];
    let folder = tempfile::tempdir().unwrap();

    assert_refuses(common::region_command(folder.path(), "north", *taken), &told);
    let region = common::region_command(folder.path(), "north", free_address());
    readdress(&folder.path().join("north/region.toml"), "127.0.0.1:0".parse().unwrap(), *taken);
    assert_refuses(region, &told);

    let regions = [("north", free_address())];
    assert_refuses(common::gateway_command(folder.path(), *taken, &regions), &told);
    let gateway = common::gateway_command(folder.path(), free_address(), &regions);
    readdress(&folder.path().join("gateway/gateway.toml"), "127.0.0.1:0".parse().unwrap(), *taken);
    assert_refuses(gateway, &told);

    for (name, of) in [("grpc", (|plan| plan.grpc) as fn(&EdgePlan) -> SocketAddr), ("ops", |plan| plan.ops)] {
        let plan = edge_plan(&folder.path().join(name));
        readdress(&plan.config, of(&plan), *taken);
        assert_refuses(plan.command(), &told);
    }

    let mut camsim = vigil();
    let mount = format!("gate={},length=20s", clip("vtest.avi").display());
    camsim.args(["camsim", "--mount", &mount, "--listen", &taken.to_string()]);
    assert_refuses(camsim, &[&*taken.to_string(), "in use"]);
}

#[test]
fn a_data_folder_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let _region = common::region(folder.path(), "north", address);
    let plan = edge_plan(folder.path());
    let _edge = plan.start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        common::connect(address).await;
        common::connect(plan.grpc).await;
    });
    assert_refuses(common::region_command(folder.path(), "north", free_address()), &["north/data", "in use"]);
    let other = edge_plan(&folder.path().join("other"));
    let text = std::fs::read_to_string(&other.config).unwrap();
    let same_folder = format!("data_dir = \"{}\"", plan.data.display());
    std::fs::write(&other.config, text.replace("data_dir = \"data\"", &same_folder)).unwrap();
    assert_refuses(other.command(), &[plan.data.to_str().unwrap(), "in use"]);
}

/// A manifest beside which the model's file lies as `content`; none where there is no content.
fn model_folder(folder: &Path, content: Option<&[u8]>) -> PathBuf {
    let (text, file) = (std::fs::read_to_string(manifest()).unwrap(), folder.join(MODEL));
    let named = format!("file = \"{MODEL}\"");
    assert!(text.contains(&named), "the default model is no longer {MODEL}");
    let path = folder.join("manifest.toml");
    std::fs::write(&path, text.replace(&named, &format!("file = \"{}\"", file.display()))).unwrap();
    let labels = folder.join("labels");
    std::fs::create_dir_all(&labels).unwrap();
    for name in ["coco80.txt", "plates-cn.txt"] {
        std::fs::copy(manifest().with_file_name("labels").join(name), labels.join(name)).unwrap();
    }
    if let Some(content) = content {
        std::fs::write(file, content).unwrap();
    }
    path
}

/// Everybody who runs the detector, over one manifest.
fn detectors(folder: &Path, manifest: &Path) -> [Command; 3] {
    let plan = edge_plan(folder);
    let text = std::fs::read_to_string(&plan.config).unwrap();
    let own = format!("manifest = \"{}\"", common::edge::manifest().display());
    std::fs::write(&plan.config, text.replace(&own, &format!("manifest = \"{}\"", manifest.display()))).unwrap();
    let (mut analyze, mut doctor) = (vigil(), vigil());
    analyze.arg("analyze").arg(clip("vtest.avi")).arg("--manifest").arg(manifest);
    doctor.args(["doctor", "--providers", "cpu", "--manifest"]).arg(manifest);
    [plan.command(), analyze, doctor]
}

/// As [`assert_refuses`]; `doctor` says it on standard output, in the line of what is broken.
fn assert_all_refuse(commands: [Command; 3], named: &[&str]) {
    let [edge, analyze, mut doctor] = commands;
    assert_refuses(edge, named);
    assert_refuses(analyze, named);
    let (status, stdout, _) = run(&mut doctor);
    assert_eq!(status, Some(1), "{stdout}");
    let line = stdout.lines().find(|line| line.contains("BROKEN")).unwrap();
    assert!(line.contains("detector") && named.iter().all(|name| line.contains(name)), "{line}");
}

#[test]
fn a_missing_or_altered_model_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let sound = std::fs::read(cache().join("models").join(MODEL)).expect("the model: run scripts/setup");
    let mut altered = sound.clone();
    let middle = altered.len() / 2;
    altered[middle] ^= 1;
    for (name, content, told) in [
        ("missing", None, "cannot be read"),
        ("altered", Some(&altered[..]), "sha256"),
        ("cut", Some(&sound[..middle]), "sha256"),
    ] {
        let own = folder.path().join(name);
        std::fs::create_dir(&own).unwrap();
        let manifest = model_folder(&own, content);
        let file = own.join(MODEL);
        assert_all_refuse(detectors(&own, &manifest), &["nanodet-g-416x544-int8", file.to_str().unwrap(), told]);
    }
    assert_all_refuse(detectors(folder.path(), Path::new("/nowhere/manifest.toml")), &["/nowhere/manifest.toml"]);
}

#[test]
fn a_required_provider_that_does_not_work_keeps_the_edge_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let plan = edge_plan(folder.path());
    let text = std::fs::read_to_string(&plan.config).unwrap();
    let model = "[model]\n";
    assert!(text.contains(model), "{text}");
    std::fs::write(&plan.config, text.replace(model, "[model]\nrequired = \"tensorrt\"\n")).unwrap();
    assert_refuses(plan.command(), &["nanodet-g-416x544-int8", "tensorrt"]);
    std::fs::write(&plan.config, text.replace(model, "[model]\nrequired = \"cuda\"\nproviders = [\"cpu\"]\n")).unwrap();
    let (status, _, stderr) = run(&mut plan.command());
    assert!(status == Some(2) && stderr.contains("model.providers"), "{stderr}");
}

#[test]
fn a_missing_onnx_runtime_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("libtext.so");
    std::fs::write(&text, "this is no library at all").unwrap();
    // A library, and another: the C compiler's own shim of a clock.
    let _clock = common::clock::ShiftedClock::new(folder.path());
    let other = folder.path().join("clock_shift.so");
    for (library, told) in [
        (Path::new("/nowhere/libonnxruntime.so"), "ONNX Runtime is not at"),
        (&text, "cannot be used as ONNX Runtime"),
        (&other, "cannot be used as ONNX Runtime"),
    ] {
        let mut commands = detectors(folder.path(), &manifest());
        for command in &mut commands {
            command.env("ORT_DYLIB_PATH", library).env("CLOCK_SHIFT", folder.path().join("clock_shift"));
        }
        assert_all_refuse(commands, &[library.to_str().unwrap(), told]);
    }
}
