//! The command line as a client of a gateway or region.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use clap::Args;
use parking_lot::Mutex;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tonic_types::StatusExt;
use vigil_base::SystemClock;
use vigil_proto::v1;
use vigil_proto::v1::audit_service_client::AuditServiceClient;
use vigil_proto::v1::camera_service_client::CameraServiceClient;
use vigil_proto::v1::coverage_service_client::CoverageServiceClient;
use vigil_proto::v1::event_query_service_client::EventQueryServiceClient;
use vigil_proto::v1::event_stream_service_client::EventStreamServiceClient;
use vigil_proto::v1::insight_service_client::InsightServiceClient;
use vigil_proto::v1::region_service_client::RegionServiceClient;

use vigil_serve::Access;
use vigil_trust::authority::LIST_FILE;
use vigil_trust::{Dialer, Expect, Keeper, Owner, TlsFiles, dial};

use crate::{exit, session};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Whom to ask.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Gateway or region to ask.
    #[arg(long, global = true, env = "VIGIL_SERVER", default_value = "http://127.0.0.1:7000", value_name = "URL")]
    pub server: String,
    /// How long an answer may take. A gateway answers within it with what it has.
    #[arg(long, global = true, default_value = "5s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub timeout: Duration,
    /// Why you ask; goes into the audit log of whoever answers.
    #[arg(long, global = true, env = "VIGIL_PURPOSE", value_name = "TEXT")]
    pub purpose: Option<String>,
    /// The case you ask for.
    #[arg(long, global = true, env = "VIGIL_CASE", value_name = "NUMBER")]
    pub case: Option<String>,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// File with the token that says who you are; absent: `VIGIL_TOKEN`, else the session of `vigil sign-in`.
    #[arg(long, global = true, env = "VIGIL_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// What goes with each request, as of the last connection.
    #[arg(skip)]
    pub bearer: Arc<Mutex<Option<MetadataValue<Ascii>>>>,
}

/// What to show to a server that is reached over https.
#[derive(Debug, Clone, Default, Args)]
pub struct TlsArgs {
    /// Your certificate (PEM), for a server at https://.
    #[arg(long, global = true, env = "VIGIL_CERTIFICATE", value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Its key; when absent, the same name with the ending .key.
    #[arg(long, global = true, env = "VIGIL_CERTIFICATE_KEY", value_name = "FILE")]
    pub certificate_key: Option<PathBuf>,
    /// The authority that is believed; when absent, authority.pem beside the certificate.
    #[arg(long, global = true, env = "VIGIL_AUTHORITY", value_name = "FILE")]
    pub authority: Option<PathBuf>,
    /// The authority's list of what it has revoked (PEM); when absent, authority.crl beside the certificate, where there is one.
    #[arg(long, global = true, env = "VIGIL_REVOKED", value_name = "FILE")]
    pub revoked: Option<PathBuf>,
}

impl TlsArgs {
    fn keeper(&self) -> anyhow::Result<Arc<Keeper>> {
        let certificate = self.certificate.clone();
        let certificate = certificate.context("a server at https:// asks who you are: give --certificate FILE")?;
        let beside = Some(certificate.with_file_name(LIST_FILE)).filter(|list| list.exists());
        let files = TlsFiles {
            revoked: self.revoked.clone().or(beside),
            key: self.certificate_key.clone().unwrap_or_else(|| certificate.with_extension("key")),
            authority: self.authority.clone().unwrap_or_else(|| certificate.with_file_name("authority.pem")),
            certificate,
        };
        Ok(Keeper::open(files, Owner::Anybody, SystemClock::shared())?)
    }
}

impl ServerArgs {
    /// A server that nobody named, asked for the program's own ends.
    pub fn to(server: &str, timeout: Duration, purpose: &str) -> Self {
        let (purpose, tls) = (Some(purpose.to_owned()), TlsArgs::default());
        let server = server.to_owned();
        Self { server, timeout, purpose, case: None, tls, token_file: None, bearer: Arc::default() }
    }

    /// A connection to the server.
    pub async fn connect(&self) -> anyhow::Result<Channel> {
        let dialer = self.dialer().map_err(exit::wrong_use)?;
        let bearer = session::bearer(self.endpoint()?.uri(), self.token_file.as_deref()).await?;
        *self.bearer.lock() = bearer;
        let connected = dialer.connect().await;
        connected.map_err(|error| match dial::fault_in(&error) {
            Some(fault) if !fault.is_absent => anyhow!("{fault}"),
            _ => anyhow::Error::new(error)
                .context(format!("nothing answers at {}: is a gateway or region running there?", self.server)),
        })
    }

