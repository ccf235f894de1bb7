//! Every question into the audit log, before its answer leaves.
//!
//! A layer around the services: it reads the request, lets the service answer, writes down who asked what and what came of it, and
//! only then lets the answer go. When the log cannot be written, the answer is UNAVAILABLE. A live stream is written down when it is
//! opened, before its first message, and again when it ends, with what was delivered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use http::{HeaderMap, Request};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, Value};
use serde_json::json;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tower_layer::Layer;
use vigil_audit::{AuditError, AuditLog, Entry, Outcome};
use vigil_trust::{Identity, PeerInfo, Role};

use crate::access::Access;
use crate::around::{Around, Inside, Surrounded};
use crate::error::chain;
use crate::requester::{ANONYMOUS, Requester, certified};
use crate::surroundings::Threads;
use crate::trail::{AtEnd, Trail};
use crate::{ErrorCode, ServiceError};

/// Largest question: a page token over 1,000 regions and the largest filter fit in many times over.
const MAX_QUESTION: usize = 1024 * 1024;
/// Longest question that is written down whole; of a longer one, its size and what it asks of are.
const MAX_WRITTEN: usize = 64 * 1024;
/// Bytes before a gRPC message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;
/// When an answer that could not be written down may be asked for again.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// Services whose calls are questions, or change what is asked about. What edges send and what machines ask of each other's state is
/// not among them.
const SERVICES: [&str; 7] = [
    "vigil.v1.AppearanceService",
    "vigil.v1.EventQueryService",
    "vigil.v1.EventStreamService",
    "vigil.v1.InsightService",
    "vigil.v1.CameraService",
    "vigil.v1.CoverageService",
    "vigil.v1.AuditService",
];
/// Longest bytes of a question that are written down; of longer ones, as a picture or an appearance, their number and SHA-256.
const MAX_BYTES_WRITTEN: usize = 64;
/// What every question must say about itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Required {
    /// Why it is asked.
    pub purpose: bool,
    /// The case it is for.
    pub case: bool,
}

/// The log, and how its thread is waited for.
#[derive(Debug, Clone)]
struct Log {
    log: Arc<AuditLog>,
    threads: Threads,
}

impl Log {
    async fn append(&self, entry: Entry) -> Result<u64, AuditError> {
        self.threads.settle(self.log.append(entry)).await
    }

    /// Writes down the end of a live stream, whose opening is in `entry`.
    fn at_end(&self, entry: &Entry) -> AtEnd {
        let (log, mut entry) = (self.clone(), entry.clone());
        entry.method.push_str(" ended");
        Box::new(move |outcome| {
            entry.outcome = outcome;
            // Outside a runtime the process ends, and the log with it.
            let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
            runtime.spawn(async move {
                if let Err(error) = log.append(entry).await {
                    tracing::error!(error = %chain(&error), "the end of a live stream is not in the audit log");
                }
            });
        })
    }
}

/// A method whose calls are written down.
#[derive(Debug)]
struct Method {
    path: String,
    input: MessageDescriptor,
    is_stream: bool,
}

impl Method {
    /// Who asks, and what.
    fn entry(&self, parts: &http::request::Parts, body: &Bytes) -> Entry {
        let (subject, on_behalf_of) = asker(&parts.extensions);
        let peer = parts.extensions.get::<PeerInfo>().and_then(|info| info.address);
        Entry {
            subject,
            on_behalf_of,
            peer: peer.map_or_else(String::new, |peer: SocketAddr| peer.ip().to_string()),
            method: self.path.trim_start_matches("/vigil.v1.").to_owned(),
            purpose: None,
            case: None,
            question: question(&self.input, body),
            outcome: Outcome::ok(0),
        }
    }
}

/// Writes down the calls of some services.
#[derive(Debug, Clone)]
pub struct AuditLayer {
    log: Log,
    required: Required,
    methods: Arc<Vec<Method>>,
}

