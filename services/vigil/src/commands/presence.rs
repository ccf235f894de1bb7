//! `vigil presence`: where objects linger in a camera's picture.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use vigil_base::{CameraId, Clock, RegionId, SystemClock, Timestamp};
use vigil_proto::convert::{time_from_wire, time_to_wire};
use vigil_proto::v1;

use crate::client::{self, ServerArgs};
use crate::heat::{Heat, Picture};
use crate::{exit, output, when};

/// Show where objects linger in the picture of one camera: seconds of presence by cell of a grid.
///
/// An object's time counts where its foot is, the middle of its box's lower edge. Prints the picture as text, or writes it as PNG,
/// over a picture of the camera where you give one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil presence --camera plaza --from 24h
  vigil presence --camera plaza --class person --from 7d --png plaza.png --over plaza.jpg
  vigil presence --camera plaza --from 1h --grid 32x18 --json")]
pub struct PresenceArgs {
    #[command(flatten)]
    server: ServerArgs,
    /// The camera.
    #[arg(long, value_name = "ID")]
    camera: CameraId,
    /// Its region; a gateway asks for it.
    #[arg(long, value_name = "ID")]
    region: Option<RegionId>,
    /// Begin: a time, or how long ago (15m, 24h).
    #[arg(long, default_value = "24h", value_name = "TIME")]
    from: String,
    /// End.
    #[arg(long, default_value = "now", value_name = "TIME")]
    until: String,
    /// Only these object classes, for example person,car.
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    class: Vec<String>,
    /// Cells across and down.
    #[arg(long, default_value = "64x36", value_name = "COLUMNSxROWS", value_parser = grid)]
    grid: (u32, u32),
    /// Write a picture (PNG) to this file.
    #[arg(long, value_name = "FILE")]
    png: Option<PathBuf>,
    /// With --png: a picture of the camera (JPEG or PNG) to lay it over.
    #[arg(long, value_name = "FILE", requires = "png")]
    over: Option<PathBuf>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

fn grid(text: &str) -> anyhow::Result<(u32, u32)> {
    let parts = text.split_once('x').and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
    match parts {
        Some((columns, rows)) if columns > 0 && rows > 0 => Ok((columns, rows)),
        _ => bail!("{text:?} is no grid: write 64x36"),
    }
}

/// Runs the command.
pub async fn run(args: PresenceArgs) -> anyhow::Result<ExitCode> {
    let now = SystemClock::new().now();
    let request = request(&args, now).map_err(exit::wrong_use)?;
    let over = args.over.as_deref().map(Picture::load).transpose()?;
    let mut client = client::insight(args.server.connect().await?);
    let answer = client.get_presence(args.server.request(request)).await;
    let answer = answer.map_err(|e| args.server.explain(&e))?.into_inner();
    let looked_from = answer.looked_from.and_then(|at| time_from_wire("looked_from", at).ok());
    let heat = Heat::new(&answer).context("the server sent a grid that breaks the contract")?;
    if args.json {
        let class = |class: &v1::ClassPresence| json!({"class": class.object_class, "events": class.events, "seconds": class.seconds});
        output::line(json!({
            "columns": answer.columns,
            "rows": answer.rows,
            "classes": answer.classes.iter().map(class).collect::<Vec<_>>(),
            "looked_from": looked_from.map(|at| at.to_string()),
            "regions": answer.regions.iter().map(output::region_json).collect::<Vec<_>>(),
        }))?;
    } else {
        show(&args, &answer, &heat, looked_from, now)?;
    }
    if let Some(path) = &args.png {
        let title = format!("{} {} - {}", args.camera, when::show_minute(bound(&args.from, now)?), args.until);
        heat.draw(over, &title).save(path).with_context(|| format!("cannot write {}", path.display()))?;
        if !args.json {
            output::line(format!("picture written to {}", path.display()))?;
        }
    }
    Ok(if client::complete(&answer.regions) { ExitCode::SUCCESS } else { ExitCode::from(exit::PARTIAL) })
}

fn bound(text: &str, now: Timestamp) -> anyhow::Result<Timestamp> {
    when::parse(text, now)
}

fn request(args: &PresenceArgs, now: Timestamp) -> anyhow::Result<v1::GetPresenceRequest> {
    let (columns, rows) = args.grid;
    Ok(v1::GetPresenceRequest {
        camera_id: args.camera.to_string(),
        region_id: args.region.as_ref().map(ToString::to_string).unwrap_or_default(),
        from: Some(time_to_wire(bound(&args.from, now).context("--from")?)),
        until: Some(time_to_wire(bound(&args.until, now).context("--until")?)),
        object_classes: args.class.clone(),
        columns,
        rows,
    })
}

fn show(
    args: &PresenceArgs,
    answer: &v1::GetPresenceResponse,
    heat: &Heat,
    looked_from: Option<Timestamp>,
    now: Timestamp,
) -> anyhow::Result<()> {
    if answer.classes.iter().all(|class| class.events == 0) {
        output::line(format!("camera {} has no event in this time", args.camera))?;
        return regions(answer, now);
    }
    output::line(heat.text())?;
    let mut table = output::table(["class", "events", "seconds"]);
    for class in &answer.classes {
        let seconds: f64 = class.seconds.iter().map(|seconds| f64::from(*seconds)).sum();
        table.add_row([class.object_class.clone(), class.events.to_string(), format!("{seconds:.1}")]);
    }
    output::line(&table)?;
    if let Some(from) = looked_from {
        let from = when::show(from);
        output::line(format!("there were too many events: only those since {from} count; ask for a shorter time"))?;
    }
    regions(answer, now)
}

fn regions(answer: &v1::GetPresenceResponse, now: Timestamp) -> anyhow::Result<()> {
    for line in output::region_lines(&answer.regions, now) {
        output::line(line)?;
    }
    Ok(())
}
