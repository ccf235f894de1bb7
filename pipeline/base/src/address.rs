//! Addresses of streams, with user and password moved out of them.

use std::fmt;
use std::str::FromStr;

use crate::Secret;
use serde::{Deserialize, Deserializer};

/// Where a stream is: `rtsp://` or `rtsps://`. Never holds a password where it could be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamAddress {
    location: String,
    host: String,
    port: u16,
    user: Option<String>,
    password: Option<Secret>,
}

/// A text is not a stream's address. The text itself is shown only redacted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Something other than RTSP.
    #[error("address {shown:?} must begin with rtsp:// or rtsps://")]
    Scheme {
        /// Redacted.
        shown: String,
    },
    /// A file.
    #[error("address {shown:?} is a file: `vigil analyze` reads files, and `vigil camsim` serves one as a live camera")]
    File {
        /// Redacted.
        shown: String,
    },
    /// No host, or a port that is no number.
    #[error(
        "address {shown:?} must name a host and may name a port, as in rtsp://192.0.2.10:554/stream1; \
             in a password, write / as %2F, ? as %3F, @ as %40 and % as %25"
    )]
    Authority {
        /// Redacted.
        shown: String,
    },
}

impl StreamAddress {
    /// The address without user and password, as the server is asked for it.
    ///
    /// It may still hold a password in its path or query, where some cameras want it: to be shown only redacted, as
    /// `Display` does.
    pub fn location(&self) -> &str {
        &self.location
    }

    /// Whether the connection is encrypted (`rtsps://`).
    pub fn is_tls(&self) -> bool {
        self.location.starts_with("rtsps:")
    }

    /// Host name or address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// As given, or the scheme's default.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The user that stood in the address, percent-decoded.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password that stood in the address, percent-decoded.
    pub fn password(&self) -> Option<&Secret> {
        self.password.as_ref()
    }
}

impl FromStr for StreamAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let shown = || redact(text);
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest),
            None if text.starts_with(['/', '.']) || text.starts_with("file:") => {
                return Err(AddressError::File { shown: shown() });
            }
            None => return Err(AddressError::Scheme { shown: shown() }),
        };
        let default_port = match scheme.as_str() {
            "rtsp" => 554,
            "rtsps" => 322,
            "file" => return Err(AddressError::File { shown: shown() }),
            _ => return Err(AddressError::Scheme { shown: shown() }),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (credentials, server) = match authority.rsplit_once('@') {
            Some((credentials, server)) => (Some(credentials), server),
            None => (None, authority),
        };
        let (host, port) =
            host_and_port(server, default_port).ok_or_else(|| AddressError::Authority { shown: shown() })?;
        let (user, password) = match credentials.map(|both| both.split_once(':').unwrap_or((both, ""))) {
            Some((user, password)) => (Some(user), (!password.is_empty()).then_some(password)),
            None => (None, None),
        };
        Ok(Self {
            location: format!("{scheme}://{server}{path}"),
            host: host.to_owned(),
            port,
            user: user.map(percent_decode),
            password: password.map(|password| Secret::new(percent_decode(password))),
        })
    }
}

impl fmt::Display for StreamAddress {
    /// Redacted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.location))
    }
}

impl fmt::Debug for StreamAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamAddress({self})")
    }
}

impl<'de> Deserialize<'de> for StreamAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// An address fit to be shown: `***` for user and password, and for the values of parameters that are named like secrets.
///
/// Hides too much rather than too little: all between `://` and the last `@` goes, so that a password with a stray `/`
/// or `@` in it is not half shown.
fn redact(address: &str) -> String {
    let (scheme, rest) = match address.find("://") {
        Some(at) => address.split_at(at + 3),
        None => ("", address),
    };
    let rest = match rest.rsplit_once('@') {
        Some((_, server)) => format!("***@{server}"),
        None => rest.to_owned(),
    };
    let mut shown = scheme.to_owned();
    for part in rest.split_inclusive(['/', '?', '&', ';']) {
        shown.push_str(&redact_parameter(part));
    }
    shown
}

/// `name=value` and the separator after it.
fn redact_parameter(part: &str) -> String {
    const SECRET_NAMES: [&str; 7] = ["pass", "pwd", "token", "secret", "auth", "key", "user"];
    let Some((name, value)) = part.split_once('=') else { return part.to_owned() };
    let lower = name.to_ascii_lowercase();
    if !SECRET_NAMES.iter().any(|secret| lower.contains(secret)) {
        return part.to_owned();
    }
    let separator = value.strip_suffix(['/', '?', '&', ';']).map_or("", |bare| &value[bare.len()..]);
    format!("{name}=***{separator}")
}

