//! What a gateway is told: as written ([`RawGatewayConfig`]) and as meant ([`GatewayConfig`]).
//!
//! ```toml
//! listen = "127.0.0.1:7200"
//! ops_listen = "127.0.0.1:7201"
//! token_key_file = "gateway-token.key"   # relative to this file; made when missing
//!
//! [[regions]]
//! region_id = "north"
//! address = "http://10.1.0.5:7100"
//! ```

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use vigil_base::RegionId;
use vigil_base::config::Share;
use vigil_serve::audited::Required;
use vigil_serve::config::{ConfigError, load};
use vigil_serve::door::LimitsSection;
use vigil_serve::{DoorConfig, DoorSections, SubjectLimits};
use vigil_signin::{RightsRow, SignInSection};
use vigil_trust::{TlsFiles, TlsSection, exposure};

/// An operator's question waits this long at most.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(2);
/// Below this no region in another city can answer; above it nobody waits.
const DEADLINE_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_mins(5);
/// Of the deadline; the rest is for the merge and the way back.
const DEFAULT_REGION_SHARE: f32 = 0.9;
/// Below half, regions would be cut off while the gateway idles; at 1 nothing is left for the way back.
const REGION_SHARE_RANGE: std::ops::RangeInclusive<f32> = 0.5..=0.98;
/// Questions answered at a time; each holds at most some 10 MB of regions' answers.
const DEFAULT_CONCURRENT_REQUESTS: usize = 128;
/// Live streams at a time; regions take 256 streams a connection.
const DEFAULT_SUBSCRIPTIONS: usize = 200;
/// A subscriber that takes nothing for this long is ended.
const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);
/// Below a second a garbage collection would end a subscriber; above ten minutes the regions' streams are held up too long.
const PATIENCE_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_mins(10);
/// Folder of the audit log beside the configuration file, unless told otherwise.
const AUDIT_DIR: &str = "audit";
/// Regions one question may go to, unless it is set lower: a page token holds the places in so many.
pub(crate) const MAX_FAN_OUT: usize = 1_000;
/// Most questions or live streams at a time: what a process with usual limits on files and memory can hold.
const MAX_LIMIT: usize = 10_000;

/// Replicas of a region: each is another copy of its index to run, and one beside the region bridges its loss.
const MAX_REPLICAS: usize = 2;

/// The configuration file as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawGatewayConfig {
    listen: SocketAddr,
    ops_listen: SocketAddr,
    token_key_file: PathBuf,
    audit_dir: Option<PathBuf>,
    #[serde(default)]
    access: RawAccess,
    #[serde(default, with = "humantime_serde")]
    default_deadline: Option<Duration>,
    region_share: Option<Share>,
    max_concurrent_requests: Option<usize>,
    max_subscriptions: Option<usize>,
    #[serde(default, with = "humantime_serde")]
    subscriber_patience: Option<Duration>,
    max_fan_out: Option<usize>,
    tls: Option<TlsSection>,
    sign_in: Option<SignInSection>,
    #[serde(default)]
    rights: Vec<RightsRow>,
    #[serde(default)]
    subject_limits: LimitsSection,
    #[serde(default)]
    plaintext_beyond_loopback: bool,
    regions: Vec<RawRegion>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawAccess {
    require_purpose: bool,
    require_case: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRegion {
    region_id: RegionId,
    address: String,
    #[serde(default)]
    replicas: Vec<String>,
}

/// A region and where it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionEndpoint {
    /// The id the region must answer with.
    pub region_id: RegionId,
    /// `https://host:port`, or `http://host:port` in the clear.
    pub address: Uri,
    /// The same for servers that answer from a copy of its index, at most two; asked where the region does not answer, or not in
    /// time.
    pub replicas: Vec<Uri>,
}

impl RegionEndpoint {
    /// Checks `address`: `http://host:port` or `https://host:port` and nothing else.
    ///
    /// # Errors
    /// What is wrong with the address, for people.
    pub fn new(region_id: RegionId, address: &str) -> Result<Self, String> {
        Ok(Self { region_id, address: checked_address(address)?, replicas: Vec::new() })
    }

