//! What a region's policy withholds leaves it by no way, and is marked: random policies, requesters and events, through every call.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // Helpers of tests; a failing policy is shown.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use prost_reflect::DescriptorPool;
use tonic::Code;
use vigil_base::coverage::MINUTE;
use vigil_base::event::{Colour, Event};
use vigil_base::{EdgeId, Evidence, GeoPoint, RuleKind, Timestamp};
use vigil_policy::{Clearance, Grant, Grants, Policy, Rule};
use vigil_proto::convert::{appearance_to_wire, time_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::appearance_example::Example;
use vigil_proto::v1::appearance_service_client::AppearanceServiceClient;
use vigil_proto::v1::coverage_service_client::CoverageServiceClient;
use vigil_proto::v1::insight_service_client::InsightServiceClient;
use vigil_region::config::IndexConfig;

use common::policy::{Guarded, Who};
use common::postgres::PostgresServer;
use common::server::{Edge, Subscription, heartbeat, hello, reason, record_with, watched};
use common::{NOON, camera, class, event, found_by, jpeg, look, plate, secs};

/// Random policies, of which two requesters ask everything.
const POLICIES: u32 = 16;
/// Every call that a region answers, and who looks at it here. A new one must be examined here, or it may leak.
const EXAMINED: [&str; 16] = [
    "EventQueryService.Search",
    "EventQueryService.GetEvent",
    "EventQueryService.Aggregate",
    "EventQueryService.GetThumbnail",
    "EventStreamService.Subscribe",
    "CameraService.ListCameras",
    "CameraService.GetCamera",
    "CameraService.PutCamera",
    "CameraService.DeleteCamera",
    "CoverageService.GetCoverage",
    "RegionService.GetStatus",
    "InsightService.FindJourneys",
    "InsightService.GetTrack",
    "InsightService.GetPresence",
    "AppearanceService.SearchByAppearance",
    "AppearanceService.FollowAppearance",
];
/// Calls of auditors alone, to whom the log of questions is open, and of nobody else.
const OF_AUDITORS: [&str; 1] = ["AuditService.SearchAudit"];
/// Calls of edges, which are answered nothing of what is in the index.
const OF_EDGES: [&str; 3] = ["EventIngestService.Publish", "EnrolmentService.Enrol", "RenewalService.Renew"];
/// Which edge reads which cameras. The lobby changed over: both have read it.
const READ: [(&str, &[&str]); 2] = [("edge-1", &["gate-1", "gate-2", "lobby"]), ("edge-2", &["yard", "lobby", "open"])];

/// Everybody may see all of this camera: an event of it tells that a stream has come so far.
const OPEN: &str = "[[groups]]\nid = 'open'\ncameras = ['open']\n[[rules]]\nid = 'open'\ncameras = ['open']\ngrants = ['everything']\n";

#[test]
fn every_call_of_a_region_is_examined_here() {
    let pool = DescriptorPool::decode(vigil_proto::FILE_DESCRIPTOR_SET).unwrap();
    let all: BTreeSet<String> = pool
        .services()
        .filter(|service| service.full_name().starts_with("vigil.v1."))
        .flat_map(|service| {
            service.methods().map(|method| format!("{}.{}", service.name(), method.name())).collect::<Vec<_>>()
        })
        .collect();
    let known = EXAMINED.iter().chain(&OF_EDGES).chain(&OF_AUDITORS).map(|name| (*name).to_owned()).collect();
    assert_eq!(all, known, "a call that nobody examined may let out what the policy withholds");
}

fn base(number: u64, cam: &str, edge: &str) -> Event {
    let made = camera(event(secs(number * 700)), cam);
    let location = Some(GeoPoint { latitude: 52.0, longitude: 13.0 });
    // Some are of whom nothing is known.
    let appearance = (number % 5 != 4).then(|| look(5.0 * number as f32));
    Event { edge: EdgeId::new(edge).unwrap(), location, appearance, ..made }
}

/// Events of all cameras: objects with and without plates, what rules found, old and new.
fn world() -> Vec<Event> {
    let pairs: Vec<(&str, &str)> =
        READ.iter().flat_map(|(edge, all)| all.iter().map(move |cam| (*cam, *edge))).collect();
    let mut events = Vec::new();
    for (number, (cam, edge)) in (0..).zip(pairs.iter().cycle().take(14)) {
        let made = base(number, cam, edge);
        events.push(match number % 4 {
            0 => plate(class(made, "car"), "BAB12"),
            1 => made,
            2 => found_by(made, RuleKind::Loitering, "nobody", None),
            _ => {
                let found = found_by(plate(class(made, "car"), "MXY999"), RuleKind::PlateListed, "listed", None);
                let evidence = Evidence::Plate { text: "MXY999".into(), likelihood: 0.9, listed: true };
                let finding = found.finding.clone().map(|finding| vigil_base::event::Finding { evidence, ..finding });
                Event { finding, ..found }
            }
        });
    }
    events.push(base(14, "open", "edge-2"));
    events
}

fn some_policy() -> impl Strategy<Value = String> {
    let groups =
        ["cameras = ['gate-*']", "edges = ['edge-2']", "cameras = ['yard']\nedges = ['edge-1']", "cameras = ['lobby']"];
    let grants = prop::sample::subsequence(
        vec!["live", "plates", "appearance", "thumbnails", "position", "counts", "coverage", "footage"],
        0..=8,
    );
    let limits = prop::sample::select(vec![
        "",
        "events_of = { kinds = ['object'] }",
        "events_of = { classes = ['car'] }",
        "events_of = { kinds = ['plate_listed', 'loitering'], classes = ['person', 'car'] }",
        "back = '2h'",
    ]);
    let who = prop::sample::select(vec!["", "subjects = ['alice']\nproved = false", "purpose = true", "case = true"]);
    let of = prop::option::of(prop::collection::btree_set(0usize..4, 1..3));
    let rule = (grants, limits, who, of, prop::sample::select(vec!["events", "nothing", "everything"]));
    let (groups, count) = (groups.map(str::to_owned), 1..5);
    prop::collection::vec(rule, count).prop_map(move |rules| {
        let mut text = "contact = 'the desk'\n".to_owned() + OPEN;
        for (number, group) in (0..).zip(&groups) {
            writeln!(text, "[[groups]]\nid = 'g{number}'\n{group}").unwrap();
        }
        for (number, (mut grants, limits, who, of, gives)) in (0..).zip(rules) {
            let has_events = gives == "events";
            match gives {
                "events" => grants.push("events"),
                "everything" => grants = vec!["everything"],
                _ => grants.clear(),
            }
            let limits = if has_events { limits } else { "" };
            let of = of.map(|of| of.into_iter().map(|at| format!("g{at}")).collect::<Vec<_>>());
            let cameras = of.map_or(String::new(), |of| format!("cameras = {of:?}"));
            writeln!(text, "[[rules]]\nid = 'r{number}'\ngrants = {grants:?}\n{limits}\n{who}\n{cameras}").unwrap();
        }
        text
    })
}

/// One requester before one policy: what it should be given, read off the rules one by one.
struct Expected<'w> {
    events: &'w [Event],
    clearance: Clearance,
    now: Timestamp,
}

