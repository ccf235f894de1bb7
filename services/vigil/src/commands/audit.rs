//! `vigil audit`: who asked what, and whether the log is as it was written. Works on the folder, offline; auditors search the log of a
//! running server, too.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand};
use vigil_audit::{Entry, Head, Outcome, PublicKey, Report, Search, Withheld, search, verify};
use vigil_base::{Clock, SystemClock, Timestamp};
use vigil_proto::convert::{time_from_wire, time_to_wire, withheld_name};
use vigil_proto::v1;

use crate::client::{self, ServerArgs, TlsArgs};
use crate::{exit, output, when};

/// Columns of the table.
const HEADER: [&str; 8] = ["record", "time", "who", "method", "case", "purpose", "question", "outcome"];
/// Records read at a time.
const PAGE: usize = 1_000;
/// Longest question that is shown in a table, in characters; `--json` shows all of it.
const SHOWN_QUESTION: usize = 120;

/// Check an audit log, or look up who asked what.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil audit verify /var/lib/vigil/north/audit
  vigil audit head /var/lib/vigil/north/audit > kept-elsewhere.json
  vigil audit verify /var/lib/vigil/north/audit --head kept-elsewhere.json --key public-key.pem
  vigil audit search /var/lib/vigil/north/audit --from 24h --case 2026/417
  vigil audit search /var/lib/vigil/north/audit --text station-north --json
  vigil audit search --server https://gateway.example:7000 --region north --from 24h")]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check that no record was altered, removed or put elsewhere: exit status 0 when the log is whole, 1 when not.
    Verify {
        #[command(flatten)]
        log: LogArgs,
        /// Heads that were kept elsewhere.
        #[arg(long, value_name = "FILE")]
        head: Vec<PathBuf>,
    },
    /// Print the signed head as JSON, to be kept elsewhere: it proves later that the log still holds all it held now.
    Head {
        #[command(flatten)]
        log: LogArgs,
    },
    /// Look up who asked what, in the order it was written. Checks nothing: that is what verify does.
    Search(Box<SearchArgs>),
}

#[derive(Debug, Args)]
struct LogArgs {
    /// The log: a folder such as `audit` in a region's data folder.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Public key to check with. Absent: the one in the folder, which whoever writes there could have exchanged.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct SearchArgs {
    /// The log; absent: that of the server that --server names.
    #[arg(value_name = "DIR", conflicts_with = "server", required_unless_present = "server")]
    folder: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteArgs,
    /// Who asked, or on whose behalf.
    #[arg(long)]
    subject: Option<String>,
    /// For which case.
    #[arg(long)]
    case: Option<String>,
    /// Which method, as EventQueryService/Search.
    #[arg(long)]
    method: Option<String>,
    /// What stands somewhere in the question: a camera, a plate.
    #[arg(long)]
    text: Option<String>,
    /// What came of it, as `Ok` or `PermissionDenied`.
    #[arg(long)]
    outcome: Option<String>,
    /// Begin: a time, or how long ago (15m, 24h).
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// End.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Most records to print.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// JSON lines on standard output, whole records.
    #[arg(long)]
    json: bool,
}

/// A running server, which asks for an auditor's token.
#[derive(Debug, Args)]
#[command(next_help_heading = "A running server's log")]
struct RemoteArgs {
    /// Gateway or region whose log is searched.
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// At a gateway: the log of this region.
    #[arg(long, value_name = "ID", requires = "server")]
    region: Option<String>,
    /// Why you search; goes into that log.
    #[arg(long, env = "VIGIL_PURPOSE", value_name = "TEXT")]
    purpose: Option<String>,
    /// The case you search for.
    #[arg(long, env = "VIGIL_CASE", value_name = "NUMBER")]
    for_case: Option<String>,
    /// How long an answer may take.
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// File with your token; absent: `VIGIL_TOKEN`, else the session of `vigil sign-in`.
    #[arg(long, env = "VIGIL_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsArgs,
}

