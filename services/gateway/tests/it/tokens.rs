//! Page tokens: whose they are, what they are good for.

use tonic::Code;
use tonic_types::StatusExt;
use vigil_proto::v1;

use crate::support::{FakeRegion, Gateway, event, outcomes, seconds};

async fn region() -> FakeRegion {
    FakeRegion::start("north", [9, 5, 3].map(|s| event("north", s)).to_vec()).await
}

async fn refused(gateway: &Gateway, request: v1::SearchRequest) -> String {
    let status = gateway.query().search(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    status.get_error_details().error_info().unwrap().reason.clone()
}

#[tokio::test]
async fn two_gateways_with_one_key_file_go_on_with_each_others_pages() {
    let north = region().await;
    let one = Gateway::start(&[north.named()]).await;
    let key = one.key_file();
    let other = Gateway::start_with(&[north.named()], |config| config.token_key_file = key).await;
    let first = one.page(1, "").await;
    let second = other.page(1, &first.next_page_token).await;
    let third = one.page(1, &second.next_page_token).await;
    assert_eq!([first, second, third].map(|page| seconds(&page.events)), [[9], [5], [3]]);
}

#[tokio::test]
async fn forged_foreign_and_misused_tokens_are_refused() {
    let north = region().await;
    let gateway = Gateway::start(&[north.named()]).await;
    let foreign = Gateway::start(&[north.named()]).await.page(1, "").await.next_page_token;
    let own = gateway.page(1, "").await.next_page_token;
    let mut forged = own.clone().into_bytes();
    forged[30] ^= 1;
    for page_token in [foreign, String::from_utf8(forged).unwrap(), "garbage".into()] {
        let request = v1::SearchRequest { page_token, ..Default::default() };
        assert_eq!(refused(&gateway, request).await, "INVALID_TOKEN");
    }
    let filter = Some(v1::EventFilter { min_confidence: 0.5, ..Default::default() });
    let other_filter = v1::SearchRequest { filter, page_token: own.clone(), ..Default::default() };
    assert_eq!(refused(&gateway, other_filter).await, "INVALID_TOKEN");
    let as_camera_token = v1::ListCamerasRequest { page_token: own.clone(), ..Default::default() };
    assert_eq!(gateway.cameras().list_cameras(as_camera_token).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(seconds(&gateway.page(50, &own).await.events), [5, 3], "it is still good for what it was made for");
}

#[tokio::test]
async fn a_region_that_is_no_longer_configured_is_reported_and_keeps_its_place() {
    let (north, south) = (region().await, FakeRegion::start("south", vec![event("south", 4)]).await);
    let wide = Gateway::start(&[north.named(), south.named()]).await;
    let key = wide.key_file();
    let narrow = Gateway::start_with(&[north.named()], |config| config.token_key_file = key).await;
    let first = wide.page(1, "").await;
    let second = narrow.page(50, &first.next_page_token).await;
    assert_eq!(seconds(&second.events), [5, 3]);
    let failed = v1::RegionOutcome::Failed;
    assert_eq!(outcomes(&second.regions), [("north", v1::RegionOutcome::Answered), ("south", failed)]);
    assert_eq!(seconds(&wide.page(50, &second.next_page_token).await.events), [4]);
}
