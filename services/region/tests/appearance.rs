//! Who looked like this: asked over gRPC, of both engines, and after what happens to files.
#![allow(clippy::unwrap_used)] // A test that cannot set itself up has failed.

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use common::postgres::PostgresServer;
use common::server::{TestRegion, eventually};
use common::{afternoon, camera, class, ended, event, found_by, look, region, secs};
use tonic::Code;
use vigil_base::event::Event;
use vigil_base::{RuleKind, SimClock};
use vigil_proto::convert::appearance_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::appearance_service_client::AppearanceServiceClient;
use vigil_region::config::IndexConfig;
use vigil_region::{RegionConfig, reindex};

fn looking(event: Event, degrees: f32) -> Event {
    Event { appearance: Some(look(degrees)), ..event }
}

#[allow(clippy::unnecessary_wraps)] // As requests take it.
fn example(degrees: f32) -> Option<v1::AppearanceExample> {
    let example = v1::appearance_example::Example::Appearance(appearance_to_wire(&look(degrees)));
    Some(v1::AppearanceExample { example: Some(example) })
}

fn asked(degrees: f32) -> v1::SearchByAppearanceRequest {
    v1::SearchByAppearanceRequest { example: example(degrees), ..Default::default() }
}

async fn search(region: &TestRegion, request: v1::SearchByAppearanceRequest) -> v1::SearchByAppearanceResponse {
    let mut client = AppearanceServiceClient::new(region.channel());
    client.search_by_appearance(request).await.unwrap().into_inner()
}

async fn refused(region: &TestRegion, request: v1::SearchByAppearanceRequest) -> (Code, String) {
    let mut client = AppearanceServiceClient::new(region.channel());
    let status = client.search_by_appearance(request).await.unwrap_err();
    (status.code(), status.message().to_owned())
}

fn ids(answer: &v1::SearchByAppearanceResponse) -> Vec<&str> {
    answer.hits.iter().map(|hit| hit.event.as_ref().unwrap().event_id.as_str()).collect()
}

#[allow(clippy::unnecessary_wraps)] // As requests take it.
fn within(cameras: &[&str]) -> Option<v1::EventFilter> {
    let camera_ids = cameras.iter().map(|camera| (*camera).to_owned()).collect();
    Some(v1::EventFilter { camera_ids, ..Default::default() })
}

/// Twelve people who look ever less like the first, at three cameras, a car that does, and one of whom nothing is known.
fn street() -> Vec<Event> {
    let mut events: Vec<Event> =
        (0..12).map(|i| looking(camera(event(secs(i * 10)), &format!("gate-{}", i % 3)), 5.0 * i as f32)).collect();
    events.push(looking(class(event(secs(500)), "car"), 0.0));
    events.push(event(secs(600)));
    events
}

async fn answers_like_the_definition(region: &TestRegion) {
    let events = street();
    let id = |index: usize| events[index].id.to_string();
    region.edge("edge-1").await.publish(&events).await;

    let all = search(region, asked(0.0)).await;
    assert_eq!(all.regions[0].missing, "");
    assert_eq!((all.hits.len(), all.compared, all.not_comparable.len()), (13, 13, 0));
    let expected: Vec<String> = [12].into_iter().chain(0..12).map(id).collect();
    assert_eq!(ids(&all), expected, "the newer of two that are equally alike, then ever less alike");
    assert!((all.hits[3].similarity - 10f32.to_radians().cos()).abs() < 0.01, "{}", all.hits[3].similarity);

    let person = v1::EventFilter { object_classes: vec!["person".into()], ..within(&["gate-1"]).unwrap() };
    let few = v1::SearchByAppearanceRequest { filter: Some(person), limit: 2, ..asked(17.0) };
    assert_eq!(ids(&search(region, few).await), [id(4), id(1)], "20 and 5 degrees, where 17 is meant");
    let like = v1::SearchByAppearanceRequest { min_similarity: 0.99, ..asked(30.0) };
    assert_eq!(search(region, like).await.hits.len(), 3, "25, 30 and 35 degrees");

    let shown = v1::EventReference { event_id: id(6), region_id: String::new() };
    let shown = v1::AppearanceExample { example: Some(v1::appearance_example::Example::Event(shown)) };
    let same = search(region, v1::SearchByAppearanceRequest { example: Some(shown), limit: 1, ..asked(0.0) }).await;
    assert_eq!((ids(&same), same.hits[0].similarity > 0.999), (vec![id(6).as_str()], true));

    // The filter's last word is the event's: a plate stands in no record.
    let plate = v1::EventFilter { plate: "AB".into(), ..Default::default() };
    let none = search(region, v1::SearchByAppearanceRequest { filter: Some(plate), ..asked(0.0) }).await;
    assert_eq!((none.hits.len(), none.compared), (0, 13));
}

