//! `EnrolmentService` and `RenewalService`: the certificates of edges, from the authority whose folder this region holds.

mod attempts;
mod serving;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use tonic::{Request, Response, Status, async_trait};
use vigil_base::SharedClock;
use vigil_proto::v1;
use vigil_proto::v1::enrolment_service_server::{EnrolmentService, EnrolmentServiceServer};
use vigil_proto::v1::renewal_service_server::{RenewalService, RenewalServiceServer};
use vigil_serve::error::chain;
use vigil_serve::{ErrorCode, ServiceError};
use vigil_trust::authority::{Authority, Issued, OWN_HOSTS};
use vigil_trust::ledger::{Ledger, RedeemError};
use vigil_trust::request::MAX_REQUEST_BYTES;
use vigil_trust::{CertificateInfo, Identity, Peer, PeerInfo, Role, Serial, certificate, request};

use crate::config::EnrolmentConfig;
use crate::error::RegionError;
use attempts::Attempts;
pub(crate) use serving::Enrolment;

/// Largest message: a request, a token, and room.
const MAX_MESSAGE: usize = MAX_REQUEST_BYTES + 1_024;
/// When an edge may come back after the authority's disk could not be written.
const RETRY_DISK: Duration = Duration::from_secs(30);

/// What signs for edges. Shared by both services.
struct Signer {
    authority: Authority,
    ledger: Ledger,
    lifetime: Duration,
    clock: SharedClock,
    attempts: Attempts,
    enrolled: Counter,
    refused: Counter,
    renewed: Counter,
}

impl Signer {
    /// Opens authority and ledger. Blocks on the disk.
    fn open(config: &EnrolmentConfig, clock: SharedClock) -> Result<Arc<Self>, RegionError> {
        let unfit = |error: &dyn std::error::Error| RegionError::Enrolment { problem: chain(error) };
        let authority = Authority::load(&config.authority).map_err(|error| unfit(&error))?;
        let ledger = Ledger::open(&config.authority).map_err(|error| unfit(&error))?;
        let counted = |outcome: &'static str| counter!("vigil_enrolments_total", "outcome" => outcome);
        let (enrolled, refused, renewed) = (counted("enrolled"), counted("refused"), counted("renewed"));
        let (lifetime, attempts) = (config.lifetime, Attempts::default());
        Ok(Arc::new(Self { authority, ledger, lifetime, clock, attempts, enrolled, refused, renewed }))
    }

    /// The authority.
    fn authority(&self) -> &Authority {
        &self.authority
    }

    fn sign(&self, identity: &Identity, public_key: &[u8]) -> Result<Issued, RedeemError> {
        let hosts = OWN_HOSTS.map(str::to_owned);
        Ok(self.authority.issue(identity, &hosts, public_key, self.lifetime, self.clock.now())?)
    }

    /// Blocks on the disk.
    fn enrol(&self, asked: &v1::EnrolRequest) -> Result<v1::EnrolResponse, ServiceError> {
        let id: &[u8; 16] =
            asked.token_id.as_slice().try_into().map_err(|_| wrong("token_id", "must have 16 bytes"))?;
        if asked.token_secret.len() != 32 {
            return Err(wrong("token_secret", "must have 32 bytes"));
        }
        // Whose certificate it is stands in the ledger; the request must not name another, so it is read inside.
        let any_name = request::unchecked_key(&asked.certificate_request);
        let public_key = any_name.map_err(|error| ServiceError::field("certificate_request", error))?;
        let secret = (id, asked.token_secret.as_slice());
        let redeemed = self.ledger.redeem(secret, &public_key, self.clock.now(), |identity| {
            if identity.role() != Role::Edge {
                return Err(RedeemError::Unknown);
            }
            request::public_key(&asked.certificate_request, identity)?;
            self.sign(identity, &public_key)
        });
        let certificate_pem = redeemed.map_err(refused)?;
        // The same key gets the same certificate again, and that may have been revoked since.
        for certificate in certificate::from_pem(certificate_pem.as_bytes()).unwrap_or_default() {
            let info = CertificateInfo::of(&certificate);
            self.check_not_revoked(
                &info.map_err(|error| ServiceError::internal("reading a certificate", &error))?.serial,
            )?;
        }
        let authority_pem =
            self.authority.pem().map_err(|error| ServiceError::internal("reading the authority", &error))?;
        Ok(v1::EnrolResponse { certificate_pem, authority_pem })
    }

