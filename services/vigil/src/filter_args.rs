//! Which events are meant, as options.

use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use vigil_base::event::{Colour, EventKind};
use vigil_base::{CameraId, EdgeId, Polygon, RegionId, RuleId, Timestamp, ZoneId};
use vigil_proto::convert::{Filter, PlateMatch, PlatePattern, filter_to_wire};
use vigil_proto::v1;

use crate::{exit, place, when};

/// What people write between the characters of a plate, and no reader gives.
const PLATE_SEPARATORS: [char; 6] = ['-', '.', '·', '•', '・', '‧'];

/// How a plate is compared with what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlateHow {
    /// It stands anywhere in it.
    Part,
    /// What was read begins with it.
    Prefix,
    /// It is all of it.
    Exact,
    /// It is all of it but for one character: another, missing, or too many.
    OneWrong,
    /// Whatever was read; without --plate.
    Any,
}

/// Options that narrow down events; all must hold, several values of one option mean any of them.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which events")]
pub struct FilterArgs {
    /// Events that end at or after this time: 2026-05-01T14:00:00Z, "2026-05-01 14:00" (local), or 15m (ago).
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Events that begin before this time.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only these regions.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub region: Vec<RegionId>,
    /// Only these cameras.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub camera: Vec<CameraId>,
    /// Only these edges.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub edge: Vec<EdgeId>,
    /// Only these object classes, for example person,car.
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    pub class: Vec<String>,
    /// Only these kinds of event.
    #[arg(long, value_name = "KIND", value_delimiter = ',', help = kinds_help())]
    pub kind: Vec<EventKind>,
    /// Only objects that show one of these colours: black, white, grey, red, orange, yellow, green, cyan, blue, purple, pink, brown.
    #[arg(long, alias = "color", value_name = "COLOUR", value_delimiter = ',')]
    pub colour: Vec<Colour>,
    /// Only events at least this confident, 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub min_confidence: f32,
    /// Only vehicles with this plate, or this part of one; blanks, dots and hyphens do not matter.
    #[arg(long, value_name = "TEXT")]
    pub plate: Option<String>,
    /// How --plate is compared with what was read.
    #[arg(long, value_name = "HOW", default_value = "part")]
    pub plate_match: PlateHow,
    /// Only events that these rules made.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub rule: Vec<RuleId>,
    /// Only events of rules that watch these zones or lines.
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub zone: Vec<ZoneId>,
    /// Only events inside this ring of latitude,longitude points: "52.50,13.37 52.52,13.37 52.51,13.40".
    #[arg(long, value_name = "POINTS")]
    pub area: Option<String>,
}

impl FilterArgs {
    /// The filter for the wire, relative times counted from `now`. An error is wrong use.
    pub fn resolve(&self, now: Timestamp) -> anyhow::Result<v1::EventFilter> {
        self.to_wire(now).map_err(exit::wrong_use)
    }

    /// Whether the filter means something else tomorrow: a time is counted from now, or from today.
    pub fn is_relative(&self) -> bool {
        let noon = Timestamp::from_micros(1_000_000_000_000_000);
        let moves = |text: &String| {
            let at = |now| when::parse(text, now).ok();
            at(noon) != at(noon + Duration::from_hours(24))
        };
        self.from.iter().chain(&self.until).any(moves)
    }

    fn plate(&self) -> anyhow::Result<Option<PlatePattern>> {
        let how = match self.plate_match {
            PlateHow::Part if self.plate.is_none() => return Ok(None),
            PlateHow::Part => PlateMatch::Part,
            PlateHow::Prefix => PlateMatch::Prefix,
            PlateHow::Exact => PlateMatch::Exact,
            PlateHow::OneWrong => PlateMatch::OneWrong,
            PlateHow::Any => PlateMatch::Any,
        };
        let written = |c: char| c.is_whitespace() || PLATE_SEPARATORS.contains(&c);
        let text = self.plate.as_deref().unwrap_or_default().replace(written, "");
        PlatePattern::new(&text, how)
            .map(Some)
            .map_err(|error| anyhow!("--{}: {}", error.field.replace('_', "-"), error.problem))
    }

    fn to_wire(&self, now: Timestamp) -> anyhow::Result<v1::EventFilter> {
        let time = |name: &str, text: &Option<String>| {
            text.as_deref().map(|text| when::parse(text, now).with_context(|| format!("--{name}"))).transpose()
        };
        Ok(filter_to_wire(&Filter {
            from: time("from", &self.from)?,
            until: time("until", &self.until)?,
            regions: self.region.clone(),
            cameras: self.camera.clone(),
            edges: self.edge.clone(),
            classes: self.class.clone(),
            kinds: self.kind.clone(),
            colours: self.colour.clone(),
            area: self.area.as_deref().map(polygon).transpose()?,
            min_confidence: self.min_confidence,
            plate: self.plate()?,
            rules: self.rule.clone(),
            zones: self.zone.clone(),
        }))
    }
}

fn kinds_help() -> String {
    let kinds: Vec<String> = EventKind::all().map(|kind| kind.to_string()).collect();
    format!("Only these kinds of event: {}", kinds.join(", "))
}

fn polygon(text: &str) -> anyhow::Result<Polygon> {
    let points = text.split_whitespace().map(place::parse).collect::<anyhow::Result<Vec<_>>>().context("--area")?;
    let count = points.len();
    Polygon::new(points).with_context(|| format!("--area needs 3 to 256 points, has {count}"))
}

#[cfg(test)]
mod tests {
    use vigil_base::GeoPoint;

    use super::*;

    #[test]
    fn an_area_is_latitude_first_and_errors_say_so() {
        let area = polygon("52.50,13.37 52.52,13.37 52.51,13.40").unwrap();
        assert!(area.contains(GeoPoint { latitude: 52.51, longitude: 13.38 }));
        assert!(polygon("52.5,13.3 52.6,13.3").unwrap_err().to_string().contains("has 2"));
        assert!(format!("{:#}", polygon("52.5 13.3 1").unwrap_err()).starts_with("--area: \"52.5\""));
    }
}
