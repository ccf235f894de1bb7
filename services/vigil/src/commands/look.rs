//! `vigil look`: who looked like this, when and where.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use vigil_base::{BoxNorm, Clock, EventId, SystemClock, Timestamp};
use vigil_proto::convert::{
    AppearanceQuestion, Example, MAX_PICTURE_BYTES, appearance_question_to_wire, event_from_wire,
};
use vigil_proto::v1;
use vigil_proto::v1::appearance_service_client::AppearanceServiceClient;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;

use crate::client::{self, ServerArgs};
use crate::filter_args::FilterArgs;
use crate::{event_json, exit, output};

/// How alike sightings must be for a journey unless told otherwise: on one plaza one in a hundred pairs of different people was.
const ALIKE: f32 = 0.9;

/// Find who or what looked like this: by clothes, or a vehicle's body; never by face.
///
/// Prints the most alike first, then what could not be compared, and which regions answered. Ends with status 3 when some region
/// did not answer: what is shown is then a part.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil look --event 0192f3c4-5a6b-7c8d-9e0f-102132435465 --from 2h
  vigil look --picture suspect.jpg --box 0.2,0.1,0.3,0.8 --camera station-north,station-south
  vigil look --event 0192f3c4-5a6b-7c8d-9e0f-102132435465 --within 20m --min-cameras 3")]
#[command(group(clap::ArgGroup::new("example").required(true).args(["event", "picture"])))]
pub struct LookArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    filter: FilterArgs,
    /// As the object of this event looked.
    #[arg(long, value_name = "EVENT_ID")]
    event: Option<EventId>,
    /// As what is in this picture: JPEG or PNG, at most 768 KiB.
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// Where in the picture: left, top, width and height as shares of it. Absent: all of it.
    #[arg(long = "box", value_name = "X,Y,W,H", value_parser = parse_box, requires = "picture")]
    bbox: Option<BoxNorm>,
    /// At most this many events.
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// Only what is at least this alike, 0 to 1.
    #[arg(long, value_name = "SHARE")]
    min_similarity: Option<f32>,
    /// Show instead where it was seen at several cameras within this time.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, conflicts_with = "limit")]
    within: Option<Duration>,
    /// With --within: at least at so many cameras.
    #[arg(long, value_name = "N", default_value_t = 2, requires = "within")]
    min_cameras: u32,
    /// JSON lines on standard output: one object an event, then one with the regions' reports.
    #[arg(long)]
    json: bool,
}

/// What is told below the hits.
struct Rest {
    regions: Vec<v1::RegionReport>,
    compared: u64,
    not_comparable: Vec<v1::NotComparable>,
}

/// Runs the command.
pub async fn run(args: LookArgs) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    let example = args.example().map_err(exit::wrong_use)?;
    let filter = args.filter.resolve(now)?;
    let channel = args.server.connect().await?;
    let mut looks = AppearanceServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
    let rest = if let Some(within) = args.within {
        let request = v1::FollowAppearanceRequest {
            example,
            filter: Some(filter),
            min_similarity: args.min_similarity.unwrap_or(ALIKE),
            span: prost_types::Duration::try_from(within).ok(),
            min_cameras: args.min_cameras,
        };
        let answer = looks.follow_appearance(args.server.request(request)).await;
        show_journeys(&args, answer.map_err(|e| args.server.explain(&e))?.into_inner())?
    } else {
        let request = v1::SearchByAppearanceRequest {
            example,
            filter: Some(filter),
            limit: args.limit as i32,
            min_similarity: args.min_similarity.unwrap_or(0.0),
        };
        let answer = looks.search_by_appearance(args.server.request(request)).await;
        let answer = answer.map_err(|e| args.server.explain(&e))?.into_inner();
        show_hits(&args, &answer.hits, None)?;
        Rest { regions: answer.regions, compared: answer.compared, not_comparable: answer.not_comparable }
    };
    show_rest(&args, &rest, now)?;
    Ok(if client::complete(&rest.regions) { ExitCode::SUCCESS } else { ExitCode::from(exit::PARTIAL) })
}

