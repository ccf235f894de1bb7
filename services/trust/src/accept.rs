//! The listening side: connections are taken, and with TLS each peer's certificate is checked before anything else is
//! read from it.
//!
//! Handshakes run beside each other and have a bound in number and time, so that peers that say nothing hold up nobody.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Counter, counter};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::NoServerSessionStorage;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::certificate::CertificateInfo;
use crate::connection::{Connection, Peer};
use crate::credentials::Credentials;
use crate::ending::{self, Ending, Side, Standing};
use crate::keeper::Keeper;
use crate::network::{Listener, Socket};
use crate::rights::Right;
use crate::suite;

/// A handshake takes two ways over the network and some milliseconds; who needs longer holds a place for nothing.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Handshakes at a time: all edges of a large region that come back at once; some 20 KB each.
const MAX_HANDSHAKES: usize = 1_024;
/// Connections that are ready and not yet taken by the server, which takes them at once.
const READY: usize = 16;
/// How long who is refused may take to hang up in turn, having read why.
const LINGER: Duration = Duration::from_secs(1);
/// What it sends meanwhile is read up to so many KB: the beginning of HTTP/2 and a question.
const MAX_UNREAD: usize = 64;
/// Wait after the system would give no connection, as when all file descriptors are used up.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What is spoken inside TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC, over HTTP/2.
    Grpc,
    /// HTTP/1.1.
    Http,
}

impl Protocol {
    fn alpn(self) -> Vec<u8> {
        match self {
            Self::Grpc => b"h2".to_vec(),
            Self::Http => b"http/1.1".to_vec(),
        }
    }
}

/// How a listener is secured.
#[derive(Debug, Clone)]
pub enum Security {
    /// Not at all.
    Plain,
    /// TLS with certificates on both sides; who has no part in `right` is not let in.
    Mutual {
        /// The own credentials.
        keeper: Arc<Keeper>,
        /// What a peer must be allowed to do to be let in.
        right: Right,
        /// What is spoken.
        protocol: Protocol,
    },
    /// TLS with a certificate on this side alone, and the authority's beside it: for those who have none yet.
    Pinned {
        /// The own credentials.
        keeper: Arc<Keeper>,
        /// The authority's certificate.
        authority: CertificateDer<'static>,
    },
}

impl Security {
    /// Mutual TLS where there are credentials, else none.
    pub fn of(keeper: Option<&Arc<Keeper>>, right: Right, protocol: Protocol) -> Self {
        match keeper {
            Some(keeper) => Self::Mutual { keeper: Arc::clone(keeper), right, protocol },
            None => Self::Plain,
        }
    }

    /// Whether peers must show who they are.
    pub fn names_peers(&self) -> bool {
        !matches!(self, Self::Plain)
    }
}

/// Takes connections until `shutdown` or until nobody takes them from here.
pub fn serve(listener: Listener, security: Security, shutdown: CancellationToken) -> mpsc::Receiver<Connection> {
    let (ready, connections) = mpsc::channel(READY);
    let gate =
        Arc::new(Gate { security, telemetry: Telemetry::new(), places: Arc::new(Semaphore::new(MAX_HANDSHAKES)) });
    tokio::spawn(async move {
        let closed = ready.clone();
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = closed.closed() => {}
            () = gate.accept_all(listener, ready) => {}
        }
    });
    connections
}

/// What a handshake gave; without the peer where that shows nothing.
type Shaken = (TlsStream<Socket>, Option<(Peer, Ending)>);

struct Gate {
    security: Security,
    telemetry: Telemetry,
    places: Arc<Semaphore>,
}