impl Expected<'_> {
    fn rule(&self, event: &Event) -> Option<&Rule> {
        self.clearance.decide(event.camera.as_str(), Some(event.edge.as_str()))
    }

    fn gives(&self, event: &Event, access: Grant, needs: &[Grant]) -> bool {
        let Some(rule) = self.rule(event) else { return false };
        let limit = if access == Grant::Counts { &rule.counts_of } else { &rule.events_of };
        rule.grants.has(access)
            && needs.iter().all(|need| rule.grants.has(*need))
            && limit.kinds.as_ref().is_none_or(|kinds| kinds.contains(&event.kind()))
            && limit.classes.as_ref().is_none_or(|classes| classes.iter().any(|known| **known == *event.object_class))
            && rule.back.is_none_or(|back| event.end_time >= self.now - back)
    }

    fn ids(&self, access: Grant, needs: &[Grant], matches: impl Fn(&Event) -> bool) -> Vec<String> {
        let given = self.events.iter().rev().filter(|event| self.gives(event, access, needs) && matches(event));
        given.map(|event| event.id.to_string()).collect()
    }

    /// A camera gives what is given whichever edge reads it.
    fn camera(&self, name: &str) -> Grants {
        let edges = READ.iter().filter(|(_, cameras)| cameras.contains(&name)).map(|(edge, _)| *edge);
        let of = |edge| self.clearance.decide(name, Some(edge)).map_or(Grants::NONE, |rule| rule.grants);
        edges.map(of).fold(Grants::all(), Grants::and)
    }

    /// Nothing of an event is there that is withheld, and all that is withheld is marked.
    fn check(&self, given: &v1::Event) {
        let event =
            self.events.iter().find(|event| event.id.to_string() == given.event_id).expect("an event of the world");
        let grants = self.rule(event).map_or(Grants::NONE, |rule| rule.grants);
        let has = |grant| grants.has(grant);
        assert_eq!(given.plate.is_some(), event.plate.is_some() && has(Grant::Plates), "{given:?}");
        let attributes = given.attributes.as_ref().unwrap();
        assert_eq!(
            (attributes.colours.is_empty(), attributes.colour_method == 0),
            (!has(Grant::Appearance), !has(Grant::Appearance))
        );
        assert_eq!(given.appearance.is_some(), event.appearance.is_some() && has(Grant::Appearance));
        assert_eq!(given.thumbnail_key.is_empty(), !has(Grant::Thumbnails));
        let is_placed = [given.location.is_some(), !given.path.is_empty(), attributes.position.is_some()];
        assert_eq!(is_placed, [has(Grant::Position); 3]);
        assert_eq!(given.best_box.unwrap().width == 1.0, !has(Grant::Position));
        let text = format!("{given:?}");
        assert!(has(Grant::Plates) || !["BAB12", "MXY999"].iter().any(|plate| text.contains(plate)), "{text}");
        let marks = [
            (Grant::Plates, v1::Withheld::Plate),
            (Grant::Appearance, v1::Withheld::Appearance),
            (Grant::Thumbnails, v1::Withheld::Thumbnail),
            (Grant::Position, v1::Withheld::Position),
        ];
        let expected: Vec<v1::Withheld> =
            marks.iter().filter(|(grant, _)| !has(*grant)).map(|(_, mark)| *mark).collect();
        assert_eq!(given.withheld().collect::<Vec<_>>(), expected);
    }
}

