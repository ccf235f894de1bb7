//! `CameraService`: the region's registry of cameras.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};
use vigil_base::{CameraId, EdgeId, StreamAddress, Timestamp};
use vigil_proto::convert::{bounded_text, geo_from_wire, geo_to_wire, time_to_wire};
use vigil_proto::v1::camera_service_server::{CameraService, CameraServiceServer};
use vigil_proto::{WireError, v1};
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ErrorCode, ServiceError, Trail};

use crate::context::Context;
use crate::guard::{Found, Guard, Guest, Pass, Question};
use crate::index::{CameraEntry, CameraOrigin, Etag, PutCamera};
use crate::query::page_size;

/// Cameras on a page when the request does not say.
const DEFAULT_PAGE: usize = 100;
/// Most cameras on a page.
const MAX_PAGE: usize = 1_000;
/// Most cameras that one edge may announce.
const MAX_ANNOUNCED: usize = 1_000;
/// Longest display name, in characters.
const MAX_DISPLAY_NAME: usize = 128;
/// Longest address, in bytes.
const MAX_ADDRESS: usize = 512;

/// The service.
pub(crate) struct RegistryService {
    context: Arc<Context>,
}

impl RegistryService {
    pub(crate) fn server(context: Arc<Context>) -> CameraServiceServer<Self> {
        CameraServiceServer::new(Self { context })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[async_trait]
impl CameraService for RegistryService {
    async fn list_cameras(
        &self,
        request: Request<v1::ListCamerasRequest>,
    ) -> Result<Response<v1::ListCamerasResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        Ok(trail.hand_out(self.list(&pass, request.into_inner()).await?))
    }

    async fn get_camera(
        &self,
        request: Request<v1::GetCameraRequest>,
    ) -> Result<Response<v1::GetCameraResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        let v1::GetCameraRequest { region_id, camera_id } = request.into_inner();
        let camera = Some(self.get(&pass, &region_id, &camera_id).await?);
        Ok(trail.hand_out(v1::GetCameraResponse { camera }))
    }

    async fn put_camera(
        &self,
        request: Request<v1::PutCameraRequest>,
    ) -> Result<Response<v1::PutCameraResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        let camera = Some(self.put(&pass, request.into_inner()).await?);
        Ok(trail.hand_out(v1::PutCameraResponse { camera }))
    }

    async fn delete_camera(
        &self,
        request: Request<v1::DeleteCameraRequest>,
    ) -> Result<Response<v1::DeleteCameraResponse>, Status> {
        let (trail, pass) = (Trail::of(request.extensions()), self.pass(&request));
        let v1::DeleteCameraRequest { region_id, camera_id } = request.into_inner();
        self.delete(&pass, &region_id, &camera_id).await?;
        Ok(trail.hand_out(v1::DeleteCameraResponse {}))
    }
}

impl RegistryService {
    fn pass<T>(&self, request: &Request<T>) -> Pass {
        self.context.guard.admit(&Guest::of(request.extensions()))
    }

    async fn list(
        &self,
        pass: &Pass,
        request: v1::ListCamerasRequest,
    ) -> Result<v1::ListCamerasResponse, ServiceError> {
        let size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)?;
        self.context.check_named(&request.region_id)?;
        let after = self.context.tokens.open_camera_page(&request.page_token)?;
        let entries = self.context.guard.cameras(pass, after, size + 1).await;
        let mut entries = entries.map_err(|e| self.context.failure("listing cameras", &e))?;
        let has_more = entries.len() > size;
        entries.truncate(size);
        let last = entries.last().filter(|_| has_more);
        Ok(v1::ListCamerasResponse {
            next_page_token: last.map(|entry| self.context.tokens.camera_page(&entry.id)).unwrap_or_default(),
            cameras: entries.iter().map(|entry| self.to_wire(pass, entry)).collect(),
            failures: Vec::new(),
            withheld: Guard::kept_back(pass, &self.context.region, &Question::cameras(&[])).into_iter().collect(),
        })
    }

    async fn get(&self, pass: &Pass, region_id: &str, camera_id: &str) -> Result<v1::Camera, ServiceError> {
        let id = self.id(region_id, camera_id)?;
        let found = self.context.guard.camera(pass, &id).await;
        match found.map_err(|e| self.context.failure("reading a camera", &e))? {
            Found::Given(entry) => Ok(self.to_wire(pass, &entry)),
            Found::Withheld => Err(Guard::withheld(pass, &format!("camera {id}"))),
            Found::Missing => Err(self.missing(&id)),
        }
    }

    async fn put(&self, pass: &Pass, request: v1::PutCameraRequest) -> Result<v1::Camera, ServiceError> {
        let camera = request.camera.ok_or_else(|| ServiceError::field("camera", "is missing"))?;
        self.context.check_named(&camera.region_id)?;
        check_address(&camera.address)?;
        let expected = parse_etag(&camera.etag)?;
        let entry = entry_from_wire(camera, CameraOrigin::Operator).map_err(|e| e.within("camera"))?;
        let id = entry.id.clone();
        let put = self.context.guard.put_camera(pass, entry, expected).await;
        match put.map_err(|e| self.context.failure("putting a camera", &e))? {
            Found::Given(PutCamera::Stored(entry)) => Ok(self.to_wire(pass, &entry)),
            Found::Given(PutCamera::Conflict(current)) => Err(conflict(&id, expected, current)),
            Found::Withheld => Err(changing_withheld(pass, &id)),
            Found::Missing => Err(self.missing(&id)),
        }
    }

    async fn delete(&self, pass: &Pass, region_id: &str, camera_id: &str) -> Result<(), ServiceError> {
        let id = self.id(region_id, camera_id)?;
        let deleted = self.context.guard.delete_camera(pass, &id).await;
        match deleted.map_err(|e| self.context.failure("deleting a camera", &e))? {
            Found::Given(()) => Ok(()),
            Found::Withheld => Err(changing_withheld(pass, &id)),
            Found::Missing => Err(self.missing(&id)),
        }
    }

    fn id(&self, region_id: &str, camera_id: &str) -> Result<CameraId, ServiceError> {
        self.context.check_named(region_id)?;
        CameraId::new(camera_id).map_err(|e| ServiceError::field("camera_id", e))
    }

    fn missing(&self, id: &CameraId) -> ServiceError {
        ServiceError::new(ErrorCode::NotFound, format!("region {} has no camera {id}", self.context.region))
    }

    fn to_wire(&self, pass: &Pass, entry: &CameraEntry) -> v1::Camera {
        let origin = match entry.origin {
            CameraOrigin::Edge => v1::CameraOrigin::Edge,
            CameraOrigin::Operator => v1::CameraOrigin::Operator,
        };
        let wire = v1::Camera {
            camera_id: entry.id.to_string(),
            region_id: self.context.region.to_string(),
            edge_id: entry.edge.as_ref().map(ToString::to_string).unwrap_or_default(),
            display_name: entry.display_name.clone(),
            location: entry.location.map(geo_to_wire),
            address: entry.address.clone(),
            origin: origin.into(),
            update_time: Some(time_to_wire(entry.update_time)),
            etag: entry.etag.0.to_string(),
            withheld: Vec::new(),
        };
        pass.cleared_camera(entry, wire)
    }
}