    /// The same with replicas at these addresses.
    ///
    /// # Errors
    /// What is wrong with one of the addresses, or that there are too many.
    pub fn with_replicas(self, addresses: &[String]) -> Result<Self, String> {
        if addresses.len() > MAX_REPLICAS {
            return Err(format!("names {} replicas; at most {MAX_REPLICAS} are asked", addresses.len()));
        }
        let replicas = addresses.iter().map(|address| checked_address(address)).collect::<Result<_, _>>()?;
        Ok(Self { replicas, ..self })
    }

    /// Whether it, or a replica, is reached over TLS.
    pub fn is_secure(&self) -> bool {
        [&self.address].into_iter().chain(&self.replicas).any(|address| address.scheme_str() == Some("https"))
    }
}

fn checked_address(address: &str) -> Result<Uri, String> {
    let uri: Uri = address.parse().map_err(|error| format!("{address:?} is not an address: {error}"))?;
    let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
    let authority = uri.authority().is_some_and(|a| a.port_u16().is_some() && !a.as_str().contains('@'));
    if !matches!(uri.scheme_str(), Some("http" | "https")) || !authority || !bare {
        return Err(format!("{address:?} must be https://host:port, or http://host:port without TLS"));
    }
    Ok(uri)
}

/// The configuration as meant: every value checked, every default filled in.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where gRPC is served; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where metrics and health are served over HTTP; port 0 takes a free one.
    pub ops_listen: SocketAddr,
    /// The key of page tokens and cursors; made when missing. Gateways with the same key take each other's tokens.
    pub token_key_file: PathBuf,
    /// Folder of the audit log: one for each gateway.
    pub audit_dir: PathBuf,
    /// What questions must say about themselves.
    pub required: Required,
    /// A question without a deadline of its own, or with a longer one, is answered within this time.
    pub default_deadline: Duration,
    /// Share of a question's deadline that the regions are given.
    pub region_share: f32,
    /// Questions answered at a time; more are refused with `RESOURCE_EXHAUSTED`.
    pub max_concurrent_requests: usize,
    /// Live streams at a time; more are refused with `RESOURCE_EXHAUSTED`.
    pub max_subscriptions: usize,
    /// A subscriber that takes nothing for this long is ended with its cursor.
    pub subscriber_patience: Duration,
    /// Regions one question may go to.
    pub max_fan_out: usize,
    /// Whether people sign in, what is open to whom, and how much each may ask.
    pub door: DoorConfig,
    /// Certificates; where there are none, nobody has to show who it is.
    pub tls: Option<TlsFiles>,
    /// In order of id.
    pub regions: Vec<RegionEndpoint>,
}

impl GatewayConfig {
    /// A gateway on this machine alone, on free ports, with every default.
    pub fn local(token_key_file: impl Into<PathBuf>, mut regions: Vec<RegionEndpoint>) -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let token_key_file = token_key_file.into();
        regions.sort_by(|a, b| a.region_id.cmp(&b.region_id));
        Self {
            listen: free,
            ops_listen: free,
            audit_dir: token_key_file.parent().unwrap_or(Path::new("")).join(AUDIT_DIR),
            token_key_file,
            required: Required::default(),
            default_deadline: DEFAULT_DEADLINE,
            region_share: DEFAULT_REGION_SHARE,
            max_concurrent_requests: DEFAULT_CONCURRENT_REQUESTS,
            max_subscriptions: DEFAULT_SUBSCRIPTIONS,
            subscriber_patience: DEFAULT_PATIENCE,
            max_fan_out: MAX_FAN_OUT,
            door: DoorConfig::new(SubjectLimits::of_gateway()),
            tls: None,
            regions,
        }
    }

    /// Reads and checks a configuration file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        load::<RawGatewayConfig>(path)?.resolve(path)
    }
}