async fn found(guarded: &Guarded, who: Who, filter: v1::EventFilter) -> (Vec<v1::Event>, v1::RegionReport) {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::SearchRequest { filter: Some(filter.clone()), page_size: 4, page_token, after: None };
        let page = guarded.region.query().search(who.asks(request)).await.unwrap().into_inner();
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (events, page.regions.into_iter().next().unwrap());
        }
    }
}

fn ids(events: &[v1::Event]) -> Vec<String> {
    events.iter().map(|event| event.event_id.clone()).collect()
}

async fn searches(guarded: &Guarded, who: Who, expected: &Expected<'_>) {
    let (all, report) = found(guarded, who, v1::EventFilter::default()).await;
    assert_eq!(ids(&all), expected.ids(Grant::Events, &[], |_| true));
    for event in &all {
        expected.check(event);
    }
    let marks: Vec<v1::Withheld> = report.withheld.iter().flat_map(v1::WithheldReport::what).collect();
    if all.len() < expected.events.len() {
        let told = [v1::Withheld::Events, v1::Withheld::History];
        assert!(told.iter().any(|mark| marks.contains(mark)), "missing, and nobody says so: {report:?}");
    }
    let in_events: BTreeSet<i32> = all.iter().flat_map(|event| event.withheld.clone()).collect();
    assert!(in_events.iter().all(|mark| marks.iter().any(|told| i32::from(*told) == *mark)), "{marks:?} {in_events:?}");

    let by_plate = v1::EventFilter { plate: "XY9".into(), ..Default::default() };
    let has_plate = |event: &Event| event.plate.as_ref().is_some_and(|plate| plate.text.contains("XY9"));
    let (events, report) = found(guarded, who, by_plate).await;
    let plated = expected.ids(Grant::Events, &[Grant::Plates], has_plate);
    assert_eq!(ids(&events), plated, "by plate");
    if plated.len() < expected.ids(Grant::Events, &[], has_plate).len() {
        assert!(report.withheld.unwrap().what().any(|mark| mark == v1::Withheld::Plate), "cameras were left out");
    }
    let by_colour = v1::EventFilter { colours: vec![Colour::Red.to_string()], ..Default::default() };
    let (events, _) = found(guarded, who, by_colour).await;
    assert_eq!(ids(&events), expected.ids(Grant::Events, &[Grant::Appearance], |_| true), "by colour");
    let corner = |latitude, longitude| v1::GeoPoint { latitude, longitude };
    let points = vec![corner(51.0, 12.0), corner(53.0, 12.0), corner(53.0, 14.0), corner(51.0, 14.0)];
    let by_area = v1::EventFilter { area: Some(v1::Polygon { points }), ..Default::default() };
    let (events, _) = found(guarded, who, by_area).await;
    assert_eq!(ids(&events), expected.ids(Grant::Events, &[Grant::Position], |_| true), "by area");
    let narrow = v1::EventFilter {
        camera_ids: vec!["yard".into(), "gate-1".into(), "nowhere".into()],
        object_classes: vec!["car".into()],
        ..Default::default()
    };
    let (events, _) = found(guarded, who, narrow).await;
    let is_meant = |event: &Event| ["yard", "gate-1"].contains(&event.camera.as_str()) && &*event.object_class == "car";
    assert_eq!(ids(&events), expected.ids(Grant::Events, &[], is_meant), "by camera and class");
}

