//! Disks that are full, or read-only, below an edge's outbox and a region's index: the process says which, goes on where it
//! can, loses nothing, and is itself again when there is room.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use common::disk::SmallDisk;
use common::edge::{EdgePlan, camera, simulator};
use common::look::{eventually, health_until, metric, problem, search_until, status_until};
use common::publish::{event, publish};
use common::{Process, assert_found_once, free_address, run, ship_all, take_ids, take_rest, vigil};
use vigil_base::{Clock, SystemClock};
use vigil_proto::v1;

const MIB: u64 = 1024 * 1024;
/// Room for an outbox with what it keeps back (16 MiB) and a few thousand events.
const EDGE_DISK: u64 = 24 * MIB;
/// Room for some thousand events.
const REGION_DISK: u64 = 24 * MIB;
/// Less than an audit log keeps room for.
const AUDIT_DISK: u64 = MIB;
/// Events the edge makes in one commit: at most so many are durable and not yet told when it is killed.
const GROUP: usize = 10;

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_on_a_full_disk_says_so_goes_on_and_hands_over_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let simulator = simulator(&["plaza"], None);
    let region = free_address();
    let stream = format!("address = \"{}\"", simulator.url("plaza"));
    let plan = EdgePlan::write(folder.path(), "edge-1", ("north", region), &camera("plaza", &stream));
    let disk = SmallDisk::new(&plan.data, EDGE_DISK);
    let _edge = Process::start(disk.inside(&plan.command()), &plan.log);
    let waiting = "vigil_outbox_pending_records{outbox=\"events\"}";
    eventually("events that wait for the region", async || metric(plan.ops, waiting).filter(|n| *n > 0.0)).await;

    disk.fill();
    let health = health_until(plan.ops, "a full disk", |health| problem(health, "outbox").is_some()).await;
    let told = problem(&health, "outbox").unwrap();
    assert!(told.contains("no space left") && told.contains(plan.data.to_str().unwrap()), "{told}");
    assert_eq!(health["ready"], false, "an edge that keeps no events is not ready");
    let dropped = "vigil_frames_dropped_total{camera=\"plaza\",cause=\"overload\"}";
    eventually("frames dropped and counted", async || metric(plan.ops, dropped).filter(|n| *n > 0.0)).await;
    let log = std::fs::read_to_string(&plan.log).unwrap();
    assert_eq!(log.lines().filter(|line| line.contains("\"ERROR\"")).count(), 1, "told once, not every second: {log}");

    // The region's return drains the outbox, full disk or not.
    let _region = common::region(folder.path(), "north", region);
    let channel = common::connect(region).await;
    search_until(&channel, "what waited", |answer| !answer.events.is_empty()).await;
    eventually("nothing waits", async || metric(plan.ops, waiting).filter(|n| *n == 0.0)).await;

    disk.make_room();
    health_until(plan.ops, "a ready edge", |health| health["ready"] == true).await;
    let before = search_until(&channel, "events", |_| true).await.events.len();
    search_until(&channel, "new events", |answer| answer.events.len() > before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outbox_that_has_filled_its_disk_survives_kill_9_and_loses_no_event() {
    let folder = tempfile::tempdir().unwrap();
    let region = free_address();
    let outbox = folder.path().join("outbox");
    let disk = SmallDisk::new(&outbox, EDGE_DISK);
    let start = || {
        let command = disk.inside(&common::event_source(folder.path(), "edge-1", ("north", region)));
        Process::start_with_lines(command, &folder.path().join("source.log"))
    };
    let mut told = HashSet::new();
    let (source, lines) = start();
    // No region yet: it fills the disk by itself, and then waits.
    disk_is_full(&disk).await;
    source.kill();
    take_rest(&lines, &mut told);
    // How many depends on how much of the log was moved into the database when the last byte went.
    assert!(told.len() > 300, "{} events fill no disk", told.len());

    let (mut source, lines) = start();
    let _region = common::region(folder.path(), "north", region);
    let channel = common::connect(region).await;
    let before = told.len();
    take_ids(&lines, 1_000, &mut told);
    assert_eq!(told.len(), before + 1_000, "it makes new events where the old ones were");
    ship_all(&mut source, &lines, &mut told);
    let untold = assert_found_once(channel, &told).await;
    assert!(untold <= GROUP, "{untold} events nobody made");
}

/// Waits until not one byte more finds room.
async fn disk_is_full(disk: &SmallDisk) {
    let probe = disk.outside().join("probe");
    eventually("a full disk", async || {
        let fits = std::fs::write(&probe, [0; 4096]).is_ok();
        std::fs::remove_file(&probe).ok();
        (!fits).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_on_a_full_disk_says_so_answers_on_and_takes_all_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let region = free_address();
    let command = common::region_command(folder.path(), "north", region);
    let disk = SmallDisk::new(&folder.path().join("north/data"), REGION_DISK);
    let _region = Process::start(disk.inside(&command), &folder.path().join("north/log"));
    let channel = common::connect(region).await;
    let source = common::event_source(folder.path(), "edge-1", ("north", region));
    let (mut source, lines) = Process::start_with_lines(source, &folder.path().join("source.log"));
    let mut told = HashSet::new();
    take_ids(&lines, 500, &mut told);
    search_until(&channel, "events", |answer| !answer.events.is_empty()).await;

    disk.fill();
    let full = |status: &v1::RegionStatus| status.problems.iter().find(|p| p.contains("no space left")).cloned();
    let problem = status_until(&channel, "a full disk", full).await;
    assert!(problem.contains("north/data"), "{problem}");
    assert!(!search_until(&channel, "an answer", |_| true).await.events.is_empty(), "it answers on");
    take_ids(&lines, 500, &mut told);

    disk.make_room();
    ship_all(&mut source, &lines, &mut told);
    assert_eq!(assert_found_once(channel.clone(), &told).await, 0);
    status_until(&channel, "no full disk", |status| full(status).is_none().then_some(())).await;
}

/// The log keeps room for some ten thousand questions; this disk has none to keep.
#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_cannot_write_down_who_asked_gives_no_answer_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let command = common::region_command(folder.path(), "north", address);
    let audit = folder.path().join("north/audit");
    let config = folder.path().join("north/region.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}audit_dir = \"audit\"\n")).unwrap();
    let disk = SmallDisk::new(&audit, AUDIT_DISK);
    let log = folder.path().join("north/log");
    let _region = Process::start(disk.inside(&command), &log);
    let channel = common::connect(address).await;
    publish(channel.clone(), "north", vec![event("north", "gate", "car", SystemClock::new().now())]).await;
    let ask = || run(vigil().args(["query", "--class", "car", "--server", &format!("http://{address}")]));
    let given = |shown: &str| shown.contains(" gate ");
    let (status, shown, _) = ask();
    assert!(status == Some(0) && given(&shown), "{shown}");

    disk.fill();
    let mut refused = 0;
    while refused < 3 {
        let (status, shown, stderr) = ask();
        if status == Some(0) {
            // What was left of the last block.
            assert!(given(&shown) && refused == 0, "{shown}");
            continue;
        }
        assert!(!given(&shown) && stderr.contains("audit log cannot be written"), "{shown}{stderr}");
        refused += 1;
    }
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("No space left") && said.contains("no answer is given"), "{said}");
    // Events are taken all the same: who records does not read.
    publish(channel, "north", vec![event("north", "gate", "car", SystemClock::new().now())]).await;

    disk.make_room();
    let (status, shown, stderr) = ask();
    assert!(status == Some(0) && shown.matches(" gate ").count() == 2, "{shown}{stderr}");
    let written = disk.outside();
    let (status, verdict, _) = run(vigil().args(["audit", "verify"]).arg(&written));
    assert!(status == Some(0) && verdict.contains("whole"), "{verdict}");
    let (status, records, _) = run(vigil().args(["audit", "search", "--json"]).arg(&written));
    assert!(status == Some(0) && records.lines().count() >= 2, "{records}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_disk_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let region = free_address();
    let plan = EdgePlan::write(
        folder.path(),
        "edge-1",
        ("north", region),
        &camera("gate", "address = \"rtsp://127.0.0.1:9/1\""),
    );
    let region = common::region_command(folder.path(), "north", region);
    for (data, command) in [(plan.data.clone(), plan.command()), (folder.path().join("north/data"), region)] {
        let disk = SmallDisk::new(&data, EDGE_DISK);
        disk.make_read_only();
        let (status, _, stderr) = run(&mut disk.inside(&command));
        assert_eq!(status, Some(1), "{stderr}");
        assert!(stderr.contains(data.to_str().unwrap()) && stderr.contains("Read-only"), "{stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_day_of_a_region_costs_its_own_events_and_whoever_asks_the_gateway_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let regions = [("north", free_address()), ("south", free_address())];
    let front = free_address();
    let [north, _south] = regions.map(|(id, address)| common::region(folder.path(), id, address));
    let _gateway = common::gateway(folder.path(), front, &regions);
    let now = SystemClock::new().now();
    let day = Duration::from_hours(24);
    for (id, address) in regions {
        let events = [now, now - day * 2].map(|begin| event(id, "gate", "person", begin));
        publish(common::connect(address).await, id, events.to_vec()).await;
    }
    assert!(north.terminate().success());
    let slices = std::fs::read_dir(folder.path().join("north/data")).unwrap().map(|entry| entry.unwrap().path());
    let is_slice = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with("events-");
    let oldest = slices.filter(is_slice).min().unwrap();
    let bytes = std::fs::read(&oldest).unwrap().len();
    std::fs::write(&oldest, vec![0xa5; bytes]).unwrap();
    let _north = common::region(folder.path(), "north", regions[0].1);
    common::connect(regions[0].1).await;

    let server = format!("http://{front}");
    let name = oldest.file_name().unwrap().to_str().unwrap();
    let from = (now - day * 3).to_string();
    for question in [vec!["query"], vec!["query", "--count-by", "class", "--from", &from]] {
        let asked = async || {
            let (status, stdout, stderr) = run(vigil().args(&question).args(["--server", &server]));
            (status == Some(3) && stdout.contains("INCOMPLETE")).then_some((stdout, stderr))
        };
        let (stdout, stderr) = eventually("the region is back, without that day", asked).await;
        assert!(stdout.contains("2 of 2 regions answered") && stdout.contains(name), "{stdout}{stderr}");
        let south = stdout.lines().find(|line| line.trim_start().starts_with("south:")).unwrap();
        assert!(!south.contains("INCOMPLETE"), "{stdout}");
    }
    let (_, stdout, _) = run(vigil().args(["query", "--json", "--server", &server]));
    let found = |id: &str| stdout.lines().filter(|line| line.contains("event_id") && line.contains(id)).count();
    assert_eq!((found("north"), found("south")), (1, 2), "{stdout}");
}
