//! Who may sign in: names, hashed passwords (Argon2id, RFC 9106), and what their tokens say.

use argon2::password_hash::rand_core::OsRng;
use argon2::password_hash::{self, SaltString};
use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use serde::Deserialize;

/// Most users: a demonstration has a handful.
const MAX_USERS: usize = 1_000;
/// Longest password that is hashed, in bytes.
pub(crate) const MAX_PASSWORD: usize = 1_024;

/// The issuer's configuration file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsersFile {
    /// Port of the loopback address; absent: 7300.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Whom tokens are for (`aud`); absent: `vigil`.
    #[serde(default = "default_audience")]
    pub audience: String,
    /// Who may sign in.
    pub users: Vec<User>,
}

/// Somebody who may sign in.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name, which is the subject of the tokens.
    pub name: String,
    /// What `vigil issuer hash` printed.
    pub password_hash: String,
    /// What tokens say as `roles`.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What tokens say as `department`.
    pub department: Option<String>,
    /// What tokens say as `region`.
    pub region: Option<String>,
}

fn default_port() -> u16 {
    7300
}

fn default_audience() -> String {
    "vigil".to_owned()
}

impl UsersFile {
    /// What is wrong with it, if anything: key and problem.
    pub fn problem(&self) -> Option<(String, String)> {
        if self.users.len() > MAX_USERS {
            return Some(("users".to_owned(), format!("has more than {MAX_USERS} entries")));
        }
        self.users.iter().enumerate().find_map(|(at, user)| {
            let key = format!("users[{at}].password_hash");
            let bad = PasswordHash::new(&user.password_hash).err()?;
            Some((key, format!("is not what `vigil issuer hash` prints: {bad}")))
        })
    }
}

/// The hash of a password, to be written into a file.
///
/// # Errors
/// The password cannot be hashed.
pub fn hash(password: &str) -> Result<String, password_hash::Error> {
    let salt = SaltString::generate(&mut OsRng);
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

/// Whether it is the password. Takes some 20 ms of a core, also where there is no such user, so that names are not told apart.
pub(crate) fn verify(user: Option<&User>, password: &str) -> bool {
    let hash = user.map(|user| user.password_hash.as_str());
    let Some(hash) = hash.and_then(|text| PasswordHash::new(text).ok()) else {
        let salt = SaltString::generate(&mut OsRng);
        // Only the time counts.
        let _ = Argon2::default().hash_password(password.as_bytes(), &salt);
        return false;
    };
    Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
}