    /// By the authority's own list, whether this region's configuration names one or not: who was shut out gets no new one.
    fn check_not_revoked(&self, serial: &Serial) -> Result<(), ServiceError> {
        let list = self.authority.list();
        let list = list.map_err(|error| ServiceError::internal("reading the authority's revocation list", &error))?;
        if list.is_some_and(|list| list.holds(serial)) {
            let message = format!("the certificate {serial} was revoked: enrol anew, with a new token");
            return Err(ServiceError::new(ErrorCode::Denied, message));
        }
        Ok(())
    }

    /// Blocks on the disk.
    fn renew(&self, peer: &Peer, asked: &v1::RenewRequest) -> Result<v1::RenewResponse, ServiceError> {
        self.check_not_revoked(&peer.serial)?;
        let identity = &peer.identity;
        let public_key = request::public_key(&asked.certificate_request, identity);
        let public_key = public_key.map_err(|error| ServiceError::field("certificate_request", error))?;
        let issued = self.sign(identity, &public_key).map_err(refused)?;
        tracing::info!(edge = %identity, until = %issued.info.not_after, "a certificate was renewed");
        Ok(v1::RenewResponse { certificate_pem: issued.certificate })
    }
}

fn wrong(field: &str, problem: &str) -> ServiceError {
    ServiceError::field(field, problem)
}

fn refused(error: RedeemError) -> ServiceError {
    match error {
        RedeemError::Unknown | RedeemError::Ended(_) | RedeemError::Used(_) => {
            ServiceError::new(ErrorCode::Denied, error.to_string())
        }
        RedeemError::Request(error) => ServiceError::field("certificate_request", error),
        RedeemError::Store(_) | RedeemError::Full { .. } => {
            tracing::error!(error = %chain(&error), "enrolment");
            ServiceError::unavailable("the authority's ledger cannot be written now; its log says why", RETRY_DISK)
        }
        RedeemError::Damaged { .. } | RedeemError::Authority(_) => ServiceError::internal("signing", &error),
    }
}

/// The first certificate.
struct Enrolments(Arc<Signer>);

impl Enrolments {
    fn server(signer: Arc<Signer>) -> EnrolmentServiceServer<Self> {
        EnrolmentServiceServer::new(Self(signer)).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[async_trait]
impl EnrolmentService for Enrolments {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let address = request.extensions().get::<PeerInfo>().and_then(|info| info.address);
        let address = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip());
        let now = self.0.clock.monotonic();
        self.0.attempts.admit(address, now).map_err(|wait| {
            let error = ServiceError::new(ErrorCode::LimitReached, "too many failed enrolments from this address");
            ServiceError { retry_after: Some(wait), ..error }
        })?;
        let (signer, asked) = (Arc::clone(&self.0), request.into_inner());
        let enrolled = tokio::task::spawn_blocking(move || signer.enrol(&asked)).await;
        match enrolled.map_err(|error| ServiceError::internal("enrolling", &error))? {
            Ok(answer) => {
                self.0.enrolled.increment(1);
                tracing::info!(%address, "an edge enrolled");
                Ok(Response::new(answer))
            }
            Err(error) => {
                self.0.refused.increment(1);
                self.0.attempts.failed(address, now);
                tracing::warn!(%address, reason = %error, "an enrolment was refused");
                Err(error.into())
            }
        }
    }
}

/// The next certificate.
struct Renewals(Arc<Signer>);

impl Renewals {
    fn server(signer: Arc<Signer>) -> RenewalServiceServer<Self> {
        RenewalServiceServer::new(Self(signer)).max_decoding_message_size(MAX_MESSAGE)
    }
}

#[async_trait]
impl RenewalService for Renewals {
    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        // Not reached without a certificate: the guard before this service asks for one.
        let nobody = || ServiceError::new(ErrorCode::Unauthenticated, "a certificate is needed to have it renewed");
        let peer = request.extensions().get::<PeerInfo>().and_then(|info| info.peer.clone()).ok_or_else(nobody)?;
        let (signer, asked) = (Arc::clone(&self.0), request.into_inner());
        let renewed = tokio::task::spawn_blocking(move || signer.renew(&peer, &asked)).await;
        let answer = renewed.map_err(|error| ServiceError::internal("renewing", &error))??;
        self.0.renewed.increment(1);
        Ok(Response::new(answer))
    }
}
