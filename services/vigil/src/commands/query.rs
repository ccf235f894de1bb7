//! `vigil query`: questions about the past.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde_json::json;
use tonic::transport::Channel;
use vigil_base::{Clock, Event, SystemClock};
use vigil_proto::convert::{event_from_wire, time_from_wire, time_to_wire};
use vigil_proto::v1;

use crate::client::{self, ServerArgs};
use crate::exit;
use crate::filter_args::FilterArgs;
use crate::{event_json, output};

/// Ask one region, or through a gateway all of them.
///
/// Prints the newest events first, then which regions answered, how fast, and up to when each is complete. Ends with
/// status 3 when some region did not answer: what is shown is then a part.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil query --class person --from 15m
  vigil query --colour red --camera station-north --from \"2026-05-01 14:00\" --until \"2026-05-01 14:20\"
  vigil query --plate BAB1234 --plate-match one-wrong --from 7d
  vigil query --count-by hour,class --from 24h
  vigil query --id 0192f3c4-5a6b-7c8d-9e0f-102132435465 --thumbnail person.jpg
  vigil query --class car --json | jq .event_id")]
pub struct QueryArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// At most this many events.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// Go on where an earlier answer stopped: the token it printed.
    #[arg(long, value_name = "TOKEN")]
    page_token: Option<String>,
    /// Count instead of listing: from --from, which is then needed, until --until, or now.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', conflicts_with_all = ["id", "page_token", "limit"])]
    count_by: Vec<CountBy>,
    /// Show this one event, whatever the time.
    #[arg(long, value_name = "EVENT_ID", conflicts_with_all = ["FilterArgs", "page_token", "limit"])]
    id: Option<vigil_base::EventId>,
    /// With --id: write the event's thumbnail (JPEG) to this file.
    #[arg(long, value_name = "FILE", requires = "id")]
    thumbnail: Option<PathBuf>,
    /// JSON lines on standard output: one object an event (or count), then one with the regions' reports.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CountBy {
    Hour,
    Class,
    Camera,
    Region,
    Zone,
}

/// Runs the command.
pub async fn run(args: QueryArgs) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    // What is wrong with the question is said whether or not somebody answers.
    let mut filter = args.filter.resolve(now)?;
    if !args.count_by.is_empty() {
        if filter.from.is_none() {
            return Err(exit::wrong_use(anyhow::anyhow!("counts need --from, as in --from 24h")));
        }
        filter.until.get_or_insert(time_to_wire(now));
    }
    let channel = args.server.connect().await?;
    let reports = if let Some(id) = &args.id {
        get(&args, channel, &id.to_string()).await?
    } else if args.count_by.is_empty() {
        search(&args, filter, channel).await?
    } else {
        count(&args, filter, channel).await?
    };
    if args.json {
        output::line(json!({"regions": reports.iter().map(output::region_json).collect::<Vec<_>>()}))?;
    } else {
        output::line("")?;
        for line in output::region_lines(&reports, now) {
            output::line(line)?;
        }
    }
    Ok(if client::complete(&reports) { ExitCode::SUCCESS } else { ExitCode::from(exit::PARTIAL) })
}

/// Pages through the answer up to the limit; reports are those of the last page that asked each region.
async fn search(args: &QueryArgs, filter: v1::EventFilter, channel: Channel) -> anyhow::Result<Vec<v1::RegionReport>> {
    let mut queries = client::queries(channel);
    let mut page_token = args.page_token.clone().unwrap_or_default();
    let (mut shown, limit) = (0, args.limit as usize);
    let mut reports: Vec<v1::RegionReport> = Vec::new();
    let mut table = output::table(output::EVENT_HEADER);
    loop {
        let page_size = i32::try_from((limit - shown).min(1000))?;
        let request = v1::SearchRequest { filter: Some(filter.clone()), page_size, page_token, after: None };
        let answer =
            queries.search(args.server.request(request)).await.map_err(|e| args.server.explain(&e))?.into_inner();
        for wire in answer.events {
            let withheld: Vec<v1::Withheld> = wire.withheld().collect();
            let event = event_from_wire(wire).context("the server sent an event that breaks the contract")?;
            show(args.json, &mut table, &event, &withheld)?;
            shown += 1;
        }
        merge_reports(&mut reports, answer.regions);
        page_token = answer.next_page_token;
        // A page that failed in part also has a next page: asking on at once would only repeat the failure.
        if page_token.is_empty() || shown >= limit || !client::complete(&reports) {
            break;
        }
    }
    if args.json {
        output::line(json!({"next_page_token": page_token}))?;
    } else {
        output::line(&table)?;
        let more = match page_token.as_str() {
            "" => String::new(),
            token if client::complete(&reports) => format!("; more with --page-token {token}"),
            token => format!("; the rest, once all regions answer, with --page-token {token}"),
        };
        output::line(format!("\n{shown} events{more}"))?;
    }
    Ok(reports)
}

