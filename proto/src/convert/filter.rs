//! The event filter, checked and bounded.

use vigil_base::event::{Colour, Event, EventKind};
use vigil_base::{CameraId, EdgeId, Polygon, RegionId, RuleId, Timestamp, ZoneId};

use super::event::{kind_from_wire, kind_to_wire};
use super::plate::{PlatePattern, plate_from_wire, plate_to_wire};
use super::{WireError, bounded_text, geo_from_wire, geo_to_wire, share, time_from_wire, time_to_wire};
use crate::v1;

/// Most entries of each list of a filter, by the field's name.
pub const MAX_LIST: [(&str, usize); 8] = [
    ("region_ids", 100),
    ("camera_ids", 1000),
    ("edge_ids", 100),
    ("object_classes", 100),
    ("kinds", 16),
    ("colours", 12),
    ("rule_ids", 100),
    ("zone_ids", 100),
];
const MAX_CLASS_BYTES: usize = 128;

/// Which events are meant: all conditions must hold; an empty list or `None` does not restrict.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Events that end at or after this time.
    pub from: Option<Timestamp>,
    /// Events that begin before this time.
    pub until: Option<Timestamp>,
    /// Events of these regions.
    pub regions: Vec<RegionId>,
    /// Events of these cameras.
    pub cameras: Vec<CameraId>,
    /// Events of these edges.
    pub edges: Vec<EdgeId>,
    /// Events of these object classes.
    pub classes: Vec<String>,
    /// Events of these kinds.
    pub kinds: Vec<EventKind>,
    /// Events with any of these among their dominant colours.
    pub colours: Vec<Colour>,
    /// Events located inside.
    pub area: Option<Polygon>,
    /// Events at least this confident, 0..1.
    pub min_confidence: f32,
    /// Events with such a plate.
    pub plate: Option<PlatePattern>,
    /// Events of these rules.
    pub rules: Vec<RuleId>,
    /// Events of rules that watch these zones or lines.
    pub zones: Vec<ZoneId>,
}

impl Filter {
    /// Whether `event` is meant.
    pub fn matches(&self, event: &Event) -> bool {
        fn among<T: PartialEq>(list: &[T], value: &T) -> bool {
            list.is_empty() || list.contains(value)
        }
        self.from.is_none_or(|from| event.end_time >= from)
            && self.until.is_none_or(|until| event.begin_time < until)
            && event.confidence >= self.min_confidence
            && among(&self.regions, &event.region)
            && among(&self.cameras, &event.camera)
            && among(&self.edges, &event.edge)
            && among(&self.kinds, &event.kind())
            && (self.classes.is_empty() || self.classes.iter().any(|class| **class == *event.object_class))
            && (self.colours.is_empty()
                || event.attributes.colours.iter().any(|told| self.colours.contains(&told.colour)))
            && self.area.as_ref().is_none_or(|area| event.location.is_some_and(|at| area.contains(at)))
            && self.plate.as_ref().is_none_or(|pattern| event.plate.as_ref().is_some_and(|p| pattern.matches(&p.text)))
            && (self.rules.is_empty() || event.finding.as_ref().is_some_and(|found| self.rules.contains(&found.rule)))
            && (self.zones.is_empty()
                || event.finding.as_ref().and_then(|found| found.zone.as_ref()).is_some_and(|z| self.zones.contains(z)))
    }
}

/// The filter from the wire; a missing message is the empty filter.
pub fn filter_from_wire(wire: Option<v1::EventFilter>) -> Result<Filter, WireError> {
    let wire = wire.unwrap_or_default();
    check_lengths(&wire)?;
    // Not `wire.kinds()`: that skips values it does not know, and the filter would silently match more than was meant.
    let kinds =
        wire.kinds.iter().map(|kind| kind_from_wire("kinds", v1::EventKind::try_from(*kind).unwrap_or_default()));
    let kinds = kinds.collect::<Result<_, _>>()?;
    let from = wire.from.map(|t| time_from_wire("from", t)).transpose()?;
    let until = wire.until.map(|t| time_from_wire("until", t)).transpose()?;
    if let (Some(from), Some(until)) = (from, until)
        && until <= from
    {
        return Err(WireError::new("until", "is not after from"));
    }
    Ok(Filter {
        from,
        until,
        regions: parse_all("region_ids", &wire.region_ids)?,
        cameras: parse_all("camera_ids", &wire.camera_ids)?,
        edges: parse_all("edge_ids", &wire.edge_ids)?,
        classes: wire
            .object_classes
            .into_iter()
            .map(|class| bounded_text("object_classes", class, MAX_CLASS_BYTES))
            .collect::<Result<_, _>>()?,
        kinds,
        colours: parse_all("colours", &wire.colours)?,
        area: wire.area.map(polygon_from_wire).transpose()?,
        min_confidence: share("min_confidence", wire.min_confidence)?,
        plate: plate_from_wire(&wire.plate, wire.plate_match)?,
        rules: parse_all("rule_ids", &wire.rule_ids)?,
        zones: parse_all("zone_ids", &wire.zone_ids)?,
    })
}

