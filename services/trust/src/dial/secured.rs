//! A connection over TLS, as what is read and written.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::Error as TlsError;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::fault::{DialError, Place};
use crate::ending::Over;
use crate::network::Socket;

/// A connection over TLS. In TLS 1.3 a server refuses a client's certificate only after the client believes all is well, so
/// the refusal comes out of a read, and is explained there.
pub struct Secured {
    pub(super) stream: Box<TlsStream<Socket>>,
    pub(super) place: Place,
    /// Comes when the server is not believed any more.
    pub(super) refused: Option<Pin<Box<dyn Future<Output = Over> + Send>>>,
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
