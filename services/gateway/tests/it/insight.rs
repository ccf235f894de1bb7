//! Questions whose answer is in no single event, over two real regions.

use tonic::Code;
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Unreachable};
use vigil_proto::v1::insight_service_client::InsightServiceClient;

use crate::real_regions::{START, event};
use crate::support::{Gateway, Region, outcomes};

#[allow(clippy::unnecessary_wraps)] // As requests take it.
fn time(second: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds: START + second, nanos: 0 })
}

fn seen(region: &str, second: i64, plate: &str) -> v1::Event {
    let plate = v1::Plate { text: plate.into(), confidence: 0.75, looks: 3, model: None };
    v1::Event { plate: Some(plate), object_class: "car".into(), ..event(region, second) }
}

fn journeys(plate: &str, plate_match: v1::PlateMatch, min_cameras: u32) -> v1::FindJourneysRequest {
    let (from, until) = (time(-60), time(86_400));
    let filter =
        v1::EventFilter { from, until, plate: plate.into(), plate_match: plate_match.into(), ..Default::default() };
    let span = Some(prost_types::Duration { seconds: 1_800, nanos: 0 });
    v1::FindJourneysRequest { filter: Some(filter), span, min_cameras, ..Default::default() }
}

#[tokio::test]
async fn a_plate_that_each_of_two_regions_has_seen_once_is_found() {
    let (north, mut south) = (Region::start("north").await, Region::start("south").await);
    north.publish(vec![seen("north", 0, "BAB12"), seen("north", 100, "MXY99"), event("north", 50)]).await;
    south.publish(vec![seen("south", 600, "BAB12"), seen("south", 700, "8AB12"), seen("south", 9_000, "MXY99")]).await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let mut client = InsightServiceClient::new(gateway.channel.clone());
    let any = journeys("", v1::PlateMatch::Unspecified, 2);
    let answer = client.find_journeys(any.clone()).await.unwrap().into_inner();
    assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", Answered)]);
    let [journey] = &answer.journeys[..] else { panic!("{:?}", answer.journeys) };
    let way: Vec<&str> = journey.sightings.iter().map(|seen| seen.region_id.as_str()).collect();
    assert_eq!((journey.plate.as_str(), journey.cameras, way), ("BAB12", 2, vec!["north", "south"]));
    assert_eq!((answer.truncated, answer.looked_from), (false, None));

    let wrong = journeys("BAB12", v1::PlateMatch::OneWrong, 2);
    let answer = client.find_journeys(wrong).await.unwrap().into_inner();
    assert_eq!(answer.journeys[0].sightings.len(), 3, "with the one that was misread");
    let few = journeys("BAB12", v1::PlateMatch::Exact, 1);
    assert_eq!(client.find_journeys(few).await.unwrap_err().code(), Code::InvalidArgument);

    south.down().await;
    let part = client.find_journeys(any).await.unwrap().into_inner();
    assert_eq!(outcomes(&part.regions), [("north", Answered), ("south", Unreachable)]);
    assert_eq!(part.journeys, [], "and it is said that a region is missing");
}

#[tokio::test]
async fn a_track_is_found_wherever_it_is_and_presence_where_it_is_asked_for() {
    let (north, south) = (Region::start("north").await, Region::start("south").await);
    let object = v1::Event { track_id: 7, end_time: time(40), ..event("south", 10) };
    south.publish(vec![object.clone()]).await;
    north.publish(vec![event("north", 10)]).await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    let mut client = InsightServiceClient::new(gateway.channel.clone());
    let ask = |event_id: &str| v1::GetTrackRequest { event_id: event_id.into(), ..Default::default() };
    let found = client.get_track(ask(&object.event_id)).await.unwrap().into_inner();
    assert_eq!(found.object.unwrap().region_id, "south");
    let nowhere = client.get_track(ask(&event("west", 3).event_id)).await.unwrap_err();
    assert_eq!(nowhere.code(), Code::NotFound);

    let presence = |region: &str| v1::GetPresenceRequest {
        camera_id: object.camera_id.clone(),
        region_id: region.into(),
        from: time(0),
        until: time(100),
        columns: 4,
        rows: 2,
        ..Default::default()
    };
    let sums = client.get_presence(presence("south")).await.unwrap().into_inner();
    assert_eq!(outcomes(&sums.regions), [("south", Answered)]);
    assert_eq!((sums.classes.len(), sums.classes[0].seconds.iter().sum::<f32>()), (1, 30.0));
    assert_eq!(client.get_presence(presence("")).await.unwrap_err().code(), Code::InvalidArgument);
}
