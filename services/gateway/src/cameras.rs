//! `CameraService` over all regions.
//!
//! The list is the regions' lists one after the other, in order of region id. All regions still to come are asked at once,
//! and taken in turn until the page is full. A region that fails is named and passed over: its cameras can be listed by its
//! id when it is back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use tonic::{Request, Response, Status};
use vigil_base::{CameraId, RegionId};
use vigil_proto::v1;
use vigil_proto::v1::camera_service_client::CameraServiceClient;
use vigil_proto::v1::camera_service_server::CameraService;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ServiceError, Trail};

use crate::deadline::Question;
use crate::federation::Context;
use crate::link::RegionLink;
use crate::report::{Failure, bounded, other_region};
use crate::scatter::Scatter;
use crate::tokens;

const PURPOSE: &str = "gateway.cameras";
const FIELD: &str = "page_token";
/// As long as a search's page token.
const MAX_TOKEN_AGE: Duration = Duration::from_hours(24);
/// Cameras on a page when the caller does not say.
const DEFAULT_PAGE: usize = 100;
/// Most cameras on a page.
const MAX_PAGE: usize = 1_000;
/// Cameras asked for at a time, over all regions: some 5 MB.
const MAX_ASKED: usize = 20_000;
/// Least a region is asked for.
const MIN_ASKED: usize = 20;

/// The cameras of all regions.
pub(crate) struct Cameras {
    context: Context,
}

/// Where a list goes on: in the region, with its own page token; regions before it are done.
#[derive(Clone, PartialEq, Message)]
struct ListPlace {
    /// The region the list is restricted to; empty for all.
    #[prost(string, tag = "1")]
    only: String,
    #[prost(string, tag = "2")]
    region_id: String,
    #[prost(string, tag = "3")]
    page_token: String,
}

/// One region's checked list.
struct RegionCameras {
    cameras: Vec<v1::Camera>,
    /// The region's own; empty when it has no more.
    next_page_token: String,
    /// What its policy kept back.
    withheld: Option<v1::WithheldReport>,
}

impl Cameras {
    pub(crate) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn list(
        &self,
        question: Question,
        request: v1::ListCamerasRequest,
    ) -> Result<v1::ListCamerasResponse, Status> {
        let page_size = page_size(request.page_size)?;
        let place = self.place(&request)?;
        let mut links = self.context.federation.route_or_all(&request.region_id, "region_id")?;
        links.retain(|link| link.id().as_str() >= place.region_id.as_str());
        let count = (MAX_ASKED / links.len().max(1)).max(MIN_ASKED).min(page_size);
        let token = |link: &RegionLink| {
            if link.id().as_str() == place.region_id { place.page_token.clone() } else { String::new() }
        };
        let ask = |_, link: Arc<RegionLink>| {
            let page_token = token(&link);
            list_region(link, question.clone(), page_token, count)
        };
        let asked = Scatter::new(&self.context.clock, &links, ask);
        // A region whose list is cut is asked again, for what fits alone: its token then stands at the cut.
        let cut = |link: &Arc<RegionLink>, room| list_region(link.clone(), question.clone(), token(link), room);
        let (mut response, goes_on) = take_in_turn(asked, &links, page_size, token, cut).await;
        if let Some((region, page_token)) = goes_on {
            let next = ListPlace { only: request.region_id, region_id: region.to_string(), page_token };
            response.next_page_token = self.context.key.seal(PURPOSE, &next, self.context.clock.now());
        }
        Ok(response)
    }

    fn place(&self, request: &v1::ListCamerasRequest) -> Result<ListPlace, ServiceError> {
        if request.page_token.is_empty() {
            return Ok(ListPlace::default());
        }
        let now = self.context.clock.now();
        let key = &self.context.key;
        let place: ListPlace = tokens::open(key, PURPOSE, FIELD, &request.page_token, MAX_TOKEN_AGE, now)?;
        if place.only == request.region_id {
            return Ok(place);
        }
        Err(tokens::refused(FIELD, "belongs to another region_id: repeat that of the first page, or start again"))
    }

    fn routed(&self, region: &str, camera: &str, parent: &str) -> Result<Arc<RegionLink>, ServiceError> {
        let link = self.context.federation.route(region, &format!("{parent}region_id"))?;
        CameraId::new(camera).map_err(|error| ServiceError::field(format!("{parent}camera_id"), error))?;
        Ok(link)
    }

    async fn get(&self, question: Question, request: v1::GetCameraRequest) -> Result<v1::GetCameraResponse, Status> {
        let link = self.routed(&request.region_id, &request.camera_id, "")?;
        let send = async |channel, request| CameraServiceClient::new(channel).get_camera(request).await;
        let accept = |answer: v1::GetCameraResponse| own(link.id(), answer.camera.as_ref()).map(|()| answer);
        link.read(&question, request, send, accept).await.map_err(|failure| failure.into_status(link.id()))
    }

    async fn put(&self, question: Question, request: v1::PutCameraRequest) -> Result<v1::PutCameraResponse, Status> {
        let camera = request.camera.as_ref().ok_or_else(|| ServiceError::field("camera", "is missing"))?;
        let link = self.routed(&camera.region_id, &camera.camera_id, "camera.")?;
        let send = async |channel, request| CameraServiceClient::new(channel).put_camera(request).await;
        let accept = |answer: v1::PutCameraResponse| own(link.id(), answer.camera.as_ref()).map(|()| answer);
        link.ask(&question, request, send, accept).await.map_err(|failure| failure.into_status(link.id()))
    }