impl LookArgs {
    fn example(&self) -> anyhow::Result<Option<v1::AppearanceExample>> {
        let example = match (&self.event, &self.picture) {
            (Some(id), _) => Example::Event { id: *id, region: None },
            (None, Some(path)) => Example::Picture { image: read_picture(path)?.into(), bbox: self.bbox },
            // clap asks for one of them.
            (None, None) => return Ok(None),
        };
        let filter = vigil_proto::convert::Filter::default();
        let question = AppearanceQuestion { example, filter, limit: 1, min_similarity: 0.0 };
        Ok(appearance_question_to_wire(&question).example)
    }
}

/// Reads `0.2,0.1,0.3,0.8`.
fn parse_box(text: &str) -> anyhow::Result<BoxNorm> {
    let sides: Vec<f32> = text.split(',').map(|side| side.trim().parse()).collect::<Result<_, _>>()?;
    let [left, top, width, height] = sides[..] else { anyhow::bail!("takes four numbers: left,top,width,height") };
    let bbox = BoxNorm { left, top, width, height };
    ensure!(bbox.is_valid(), "must lie inside the picture, in shares of it: 0 to 1");
    Ok(bbox)
}

fn read_picture(path: &Path) -> anyhow::Result<Vec<u8>> {
    let size = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.len();
    ensure!(
        size <= MAX_PICTURE_BYTES as u64,
        "{} has {size} bytes; at most {MAX_PICTURE_BYTES} are taken: cut out or shrink what is looked for",
        path.display()
    );
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn show_hits(args: &LookArgs, hits: &[v1::AppearanceHit], journey: Option<usize>) -> anyhow::Result<()> {
    let mut table = output::table([]);
    table.set_header(["alike"].into_iter().chain(output::EVENT_HEADER));
    for hit in hits {
        let wire = hit.event.clone().context("the server sent a hit without its event")?;
        let event = event_from_wire(wire).context("the server sent an event that breaks the contract")?;
        if args.json {
            let mut object = json!({"similarity": hit.similarity, "event": event_json::event(&event)});
            if let Some(journey) = journey {
                object["journey"] = json!(journey);
            }
            output::line(object)?;
        } else {
            table.add_row([format!("{:.3}", hit.similarity)].into_iter().chain(output::event_row(&event)));
        }
    }
    if args.json { Ok(()) } else { output::line(&table) }
}

fn show_journeys(args: &LookArgs, answer: v1::FollowAppearanceResponse) -> anyhow::Result<Rest> {
    for (number, journey) in answer.journeys.iter().enumerate() {
        if !args.json {
            output::line(format!("{} sightings at {} cameras", journey.sightings.len(), journey.cameras))?;
        }
        show_hits(args, &journey.sightings, Some(number + 1))?;
        if !args.json {
            output::line("")?;
        }
    }
    if !args.json {
        output::line(format!("{} journeys; two who look alike are told as one", answer.journeys.len()))?;
    }
    if answer.truncated {
        let text = "more than 1000 events are as alike: ask for more with --min-similarity";
        output::line(if args.json { json!({"truncated": true}).to_string() } else { text.to_owned() })?;
    }
    Ok(Rest { regions: answer.regions, compared: answer.compared, not_comparable: answer.not_comparable })
}

fn show_rest(args: &LookArgs, rest: &Rest, now: Timestamp) -> anyhow::Result<()> {
    let named = |other: &v1::NotComparable| {
        let method = other.method.clone().unwrap_or_default();
        (format!("{} {}", method.name, method.version), other.events)
    };
    if args.json {
        let others: Vec<_> = rest
            .not_comparable
            .iter()
            .map(|other| json!({"region": other.region_id, "method": named(other).0, "events": other.events}))
            .collect();
        let regions: Vec<_> = rest.regions.iter().map(output::region_json).collect();
        return output::line(json!({"compared": rest.compared, "not_comparable": others, "regions": regions}));
    }
    output::line(format!("\ncompared with {} events", rest.compared))?;
    for other in &rest.not_comparable {
        let (method, events) = named(other);
        output::line(format!("{events} events of {} cannot be compared: made by {method}", other.region_id))?;
    }
    for line in output::region_lines(&rest.regions, now) {
        output::line(line)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_is_four_shares_of_the_picture() {
        assert_eq!(parse_box("0.25, 0,0.5,1").unwrap(), BoxNorm { left: 0.25, top: 0.0, width: 0.5, height: 1.0 });
        for bad in ["", "1,2", "0.5,0,0.6,1", "a,b,c,d", "0,0,NaN,1"] {
            assert!(parse_box(bad).is_err(), "{bad}");
        }
    }
}
