//! The edge's certificates: the first one by a token, each further one at two thirds of its lifetime.
//!
//! The key is made here, stays here, and is on the disk before anything is asked for: after a crash the same key asks again
//! and is given the same answer. A renewal is for the same key, so that certificate and key are one file's replacement
//! apart. [`run`] never gives up; `Enrolment::step` is one attempt.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio_util::sync::CancellationToken;
use tonic::transport::{Endpoint, Uri};
use tonic::{Code, Status};
use vigil_base::error::chain;
use vigil_base::{EdgeId, RegionId, SharedClock};
use vigil_proto::v1;
use vigil_proto::v1::enrolment_service_client::EnrolmentServiceClient;
use vigil_proto::v1::renewal_service_client::RenewalServiceClient;
use vigil_serve::HealthBoard;
use vigil_trust::certificate::{self, CertificateFault};
use vigil_trust::files::{self, FileError, Readers};
use vigil_trust::request::OwnKey;
use vigil_trust::token::EnrolToken;
use vigil_trust::{AuthorityError, CredentialsError, Dialer, Expect, Fingerprint, Identity, Keeper, Refresh, dial};

/// Between two looks at how much of the certificate's lifetime is left: two numbers are compared.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// First and longest wait after a failure: a third of a lifetime of thirty days has room for thousands of attempts.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// After the region said that it renews none: somebody else does.
const RETRY_ELSEWHERE: Duration = Duration::from_hours(1);
/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// The component's name on the health board.
const COMPONENT: &str = "enrolment";

