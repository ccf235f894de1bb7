//! TLS between the region and its database.
//!
//! The driver's own way (`sslmode=prefer`) is never what is meant. Over a network it goes on in the clear when a server says that it
//! has no TLS, which anybody between the two can say in its place. Within a machine nobody listens, and it would refuse the server
//! that Debian sets up, whose certificate nobody vouches for.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::index::{IndexError, Result};

/// What secures connections to an address: TLS where it leads beyond this machine or `ca_file` is given, unless it says
/// `sslmode=disable`, and where it says `sslmode=require`. Nothing over a socket, whose folder's rights say who may use it.
///
/// The server's name must be in its certificate, and `ca_file`'s authorities, or else those of this machine, vouch for it.
pub(super) fn prepare(address: &mut Config, ca_file: Option<&Path>) -> Result<Option<MakeRustlsConnect>> {
    let is_socket = |host: &Host| matches!(host, Host::Unix(_));
    if address.get_hostaddrs().is_empty() && address.get_hosts().iter().all(is_socket) {
        return Ok(None);
    }
    if address.get_ssl_mode() == SslMode::Prefer {
        let is_meant = leads_beyond(address) || ca_file.is_some();
        address.ssl_mode(if is_meant { SslMode::Require } else { SslMode::Disable });
    }
    if address.get_ssl_mode() == SslMode::Disable {
        return Ok(None);
    }
    tls_config(ca_file).map(|config| Some(MakeRustlsConnect::new(config)))
}

/// Whether one of its servers is, or may be, another machine.
fn leads_beyond(address: &Config) -> bool {
    let is_beyond = |host: &Host| match host {
        Host::Unix(_) => false,
        Host::Tcp(name) if name == "localhost" => false,
        Host::Tcp(name) => !name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()),
    };
    address.get_hosts().iter().any(is_beyond) || address.get_hostaddrs().iter().any(|ip| !ip.is_loopback())
}

fn tls_config(ca_file: Option<&Path>) -> Result<rustls::ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            for certificate in read_certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|e| IndexError::io(path, "use certificate of", std::io::Error::other(e)))?;
            }
        }
        None => {
            // One that cannot be read is one less to trust.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let failed = |e| IndexError::io(path, "read certificates of", std::io::Error::other(e));
    let read: Vec<_> = CertificateDer::pem_file_iter(PathBuf::from(path))
        .map_err(failed)?
        .collect::<std::result::Result<_, _>>()
        .map_err(failed)?;
    if read.is_empty() {
        return Err(IndexError::io(path, "read certificates of", std::io::Error::other("it holds none, in PEM")));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_this_machine_there_is_tls_unless_the_address_says_otherwise() {
        let mode = |address: &str| {
            let mut address: Config = address.parse().unwrap();
            let tls = prepare(&mut address, None).unwrap();
            (tls.is_some(), address.get_ssl_mode())
        };
        assert_eq!(mode("postgres://vigil@db-1/city"), (true, SslMode::Require));
        assert_eq!(mode("postgres://vigil@127.0.0.1,db-2/city"), (true, SslMode::Require));
        assert_eq!(mode("host=localhost hostaddr=10.0.0.1"), (true, SslMode::Require));
        assert_eq!(mode("hostaddr=10.0.0.1"), (true, SslMode::Require));
        assert_eq!(mode("postgres://vigil@db-1/city?sslmode=disable"), (false, SslMode::Disable));
        assert_eq!(mode("postgres://vigil@127.0.0.1/city"), (false, SslMode::Disable));
        assert_eq!(mode("postgres://vigil@localhost/city?sslmode=require"), (true, SslMode::Require));
        assert!(!mode("postgres:///city?host=/run/postgresql").0);
    }
}
