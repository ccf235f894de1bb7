//! Who the user of this command line is signed in as: the token that goes with each question.
//!
//! It comes from `--token-file`, from `VIGIL_TOKEN`, or from what `vigil sign-in` left in the user's state folder, which is renewed
//! when it is about to end. A token is sent over TLS alone, or to this machine.

pub mod flows;
mod store;

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Uri;
use vigil_base::{Clock, SystemClock};

pub use store::{Session, Store};

use crate::exit;

/// The variable that holds a token.
pub const TOKEN_VARIABLE: &str = "VIGIL_TOKEN";
/// Largest file of a token.
const MAX_TOKEN_FILE: u64 = 64 * 1024;
/// A token that ends within this time is renewed first: no question takes longer on its way.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// What to send to `server`, if anything: `Bearer` and the token.
///
/// # Errors
/// The token that is meant cannot be read or renewed.
pub async fn bearer(server: &Uri, token_file: Option<&Path>) -> anyhow::Result<Option<MetadataValue<Ascii>>> {
    if !is_private(server) {
        return Ok(None);
    }
    let token = match token_file {
        Some(path) => Some(read_token(path).map_err(exit::wrong_use)?),
        None => match std::env::var(TOKEN_VARIABLE) {
            Ok(token) if !token.trim().is_empty() => Some(token.trim().to_owned()),
            _ => current(&Store::of_user()).await?.map(|session| session.access_token),
        },
    };
    let Some(token) = token else { return Ok(None) };
    let mut value: MetadataValue<Ascii> =
        format!("Bearer {token}").parse().map_err(|_| exit::wrong_use(anyhow::anyhow!("the token is no token")))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The session of this user, renewed where it is about to end; none where nobody is signed in.
///
/// # Errors
/// It cannot be read, or has ended and cannot be renewed.
pub async fn current(store: &Store) -> anyhow::Result<Option<Session>> {
    let Some(session) = store.load()? else { return Ok(None) };
    let now = SystemClock::new().now();
    if session.ends_at().is_none_or(|end| end > now + RENEW_BEFORE) {
        return Ok(Some(session));
    }
    // One process renews; the others find the new token, since an old refresh token shown twice ends the session.
    let _lock = store.lock()?;
    let session = store.load()?.context("signed out meanwhile")?;
    if session.ends_at().is_none_or(|end| end > now + RENEW_BEFORE) {
        return Ok(Some(session));
    }
    let renewed = flows::renew(&session).await;
    let again = format!("sign in again: vigil sign-in --issuer {}", session.issuer);
    let renewed = renewed.with_context(|| format!("the session has ended and cannot be renewed; {again}"))?;
    store.save(&renewed)?;
    Ok(Some(renewed))
}

/// Whether nobody between here and there reads along.
fn is_private(server: &Uri) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_local = host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    server.scheme_str() == Some("https") || is_local
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let shown = || format!("token file {}", path.display());
    let length = std::fs::metadata(path).with_context(shown)?.len();
    anyhow::ensure!(length <= MAX_TOKEN_FILE, "{} is larger than {MAX_TOKEN_FILE} bytes", shown());
    Ok(std::fs::read_to_string(path).with_context(shown)?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_tls_or_stays_on_this_machine() {
        let private = |text: &str| is_private(&text.parse().unwrap());
        for good in ["https://gateway.example:7000", "http://127.0.0.1:7000", "http://[::1]:7000", "http://localhost:1"]
        {
            assert!(private(good), "{good}");
        }
        assert!(!private("http://gateway.example:7000") && !private("http://10.0.0.1:7000"));
    }
}
