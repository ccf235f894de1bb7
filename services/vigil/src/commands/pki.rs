//! `vigil pki`: a private authority for those who have none.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use tonic::transport::Uri;
use vigil_base::{Clock, RegionId, SystemClock};
use vigil_trust::authority::{self, Authority, AuthorityError};
use vigil_trust::certificate;
use vigil_trust::files;
use vigil_trust::ledger::Ledger;
use vigil_trust::revocation::Reason;
use vigil_trust::token::EnrolToken;
use vigil_trust::{CertificateInfo, Identity, Role};

use super::pki_revoke::{self, RevokeArgs, RevokedArgs};
use crate::{exit, output};

/// Longest life of a token: what is carried by hand is used within days.
const MAX_TOKEN_LIFE: Duration = Duration::from_hours(30 * 24);

/// Make a private authority, and the certificates by which edges, regions, gateways and operators know each other.
///
/// The authority's key signs all others: keep its folder off the machines that serve, and back it up.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil pki init
  vigil pki issue region north --host region-north.example
  vigil pki issue gateway city --host gateway.example
  vigil pki issue edge box-7
  vigil pki issue operator alice
  vigil pki token edge box-8 --region north --at https://region-north.example:7112 --valid 1h
  vigil pki show pki/edge-box-7.pem
  vigil pki revoke vigil://edge/box-8 --reason key-compromise
  vigil pki revoked")]
pub struct PkiArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the authority: DIR/authority.pem, for everybody, DIR/authority.key, for nobody else, and an empty revocation list,
    /// DIR/authority.crl. Never replaces one.
    Init {
        /// Folder; made when missing.
        #[arg(long, default_value = "pki", value_name = "DIR")]
        dir: PathBuf,
        /// What people call it.
        #[arg(long, default_value = "Vigil authority")]
        name: String,
        /// How long it lasts.
        #[arg(long, default_value_t = 3650, value_name = "N")]
        days: u64,
    },
    Issue(IssueArgs),
    Token(TokenArgs),
    Revoke(RevokeArgs),
    Revoked(RevokedArgs),
    /// Say whom a certificate is for, until when, and its fingerprint.
    Show {
        /// Certificates (PEM).
        file: PathBuf,
    },
}

/// Make a key and a certificate: OUT/ROLE-NAME.pem and OUT/ROLE-NAME.key.
#[derive(Debug, Args)]
struct IssueArgs {
    /// What it is: edge, region, gateway or operator.
    role: Role,
    /// Its id: the `edge_id` or `region_id` of its configuration; for gateways and operators, a name of your own.
    name: String,
    /// Host name or address under which it is reached; may stand more than once. Without one, this machine.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// How long it is good.
    #[arg(long, default_value_t = 365, value_name = "N")]
    days: u64,
    /// The authority's folder.
    #[arg(long, default_value = "pki", value_name = "DIR")]
    dir: PathBuf,
    /// Where the files go; the authority's folder when absent.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace what is there, key and certificate: running processes take up the new ones by themselves.
    #[arg(long)]
    replace: bool,
}

/// Make a one-time token by which a new edge gets its certificate from the region that holds the authority.
///
/// The token is the only line on standard output. Put it into the edge's configuration as `enrol_token` of `[tls]`, or its
/// file's name as `enrol_token_file`. Whoever has it first has the certificate: carry it as you would a password.
#[derive(Debug, Args)]
struct TokenArgs {
    /// What it is: edge.
    role: Role,
    /// Its `edge_id`.
    name: String,
    /// The region whose `[enrolment]` section names this authority.
    #[arg(long, value_name = "ID")]
    region: RegionId,
    /// Where that region takes tokens, as `https://region-north.example:7112`.
    #[arg(long, value_name = "URL")]
    at: String,
    /// How long the token is good.
    #[arg(long, default_value = "1h", value_name = "DURATION", value_parser = humantime::parse_duration)]
    valid: Duration,
    /// The authority's folder.
    #[arg(long, default_value = "pki", value_name = "DIR")]
    dir: PathBuf,
}

