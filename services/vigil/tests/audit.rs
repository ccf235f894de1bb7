//! Who asked what, from the command line to the logs of gateway and region, over kill -9 and tampering.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::path::Path;

use common::publish::{event, publish};
use common::{free_address, run, vigil};
use serde_json::Value;
use vigil_base::{Clock, SystemClock};

/// Questions in a row, in the middle of which the region is killed.
const QUESTIONS: usize = 40;

fn audit(args: &[&str], folder: &Path) -> (Option<i32>, String, String) {
    run(vigil().arg("audit").args(args).arg(folder))
}

fn records(folder: &Path, args: &[&str]) -> Vec<Value> {
    let (status, stdout, stderr) = audit(&[&["search", "--json", "--limit", "10000"], args].concat(), folder);
    assert_eq!(status, Some(0), "{stderr}");
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_asks_is_in_both_logs_whatever_is_killed_and_tampering_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (north, front) = (free_address(), free_address());
    let mut region = common::region(folder.path(), "north", north);
    let _gateway = common::gateway(folder.path(), front, &[("north", north)]);
    publish(common::connect(north).await, "north", vec![event("north", "gate", "car", SystemClock::new().now())]).await;
    common::connect(front).await;
    let ask = |case: &str| {
        let mut command = vigil();
        command.args(["query", "--class", "car", "--purpose", "gestohlenes Fahrrad – Zeugen", "--case", case]);
        run(command.arg("--server").arg(format!("http://{front}")))
    };

    let (mut answered, mut in_part) = (0, 0);
    for n in 0..QUESTIONS {
        if n == QUESTIONS / 2 {
            region.kill();
            region = common::region(folder.path(), "north", north);
        }
        match ask(&format!("2026/{n}")).0 {
            Some(0) => answered += 1,
            Some(3) => in_part += 1,
            other => panic!("question {n} ended with {other:?}"),
        }
    }
    assert!(answered >= QUESTIONS / 2, "{answered} answered, {in_part} in part");

    let (at_gateway, at_region) = (folder.path().join("gateway/audit"), folder.path().join("north/data/audit"));
    let asked = records(&at_gateway, &[]);
    assert_eq!(asked.len(), QUESTIONS, "every question, answered in part or whole");
    assert_eq!(asked[7]["purpose"], "gestohlenes Fahrrad – Zeugen");
    assert_eq!(asked[7]["question"]["filter"]["objectClasses"][0], "car");
    assert_eq!(records(&at_gateway, &["--case", "2026/7"]).len(), 1);
    assert_eq!(records(&at_region, &["--case", "2026/7"]).len(), 1, "it travelled");
    let given = records(&at_region, &[]).iter().filter(|record| record["outcome"]["items"] == 1).count();
    assert!(given >= answered, "the region wrote down {given} of {answered} answers");
    let (status, table, _) = audit(&["search", "--case", "2026/7"], &at_gateway);
    assert!(status == Some(0) && table.contains("EventQueryService/Search") && table.contains("1 given"), "{table}");

    let (status, verdict, _) = audit(&["verify"], &at_region);
    assert!(status == Some(0) && verdict.contains("whole"), "after kill -9: {verdict}");
    let (status, head, _) = audit(&["head"], &at_gateway);
    assert_eq!(status, Some(0));
    let kept = folder.path().join("head.json");
    std::fs::write(&kept, head).unwrap();
    let with_head = ["verify", "--head", kept.to_str().unwrap()];
    let (status, verdict, _) = audit(&with_head, &at_gateway);
    assert!(status == Some(0) && verdict.contains("kept elsewhere"), "{verdict}");

    let file = at_gateway.join("audit-00000000000000000001.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("2026/7", "2026/8", 1)).unwrap();
    let (status, verdict, _) = audit(&with_head, &at_gateway);
    assert!(status == Some(1) && verdict.contains("line 9") && verdict.contains("NOT WHOLE"), "{verdict}");
    let (status, _, stderr) = audit(&["verify"], folder.path());
    assert!(status == Some(1) && stderr.contains("public key"), "{stderr}");
}
