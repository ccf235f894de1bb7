//! Configuration: as written ([`RegionFile`]), and as meant ([`RegionConfig`]).

mod enrolment;
mod index;
mod limits;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use vigil_base::RegionId;
use vigil_serve::config::{ConfigError, load};
use vigil_serve::door::LimitsSection;
use vigil_serve::{DoorConfig, DoorSections, SubjectLimits};
use vigil_signin::{RightsRow, SignInSection};
use vigil_trust::{TlsFiles, TlsSection, exposure};

use self::enrolment::check_enrolment;
pub use self::enrolment::{EnrolmentConfig, EnrolmentFile};
pub use self::index::{EngineName, IndexConfig, IndexFile};
pub use self::limits::Limits;
use self::limits::check_limits;
use crate::index::sqlite::SLICES_BACK;

/// Where a region listens for gRPC unless told otherwise: this machine alone.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7410);
/// Where it serves metrics and health unless told otherwise.
const DEFAULT_OPS_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7411);
/// How long events are kept unless told otherwise: 30 days.
const DEFAULT_RETENTION: Duration = Duration::from_hours(30 * 24);
/// How long a time is kept in one file unless told otherwise.
const DEFAULT_SLICE: Duration = Duration::from_hours(24);
/// Slices begin at multiples of an hour, since hours are what is counted.
const SLICE_UNIT: Duration = Duration::from_hours(1);
/// Longer would keep events for weeks after their time.
const MAX_SLICE: Duration = Duration::from_hours(31 * 24);
/// Shorter would remove events while the edges still grow them.
const MIN_RETENTION: Duration = Duration::from_hours(1);
/// Folder of the audit log in the data folder, unless told otherwise.
const AUDIT_DIR: &str = "audit";
/// Longest name for people, in characters.
const MAX_DISPLAY_NAME: usize = 128;

/// A region's configuration file, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionFile {
    /// Its id, the same as in the configuration of its edges and gateways.
    pub region_id: RegionId,
    /// For people; the id where none is given.
    pub display_name: Option<String>,
    /// Address of the gRPC server.
    #[serde(default = "default_listen")]
    pub listen: SocketAddr,
    /// Address of the metrics and health server.
    #[serde(default = "default_ops_listen")]
    pub ops_listen: SocketAddr,
    /// Folder of the embedded index, and of the key for tokens; relative to the configuration file.
    pub data_dir: PathBuf,
    /// What keeps the index.
    #[serde(default)]
    pub index: IndexFile,
    /// How long events are kept, as `30days` or `72h`.
    #[serde(default = "default_retention", with = "humantime_serde")]
    pub retention: Duration,
    /// Folder of the audit log; absent: `audit` in `data_dir`. Relative to the configuration file.
    pub audit_dir: Option<PathBuf>,
    /// What questions must say about themselves.
    #[serde(default)]
    pub access: Access,
    /// How long a time one file of the index holds, as `1day` or `6h`: retention removes whole files, so an event goes at
    /// most so long after its time.
    #[serde(default = "default_slice", with = "humantime_serde")]
    pub slice: Duration,
    /// File that says who is given what; absent: whoever may ask is given everything. Relative to the configuration file.
    pub policy: Option<PathBuf>,
    /// Whom people sign in with.
    pub sign_in: Option<SignInSection>,
    /// What is open to whom of those who sign in.
    #[serde(default)]
    pub rights: Vec<RightsRow>,
    /// What one requester may ask.
    #[serde(default)]
    pub subject_limits: LimitsSection,
    /// Certificates, for mutual TLS.
    pub tls: Option<TlsSection>,
    /// Where edges get their certificates, on the region that holds the authority.
    pub enrolment: Option<EnrolmentFile>,
    /// Other machines may reach a listener without TLS.
    #[serde(default)]
    pub plaintext_beyond_loopback: bool,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
}

/// What a question must say about itself to be answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Access {
    /// Why it is asked.
    pub require_purpose: bool,
    /// The case it is for.
    pub require_case: bool,
}

