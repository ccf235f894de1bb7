//! How operators and subscribers reach a server.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use vigil_trust::{Dialer, Expect};

use crate::network;
use crate::region::PORT;

/// As a client of the product's command line, but quicker to notice that a server is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A connection to the server on a host.
pub(crate) async fn connect(host: &str) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{host}:{PORT}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .keep_alive_while_idle(true);
    // The timeout covers what the transport does; a network that swallows the first packet says nothing at all.
    let dialer = Dialer::new(endpoint, None, Expect::Host).over(network::simulated());
    dialer.connect().await
}
