//! The simulated network in the place of the operating system's.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tonic::async_trait;
use turmoil::net::{TcpListener, TcpStream};
use vigil_trust::Network;
use vigil_trust::network::{Incoming, Transport, Wire};

/// The network that joins the hosts of the simulation.
pub(crate) fn simulated() -> Network {
    Network::Other(Arc::new(Simulated))
}

#[derive(Debug)]
struct Simulated;

#[async_trait]
impl Transport for Simulated {
    async fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Wire>> {
        Ok(Box::new(TcpStream::connect((host, port)).await?))
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<Box<dyn Incoming>> {
        Ok(Box::new(Ear(TcpListener::bind(address).await?)))
    }
}

struct Ear(TcpListener);

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ear")
    }
}

#[async_trait]
impl Incoming for Ear {
    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    async fn accept(&self) -> io::Result<(Box<dyn Wire>, SocketAddr)> {
        let (stream, from) = self.0.accept().await?;
        Ok((Box::new(stream), from))
    }
}
