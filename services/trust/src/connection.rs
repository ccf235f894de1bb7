//! A connection that was taken: bytes in and out, who is at the other end, and its end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::transport::server::Connected;
use vigil_base::Timestamp;

use crate::certificate::{Fingerprint, Serial};
use crate::ending::Ending;
use crate::identity::Identity;
use crate::network::Socket;

/// Somebody who showed a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Who it is.
    pub identity: Identity,
    /// Of the certificate it showed.
    pub fingerprint: Fingerprint,
    /// The number that the authority gave to that.
    pub serial: Serial,
    /// When that ends.
    pub not_after: Timestamp,
}

/// Who is at the other end of a connection; an extension of each request.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    /// Where it is.
    pub address: Option<SocketAddr>,
    /// Who it is, where it had to show that.
    pub peer: Option<Arc<Peer>>,
    /// Whether the connection is to end, as its peer's certificate is over.
    pub ending: Ending,
}

/// A connection that was taken.
#[derive(Debug)]
pub struct Connection {
    stream: Stream,
    info: PeerInfo,
    /// Where there is a certificate that may end.
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

#[derive(Debug)]
enum Stream {
    Plain(Socket),
    Tls(Box<TlsStream<Socket>>),
}

impl Connection {
    pub(crate) fn plain(stream: Socket, address: SocketAddr) -> Self {
        let info = PeerInfo { address: Some(address), peer: None, ending: Ending::default() };
        Self { stream: Stream::Plain(stream), info, cut: None }
    }

    pub(crate) fn tls(stream: TlsStream<Socket>, address: SocketAddr, peer: Option<(Peer, Ending)>) -> Self {
        let (peer, ending) = peer.unzip();
        let cut = ending.as_ref().map(|ending| Box::pin(ending.cut()));
        let ending = ending.unwrap_or_default();
        let info = PeerInfo { address: Some(address), peer: peer.map(Arc::new), ending };
        Self { stream: Stream::Tls(Box::new(stream)), info, cut }
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &PeerInfo {
        &self.info
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.info.ending.leave();
    }
}

impl Connected for Connection {
    type ConnectInfo = PeerInfo;

    fn connect_info(&self) -> PeerInfo {
        self.info.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.cut.as_mut().is_some_and(|cut| cut.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the peer's certificate is over",
            )));
        }
        match &mut this.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
