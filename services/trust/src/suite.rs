//! What all our TLS has in common: version, algorithms, clock.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, SupportedProtocolVersion, WantsVerifier};
use vigil_base::{SharedClock, Timestamp};

/// The only version: nothing that we speak to is older than it.
const VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13];
const FITS: &str = "the provider has suites for TLS 1.3";

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::clone(&PROVIDER)
}

pub(crate) fn server(clock: SharedClock) -> ConfigBuilder<ServerConfig, WantsVerifier> {
    let builder = ServerConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)));
    builder.with_protocol_versions(VERSIONS).expect(FITS)
}

pub(crate) fn client(clock: SharedClock) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(TlsClock(clock)));
    builder.with_protocol_versions(VERSIONS).expect(FITS)
}

/// A time as TLS has it: whole seconds since 1970.
pub(crate) fn unix_time(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_micros(u64::try_from(at.as_micros()).unwrap_or(0)))
}

struct TlsClock(SharedClock);

impl std::fmt::Debug for TlsClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsClock")
    }
}

impl TimeProvider for TlsClock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.now()))
    }
}