impl AuditLayer {
    /// Writes calls into `log`, and refuses those that do not say what is required.
    pub fn new(log: Arc<AuditLog>, required: Required) -> Self {
        const COMPILED_IN: &str = "the contract is compiled in";
        let pool = DescriptorPool::decode(vigil_proto::FILE_DESCRIPTOR_SET).expect(COMPILED_IN);
        let mut methods = Vec::new();
        for name in SERVICES {
            let service = pool.get_service_by_name(name).expect(COMPILED_IN);
            methods.extend(service.methods().map(|method| Method {
                path: format!("/{name}/{}", method.name()),
                input: method.input(),
                is_stream: method.is_server_streaming(),
            }));
        }
        Self { log: Log { log, threads: Threads::Aside }, required, methods: Arc::new(methods) }
    }

    /// The same, where what is written is waited for otherwise.
    #[must_use]
    pub fn waiting(self, threads: Threads) -> Self {
        Self { log: Log { threads, ..self.log }, ..self }
    }
}

impl<S> Layer<S> for AuditLayer {
    type Service = Surrounded<S, Self>;

    fn layer(&self, inside: S) -> Self::Service {
        Surrounded { inside, around: self.clone() }
    }
}

impl Around for AuditLayer {
    async fn serve<S: Inside>(&self, mut inside: S, request: Request<Body>) -> Response {
        if let Some(method) = self.methods.iter().find(|method| method.path == request.uri().path()) {
            return self.answer(method, inside, request).await;
        }
        let Ok(response) = inside.call(request).await;
        response
    }
}

impl AuditLayer {
    async fn answer<S: Inside>(&self, method: &Method, mut inside: S, request: Request<Body>) -> Response {
        let (mut parts, body) = request.into_parts();
        let Ok(body) = axum::body::to_bytes(body, MAX_QUESTION).await else {
            let message =
                format!("the question is too large (at most {MAX_QUESTION} bytes are taken), or did not arrive whole");
            return refusal(ServiceError::new(ErrorCode::LimitReached, message));
        };
        let mut entry = method.entry(&parts, &body);
        let access = match self.admit(&parts) {
            Ok(access) => access,
            Err(error) => {
                entry.outcome = Outcome::failed("Refused", &error.message);
                return self.written(entry, refusal(error)).await;
            }
        };
        (entry.purpose, entry.case) = (access.purpose.clone(), access.case.clone());
        let trail = Trail::new(method.is_stream.then(|| self.log.at_end(&entry)));
        parts.extensions.insert(access);
        parts.extensions.insert(trail.clone());
        let Ok(response) = inside.call(Request::from_parts(parts, Body::from(body))).await;
        entry.outcome = outcome(response.headers(), &trail);
        self.written(entry, response).await
    }

    /// What the question says about itself, when it says what is required, and nothing that it may not say.
    fn admit(&self, parts: &http::request::Parts) -> Result<Access, ServiceError> {
        let access = Access::of(&MetadataMap::from_headers(parts.headers.clone()))?;
        if let Some(identity) = certified(&parts.extensions).filter(|identity| identity.role() != Role::Gateway)
            && access.on_behalf_of.is_some()
        {
            let message = format!("{identity} may not ask on behalf of others: only gateways do");
            return Err(ServiceError::new(ErrorCode::Denied, message));
        }
        let missing = [
            ("a purpose", self.required.purpose && access.purpose.is_none()),
            ("a case number", self.required.case && access.case.is_none()),
        ];
        match missing.iter().find(|(_, missing)| *missing) {
            Some((what, _)) => {
                let message =
                    format!("no question is answered here without {what}: say why you ask (--purpose, --case)");
                Err(ServiceError::new(ErrorCode::Denied, message))
            }
            None => Ok(access),
        }
    }

    /// The response, once the entry is on the disk.
    async fn written(&self, entry: Entry, response: Response) -> Response {
        match self.log.append(entry).await {
            Ok(_) => response,
            Err(error) => {
                let what = match error {
                    AuditError::TooLarge { .. } => "the question is too large to be written into the audit log",
                    _ => "no answer is given while the audit log cannot be written; the server's log says why",
                };
                refusal(ServiceError::unavailable(what, RETRY_AFTER))
            }
        }
    }
}