/// No certificate was got.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// The address is none.
    #[error("the enrolment token names no address: make a new one")]
    Address,
    /// Nobody answers, or not who must.
    #[error("cannot reach {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// It was refused.
    #[error("{address} gives no certificate: {}", .status.message())]
    Refused {
        /// Where.
        address: String,
        /// What it said.
        status: Box<Status>,
    },
    /// Nothing came in time.
    #[error("{address} did not answer within {PATIENCE:?}")]
    Silent {
        /// Where.
        address: String,
    },
    /// What was given is not what the token promised.
    #[error("{address} gives an authority that {problem}")]
    Authority {
        /// Where.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The own key cannot be used.
    #[error("the edge's own key")]
    Key(#[from] AuthorityError),
    /// What was given cannot be kept.
    #[error(transparent)]
    File(#[from] FileError),
    /// What was given cannot be used.
    #[error("what was given cannot be used")]
    Unfit(#[from] CredentialsError),
}

impl EnrolError {
    /// The region renews no certificates: somebody else replaces the files.
    fn is_elsewhere(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if status.code() == Code::Unimplemented)
    }
}

/// What an edge enrols and renews with.
pub struct Enrolment {
    /// Holds what is got.
    pub keeper: Arc<Keeper>,
    /// For the first certificate.
    pub token: Option<EnrolToken>,
    /// This edge.
    pub edge: EdgeId,
    /// Its region, which renews.
    pub region: RegionId,
    /// Where that is.
    pub region_address: Uri,
    /// What time it is.
    pub clock: SharedClock,
    /// Where trouble is reported.
    pub board: HealthBoard,
}

/// Enrols where there is no certificate, and renews, until `shutdown`.
pub async fn run(enrolment: Enrolment, shutdown: CancellationToken) {
    let (mut told, mut waits) = (String::new(), waits());
    let working = async {
        loop {
            let wait = match enrolment.step().await {
                Ok(()) => {
                    enrolment.board.clear(COMPONENT);
                    waits = self::waits();
                    LOOK_EVERY
                }
                Err(error) if error.is_elsewhere() => RETRY_ELSEWHERE,
                Err(error) => {
                    enrolment.report(&error, &mut told);
                    waits.next().unwrap_or(BACKOFF.1)
                }
            };
            tokio::time::sleep(wait).await;
        }
    };
    shutdown.run_until_cancelled(working).await;
}

impl Enrolment {
    /// Does what is due, if anything.
    async fn step(&self) -> Result<(), EnrolError> {
        match (&self.token, self.keeper.renew_from()) {
            (Some(token), None) => self.enrol(token).await,
            (_, Some(due)) if self.clock.now() >= due => self.renew().await,
            _ => Ok(()),
        }
    }

    async fn enrol(&self, token: &EnrolToken) -> Result<(), EnrolError> {
        let address = &token.address;
        let endpoint = Endpoint::from_shared(address.clone()).map_err(|_| EnrolError::Address)?;
        let region = Identity::Region(token.region.clone());
        let dialer = Dialer::pinned(endpoint.connect_timeout(PATIENCE), token.authority, region, self.clock.clone());
        let asked = v1::EnrolRequest {
            token_id: token.id.to_vec(),
            token_secret: token.secret.to_vec(),
            certificate_request: self.request().await?,
        };
        let asking = async {
            let mut client = EnrolmentServiceClient::new(connect(&dialer, address).await?);
            client.enrol(asked).await.map_err(|status| refused(address, status))
        };
        let answer = in_time(address, asking).await?.into_inner();
        check_authority(&answer.authority_pem, token)?;
        let files = self.keeper.files();
        files::replace(&files.authority, answer.authority_pem.as_bytes(), Readers::All)?;
        self.keep(&answer.certificate_pem)?;
        tracing::info!(edge = %self.edge, certificate = %files.certificate.display(), "enrolled");
        Ok(())
    }

    async fn renew(&self) -> Result<(), EnrolError> {
        let address = self.region_address.to_string();
        let endpoint = Endpoint::from(self.region_address.clone()).connect_timeout(PATIENCE);
        let expect = Expect::Identity(Identity::Region(self.region.clone()));
        let dialer = Dialer::new(endpoint, Some(self.keeper.clone()), expect);
        let asked = v1::RenewRequest { certificate_request: self.request().await? };
        let asking = async {
            let mut client = RenewalServiceClient::new(connect(&dialer, &address).await?);
            client.renew(asked).await.map_err(|status| refused(&address, status))
        };
        let answer = in_time(&address, asking).await?.into_inner();
        self.keep(&answer.certificate_pem)?;
        tracing::info!(edge = %self.edge, "the certificate was renewed");
        Ok(())
    }

    /// A request by the own key, which is made where there is none.
    async fn request(&self) -> Result<Vec<u8>, EnrolError> {
        let (path, identity) = (self.keeper.files().key.clone(), Identity::Edge(self.edge.clone()));
        let made = tokio::task::spawn_blocking(move || OwnKey::load_or_make(&path)?.request(&identity)).await;
        Ok(made.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?)
    }

    /// The certificate last: while it is not there, everything is asked for again.
    fn keep(&self, certificate: &str) -> Result<(), EnrolError> {
        files::replace(&self.keeper.files().certificate, certificate.as_bytes(), Readers::All)?;
        match self.keeper.refresh() {
            Refresh::Refused(error) => Err(error.into()),
            Refresh::Same | Refresh::Taken | Refresh::OldLists(_) => Ok(()),
        }
    }

    /// Each new reason is logged once.
    fn report(&self, error: &EnrolError, told: &mut String) {
        let text = chain(error);
        if *told != text {
            tracing::warn!(edge = %self.edge, error = %text, "no certificate was got; it is tried again");
        }
        self.board.report(COMPONENT, text.clone(), false);
        *told = text;
    }
}

fn waits() -> backon::ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF.0)
        .with_max_delay(BACKOFF.1)
        .with_jitter()
        .without_max_times()
        .build()
}

async fn connect(dialer: &Dialer, address: &str) -> Result<tonic::transport::Channel, EnrolError> {
    dialer.connect().await.map_err(|source| EnrolError::Connect { address: address.to_owned(), source })
}

async fn in_time<T>(address: &str, asking: impl Future<Output = Result<T, EnrolError>>) -> Result<T, EnrolError> {
    let silent = |_| EnrolError::Silent { address: address.to_owned() };
    tokio::time::timeout(PATIENCE, asking).await.map_err(silent)?
}

fn refused(address: &str, status: Status) -> EnrolError {
    let status = match dial::fault_in(&status) {
        Some(fault) => Status::new(status.code(), fault.to_string()),
        None => status,
    };
    EnrolError::Refused { address: address.to_owned(), status: Box::new(status) }
}

/// The authority that is kept must be the one the token names.
fn check_authority(pem: &str, token: &EnrolToken) -> Result<(), EnrolError> {
    let wrong = |problem: String| EnrolError::Authority { address: token.address.clone(), problem };
    let found = certificate::from_pem(pem.as_bytes()).map_err(|fault: CertificateFault| wrong(fault.to_string()))?;
    if found.len() != 1 || Fingerprint::of(&found[0]) != token.authority {
        return Err(wrong("is not the one that the token names".to_owned()));
    }
    Ok(())
}