impl RawGatewayConfig {
    /// Checks what was written in `path`; relative paths are seen from its folder.
    pub fn resolve(self, path: &Path) -> Result<GatewayConfig, ConfigError> {
        let invalid = |key: &str, problem: String| ConfigError::invalid(path, key, problem);
        let regions = resolve_regions(self.regions).map_err(|(key, problem)| invalid(&key, problem))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        if self.listen == self.ops_listen && self.listen.port() != 0 {
            let problem = format!("is the same as listen, {}; give it a port of its own", self.listen);
            return Err(invalid("ops_listen", problem));
        }
        if let Some(at) = regions.iter().position(RegionEndpoint::is_secure).filter(|_| self.tls.is_none()) {
            let problem =
                "is reached over TLS, and there is no [tls] section: name certificate, key and authority".to_owned();
            return Err(invalid(&format!("regions[{at}].address"), problem));
        }
        if let Some((key, problem)) = self.tls.as_ref().and_then(TlsSection::enrols) {
            return Err(invalid(key, problem));
        }
        let listeners = [("listen", self.listen), ("ops_listen", self.ops_listen)];
        if let Some((key, problem)) = exposure::problem(&listeners, self.tls.is_some(), self.plaintext_beyond_loopback)
        {
            return Err(invalid(key, problem));
        }
        let local = GatewayConfig::local(folder.join(self.token_key_file), regions);
        let audit_dir = folder.join(self.audit_dir.unwrap_or_else(|| AUDIT_DIR.into()));
        let required = Required { purpose: self.access.require_purpose, case: self.access.require_case };
        let (listen, ops_listen) = (self.listen, self.ops_listen);
        let tls = self.tls.map(|tls| tls.resolve(folder));
        let sections = DoorSections { sign_in: self.sign_in, rights: self.rights, subject_limits: self.subject_limits };
        let door = sections.resolve(folder, SubjectLimits::of_gateway());
        let door = door.map_err(|(key, problem)| invalid(&key, problem))?;
        let mut config = GatewayConfig { listen, ops_listen, audit_dir, required, door, tls, ..local };
        if let Some(deadline) = self.default_deadline {
            if !DEADLINE_RANGE.contains(&deadline) {
                return Err(invalid("default_deadline", "must be within 50ms and 5m".to_owned()));
            }
            config.default_deadline = deadline;
        }
        if let Some(share) = self.region_share {
            if !REGION_SHARE_RANGE.contains(&share.get()) {
                return Err(invalid("region_share", "must be within 0.5 and 0.98".to_owned()));
            }
            config.region_share = share.get();
        }
        if let Some(patience) = self.subscriber_patience {
            if !PATIENCE_RANGE.contains(&patience) {
                return Err(invalid("subscriber_patience", "must be within 1s and 10m".to_owned()));
            }
            config.subscriber_patience = patience;
        }
        let requests = &mut config.max_concurrent_requests;
        let limits = [
            ("max_concurrent_requests", self.max_concurrent_requests, MAX_LIMIT, requests),
            ("max_subscriptions", self.max_subscriptions, MAX_LIMIT, &mut config.max_subscriptions),
            ("max_fan_out", self.max_fan_out, MAX_FAN_OUT, &mut config.max_fan_out),
        ];
        for (key, written, most, limit) in limits {
            let Some(written) = written else { continue };
            if !(1..=most).contains(&written) {
                return Err(invalid(key, format!("must be within 1 and {most}")));
            }
            *limit = written;
        }
        Ok(config)
    }
}

