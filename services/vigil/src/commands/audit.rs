//! `vigil audit`: who asked what, and whether the log is as it was written. Works on the folder, offline.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use vigil_audit::{Head, PublicKey, Record, Report, Search, search, verify};
use vigil_base::{Clock, SystemClock, Timestamp};

use crate::{exit, output, when};

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
  vigil audit search /var/lib/vigil/north/audit --text station-north --json")]
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
    /// The log.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
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

/// Runs the command.
pub fn run(args: AuditArgs) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::Verify { log, head } => check(&log, &head),
        Command::Head { log } => print_head(&log),
        Command::Search(args) => look_up(&args),
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

fn look_up(args: &SearchArgs) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    let time = |text: &Option<String>| text.as_deref().map(|text| when::parse(text, now)).transpose();
    let mut wanted = Search {
        from: time(&args.from).map_err(exit::wrong_use)?,
        until: time(&args.until).map_err(exit::wrong_use)?,
        subject: args.subject.clone(),
        case: args.case.clone(),
        method: args.method.clone(),
        text: args.text.clone(),
        after: 0,
        limit: PAGE,
    };
    let mut left = args.limit as usize;
    let mut table = output::table(["record", "time", "who", "method", "case", "purpose", "question", "outcome"]);
    loop {
        wanted.limit = left.min(PAGE);
        let found = search(&args.folder, &wanted)?;
        left -= found.records.len();
        for record in found.records {
            if args.json {
                output::line(serde_json::to_string(&record)?)?;
            } else {
                table.add_row(row(&record));
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

fn row(record: &Record) -> [String; 8] {
    let entry = &record.entry;
    let who = match &entry.on_behalf_of {
        Some(other) => format!("{} for {other}", entry.subject),
        None => entry.subject.clone(),
    };
    let who = if entry.peer.is_empty() { who } else { format!("{who} ({})", entry.peer) };
    let outcome = match &entry.outcome.detail {
        Some(detail) => format!("{}: {detail}", entry.outcome.code),
        None => format!("{}, {} given", entry.outcome.code, entry.outcome.items),
    };
    [
        record.seq.to_string(),
        when::show(Timestamp::from_micros(record.time_us)),
        who,
        entry.method.clone(),
        entry.case.clone().unwrap_or_default(),
        entry.purpose.clone().unwrap_or_default(),
        entry.question.to_string().chars().take(SHOWN_QUESTION).collect(),
        outcome,
    ]
}
