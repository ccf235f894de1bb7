//! `vigil subscribe`: events as they are committed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use tokio_stream::StreamExt;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use vigil_base::{Clock, SystemClock};
use vigil_proto::convert::event_from_wire;
use vigil_proto::v1;
use vigil_proto::v1::subscribe_response::Message;
use vigil_serve::ErrorCode;

use crate::client::{self, ServerArgs};
use crate::filter_args::FilterArgs;
use crate::{event_json, exit, output, signals};

/// Wait between two attempts to reach the server again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Print events as they are committed, each revision of an event a line.
///
/// With --cursor-file the stream resumes where it stopped, also after this command or the server was killed: nothing is
/// missed; the last event may come twice (its id and revision tell). A cursor is good for the filter and the server it
/// was given for.
#[derive(Debug, Args)]
#[command(after_help = "Lines of --json:
  an event               has an event_id; each revision of it is a line
  {\"region_report\": ..}  a region of a gateway joined, failed or came back
  {\"notice\": ..}         the connection broke, or retention removed events before they were read
Without --json the last two go to standard error.

Examples:
  vigil subscribe --class person
  vigil subscribe --json --cursor-file events.cursor >> events.jsonl
  vigil subscribe --from-oldest --limit 100 --json")]
pub struct SubscribeArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Go on right after this cursor.
    #[arg(long, value_name = "CURSOR", conflicts_with = "from_oldest")]
    cursor: Option<String>,
    /// Keep the cursor in this file: read at the start, written after each event.
    #[arg(long, value_name = "FILE", conflicts_with = "cursor")]
    cursor_file: Option<PathBuf>,
    /// Without a cursor: begin with the oldest event that is still there, instead of now.
    #[arg(long)]
    from_oldest: bool,
    /// End after this many lines of events.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Runs the command until interrupted or the limit is reached.
pub async fn run(args: SubscribeArgs) -> anyhow::Result<ExitCode> {
    let mut subscription = Subscription::new(&args)?;
    loop {
        let ended = tokio::select! {
            ended = subscription.stream() => ended,
            () = signals::terminated() => return Ok(ExitCode::SUCCESS),
        };
        match ended {
            Ok(()) if subscription.is_done() => return Ok(ExitCode::SUCCESS),
            Ok(()) => subscription.lost("the server ended the stream")?,
            Err(StreamError::Lost(error)) => subscription.lost(&format!("{error:#}"))?,
            Err(StreamError::Final(error)) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(RECONNECT) => {}
            () = signals::terminated() => return Ok(ExitCode::SUCCESS),
        }
    }
}

enum StreamError {
    /// The connection broke: trying again may help.
    Lost(anyhow::Error),
    /// The server refuses, or something here went wrong: the same again fails again.
    Final(anyhow::Error),
}

/// A stream over all its connections.
struct Subscription<'a> {
    args: &'a SubscribeArgs,
    /// Resolved once: a cursor is good for this filter alone.
    filter: v1::EventFilter,
    cursor: String,
    seen: u32,
    /// Why the connection was lost last: each new reason is told once, not with every attempt.
    told: Option<String>,
    /// What the region said last that it keeps back.
    withheld: Option<v1::WithheldReport>,
}

impl<'a> Subscription<'a> {
    fn new(args: &'a SubscribeArgs) -> anyhow::Result<Self> {
        if args.cursor_file.is_some() && args.filter.is_relative() {
            let problem = "--from and --until count from now, so the filter would be another at the next start, and the cursor \
                           not good for it: write a whole time, as 2026-05-01T14:00:00Z";
            return Err(exit::wrong_use(anyhow::anyhow!("with --cursor-file: {problem}")));
        }
        let cursor = match (&args.cursor, &args.cursor_file) {
            (Some(cursor), _) => cursor.clone(),
            (None, Some(path)) => read_cursor(path)?,
            (None, None) => String::new(),
        };
        let filter = args.filter.resolve(SystemClock::new().now())?;
        Ok(Self { args, filter, cursor, seen: 0, told: None, withheld: None })
    }

    fn is_done(&self) -> bool {
        self.args.limit.is_some_and(|limit| self.seen >= limit)
    }

    /// One connection, to its end.
    async fn stream(&mut self) -> Result<(), StreamError> {
        let connected = self.args.server.connect().await;
        let channel =
            connected.map_err(|e| if exit::is_wrong_use(&e) { StreamError::Final(e) } else { StreamError::Lost(e) })?;
        let start = if self.args.from_oldest { v1::SubscribeStart::Oldest } else { v1::SubscribeStart::Now };
        let request = v1::SubscribeRequest {
            filter: Some(self.filter.clone()),
            cursor: self.cursor.clone(),
            start: start.into(),
            since: None,
        };
        let request = self.args.server.open_request(request);
        let answer = client::streams(channel).subscribe(request).await.map_err(|e| self.classify(&e))?;
        let mut messages = answer.into_inner();
        while let Some(message) = messages.next().await {
            let message = message.map_err(|e| match e.code() {
                // The token has ended in between: the next connection shows a renewed one, or is refused for good.
                Code::Unauthenticated => StreamError::Lost(self.args.server.explain(&e)),
                _ => self.classify(&e),
            });
            let Some(message) = message?.message else { continue };
            self.told = None;
            self.take(message).map_err(StreamError::Final)?;
            if self.is_done() {
                break;
            }
        }
        Ok(())
    }

    fn classify(&self, status: &Status) -> StreamError {
        let error = self.args.server.explain(status);
        match (status.code(), &self.args.cursor_file) {
            (Code::InvalidArgument, Some(path)) if is_about_cursor(status) => {
                StreamError::Final(error.context(format!("cursor file {}", path.display())))
            }
            (Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented, _) => {
                StreamError::Final(error)
            }
            _ => StreamError::Lost(error),
        }
    }

    fn take(&mut self, message: Message) -> anyhow::Result<()> {
        match message {
            Message::Delivery(delivery) => {
                let wire = delivery.event.context("the server sent a delivery without its event")?;
                let withheld: Vec<v1::Withheld> = wire.withheld().collect();
                let event = event_from_wire(wire).context("the server sent an event that breaks the contract")?;
                if self.args.json {
                    output::line(event_json::event_with(&event, &withheld))?;
                } else {
                    output::line(output::event_row(&event).join("  "))?;
                }
                self.seen += 1;
                self.keep_cursor(delivery.cursor)
            }
            Message::Heartbeat(heartbeat) => {
                // A region's own stream says in its heartbeats what a gateway's says in a message of its own.
                if let Some(report) = heartbeat.region.filter(|report| report.withheld != self.withheld) {
                    self.withheld.clone_from(&report.withheld);
                    self.tell_region(&report)?;
                }
                self.keep_cursor(heartbeat.cursor)
            }
            Message::Gap(gap) => self.notice(&gap_words(&gap)),
            Message::Region(report) => self.tell_region(&report),
        }
    }

    fn tell_region(&self, report: &v1::RegionReport) -> anyhow::Result<()> {
        if self.args.json {
            return output::line(json!({"region_report": output::region_json(report)}));
        }
        self.notice(&region_words(report))
    }

    fn keep_cursor(&mut self, newer: String) -> anyhow::Result<()> {
        self.cursor = newer;
        let Some(path) = &self.args.cursor_file else { return Ok(()) };
        // Written beside and renamed: a kill in between leaves the old cursor, never half a one.
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let written = std::fs::write(&beside, &self.cursor).and_then(|()| std::fs::rename(&beside, path));
        written.with_context(|| format!("cannot keep the cursor in {}", path.display()))
    }

    fn lost(&mut self, why: &str) -> anyhow::Result<()> {
        if self.told.as_deref() != Some(why) {
            self.notice(&format!("{why}; trying again until it comes back"))?;
            self.told = Some(why.to_owned());
        }
        Ok(())
    }

    /// Something people should know that is not an event.
    fn notice(&self, text: &str) -> anyhow::Result<()> {
        if self.args.json {
            return output::line(json!({"notice": text}));
        }
        eprintln!("-- {text}");
        Ok(())
    }
}

fn is_about_cursor(status: &Status) -> bool {
    let details = status.get_error_details();
    details.error_info().is_some_and(|info| {
        let codes = [ErrorCode::InvalidToken, ErrorCode::ExpiredToken];
        codes.iter().any(|code| code.reason() == info.reason)
    })
}

fn gap_words(gap: &v1::StreamGap) -> String {
    let region = &gap.region_id;
    match gap.reason() {
        v1::GapReason::Restored => format!(
            "region {region} was put back to a backup from before the cursor: events since then come again, under their \
             own ids, and some that were told may be gone"
        ),
        v1::GapReason::Retention | v1::GapReason::Unspecified => {
            format!("events of region {region} are gone: retention removed them")
        }
    }
}

fn region_words(report: &v1::RegionReport) -> String {
    match report.outcome() {
        v1::RegionOutcome::Answered => {
            let withheld = report.withheld.as_ref().map(output::withheld_words);
            let withheld = withheld.map(|words| format!("; {words}")).unwrap_or_default();
            format!("region {} streams{withheld}", report.region_id)
        }
        other => format!("region {}: {}: {}", report.region_id, output::outcome(other), report.detail),
    }
}

fn read_cursor(path: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(cursor) => Ok(cursor.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read the cursor from {}", path.display())),
    }
}
