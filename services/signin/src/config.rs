//! What a server is told of those who sign in: as written ([`SignInSection`], [`RightsRow`]) and as meant ([`SignInConfig`]).
//!
//! ```toml
//! [sign_in]
//! issuer = "https://id.example/realms/city"
//! audience = "vigil"
//!
//! [sign_in.claims]
//! roles = "realm_access.roles"
//! department = "department"
//!
//! [sign_in.roles]
//! operator = ["dispatcher", "duty-officer"]   # the issuer's names for it; absent: the role's own name
//!
//! [[rights]]
//! role = "operator"
//! department = "traffic"
//! cameras = ["crossing-*"]
//! ```

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonwebtoken::Algorithm;
use serde::Deserialize;
use url::{Host, Url};
use vigil_base::{EdgeId, RegionId};
use vigil_trust::person::Role;

/// Clocks of issuer and servers may differ by this much unless told otherwise.
const DEFAULT_LEEWAY: Duration = Duration::from_secs(30);
/// More would let a token live for minutes beyond its end.
const MAX_LEEWAY: Duration = Duration::from_mins(5);
/// How long the issuer's keys go on unless told otherwise, when it cannot be reached: a day's outage of the issuer stops nobody
/// whose token is still good, and a key that was withdrawn meanwhile is believed no longer than that.
const DEFAULT_KEYS_KEPT: Duration = Duration::from_hours(24);
/// Below a minute each restart of the issuer would lock everybody out; above a week a withdrawn key is believed too long.
const KEYS_KEPT_RANGE: std::ops::RangeInclusive<Duration> = Duration::from_mins(1)..=Duration::from_hours(7 * 24);
/// Between two reads of the keys that tokens with unknown keys cause: nobody makes this server call the issuer in a loop.
const REFETCH_AFTER: Duration = Duration::from_secs(10);
/// Algorithms that are taken unless told otherwise: those that issuers use, with public keys, none of them weak.
const DEFAULT_ALGORITHMS: [SignatureAlgorithm; 4] =
    [SignatureAlgorithm::RS256, SignatureAlgorithm::PS256, SignatureAlgorithm::ES256, SignatureAlgorithm::EdDSA];
/// Most names for one role, clients, rows of rights, or entries in one of their lists: read by people.
const MAX_LISTED: usize = 1_000;

/// An algorithm by which an issuer may sign (RFC 7518, section 3.1; RFC 8037). Those of shared secrets cannot be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[allow(missing_docs)] // Their names are what the standards call them.
pub enum SignatureAlgorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

impl From<SignatureAlgorithm> for Algorithm {
    fn from(algorithm: SignatureAlgorithm) -> Self {
        match algorithm {
            SignatureAlgorithm::RS256 => Self::RS256,
            SignatureAlgorithm::RS384 => Self::RS384,
            SignatureAlgorithm::RS512 => Self::RS512,
            SignatureAlgorithm::PS256 => Self::PS256,
            SignatureAlgorithm::PS384 => Self::PS384,
            SignatureAlgorithm::PS512 => Self::PS512,
            SignatureAlgorithm::ES256 => Self::ES256,
            SignatureAlgorithm::ES384 => Self::ES384,
            SignatureAlgorithm::EdDSA => Self::EdDSA,
        }
    }
}

/// Which tokens are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// Access tokens that say so, by the type `at+jwt` (RFC 9068).
    #[default]
    Access,
    /// Access tokens of an issuer that does not mark them, such as Keycloak and Entra: any type but that of another kind.
    UnmarkedAccess,
    /// ID tokens (`OpenID` Connect Core 1.0), where the audience is the client.
    Id,
}

/// The `[sign_in]` section as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignInSection {
    issuer: String,
    audience: String,
    #[serde(default)]
    clients: Vec<String>,
    #[serde(default)]
    tokens: TokenKind,
    algorithms: Option<Vec<SignatureAlgorithm>>,
    #[serde(default, with = "humantime_serde")]
    leeway: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    keys_kept: Option<Duration>,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    require_bound: bool,
    #[serde(default)]
    claims: ClaimNames,
    #[serde(default)]
    roles: RoleNames,
}

/// Where a token says what: the name of a claim, or a path of names with dots between them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimNames {
    /// Who it is: must be the issuer's own and never given to another. `sub` is.
    pub subject: String,
    /// The roles, a list or a text with blanks between them.
    pub roles: String,
    /// The department.
    pub department: Option<String>,
    /// The region it belongs to.
    pub region: Option<String>,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { subject: "sub".to_owned(), roles: "roles".to_owned(), department: None, region: None }
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RoleNames {
    operator: Option<Vec<String>>,
    supervisor: Option<Vec<String>>,
    auditor: Option<Vec<String>>,
    integrator: Option<Vec<String>>,
    administrator: Option<Vec<String>>,
}

/// One row of `[[rights]]`: whom it is for, and what it opens. What is absent does not restrict; a row is for somebody when
/// all that it says of them is so.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RightsRow {
    /// This one alone.
    pub subject: Option<String>,
    /// Who has this role: `operator` and so on.
    pub role: Option<String>,
    /// Who belongs to this department.
    pub department: Option<String>,
    /// In these regions; absent: in all.
    pub regions: Option<Vec<RegionId>>,
    /// At these sites, which are edges; absent: at all.
    pub sites: Option<Vec<EdgeId>>,
    /// Cameras by their ids, with `*` and `?` as in names of files; absent: all.
    pub cameras: Option<Vec<String>>,
}