#[tokio::test]
async fn the_most_alike_come_first_within_the_filter() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    answers_like_the_definition(&region).await;
    region.stop().await;
}

#[tokio::test]
async fn an_index_in_postgresql_answers_the_same() {
    let (server, temp) = (PostgresServer::start(&[]), tempfile::tempdir().unwrap());
    let index = IndexConfig::Postgres(server.config("looks"));
    let config = RegionConfig { index, ..RegionConfig::local(region(), temp.path()) };
    let region = TestRegion::start_with(config, afternoon()).await;
    answers_like_the_definition(&region).await;
    region.stop().await;
}

#[tokio::test]
async fn an_event_counts_once_as_of_its_last_revision() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let first = looking(event(secs(0)), 80.0);
    let last = looking(ended(&first), 0.0);
    let rule = looking(found_by(event(secs(5)), RuleKind::Entered, "in", None), 0.0);
    let mut edge = region.edge("edge-1").await;
    edge.publish(std::slice::from_ref(&first)).await;
    assert!(search(&region, asked(0.0)).await.hits[0].similarity < 0.2);
    edge.publish(&[last, rule.clone()]).await;
    edge.publish(&[first]).await;
    let answer = search(&region, asked(0.0)).await;
    assert_eq!((answer.hits.len(), answer.compared), (1, 1), "a rule's event tells of an object once more");
    assert!(answer.hits[0].similarity > 0.999);
    let kinds = vec![v1::EventKind::Entered.into()];
    let filter = Some(v1::EventFilter { kinds, ..Default::default() });
    let told = search(&region, v1::SearchByAppearanceRequest { filter, ..asked(0.0) }).await;
    assert_eq!(ids(&told), [rule.id.to_string()]);
    region.stop().await;
}

#[tokio::test]
async fn what_was_made_by_another_method_is_told_and_not_compared() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut other = looking(event(secs(0)), 0.0);
    other.appearance.as_mut().unwrap().method.version = "2".into();
    region.edge("edge-1").await.publish(&[other, looking(event(secs(5)), 0.0)]).await;
    let answer = search(&region, asked(0.0)).await;
    assert_eq!((answer.hits.len(), answer.compared), (1, 1));
    let told: Vec<_> = answer.not_comparable.iter().map(|other| (other.region_id.as_str(), other.events)).collect();
    assert_eq!(told, [("north", 1)]);
    assert_eq!(answer.not_comparable[0].method.as_ref().unwrap().version, "2");
    let elsewhere = v1::SearchByAppearanceRequest { filter: within(&["gate-9"]), ..asked(0.0) };
    assert_eq!(search(&region, elsewhere).await.not_comparable, []);
    region.stop().await;
}

#[tokio::test]
async fn hostile_pictures_and_examples_are_refused() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let plain = event(secs(0));
    region.edge("edge-1").await.publish(std::slice::from_ref(&plain)).await;
    let picture = |image: &[u8]| {
        let picture = v1::Picture { image: image.to_vec().into(), r#box: None };
        let example = Some(v1::appearance_example::Example::Picture(picture));
        v1::SearchByAppearanceRequest { example: Some(v1::AppearanceExample { example }), ..Default::default() }
    };
    let jpeg = [0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10, b'J', b'F', b'I', b'F'];
    for (image, expected) in [(&b"hello"[..], "neither JPEG nor PNG"), (&jpeg, "cannot be decoded")] {
        let (code, message) = refused(&region, picture(image)).await;
        assert!(code == Code::InvalidArgument && message.contains(expected), "{code:?} {message}");
    }
    let of = |event_id: String| {
        let event = v1::EventReference { event_id, region_id: String::new() };
        let example = Some(v1::appearance_example::Example::Event(event));
        v1::SearchByAppearanceRequest { example: Some(v1::AppearanceExample { example }), ..Default::default() }
    };
    assert_eq!(refused(&region, of(plain.id.to_string())).await.0, Code::FailedPrecondition);
    assert_eq!(refused(&region, of(event(secs(9)).id.to_string())).await.0, Code::NotFound);
    assert_eq!(refused(&region, of("x".into())).await.0, Code::InvalidArgument);
    region.stop().await;
}

#[tokio::test]
async fn the_same_look_at_several_cameras_within_a_time_is_one_way() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let seen = |second, at: &str, degrees| looking(camera(event(secs(second)), at), degrees);
    let events = [
        seen(0, "gate", 0.0),
        seen(60, "yard", 3.0),
        seen(70, "yard", 60.0),
        seen(90, "hall", 2.0),
        seen(3_000, "gate", 1.0),
    ];
    region.edge("edge-1").await.publish(&events).await;
    let mut client = AppearanceServiceClient::new(region.channel());
    let request = v1::FollowAppearanceRequest {
        example: example(0.0),
        filter: None,
        min_similarity: 0.95,
        span: Some(prost_types::Duration { seconds: 600, nanos: 0 }),
        min_cameras: 3,
    };
    let answer = client.follow_appearance(request).await.unwrap().into_inner();
    assert_eq!(answer.journeys.len(), 1);
    let told: Vec<&str> =
        answer.journeys[0].sightings.iter().map(|hit| hit.event.as_ref().unwrap().camera_id.as_str()).collect();
    assert_eq!((told, answer.journeys[0].cameras), (vec!["gate", "yard", "hall"], 3));
    region.stop().await;
}

