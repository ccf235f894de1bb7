//! Where edges get their certificates.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// How long certificates of edges are good unless told otherwise: one that was stolen ends by itself, and an edge that is cut
/// off for nine days still comes back.
const DEFAULT_LIFETIME: Duration = Duration::from_hours(30 * 24);
/// Below a minute edges would do little but renew; above a year nobody needs renewal.
const LIFETIME_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(365 * 24);

/// The `[enrolment]` section as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentFile {
    /// Address of the server that takes tokens; reached by edges that have no certificate yet.
    pub listen: SocketAddr,
    /// The folder that `vigil pki init` made; relative to the configuration file.
    pub authority: PathBuf,
    /// How long the certificates of edges are good; they are renewed at two thirds.
    #[serde(default = "default_lifetime", with = "humantime_serde")]
    pub lifetime: Duration,
}

/// Where edges get their certificates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentConfig {
    /// See [`EnrolmentFile`].
    pub listen: SocketAddr,
    /// See [`EnrolmentFile`].
    pub authority: PathBuf,
    /// See [`EnrolmentFile`].
    pub lifetime: Duration,
}

/// What is wrong in `[enrolment]`, with its key.
pub(super) fn check_enrolment(enrolment: &EnrolmentFile, has_tls: bool) -> Option<(&'static str, String)> {
    if !has_tls {
        return Some(("enrolment", "needs a [tls] section: edges enrol over TLS alone".to_owned()));
    }
    if !LIFETIME_RANGE.contains(&enrolment.lifetime) {
        return Some(("enrolment.lifetime", "must be within 1m and 365days".to_owned()));
    }
    None
}

fn default_lifetime() -> Duration {
    DEFAULT_LIFETIME
}
