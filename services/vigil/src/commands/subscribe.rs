//! `vigil subscribe`: events as they are committed.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use tokio_stream::StreamExt;
use vigil_base::{Clock, SystemClock};
use vigil_proto::convert::event_from_wire;
use vigil_proto::v1;
use vigil_proto::v1::subscribe_response::Message;

use crate::client::{self, ServerArgs};
use crate::filter_args::FilterArgs;
use crate::{event_json, output};

/// Wait between two attempts to reach the server again.
const RECONNECT: Duration = Duration::from_secs(1);

/// Print events as they are committed, each revision of an event a line.
///
/// With --cursor-file the stream resumes where it stopped, also after this command or the server was killed: nothing is
/// missed; the last event may come twice (its id and revision tell).
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil subscribe --class person
  vigil subscribe --json --cursor-file events.cursor >> events.jsonl
  vigil subscribe --from-oldest --limit 100 --json")]
pub struct SubscribeArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// Go on right after this cursor.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
    /// Keep the cursor in this file: read at the start, written after each event.
    #[arg(long, value_name = "FILE", conflicts_with = "cursor")]
    cursor_file: Option<PathBuf>,
    /// Without a cursor: begin with the oldest event that is still there, instead of now.
    #[arg(long)]
    from_oldest: bool,
    /// End after this many events.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Runs the command until interrupted or the limit is reached.
pub async fn run(args: SubscribeArgs) -> anyhow::Result<ExitCode> {
    let mut cursor = match (&args.cursor, &args.cursor_file) {
        (Some(cursor), _) => cursor.clone(),
        (None, Some(path)) => read_cursor(path)?,
        (None, None) => String::new(),
    };
    let mut seen = 0;
    loop {
        let ended = tokio::select! {
            ended = stream(&args, &mut cursor, &mut seen) => ended,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        match ended {
            Ok(()) if args.limit.is_some_and(|limit| seen >= limit) => return Ok(ExitCode::SUCCESS),
            Ok(()) => notice(&args, "the server ended the stream; resuming")?,
            Err(StreamError::Lost(error)) => notice(&args, &format!("{error:#}; resuming"))?,
            Err(StreamError::Final(error)) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(RECONNECT) => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

enum StreamError {
    /// The connection broke: trying again may help.
    Lost(anyhow::Error),
    /// The server refuses, or something here went wrong: the same again fails again.
    Final(anyhow::Error),
}

async fn stream(args: &SubscribeArgs, cursor: &mut String, seen: &mut usize) -> Result<(), StreamError> {
    let now = SystemClock::new().now();
    let channel = args.server.connect().await.map_err(StreamError::Lost)?;
    let start = if args.from_oldest { v1::SubscribeStart::Oldest } else { v1::SubscribeStart::Now };
    let request = v1::SubscribeRequest {
        filter: Some(args.filter.resolve(now).map_err(StreamError::Final)?),
        cursor: cursor.clone(),
        start: start.into(),
        since: None,
    };
    let mut messages = client::streams(channel).subscribe(request).await.map_err(|e| classify(&e))?.into_inner();
    while let Some(message) = messages.next().await {
        let Some(message) = message.map_err(|e| classify(&e))?.message else { continue };
        handle(args, message, cursor, seen).map_err(StreamError::Final)?;
        if args.limit.is_some_and(|limit| *seen >= limit) {
            break;
        }
    }
    Ok(())
}

fn classify(status: &tonic::Status) -> StreamError {
    let error = client::explain(status);
    match status.code() {
        tonic::Code::InvalidArgument | tonic::Code::PermissionDenied | tonic::Code::Unauthenticated => {
            StreamError::Final(error)
        }
        _ => StreamError::Lost(error),
    }
}

fn handle(args: &SubscribeArgs, message: Message, cursor: &mut String, seen: &mut usize) -> anyhow::Result<()> {
    match message {
        Message::Delivery(delivery) => {
            let wire = delivery.event.context("the server sent a delivery without its event")?;
            let event = event_from_wire(wire).context("the server sent an event that breaks the contract")?;
            if args.json {
                output::line(event_json::event(&event))?;
            } else {
                output::line(output::event_row(&event).join("  "))?;
            }
            *seen += 1;
            keep_cursor(args, cursor, delivery.cursor)
        }
        Message::Heartbeat(heartbeat) => keep_cursor(args, cursor, heartbeat.cursor),
        Message::Gap(gap) => {
            notice(args, &format!("events of region {} are gone: retention removed them", gap.region_id))
        }
        Message::Region(report) if args.json => output::line(json!({"region_report": output::region_json(&report)})),
        Message::Region(report) => {
            let lines = output::region_lines(&[report], SystemClock::new().now());
            notice(args, lines.last().map_or("", String::as_str).trim())
        }
    }
}

fn keep_cursor(args: &SubscribeArgs, cursor: &mut String, newer: String) -> anyhow::Result<()> {
    *cursor = newer;
    let Some(path) = &args.cursor_file else { return Ok(()) };
    // Written beside and renamed: a kill in between leaves the old cursor, never half a one.
    let beside = path.with_extension("new");
    let written = std::fs::write(&beside, &*cursor).and_then(|()| std::fs::rename(&beside, path));
    written.with_context(|| format!("cannot keep the cursor in {}", path.display()))
}

fn read_cursor(path: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(path) {
        Ok(cursor) => Ok(cursor.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read the cursor from {}", path.display())),
    }
}

/// Something people should know that is not an event.
fn notice(args: &SubscribeArgs, text: &str) -> anyhow::Result<()> {
    if args.json { output::line(json!({"notice": text})) } else { output::line(format!("-- {text}")) }
}
