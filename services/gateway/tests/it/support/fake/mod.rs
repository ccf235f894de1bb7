//! A region over plain lists that does as it is told: a test double for faults.

mod stream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use vigil_proto::v1;
use vigil_proto::v1::camera_service_server::{CameraService, CameraServiceServer};
use vigil_proto::v1::event_query_service_server::{EventQueryService, EventQueryServiceServer};
use vigil_proto::v1::event_stream_service_server::EventStreamServiceServer;
use vigil_proto::v1::region_service_server::{RegionService, RegionServiceServer};
use vigil_serve::{ErrorCode, GrpcServer, HealthBoard, ServiceError};
use vigil_trust::{Right, Security};

use super::{ANY, PATIENCE};

/// What a fake region does with questions.
#[derive(Debug, Clone, PartialEq)]
pub enum Behaviour {
    Well,
    /// Answers after this time.
    Slow(Duration),
    /// Never answers.
    Frozen,
    /// Answers with this error.
    Failing(Code),
    /// Says that it is another region than the one that is asked.
    Another,
    /// Answers as another region.
    Named(&'static str),
    /// Answers oldest first.
    OutOfOrder,
    /// Answers more bytes than are taken.
    Oversized,
    /// Answers no events and says that there are more.
    EmptyWithMore,
}

struct State {
    id: String,
    behaviour: Mutex<Behaviour>,
    /// In order of commit.
    commits: watch::Sender<Vec<v1::Event>>,
    /// Grows when all live streams are to break.
    cuts: watch::Sender<usize>,
    cameras: Mutex<Vec<v1::Camera>>,
    report: Mutex<v1::RegionReport>,
    gap: Mutex<Option<v1::StreamGap>>,
    calls: AtomicUsize,
    timeouts: Mutex<Vec<String>>,
    subscriptions: Mutex<Vec<v1::SubscribeRequest>>,
}

/// A region that does as it is told. Ends when dropped.
pub struct FakeRegion {
    pub address: SocketAddr,
    state: Arc<State>,
    shutdown: CancellationToken,
    /// Its own, so that it can be killed like a process; none when it shares that of its maker.
    runtime: Option<Runtime>,
}

impl State {
    /// Its report of itself.
    fn report(&self) -> v1::RegionReport {
        let mut report = self.report.lock().clone();
        if let Behaviour::Named(other) = &*self.behaviour.lock() {
            (*other).clone_into(&mut report.region_id);
        }
        report
    }
}

#[derive(Clone)]
struct Service(Arc<State>);

impl FakeRegion {
    /// A region with these events.
    pub async fn start(id: &str, events: Vec<v1::Event>) -> Self {
        Self::start_at(ANY, id, events).await
    }

    /// The same at a given address.
    pub async fn start_at(address: SocketAddr, id: &str, events: Vec<v1::Event>) -> Self {
        Self::in_own_runtime(address, Self::state(id, events)).await
    }

    /// The same in the runtime of the caller: many of them are cheaper so. Cannot be killed.
    pub async fn start_shared(id: &str, events: Vec<v1::Event>) -> Self {
        let (state, shutdown) = (Self::state(id, events), CancellationToken::new());
        let address = serve(ANY, state.clone(), shutdown.clone()).await;
        Self { address, state, shutdown, runtime: None }
    }

    fn state(id: &str, events: Vec<v1::Event>) -> Arc<State> {
        let report = v1::RegionReport {
            region_id: id.to_owned(),
            outcome: v1::RegionOutcome::Answered.into(),
            ..Default::default()
        };
        Arc::new(State {
            id: id.to_owned(),
            behaviour: Mutex::new(Behaviour::Well),
            commits: watch::Sender::new(events),
            cuts: watch::Sender::new(0),
            cameras: Mutex::default(),
            report: Mutex::new(report),
            gap: Mutex::default(),
            calls: AtomicUsize::new(0),
            timeouts: Mutex::default(),
            subscriptions: Mutex::default(),
        })
    }

    async fn in_own_runtime(address: SocketAddr, state: Arc<State>) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let shutdown = CancellationToken::new();
        let address = runtime.spawn(serve(address, state.clone(), shutdown.clone())).await.unwrap();
        Self { address, state, shutdown, runtime: Some(runtime) }
    }

    /// As in a configuration.
    pub fn named(&self) -> (&str, SocketAddr) {
        (&self.state.id, self.address)
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock() = behaviour;
    }

    pub fn set_report(&self, change: impl FnOnce(&mut v1::RegionReport)) {
        change(&mut self.state.report.lock());
    }