async fn counts(guarded: &Guarded, who: Who, expected: &Expected<'_>) {
    let filter = v1::EventFilter {
        from: Some(time_to_wire(NOON - Duration::from_hours(24))),
        until: Some(time_to_wire(NOON + Duration::from_hours(24))),
        ..Default::default()
    };
    let group_by = [v1::GroupBy::Camera, v1::GroupBy::Class].map(i32::from).to_vec();
    let request = v1::AggregateRequest { filter: Some(filter), group_by };
    let answer = guarded.region.query().aggregate(who.asks(request)).await.unwrap().into_inner();
    let mut plain: BTreeMap<(String, String), u64> = BTreeMap::new();
    for event in expected.events.iter().filter(|event| expected.gives(event, Grant::Counts, &[])) {
        *plain.entry((event.camera.to_string(), event.object_class.to_string())).or_default() += 1;
    }
    let told: Vec<_> =
        answer.groups.into_iter().map(|group| ((group.camera_id, group.object_class), group.count)).collect();
    assert_eq!(told, plain.into_iter().collect::<Vec<_>>());
    let counted: u64 = told.iter().map(|(_, count)| count).sum();
    assert!(counted == expected.events.len() as u64 || answer.regions[0].withheld.is_some(), "{:?}", answer.regions);
}

async fn one_by_one(guarded: &Guarded, who: Who, expected: &Expected<'_>) {
    for event in expected.events {
        let request = v1::GetEventRequest { event_id: event.id.to_string(), ..Default::default() };
        match guarded.region.query().get_event(who.asks(request)).await {
            Ok(answer) => {
                assert!(expected.gives(event, Grant::Events, &[]));
                expected.check(&answer.into_inner().event.unwrap());
            }
            Err(status) => {
                assert!(!expected.gives(event, Grant::Events, &[]), "{status}");
                assert_eq!(reason(&status), (Code::PermissionDenied, "WITHHELD".into()));
                assert!(status.message().contains("the desk"), "{status}");
            }
        }
        // The key can be made up by who knows the event.
        let request = v1::GetThumbnailRequest { thumbnail_key: format!("{}.1", event.id), ..Default::default() };
        let answer = guarded.region.query().get_thumbnail(who.asks(request)).await;
        let given =
            [Grant::Events, Grant::Live].iter().any(|access| expected.gives(event, *access, &[Grant::Thumbnails]));
        assert_eq!(answer.is_ok(), given, "{answer:?}");
        assert!(given || reason(&answer.unwrap_err()).1 == "WITHHELD");
    }
}

