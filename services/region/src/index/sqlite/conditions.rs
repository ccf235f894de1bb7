//! A filter in the engine's terms: numbers for names, bits for colours; and which index to walk for it.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use vigil_base::event::EventKind;
use vigil_base::{CameraId, EdgeId, GeoPoint, Polygon, RuleId, Timestamp, ZoneId};
use vigil_proto::convert::{Filter, PlatePattern};

use super::names::{NameKind, number_of};
use super::row::{EventRow, colour_bits, kind_number};
use super::walk::{Entry, Path, Paths};

/// Up to this many cameras are walked one by one and merged, however few events they have: a seek each.
const ALWAYS_MERGED: usize = 64;
/// More cameras are merged only when they are less than one in this many of all: else walking over all events, and
/// passing over the others, touches less.
const MERGED_SHARE: usize = 8;

/// The conditions of a filter. Built within the snapshot that it is then used on.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) from_us: Option<i64>,
    pub(super) until_us: Option<i64>,
    pub(super) cameras: Option<HashSet<i64>>,
    pub(super) classes: Option<HashSet<i64>>,
    pub(super) kinds: Option<HashSet<i64>>,
    edges: Option<HashSet<i64>>,
    colours: i64,
    area: Option<Polygon>,
    min_confidence: f32,
    plate: Option<PlatePattern>,
    rules: Option<HashSet<i64>>,
    pub(super) zones: Option<HashSet<i64>>,
    /// Only events that rules made can match.
    of_rules: bool,
}

impl Conditions {
    /// The filter's conditions; none when no event of this index can meet them. The region was checked by the caller.
    pub(super) fn new(connection: &Connection, filter: &Filter) -> rusqlite::Result<Option<Self>> {
        let numbers = |kind, names: Vec<&str>| numbers(connection, kind, &names);
        let mut cameras = numbers(NameKind::Camera, filter.cameras.iter().map(CameraId::as_str).collect())?;
        if let Some(area) = &filter.area {
            let inside = cameras_near(connection, area)?;
            cameras = Some(match cameras {
                Some(named) => named.intersection(&inside).copied().collect(),
                None => inside,
            });
        }
        let conditions = Self {
            from_us: filter.from.map(Timestamp::as_micros),
            until_us: filter.until.map(Timestamp::as_micros),
            cameras,
            classes: numbers(NameKind::Class, filter.classes.iter().map(String::as_str).collect())?,
            kinds: (!filter.kinds.is_empty()).then(|| filter.kinds.iter().map(|kind| kind_number(*kind)).collect()),
            edges: numbers(NameKind::Edge, filter.edges.iter().map(EdgeId::as_str).collect())?,
            colours: colour_bits(filter.colours.iter().copied()),
            area: filter.area.clone(),
            min_confidence: filter.min_confidence,
            plate: filter.plate.clone(),
            rules: numbers(NameKind::Rule, filter.rules.iter().map(RuleId::as_str).collect())?,
            zones: numbers(NameKind::Zone, filter.zones.iter().map(ZoneId::as_str).collect())?,
            of_rules: !filter.rules.is_empty()
                || !filter.zones.is_empty()
                || (!filter.kinds.is_empty() && !filter.kinds.contains(&EventKind::Object)),
        };
        let named = [&conditions.cameras, &conditions.classes, &conditions.edges, &conditions.rules, &conditions.zones];
        let impossible = named.into_iter().flatten().any(HashSet::is_empty);
        Ok((!impossible).then_some(conditions))
    }

    /// Whether the event of an index entry may match; its row decides.
    pub(super) fn may_match(&self, entry: &Entry) -> bool {
        entry.may_match
            && among(self.cameras.as_ref(), entry.camera)
            && among(self.classes.as_ref(), entry.class)
            && self.from_us.is_none_or(|from| entry.end_us.is_none_or(|end| end >= from))
    }