    pub fn set_cameras(&self, ids: impl IntoIterator<Item = String>) {
        let camera = |camera_id| v1::Camera { camera_id, region_id: self.state.id.clone(), ..Default::default() };
        *self.state.cameras.lock() = ids.into_iter().map(camera).collect();
    }

    /// The next stream begins with a gap.
    pub fn set_gap(&self, gap: v1::StreamGap) {
        *self.state.gap.lock() = Some(gap);
    }

    pub fn commit(&self, event: v1::Event) {
        self.state.commits.send_modify(|events| events.push(event));
    }

    /// Breaks all live streams.
    pub fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Questions so far, streams not counted.
    pub fn calls(&self) -> usize {
        self.state.calls.load(Ordering::SeqCst)
    }

    /// The `grpc-timeout` of each question.
    pub fn timeouts(&self) -> Vec<String> {
        self.state.timeouts.lock().clone()
    }

    /// What was asked of the stream service so far.
    pub fn subscriptions(&self) -> Vec<v1::SubscribeRequest> {
        self.state.subscriptions.lock().clone()
    }

    /// Ends it like a killed process: its sockets close, nothing under way is answered.
    pub async fn kill(mut self) -> Dead {
        let runtime = self.runtime.take().expect("a region that shares its runtime cannot be killed");
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(PATIENCE)).await.unwrap();
        Dead { address: self.address, state: self.state.clone() }
    }
}

/// What a killed region leaves on its disk.
pub struct Dead {
    address: SocketAddr,
    state: Arc<State>,
}

impl Dead {
    pub fn commit(&self, event: v1::Event) {
        self.state.commits.send_modify(|events| events.push(event));
    }

    /// Starts it again at its address with what it has.
    pub async fn restart(self) -> FakeRegion {
        FakeRegion::in_own_runtime(self.address, self.state).await
    }
}

impl Drop for FakeRegion {
    fn drop(&mut self) {
        self.shutdown.cancel();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(address: SocketAddr, state: Arc<State>, shutdown: CancellationToken) -> SocketAddr {
    let server = GrpcServer::bind(address, Security::Plain, HealthBoard::new()).await.unwrap();
    let address = server.address();
    let service = Service(state);
    server
        .add_service(Right::AskRegion, EventQueryServiceServer::new(service.clone()))
        .add_service(Right::AskRegion, EventStreamServiceServer::new(service.clone()))
        .add_service(Right::AskRegion, CameraServiceServer::new(service.clone()))
        .add_service(Right::AskRegion, RegionServiceServer::new(service))
        .spawn(shutdown);
    address
}

impl Service {
    async fn asked<T>(&self, request: &Request<T>) -> Result<Behaviour, Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let timeout = request.metadata().get("grpc-timeout").map(|value| value.to_str().unwrap().to_owned());
        self.0.timeouts.lock().extend(timeout);
        let behaviour = self.0.behaviour.lock().clone();
        match behaviour {
            Behaviour::Slow(time) => tokio::time::sleep(time).await,
            Behaviour::Frozen => std::future::pending().await,
            Behaviour::Failing(code) => return Err(Status::new(code, "as it was told")),
            Behaviour::Another => return Err(ServiceError::new(ErrorCode::WrongRegion, "this is east").into()),
            _ => {}
        }
        Ok(behaviour)
    }

    fn reports(&self) -> Vec<v1::RegionReport> {
        vec![self.0.report()]
    }

    /// All events, newest first.
    fn newest_first(&self) -> Vec<v1::Event> {
        let mut events = self.0.commits.borrow().clone();
        events.sort_by_key(|event| std::cmp::Reverse(key(event)));
        events
    }
}

fn key(event: &v1::Event) -> (i64, i32, String) {
    let begin = event.begin_time.unwrap();
    (begin.seconds, begin.nanos, event.event_id.clone())
}

#[tonic::async_trait]
impl EventQueryService for Service {
    async fn search(&self, request: Request<v1::SearchRequest>) -> Result<Response<v1::SearchResponse>, Status> {
        let behaviour = self.asked(&request).await?;
        let request = request.into_inner();
        let regions = request.filter.map(|filter| filter.region_ids).unwrap_or_default();
        assert_eq!(regions, std::slice::from_ref(&self.0.id), "a gateway asks each region in its own name");
        let mut events = self.newest_first();
        if let Some(after) = request.after {
            let begin = after.begin_time.unwrap();
            events.retain(|event| key(event) < (begin.seconds, begin.nanos, after.event_id.clone()));
        }
        let more = events.len() > request.page_size as usize;
        events.truncate(request.page_size as usize);
        match behaviour {
            Behaviour::OutOfOrder => events.reverse(),
            Behaviour::EmptyWithMore => events.clear(),
            Behaviour::Oversized => events[0].object_class = "x".repeat(17 * 1024 * 1024),
            _ => {}
        }
        let more = more || behaviour == Behaviour::EmptyWithMore;
        let next_page_token = if more { "more".to_owned() } else { String::new() };
        Ok(Response::new(v1::SearchResponse { events, next_page_token, regions: self.reports(), next_after: None }))
    }