fn resolve_regions(raw: Vec<RawRegion>) -> Result<Vec<RegionEndpoint>, (String, String)> {
    if raw.is_empty() {
        return Err(("regions".to_owned(), "is empty: name at least one region".to_owned()));
    }
    let mut ids = HashMap::new();
    let mut addresses = HashMap::new();
    let mut regions = Vec::with_capacity(raw.len());
    for (i, region) in raw.into_iter().enumerate() {
        if let Some(first) = ids.insert(region.region_id.clone(), i) {
            let problem = format!("{} is the id of regions[{first}] already", region.region_id);
            return Err((format!("regions[{i}].region_id"), problem));
        }
        let endpoint = RegionEndpoint::new(region.region_id, &region.address)
            .map_err(|problem| (format!("regions[{i}].address"), problem))?;
        let endpoint =
            endpoint.with_replicas(&region.replicas).map_err(|problem| (format!("regions[{i}].replicas"), problem))?;
        let named =
            [("address", &endpoint.address)].into_iter().chain(endpoint.replicas.iter().map(|at| ("replicas", at)));
        for (key, address) in named {
            if let Some(first) = addresses.insert(address.to_string(), i) {
                let problem = format!("{address} is an address of regions[{first}] already");
                return Err((format!("regions[{i}].{key}"), problem));
            }
        }
        regions.push(endpoint);
    }
    Ok(regions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<GatewayConfig, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gateway.toml");
        std::fs::write(&path, text).unwrap();
        GatewayConfig::load(&path).map_err(|error| vigil_serve::error::chain(&error))
    }

    const HEAD: &str = "listen = \"127.0.0.1:0\"\nops_listen = \"127.0.0.1:0\"\ntoken_key_file = \"token.key\"\n";

    fn with_region(extra: &str) -> String {
        format!("{HEAD}{extra}\n[[regions]]\nregion_id = \"north\"\naddress = \"http://127.0.0.1:7100\"\n")
    }

    #[test]
    fn the_short_form_has_every_default() {
        let config = parse(&with_region("")).unwrap();
        assert_eq!(config.default_deadline, Duration::from_secs(2));
        assert!(config.token_key_file.is_absolute() && config.token_key_file.ends_with("token.key"));
        assert_eq!(config.regions[0].region_id.as_str(), "north");
    }

    #[test]
    fn regions_are_kept_in_order_of_their_ids() {
        let text = with_region("") + "[[regions]]\nregion_id = \"east\"\naddress = \"http://127.0.0.1:7101\"\n";
        let ids: Vec<_> = parse(&text).unwrap().regions.iter().map(|r| r.region_id.to_string()).collect();
        assert_eq!(ids, ["east", "north"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_key() {
        let cases = [
            (with_region("").replace("127.0.0.1:0", "127.0.0.1:7200"), "ops_listen: is the same"),
            (with_region("dedline = \"1s\""), "dedline"),
            (with_region("default_deadline = \"1ms\""), "default_deadline"),
            (with_region("region_share = 1.0"), "region_share"),
            (with_region("subscriber_patience = \"1ms\""), "subscriber_patience"),
            (with_region("max_fan_out = 0"), "max_fan_out"),
            (with_region("max_fan_out = 1001"), "max_fan_out"),
            (with_region("max_subscriptions = 1000000"), "max_subscriptions"),
            (format!("{HEAD}regions = []\n"), "regions: is empty"),
            (
                with_region("").replacen("listen = \"127.0.0.1:0\"", "listen = \"0.0.0.0:7000\"", 1),
                "listen: other machines reach",
            ),
            (with_region("").replace("http://127", "https://127"), "regions[0].address: is reached over TLS"),
            (
                with_region("") + "[[regions]]\nregion_id = \"north\"\naddress = \"http://b:1\"\n",
                "regions[1].region_id",
            ),
            (
                with_region("") + "[[regions]]\nregion_id = \"east\"\naddress = \"http://127.0.0.1:7100\"\n",
                "regions[1].address",
            ),
        ];
        for (text, key) in cases {
            let shown = parse(&text).unwrap_err();
            assert!(shown.contains(key) && shown.contains("gateway.toml"), "{shown}");
        }
    }

    #[test]
    fn a_region_may_have_two_replicas_at_addresses_of_their_own() {
        let with = |replicas: &str| parse(&format!("{}replicas = {replicas}\n", with_region("")));
        let config = with("[\"http://127.0.0.1:7101\", \"http://127.0.0.1:7102\"]").unwrap();
        assert_eq!(config.regions[0].replicas.len(), 2);
        for (bad, expected) in [
            ("[\"http://b:1\", \"http://b:2\", \"http://b:3\"]", "regions[0].replicas: names 3"),
            ("[\"b\"]", "regions[0].replicas"),
            ("[\"http://127.0.0.1:7100\"]", "regions[0].replicas: http://127.0.0.1:7100/ is an address of regions[0]"),
            ("[\"https://b:1\"]", "reached over TLS"),
        ] {
            let shown = with(bad).unwrap_err();
            assert!(shown.contains(expected), "{shown}");
        }
    }

    #[test]
    fn an_address_is_scheme_host_and_port() {
        let id = RegionId::new("north").unwrap();
        assert!(RegionEndpoint::new(id.clone(), "http://[::1]:7100").is_ok());
        assert!(RegionEndpoint::new(id.clone(), "https://host:1").unwrap().is_secure());
        for bad in ["", "127.0.0.1:7100", "http://host", "ftp://host:1", "http://u:p@host:1", "http://host:1/x"] {
            assert!(RegionEndpoint::new(id.clone(), bad).is_err(), "{bad} was taken");
        }
    }
}
