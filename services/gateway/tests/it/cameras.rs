//! The cameras of all regions.

use std::time::Duration;

use tonic::Code;
use vigil_proto::v1;

use crate::support::{Behaviour, FakeRegion, Gateway};

async fn region(id: &str, cameras: &[&str]) -> FakeRegion {
    let region = FakeRegion::start(id, Vec::new()).await;
    region.set_cameras(cameras.iter().map(ToString::to_string));
    region
}

fn names(answer: &v1::ListCamerasResponse) -> Vec<String> {
    answer.cameras.iter().map(|camera| format!("{}/{}", camera.region_id, camera.camera_id)).collect()
}

async fn list(gateway: &Gateway, request: v1::ListCamerasRequest) -> v1::ListCamerasResponse {
    gateway.cameras().list_cameras(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn the_list_goes_through_the_regions_in_order_and_over_pages() {
    let (a, b, c) = (region("a", &["1", "2", "3"]).await, region("b", &[]).await, region("c", &["1", "2"]).await);
    let gateway = Gateway::start(&[c.named(), b.named(), a.named()]).await;
    for page_size in 1..7 {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let page = list(&gateway, v1::ListCamerasRequest { page_size, page_token, ..Default::default() }).await;
            assert!(page.cameras.len() <= page_size as usize && page.failures.is_empty());
            all.extend(names(&page));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(all, ["a/1", "a/2", "a/3", "c/1", "c/2"], "pages of {page_size}");
    }
    let only = list(&gateway, v1::ListCamerasRequest { region_id: "c".into(), ..Default::default() }).await;
    assert_eq!(names(&only), ["c/1", "c/2"]);
}

#[tokio::test]
async fn a_region_that_does_not_answer_is_named_and_passed_over() {
    let (a, b) = (region("a", &["1"]).await, region("b", &["1"]).await);
    let gateway = Gateway::start(&[a.named(), b.named()]).await;
    a.behave(Behaviour::Frozen);
    let mut request = tonic::Request::new(v1::ListCamerasRequest::default());
    request.set_timeout(Duration::from_millis(500));
    let answer = gateway.cameras().list_cameras(request).await.unwrap().into_inner();
    assert_eq!(names(&answer), ["b/1"]);
    assert!(answer.failures[0].starts_with("a: did not answer within"), "{:?}", answer.failures);
    assert_eq!(answer.next_page_token, "");
}

#[tokio::test]
async fn one_camera_is_read_put_and_deleted_in_its_own_region() {
    let (a, b) = (region("a", &[]).await, region("b", &[]).await);
    let gateway = Gateway::start(&[a.named(), b.named()]).await;
    let mut client = gateway.cameras();
    let camera = v1::Camera { camera_id: "gate".into(), region_id: "b".into(), ..Default::default() };
    client.put_camera(v1::PutCameraRequest { camera: Some(camera.clone()) }).await.unwrap();
    let get = |region: &str| v1::GetCameraRequest { region_id: region.into(), camera_id: "gate".into() };
    assert_eq!(client.get_camera(get("b")).await.unwrap().into_inner().camera, Some(camera));
    let status = client.get_camera(get("a")).await.unwrap_err();
    assert!(status.code() == Code::NotFound && status.message().starts_with("region a:"), "{status}");
    let delete = v1::DeleteCameraRequest { region_id: "b".into(), camera_id: "gate".into() };
    client.delete_camera(delete).await.unwrap();
    assert_eq!(client.get_camera(get("b")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_camera_without_a_usable_region_or_id_is_refused() {
    let a = region("a", &[]).await;
    let gateway = Gateway::start(&[a.named()]).await;
    let mut client = gateway.cameras();
    for (region, camera) in [("", "gate"), ("nowhere", "gate"), ("a", "../gate")] {
        let request = v1::GetCameraRequest { region_id: region.into(), camera_id: camera.into() };
        assert_eq!(client.get_camera(request).await.unwrap_err().code(), Code::InvalidArgument, "{region}/{camera}");
    }
    let status = client.put_camera(v1::PutCameraRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
}
