//! The door of a server: who asks is found out before anything else is done about a question.
//!
//! By the certificate of the connection, and, where people sign in, by the token of each call: it is verified here, its roles are
//! held against the one table of rights, and what it may ask about goes on with the request as a [`CameraScope`]. What is refused
//! is refused inside, by the service's guard, so that it is written into the audit log like any other question; only who asks too
//! much is turned away at once.

mod config;
mod held;
mod limits;
mod sign_in;

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Request};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tower_layer::Layer;
use vigil_base::{RegionId, SharedClock};
use vigil_signin::CameraScope;
use vigil_signin::http::HttpError;
use vigil_trust::{Ending, Fingerprint, Identity, PeerInfo};

pub use config::{DoorConfig, DoorSections, LimitsSection, SubjectLimits};
use held::{Held, Until};
use limits::Limiter;
use sign_in::SignIn;

use crate::around::{Around, Inside, Surrounded};
use crate::health::HealthBoard;
use crate::requester::{Requester, certified, shown_certificate};
use crate::{ErrorCode, ServiceError};

/// In which a token comes (RFC 6750, section 2.1).
const AUTHORIZATION: &str = "authorization";
/// The certificate that an operator showed to a gateway, by its SHA-256: said by the gateway, which alone has seen it.
const CLIENT_CERTIFICATE: &str = "vigil-client-certificate-bin";
/// The component's name on the health board.
const COMPONENT: &str = "sign-in";

/// Why a request is not served; in its extensions, for the service's guard.
#[derive(Debug, Clone)]
pub(crate) struct Refused(pub(crate) ServiceError);

/// The token of a call, to be passed on as it came; in the extensions of each request that has one. `Debug` shows no token.
#[derive(Debug, Clone)]
pub struct Bearer {
    /// Marked as sensitive.
    authorization: HeaderValue,
    certificate: Option<Fingerprint>,
}

impl Bearer {
    fn of(request: &Parts) -> Option<Self> {
        let mut authorization = request.headers.get(AUTHORIZATION)?.clone();
        authorization.set_sensitive(true);
        Some(Self { authorization, certificate: shown_certificate(&request.extensions) })
    }

    /// Into the metadata of a call to a region.
    pub fn write(&self, metadata: &mut MetadataMap) {
        let mut headers = std::mem::take(metadata).into_headers();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        *metadata = MetadataMap::from_headers(headers);
        if let Some(certificate) = &self.certificate {
            let value = tonic::metadata::BinaryMetadataValue::from_bytes(certificate.as_bytes());
            metadata.insert_bin(CLIENT_CERTIFICATE, value);
        }
    }
}

/// How callers are let in. Cloning shares it.
#[derive(Clone)]
pub struct Door(Arc<Inner>);

struct Inner {
    sign_in: Option<SignIn>,
    limiter: Option<Arc<Limiter>>,
    clock: SharedClock,
    /// Paths of methods whose answers are live streams.
    streams: HashSet<String>,
    /// The same, and of those that take a stream as well.
    open_ended: HashSet<String>,
}

impl std::fmt::Debug for Door {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Door").field("signs_in", &self.0.sign_in.is_some()).finish_non_exhaustive()
    }
}

impl Door {
    /// A door where nobody signs in and nothing is counted.
    pub fn open(clock: SharedClock) -> Self {
        Self::of(None, None, clock)
    }

    /// The door of a region, or of a gateway where there is none.
    ///
    /// # Errors
    /// Nobody can be believed to be the issuer's server.
    pub fn new(config: &DoorConfig, region: Option<RegionId>, clock: SharedClock) -> Result<Self, HttpError> {
        let sign_in = config.sign_in.clone().map(|sign_in| SignIn::new(sign_in, config, region, &clock)).transpose()?;
        let limiter = Some(Arc::new(Limiter::new(config.limits, Arc::clone(&clock))));
        Ok(Self::of(sign_in, limiter, clock))
    }

    fn of(sign_in: Option<SignIn>, limiter: Option<Arc<Limiter>>, clock: SharedClock) -> Self {
        let streams = methods(|method| method.is_server_streaming() && !method.is_client_streaming());
        let open_ended = methods(MethodDescriptor::is_server_streaming);
        Self(Arc::new(Inner { sign_in, limiter, clock, streams, open_ended }))
    }

