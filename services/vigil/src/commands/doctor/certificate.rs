//! The certificates that a configuration file names: do they belong together, and until when.

use std::path::Path;

use serde::Deserialize;
use vigil_base::SystemClock;
use vigil_base::error::chain;
use vigil_trust::{Credentials, Owner, TlsFiles, TlsSection};

use super::{Finding, Verdict};

/// Of a configuration file, the part that all three processes have in common.
#[derive(Deserialize)]
struct OnlyTls {
    tls: Option<TlsSection>,
}

/// What is found of the file's certificates.
pub(super) fn findings(config: &Path) -> Vec<Finding> {
    let what = format!("certificates of {}", config.display());
    match vigil_serve::config::load::<OnlyTls>(config) {
        Err(error) => vec![Finding::new(what, Verdict::Broken, chain(&error))],
        Ok(OnlyTls { tls: None }) => {
            vec![Finding::new(what, Verdict::Absent, "there is no [tls] section: it speaks in the clear")]
        }
        Ok(OnlyTls { tls: Some(tls) }) => look(&tls.resolve(config.parent().unwrap_or(Path::new("."))), &what),
    }
}

fn look(files: &TlsFiles, what: &str) -> Vec<Finding> {
    let clock = SystemClock::shared();
    let now = clock.now();
    let read = Credentials::load(files, &Owner::Anybody, clock);
    let checked = read.and_then(|credentials| credentials.check_time(files).map(|()| credentials));
    let credentials = match checked {
        Ok(credentials) => credentials,
        Err(error) => return vec![Finding::new(what, Verdict::Broken, chain(&error))],
    };
    let left = |until: vigil_base::Timestamp| until.since(now).as_secs() / 86_400;
    let info = &credentials.info;
    let detail = format!("{}, until {} ({} days)", credentials.identity, info.not_after, left(info.not_after));
    let own = Finding::new(what, Verdict::Works, detail);
    let authorities = credentials.authorities.iter().map(|authority| {
        let verdict = if authority.not_after > now { Verdict::Works } else { Verdict::Broken };
        let detail =
            format!("{}, until {} ({} days)", authority.subject, authority.not_after, left(authority.not_after));
        Finding::new(format!("authority {}", files.authority.display()), verdict, detail)
    });
    std::iter::once(own).chain(authorities).collect()
}