    /// Whether an index entry that may match does, without a look at its row: the event is known to touch the time, and
    /// only its time, camera and class are asked for.
    pub(super) fn is_met_by(&self, entry: &Entry) -> bool {
        self.kinds.is_none()
            && self.zones.is_none()
            && self.are_counted_hourly()
            && self.from_us.is_none_or(|from| entry.key.begin_us >= from || entry.end_us.is_some_and(|end| end >= from))
            && self.until_us.is_none_or(|until| entry.key.begin_us < until)
    }

    /// Whether the event matches.
    pub(super) fn matches(&self, row: &EventRow) -> bool {
        self.from_us.is_none_or(|from| row.end_us >= from)
            && self.until_us.is_none_or(|until| row.key.begin_us < until)
            && among(self.cameras.as_ref(), row.camera)
            && among(self.classes.as_ref(), row.class)
            && among(self.kinds.as_ref(), row.kind)
            && among(self.edges.as_ref(), row.edge)
            && row.confidence >= self.min_confidence
            && (self.colours == 0 || row.colours & self.colours != 0)
            && self.area.as_ref().is_none_or(|area| row.location.is_some_and(|at| area.contains(at)))
            && self.plate.as_ref().is_none_or(|pattern| row.plate.as_ref().is_some_and(|plate| pattern.matches(plate)))
            && self.rules.as_ref().is_none_or(|rules| row.rule.is_some_and(|rule| rules.contains(&rule)))
            && self.zones.as_ref().is_none_or(|zones| row.zone.is_some_and(|zone| zones.contains(&zone)))
    }

    /// Whether the kept hourly counts answer a count by these conditions.
    pub(super) fn are_counted_hourly(&self) -> bool {
        self.edges.is_none()
            && self.colours == 0
            && self.area.is_none()
            && self.plate.is_none()
            && self.rules.is_none()
            && self.min_confidence <= 0.0
    }

    /// The indexes to walk.
    pub(super) fn paths(&self, connection: &Connection) -> rusqlite::Result<Paths> {
        Ok(Paths { plates: self.plate.clone(), otherwise: self.paths_but_plates(connection)? })
    }

    fn paths_but_plates(&self, connection: &Connection) -> rusqlite::Result<Vec<Path>> {
        if let Some(cameras) = &self.cameras
            && (cameras.len() <= ALWAYS_MERGED || cameras.len() * MERGED_SHARE <= camera_count(connection)?)
        {
            return Ok(cameras.iter().map(|camera| Path::Camera(*camera)).collect());
        }
        Ok(vec![match &self.plate {
            Some(pattern) => Path::Plate(pattern.clone()),
            None if self.of_rules => Path::Rules,
            None => Path::Time,
        }])
    }
}

fn among(set: Option<&HashSet<i64>>, number: i64) -> bool {
    set.is_none_or(|set| set.contains(&number))
}

/// The numbers of those names that are known; none where nothing is named.
fn numbers(connection: &Connection, kind: NameKind, names: &[&str]) -> rusqlite::Result<Option<HashSet<i64>>> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut known = HashSet::with_capacity(names.len());
    for name in names {
        known.extend(number_of(connection, kind, name)?);
    }
    Ok(Some(known))
}

fn camera_count(connection: &Connection) -> rusqlite::Result<usize> {
    let sql = "SELECT ifnull(max(number), 0) FROM names WHERE kind = ?1";
    let count: i64 = connection.prepare_cached(sql)?.query_row([NameKind::Camera as i64], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Cameras with events that may lie in `area`: the rectangle of their events touches that of the area.
fn cameras_near(connection: &Connection, area: &Polygon) -> rusqlite::Result<HashSet<i64>> {
    let (GeoPoint { latitude: south, longitude: west }, GeoPoint { latitude: north, longitude: east }) = area.bounds();
    let sql = "SELECT camera FROM extents WHERE north >= ?1 AND south <= ?2 AND east >= ?3 AND west <= ?4";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(params![south, north, west, east], |row| row.get(0))?.collect()
}