impl Gate {
    async fn accept_all(self: Arc<Self>, listener: Listener, ready: mpsc::Sender<Connection>) {
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    // One peer's connection that broke before it was taken, or no descriptors left.
                    tracing::debug!(%error, "a connection could not be taken");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let (gate, ready) = (Arc::clone(&self), ready.clone());
            tokio::spawn(async move {
                if let Some(connection) = gate.admit(stream, address).await {
                    // Nobody takes it: the server ends.
                    let _ = ready.send(connection).await;
                }
                drop(place);
            });
        }
    }

    async fn admit(&self, stream: Socket, address: SocketAddr) -> Option<Connection> {
        let shaken = match &self.security {
            Security::Plain => return Some(Connection::plain(stream, address)),
            Security::Mutual { keeper, right, protocol } => self.mutual(stream, keeper, *right, *protocol).await,
            Security::Pinned { keeper, authority } => self.pinned(stream, keeper, authority).await,
        };
        match shaken {
            Ok((stream, peer)) => {
                self.telemetry.taken.increment(1);
                Some(Connection::tls(stream, address, peer))
            }
            Err(reason) => {
                self.telemetry.refused.increment(1);
                tracing::warn!(peer = %address, %reason, "a connection was refused");
                None
            }
        }
    }

    async fn mutual(
        &self,
        stream: Socket,
        keeper: &Arc<Keeper>,
        right: Right,
        protocol: Protocol,
    ) -> Result<Shaken, String> {
        // Before what is in use is looked at: no change is missed.
        let changes = keeper.changes();
        let credentials = keeper.current().map_err(|error| error.to_string())?;
        let builder = suite::server(Arc::clone(&credentials.clock));
        let builder = builder.with_client_cert_verifier(Arc::clone(&credentials.clients));
        let config = builder.with_cert_resolver(credentials.resolver());
        let stream = shake_hands(stream, config, protocol).await?;
        let (peer, chain) = peer_of(&stream)?;
        peer.identity.may(right).map_err(|forbidden| forbidden.to_string())?;
        let (keeper, ending) = (Arc::clone(keeper), Ending::default());
        let Peer { identity: who, not_after, .. } = peer.clone();
        let standing = Standing { keeper, changes, chain, who, not_after, side: Side::Calls };
        tokio::spawn(ending.clone().follow(standing));
        Ok((stream, Some((peer, ending))))
    }

    async fn pinned(
        &self,
        stream: Socket,
        keeper: &Keeper,
        authority: &CertificateDer<'static>,
    ) -> Result<Shaken, String> {
        let credentials: Arc<Credentials> = keeper.current().map_err(|error| error.to_string())?;
        let builder = suite::server(Arc::clone(&credentials.clock)).with_no_client_auth();
        let config = builder.with_cert_resolver(credentials.resolver_with(authority));
        Ok((shake_hands(stream, config, Protocol::Grpc).await?, None))
    }
}

/// Sessions are never resumed: a resumed one would skip the check of the peer's certificate.
async fn shake_hands(
    stream: Socket,
    mut config: ServerConfig,
    protocol: Protocol,
) -> Result<TlsStream<Socket>, String> {
    config.alpn_protocols = vec![protocol.alpn()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    let handshake = TlsAcceptor::from(Arc::new(config)).accept(stream).into_fallible();
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((error, stream))) => {
            // Whether it comes to an end or is cut off says nothing about who it was.
            let _ = tokio::time::timeout(LINGER, hang_up(stream)).await;
            Err(explain(&error))
        }
        Err(_) => Err(format!("it did not finish the handshake within {HANDSHAKE_TIMEOUT:?}")),
    }
}

/// Ends a connection so that what was sent last, why it is refused, arrives: with TLS 1.3 the peer is sending its first
/// question by then, and a socket that is closed over unread bytes is reset, which may overtake the alert (RFC 1122, 4.2.2.13).
async fn hang_up(mut stream: Socket) -> io::Result<()> {
    stream.shutdown().await?;
    let mut unread = [0; 1_024];
    for _ in 0..MAX_UNREAD {
        if stream.read(&mut unread).await? == 0 {
            break;
        }
    }
    Ok(())
}

/// The peer, and the certificates it showed.
fn peer_of(stream: &TlsStream<Socket>) -> Result<(Peer, Vec<CertificateDer<'static>>), String> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let own = chain.first().ok_or("it shows no certificate")?;
    let info = CertificateInfo::of(own).map_err(|fault| format!("what it shows {fault}"))?;
    let identity = info.identity.map_err(|error| format!("its certificate is not one of Vigil's: {error}"))?;
    let CertificateInfo { fingerprint, serial, not_after, .. } = info;
    let peer = Peer { identity, fingerprint, serial, not_after };
    Ok((peer, chain.iter().map(|one| one.clone().into_owned()).collect()))
}

/// Why a handshake failed, in the terms of who runs the server.
fn explain(error: &io::Error) -> String {
    use rustls::Error;
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let text = match inner {
        Some(Error::NoCertificatesPresented) => "it shows no certificate",
        Some(invalid @ Error::InvalidCertificate(_)) => return format!("its certificate {}", ending::refusal(invalid)),
        Some(Error::AlertReceived(alert)) => return format!("it refuses this server's certificate ({alert:?})"),
        Some(Error::InvalidMessage(_)) => "it does not speak TLS",
        Some(Error::PeerIncompatible(_)) => "it does not speak TLS 1.3",
        _ => return error.to_string(),
    };
    text.to_owned()
}

struct Telemetry {
    taken: Counter,
    refused: Counter,
}

impl Telemetry {
    fn new() -> Self {
        let handshakes = |outcome: &'static str| counter!("vigil_tls_handshakes_total", "outcome" => outcome);
        Self { taken: handshakes("taken"), refused: handshakes("refused") }
    }
}