    fn dialer(&self) -> anyhow::Result<Dialer> {
        let endpoint = self.endpoint()?;
        let keeper = (endpoint.uri().scheme_str() == Some("https")).then(|| self.tls.keeper()).transpose()?;
        let endpoint = endpoint.connect_timeout(CONNECT_TIMEOUT).tcp_nodelay(true);
        Ok(Dialer::new(endpoint, keeper, Expect::Host))
    }

    fn endpoint(&self) -> anyhow::Result<Endpoint> {
        let no_address = || format!("--server {:?} is not an address such as http://127.0.0.1:7000", self.server);
        let uri: Uri = self.server.parse().with_context(no_address)?;
        ensure!(matches!(uri.scheme_str(), Some("http" | "https")) && uri.authority().is_some(), no_address());
        ensure!(!self.timeout.is_zero(), "--timeout must be above zero");
        Ok(Endpoint::from(uri))
    }

    /// A request that carries the deadline, and why it is asked.
    pub fn request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = self.open_request(message);
        request.set_timeout(self.timeout);
        request
    }

    /// A request without a deadline: a stream that goes on.
    pub fn open_request<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        let access = Access { purpose: self.purpose.clone(), case: self.case.clone(), on_behalf_of: None };
        access.write(request.metadata_mut());
        if let Some(bearer) = self.bearer.lock().clone() {
            request.metadata_mut().insert("authorization", bearer);
        }
        request
    }

    /// A refusal of the server as people should read it.
    pub fn explain(&self, status: &Status) -> anyhow::Error {
        let server = &self.server;
        if let Some(fault) = dial::fault_in(status) {
            return anyhow!("{fault}");
        }
        match status.code() {
            Code::InvalidArgument => exit::wrong_use(refused(status)),
            Code::Unimplemented => anyhow!("what answers at {server} is no gateway or region"),
            Code::DeadlineExceeded | Code::Cancelled => {
                let timeout = humantime::format_duration(self.timeout);
                anyhow!("no answer from {server} within {timeout}: allow more with --timeout")
            }
            _ => refused(status),
        }
    }
}

/// Raises a service's own 4 MiB limit: pages of 1000 events are larger.
const MAX_ANSWER: usize = vigil_serve::grpc::MAX_MESSAGE_BYTES;

/// The query service.
pub fn queries(channel: Channel) -> EventQueryServiceClient<Channel> {
    EventQueryServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

/// The stream service.
pub fn streams(channel: Channel) -> EventStreamServiceClient<Channel> {
    EventStreamServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

/// The camera registry.
pub fn cameras(channel: Channel) -> CameraServiceClient<Channel> {
    CameraServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

/// What was watched.
pub fn coverage(channel: Channel) -> CoverageServiceClient<Channel> {
    CoverageServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

/// Questions over many events.
pub fn insight(channel: Channel) -> InsightServiceClient<Channel> {
    InsightServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

/// Who asked what.
pub fn audit(channel: Channel) -> AuditServiceClient<Channel> {
    AuditServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

/// The regions' state.
pub fn regions(channel: Channel) -> RegionServiceClient<Channel> {
    RegionServiceClient::new(channel).max_decoding_message_size(MAX_ANSWER)
}

fn refused(status: &Status) -> anyhow::Error {
    let details = status.get_error_details();
    let reason = details.error_info().map(|info| format!(" [{}]", info.reason)).unwrap_or_default();
    let retry = details.retry_info().and_then(|info| info.retry_delay).map(tenths);
    let retry = retry.map(|delay| format!("; try again in {}", humantime::format_duration(delay))).unwrap_or_default();
    anyhow!("the server refused: {}{reason}{retry}", status.message())
}

/// Rounded up to what people care for.
fn tenths(delay: Duration) -> Duration {
    Duration::from_millis(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX).div_ceil(100).saturating_mul(100))
}

/// Whether every region that was asked answered, with all that it has.
pub fn complete(reports: &[v1::RegionReport]) -> bool {
    reports.iter().all(|report| report.outcome() == v1::RegionOutcome::Answered && report.missing.is_empty())
}
