//! The camera registry over gRPC.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use tonic::Code;
use vigil_base::InstanceId;
use vigil_proto::v1;

use common::server::{Edge, TestRegion, hello, reason};

fn camera(id: &str) -> v1::Camera {
    v1::Camera {
        camera_id: id.to_owned(),
        display_name: "The gate".to_owned(),
        location: Some(v1::GeoPoint { latitude: 52.5, longitude: 13.4 }),
        address: "rtsp://10.0.0.1/stream".to_owned(),
        ..Default::default()
    }
}

fn put(camera: v1::Camera) -> v1::PutCameraRequest {
    v1::PutCameraRequest { camera: Some(camera) }
}

#[tokio::test]
async fn a_camera_is_made_read_changed_and_deleted() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut client = region.cameras();
    let made = client.put_camera(put(camera("gate-1"))).await.unwrap().into_inner().camera.unwrap();
    assert_eq!((made.region_id.as_str(), made.origin()), ("north", v1::CameraOrigin::Operator));
    assert!(made.update_time.is_some() && !made.etag.is_empty());
    let error = client.put_camera(put(camera("gate-1"))).await.unwrap_err();
    assert_eq!(reason(&error), (Code::Aborted, "CONFLICT".to_owned()));
    let renamed = v1::Camera { display_name: "West gate".into(), ..made.clone() };
    let changed = client.put_camera(put(renamed.clone())).await.unwrap().into_inner().camera.unwrap();
    assert_ne!(changed.etag, made.etag);
    assert_eq!(client.put_camera(put(renamed)).await.unwrap_err().code(), Code::Aborted, "the etag is out of date");
    let get = || v1::GetCameraRequest { camera_id: "gate-1".into(), ..Default::default() };
    assert_eq!(client.get_camera(get()).await.unwrap().into_inner().camera, Some(changed));
    let delete = || v1::DeleteCameraRequest { camera_id: "gate-1".into(), ..Default::default() };
    client.delete_camera(delete()).await.unwrap();
    assert_eq!(client.delete_camera(delete()).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(client.get_camera(get()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn bad_cameras_are_refused_without_repeating_a_password() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut client = region.cameras();
    let with_password = v1::Camera { address: "rtsp://admin:hunter2@10.0.0.1/".into(), ..camera("gate-1") };
    let error = client.put_camera(put(with_password)).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.message().contains("camera.address") && !error.message().contains("hunter2"), "{error:?}");
    let north_pole = Some(v1::GeoPoint { latitude: 91.0, longitude: 0.0 });
    let cases = [
        (v1::Camera { camera_id: "../x".into(), ..camera("c") }, "camera.camera_id"),
        (v1::Camera { display_name: "x".repeat(129), ..camera("c") }, "camera.display_name"),
        (v1::Camera { location: north_pole, ..camera("c") }, "camera.location"),
        (v1::Camera { etag: "new".into(), ..camera("c") }, "camera.etag"),
        (v1::Camera { address: "nonsense".into(), ..camera("c") }, "camera.address"),
        (v1::Camera { address: "rtsp://".into(), ..camera("c") }, "camera.address"),
    ];
    for (bad, field) in cases {
        let error = client.put_camera(put(bad)).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        assert!(error.message().starts_with(field), "{error:?}");
    }
}

#[tokio::test]
async fn cameras_are_listed_in_pages_in_order_of_their_ids() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let mut client = region.cameras();
    for i in [3, 1, 4, 0, 2] {
        client.put_camera(put(camera(&format!("gate-{i}")))).await.unwrap();
    }
    let (mut ids, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = v1::ListCamerasRequest { page_size: 2, page_token, ..Default::default() };
        let page = client.list_cameras(request).await.unwrap().into_inner();
        ids.extend(page.cameras.into_iter().map(|camera| camera.camera_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, ["gate-0", "gate-1", "gate-2", "gate-3", "gate-4"]);
    let forged = v1::ListCamerasRequest { page_token: "AAAA".into(), ..Default::default() };
    assert_eq!(reason(&client.list_cameras(forged).await.unwrap_err()).1, "INVALID_TOKEN");
}

#[tokio::test]
async fn an_edges_cameras_join_the_registry_without_their_passwords() {
    let temp = tempfile::tempdir().unwrap();
    let region = TestRegion::start(temp.path()).await;
    let announced = v1::Camera { address: "rtsp://admin:hunter2@10.0.0.1/stream".into(), ..camera("gate-1") };
    let greeting = v1::PublishHello { cameras: vec![announced], ..hello("edge-1", &InstanceId::random().to_string()) };
    let _edge = Edge::connect(region.channel(), greeting).await.unwrap();
    let list = region.cameras().list_cameras(v1::ListCamerasRequest::default()).await.unwrap().into_inner();
    let found = &list.cameras[0];
    assert_eq!((found.edge_id.as_str(), found.origin()), ("edge-1", v1::CameraOrigin::Edge));
    assert_eq!(found.address, "rtsp://10.0.0.1/stream");
}
