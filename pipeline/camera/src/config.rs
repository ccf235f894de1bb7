//! A camera in the configuration: [`CameraSource`] as written, [`Source`] as meant.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use vigil_base::{Secret, StreamAddress};

use crate::timeline::ClockPolicy;

/// Longest password file: nobody types more, and a wrong path may name a video.
const MAX_PASSWORD_FILE: u64 = 4096;

/// Where a camera is and how to talk to it, as written in a configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CameraSource {
    /// `rtsp://` or `rtsps://`; user and password may stand in it, but are better kept apart.
    pub address: StreamAddress,
    /// User, when not in the address.
    pub user: Option<String>,
    /// Password, when not in the address.
    pub password: Option<Secret>,
    /// File that holds the password in its first line.
    pub password_file: Option<PathBuf>,
    /// How pictures travel.
    #[serde(default)]
    pub transport: Transport,
    /// How a server's certificate is checked, for `rtsps://`.
    #[serde(default)]
    pub tls: TlsPolicy,
    /// Which clock dates the pictures.
    #[serde(default)]
    pub clock: ClockPolicy,
    /// How long to wait for a new connection's first packet; default 10 s.
    #[serde(default, with = "humantime_serde::option")]
    pub connect_timeout: Option<Duration>,
    /// A connection without a packet for so long is given up and made anew; default 4 s.
    #[serde(default, with = "humantime_serde::option")]
    pub stall_timeout: Option<Duration>,
    /// How long to wait for a late packet before it counts as lost, over UDP; default 200 ms.
    #[serde(default, with = "humantime_serde::option")]
    pub latency: Option<Duration>,
    /// Shortest wait before connecting again; default 500 ms.
    #[serde(default, with = "humantime_serde::option")]
    pub reconnect_min: Option<Duration>,
    /// Longest wait before connecting again; default 10 s.
    #[serde(default, with = "humantime_serde::option")]
    pub reconnect_max: Option<Duration>,
}

/// How pictures travel from the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// Interleaved with RTSP on one connection: nothing is lost, firewalls let it pass.
    #[default]
    Tcp,
    /// Packets of their own. Use when a camera offers nothing else, or on a network that stalls TCP.
    Udp,
}

/// How the certificate of an `rtsps://` camera is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsPolicy {
    /// Against the system's certificate authorities, and against the host name.
    #[default]
    Verify,
    /// Not at all: the stream is encrypted, but nobody knows by whom. Use when cameras have certificates that they signed
    /// themselves, on a network where nobody can stand between.
    AcceptAny,
}

/// A camera's settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Credentials are given in two places.
    #[error("{key} is given twice: in {first} and in {second}; keep one")]
    Twice {
        /// `user` or `password`.
        key: &'static str,
        /// One place.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A password without a user.
    #[error("a password is given and no user: set user")]
    NoUser,
    /// A value is outside its bounds.
    #[error("{key} = {} must be within {} and {}", humantime::format_duration(*value), humantime::format_duration(*min), humantime::format_duration(*max))]
    Bounds {
        /// Its key.
        key: &'static str,
        /// As written.
        value: Duration,
        /// Smallest.
        min: Duration,
        /// Largest.
        max: Duration,
    },
    /// The shortest wait is longer than the longest.
    #[error("reconnect_min must not be above reconnect_max")]
    Reconnect,
    /// The password file cannot be used.
    #[error("password_file {} cannot be read", path.display())]
    PasswordFile {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The password file holds no password.
    #[error("password_file {} must hold the password in its first line, and at most 4096 bytes", path.display())]
    PasswordFileContent {
        /// The file.
        path: PathBuf,
    },
}

/// Where a camera is and how to talk to it, as meant: all values present and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Without user and password.
    pub address: StreamAddress,
    /// Who logs in.
    pub user: Option<String>,
    /// With what.
    pub password: Option<Secret>,
    /// How pictures travel.
    pub transport: Transport,
    /// How a server's certificate is checked.
    pub tls: TlsPolicy,
    /// Which clock dates the pictures.
    pub clock: ClockPolicy,
    /// Patience for a first packet.
    pub connect_timeout: Duration,
    /// Patience for each further packet.
    pub stall_timeout: Duration,
    /// Patience for a late packet over UDP.
    pub latency: Duration,
    /// Shortest wait before connecting again.
    pub reconnect_min: Duration,
    /// Longest wait before connecting again.
    pub reconnect_max: Duration,
}

impl CameraSource {
    /// An address and the defaults.
    pub fn new(address: StreamAddress) -> Self {
        Self {
            address,
            user: None,
            password: None,
            password_file: None,
            transport: Transport::default(),
            tls: TlsPolicy::default(),
            clock: ClockPolicy::default(),
            connect_timeout: None,
            stall_timeout: None,
            latency: None,
            reconnect_min: None,
            reconnect_max: None,
        }
    }

    /// Fills in the defaults, checks the bounds and reads the password file.
    pub fn resolve(&self) -> Result<Source, SourceError> {
        let (user, password) = (self.resolve_user()?, self.resolve_password()?);
        if password.is_some() && user.is_none() {
            return Err(SourceError::NoUser);
        }
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let source = Source {
            address: self.address.clone(),
            user,
            password,
            transport: self.transport,
            tls: self.tls,
            clock: self.clock,
            connect_timeout: bounded("connect_timeout", self.connect_timeout, s(10), ms(100)..=s(300))?,
            stall_timeout: bounded("stall_timeout", self.stall_timeout, s(4), ms(100)..=s(300))?,
            latency: bounded("latency", self.latency, ms(200), ms(0)..=s(10))?,
            reconnect_min: bounded("reconnect_min", self.reconnect_min, ms(500), ms(10)..=s(3600))?,
            reconnect_max: bounded("reconnect_max", self.reconnect_max, s(10), ms(10)..=s(3600))?,
        };
        if source.reconnect_min > source.reconnect_max {
            return Err(SourceError::Reconnect);
        }
        Ok(source)
    }