/// Whom a server believes, and what their tokens mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignInConfig {
    /// The issuer's identifier, exactly as it stands in `iss`; an `https` address, or `http` on the loopback address.
    pub issuer: String,
    /// What `aud` must contain: this deployment's own name at the issuer.
    pub audience: String,
    /// Programs whose tokens are taken (`azp`, or `client_id`); empty: those of all that the issuer gives such tokens.
    pub clients: Vec<String>,
    /// Which tokens are taken.
    pub tokens: TokenKind,
    /// Algorithms that are taken.
    pub algorithms: Vec<Algorithm>,
    /// Clocks may differ by this much.
    pub leeway: Duration,
    /// How long keys go on while the issuer cannot be reached.
    pub keys_kept: Duration,
    /// Least time between two reads of the keys that unknown keys cause.
    pub refetch_after: Duration,
    /// Who vouches for the issuer's server; none: the authorities that the machine believes.
    pub ca_file: Option<PathBuf>,
    /// Only tokens that are bound to the client's certificate are taken (RFC 8705).
    pub require_bound: bool,
    /// Where tokens say what.
    pub claims: ClaimNames,
    /// The issuer's names of roles.
    pub roles: BTreeMap<String, Role>,
}

/// What is wrong in the section: key and problem.
pub type Unfit = (String, String);

impl SignInConfig {
    /// An issuer and an audience, with every default.
    ///
    /// # Errors
    /// The issuer is no address that may be asked for keys.
    pub fn new(issuer: &str, audience: &str) -> Result<Self, String> {
        check_address(issuer)?;
        let roles = Role::ALL.into_iter().map(|role| (role.to_string(), role)).collect();
        Ok(Self {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
            clients: Vec::new(),
            tokens: TokenKind::default(),
            algorithms: DEFAULT_ALGORITHMS.map(Algorithm::from).to_vec(),
            leeway: DEFAULT_LEEWAY,
            keys_kept: DEFAULT_KEYS_KEPT,
            refetch_after: REFETCH_AFTER,
            ca_file: None,
            require_bound: false,
            claims: ClaimNames::default(),
            roles,
        })
    }
}

impl SignInSection {
    /// Checks what was written; relative paths are seen from `folder`.
    ///
    /// # Errors
    /// The first value that cannot be meant, by its key.
    pub fn resolve(self, folder: &Path) -> Result<SignInConfig, Unfit> {
        let unfit = |key: &str, problem: &str| (format!("sign_in.{key}"), problem.to_owned());
        let known = SignInConfig::new(&self.issuer, &self.audience).map_err(|problem| unfit("issuer", &problem))?;
        if self.audience.trim().is_empty() {
            return Err(unfit("audience", "is empty: give the name that the issuer has for this deployment"));
        }
        if self.clients.len() > MAX_LISTED {
            return Err(unfit("clients", "has more than 1000 entries"));
        }
        let algorithms: Vec<_> = self.algorithms.unwrap_or(DEFAULT_ALGORITHMS.to_vec());
        if algorithms.is_empty() {
            return Err(unfit("algorithms", "is empty: nothing could be verified"));
        }
        let leeway = self.leeway.unwrap_or(DEFAULT_LEEWAY);
        if leeway > MAX_LEEWAY {
            return Err(unfit("leeway", "must be at most 5m"));
        }
        let keys_kept = self.keys_kept.unwrap_or(DEFAULT_KEYS_KEPT);
        if !KEYS_KEPT_RANGE.contains(&keys_kept) {
            return Err(unfit("keys_kept", "must be within 1m and 7days"));
        }
        Ok(SignInConfig {
            clients: self.clients,
            tokens: self.tokens,
            algorithms: algorithms.into_iter().map(Algorithm::from).collect(),
            leeway,
            keys_kept,
            ca_file: self.ca_file.map(|file| folder.join(file)),
            require_bound: self.require_bound,
            claims: self.claims,
            roles: self.roles.resolve()?,
            ..known
        })
    }
}

impl RoleNames {
    fn resolve(self) -> Result<BTreeMap<String, Role>, Unfit> {
        let written = [self.operator, self.supervisor, self.auditor, self.integrator, self.administrator];
        let mut names = BTreeMap::new();
        for (role, written) in Role::ALL.into_iter().zip(written) {
            for name in written.unwrap_or_else(|| vec![role.to_string()]) {
                if let Some(other) = names.insert(name.clone(), role).filter(|other| *other != role) {
                    let problem = format!("{name:?} stands for {other} already");
                    return Err((format!("sign_in.roles.{role}"), problem));
                }
            }
        }
        if names.len() > MAX_LISTED {
            return Err(("sign_in.roles".to_owned(), format!("names more than {MAX_LISTED} of the issuer's roles")));
        }
        Ok(names)
    }
}

/// Whether an address may be asked: over TLS, or on this machine.
///
/// # Errors
/// What is wrong with it, for people.
pub fn check_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
    let is_local = match url.host() {
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        _ => false,
    };
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    match url.scheme() {
        "https" if is_bare => Ok(url),
        "http" if is_bare && is_local => Ok(url),
        _ => Err(format!("{text:?} must be an address of https; of http on 127.0.0.1 or [::1] alone")),
    }
}