async fn insights(guarded: &Guarded, who: Who, expected: &Expected<'_>) {
    let mut service = InsightServiceClient::new(guarded.region.channel());
    let (from, until) = (Some(time_to_wire(NOON - Duration::from_hours(1))), Some(time_to_wire(guarded.now())));
    let filter = Some(v1::EventFilter { from, until, ..Default::default() });
    let request = v1::FindJourneysRequest {
        filter,
        sightings_alone: true,
        min_cameras: 2,
        span: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
        ..Default::default()
    };
    let journeys = service.find_journeys(who.asks(request)).await.unwrap().into_inner().journeys;
    let sighted: BTreeSet<String> = journeys
        .iter()
        .flat_map(|journey| journey.sightings.iter().map(|sighting| sighting.event_id.clone()))
        .collect();
    let plated = expected.ids(Grant::Events, &[Grant::Plates], |event| event.plate.is_some());
    assert_eq!(sighted, plated.into_iter().collect(), "by plate");
    for sighting in journeys.iter().flat_map(|journey| &journey.sightings) {
        let event = expected.events.iter().find(|event| event.id.to_string() == sighting.event_id).unwrap();
        assert_eq!(sighting.location.is_some(), expected.rule(event).unwrap().grants.has(Grant::Position));
    }
    for event in expected.events {
        let request = v1::GetTrackRequest { event_id: event.id.to_string(), ..Default::default() };
        match service.get_track(who.asks(request)).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                assert!(expected.gives(event, Grant::Events, &[]));
                for told in answer.object.iter().chain(&answer.findings) {
                    expected.check(told);
                    let event = expected.events.iter().find(|event| event.id.to_string() == told.event_id).unwrap();
                    assert!(expected.gives(event, Grant::Events, &[]), "{told:?}");
                }
                let is_placed = expected.rule(event).unwrap().grants.has(Grant::Position);
                assert!(is_placed || (answer.path.is_empty() && answer.ground.is_empty()), "{answer:?}");
            }
            Err(status) => assert_eq!(reason(&status).1, "WITHHELD", "{status}"),
        }
    }
    for name in ["gate-1", "gate-2", "lobby", "yard", "open"] {
        let request =
            v1::GetPresenceRequest { camera_id: name.into(), from, until, columns: 4, rows: 4, ..Default::default() };
        let answer = service.get_presence(who.asks(request)).await.unwrap().into_inner();
        let placed = expected
            .ids(Grant::Events, &[Grant::Position], |event| event.camera.as_str() == name && event.finding.is_none());
        assert_eq!(answer.classes.iter().map(|class| class.events).sum::<u64>(), placed.len() as u64, "{answer:?}");
    }
}

/// What may not be seen is not compared, not found, and no example.
async fn alike(guarded: &Guarded, who: Who, expected: &Expected<'_>) {
    let mut service = AppearanceServiceClient::new(guarded.region.channel());
    let example = |example| Some(v1::AppearanceExample { example: Some(example) });
    let shown = example(Example::Appearance(appearance_to_wire(&look(0.0))));
    let request = v1::SearchByAppearanceRequest { example: shown.clone(), ..Default::default() };
    let answer = service.search_by_appearance(who.asks(request)).await.unwrap().into_inner();
    let is_comparable = |event: &Event| event.appearance.is_some() && event.finding.is_none();
    let wanted: BTreeSet<String> =
        expected.ids(Grant::Events, &[Grant::Appearance], is_comparable).into_iter().collect();
    let of =
        |hits: &[v1::AppearanceHit]| -> Vec<v1::Event> { hits.iter().filter_map(|hit| hit.event.clone()).collect() };
    let found = of(&answer.hits);
    assert_eq!(ids(&found).into_iter().collect::<BTreeSet<_>>(), wanted);
    assert!(answer.compared <= wanted.len() as u64, "what is withheld is not even counted: {}", answer.compared);
    let request = v1::FollowAppearanceRequest {
        example: shown,
        min_similarity: 0.01,
        span: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        min_cameras: 2,
        ..Default::default()
    };
    let answer = service.follow_appearance(who.asks(request)).await.unwrap().into_inner();
    let followed: Vec<v1::Event> = answer.journeys.iter().flat_map(|journey| of(&journey.sightings)).collect();
    assert!(followed.iter().all(|event| wanted.contains(&event.event_id)));
    for event in found.iter().chain(&followed) {
        expected.check(event);
    }
    for event in expected.events {
        let by_event = v1::EventReference { event_id: event.id.to_string(), region_id: String::new() };
        let request =
            v1::SearchByAppearanceRequest { example: example(Example::Event(by_event)), ..Default::default() };
        let may = expected.gives(event, Grant::Events, &[Grant::Appearance]);
        match service.search_by_appearance(who.asks(request)).await {
            Ok(_) => assert!(may && event.appearance.is_some(), "{event:?}"),
            Err(status) if may => assert!(event.appearance.is_none(), "{status}"),
            Err(status) => assert_eq!(reason(&status).1, "WITHHELD", "{status}"),
        }
    }
}