fn host_and_port(server: &str, default_port: u16) -> Option<(&str, u16)> {
    let (host, port) = match server.strip_prefix('[') {
        // An IPv6 address stands in brackets (RFC 3986, section 3.2.2).
        Some(bracketed) => bracketed.split_once(']')?,
        None => server.split_at(server.find(':').unwrap_or(server.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => digits.parse().ok().filter(|&port| port != 0)?,
        None if port.is_empty() => default_port,
        None => return None,
    };
    let is_name = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c.is_control());
    is_name.then_some((host, port))
}

/// Decodes `%41` to `A` (RFC 3986, section 2.1); a stray `%` stays.
fn percent_decode(text: &str) -> String {
    let hex = |digit: u8| char::from(digit).to_digit(16);
    let (bytes, mut decoded, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while at < bytes.len() {
        match bytes[at..] {
            [b'%', high, low, ..] if hex(high).is_some() && hex(low).is_some() => {
                decoded.push((hex(high).unwrap_or(0) * 16 + hex(low).unwrap_or(0)) as u8);
                at += 3;
            }
            _ => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(text: &str) -> StreamAddress {
        text.parse().unwrap()
    }

    #[test]
    fn user_and_password_are_moved_out_and_decoded() {
        let parsed = address("rtsp://ad%20min:p%40ss%3Aw@192.0.2.10:8554/stream1?profile=main");
        assert_eq!(parsed.location(), "rtsp://192.0.2.10:8554/stream1?profile=main");
        assert_eq!((parsed.host(), parsed.port()), ("192.0.2.10", 8554));
        assert_eq!((parsed.user(), parsed.password().unwrap().reveal()), (Some("ad min"), "p@ss:w"));
    }

    #[test]
    fn ports_default_by_scheme_and_ipv6_hosts_lose_their_brackets() {
        assert_eq!(address("RTSP://cam/1").port(), 554);
        assert_eq!(address("rtsps://cam").port(), 322);
        assert_eq!((address("rtsp://[::1]:99/x").host(), address("rtsp://[::1]:99/x").port()), ("::1", 99));
    }

    #[test]
    fn an_unescaped_at_sign_in_the_password_is_forgiven() {
        let parsed = address("rtsp://admin:p@ss@cam.example/1");
        assert_eq!((parsed.host(), parsed.password().unwrap().reveal()), ("cam.example", "p@ss"));
    }

    #[test]
    fn what_is_no_stream_is_refused_with_advice() {
        for (text, expected) in [
            ("http://cam/1", "rtsp://"),
            ("cam/1", "rtsp://"),
            ("/clips/street.mp4", "vigil analyze"),
            ("file:///clips/street.mp4", "vigil analyze"),
            ("rtsp:///stream", "must name a host"),
            ("rtsp://cam:0/x", "must name a host"),
            ("rtsp://cam:port/x", "must name a host"),
            ("rtsp://[::1/x", "must name a host"),
            ("rtsp://the gate/x", "must name a host"),
        ] {
            let error = text.parse::<StreamAddress>().unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn secrets_in_the_query_are_hidden_too() {
        assert_eq!(
            redact("rtsp://cam/live?channel=1&password=hunter2&stream=0"),
            "rtsp://cam/live?channel=1&password=***&stream=0"
        );
        assert_eq!(redact("rtsp://cam/user=admin&pwd=hunter2&ch=1"), "rtsp://cam/user=***&pwd=***&ch=1");
        assert_eq!(redact("rtsp://cam/stream1"), "rtsp://cam/stream1");
    }

    proptest! {
        #[test]
        fn no_password_is_ever_shown(password in "[a-zA-Z0-9/@:?#%]{0,6}S3CR3T[a-zA-Z0-9/@:?#%]{0,6}", port in "[0-9x]{0,6}") {
            let text = format!("rtsp://admin:{password}@cam:{port}/stream1");
            prop_assert!(!redact(&text).contains("S3CR3T"));
            let shown = match text.parse::<StreamAddress>() {
                Ok(parsed) => format!("{parsed} {parsed:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            prop_assert!(!shown.contains("S3CR3T"), "{}", shown);
        }
    }
}
