//! TLS between a region and its database: a real server with a certificate of its own, and one without.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use vigil_base::SimClock;
use vigil_base::config::Secret;
use vigil_region::index::postgres::{PostgresConfig, PostgresIndex};
use vigil_region::index::{EventWriter, Index, IndexError, NewRevision, StoreOutcome};

use common::postgres::PostgresServer;
use common::{NOON, event, region};

/// Who comes over the network brings a password, whose exchange holds what the server's certificate is (RFC 5802, RFC 5929).
const PASSWORDS: &str = "local all all trust\nhost all all all scram-sha-256\n";
const NAME: &str = "db.example";

/// A server that listens at an address of its own.
struct Listening {
    server: PostgresServer,
    at: Ipv4Addr,
}

impl Listening {
    /// `number` is one that no other server of this test has.
    fn start(number: u8, files: &[(&str, &str)], settings: &[&str]) -> Self {
        // All of 127.0.0.0/8 is this machine: an address instead of a port that nobody else may have.
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let at = Ipv4Addr::new(127, 100 + number, high, low);
        let listen = format!("listen_addresses={at}");
        let settings: Vec<&str> = settings.iter().copied().chain([listen.as_str(), "hba_file={folder}/hba"]).collect();
        let files: Vec<_> = files.iter().copied().chain([("hba", PASSWORDS)]).collect();
        let server = PostgresServer::start_with(&files, &settings);
        server.sql("ALTER ROLE vigil PASSWORD 'hunter2'");
        Self { server, at }
    }

    /// Opens an index under the name `host`, wherever that may be.
    fn open(&self, host: &str, more: &str, ca_file: Option<&Path>) -> Result<PostgresIndex, IndexError> {
        let at = self.at;
        let url = format!("host={host} hostaddr={at} dbname=postgres user=vigil password=hunter2 {more}");
        let config = PostgresConfig { connections: 2, ..PostgresConfig::new(Secret::new(url), region()) };
        PostgresIndex::open(&PostgresConfig { ca_file: ca_file.map(PathBuf::from), ..config }, SimClock::new(NOON))
    }

    /// Whether a region has connections with, or without, TLS. One that was closed just now may still be there.
    fn is_used(&self, secured: bool) -> bool {
        let sql = "SELECT count(*) > 0 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                   WHERE application_name = 'vigil-region' AND client_addr IS NOT NULL";
        let how = if secured { "version = 'TLSv1.3'" } else { "NOT ssl" };
        self.server.sql(&format!("{sql} AND {how}")) == "t"
    }
}

#[track_caller]
fn refused(opened: Result<PostgresIndex, IndexError>, why: &str) {
    let error = opened.unwrap_err();
    let IndexError::Refused { source, .. } = &error else { panic!("{error:?}") };
    let told = vigil_serve::error::chain(&**source);
    assert!(told.contains(why) && !format!("{error} {error:?} {told}").contains("hunter2"), "{told}");
}

#[tokio::test]
async fn a_server_with_a_certificate_is_talked_to_over_tls_alone() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let files = [("server.pem", cert.pem()), ("server.key", signing_key.serialize_pem())];
    let files = files.each_ref().map(|(name, content)| (*name, content.as_str()));
    let settings = ["ssl=on", "ssl_cert_file={folder}/server.pem", "ssl_key_file={folder}/server.key"];
    let listening = Listening::start(0, &files, &settings);
    let folder = tempfile::tempdir().unwrap();
    let [trusted, other, empty] = ["trusted.pem", "other.pem", "empty.pem"].map(|name| folder.path().join(name));
    std::fs::write(&trusted, cert.pem()).unwrap();
    std::fs::write(&other, generate_simple_self_signed([NAME.to_owned()]).unwrap().cert.pem()).unwrap();
    std::fs::write(&empty, "no certificate").unwrap();

    let index = listening.open(NAME, "", Some(&trusted)).unwrap();
    let outcomes = index.commit(vec![NewRevision::new(event(NOON), Bytes::new())]).await.unwrap();
    assert!(matches!(outcomes[..], [StoreOutcome::Accepted(_)]));
    assert!(listening.is_used(true) && !listening.is_used(false));
    index.close();

    refused(listening.open(NAME, "", Some(&other)), "invalid peer certificate");
    refused(listening.open(NAME, "", None), "UnknownIssuer");
    refused(listening.open("other.example", "", Some(&trusted)), "not valid for name");
    // Within this machine a certificate that nobody vouches for, as Debian's own, is no hindrance unless TLS is asked for.
    let (here, asked) = (listening.at.to_string(), "sslmode=require");
    let index = listening.open(&here, "", None).unwrap();
    assert!(listening.is_used(false));
    index.close();
    refused(listening.open(&here, asked, None), "UnknownIssuer");
    refused(listening.open(&here, "", Some(&trusted)), "not valid for name");
    let without_any = listening.open(NAME, "", Some(&empty)).unwrap_err();
    assert!(matches!(without_any, IndexError::Io { .. }), "{without_any:?}");
}

#[test]
fn a_server_without_tls_is_used_only_when_that_is_said() {
    let listening = Listening::start(1, &[], &[]);
    refused(listening.open(NAME, "", None), "does not support TLS");
    refused(listening.open(NAME, "sslmode=prefer", None), "does not support TLS");
    let index = listening.open(NAME, "sslmode=disable", None).unwrap();
    assert!(listening.is_used(false) && !listening.is_used(true));
    index.close();
}
