//! `AuditService`: a server's own audit log, searched by auditors alone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use vigil_audit::{Record, Search};
use vigil_base::{RegionId, SharedClock, Timestamp};
use vigil_proto::convert::{time_from_wire, time_to_wire, withheld_of_name};
use vigil_proto::v1;
use vigil_proto::v1::audit_service_server::AuditService;

use crate::door::denied;
use crate::requester::Requester;
use crate::trail::Trail;
use crate::{ErrorCode, Role, ServiceError, TokenKey};

const PURPOSE: &str = "audit.search.page";
/// As long as a search's page token.
const MAX_TOKEN_AGE: Duration = Duration::from_hours(24);
/// Records on a page when the request does not say.
const DEFAULT_PAGE: usize = 100;
/// Most records on a page.
const MAX_PAGE: usize = 1_000;
/// Longest text of a condition, in bytes.
const MAX_CONDITION: usize = 300;
/// Searches at a time: each reads files for up to a second.
const AT_A_TIME: usize = 2;
/// When a search that found no room may be sent again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Searches one log. Cloning shares it.
#[derive(Clone)]
pub struct AuditSearch {
    folder: Arc<PathBuf>,
    key: TokenKey,
    clock: SharedClock,
    /// None at a gateway.
    region: Option<RegionId>,
    places: Arc<Semaphore>,
}

/// Where a search goes on.
#[derive(Clone, PartialEq, Message)]
struct Place {
    #[prost(uint64, tag = "1")]
    after: u64,
    #[prost(bytes = "vec", tag = "2")]
    asked: Vec<u8>,
}

impl AuditSearch {
    /// Searches the log in `folder`, of a region or of a gateway.
    pub fn new(folder: PathBuf, key: TokenKey, clock: SharedClock, region: Option<RegionId>) -> Self {
        Self { folder: Arc::new(folder), key, clock, region, places: Arc::new(Semaphore::new(AT_A_TIME)) }
    }

    /// Whether somebody may: an auditor, as a token proves.
    ///
    /// # Errors
    /// Nobody else may.
    pub fn check(requester: &Requester) -> Result<(), ServiceError> {
        if requester.proved && requester.roles.contains(&Role::Auditor) {
            return Ok(());
        }
        let who = &requester.subject;
        let message = format!(
            "{who} may not search the audit log: auditors do, who sign in; on the server's own machine, vigil audit search DIR"
        );
        Err(denied(message))
    }

    /// One page.
    ///
    /// # Errors
    /// A field holds what it must not, or the log cannot be read.
    pub async fn page(&self, request: v1::SearchAuditRequest) -> Result<v1::SearchAuditResponse, ServiceError> {
        let asked = fingerprint(&request);
        let mut search = self.conditions(&request)?;
        search.after = self.place(&request.page_token, &asked)?;
        let full = || ServiceError {
            retry_after: Some(RETRY_AFTER),
            ..ServiceError::new(ErrorCode::LimitReached, format!("{AT_A_TIME} searches of the audit log are under way"))
        };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| full())?;
        let folder = Arc::clone(&self.folder);
        let searching = tokio::task::spawn_blocking(move || {
            let _place = place;
            vigil_audit::search(&folder, &search)
        });
        let internal = |error: &dyn std::error::Error| {
            tracing::error!(error = %crate::error::chain(error), "the audit log cannot be searched");
            ServiceError::new(ErrorCode::Internal, "the audit log cannot be read; the server's log says why")
        };
        let found = searching.await.map_err(|error| internal(&error))?.map_err(|error| internal(&error))?;
        let next = found.next.map(|after| self.key.seal(PURPOSE, &Place { after, asked }, self.clock.now()));
        let records = found.records.into_iter().map(to_wire).collect();
        Ok(v1::SearchAuditResponse { records, next_page_token: next.unwrap_or_default() })
    }

    fn conditions(&self, request: &v1::SearchAuditRequest) -> Result<Search, ServiceError> {
        let own = self.region.as_ref().map_or("", |region| region.as_str());
        if !request.region_id.is_empty() && request.region_id != own {
            return Err(ServiceError::field("region_id", format!("{:?} is not of this server", request.region_id)));
        }
        let time = |field, at: Option<_>| at.map(|at| time_from_wire(field, at)).transpose();
        let limit = match usize::try_from(request.page_size) {
            Ok(0) => DEFAULT_PAGE,
            Ok(size) => size.min(MAX_PAGE),
            Err(_) => return Err(ServiceError::field("page_size", "must not be negative")),
        };
        Ok(Search {
            from: time("from", request.from)?,
            until: time("until", request.until)?,
            subject: condition("subject", &request.subject)?,
            case: condition("case_number", &request.case_number)?,
            method: condition("method", &request.method)?,
            text: condition("text", &request.text)?,
            outcome: condition("outcome", &request.outcome)?,
            after: 0,
            limit,
        })
    }

    fn place(&self, token: &str, asked: &[u8]) -> Result<u64, ServiceError> {
        const FIELD: &str = "page_token";
        if token.is_empty() {
            return Ok(0);
        }
        let opened: Result<Place, _> = self.key.open(PURPOSE, token, MAX_TOKEN_AGE, self.clock.now());
        let place = opened.map_err(|error| {
            let code = ServiceError::from(error).code;
            ServiceError { code, ..ServiceError::field(FIELD, error) }
        })?;
        if place.asked == asked {
            return Ok(place.after);
        }
        let problem = "belongs to another search: repeat the fields of the first page, or start again";
        Err(ServiceError { code: ErrorCode::InvalidToken, ..ServiceError::field(FIELD, problem) })
    }
}

/// Tells one search from another; the size of a page is no part of it.
fn fingerprint(request: &v1::SearchAuditRequest) -> Vec<u8> {
    let bare = v1::SearchAuditRequest { page_size: 0, page_token: String::new(), ..request.clone() };
    Sha256::digest(bare.encode_to_vec()).to_vec()
}

fn condition(field: &str, text: &str) -> Result<Option<String>, ServiceError> {
    match text.len() {
        0 => Ok(None),
        1..=MAX_CONDITION => Ok(Some(text.to_owned())),
        _ => Err(ServiceError::field(field, format!("is longer than {MAX_CONDITION} bytes"))),
    }
}

fn to_wire(record: Record) -> v1::AuditRecord {
    let entry = record.entry;
    v1::AuditRecord {
        sequence: record.seq,
        time: Some(time_to_wire(Timestamp::from_micros(record.time_us))),
        subject: entry.subject,
        on_behalf_of: entry.on_behalf_of.unwrap_or_default(),
        peer: entry.peer,
        method: entry.method,
        purpose: entry.purpose.unwrap_or_default(),
        case_number: entry.case.unwrap_or_default(),
        question_json: entry.question.to_string(),
        outcome: entry.outcome.code,
        outcome_detail: entry.outcome.detail.unwrap_or_default(),
        items: entry.outcome.items,
        withheld: entry.outcome.withheld.what.iter().filter_map(|what| Some(withheld_of_name(what)?.into())).collect(),
        policies: entry.outcome.withheld.policies.into_iter().collect(),
    }
}

#[tonic::async_trait]
impl AuditService for AuditSearch {
    async fn search_audit(
        &self,
        request: Request<v1::SearchAuditRequest>,
    ) -> Result<Response<v1::SearchAuditResponse>, Status> {
        Self::check(&Requester::of(request.extensions()))?;
        let trail = Trail::of(request.extensions());
        let page = self.page(request.into_inner()).await?;
        Ok(trail.hand_out(page))
    }
}