    async fn get_event(&self, request: Request<v1::GetEventRequest>) -> Result<Response<v1::GetEventResponse>, Status> {
        self.asked(&request).await?;
        let id = request.into_inner().event_id;
        let event = self.newest_first().into_iter().find(|event| event.event_id == id);
        let event = event.ok_or_else(|| Status::not_found("no such event"))?;
        Ok(Response::new(v1::GetEventResponse { event: Some(event), regions: self.reports() }))
    }

    async fn aggregate(
        &self,
        request: Request<v1::AggregateRequest>,
    ) -> Result<Response<v1::AggregateResponse>, Status> {
        self.asked(&request).await?;
        let by_region = request.into_inner().group_by.contains(&v1::GroupBy::Region.into());
        let group = v1::AggregateGroup {
            object_class: "person".to_owned(),
            region_id: if by_region { self.0.id.clone() } else { String::new() },
            count: self.0.commits.borrow().len() as u64,
            ..Default::default()
        };
        let groups = vec![group];
        Ok(Response::new(v1::AggregateResponse { groups, regions: self.reports(), truncated: false }))
    }

    async fn get_thumbnail(
        &self,
        request: Request<v1::GetThumbnailRequest>,
    ) -> Result<Response<v1::GetThumbnailResponse>, Status> {
        self.asked(&request).await?;
        let jpeg = request.into_inner().thumbnail_key.into_bytes().into();
        Ok(Response::new(v1::GetThumbnailResponse { jpeg }))
    }
}

#[tonic::async_trait]
impl RegionService for Service {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        self.asked(&request).await?;
        let regions = self.reports();
        let events = self.0.commits.borrow().len() as u64;
        let status = v1::RegionStatus { region_id: regions[0].region_id.clone(), events, ..Default::default() };
        Ok(Response::new(v1::GetStatusResponse { statuses: vec![status], regions }))
    }
}

#[tonic::async_trait]
impl CameraService for Service {
    async fn list_cameras(
        &self,
        request: Request<v1::ListCamerasRequest>,
    ) -> Result<Response<v1::ListCamerasResponse>, Status> {
        self.asked(&request).await?;
        let request = request.into_inner();
        let mut cameras = self.0.cameras.lock().clone();
        // Its page token is the last camera of the page.
        cameras.retain(|camera| camera.camera_id > request.page_token);
        let more = cameras.len() > request.page_size as usize;
        cameras.truncate(request.page_size as usize);
        let last = cameras.last().filter(|_| more);
        let next_page_token = last.map(|camera| camera.camera_id.clone()).unwrap_or_default();
        Ok(Response::new(v1::ListCamerasResponse { cameras, next_page_token, ..Default::default() }))
    }

    async fn get_camera(
        &self,
        request: Request<v1::GetCameraRequest>,
    ) -> Result<Response<v1::GetCameraResponse>, Status> {
        self.asked(&request).await?;
        let id = request.into_inner().camera_id;
        let camera = self.0.cameras.lock().iter().find(|camera| camera.camera_id == id).cloned();
        let camera = camera.ok_or_else(|| Status::not_found("no such camera"))?;
        Ok(Response::new(v1::GetCameraResponse { camera: Some(camera) }))
    }

    async fn put_camera(
        &self,
        request: Request<v1::PutCameraRequest>,
    ) -> Result<Response<v1::PutCameraResponse>, Status> {
        self.asked(&request).await?;
        let camera = request.into_inner().camera;
        self.0.cameras.lock().extend(camera.clone());
        Ok(Response::new(v1::PutCameraResponse { camera }))
    }

    async fn delete_camera(
        &self,
        request: Request<v1::DeleteCameraRequest>,
    ) -> Result<Response<v1::DeleteCameraResponse>, Status> {
        self.asked(&request).await?;
        let id = request.into_inner().camera_id;
        self.0.cameras.lock().retain(|camera| camera.camera_id != id);
        Ok(Response::new(v1::DeleteCameraResponse {}))
    }
}
