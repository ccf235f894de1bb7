//! A new model goes from the shadow into use and back on a running edge, and stays where it is over a restart.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use common::edge::{EdgePlan, cache, camera, simulator};
use common::look::{eventually, health_until, metric, problem, search_until};
use common::{free_address, run, vigil};
use serde_json::Value;

const OLD: &str = "fixed-yolov8";
/// Finds the same boxes, and is another file.
const NEW: &str = "fixed-yolox";
/// Finds something else.
const OTHER: &str = "echo-nhwc-u8-rgb";

/// An edge with the models of known answers.
fn plan(folder: &Path, region: SocketAddr, stream: &str) -> EdgePlan {
    let plan =
        EdgePlan::write(folder, "edge-1", ("north", region), &camera("plaza", &format!("address = \"{stream}\"")));
    let manifest = cache().join("test-models/manifest.toml");
    assert!(manifest.is_file(), "{} is missing: run scripts/setup", manifest.display());
    let text = std::fs::read_to_string(&plan.config).unwrap();
    let (before, after) = text.split_once("[model]").unwrap();
    let (_, cameras) = after.split_once("[[cameras]]").unwrap();
    let model = format!("[model]\nmanifest = \"{}\"\nname = \"{OLD}\"\nworkers = 1\n", manifest.display());
    let analysis = "[analysis]\nclasses = [\"red\", \"green\", \"blue\"]\nmotion_gate = false\n";
    std::fs::write(&plan.config, format!("{before}{model}{analysis}[[cameras]]{cameras}")).unwrap();
    plan
}

fn model(plan: &EdgePlan, args: &[&str]) -> Command {
    let mut command = vigil();
    command.arg("model").args(args).arg("--config").arg(&plan.config);
    command
}

fn decide(plan: &EdgePlan, args: &[&str]) -> String {
    let (status, stdout, stderr) = run(&mut model(plan, args));
    assert_eq!(status, Some(0), "{args:?}: {stderr}");
    stdout
}

fn refused(plan: &EdgePlan, args: &[&str], told: &str) {
    let (status, _, stderr) = run(&mut model(plan, args));
    assert!(status != Some(0) && stderr.contains(told), "{args:?}: {stderr}");
}

fn status(plan: &EdgePlan) -> Value {
    serde_json::from_str(&decide(plan, &["status", "--json"])).unwrap()
}

/// How often a model has run.
fn runs(plan: &EdgePlan, model: &str) -> f64 {
    metric(plan.ops, &format!("vigil_inference_seconds_count{{model=\"{model}\"}}")).unwrap_or(0.0)
}

async fn is_in_use(plan: &EdgePlan, model: &str) {
    let before = runs(plan, model);
    eventually(&format!("{model} to run"), async || (runs(plan, model) > before + 3.0).then_some(())).await;
    assert_eq!(status(plan)["active"], model);
}

/// Waits until the shadow has compared a few frames.
async fn compared(plan: &EdgePlan) -> Value {
    eventually("a comparison", async || {
        let comparison = status(plan)["comparison"].clone();
        (comparison["frames"].as_u64()? >= 5).then_some(comparison)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_goes_from_the_shadow_into_use_and_back_on_a_running_edge() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(&["plaza"], None);
    let region = free_address();
    let _region = common::region(folder.path(), "north", region);
    let plan = plan(folder.path(), region, &simulator.url("plaza"));
    let edge = plan.start();
    is_in_use(&plan, OLD).await;

    refused(&plan, &["shadow", "no-such-model"], "there is no model \"no-such-model\"");
    refused(&plan, &["shadow", OLD], "is the model in use");
    refused(&plan, &["promote"], "no model runs in the shadow");
    refused(&plan, &["rollback"], "nothing to go back to");

    decide(&plan, &["shadow", OTHER, "--share", "1"]);
    let other = compared(&plan).await;
    assert!(other["classes"]["green"]["only_old"].as_u64().unwrap() >= 5, "{other}");
    assert_eq!(other["classes"]["green"]["matched"], 0, "{other}");

    decide(&plan, &["shadow", NEW, "--share", "0.5"]);
    let same = compared(&plan).await;
    assert_eq!(
        (&same["classes"]["green"]["only_old"], &same["classes"]["green"]["only_new"]),
        (&0.into(), &0.into()),
        "{same}"
    );
    assert!(same["classes"]["green"]["matched"].as_u64().unwrap() >= 5, "{same}");
    assert!(runs(&plan, NEW) < 1.0, "a shadow is not in use");
    refused(&plan, &["promote"], "of 100 frames");
    decide(&plan, &["promote", "--anyway"]);
    is_in_use(&plan, NEW).await;

    assert_eq!(edge.terminate().code(), Some(0));
    let edge = plan.start();
    is_in_use(&plan, NEW).await;
    let fingerprint = status(&plan)["fingerprint"].as_str().unwrap().to_owned();
    search_until(&common::connect(region).await, "events of the new model", |answer| {
        answer.events.iter().any(|event| event.model.as_ref().is_some_and(|model| model.fingerprint == fingerprint))
    })
    .await;

    decide(&plan, &["rollback"]);
    is_in_use(&plan, OLD).await;
    // What cannot be read changes nothing, and is told.
    std::fs::write(plan.data.join("model.toml"), "active = ").unwrap();
    let health = health_until(plan.ops, "a damaged decision", |health| problem(health, "model").is_some()).await;
    assert!(problem(&health, "model").unwrap().contains("model.toml is damaged"), "{health}");
    let before = runs(&plan, OLD);
    eventually("the old model to go on", async || (runs(&plan, OLD) > before + 3.0).then_some(())).await;
    assert_eq!(edge.terminate().code(), Some(0));
}