/// Who asks, as it was proved, and on whose behalf: a gateway stands in the log beside whom it asks for.
fn asker(extensions: &http::Extensions) -> (String, Option<String>) {
    let requester = Requester::of(extensions);
    let shown = match certified(extensions) {
        Some(gateway @ Identity::Gateway(_)) => gateway.to_string(),
        _ if requester.proved => return (requester.subject, None),
        _ => ANONYMOUS.to_owned(),
    };
    let other = Some(requester.subject).filter(|subject| *subject != shown);
    (shown, other)
}

/// The request's message as JSON (the proto3 JSON mapping); what it is instead where it is not a message of this kind.
fn question(input: &MessageDescriptor, body: &Bytes) -> serde_json::Value {
    let undecoded = || json!({ "undecodable_bytes": body.len() });
    let Some(message) = body.get(PREFIX..) else { return undecoded() };
    let Ok(decoded) = DynamicMessage::decode(input.clone(), message) else {
        return if message.len() > MAX_WRITTEN { left_out(message) } else { undecoded() };
    };
    let Ok(mut told) = serde_json::to_value(&decoded) else { return undecoded() };
    let spared = spare_bytes(&decoded, &mut told);
    if message.len() - spared > MAX_WRITTEN { left_out(message) } else { told }
}

/// What is not written down, to be recognised by whoever has it.
fn left_out(bytes: &[u8]) -> serde_json::Value {
    json!({ "left_out_bytes": bytes.len(), "sha256": vigil_audit::Digest::of(bytes).to_string() })
}

/// Leaves long bytes out of what is told of a message; how many.
fn spare_bytes(message: &DynamicMessage, told: &mut serde_json::Value) -> usize {
    let mut spared = 0;
    for (field, value) in message.fields() {
        let Some(told) = told.get_mut(field.json_name()) else { continue };
        match value {
            Value::Bytes(bytes) if bytes.len() > MAX_BYTES_WRITTEN => {
                *told = left_out(bytes);
                spared += bytes.len();
            }
            Value::Message(message) => spared += spare_bytes(message, told),
            _ => {}
        }
    }
    spared
}

/// What a response says came of the call. A service that fails says so in the headers; what fails later, in a live stream, is its end.
fn outcome(headers: &HeaderMap, trail: &Trail) -> Outcome {
    match Status::from_header_map(headers).filter(|status| status.code() != Code::Ok) {
        Some(status) => Outcome::failed(format!("{:?}", status.code()), status.message()),
        None => trail.outcome(),
    }
}

fn refusal(error: ServiceError) -> Response {
    Status::from(error).into_http()
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use vigil_proto::v1;

    use super::*;

    fn told(image: Vec<u8>) -> serde_json::Value {
        let pool = DescriptorPool::decode(vigil_proto::FILE_DESCRIPTOR_SET).unwrap();
        let input = pool.get_message_by_name("vigil.v1.SearchByAppearanceRequest").unwrap();
        let picture = v1::Picture { image: image.into(), r#box: None };
        let example = Some(v1::appearance_example::Example::Picture(picture));
        let request = v1::SearchByAppearanceRequest {
            example: Some(v1::AppearanceExample { example }),
            limit: 7,
            ..Default::default()
        };
        question(&input, &Bytes::from([vec![0; PREFIX], request.encode_to_vec()].concat()))
    }

    #[test]
    fn of_a_picture_its_hash_is_written_down_and_the_rest_of_the_question_whole() {
        let image = vec![0x5a; 500_000];
        let told = told(image.clone());
        assert_eq!(told["limit"], 7);
        let written = &told["example"]["picture"]["image"];
        assert_eq!(written["left_out_bytes"], 500_000);
        assert_eq!(written["sha256"], vigil_audit::Digest::of(&image).to_string());
        assert!(told.to_string().len() < 500);
    }
}