    async fn delete(
        &self,
        question: Question,
        request: v1::DeleteCameraRequest,
    ) -> Result<v1::DeleteCameraResponse, Status> {
        let link = self.routed(&request.region_id, &request.camera_id, "")?;
        let send = async |channel, request| CameraServiceClient::new(channel).delete_camera(request).await;
        link.ask(&question, request, send, Ok).await.map_err(|failure| failure.into_status(link.id()))
    }
}

fn page_size(asked: i32) -> Result<usize, ServiceError> {
    match usize::try_from(asked) {
        Ok(0) => Ok(DEFAULT_PAGE),
        Ok(size) => Ok(size.min(MAX_PAGE)),
        Err(_) => Err(ServiceError::field("page_size", format!("{asked} is negative"))),
    }
}

/// A region's answer about a camera must be about a camera of its own.
fn own(region: &RegionId, camera: Option<&v1::Camera>) -> Result<(), Failure> {
    match camera {
        Some(camera) if camera.region_id == region.as_str() => Ok(()),
        Some(camera) => Err(other_region(region, &camera.region_id)),
        None => Err(Failure::Wrong("answered without the camera".to_owned())),
    }
}

async fn list_region(
    link: Arc<RegionLink>,
    question: Question,
    page_token: String,
    count: usize,
) -> Result<RegionCameras, Failure> {
    let request = v1::ListCamerasRequest {
        region_id: link.id().to_string(),
        page_size: i32::try_from(count).unwrap_or(i32::MAX),
        page_token,
    };
    let send = async |channel, request| {
        let mut client = CameraServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        client.list_cameras(request).await
    };
    link.read(&question, request, send, |answer| check(link.id(), count, answer)).await
}

/// Takes a region's list when the cameras are its own, in order, no more than asked, and some if there are more.
fn check(region: &RegionId, count: usize, answer: v1::ListCamerasResponse) -> Result<RegionCameras, Failure> {
    for camera in &answer.cameras {
        own(region, Some(camera))?;
    }
    if !answer.cameras.is_sorted_by(|a, b| a.camera_id < b.camera_id) {
        return Err(Failure::Wrong("answered cameras out of order".to_owned()));
    }
    let found = answer.cameras.len();
    if found > count || (found == 0 && !answer.next_page_token.is_empty()) {
        return Err(Failure::Wrong(format!("answered {found} cameras where {count} were asked and there are more")));
    }
    let withheld = answer.withheld.into_iter().next().map(|withheld| bounded(region, withheld));
    Ok(RegionCameras { cameras: answer.cameras, next_page_token: answer.next_page_token, withheld })
}

/// Puts the regions' lists together in order until the page is full; says where the list goes on, if it does: the region
/// and its own page token. `token` is the one a region was asked with; `cut` asks it again, for less.
async fn take_in_turn<F>(
    mut asked: Scatter<RegionCameras>,
    links: &[Arc<RegionLink>],
    page_size: usize,
    token: impl Fn(&RegionLink) -> String,
    cut: impl Fn(&Arc<RegionLink>, usize) -> F,
) -> (v1::ListCamerasResponse, Option<(RegionId, String)>)
where
    F: Future<Output = Result<RegionCameras, Failure>>,
{
    let mut response = v1::ListCamerasResponse::default();
    let mut early = BTreeMap::new();
    for (turn, link) in links.iter().enumerate() {
        let room = page_size - response.cameras.len();
        if room == 0 {
            return (response, Some((link.id().clone(), token(link))));
        }
        while !early.contains_key(&turn) {
            let Some((i, part)) = asked.next().await else { break };
            early.insert(i, part.result);
        }
        let list = match early.remove(&turn) {
            Some(Ok(list)) if list.cameras.len() > room => match cut(link, room).await {
                Ok(list) => list,
                // It answered just now: the next page begins with it.
                Err(_) => return (response, Some((link.id().clone(), token(link)))),
            },
            Some(Ok(list)) => list,
            Some(Err(failure)) => {
                response.failures.push(format!("{}: {}", link.id(), failure.detail()));
                continue;
            }
            None => continue,
        };
        response.cameras.extend(list.cameras);
        response.withheld.extend(list.withheld);
        if !list.next_page_token.is_empty() {
            return (response, Some((link.id().clone(), list.next_page_token)));
        }
    }
    (response, None)
}

#[tonic::async_trait]
impl CameraService for Cameras {
    async fn list_cameras(
        &self,
        request: Request<v1::ListCamerasRequest>,
    ) -> Result<Response<v1::ListCamerasResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        self.context.admission.serve("ListCameras", trail, self.list(question, request.into_inner())).await
    }

    async fn get_camera(
        &self,
        request: Request<v1::GetCameraRequest>,
    ) -> Result<Response<v1::GetCameraResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        self.context.admission.serve("GetCamera", trail, self.get(question, request.into_inner())).await
    }

    async fn put_camera(
        &self,
        request: Request<v1::PutCameraRequest>,
    ) -> Result<Response<v1::PutCameraResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        self.context.admission.serve("PutCamera", trail, self.put(question, request.into_inner())).await
    }

    async fn delete_camera(
        &self,
        request: Request<v1::DeleteCameraRequest>,
    ) -> Result<Response<v1::DeleteCameraResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        self.context.admission.serve("DeleteCamera", trail, self.delete(question, request.into_inner())).await
    }
}