fn changing_withheld(pass: &Pass, id: &CameraId) -> ServiceError {
    Guard::withheld(pass, &format!("something of camera {id}, and only who is given all about it may change it"))
}

fn conflict(id: &CameraId, expected: Option<Etag>, current: Option<Etag>) -> ServiceError {
    let problem = match (expected, current) {
        (None, _) => "is there already; read it and put it with its etag",
        (Some(_), Some(_)) => "was changed since it was read; read it again, merge, put again",
        (Some(_), None) => "is no longer there; put it without an etag to make it again",
    };
    ServiceError::new(ErrorCode::Conflict, format!("camera {id} {problem}"))
}

fn parse_etag(text: &str) -> Result<Option<Etag>, ServiceError> {
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse().map_err(|_| ServiceError::field("camera.etag", "is not an etag of this region"))?;
    Ok(Some(Etag(number)))
}

/// The cameras of an edge's hello. A user or password in an address is left out: the registry is read by many.
pub(crate) fn announced_cameras(edge: &EdgeId, cameras: Vec<v1::Camera>) -> Result<Vec<CameraEntry>, WireError> {
    if cameras.len() > MAX_ANNOUNCED {
        return Err(WireError::new("cameras", format!("has {} entries; at most {MAX_ANNOUNCED}", cameras.len())));
    }
    let entry = |camera: v1::Camera| {
        let address = without_credentials(&camera.address);
        let camera = v1::Camera { edge_id: edge.to_string(), address, ..camera };
        entry_from_wire(camera, CameraOrigin::Edge).map_err(|e| e.within("cameras"))
    };
    cameras.into_iter().map(entry).collect()
}

/// The address without what stands before an `@` in its authority (RFC 3986, section 3.2.1).
fn without_credentials(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").map_or(("", address), |(scheme, rest)| (scheme, rest));
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") }
}

/// What an operator puts must be an address as an edge's configuration takes it, or none.
fn check_address(address: &str) -> Result<(), ServiceError> {
    if address.contains('@') {
        return Err(ServiceError::field("camera.address", "must not hold a user or password"));
    }
    if !address.is_empty() {
        address.parse::<StreamAddress>().map_err(|error| ServiceError::field("camera.address", error))?;
    }
    Ok(())
}

fn entry_from_wire(camera: v1::Camera, origin: CameraOrigin) -> Result<CameraEntry, WireError> {
    let edge = (!camera.edge_id.is_empty()).then(|| EdgeId::new(&camera.edge_id)).transpose();
    // Four bytes hold any character.
    let display_name = bounded_text("display_name", camera.display_name, 4 * MAX_DISPLAY_NAME)?;
    if display_name.chars().count() > MAX_DISPLAY_NAME {
        return Err(WireError::new("display_name", format!("is longer than {MAX_DISPLAY_NAME} characters")));
    }
    Ok(CameraEntry {
        id: CameraId::new(&camera.camera_id).map_err(|e| WireError::new("camera_id", e))?,
        edge: edge.map_err(|e| WireError::new("edge_id", e))?,
        display_name,
        location: camera.location.map(|at| geo_from_wire("location", at)).transpose()?,
        address: bounded_text("address", camera.address, MAX_ADDRESS)?,
        origin,
        update_time: Timestamp::MIN,
        etag: Etag(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_announced_addresses_are_left_out() {
        let cases = [
            ("rtsp://admin:hunter2@10.0.0.1:554/s?u=a@b", "rtsp://10.0.0.1:554/s?u=a@b"),
            ("rtsp://a:p@ss@10.0.0.1/", "rtsp://10.0.0.1/"),
            ("rtsp://10.0.0.1/a@b", "rtsp://10.0.0.1/a@b"),
            ("admin:hunter2@host", "host"),
            ("", ""),
        ];
        for (address, expected) in cases {
            assert_eq!(without_credentials(address), expected);
        }
    }
}
