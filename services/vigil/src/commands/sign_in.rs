//! `vigil sign-in`, `vigil sign-out`, `vigil whoami`: the session that goes with every question.

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde_json::Value;

use crate::session::{self, Store, flows};
use crate::{output, when};

/// Sign in with the issuer that gateways and regions believe; the session is kept for later commands, and renewed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil sign-in --issuer https://id.example/realms/city
  vigil sign-in --issuer https://id.example/realms/city --device      # no browser on this machine
  vigil whoami
Programs without a person show a token of their own: --token-file FILE, or VIGIL_TOKEN.")]
pub struct SignInArgs {
    /// The issuer, as it stands in the servers' `[sign_in]` section.
    #[arg(long, env = "VIGIL_ISSUER", value_name = "URL")]
    issuer: String,
    /// Name of this program at the issuer: a public client with a loopback redirect.
    #[arg(long, default_value = "vigil-cli", value_name = "ID")]
    client: String,
    /// What is asked for; may be given more than once.
    #[arg(long, default_value = "openid", value_name = "NAME")]
    scope: Vec<String>,
    /// Sign in with a browser on another device.
    #[arg(long)]
    device: bool,
    /// Show the address instead of starting a browser.
    #[arg(long, conflicts_with = "device")]
    no_browser: bool,
    /// Certificates that vouch for the issuer's server (PEM); absent: those the machine believes.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Forget the session on this machine.
#[derive(Debug, Args)]
pub struct SignOutArgs {}

/// Say who is signed in, as the token says.
#[derive(Debug, Args)]
pub struct WhoamiArgs {}

/// Signs in.
pub async fn sign_in(args: SignInArgs) -> anyhow::Result<ExitCode> {
    let ca_file = args.ca_file.as_deref();
    let at = flows::At { issuer: &args.issuer, client: &args.client, scopes: &args.scope, ca_file };
    let session = if args.device {
        let show = |address: &str, code: &str| output::line(format!("open {address} on any device and type in {code}"));
        flows::by_device(&at, show).await?
    } else {
        flows::by_browser(&at, |address| open(address.as_str(), !args.no_browser)).await?
    };
    Store::of_user().save(&session)?;
    output::line(format!("signed in as {}", name(&session.access_token)))?;
    Ok(ExitCode::SUCCESS)
}

/// Signs out.
pub fn sign_out(_: SignOutArgs) -> anyhow::Result<ExitCode> {
    let was = Store::of_user().remove()?;
    output::line(if was { "signed out on this machine" } else { "nobody was signed in" })?;
    Ok(ExitCode::SUCCESS)
}

/// Shows who is signed in.
pub async fn whoami(_: WhoamiArgs) -> anyhow::Result<ExitCode> {
    let Some(session) = session::current(&Store::of_user()).await? else {
        output::line("nobody is signed in: vigil sign-in --issuer URL")?;
        return Ok(ExitCode::FAILURE);
    };
    output::line(format!("{} at {}", name(&session.access_token), session.issuer))?;
    if let Some(claims) = claims(&session.access_token) {
        for (name, value) in claims.as_object().into_iter().flatten().filter(|(name, _)| SHOWN.contains(&name.as_str()))
        {
            output::line(format!("{name}: {value}"))?;
        }
    }
    if let Some(end) = session.ends_at() {
        let renewed = if session.refresh_token.is_some() { ", and is renewed" } else { "" };
        output::line(format!("the token ends at {}{renewed}", when::show(end)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Claims that are of use to people.
const SHOWN: [&str; 5] = ["roles", "department", "region", "aud", "scope"];

/// Starts the browser, or shows where to point it.
fn open(address: &str, start: bool) -> anyhow::Result<()> {
    let started = start
        && Command::new("xdg-open")
            .arg(address)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .is_ok();
    let word = if started { "a browser opens; if none does, open" } else { "open" };
    output::line(format!("{word} {address}"))
}

fn name(token: &str) -> String {
    let claims = claims(token);
    let text = |name: &str| Some(claims.as_ref()?.get(name)?.as_str()?.to_owned());
    text("preferred_username").or_else(|| text("sub")).unwrap_or_else(|| "somebody the token does not name".to_owned())
}

/// What a token says, unverified: for people alone. None where it is no JWT.
fn claims(token: &str) -> Option<Value> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).context("no claims").ok()
}
