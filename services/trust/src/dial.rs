//! The calling side: connections over TLS to a server that is who it must be.
//!
//! A server is checked in two steps: its certificate must lead to an authority of ours and be made for answering; then it
//! must name whom was called, by identity where that is known (an edge knows its region, a gateway its regions), else by the
//! host's name.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::client::{Resumption, verify_server_name};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, Error as TlsError};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use tower_service::Service;
use vigil_base::error::chain;
use vigil_base::{SharedClock, Timestamp};

use crate::certificate::{CertificateInfo, Fingerprint};
use crate::ending::{Over, Side, Standing};
use crate::identity::Identity;
use crate::keeper::Keeper;
use crate::network::{Network, Socket};
use crate::suite;
use crate::verify::{Anchors, Verifier};

/// How what a server did begins; stands in the texts of [`DialError`].
const OF_A_SERVER: &str = "the server at ";

/// Who must answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// This one, wherever it is.
    Identity(Identity),
    /// Whoever the certificate of this host is for: it must carry the host's name or address.
    Host,
}

/// A connection over TLS cannot be made, or broke since the other side does not take ours.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody takes the connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address is not one.
    #[error("{address} is no address with a host")]
    Address {
        /// The address.
        address: String,
    },
    /// Nothing to show.
    #[error("{problem}")]
    Credentials {
        /// What is wrong with the own ones, and with which file.
        problem: String,
    },
    /// The server is not who it must be.
    #[error("the server at {address} {problem}")]
    Server {
        /// Where.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The server does not take our certificate.
    #[error("the server at {address} refuses the certificate {shown}: {problem}")]
    Refused {
        /// Where.
        address: String,
        /// Which certificate was shown.
        shown: String,
        /// Why, as far as it says.
        problem: String,
    },
}

/// What went wrong with TLS, found in an error of a call; its text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    told: String,
    /// Nobody answers: TLS had no part in it.
    pub is_absent: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

/// Finds what went wrong with TLS in an error of a call, where that was it: what transports make of it tells little. HTTP/2
/// keeps of an error of its socket the text alone, which is known by its beginning.
pub fn fault_in(error: &(dyn std::error::Error + 'static)) -> Option<Fault> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        let inner = inner.and_then(|inner| inner.downcast_ref::<DialError>());
        if let Some(fault) = error.downcast_ref::<DialError>().or(inner) {
            return Some(Fault { told: chain(fault), is_absent: matches!(fault, DialError::Connect { .. }) });
        }
        let told = error.to_string();
        if told.starts_with(OF_A_SERVER) {
            return Some(Fault { told, is_absent: false });
        }
        next = error.source();
    }
    None
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

/// Whom a connection goes to, and what it shows there; for errors.
#[derive(Debug, Clone)]
struct Place {
    address: String,
    shown: String,
}

impl Place {
    /// Why TLS failed, in the terms of who called.
    fn explain(&self, error: io::Error) -> DialError {
        use CertificateError as Fault;
        let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) else {
            return DialError::Connect { address: self.address.clone(), source: error };
        };
        let problem = match inner {
            TlsError::AlertReceived(alert) => return self.refused(&format!("{alert:?}")),
            TlsError::InvalidCertificate(Fault::Expired | Fault::ExpiredContext { .. }) => {
                "has a certificate that has ended: issue it anew".to_owned()
            }
            TlsError::InvalidCertificate(Fault::NotValidYet | Fault::NotValidYetContext { .. }) => {
                "has a certificate that has not begun: is this machine's clock right?".to_owned()
            }
            TlsError::InvalidCertificate(Fault::UnknownIssuer | Fault::BadSignature) => {
                "has a certificate that was not signed by an authority of ours".to_owned()
            }
            TlsError::InvalidCertificate(Fault::Revoked) => {
                "has a certificate that its authority has revoked: do not trust it before you know why".to_owned()
            }
            TlsError::InvalidCertificate(_) => "has a certificate that is not made for answering".to_owned(),
            TlsError::InvalidMessage(_) => {
                "speaks no TLS: is it the right address, and is TLS set up there?".to_owned()
            }
            other => format!("cannot be spoken to over TLS: {other}"),
        };
        DialError::Server { address: self.address.clone(), problem }
    }

    fn refused(&self, alert: &str) -> DialError {
        let problem = match alert {
            // Before it is shown its time is looked at here.
            "CertificateExpired" => {
                "it has ended or not begun by the server's clock: is that right, and this machine's?".to_owned()
            }
            // Two authorities of one name: the signature is tried, and does not fit.
            "UnknownCA" | "DecryptError" => {
                "it was not signed by an authority of the server's: have it issued by one that the server names in [tls]".to_owned()
            }
            "CertificateRequired" => "the server asks for one".to_owned(),
            "CertificateRevoked" => {
                "it was revoked: have another issued (vigil pki issue … --replace), or enrol anew".to_owned()
            }
            "UnsupportedCertificate" | "BadCertificate" => {
                "it is not one that may call: show one of an edge, a gateway or an operator".to_owned()
            }
            other => format!("{other}; the server's log says more"),
        };
        DialError::Refused { address: self.address.clone(), shown: self.shown.clone(), problem }
    }
}

/// A connection over TLS. In TLS 1.3 a server refuses a client's certificate only after the client believes all is well, so
/// the refusal comes out of a read, and is explained there.
pub struct Secured {
    stream: Box<TlsStream<Socket>>,
    place: Place,
    /// Comes when the server is not believed any more.
    refused: Option<Pin<Box<dyn Future<Output = Over> + Send>>>,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secured({:?})", self.place)
    }
}

impl Secured {
    fn cut(&self, over: &Over) -> io::Error {
        let problem = format!("is not believed any more: {over}");
        io::Error::other(DialError::Server { address: self.place.address.clone(), problem })
    }

    fn explained(&self, error: io::Error) -> io::Error {
        let is_alert = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<TlsError>())
            .is_some_and(|inner| matches!(inner, TlsError::AlertReceived(_)));
        if is_alert { io::Error::new(error.kind(), self.place.explain(error)) } else { error }
    }
}

impl AsyncRead for Secured {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(Poll::Ready(over)) = this.refused.as_mut().map(|refused| refused.as_mut().poll(cx)) {
            this.refused = None;
            return Poll::Ready(Err(this.cut(&over)));
        }
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        read.map_err(|error| this.explained(error))
    }
}

impl AsyncWrite for Secured {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
