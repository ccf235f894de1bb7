//! Those who sign in: their tokens, held against the table of rights and the rows of `[[rights]]`.

use std::sync::Arc;

use http::request::Parts;
use metrics::counter;
use tonic::metadata::MetadataMap;
use vigil_base::{RegionId, SharedClock, Timestamp};
use vigil_signin::http::HttpError;
use vigil_signin::{CameraScope, Rights, SignInConfig, SignedIn, TokenError, Verifier};
use vigil_trust::rights::Question;
use vigil_trust::{Fingerprint, Identity};

use super::{AUTHORIZATION, CLIENT_CERTIFICATE, DoorConfig, denied};
use crate::access::Access;
use crate::requester::{Requester, certified, shown_certificate};
use crate::{ErrorCode, ServiceError};

/// When a token that cannot be verified now may be shown again.
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(10);
/// The method by which gateways look whether a region is there.
const PROBE: &str = "/vigil.v1.RegionService/GetStatus";

/// Who is let in with a token, and what it opens.
pub(super) struct SignIn {
    pub(super) verifier: Arc<Verifier>,
    rights: Rights,
    /// None at a gateway.
    region: Option<RegionId>,
}

/// What a token opens, and until when.
pub(super) struct Admitted {
    pub(super) scope: CameraScope,
    pub(super) ends_at: Option<Timestamp>,
}

impl SignIn {
    pub(super) fn new(
        sign_in: SignInConfig,
        config: &DoorConfig,
        region: Option<RegionId>,
        clock: &SharedClock,
    ) -> Result<Self, HttpError> {
        let verifier = Verifier::new(sign_in, Arc::clone(clock))?;
        let rights = Rights::new(config.rights.clone()).expect("the rows were checked when they were read");
        Ok(Self { verifier, rights, region })
    }

    /// What a call asks, where that is something that people ask.
    pub(super) fn question(request: &Parts) -> Option<Question> {
        Question::of_method(request.uri.path())
    }

    /// Lets a question in, and says in `requester` who asks, as far as that is known.
    pub(super) async fn admit(
        &self,
        request: &Parts,
        question: Question,
        requester: &mut Requester,
    ) -> Result<Admitted, ServiceError> {
        let Some(token) = token(request)? else {
            if is_probe(request) {
                return Ok(Admitted { scope: CameraScope::everything(), ends_at: None });
            }
            return Err(self.nobody("no token came with the question"));
        };
        let verified = self.verifier.verify(token, shown(request).as_ref()).await;
        let outcome = if verified.is_ok() { "taken" } else { "refused" };
        counter!("vigil_tokens_total", "outcome" => outcome).increment(1);
        let signed_in = verified.map_err(|error| match error {
            TokenError::Away(_) => ServiceError::unavailable(error.to_string(), RETRY_AFTER),
            _ => self.nobody(&error.to_string()),
        })?;
        identify(requester, &signed_in);
        may_ask(&signed_in, question)?;
        let scope = self.rights.scope(&signed_in);
        self.check_scope(&scope, question, &signed_in)?;
        Ok(Admitted { scope, ends_at: Some(signed_in.ends_at) })
    }

    fn nobody(&self, problem: &str) -> ServiceError {
        let issuer = &self.verifier.config().issuer;
        let message = format!("{problem}; who asks here signs in first: vigil sign-in --issuer {issuer}");
        ServiceError::new(ErrorCode::Unauthenticated, message)
    }

    fn check_scope(&self, scope: &CameraScope, question: Question, who: &SignedIn) -> Result<(), ServiceError> {
        // The log of who asked what is not about some cameras.
        let is_open = question == Question::Audit
            || self.region.as_ref().map_or(!scope.is_empty(), |region| scope.touches(region));
        if is_open {
            return Ok(());
        }
        let place = self.region.as_ref().map_or_else(String::new, |region| format!(" in region {region}"));
        Err(denied(format!("nothing{place} is open to {}: no row of [[rights]] is for it", who.subject)))
    }
}

fn identify(requester: &mut Requester, who: &SignedIn) {
    requester.subject.clone_from(&who.subject);
    requester.department.clone_from(&who.department);
    requester.home_region.clone_from(&who.home_region);
    requester.roles.clone_from(&who.roles);
    requester.proved = true;
}

fn may_ask(who: &SignedIn, question: Question) -> Result<(), ServiceError> {
    let takers = question.asked_by();
    if takers.iter().any(|role| who.roles.contains(role)) {
        return Ok(());
    }
    let names = |roles: &mut dyn Iterator<Item = String>| roles.collect::<Vec<_>>().join(" or ");
    let takes = names(&mut takers.iter().map(ToString::to_string));
    let has = match who.roles.len() {
        0 => "none that is known here".to_owned(),
        _ => names(&mut who.roles.iter().map(ToString::to_string)),
    };
    Err(denied(format!("{} may not {question}: that takes the role {takes}, and its token gives {has}", who.subject)))
}

/// The token of a call; an error where there is more than one, or something else.
fn token(request: &Parts) -> Result<Option<&str>, ServiceError> {
    let malformed = || ServiceError::new(ErrorCode::Unauthenticated, "authorization must be one bearer token");
    let mut values = request.headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(malformed());
    }
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(Some(token.trim())) } else { Err(malformed()) }
}

/// The certificate that whoever shows the token has proved to hold: to this server, or to the gateway that asks for it.
fn shown(request: &Parts) -> Option<Fingerprint> {
    if !matches!(certified(&request.extensions), Some(Identity::Gateway(_))) {
        return shown_certificate(&request.extensions);
    }
    let metadata = MetadataMap::from_headers(request.headers.clone());
    let bytes = metadata.get_bin(CLIENT_CERTIFICATE)?.to_bytes().ok()?;
    Some(Fingerprint::from_bytes(bytes.as_ref().try_into().ok()?))
}

/// A gateway that looks for itself whether the region is there.
fn is_probe(request: &Parts) -> bool {
    let metadata = MetadataMap::from_headers(request.headers.clone());
    request.uri.path() == PROBE
        && matches!(certified(&request.extensions), Some(Identity::Gateway(_)))
        && Access::of(&metadata).is_ok_and(|access| access.on_behalf_of.is_none())
}