/// A region's configuration, checked, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionConfig {
    /// Its id.
    pub region_id: RegionId,
    /// For people.
    pub display_name: String,
    /// Address of the gRPC server; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Address of the metrics and health server; port 0 takes a free one.
    pub ops_listen: SocketAddr,
    /// Folder of the embedded index, and of the key for tokens.
    pub data_dir: PathBuf,
    /// What keeps the index.
    pub index: IndexConfig,
    /// How long events are kept.
    pub retention: Duration,
    /// Folder of the audit log.
    pub audit_dir: PathBuf,
    /// What questions must say about themselves.
    pub access: Access,
    /// How long a time one file of the index holds: whole hours.
    pub slice: Duration,
    /// File that says who is given what; where there is none, whoever may ask is given everything.
    pub policy: Option<PathBuf>,
    /// Whether people sign in, what is open to whom, and how much each may ask.
    pub door: DoorConfig,
    /// Certificates; where there are none, nobody has to show who it is.
    pub tls: Option<TlsFiles>,
    /// Where edges get their certificates, if here.
    pub enrolment: Option<EnrolmentConfig>,
    /// Bounds.
    pub limits: Limits,
}

impl RegionConfig {
    /// A region on this machine alone, on free ports, with every default.
    pub fn local(region_id: RegionId, data_dir: impl Into<PathBuf>) -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let data_dir = data_dir.into();
        Self {
            display_name: region_id.to_string(),
            region_id,
            listen: free,
            ops_listen: free,
            audit_dir: data_dir.join(AUDIT_DIR),
            data_dir,
            index: IndexConfig::Sqlite,
            retention: DEFAULT_RETENTION,
            access: Access::default(),
            slice: DEFAULT_SLICE,
            policy: None,
            door: DoorConfig::new(SubjectLimits::of_region()),
            tls: None,
            enrolment: None,
            limits: Limits::default(),
        }
    }

    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::resolve(load(path)?, path)
    }

    /// Checks what a file says; `path` names it in errors, and relative paths in it start at its folder.
    pub fn resolve(file: RegionFile, path: &Path) -> Result<Self, ConfigError> {
        let invalid = |key: &str, problem: String| Err(ConfigError::invalid(path, key, problem));
        let display_name = file.display_name.unwrap_or_else(|| file.region_id.to_string());
        if display_name.chars().count() > MAX_DISPLAY_NAME || display_name.chars().any(char::is_control) {
            return invalid("display_name", format!("must be at most {MAX_DISPLAY_NAME} printable characters"));
        }
        if file.retention < MIN_RETENTION {
            return invalid("retention", format!("must be at least {MIN_RETENTION:?}; is {:?}", file.retention));
        }
        if let Some(problem) = check_slice(file.slice, file.retention) {
            return invalid("slice", problem);
        }
        if file.listen == file.ops_listen && file.listen.port() != 0 {
            return invalid("ops_listen", format!("is the same as listen, {}; give it a port of its own", file.listen));
        }
        if let Some((key, problem)) = check_limits(&file.limits) {
            return invalid(key, problem);
        }
        if let Some((key, problem)) = file.enrolment.as_ref().and_then(|e| check_enrolment(e, file.tls.is_some())) {
            return invalid(key, problem);
        }
        let index = file.index.resolve(&file.region_id, path)?;
        if index.is_replica() && file.enrolment.is_some() {
            return invalid("enrolment", "is for the region itself; its replica enrols nobody".to_owned());
        }
        if let Some((key, problem)) = file.tls.as_ref().and_then(TlsSection::enrols) {
            return invalid(key, problem);
        }
        let listeners = [("listen", file.listen), ("ops_listen", file.ops_listen)];
        if let Some((key, problem)) = exposure::problem(&listeners, file.tls.is_some(), file.plaintext_beyond_loopback)
        {
            return invalid(key, problem);
        }
        let base = path.parent().unwrap_or(Path::new(""));
        let data_dir = base.join(file.data_dir);
        let sections = DoorSections { sign_in: file.sign_in, rights: file.rights, subject_limits: file.subject_limits };
        let door = match sections.resolve(base, SubjectLimits::of_region()) {
            Ok(door) => door,
            Err((key, problem)) => return invalid(&key, problem),
        };
        Ok(Self {
            index,
            region_id: file.region_id,
            display_name,
            listen: file.listen,
            ops_listen: file.ops_listen,
            audit_dir: file.audit_dir.map_or_else(|| data_dir.join(AUDIT_DIR), |folder| base.join(folder)),
            data_dir,
            retention: file.retention,
            access: file.access,
            slice: file.slice,
            policy: file.policy.map(|policy| base.join(policy)),
            door,
            tls: file.tls.map(|tls| tls.resolve(base)),
            enrolment: file.enrolment.map(|enrolment| EnrolmentConfig {
                listen: enrolment.listen,
                authority: base.join(enrolment.authority),
                lifetime: enrolment.lifetime,
            }),
            limits: file.limits,
        })
    }
}