fn files(data_dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data_dir.join("appearances")).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|kind| kind == "appearances"));
    files.sort();
    files
}

/// The region is started again after `harm`, and must then answer as before.
async fn survives(harm: impl FnOnce(&Path)) {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    region.edge("edge-1").await.publish(&street()).await;
    let before = search(&region, asked(20.0)).await;
    assert_eq!(before.hits.len(), 13);
    region.stop().await;
    harm(temp.path());
    let region = TestRegion::start(temp.path()).await;
    let after = eventually("all appearances are there again", || async {
        let answer = search(&region, asked(20.0)).await;
        answer.regions[0].missing.is_empty().then_some(answer)
    })
    .await;
    assert_eq!(ids(&after), ids(&before));
    assert_eq!(after.compared, before.compared, "none twice");
    region.stop().await;
}

#[tokio::test]
async fn files_that_are_lost_cut_damaged_or_forgotten_are_made_anew_and_nothing_counts_twice() {
    survives(|_| {}).await;
    survives(|data| std::fs::remove_file(&files(data)[0]).unwrap()).await;
    survives(|data| {
        let file = std::fs::OpenOptions::new().write(true).open(&files(data)[0]).unwrap();
        file.set_len(1_000).unwrap();
    })
    .await;
    survives(|data| {
        let mut bytes = std::fs::read(&files(data)[0]).unwrap();
        bytes[3 * 64 + 20] ^= 1;
        std::fs::write(&files(data)[0], bytes).unwrap();
    })
    .await;
    survives(|data| std::fs::write(data.join("appearances/catalogue.json"), "{").unwrap()).await;
    survives(|data| std::fs::remove_dir_all(data.join("appearances")).unwrap()).await;
    survives(|data| assert!(reindex(&RegionConfig::local(region(), data), &mut |_| Ok(())).unwrap())).await;
}

#[tokio::test]
async fn what_a_killed_region_had_not_noted_is_followed_again() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut edge = region.edge("edge-1").await;
    edge.publish(&street()[..5]).await;
    assert_eq!(search(&region, asked(0.0)).await.hits.len(), 5);
    // As the disk is after a power cut: the index has more than the catalogue says, and the file may have it or not.
    let catalogue = temp.path().join("appearances/catalogue.json");
    let (noted, file) = (std::fs::read(&catalogue).unwrap(), std::fs::read(&files(temp.path())[0]).unwrap());
    edge.publish(&street()[5..]).await;
    let before = search(&region, asked(0.0)).await;
    drop(edge);
    region.stop().await;
    for torn in [false, true] {
        std::fs::write(&catalogue, &noted).unwrap();
        if torn {
            let mut bytes = file.clone();
            bytes[2 * 64..3 * 64].fill(0x5a);
            std::fs::write(&files(temp.path())[0], bytes).unwrap();
        }
        let region = TestRegion::start(temp.path()).await;
        let after = eventually("the rest is followed", || async {
            let answer = search(&region, asked(0.0)).await;
            answer.regions[0].missing.is_empty().then_some(answer)
        })
        .await;
        assert_eq!((ids(&after), after.compared), (ids(&before), before.compared), "torn: {torn}");
        region.stop().await;
    }
}

#[tokio::test]
async fn retention_removes_the_file_with_the_slice() {
    let temp = tempfile::tempdir().unwrap();
    let hour = Duration::from_hours(1);
    let config = || RegionConfig { slice: hour, retention: 3 * hour, ..RegionConfig::local(region(), temp.path()) };
    let region = TestRegion::start_with(config(), afternoon()).await;
    let (old, new) = (looking(event(secs(0)), 0.0), looking(event(secs(3_500)), 0.0));
    let later = looking(event(secs(3_700)), 0.0);
    region.edge("edge-1").await.publish(&[old, new, later.clone()]).await;
    assert_eq!((search(&region, asked(0.0)).await.hits.len(), files(temp.path()).len()), (3, 2));
    region.stop().await;
    // An hour after the first slice is over, and not after the second was received.
    let clock = SimClock::new(secs(4 * 3_600));
    let region = TestRegion::start_with(config(), clock).await;
    eventually("the first hour is gone", || async { (files(temp.path()).len() == 1).then_some(()) }).await;
    assert_eq!(ids(&search(&region, asked(0.0)).await), [later.id.to_string()]);
    region.stop().await;
}
