//! `vigil region policy`: is a policy file good, and what does it give whom, and why.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use vigil_base::{CameraId, Clock, EdgeId, SystemClock};
use vigil_policy::{Asker, Grant, Grants, Policy, Rule};
use vigil_region::load_policy;
use vigil_trust::person::Role;

use crate::{exit, output, when};

/// What is done with a policy file.
#[derive(Debug, Args)]
pub struct PolicyArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Say whether the file is good, or what is wrong with it: file, line, key. Status 2 when something is.
    Check {
        /// The policy file.
        file: PathBuf,
    },
    /// Say which rule decides about a requester and a camera, why the rules above it do not, and what is given.
    #[command(after_help = "Example:
  vigil region policy explain policy.toml --department police --home-region south --role operator --camera station-4")]
    Explain(ExplainArgs),
}

#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // Each is a flag of its own.
struct ExplainArgs {
    /// The policy file.
    file: PathBuf,
    /// The requester's name, as `vigil://operator/alice`.
    #[arg(long, default_value = "anonymous", value_name = "NAME")]
    subject: String,
    /// Its department; when absent, none is known.
    #[arg(long, value_name = "NAME")]
    department: Option<String>,
    /// Its region; when absent, none is known.
    #[arg(long, value_name = "ID")]
    home_region: Option<String>,
    /// Its roles.
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    role: Vec<Role>,
    /// Who it is was merely said, and not proved by a certificate or token.
    #[arg(long)]
    unproved: bool,
    /// It gives a purpose.
    #[arg(long)]
    with_purpose: bool,
    /// It gives a case number.
    #[arg(long)]
    with_case: bool,
    /// When it asks; now when absent.
    #[arg(long, value_name = "TIME")]
    at: Option<String>,
    /// The camera.
    #[arg(long, value_name = "ID")]
    camera: CameraId,
    /// The edge that reads it.
    #[arg(long, value_name = "ID")]
    edge: Option<EdgeId>,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &PolicyArgs) -> anyhow::Result<ExitCode> {
    match &args.action {
        Action::Check { file } => {
            let policy = load_policy(file)?;
            let (version, rules) = (policy.version(), policy.rules());
            output::line(format!("{}: good: policy {version}, {rules} rules", file.display()))?;
        }
        Action::Explain(args) => explain(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(args: &ExplainArgs) -> anyhow::Result<()> {
    let policy = load_policy(&args.file)?;
    let now = SystemClock::new().now();
    let at = args.at.as_deref().map_or(Ok(now), |text| when::parse(text, now)).map_err(exit::wrong_use)?;
    let roles: Vec<&str> = args.role.iter().map(|role| role.as_str()).collect();
    let asker = Asker {
        subject: &args.subject,
        department: args.department.as_deref(),
        home_region: args.home_region.as_deref(),
        roles: &roles,
        has_purpose: args.with_purpose,
        has_case: args.with_case,
        is_proved: !args.unproved,
    };
    let edge = args.edge.as_ref().map(EdgeId::as_str);
    let above = reasons(&policy, &asker, at, args.camera.as_str(), edge);
    let clearance = policy.clearance(&asker, at);
    let rule = clearance.decide(args.camera.as_str(), edge);
    let grants = rule.map_or(Grants::NONE, |rule| rule.grants);
    let withheld = Grants::all().without(grants);
    if args.json {
        let names = |grants: Grants| grants.iter().map(Grant::name).collect::<Vec<_>>();
        return output::line(json!({
            "policy": policy.version(),
            "rule": rule.map(|rule| &rule.id),
            "grants": names(grants),
            "withheld": names(withheld),
            "limits": rule.map(limits).unwrap_or_default(),
            "passed_over": above.iter().map(|(rule, why)| json!({"rule": rule, "why": why})).collect::<Vec<_>>(),
            "hint": clearance.hint().text(),
        }));
    }
    for (rule, why) in &above {
        output::line(format!("not {rule:?}: {}", why.join("; ")))?;
    }
    match rule {
        Some(rule) => output::line(format!("decides {:?}, the first that is met", rule.id))?,
        None => output::line("no rule is met: everything is withheld")?,
    }
    output::line(format!("given: {grants}"))?;
    for limit in rule.map(limits).unwrap_or_default() {
        output::line(format!("  {limit}"))?;
    }
    output::line(format!("withheld: {withheld}"))?;
    match clearance.hint().text() {
        "" => Ok(()),
        hint => output::line(hint),
    }
}

/// Why each rule above the one that decides does not.
fn reasons(
    policy: &Policy,
    asker: &Asker<'_>,
    at: vigil_base::Timestamp,
    camera: &str,
    edge: Option<&str>,
) -> Vec<(String, Vec<String>)> {
    let findings = policy.explain(asker, at, camera, edge).into_iter();
    let above = findings.take_while(|finding| !finding.unmet.is_empty() || !finding.has_camera);
    let why = |finding: &vigil_policy::Finding<'_>| {
        let camera = (!finding.has_camera).then(|| "the camera is in none of its groups".to_owned());
        finding.unmet.iter().map(ToString::to_string).chain(camera).collect()
    };
    above.map(|finding| (finding.rule.to_owned(), why(&finding))).collect()
}

/// What narrows down what a rule gives, for people.
fn limits(rule: &Rule) -> Vec<String> {
    let mut told = Vec::new();
    for (what, limit) in [("events", &rule.events_of), ("counts", &rule.counts_of)] {
        if let Some(kinds) = &limit.kinds {
            let kinds: Vec<String> = kinds.iter().map(ToString::to_string).collect();
            told.push(format!("{what} of these kinds alone: {}", kinds.join(", ")));
        }
        if let Some(classes) = &limit.classes {
            told.push(format!("{what} of these classes alone: {}", classes.join(", ")));
        }
    }
    if let Some(back) = rule.back {
        told.push(format!("nothing that ended longer ago than {}", humantime::format_duration(back)));
    }
    told
}