/// Runs the command.
pub fn run(args: PkiArgs) -> anyhow::Result<ExitCode> {
    match args.action {
        Action::Init { dir, name, days } => init(&dir, &name, days)?,
        Action::Issue(args) => issue(args)?,
        Action::Token(args) => token(args)?,
        Action::Revoke(args) => pki_revoke::revoke(args)?,
        Action::Revoked(args) => pki_revoke::revoked(args)?,
        Action::Show { file } => show(&file)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn init(folder: &Path, name: &str, days: u64) -> anyhow::Result<()> {
    let made = Authority::create(folder, name, of_days(days), SystemClock::new().now());
    let made = made.map_err(told)?;
    // An empty list, so that processes can be told from the first day to go by it.
    let list =
        made.revoke(&[], Reason::Unspecified, of_days(days).min(authority::MAX_LIFETIME), SystemClock::new().now());
    list.map_err(told)?;
    let path = folder.join(authority::CERTIFICATE_FILE);
    describe(&path, made.info())?;
    output::line(format!("keep {} to yourself", folder.join(authority::KEY_FILE).display()))?;
    Ok(())
}

fn issue(args: IssueArgs) -> anyhow::Result<()> {
    let identity = Identity::new(args.role, &args.name).map_err(exit::wrong_use)?;
    let authority = Authority::load(&args.dir).map_err(told)?;
    let hosts = match (args.role, args.hosts) {
        (Role::Operator, hosts) => hosts,
        (_, hosts) if hosts.is_empty() => authority::OWN_HOSTS.map(str::to_owned).into(),
        (_, hosts) => hosts,
    };
    let out = args.out.unwrap_or(args.dir);
    let now = SystemClock::new().now();
    let issued = authority.issue_files(&identity, &hosts, of_days(args.days), now, (&out, args.replace));
    let (files, info) = issued.map_err(told)?;
    describe(&files.certificate, &info)?;
    output::line(format!("its key: {}", files.key.display()))?;
    Ok(())
}

fn token(args: TokenArgs) -> anyhow::Result<()> {
    let wrong = |text: String| exit::wrong_use(anyhow::anyhow!(text));
    if args.role != Role::Edge {
        return Err(wrong(format!("only edges enrol with a token: use `vigil pki issue {} {}`", args.role, args.name)));
    }
    let identity = Identity::new(args.role, &args.name).map_err(exit::wrong_use)?;
    let uri: Uri = args.at.parse().map_err(|error| wrong(format!("--at {:?}: {error}", args.at)))?;
    if uri.scheme_str() != Some("https") || uri.port_u16().is_none() {
        return Err(wrong(format!("--at {:?} is not an address such as https://region-north.example:7112", args.at)));
    }
    if args.valid.is_zero() || args.valid > MAX_TOKEN_LIFE {
        return Err(wrong(format!(
            "--valid must be above zero and at most {}",
            humantime::format_duration(MAX_TOKEN_LIFE)
        )));
    }
    let authority = Authority::load(&args.dir).map_err(told)?;
    let token = EnrolToken::random(identity, authority.fingerprint(), args.region, args.at);
    let now = SystemClock::new().now();
    Ledger::open(&args.dir)?.add(&token, now + args.valid, now)?;
    output::line(token.reveal())
}

fn show(path: &Path) -> anyhow::Result<()> {
    let unfit = |fault| exit::wrong_use(anyhow::anyhow!("{} {fault}", path.display()));
    for found in certificate::from_pem(&files::read(path)?).map_err(unfit)? {
        describe(path, &CertificateInfo::of(&found).map_err(unfit)?)?;
    }
    Ok(())
}

fn describe(path: &Path, info: &CertificateInfo) -> anyhow::Result<()> {
    let who = match &info.identity {
        Ok(identity) => identity.to_string(),
        Err(_) if info.is_authority => format!("authority {}", info.subject),
        Err(error) => format!("{} ({})", info.subject, vigil_base::error::chain(error)),
    };
    let over = if info.not_after <= SystemClock::new().now() { ", which is over" } else { "" };
    output::line(format!("{}: {who}", path.display()))?;
    output::line(format!("  good from    {}", info.not_before))?;
    output::line(format!("  good until   {}{over}", info.not_after))?;
    if !info.hosts.is_empty() {
        output::line(format!("  hosts        {}", info.hosts.join(", ")))?;
    }
    output::line(format!("  signed by    {}", info.issuer))?;
    output::line(format!("  serial       {}", info.serial))?;
    output::line(format!("  fingerprint  {}", info.fingerprint))?;
    Ok(())
}

pub(super) fn of_days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(86_400))
}

/// What was asked for is wrong, or something failed.
pub(super) fn told(error: AuthorityError) -> anyhow::Error {
    match error {
        AuthorityError::Asked { .. } | AuthorityError::Exists { .. } => exit::wrong_use(error),
        other => other.into(),
    }
}
