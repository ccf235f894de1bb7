//! What was granted and not used yet: codes, device codes, refresh tokens. In memory, bounded, and hashed where they are secrets
//! that live long.

use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

/// How long an authorization code is good (RFC 6749, section 4.1.2, asks for at most ten minutes).
const CODE_LIFETIME: Duration = Duration::from_mins(1);
/// How long somebody has to type a code in (RFC 8628).
pub(crate) const DEVICE_LIFETIME: Duration = Duration::from_mins(10);
/// How long somebody stays signed in: a shift.
const REFRESH_LIFETIME: Duration = Duration::from_hours(12);
/// Most grants of each kind at a time; the oldest go first.
const MAX_GRANTS: usize = 1_000;
/// Letters of a code that people type: no vowels, so no words, and none that look alike (RFC 8628, section 6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
const USER_CODE: usize = 8;

/// Something granted, and until when (monotonic).
#[derive(Debug, Clone)]
struct Until<T> {
    what: T,
    ends: Duration,
}

/// A code of the authorization code grant.
#[derive(Debug, Clone)]
pub(crate) struct Code {
    pub(crate) user: String,
    pub(crate) redirect_uri: String,
    /// `code_challenge` of PKCE, S256 (RFC 7636).
    pub(crate) challenge: String,
}

/// Somebody types a code in on another device.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) user_code: String,
    /// Who approved it.
    pub(crate) user: Option<String>,
}

#[derive(Debug, Clone)]
struct Refresh {
    user: String,
    family: u64,
    is_used: bool,
}

/// What is known of a device code.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Polled {
    /// This one signed in.
    Approved(String),
    /// Nobody did yet.
    Pending,
    /// No such code, or no longer.
    Unknown,
}

/// What came of a refresh token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    /// Who it is, and the family that the next one is of.
    Good {
        user: String,
        family: u64,
    },
    /// It was used before: whoever has the other copy is not to be believed either, and all of the family end.
    Reused,
    Unknown,
}

/// All that is granted.
#[derive(Debug, Default)]
pub(crate) struct Grants {
    codes: HashMap<String, Until<Code>>,
    devices: HashMap<String, Until<Device>>,
    refreshes: HashMap<Vec<u8>, Until<Refresh>>,
    families: u64,
}

/// A secret of 256 bits.
pub(crate) fn secret() -> String {
    let mut bytes = [0; 32];
    // As everywhere in ring: the system's generator does not fail once it has begun.
    SystemRandom::new().fill(&mut bytes).expect("the system gives random numbers, as it did for the keys");
    URL_SAFE_NO_PAD.encode(bytes)
}

fn user_code() -> String {
    let bytes = secret();
    let letters = bytes.bytes().take(USER_CODE).map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
    letters.collect()
}

/// SHA-256 in base64url: a PKCE challenge of its verifier, and how refresh tokens are kept.
pub(crate) fn fingerprint(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// As people type it: upper case, without what stands between.
fn typed(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_uppercase()).collect()
}

fn make_room<K: Clone + std::hash::Hash + Eq, T>(grants: &mut HashMap<K, Until<T>>, now: Duration) {
    grants.retain(|_, grant| grant.ends > now);
    if grants.len() >= MAX_GRANTS {
        let oldest = grants.iter().min_by_key(|(_, grant)| grant.ends).map(|(key, _)| key.clone());
        oldest.and_then(|key| grants.remove(&key));
    }
}

impl Grants {
    pub(crate) fn code(&mut self, code: Code, now: Duration) -> String {
        make_room(&mut self.codes, now);
        let key = secret();
        self.codes.insert(key.clone(), Until { what: code, ends: now + CODE_LIFETIME });
        key
    }

    /// A code is good once.
    pub(crate) fn take_code(&mut self, key: &str, now: Duration) -> Option<Code> {
        self.codes.remove(key).filter(|grant| grant.ends > now).map(|grant| grant.what)
    }

