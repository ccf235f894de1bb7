//! Servers that are no regions: one that takes connections and says nothing, one that says something else.

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::ANY;

/// Takes every connection and does one thing with it. Ends when dropped.
pub struct RawServer {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl RawServer {
    /// Takes connections and never answers: a process that was stopped.
    pub async fn frozen() -> Self {
        Self::saying(b"").await
    }

    /// Says this to whoever connects.
    pub async fn saying(text: &'static [u8]) -> Self {
        let listener = TcpListener::bind(ANY).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                // A client that has gone already needs no answer.
                let _ = stream.write_all(text).await;
                open.push(stream);
            }
        });
        Self { address, task }
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address where nobody listens.
pub async fn free_address() -> SocketAddr {
    TcpListener::bind(ANY).await.unwrap().local_addr().unwrap()
}
