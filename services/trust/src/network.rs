//! The network beneath TLS and HTTP/2: the operating system's, or another one that stands in for it, such as a simulated one.
//!
//! What stands in gives connections as streams of bytes ([`Transport`]); all above them, TLS, HTTP/2 and gRPC, is the same. The
//! system's sockets are not boxed: who has no other network pays nothing for there being one.

use std::fmt::Debug;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tonic::async_trait;
use tower_service::Service;

/// Of an address without a port (RFC 9110, 4.2.1).
const HTTP_PORT: u16 = 80;

/// Which network connections are made and taken over.
#[derive(Debug, Clone, Default)]
pub enum Network {
    /// The operating system's.
    #[default]
    System,
    /// One that stands in for it.
    Other(Arc<dyn Transport>),
}

/// A network that stands in for the operating system's.
#[async_trait]
pub trait Transport: Debug + Send + Sync + 'static {
    /// Connects to a port of a host, which is a name or an address.
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Wire>>;
    /// Takes connections at `address` from now on; port 0 takes a free one.
    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Incoming>>;
}

/// Where connections come in.
#[async_trait]
pub trait Incoming: Debug + Send + Sync + 'static {
    /// Where that is.
    fn local_address(&self) -> io::Result<SocketAddr>;
    /// The next connection, and where it is from.
    async fn accept(&self) -> io::Result<(Box<dyn Wire>, SocketAddr)>;
}

/// Bytes in order, both ways.
pub trait Wire: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Debug + Send + Unpin + 'static> Wire for T {}

impl Network {
    /// Takes connections at `address` from now on; port 0 takes a free one.
    ///
    /// # Errors
    /// The address is in use, or is none of this machine's.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        match self {
            Self::System => TcpListener::bind(address).await.map(Listener::System),
            Self::Other(transport) => transport.listen(address).await.map(Listener::Other),
        }
    }

    /// Connects to a port of a host, which is a name or an address.
    pub(crate) async fn connect(&self, host: &str, port: u16) -> io::Result<Socket> {
        match self {
            Self::System => Socket::system(TcpStream::connect((host, port)).await?),
            Self::Other(transport) => transport.connect(host, port).await.map(Socket::Other),
        }
    }
}

/// Connects in the clear: over the system's network, tonic's own connector does that.
impl Service<Uri> for Network {
    type Response = TokioIo<Socket>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let network = self.clone();
        Box::pin(async move {
            let no_address = || io::Error::new(io::ErrorKind::InvalidInput, format!("{uri} is no address with a host"));
            let host = uri.host().ok_or_else(no_address)?.trim_matches(['[', ']']);
            network.connect(host, uri.port_u16().unwrap_or(HTTP_PORT)).await.map(TokioIo::new)
        })
    }
}

/// Where connections are taken.
#[derive(Debug)]
pub enum Listener {
    /// The operating system's.
    System(TcpListener),
    /// Of another network.
    Other(Box<dyn Incoming>),
}

impl Listener {
    /// Where it listens.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        match self {
            Self::System(listener) => listener.local_addr(),
            Self::Other(incoming) => incoming.local_address(),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
        match self {
            Self::System(listener) => {
                let (stream, address) = listener.accept().await?;
                Ok((Socket::system(stream)?, address))
            }
            Self::Other(incoming) => {
                let (wire, address) = incoming.accept().await?;
                Ok((Socket::Other(wire), address))
            }
        }
    }
}

/// One connection.
#[derive(Debug)]
pub enum Socket {
    /// The operating system's.
    System(TcpStream),
    /// Of another network.
    Other(Box<dyn Wire>),
}

impl Socket {
    /// Answers would wait 40 ms for an acknowledgement without `TCP_NODELAY`.
    fn system(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self::System(stream))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::System(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Other(wire) => Pin::new(wire).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::System(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Other(wire) => Pin::new(wire).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::System(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Other(wire) => Pin::new(wire).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::System(stream) => stream.is_write_vectored(),
            Self::Other(wire) => wire.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::System(stream) => Pin::new(stream).poll_flush(cx),
            Self::Other(wire) => Pin::new(wire).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::System(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Other(wire) => Pin::new(wire).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::sync::{Mutex, mpsc};
    use tokio_util::sync::CancellationToken;
    use tonic::transport::Endpoint;

    use super::*;
    use crate::{Dialer, Expect, Security, accept};

    const HERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7_410);
    const PATIENCE: Duration = Duration::from_secs(10);

    /// One host, whose only listener gets every connection.
    #[derive(Debug)]
    struct Pipes {
        out: mpsc::Sender<DuplexStream>,
        incoming: Mutex<Option<mpsc::Receiver<DuplexStream>>>,
    }

    #[derive(Debug)]
    struct Taken(Mutex<mpsc::Receiver<DuplexStream>>);

    #[async_trait]
    impl Transport for Pipes {
        async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Wire>> {
            assert_eq!((host, port), ("region", 7_410));
            let (near, far) = tokio::io::duplex(1_024);
            self.out.send(far).await.map_err(io::Error::other)?;
            Ok(Box::new(near))
        }

        async fn listen(&self, _: SocketAddr) -> io::Result<Box<dyn Incoming>> {
            let incoming = self.incoming.lock().await.take().ok_or(io::ErrorKind::AddrInUse)?;
            Ok(Box::new(Taken(Mutex::new(incoming))))
        }
    }

    #[async_trait]
    impl Incoming for Taken {
        fn local_address(&self) -> io::Result<SocketAddr> {
            Ok(HERE)
        }

        async fn accept(&self) -> io::Result<(Box<dyn Wire>, SocketAddr)> {
            let stream = self.0.lock().await.recv().await.ok_or(io::ErrorKind::ConnectionAborted)?;
            Ok((Box::new(stream), HERE))
        }
    }

    #[tokio::test]
    async fn another_network_carries_the_bytes_of_both_sides_and_no_socket_is_opened() {
        let (out, incoming) = mpsc::channel(1);
        let network = Network::Other(Arc::new(Pipes { out, incoming: Mutex::new(Some(incoming)) }));
        let listener = network.listen(HERE).await.unwrap();
        assert_eq!(listener.local_address().unwrap(), HERE);
        assert_eq!(network.listen(HERE).await.unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let mut connections = accept::serve(listener, Security::Plain, CancellationToken::new());
        let endpoint = Endpoint::from_static("http://region:7410");
        let dialer = Dialer::new(endpoint, None, Expect::Host).over(network);
        let answering = async {
            let mut connection = connections.recv().await.unwrap();
            let mut preface = [0; 24];
            connection.read_exact(&mut preface).await.unwrap();
            // SETTINGS, empty: enough for a client to be content (RFC 9113, 3.4).
            connection.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
            (connection, preface)
        };
        let both = async { tokio::join!(dialer.connect(), answering) };
        let (channel, (_, preface)) = tokio::time::timeout(PATIENCE, both).await.unwrap();
        channel.unwrap();
        assert!(preface.starts_with(b"PRI * HTTP/2.0"));
    }
}