/// What is wrong with a slice of this length, where events are kept for so long.
fn check_slice(slice: Duration, retention: Duration) -> Option<String> {
    let unit = SLICE_UNIT.as_secs();
    if slice.subsec_nanos() > 0 || !slice.as_secs().is_multiple_of(unit) || !(SLICE_UNIT..=MAX_SLICE).contains(&slice) {
        return Some(format!("must be whole hours or days, from 1h to 31days; is {}", humantime(slice)));
    }
    let most = slice * SLICES_BACK;
    (retention > most).then(|| {
        format!(
            "is {}, of which at most {SLICES_BACK} are kept, and retention is {}: make it longer",
            humantime(slice),
            humantime(retention)
        )
    })
}

/// As it would be written in the file.
fn humantime(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn default_listen() -> SocketAddr {
    DEFAULT_LISTEN
}

fn default_ops_listen() -> SocketAddr {
    DEFAULT_OPS_LISTEN
}

fn default_slice() -> Duration {
    DEFAULT_SLICE
}

fn default_retention() -> Duration {
    DEFAULT_RETENTION
}

#[cfg(test)]
mod tests {
    use vigil_serve::error::chain;

    use super::*;

    fn read(text: &str) -> Result<RegionConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("region.toml");
        std::fs::write(&path, text).unwrap();
        RegionConfig::load(&path).map_err(|error| chain(&error))
    }

    #[test]
    fn a_short_file_gives_a_whole_configuration() {
        let config = read("region_id = \"north\"\ndata_dir = \"data\"\nretention = \"14days\"\n").unwrap();
        assert_eq!(config.region_id.as_str(), "north");
        assert_eq!(config.display_name, "north");
        assert!(config.data_dir.is_absolute() && config.data_dir.ends_with("data"));
        assert_eq!(config.retention, Duration::from_hours(14 * 24));
        assert_eq!(config.limits, Limits::default());
    }

    #[test]
    fn mistakes_are_named_by_their_key() {
        let base = "region_id = \"north\"\ndata_dir = \"data\"\n";
        let cases = [
            ("retnetion = \"3days\"", "retnetion"),
            ("retention = \"3 parsecs\"", "retention"),
            ("retention = \"1s\"", "retention: must be at least"),
            ("slice = \"90min\"", "slice: must be whole hours"),
            ("slice = \"40days\"", "slice: must be whole hours"),
            ("slice = \"1h\"", "slice: is 1h, of which at most 400"),
            ("ops_listen = \"127.0.0.1:7410\"", "ops_listen: is the same as listen"),
            ("[limits]\nmax_batch_records = 0", "limits.max_batch_records: must be within"),
            ("[limits]\nmax_batch_bytes = 999999999", "limits.max_batch_bytes: must be within"),
            ("[limits]\nmax_edgse = 1", "max_edgse"),
            ("listen = \"0.0.0.0:7410\"", "listen: other machines reach 0.0.0.0:7410, and there is no [tls]"),
            ("ops_listen = \"10.0.0.5:7411\"", "ops_listen: other machines reach"),
            ("[enrolment]\nlisten = \"127.0.0.1:1\"\nauthority = \"pki\"", "enrolment: needs a [tls] section"),
            ("[tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"", "tls.authority: is missing"),
        ];
        for (line, expected) in cases {
            let error = read(&format!("{base}{line}\n")).unwrap_err();
            assert!(error.contains(expected) && error.contains("region.toml"), "{line}: {error}");
        }
        assert!(read(&format!("{base}listen = \"0.0.0.0:1\"\nplaintext_beyond_loopback = true\n")).is_ok());
        let tls = "[tls]\ncertificate = \"a.pem\"\nkey = \"a.key\"\nauthority = \"authority.pem\"\n";
        let config = read(&format!("{base}listen = \"0.0.0.0:1\"\n{tls}")).unwrap();
        assert!(config.tls.unwrap().key.is_absolute(), "files are seen from the configuration's folder");
        assert!(read("data_dir = \"x\"").unwrap_err().contains("region_id"));
        assert!(read("region_id = \"a b\"\ndata_dir = \"x\"").unwrap_err().contains("region id \"a b\""));
    }
}