    /// Device code and user code.
    pub(crate) fn device(&mut self, now: Duration) -> (String, String) {
        make_room(&mut self.devices, now);
        let (key, user_code) = (secret(), user_code());
        let device = Device { user_code: user_code.clone(), user: None };
        self.devices.insert(key.clone(), Until { what: device, ends: now + DEVICE_LIFETIME });
        let (first, second) = user_code.split_at(USER_CODE / 2);
        (key, format!("{first}-{second}"))
    }

    /// Whether there is such a code; it is then granted to `user`.
    pub(crate) fn approve(&mut self, user_code: &str, user: &str, now: Duration) -> bool {
        let wanted = typed(user_code);
        let found = self.devices.values_mut().find(|grant| grant.what.user_code == wanted && grant.ends > now);
        found.map(|grant| grant.what.user = Some(user.to_owned())).is_some()
    }

    /// Who approved it; once.
    pub(crate) fn poll_device(&mut self, key: &str, now: Duration) -> Polled {
        let Some(grant) = self.devices.get(key).filter(|grant| grant.ends > now) else { return Polled::Unknown };
        let Some(user) = grant.what.user.clone() else { return Polled::Pending };
        self.devices.remove(key);
        Polled::Approved(user)
    }

    pub(crate) fn refresh(&mut self, user: &str, family: Option<u64>, now: Duration) -> String {
        make_room(&mut self.refreshes, now);
        let family = family.unwrap_or_else(|| {
            self.families += 1;
            self.families
        });
        let token = secret();
        let what = Refresh { user: user.to_owned(), family, is_used: false };
        let key = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
        self.refreshes.insert(key, Until { what, ends: now + REFRESH_LIFETIME });
        token
    }

    pub(crate) fn use_refresh(&mut self, token: &str, now: Duration) -> Refreshed {
        let key = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
        let Some(grant) = self.refreshes.get_mut(&key).filter(|grant| grant.ends > now) else {
            return Refreshed::Unknown;
        };
        let family = grant.what.family;
        if std::mem::replace(&mut grant.what.is_used, true) {
            self.refreshes.retain(|_, grant| grant.what.family != family);
            return Refreshed::Reused;
        }
        Refreshed::Good { user: grant.what.user.clone(), family }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn a_refresh_token_that_is_used_twice_ends_all_of_its_family() {
        let mut grants = Grants::default();
        let first = grants.refresh("alice", None, NOW);
        let Refreshed::Good { family, .. } = grants.use_refresh(&first, NOW) else { panic!("a new token") };
        let second = grants.refresh("alice", Some(family), NOW);
        let other = grants.refresh("alice", None, NOW);
        assert_eq!(grants.use_refresh(&first, NOW), Refreshed::Reused);
        assert_eq!(grants.use_refresh(&second, NOW), Refreshed::Unknown, "the thief's or the owner's: nobody knows");
        assert!(matches!(grants.use_refresh(&other, NOW), Refreshed::Good { .. }));
    }

    #[test]
    fn grants_are_good_once_and_for_a_while_and_are_bounded() {
        let mut grants = Grants::default();
        let code = Code { user: "alice".into(), redirect_uri: String::new(), challenge: String::new() };
        let key = grants.code(code.clone(), NOW);
        assert!(grants.take_code(&key, NOW).is_some() && grants.take_code(&key, NOW).is_none());
        let late = grants.code(code.clone(), NOW);
        assert!(grants.take_code(&late, NOW + CODE_LIFETIME).is_none());
        let (device, user_code) = grants.device(NOW);
        assert_eq!(grants.poll_device(&device, NOW), Polled::Pending);
        assert!(!grants.approve("AAAA-AAAA", "alice", NOW) && grants.approve(&user_code.to_lowercase(), "alice", NOW));
        assert_eq!(grants.poll_device(&device, NOW), Polled::Approved("alice".to_owned()));
        assert_eq!(grants.poll_device(&device, NOW), Polled::Unknown);
        for _ in 0..MAX_GRANTS * 2 {
            grants.code(code.clone(), NOW);
        }
        assert!(grants.codes.len() <= MAX_GRANTS);
    }
}