/// The filter for the wire.
pub fn filter_to_wire(filter: &Filter) -> v1::EventFilter {
    fn texts<T: ToString>(list: &[T]) -> Vec<String> {
        list.iter().map(ToString::to_string).collect()
    }
    let (plate, plate_match) = plate_to_wire(filter.plate.as_ref());
    v1::EventFilter {
        from: filter.from.map(time_to_wire),
        until: filter.until.map(time_to_wire),
        region_ids: texts(&filter.regions),
        camera_ids: texts(&filter.cameras),
        edge_ids: texts(&filter.edges),
        object_classes: filter.classes.clone(),
        kinds: filter.kinds.iter().map(|kind| kind_to_wire(*kind).into()).collect(),
        colours: texts(&filter.colours),
        area: filter
            .area
            .as_ref()
            .map(|area| v1::Polygon { points: area.points().iter().map(|p| geo_to_wire(*p)).collect() }),
        min_confidence: filter.min_confidence,
        plate,
        plate_match,
        rule_ids: texts(&filter.rules),
        zone_ids: texts(&filter.zones),
    }
}

fn check_lengths(wire: &v1::EventFilter) -> Result<(), WireError> {
    let lengths = [
        wire.region_ids.len(),
        wire.camera_ids.len(),
        wire.edge_ids.len(),
        wire.object_classes.len(),
        wire.kinds.len(),
        wire.colours.len(),
        wire.rule_ids.len(),
        wire.zone_ids.len(),
    ];
    for ((field, most), length) in MAX_LIST.into_iter().zip(lengths) {
        if length > most {
            return Err(WireError::new(field, format!("has {length} entries; at most {most} are taken")));
        }
    }
    Ok(())
}

fn parse_all<T>(field: &str, texts: &[String]) -> Result<Vec<T>, WireError>
where
    T: std::str::FromStr,
    T::Err: ToString,
{
    texts.iter().map(|text| text.parse().map_err(|e: T::Err| WireError::new(field, e))).collect()
}

fn polygon_from_wire(wire: v1::Polygon) -> Result<Polygon, WireError> {
    let count = wire.points.len();
    let points = wire.points.into_iter().map(|p| geo_from_wire("area.points", p)).collect::<Result<_, _>>()?;
    Polygon::new(points).ok_or_else(|| WireError::new("area.points", format!("needs 3 to 256 points, has {count}")))
}

#[cfg(test)]
mod tests {
    use super::super::plate::PlateMatch;
    use super::*;

    #[test]
    fn a_filter_survives_the_wire() {
        let filter = Filter {
            from: Some(Timestamp::from_micros(1_000_000)),
            until: Some(Timestamp::from_micros(2_000_000)),
            cameras: vec![CameraId::new("gate").unwrap()],
            kinds: vec![EventKind::Object],
            colours: vec![Colour::Red],
            min_confidence: 0.5,
            plate: Some(PlatePattern::new("AB1X", PlateMatch::OneWrong).unwrap()),
            rules: vec![RuleId::new("gate").unwrap()],
            zones: vec![ZoneId::new("line").unwrap()],
            ..Filter::default()
        };
        assert_eq!(filter_from_wire(Some(filter_to_wire(&filter))).unwrap(), filter);
    }

    #[test]
    fn hostile_filters_are_refused_by_the_name_of_the_field() {
        let cases: Vec<(v1::EventFilter, &str)> = vec![
            (v1::EventFilter { camera_ids: vec!["c".into(); 1001], ..Default::default() }, "camera_ids"),
            (v1::EventFilter { camera_ids: vec!["' OR 1".into()], ..Default::default() }, "camera_ids"),
            (v1::EventFilter { min_confidence: f32::NAN, ..Default::default() }, "min_confidence"),
            (v1::EventFilter { plate: "%".into(), ..Default::default() }, "plate"),
            (v1::EventFilter { plate: "AB".into(), plate_match: 99, ..Default::default() }, "plate_match"),
            (v1::EventFilter { kinds: vec![99], ..Default::default() }, "kinds"),
            (v1::EventFilter { colours: vec!["mauve".into()], ..Default::default() }, "colours"),
            (v1::EventFilter { rule_ids: vec!["r".into(); 101], ..Default::default() }, "rule_ids"),
            (v1::EventFilter { zone_ids: vec!["a b".into()], ..Default::default() }, "zone_ids"),
            (v1::EventFilter { area: Some(v1::Polygon::default()), ..Default::default() }, "area"),
        ];
        for (wire, field) in cases {
            let err = filter_from_wire(Some(wire)).unwrap_err();
            assert!(err.field.starts_with(field), "{err}");
        }
    }
}