    fn resolve_user(&self) -> Result<Option<String>, SourceError> {
        match (self.address.user(), &self.user) {
            (Some(_), Some(_)) => Err(SourceError::Twice { key: "user", first: "address", second: "user" }),
            (Some(user), None) => Ok(Some(user.to_owned())),
            (None, user) => Ok(user.clone()),
        }
    }

    fn resolve_password(&self) -> Result<Option<Secret>, SourceError> {
        let places = [
            ("address", self.address.password().is_some()),
            ("password", self.password.is_some()),
            ("password_file", self.password_file.is_some()),
        ];
        let mut given = places.iter().filter(|(_, given)| *given).map(|(place, _)| *place);
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            return Err(SourceError::Twice { key: "password", first, second });
        }
        match &self.password_file {
            Some(path) => read_password(path).map(Some),
            None => Ok(self.password.as_ref().or(self.address.password()).cloned()),
        }
    }
}

fn read_password(path: &PathBuf) -> Result<Secret, SourceError> {
    let failed = |source| SourceError::PasswordFile { path: path.clone(), source };
    let content = || SourceError::PasswordFileContent { path: path.clone() };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_PASSWORD_FILE {
        return Err(content());
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    text.lines().next().filter(|line| !line.is_empty()).map(Secret::new).ok_or_else(content)
}

fn bounded(
    key: &'static str,
    value: Option<Duration>,
    default: Duration,
    bounds: std::ops::RangeInclusive<Duration>,
) -> Result<Duration, SourceError> {
    let value = value.unwrap_or(default);
    if bounds.contains(&value) {
        return Ok(value);
    }
    Err(SourceError::Bounds { key, value, min: *bounds.start(), max: *bounds.end() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Result<Source, SourceError> {
        toml::from_str::<CameraSource>(text).unwrap().resolve()
    }

    #[test]
    fn an_address_is_enough() {
        let source = source("address = 'rtsp://cam/1'").unwrap();
        assert_eq!(source.transport, Transport::Tcp);
        assert_eq!(source.stall_timeout, Duration::from_secs(4));
        assert_eq!((source.reconnect_min, source.reconnect_max), (Duration::from_millis(500), Duration::from_secs(10)));
    }

    #[test]
    fn everything_can_be_set() {
        let source = source(
            "address = 'rtsps://cam/1'\nuser = 'u'\npassword = 'p'\ntransport = 'udp'\ntls = 'accept_any'\n\
             clock = 'arrival'\nstall_timeout = '2s 500ms'\nlatency = '1s'\nreconnect_max = '1m'",
        )
        .unwrap();
        assert_eq!((source.transport, source.tls), (Transport::Udp, TlsPolicy::AcceptAny));
        assert_eq!((source.user.as_deref(), source.password.unwrap().reveal()), (Some("u"), "p"));
        assert_eq!(source.stall_timeout, Duration::from_millis(2500));
    }

    #[test]
    fn an_unknown_key_and_a_bad_address_are_refused_by_name() {
        let error = |text: &str| toml::from_str::<CameraSource>(text).unwrap_err().to_string();
        assert!(error("address = 'rtsp://cam'\nadress = 'x'").contains("adress"));
        let shown = error("address = 'http://me:hunter2@cam'");
        assert!(shown.contains("rtsp://") && shown.contains("***@cam"), "{shown}");
    }

    #[test]
    fn values_that_make_no_sense_are_refused_with_their_key() {
        for (text, expected) in [
            ("address = 'rtsp://cam'\nstall_timeout = '1ms'", "stall_timeout = 1ms must be within 100ms and 5m"),
            ("address = 'rtsp://cam'\nreconnect_min = '20s'", "reconnect_min must not be above"),
            ("address = 'rtsp://u:p@cam'\nuser = 'v'", "user is given twice"),
            ("address = 'rtsp://u:p@cam'\npassword = 'q'", "password is given twice: in address and in password"),
            ("address = 'rtsp://cam'\npassword = 'q'", "set user"),
            ("address = 'rtsp://u@cam'\npassword_file = '/no/such/file'", "/no/such/file"),
        ] {
            let error = source(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_password_file_gives_its_first_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = format!("address = 'rtsp://u@cam'\npassword_file = '{}'", file.path().display());
        assert!(source(&config).unwrap_err().to_string().contains("first line"));
        std::fs::write(file.path(), "hunter2\n").unwrap();
        assert_eq!(source(&config).unwrap().password.unwrap().reveal(), "hunter2");
        std::fs::write(file.path(), "x".repeat(5000)).unwrap();
        assert!(source(&config).is_err());
    }

    #[test]
    fn debug_shows_no_password() {
        let raw = toml::from_str::<CameraSource>("address = 'rtsp://u:hunter2@cam'").unwrap();
        assert!(!format!("{raw:?} {:?}", raw.resolve().unwrap()).contains("hunter2"));
    }
}
