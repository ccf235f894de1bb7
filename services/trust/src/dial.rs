//! The calling side: connections over TLS to a server that is who it must be.
//!
//! A server is checked in two steps: its certificate must lead to an authority of ours and be made for answering; then it
//! must name whom was called, by identity where that is known (an edge knows its region, a gateway its regions), else by the
//! host's name.

mod fault;
mod secured;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::client::{Resumption, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;
use vigil_base::{SharedClock, Timestamp};

use self::fault::Place;
pub use self::fault::{DialError, Fault, fault_in};
pub use self::secured::Secured;
use crate::certificate::{CertificateInfo, Fingerprint};
use crate::ending::{Side, Standing};
use crate::identity::Identity;
use crate::keeper::Keeper;
use crate::network::{Network, Socket};
use crate::suite;
use crate::verify::{Anchors, Verifier};

/// Who must answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// This one, wherever it is.
    Identity(Identity),
    /// Whoever the certificate of this host is for: it must carry the host's name or address.
    Host,
}

/// How a server's endpoint is reached: in the clear, or over TLS.
#[derive(Debug, Clone)]
pub struct Dialer {
    endpoint: Endpoint,
    secure: Option<SecureConnector>,
    network: Network,
}

impl Dialer {
    /// In the clear.
    pub fn plain(endpoint: Endpoint) -> Self {
        Self { endpoint, secure: None, network: Network::System }
    }

    /// Over mutual TLS where there are credentials, to whom is expected; in the clear where there are none, but never to an
    /// address of `https`.
    pub fn new(endpoint: Endpoint, keeper: Option<Arc<Keeper>>, expect: Expect) -> Self {
        let is_https = endpoint.uri().scheme_str() == Some("https");
        let shows = keeper.map(Shows::Keeper).or(is_https.then_some(Shows::Unset));
        let secure = shows.map(|shows| SecureConnector { shows, expect, network: Network::System });
        Self { endpoint, secure, network: Network::System }
    }

    /// Over TLS without a certificate of one's own, to a server of the authority with this fingerprint.
    pub fn pinned(endpoint: Endpoint, authority: Fingerprint, expect: Identity, clock: SharedClock) -> Self {
        let shows = Shows::Nothing { authority, clock };
        let secure = SecureConnector { shows, expect: Expect::Identity(expect), network: Network::System };
        Self { endpoint, secure: Some(secure), network: Network::System }
    }

    /// The same over another network than the operating system's.
    #[must_use]
    pub fn over(self, network: Network) -> Self {
        let secure = self.secure.map(|secure| SecureConnector { network: network.clone(), ..secure });
        Self { secure, network, ..self }
    }

    /// Connects now.
    pub async fn connect(&self) -> Result<Channel, tonic::transport::Error> {
        match (&self.secure, &self.network) {
            (Some(secure), _) => self.endpoint.connect_with_connector(secure.clone()).await,
            (None, Network::System) => self.endpoint.connect().await,
            (None, network) => self.endpoint.connect_with_connector(network.clone()).await,
        }
    }

    /// Connects when first needed, and again when the connection was lost.
    pub fn connect_lazy(&self) -> Channel {
        match (&self.secure, &self.network) {
            (Some(secure), _) => self.endpoint.connect_with_connector_lazy(secure.clone()),
            (None, Network::System) => self.endpoint.connect_lazy(),
            (None, network) => self.endpoint.connect_with_connector_lazy(network.clone()),
        }
    }
}

#[derive(Clone)]
enum Shows {
    Keeper(Arc<Keeper>),
    Nothing {
        authority: Fingerprint,
        clock: SharedClock,
    },
    /// TLS is asked for, and nobody said with what.
    Unset,
}

#[derive(Clone)]
struct SecureConnector {
    shows: Shows,
    expect: Expect,
    network: Network,
}

impl fmt::Debug for SecureConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecureConnector({:?})", self.expect)
    }
}

impl Service<Uri> for SecureConnector {
    type Response = TokioIo<Secured>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.dial(&uri).await.map(TokioIo::new) })
    }
}