/// Runs the command.
pub async fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Verify { log, head } => check(&log, &head),
        Command::Head { log } => print_head(&log),
        Command::Search(args) => match &args.folder {
            Some(folder) => look_up(&args, folder),
            None => ask(&args).await,
        },
    }
}

impl LogArgs {
    fn key(&self) -> anyhow::Result<PublicKey> {
        let in_folder = self.folder.join("public-key.pem");
        let path = self.key.as_deref().unwrap_or(&in_folder);
        PublicKey::load(path).with_context(|| format!("{} has no public key to check with", self.folder.display()))
    }
}

fn check(log: &LogArgs, heads: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let heads =
        heads.iter().map(|path| read_head(path)).collect::<anyhow::Result<Vec<_>>>().map_err(exit::wrong_use)?;
    let report = verify(&log.folder, &log.key()?, &heads)?;
    for problem in &report.problems {
        output::line(problem)?;
    }
    let unlisted = report.problem_count.saturating_sub(report.problems.len() as u64);
    if unlisted > 0 {
        output::line(format!("and {unlisted} more"))?;
    }
    output::line(verdict(&report, heads.len()))?;
    Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn verdict(report: &Report, heads: usize) -> String {
    let Report { records, segments, unsigned, torn, .. } = report;
    let head = report.head.as_ref();
    let at = head.map_or_else(String::new, |head| {
        format!("; signed up to record {} at {}", head.seq, when::show(Timestamp::from_micros(head.time_us)))
    });
    let kept =
        if heads > 0 { format!("; checked against {heads} heads that were kept elsewhere") } else { String::new() };
    let open = match (unsigned, torn) {
        (0, false) => String::new(),
        (records, _) => {
            format!("; {records} records at its end are not signed yet: its writer is at work, or ended in between")
        }
    };
    let word = if report.is_whole() { "whole" } else { "NOT WHOLE" };
    format!("{word}: {records} records in {segments} files{at}{kept}{open}")
}

fn print_head(log: &LogArgs) -> anyhow::Result<ExitCode> {
    let report = verify(&log.folder, &log.key()?, &[])?;
    let head = report.head.as_ref().context("the log has no signed head yet")?;
    output::line(serde_json::to_string(head)?)?;
    Ok(ExitCode::SUCCESS)
}

fn read_head(path: &Path) -> anyhow::Result<Head> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} is no head that `vigil audit head` printed", path.display()))
}

