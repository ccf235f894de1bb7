//! Who looked like this, over real regions.

use image::{Rgb, RgbImage};
use tonic::Code;
use vigil_base::event::{Appearance, AppearanceMethod, AppearanceVector};
use vigil_proto::convert::appearance_to_wire;
use vigil_proto::v1;
use vigil_proto::v1::RegionOutcome::{Answered, Unreachable};
use vigil_proto::v1::appearance_example::Example;
use vigil_proto::v1::appearance_service_client::AppearanceServiceClient;

use crate::real_regions::event;
use crate::support::{Gateway, Region, outcomes};

/// A look that turns with `degrees`.
fn look(degrees: f32) -> v1::Appearance {
    let (sin, cos) = degrees.to_radians().sin_cos();
    let values: Vec<f32> = (0..128).map(|i| if i % 2 == 0 { cos } else { sin }).collect();
    let method = AppearanceMethod { name: "hsv-stripes".into(), version: "1".into() };
    let vector = AppearanceVector::quantise(&values).unwrap();
    appearance_to_wire(&Appearance { vector, method, looks: 3, quality: 0.5 })
}

fn looking(region: &str, second: i64, degrees: f32) -> v1::Event {
    v1::Event { appearance: Some(look(degrees)), ..event(region, second) }
}

async fn ask(gateway: &Gateway, example: Example, limit: i32) -> Result<v1::SearchByAppearanceResponse, tonic::Status> {
    let example = Some(v1::AppearanceExample { example: Some(example) });
    let request = v1::SearchByAppearanceRequest { example, limit, ..Default::default() };
    let mut client = AppearanceServiceClient::new(gateway.channel.clone());
    client.search_by_appearance(request).await.map(tonic::Response::into_inner)
}

fn found(answer: &v1::SearchByAppearanceResponse) -> Vec<(&str, i64)> {
    let of = |hit: &'_ v1::AppearanceHit| hit.event.as_ref().map(|event| event.begin_time.unwrap().seconds % 1_000);
    let regions = answer.hits.iter().map(|hit| hit.event.as_ref().unwrap().region_id.as_str());
    regions.zip(answer.hits.iter().map(|hit| of(hit).unwrap())).collect()
}

async fn two_regions() -> (Region, Region, Gateway) {
    let (north, south) = (Region::start("north").await, Region::start("south").await);
    north.publish((0..5).map(|i| looking("north", i, 10.0 * i as f32)).collect()).await;
    let mut other = looking("south", 9, 0.0);
    other.appearance.as_mut().unwrap().method.as_mut().unwrap().version = "2".into();
    let alike = (0..5).map(|i| looking("south", 100 + i, 5.0 + 10.0 * i as f32));
    south.publish(alike.chain([other]).collect()).await;
    let gateway = Gateway::start(&[north.named(), south.named()]).await;
    (north, south, gateway)
}

#[tokio::test]
async fn an_event_of_one_region_is_looked_for_in_all_and_a_region_that_is_down_is_told() {
    let (north, mut south, gateway) = two_regions().await;
    let shown = v1::EventReference { event_id: event("north", 0).event_id, region_id: String::new() };
    let answer = ask(&gateway, Example::Event(shown.clone()), 4).await.unwrap();
    assert_eq!(found(&answer), [("north", 0), ("south", 100), ("north", 1), ("south", 101)]);
    assert_eq!(outcomes(&answer.regions), [("north", Answered), ("south", Answered)]);
    assert_eq!(answer.compared, 10);
    let others: Vec<_> = answer.not_comparable.iter().map(|other| (other.region_id.as_str(), other.events)).collect();
    assert_eq!(others, [("south", 1)]);
    assert_eq!(answer.asked, Some(look(0.0)));

    south.down().await;
    let shown = v1::EventReference { region_id: "north".into(), ..shown };
    let partial = ask(&gateway, Example::Event(shown), 4).await.unwrap();
    assert_eq!(found(&partial), [("north", 0), ("north", 1), ("north", 2), ("north", 3)]);
    assert_eq!(outcomes(&partial.regions), [("north", Answered), ("south", Unreachable)]);
    drop(north);
}

#[tokio::test]
async fn a_way_leads_through_regions_and_their_cameras_of_one_name_are_two() {
    let (_north, _south, gateway) = two_regions().await;
    let mut client = AppearanceServiceClient::new(gateway.channel.clone());
    let request = v1::FollowAppearanceRequest {
        example: Some(v1::AppearanceExample { example: Some(Example::Appearance(look(0.0))) }),
        filter: None,
        min_similarity: 0.99,
        span: Some(prost_types::Duration { seconds: 300, nanos: 0 }),
        min_cameras: 2,
    };
    let answer = client.follow_appearance(request).await.unwrap().into_inner();
    assert_eq!(answer.journeys.len(), 1);
    assert_eq!((answer.journeys[0].sightings.len(), answer.journeys[0].cameras), (2, 2), "0 and 5 degrees");
}

#[tokio::test]
async fn a_picture_is_looked_into_here_and_a_bad_one_asks_nobody() {
    let (_north, _south, gateway) = two_regions().await;
    let mut png = std::io::Cursor::new(Vec::new());
    RgbImage::from_pixel(40, 80, Rgb([200, 30, 30])).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let picture = |image: Vec<u8>| Example::Picture(v1::Picture { image: image.into(), r#box: None });
    let answer = ask(&gateway, picture(png.get_ref().clone()), 1).await.unwrap();
    assert_eq!((answer.hits.len(), answer.asked.unwrap().vector.len()), (1, 128));
    let half = png.get_ref()[..png.get_ref().len() / 2].to_vec();
    for bad in [half, b"no picture".to_vec()] {
        assert_eq!(ask(&gateway, picture(bad), 1).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let nobody = v1::EventReference { event_id: event("west", 3).event_id, region_id: String::new() };
    assert_eq!(ask(&gateway, Example::Event(nobody), 1).await.unwrap_err().code(), Code::NotFound);
}