async fn streams(guarded: &Guarded, who: Who, expected: &Expected<'_>) {
    for (plate, needs) in [("", vec![]), ("9", vec![Grant::Plates])] {
        let filter = Some(v1::EventFilter { plate: plate.into(), ..Default::default() });
        let request = v1::SubscribeRequest { filter, start: v1::SubscribeStart::Oldest.into(), ..Default::default() };
        let matches = |event: &Event| event.plate.as_ref().map_or(plate.is_empty(), |read| read.text.contains(plate));
        let mut wanted = expected.ids(Grant::Live, &needs, matches);
        wanted.reverse();
        let mut stream = Subscription::open_with(&guarded.region, who.asks(request)).await.unwrap();
        for id in &wanted {
            let event = stream.event().await.unwrap();
            assert_eq!(event.event_id, *id, "in commit order, and nothing between");
            expected.check(&event);
        }
    }
}

async fn cameras(guarded: &Guarded, who: Who, expected: &Expected<'_>) {
    let all: BTreeSet<&str> = READ.iter().flat_map(|(_, cameras)| cameras.iter().copied()).collect();
    let shown: Vec<&str> = all.iter().copied().filter(|name| expected.camera(name).has(Grant::Coverage)).collect();
    let mut service = guarded.region.cameras();
    let (mut listed, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListCamerasRequest { page_size: 2, page_token, ..Default::default() };
        let page = service.list_cameras(who.asks(request)).await.unwrap().into_inner();
        assert_eq!(page.withheld.first().map_or(0, |told| told.cameras) as usize, all.len() - shown.len());
        listed.extend(page.cameras);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed.iter().map(|camera| camera.camera_id.as_str()).collect::<Vec<_>>(), shown);
    for entry in &listed {
        let grants = expected.camera(&entry.camera_id);
        assert_eq!(entry.location.is_some(), grants.has(Grant::Position), "{entry:?}");
        assert_eq!(entry.address.is_empty(), !grants.has(Grant::Footage), "{entry:?}");
        let marked = |mark| entry.withheld().any(|told| told == mark);
        assert_eq!(marked(v1::Withheld::Position), !grants.has(Grant::Position));
        assert_eq!(marked(v1::Withheld::Footage), !grants.has(Grant::Footage));
    }
    for name in all {
        let request = v1::GetCameraRequest { camera_id: name.into(), ..Default::default() };
        let got = service.get_camera(who.asks(request)).await;
        assert_eq!(got.is_ok(), shown.contains(&name), "{got:?}");
        assert!(got.is_ok() || reason(&got.unwrap_err()).1 == "WITHHELD");
        if expected.camera(name) != Grants::all() {
            let delete = v1::DeleteCameraRequest { camera_id: name.into(), ..Default::default() };
            assert_eq!(reason(&service.delete_camera(who.asks(delete)).await.unwrap_err()).1, "WITHHELD");
            let camera = Some(v1::Camera { camera_id: name.into(), edge_id: "edge-9".into(), ..Default::default() });
            let put = service.put_camera(who.asks(v1::PutCameraRequest { camera })).await;
            assert_eq!(reason(&put.unwrap_err()).1, "WITHHELD", "whether it is there is not told either");
        }
    }
    let request = v1::GetCoverageRequest {
        from: Some(time_to_wire(NOON)),
        until: Some(time_to_wire(NOON + Duration::from_hours(2))),
        ..Default::default()
    };
    let mut ledger = CoverageServiceClient::new(guarded.region.channel());
    let answer = ledger.get_coverage(who.asks(request)).await.unwrap().into_inner();
    assert_eq!(answer.spans.iter().map(|span| span.camera_id.as_str()).collect::<Vec<_>>(), shown);
    assert!(shown.len() == 5 || answer.regions[0].withheld.is_some());

    let status =
        guarded.region.regions().get_status(who.asks(v1::GetStatusRequest::default())).await.unwrap().into_inner();
    let health =
        status.statuses[0].edges.iter().flat_map(|edge| edge.cameras.iter().map(|camera| camera.camera_id.as_str()));
    let health: BTreeSet<&str> = health.collect();
    assert_eq!(health, shown.iter().copied().collect());
    let counted = expected.events.iter().all(|event| expected.gives(event, Grant::Counts, &[]));
    assert!(status.statuses[0].events == 0 || counted, "how many there are is a count, too");
}