    /// Follows the issuer's keys until `shutdown`, and tells the board when they cannot be had.
    pub async fn follow(self, board: HealthBoard, shutdown: CancellationToken) {
        let Some(sign_in) = &self.0.sign_in else { return };
        let mut problems = sign_in.verifier.problems();
        let telling = async {
            while problems.changed().await.is_ok() {
                match &*problems.borrow_and_update() {
                    // What is known goes on: a gateway is no use to its load balancer less than others beside it.
                    Some(problem) => board.report(COMPONENT, problem.clone(), false),
                    None => board.clear(COMPONENT),
                }
            }
        };
        tokio::select! {
            () = sign_in.verifier.follow(shutdown) => {}
            () = telling => {}
        }
    }
}

/// Paths of those methods of the contract, and of gRPC's health, that are wanted.
fn methods(is_wanted: impl Fn(&MethodDescriptor) -> bool) -> HashSet<String> {
    const COMPILED_IN: &str = "the contracts are compiled in";
    let mut pool = DescriptorPool::decode(vigil_proto::FILE_DESCRIPTOR_SET).expect(COMPILED_IN);
    pool.decode_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET).expect(COMPILED_IN);
    let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let wanted = methods.filter(is_wanted);
    wanted.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect()
}

impl<S> Layer<S> for Door {
    type Service = Surrounded<S, Self>;

    fn layer(&self, inside: S) -> Self::Service {
        Surrounded { inside, around: self.clone() }
    }
}

impl Around for Door {
    async fn serve<S: Inside>(&self, mut inside: S, request: Request<Body>) -> Response {
        let (mut parts, body) = request.into_parts();
        let bearer = Bearer::of(&parts);
        let mut requester = Requester::of_connection(&parts.extensions, &parts.headers);
        let (mut scope, mut ends_at) = (CameraScope::everything(), None);
        let connection = parts.extensions.get::<PeerInfo>().filter(|info| info.peer.is_some());
        let connection = connection.map(|info| info.ending.clone());
        if let Some(sign_in) = &self.0.sign_in
            && let Some(question) = SignIn::question(&parts)
        {
            match sign_in.admit(&parts, question, &mut requester).await {
                Ok(admitted) => (scope, ends_at) = (admitted.scope, admitted.ends_at),
                Err(refusal) => _ = parts.extensions.insert(Refused(refusal)),
            }
        }
        if let Some(over) = connection.as_ref().and_then(Ending::over) {
            parts.extensions.insert(Refused(held::refusal(over)));
        }
        let place = match self.place(&parts, &requester) {
            Ok(place) => place,
            Err(refusal) => return Status::from(refusal).into_http(),
        };
        parts.extensions.insert(requester);
        parts.extensions.insert(scope);
        if let Some(bearer) = bearer {
            parts.extensions.insert(bearer);
        }
        let is_stream = self.0.open_ended.contains(parts.uri.path());
        let Ok(response) = inside.call(Request::from_parts(parts, body)).await;
        let token = ends_at.map(|end| end.since(self.0.clock.now()));
        response.map(|body| Body::new(Held::new(body, place, Until { token, connection, is_stream })))
    }
}

impl Door {
    /// A place for a question of this requester, where it may have one more.
    fn place(&self, request: &Parts, requester: &Requester) -> Result<Option<limits::Place>, ServiceError> {
        let Some(limiter) = &self.0.limiter else { return Ok(None) };
        let is_question = SignIn::question(request).is_some();
        if !is_question || is_process(request, requester) {
            return Ok(None);
        }
        let key = match requester.proved {
            true => requester.subject.clone(),
            // Where people sign in, those who fail to are counted by where they are.
            false if self.0.sign_in.is_some() => limits::address(&request.extensions),
            false => return Ok(None),
        };
        limiter.admit(key, self.0.streams.contains(request.uri.path())).map(Some)
    }
}

/// Whether a process asks for itself, and not for a person.
fn is_process(request: &Parts, requester: &Requester) -> bool {
    match certified(&request.extensions) {
        None | Some(Identity::Operator(_)) => false,
        Some(identity) => requester.subject == identity.to_string(),
    }
}

/// The refusal of a request that was found at the door.
pub(crate) fn refusal(extensions: &http::Extensions) -> Result<(), Status> {
    match extensions.get::<Refused>() {
        Some(Refused(error)) => Err(Status::from(error.clone())),
        None => Ok(()),
    }
}

pub(crate) fn denied(message: impl Into<String>) -> ServiceError {
    ServiceError::new(ErrorCode::Denied, message)
}
