//! `vigil pki revoke` and `vigil pki revoked`: certificates taken back before their end.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use vigil_base::{Clock, SystemClock, Timestamp};
use vigil_trust::authority::Authority;
use vigil_trust::identity::SCHEME;
use vigil_trust::ledger::Ledger;
use vigil_trust::revocation::{Reason, RevocationList};
use vigil_trust::{CertificateInfo, Identity, Serial, certificate, files};

use super::pki::{of_days, told};
use crate::{exit, output};

/// Take certificates back before their end, and write the authority's list of them, DIR/authority.crl.
///
/// Bring the list to every region, gateway and edge that names it as `revoked` in `[tls]`: within two seconds they let in nobody
/// who stands in it, and hang up on whoever is connected.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil pki revoke vigil://edge/box-7 --reason key-compromise    # all that box-7 has, and its unused tokens
  vigil pki revoke pki/operator-alice.pem
  vigil pki revoke 4f:3a:90:0c:11:7e:52:aa:01:6b:de:93:c4:08:f5:27")]
pub struct RevokeArgs {
    /// Identities, files of certificates (PEM), or serial numbers.
    #[arg(required = true, value_name = "WHAT")]
    what: Vec<String>,
    /// Why: key-compromise, affiliation-changed, superseded, cessation-of-operation or privilege-withdrawn.
    #[arg(long, default_value = "unspecified")]
    reason: Reason,
    /// Within how long there is to be another list.
    #[arg(long, default_value_t = 365, value_name = "N")]
    days: u64,
    /// The authority's folder.
    #[arg(long, default_value = "pki", value_name = "DIR")]
    dir: PathBuf,
}

/// List what the authority has revoked.
#[derive(Debug, Args)]
pub struct RevokedArgs {
    /// Sign the list anew, so that it is good for longer. Makes one where there is none.
    #[arg(long)]
    renew: bool,
    /// Within how long there is to be another list.
    #[arg(long, default_value_t = 365, value_name = "N", requires = "renew")]
    days: u64,
    /// The authority's folder.
    #[arg(long, default_value = "pki", value_name = "DIR")]
    dir: PathBuf,
}

/// Runs `vigil pki revoke`.
pub fn revoke(args: RevokeArgs) -> anyhow::Result<()> {
    let (authority, now) = (Authority::load(&args.dir).map_err(told)?, SystemClock::new().now());
    let mut serials = Vec::new();
    let mut withdrawn = 0;
    for what in &args.what {
        if what.starts_with(SCHEME) {
            let identity: Identity = what.parse().map_err(exit::wrong_use)?;
            serials.extend(issued_to(&authority, &identity, now)?);
            withdrawn += Ledger::open(&args.dir)?.withdraw(&identity)?;
        } else {
            serials.extend(named(&authority, what)?);
        }
    }
    let list = authority.revoke(&serials, args.reason, of_days(args.days), now).map_err(told)?;
    for serial in &serials {
        output::line(format!("revoked {serial}"))?;
    }
    if withdrawn > 0 {
        output::line(format!("unused enrolment tokens taken back: {withdrawn}"))?;
    }
    describe(&authority, &list)?;
    output::line("bring it to every process that names it as `revoked` in [tls]; it is taken up within two seconds")
}

/// Runs `vigil pki revoked`.
pub fn revoked(args: RevokedArgs) -> anyhow::Result<()> {
    let authority = Authority::load(&args.dir).map_err(told)?;
    let list = if args.renew {
        authority.revoke(&[], Reason::Unspecified, of_days(args.days), SystemClock::new().now()).map_err(told)?
    } else {
        let none = || anyhow!("{} is not there: make it with --renew", authority.list_path().display());
        authority.list().map_err(told)?.ok_or_else(none)?
    };
    describe(&authority, &list)?;
    for one in authority.revoked().map_err(told)? {
        let holder = one.holder.map_or_else(|| "not noted".to_owned(), |holder| holder.to_string());
        let revoked = one.revoked;
        output::line(format!("{}  {}  {holder}  {}", revoked.at, revoked.serial, revoked.reason))?;
    }
    Ok(())
}

fn describe(authority: &Authority, list: &RevocationList) -> anyhow::Result<()> {
    let next = list.next_update.map(|at| format!(", the next by {at}")).unwrap_or_default();
    let (path, count) = (authority.list_path(), list.revoked().count());
    output::line(format!("{}: list {} of {}{next}, {count} revoked", path.display(), list.number, list.this_update))
}

/// All certificates of `identity` that have not ended, as far as they are noted.
fn issued_to(authority: &Authority, identity: &Identity, now: Timestamp) -> anyhow::Result<Vec<Serial>> {
    let serials = authority.issued_to(identity, now).map_err(told)?;
    if serials.is_empty() {
        let problem =
            format!("no certificate of {identity} is noted that has not ended: name its file or serial number");
        return Err(exit::wrong_use(anyhow!(problem)));
    }
    Ok(serials)
}

/// The certificates in a file, or the one of this number.
fn named(authority: &Authority, what: &str) -> anyhow::Result<Vec<Serial>> {
    let path = Path::new(what);
    if !path.exists() {
        let serial = what.parse::<Serial>();
        let neither = || format!("{what:?} is no file and no identity such as vigil://edge/box-7, and");
        return Ok(vec![serial.with_context(neither).map_err(exit::wrong_use)?]);
    }
    let unfit = |fault| exit::wrong_use(anyhow!("{} {fault}", path.display()));
    let mut serials = Vec::new();
    for found in certificate::from_pem(&files::read(path)?).map_err(unfit)? {
        let info = CertificateInfo::of(&found).map_err(unfit)?;
        if info.issuer != authority.info().subject || info.is_authority {
            let problem = format!("{} is by {}, and not by this authority", path.display(), info.issuer);
            return Err(exit::wrong_use(anyhow!(problem)));
        }
        serials.push(info.serial);
    }
    Ok(serials)
}