fn show(json: bool, table: &mut comfy_table::Table, event: &Event, withheld: &[v1::Withheld]) -> anyhow::Result<()> {
    if json {
        return output::line(event_json::event_with(event, withheld));
    }
    table.add_row(output::event_row(event));
    Ok(())
}

/// Keeps the newest report of each region.
fn merge_reports(all: &mut Vec<v1::RegionReport>, newer: Vec<v1::RegionReport>) {
    for report in newer {
        match all.iter_mut().find(|known| known.region_id == report.region_id) {
            Some(known) => *known = report,
            None => all.push(report),
        }
    }
}

async fn get(args: &QueryArgs, channel: Channel, id: &str) -> anyhow::Result<Vec<v1::RegionReport>> {
    let mut queries = client::queries(channel);
    let request = v1::GetEventRequest { event_id: id.to_owned(), region_id: String::new() };
    let answer =
        queries.get_event(args.server.request(request)).await.map_err(|e| args.server.explain(&e))?.into_inner();
    let wire = answer.event.context("the server answered without the event")?;
    let withheld: Vec<v1::Withheld> = wire.withheld().collect();
    let event = event_from_wire(wire).context("the server sent an event that breaks the contract")?;
    if let Some(path) = &args.thumbnail {
        let why = if withheld.contains(&v1::Withheld::Thumbnail) {
            "the region's policy withholds the event's thumbnail"
        } else {
            "the event has no thumbnail"
        };
        let key = event.thumbnail_key.as_deref().context(why)?;
        let request = v1::GetThumbnailRequest { thumbnail_key: key.to_owned(), region_id: event.region.to_string() };
        let request = args.server.request(request);
        let jpeg = queries.get_thumbnail(request).await.map_err(|e| args.server.explain(&e))?.into_inner().jpeg;
        ensure!(!jpeg.is_empty(), "the server answered with an empty thumbnail");
        tokio::fs::write(path, &jpeg).await.with_context(|| format!("cannot write {}", path.display()))?;
    }
    let shown = event_json::event_with(&event, &withheld);
    output::line(if args.json { shown.to_string() } else { serde_json::to_string_pretty(&shown)? })?;
    if let Some(path) = args.thumbnail.as_ref().filter(|_| !args.json) {
        output::line(format!("\nthumbnail written to {}", path.display()))?;
    }
    Ok(answer.regions)
}

async fn count(args: &QueryArgs, filter: v1::EventFilter, channel: Channel) -> anyhow::Result<Vec<v1::RegionReport>> {
    let group_by = args.count_by.iter().map(|by| i32::from(wire_group(*by))).collect();
    let request = v1::AggregateRequest { filter: Some(filter), group_by };
    let mut queries = client::queries(channel);
    let answer =
        queries.aggregate(args.server.request(request)).await.map_err(|e| args.server.explain(&e))?.into_inner();
    let mut header: Vec<&str> = args.count_by.iter().map(|by| by.name()).collect();
    header.push("events");
    let mut table = output::table([]);
    table.set_header(header.clone());
    for group in &answer.groups {
        let mut row: Vec<String> = args.count_by.iter().map(|by| by.value(group)).collect();
        row.push(group.count.to_string());
        if args.json {
            let mut object: serde_json::Map<_, _> =
                args.count_by.iter().map(|by| (by.name().to_owned(), json!(by.value(group)))).collect();
            object.insert("events".to_owned(), json!(group.count));
            output::line(serde_json::Value::Object(object))?;
        } else {
            table.add_row(row);
        }
    }
    if !args.json {
        output::line(&table)?;
    }
    if answer.truncated {
        output::line(if args.json {
            r#"{"truncated":true}"#
        } else {
            "there are more groups than can be shown: narrow the filter"
        })?;
    }
    Ok(answer.regions)
}

fn wire_group(by: CountBy) -> v1::GroupBy {
    match by {
        CountBy::Hour => v1::GroupBy::Hour,
        CountBy::Class => v1::GroupBy::Class,
        CountBy::Camera => v1::GroupBy::Camera,
        CountBy::Region => v1::GroupBy::Region,
        CountBy::Zone => v1::GroupBy::Zone,
    }
}

impl CountBy {
    fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Class => "class",
            Self::Camera => "camera",
            Self::Region => "region",
            Self::Zone => "zone",
        }
    }

    fn value(self, group: &v1::AggregateGroup) -> String {
        match self {
            Self::Hour => {
                let hour = group.hour.and_then(|at| time_from_wire("hour", at).ok());
                hour.map(|at| at.to_string()).unwrap_or_default()
            }
            Self::Class => group.object_class.clone(),
            Self::Camera => group.camera_id.clone(),
            Self::Region => group.region_id.clone(),
            Self::Zone => group.zone_id.clone(),
        }
    }
}