/// Both edges announce their cameras, say how they are, and send what they saw.
async fn fill(guarded: &Guarded, events: &[Event]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for (name, cameras) in READ {
        let entry = |cam: &&str| v1::Camera {
            camera_id: (*cam).to_owned(),
            address: "rtsp://10.0.0.9/s".into(),
            location: Some(v1::GeoPoint { latitude: 52.0, longitude: 13.0 }),
            ..Default::default()
        };
        let greeting = hello(name, &vigil_base::InstanceId::random().to_string());
        let greeting = v1::PublishHello { cameras: cameras.iter().map(entry).collect(), ..greeting };
        let mut edge = Edge::connect(guarded.region.channel(), greeting).await.unwrap();
        let health = cameras.iter().map(|cam| v1::CameraHealth {
            camera_id: (*cam).to_owned(),
            state: v1::CameraState::Streaming.into(),
            ..Default::default()
        });
        edge.heartbeat(v1::PublishHeartbeat { cameras: health.collect(), ..heartbeat(guarded.now(), guarded.now()) })
            .await;
        edges.push(edge);
    }
    for event in events {
        let edge = &mut edges[usize::from(event.edge.as_str() == "edge-2")];
        edge.send(vec![record_with(event, jpeg(7, 64))]).await;
        assert_eq!(edge.ack().await.unwrap().accepted, 1);
    }
    for (edge, (_, cameras)) in edges.iter_mut().zip(READ) {
        let ack = edge.report(vec![watched(NOON.round_down(MINUTE), cameras.iter().copied())]).await;
        assert!(ack.rejections.is_empty(), "{ack:?}");
    }
    edges
}

async fn nothing_leaves_that_is_withheld(index: Option<IndexConfig>) {
    let guarded = Guarded::start(OPEN, index).await;
    guarded.clock.advance(Duration::from_hours(2));
    let events = world();
    let _edges = fill(&guarded, &events).await;
    // Its generator's seed is fixed: a failing policy fails again.
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    for _ in 0..POLICIES {
        let text = some_policy().new_tree(&mut runner).unwrap().current();
        let policy: Arc<Policy> = guarded.change(&text).await;
        for who in [Who { purpose: true, ..Who::named("alice") }, Who { case: true, ..Who::default() }] {
            println!("{who:?} before\n{text}");
            let expected =
                Expected { events: &events, clearance: who.clearance(&policy, guarded.now()), now: guarded.now() };
            searches(&guarded, who, &expected).await;
            counts(&guarded, who, &expected).await;
            one_by_one(&guarded, who, &expected).await;
            streams(&guarded, who, &expected).await;
            insights(&guarded, who, &expected).await;
            alike(&guarded, who, &expected).await;
            cameras(&guarded, who, &expected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_an_embedded_index_that_the_policy_withholds_and_all_of_it_is_marked() {
    nothing_leaves_that_is_withheld(None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_postgres_that_the_policy_withholds_and_all_of_it_is_marked() {
    let server = PostgresServer::start(&[]);
    nothing_leaves_that_is_withheld(Some(IndexConfig::Postgres(server.config("vigil_policy")))).await;
}
