//! The commands of operators and integrators against live servers: what they show, what they write, how they end.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

mod common;

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use common::look::eventually;
use common::publish::{JPEG, event, publish};
use common::{PATIENCE, Process, free_address, run, ship_all, take_ids, vigil};
use serde_json::Value;
use vigil_base::{Clock, SystemClock, Timestamp};
use vigil_proto::v1;

fn at(server: SocketAddr, args: &[&str]) -> Command {
    let mut command = vigil();
    command.args(args).arg("--server").arg(format!("http://{server}"));
    command
}

fn ask(server: SocketAddr, args: &[&str]) -> (Option<i32>, String, String) {
    run(&mut at(server, args))
}

/// The JSON lines of a command that ends well.
fn json(server: SocketAddr, args: &[&str]) -> Vec<Value> {
    let (status, stdout, stderr) = ask(server, args);
    assert_eq!(status, Some(0), "{args:?}: {stderr}");
    stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn texts<'a>(objects: &'a [Value], key: &str) -> Vec<&'a str> {
    objects.iter().filter_map(|object| object.get(key)?.as_str()).collect()
}

/// Two regions and a gateway over both.
struct City {
    north: SocketAddr,
    front: SocketAddr,
    _north: Process,
    south: Process,
    _gateway: Process,
}