impl SecureConnector {
    async fn dial(&self, uri: &Uri) -> Result<Secured, DialError> {
        let address = uri.authority().map(ToString::to_string).unwrap_or_default();
        let no_address = || DialError::Address { address: uri.to_string() };
        let host = uri.host().ok_or_else(no_address)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.clone()).map_err(|_| no_address())?;
        // Before what is in use is looked at: no change is missed.
        let watched = match &self.shows {
            Shows::Keeper(keeper) => Some((Arc::clone(keeper), keeper.changes())),
            Shows::Nothing { .. } | Shows::Unset => None,
        };
        let (config, shown) = self.config()?;
        let connect_error = |source| DialError::Connect { address: address.clone(), source };
        let stream = self.network.connect(&host, port).await.map_err(connect_error)?;
        let shaken = TlsConnector::from(Arc::new(config)).connect(name.clone(), stream).await;
        let place = Place { address, shown };
        let stream = shaken.map_err(|error| place.explain(error))?;
        let (who, not_after, chain) = self.check_peer(&stream, &name, &place.address)?;
        let standing =
            watched.map(|(keeper, changes)| Standing { keeper, changes, chain, who, not_after, side: Side::Answers });
        let refused = standing.map(|standing| Box::pin(standing.refused()) as _);
        Ok(Secured { stream: Box::new(stream), place, refused })
    }

    /// The configuration of one connection, and which certificate it shows.
    fn config(&self) -> Result<(ClientConfig, String), DialError> {
        let (mut config, shown) = match &self.shows {
            Shows::Keeper(keeper) => {
                let unfit = |problem| DialError::Credentials { problem };
                let credentials = keeper.current().map_err(|error| unfit(error.to_string()))?;
                // Said here, where it can be said which file it is: the server would only hang up.
                credentials.check_time(keeper.files()).map_err(|error| unfit(error.to_string()))?;
                let (roots, lists) = (Arc::clone(&credentials.roots), credentials.lists.clone());
                let verifier = Verifier { anchors: Anchors::Roots(roots, lists) };
                let builder = suite::client(Arc::clone(&credentials.clock)).dangerous();
                let builder = builder.with_custom_certificate_verifier(Arc::new(verifier));
                let config = builder.with_client_cert_resolver(credentials.resolver());
                (config, keeper.files().certificate.display().to_string())
            }
            Shows::Nothing { authority, clock } => {
                let verifier = Verifier { anchors: Anchors::Pinned(*authority) };
                let builder = suite::client(Arc::clone(clock)).dangerous();
                let builder = builder.with_custom_certificate_verifier(Arc::new(verifier));
                (builder.with_no_client_auth(), "none".to_owned())
            }
            Shows::Unset => {
                let problem = "there is no certificate to show: name certificate, key and authority".to_owned();
                return Err(DialError::Credentials { problem });
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = Resumption::disabled();
        // The name is not sent: the server has one certificate, and who is called is nobody else's business.
        config.enable_sni = false;
        Ok((config, shown))
    }

    /// Who answers, until when its certificate is good, and all that it showed.
    fn check_peer(
        &self,
        stream: &TlsStream<Socket>,
        name: &ServerName<'_>,
        address: &str,
    ) -> Result<(Identity, Timestamp, Vec<CertificateDer<'static>>), DialError> {
        let wrong = |problem: String| DialError::Server { address: address.to_owned(), problem };
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let own = chain.first().ok_or_else(|| wrong("shows no certificate".to_owned()))?;
        let info = CertificateInfo::of(own).map_err(|fault| wrong(format!("shows a certificate that {fault}")))?;
        let found = info.identity.map_err(|error| wrong(format!("has no certificate of Vigil: {error}")))?;
        match &self.expect {
            Expect::Identity(expected) if *expected == found => {}
            Expect::Identity(expected) => {
                return Err(wrong(format!("is {found}, but {expected} is expected there: is it the right address?")));
            }
            Expect::Host => {
                let parsed = ParsedCertificate::try_from(own).and_then(|own| verify_server_name(&own, name));
                let hosts = if info.hosts.is_empty() { "no host".to_owned() } else { info.hosts.join(", ") };
                let told = format!(
                    "is {found}, whose certificate names {hosts}: issue it with --host {}, or use a name that it carries",
                    name.to_str()
                );
                parsed.map_err(|_| wrong(told))?;
            }
        }
        Ok((found, info.not_after, chain.iter().map(|one| one.clone().into_owned()).collect()))
    }
}