fn look_up(args: &SearchArgs, folder: &Path) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    let time = |text: &Option<String>| text.as_deref().map(|text| when::parse(text, now)).transpose();
    let mut wanted = Search {
        from: time(&args.from).map_err(exit::wrong_use)?,
        until: time(&args.until).map_err(exit::wrong_use)?,
        subject: args.subject.clone(),
        case: args.case.clone(),
        method: args.method.clone(),
        text: args.text.clone(),
        outcome: args.outcome.clone(),
        after: 0,
        limit: PAGE,
    };
    let mut left = args.limit as usize;
    let mut table = output::table(HEADER);
    loop {
        wanted.limit = left.min(PAGE);
        let found = search(folder, &wanted)?;
        left -= found.records.len();
        for record in found.records {
            if args.json {
                output::line(serde_json::to_string(&record)?)?;
            } else {
                table.add_row(row(record.seq, record.time_us, &record.entry));
            }
        }
        match found.next {
            Some(next) if left > 0 => wanted.after = next,
            more => {
                if !args.json {
                    output::line(table)?;
                }
                if more.is_some() {
                    eprintln!("there may be more: see --limit");
                }
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// Asks a running server.
async fn ask(args: &SearchArgs) -> anyhow::Result<ExitCode> {
    let remote = &args.remote;
    let server = ServerArgs {
        purpose: remote.purpose.clone(),
        case: remote.for_case.clone(),
        tls: remote.tls.clone(),
        token_file: remote.token_file.clone(),
        ..ServerArgs::to(remote.server.as_deref().unwrap_or_default(), remote.timeout, "")
    };
    let now = SystemClock::new().now();
    let time = |text: &Option<String>| {
        let parsed = text.as_deref().map(|text| when::parse(text, now)).transpose();
        parsed.map(|at| at.map(time_to_wire)).map_err(exit::wrong_use)
    };
    let said = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut request = v1::SearchAuditRequest {
        region_id: said(&remote.region),
        from: time(&args.from)?,
        until: time(&args.until)?,
        subject: said(&args.subject),
        case_number: said(&args.case),
        method: said(&args.method),
        text: said(&args.text),
        outcome: said(&args.outcome),
        page_size: 0,
        page_token: String::new(),
    };
    let mut client = client::audit(server.connect().await?);
    let mut left = args.limit as usize;
    let mut table = output::table(HEADER);
    loop {
        request.page_size = left.min(PAGE) as i32;
        let page = client.search_audit(server.request(request.clone())).await;
        let page = page.map_err(|status| server.explain(&status))?.into_inner();
        left = left.saturating_sub(page.records.len());
        for record in page.records {
            let (seq, at) = (record.sequence, record.time);
            let time = time_from_wire("time", at.unwrap_or_default());
            let time_us = time.context("the server sent a record that breaks the contract")?.as_micros();
            let entry = entry(record);
            if args.json {
                let mut json = serde_json::to_value(&entry)?;
                json["seq"] = seq.into();
                json["time"] = Timestamp::from_micros(time_us).to_string().into();
                json["time_us"] = time_us.into();
                output::line(json)?;
            } else {
                table.add_row(row(seq, time_us, &entry));
            }
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || left == 0 {
            if !args.json {
                output::line(table)?;
            }
            if !request.page_token.is_empty() {
                eprintln!("there may be more: see --limit");
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// A record's entry as it stands in the log.
fn entry(record: v1::AuditRecord) -> Entry {
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    let withheld = Withheld {
        what: record.withheld().map(|mark| withheld_name(mark).to_owned()).collect(),
        policies: record.policies.iter().cloned().collect(),
    };
    Entry {
        subject: record.subject,
        on_behalf_of: some(record.on_behalf_of),
        peer: record.peer,
        method: record.method,
        purpose: some(record.purpose),
        case: some(record.case_number),
        question: serde_json::from_str(&record.question_json).unwrap_or(serde_json::Value::Null),
        outcome: Outcome { withheld, code: record.outcome, detail: some(record.outcome_detail), items: record.items },
    }
}

fn withheld_words(withheld: &Withheld) -> String {
    let list = |words: &BTreeSet<String>| words.iter().cloned().collect::<Vec<_>>().join(", ");
    let what = if withheld.what.is_empty() { String::new() } else { format!("; withheld {}", list(&withheld.what)) };
    let by = if withheld.policies.is_empty() { String::new() } else { format!(" by {}", list(&withheld.policies)) };
    what + &by
}

fn row(seq: u64, time_us: i64, entry: &Entry) -> [String; 8] {
    let who = match &entry.on_behalf_of {
        Some(other) => format!("{} for {other}", entry.subject),
        None => entry.subject.clone(),
    };
    let who = if entry.peer.is_empty() { who } else { format!("{who} ({})", entry.peer) };
    let outcome = match &entry.outcome.detail {
        Some(detail) => format!("{}: {detail}", entry.outcome.code),
        None => {
            format!("{}, {} given{}", entry.outcome.code, entry.outcome.items, withheld_words(&entry.outcome.withheld))
        }
    };
    [
        seq.to_string(),
        when::show(Timestamp::from_micros(time_us)),
        who,
        entry.method.clone(),
        entry.case.clone().unwrap_or_default(),
        entry.purpose.clone().unwrap_or_default(),
        entry.question.to_string().chars().take(SHOWN_QUESTION).collect(),
        outcome,
    ]
}