impl City {
    /// With four events: cars and a person in the north, a car in the south.
    async fn open(folder: &Path, now: Timestamp) -> Self {
        let (north, south, front) = (free_address(), free_address(), free_address());
        let regions = [("north", north), ("south", south)];
        let city = Self {
            _north: common::region(folder, "north", north),
            south: common::region(folder, "south", south),
            _gateway: common::gateway(folder, front, &regions),
            north,
            front,
        };
        let minutes = |n| now - std::time::Duration::from_mins(n);
        let placed = |event: v1::Event, latitude, longitude| v1::Event {
            location: Some(v1::GeoPoint { latitude, longitude }),
            ..event
        };
        let in_north = vec![
            placed(event("north", "plaza", "car", minutes(4)), 52.52, 13.40),
            placed(event("north", "plaza", "person", minutes(3)), 52.52, 13.40),
            placed(event("north", "gate", "car", minutes(2)), 52.60, 13.50),
        ];
        publish(common::connect(north).await, "north", in_north).await;
        publish(common::connect(south).await, "south", vec![event("south", "dock", "car", minutes(1))]).await;
        common::connect(front).await;
        city
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_in_tables_and_json_and_a_part_is_status_three() {
    let folder = tempfile::tempdir().unwrap();
    let city = City::open(folder.path(), SystemClock::new().now()).await;
    let front = city.front;

    let all = json(front, &["query", "--json"]);
    assert_eq!(texts(&all, "camera"), ["dock", "gate", "plaza", "plaza"], "newest first");
    assert_eq!(all.last().unwrap()["regions"].as_array().unwrap().len(), 2);
    let (status, table, _) = ask(front, &["query", "--region", "north", "--class", "car"]);
    assert_eq!(status, Some(0));
    assert!(table.contains("2 events") && table.contains("1 of 1 regions answered"), "{table}");
    let around = "52.5,13.3 52.5,13.45 52.55,13.45 52.55,13.3";
    assert_eq!(texts(&json(front, &["query", "--area", around, "--json"]), "class"), ["person", "car"]);
    assert_eq!(texts(&json(front, &["query", "--from", "150s", "--json"]), "camera"), ["dock", "gate"]);

    let mut pages = json(front, &["query", "--limit", "3", "--json"]);
    let token = texts(&pages, "next_page_token")[0].to_owned();
    pages.extend(json(front, &["query", "--limit", "3", "--page-token", &token, "--json"]));
    assert_eq!(texts(&pages, "event_id"), texts(&all, "event_id"), "page by page the same");

    let counts = json(front, &["query", "--count-by", "region,class", "--from", "24h", "--until", "now", "--json"]);
    let of =
        |region, class| counts.iter().find(|c| c["region"] == region && c["class"] == class).unwrap()["events"].clone();
    assert_eq!((of("north", "car"), of("north", "person"), of("south", "car")), (2.into(), 1.into(), 1.into()));
    let (status, table, _) = ask(front, &["query", "--count-by", "class", "--from", "24h"]);
    assert!(status == Some(0) && table.lines().any(|line| line.split_whitespace().eq(["car", "3"])), "{table}");
    let (status, _, stderr) = ask(front, &["query", "--count-by", "class"]);
    assert!(status == Some(2) && stderr.contains("--from 24h"), "{stderr}");

    thumbnail_of(front, texts(&all, "event_id")[1], folder.path());
    let (status, _, stderr) = ask(front, &["query", "--id", "01a20805-650c-7ab9-a254-90b80b6517cc"]);
    assert!(status == Some(1) && stderr.contains("NOT_FOUND"), "{stderr}");

    city.south.kill();
    let (status, table, _) = ask(front, &["query"]);
    assert_eq!(status, Some(3), "{table}");
    assert!(table.contains("3 events") && table.contains("1 of 2 regions answered"), "{table}");
    assert!(table.contains("south: unreachable") && table.contains("once all regions answer"), "{table}");
}

fn thumbnail_of(server: SocketAddr, id: &str, folder: &Path) {
    let file = folder.join("thumbnail.jpg");
    let (status, shown, stderr) = ask(server, &["query", "--id", id, "--thumbnail", file.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{stderr}");
    assert!(shown.contains(id) && shown.contains("thumbnail written to"), "{shown}");
    assert_eq!(std::fs::read(&file).unwrap(), JPEG);
    let (status, _, stderr) = ask(server, &["query", "--id", id, "--thumbnail", "/proc/thumbnail.jpg"]);
    assert!(status == Some(1) && stderr.contains("/proc/thumbnail.jpg"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_shows_regions_edges_and_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let city = City::open(folder.path(), SystemClock::new().now()).await;
    // The publishing stream has ended; the regions hear of it a moment later.
    let shown = eventually("edges offline", async || {
        let (status, shown, stderr) = ask(city.front, &["status"]);
        assert_eq!(status, Some(0), "{stderr}");
        (shown.matches("edge edge-1: OFFLINE").count() == 2).then_some(shown)
    })
    .await;
    for told in ["region north: 3 events", "region south: 1 events", "2 of 2 regions answered"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    let objects = json(city.front, &["status", "--json"]);
    assert_eq!(texts(&objects, "region"), ["north", "south"]);
    assert_eq!(objects[0]["edges"][0]["edge"], "edge-1");
    city.south.kill();
    let (status, shown, _) = ask(city.front, &["status"]);
    assert!(status == Some(3) && shown.contains("1 of 2 regions answered"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_are_put_shown_changed_and_deleted_through_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let city = City::open(folder.path(), SystemClock::new().now()).await;
    let front = city.front;
    let named = ["--region", "north", "--id", "gate-1"];
    let put = |more: &[&str]| ask(front, &[&["cameras", "put"], &named[..], more].concat());
    let get = || json(front, &[&["cameras", "get", "--json"], &named[..]].concat()).remove(0);

    assert_eq!(put(&["--name", "North gate", "--location", "52.5163,-13.25"]).0, Some(0));
    let made = get();
    assert_eq!((&made["name"], &made["location"]["longitude"]), (&"North gate".into(), &(-13.25).into()));
    assert_eq!(put(&["--address", "rtsp://10.0.0.1/1"]).0, Some(0));
    let changed = get();
    assert_eq!((&changed["name"], &changed["address"]), (&"North gate".into(), &"rtsp://10.0.0.1/1".into()));
    for (wrong, told) in [
        (&["--location", "here"][..], "--location"),
        (&["--location", "152.5,13.2"], "latitude first"),
        (&["--address", "rtsp://me:hunter2@10.0.0.1/1"], "user or password"),
    ] {
        let (status, _, stderr) = put(wrong);
        assert_eq!(status, Some(2), "{wrong:?}: {stderr}");
        assert!(stderr.contains(told) && !stderr.contains("hunter2"), "{stderr}");
    }
    let (_, table, _) = ask(front, &["cameras", "list"]);
    assert!(table.contains("gate-1") && table.contains("operator"), "{table}");

    let delete = || ask(front, &[&["cameras", "delete"], &named[..]].concat());
    assert_eq!(delete().0, Some(0));
    let (status, _, stderr) = delete();
    assert!(status == Some(1) && stderr.contains("gate-1"), "{stderr}");
    city.south.kill();
    let (status, listed, _) = ask(front, &["cameras", "list"]);
    assert!(status == Some(3) && listed.contains("not listed: south"), "{listed}");
}

/// How often a subscriber is killed.
const KILLS: usize = 4;
/// Events it is given each time before.
const EVENTS_BETWEEN: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_is_killed_again_and_again_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let city = City::open(folder.path(), SystemClock::new().now()).await;
    let source = common::event_source(folder.path(), "edge-2", ("north", city.north));
    let (mut source, made) = Process::start_with_lines(source, &folder.path().join("source.log"));
    let mut told = HashSet::new();
    take_ids(&made, (KILLS + 1) * EVENTS_BETWEEN, &mut told);
    ship_all(&mut source, &made, &mut told);

    let cursor = folder.path().join("events.cursor");
    let mut seen: HashMap<String, usize> = HashMap::new();
    for round in 0..=KILLS {
        let kept = ["subscribe", "--json", "--from-oldest", "--cursor-file", cursor.to_str().unwrap()];
        let subscribe = at(city.front, &kept);
        let (process, lines) = Process::start_with_lines(subscribe, &folder.path().join("subscribe.log"));
        let is_last = round == KILLS;
        let before = seen.len();
        while if is_last { told.iter().any(|id| !seen.contains_key(id)) } else { seen.len() < before + EVENTS_BETWEEN }
        {
            note(&lines.recv_timeout(PATIENCE).expect("an event"), &mut seen);
        }
        if is_last {
            assert_eq!(process.terminate().code(), Some(0), "told to end, it ends in order");
        } else {
            process.kill();
            for line in &lines {
                note(&line, &mut seen);
            }
        }
    }
    let twice: Vec<_> = seen.iter().filter(|(_, times)| **times > 1).collect();
    assert!(twice.len() <= KILLS, "one line each kill may come twice: {twice:?}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "events.cursor.new"), "{left:?}");
}

/// Counts an event's line; a last line that the kill cut in the middle is none.
fn note(line: &str, seen: &mut HashMap<String, usize>) {
    let Ok(object) = serde_json::from_str::<Value>(line) else { return };
    if let Some(id) = object["event_id"].as_str() {
        *seen.entry(id.to_owned()).or_default() += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_says_what_it_waits_for_once_and_what_is_wrong_with_its_cursor() {
    let folder = tempfile::tempdir().unwrap();
    let cursor = folder.path().join("events.cursor");
    let kept = ["subscribe", "--json", "--from-oldest", "--limit", "2", "--cursor-file", cursor.to_str().unwrap()];
    // Before there is a gateway: it waits, and says so once.
    let front = free_address();
    let (_early, lines) = Process::start_with_lines(at(front, &kept), &folder.path().join("subscribe.log"));
    let notice = lines.recv_timeout(PATIENCE).unwrap();
    assert!(notice.contains("nothing answers") && notice.contains(&front.to_string()), "{notice}");

    let north = free_address();
    let _north = common::region(folder.path(), "north", north);
    let now = SystemClock::new().now();
    let events = ["car", "person", "car"].map(|class| event("north", "plaza", class, now)).to_vec();
    publish(common::connect(north).await, "north", events).await;
    let _gateway = common::gateway(folder.path(), front, &[("north", north)]);
    let rest: Vec<String> = lines.iter().collect();
    assert_eq!(rest.iter().filter(|line| line.contains("\"notice\"")).count(), 0, "{rest:?}");
    assert_eq!(rest.iter().filter(|line| line.contains("\"event_id\"")).count(), 2, "{rest:?}");

    let other_filter = [&kept[..], &["--class", "car"]].concat();
    let (status, _, stderr) = ask(front, &other_filter);
    assert_eq!(status, Some(2), "{stderr}");
    assert!(stderr.contains("events.cursor") && stderr.contains("another filter"), "{stderr}");
    std::fs::write(&cursor, "no cursor at all").unwrap();
    let (status, _, stderr) = ask(front, &kept);
    assert!(status == Some(2) && stderr.contains("events.cursor"), "{stderr}");
    let (status, _, stderr) = ask(front, &["subscribe", "--cursor-file", folder.path().to_str().unwrap()]);
    assert!(status == Some(1) && stderr.contains("cannot read the cursor"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_none_of_ours_is_told_apart_from_one_that_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let region = common::region_command(folder.path(), "north", free_address());
    let config = folder.path().join("north/region.toml");
    let ops = free_address();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("127.0.0.1:0", &ops.to_string())).unwrap();
    let _region = Process::start(region, &folder.path().join("north/log"));
    common::connect(ops).await;
    for command in [&["query"][..], &["status"], &["cameras", "list"], &["subscribe"]] {
        let (status, _, stderr) = ask(ops, command);
        assert_eq!(status, Some(1), "{command:?}: {stderr}");
        assert!(
            stderr.contains("is no gateway or region") && stderr.contains(&ops.to_string()),
            "{command:?}: {stderr}"
        );
    }
}
