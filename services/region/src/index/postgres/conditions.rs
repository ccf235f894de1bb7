//! A filter in the engine's terms: numbers for names, bits for colours.

use tokio_postgres::types::ToSql;
use vigil_base::event::EventKind;
use vigil_base::{CameraId, EdgeId, GeoPoint, Polygon, RuleId, Timestamp, ZoneId};
use vigil_proto::convert::{Filter, PlatePattern};

use super::names::NameKind;
use super::plates::plate_regex;
use super::readers::Snapshot;
use super::values::At;
use crate::index::keys::{colour_bits, kind_number};

/// Whether a row of `events` meets the conditions, but for the area. Their parameters are the first of each statement.
pub(super) const MATCHES: &str = "(($1::timestamptz IS NULL OR end_time >= $1)
    AND ($2::timestamptz IS NULL OR begin_time < $2)
    AND ($3::int4[] IS NULL OR camera = ANY($3))
    AND ($4::int4[] IS NULL OR class = ANY($4))
    AND ($5::int2[] IS NULL OR kind = ANY($5))
    AND ($6::int4[] IS NULL OR edge = ANY($6))
    AND confidence >= $7::float4
    AND ($8::int4 = 0 OR colours & $8 <> 0)
    AND ($9::text IS NULL OR plate ~ $9)
    AND ($10::int4[] IS NULL OR rule = ANY($10))
    AND ($11::int4[] IS NULL OR zone = ANY($11)))";
/// The same for conditions that are counted hourly: by columns that the index of long events has.
pub(super) const COUNTED: &str = "(($1::timestamptz IS NULL OR end_time >= $1)
    AND ($2::timestamptz IS NULL OR begin_time < $2)
    AND ($3::int4[] IS NULL OR camera = ANY($3))
    AND ($4::int4[] IS NULL OR class = ANY($4))
    AND ($5::int2[] IS NULL OR kind = ANY($5))
    AND ($11::int4[] IS NULL OR zone = ANY($11))
    AND $6::int4[] IS NULL AND $7::float4 <= 0 AND $8::int4 = 0 AND $9::text IS NULL AND $10::int4[] IS NULL)";
/// Number of the first parameter after those of [`MATCHES`].
pub(super) const FIRST_OWN: usize = 12;

/// The conditions of a filter.
#[derive(Debug)]
pub(super) struct Conditions {
    pub(super) from: Option<Timestamp>,
    pub(super) until: Option<Timestamp>,
    pub(super) cameras: Option<Vec<i32>>,
    pub(super) classes: Option<Vec<i32>>,
    pub(super) kinds: Option<Vec<i16>>,
    edges: Option<Vec<i32>>,
    min_confidence: f32,
    colours: i32,
    pub(super) area: Option<Polygon>,
    /// The plates that are meant, and the same as a regular expression.
    pub(super) plate: Option<PlatePattern>,
    plate_regex: Option<String>,
    rules: Option<Vec<i32>>,
    pub(super) zones: Option<Vec<i32>>,
    /// Only events that rules made can match.
    pub(super) of_rules: bool,
    from_at: Option<At>,
    until_at: Option<At>,
}

impl Conditions {
    /// The filter's conditions; none when no event of this index can meet them. The region was checked by the caller.
    pub(super) async fn new(snapshot: &Snapshot, filter: &Filter) -> Result<Option<Self>, tokio_postgres::Error> {
        let named = async |kind, names: Vec<&str>| {
            if names.is_empty() {
                return Ok(None);
            }
            snapshot.shared.names.numbers(&snapshot.connection, kind, &names).await.map(Some)
        };
        let mut cameras = named(NameKind::Camera, filter.cameras.iter().map(CameraId::as_str).collect()).await?;
        if let Some(area) = &filter.area {
            let inside = cameras_near(snapshot, area).await?;
            cameras = Some(match cameras {
                Some(named) => named.into_iter().filter(|camera| inside.binary_search(camera).is_ok()).collect(),
                None => inside,
            });
        }
        let conditions = Self {
            from: filter.from,
            until: filter.until,
            cameras,
            classes: named(NameKind::Class, filter.classes.iter().map(String::as_str).collect()).await?,
            kinds: (!filter.kinds.is_empty())
                .then(|| filter.kinds.iter().map(|kind| kind_number(*kind) as i16).collect()),
            edges: named(NameKind::Edge, filter.edges.iter().map(EdgeId::as_str).collect()).await?,
            min_confidence: filter.min_confidence,
            colours: colour_bits(filter.colours.iter().copied()) as i32,
            area: filter.area.clone(),
            plate: filter.plate.clone(),
            plate_regex: filter.plate.as_ref().map(plate_regex),
            rules: named(NameKind::Rule, filter.rules.iter().map(RuleId::as_str).collect()).await?,
            zones: named(NameKind::Zone, filter.zones.iter().map(ZoneId::as_str).collect()).await?,
            of_rules: !filter.rules.is_empty()
                || !filter.zones.is_empty()
                || (!filter.kinds.is_empty() && !filter.kinds.contains(&EventKind::Object)),
            from_at: filter.from.map(At),
            until_at: filter.until.map(At),
        };
        let named = [&conditions.cameras, &conditions.classes, &conditions.edges, &conditions.rules, &conditions.zones];
        let impossible = named.into_iter().flatten().any(Vec::is_empty);
        Ok((!impossible).then_some(conditions))
    }

    /// The parameters of [`MATCHES`], followed by a statement's own.
    pub(super) fn parameters<'a>(&'a self, own: &[&'a (dyn ToSql + Sync)]) -> Vec<&'a (dyn ToSql + Sync)> {
        let conditions: [&(dyn ToSql + Sync); FIRST_OWN - 1] = [
            &self.from_at,
            &self.until_at,
            &self.cameras,
            &self.classes,
            &self.kinds,
            &self.edges,
            &self.min_confidence,
            &self.colours,
            &self.plate_regex,
            &self.rules,
            &self.zones,
        ];
        conditions.into_iter().chain(own.iter().copied()).collect()
    }

    /// Whether an event at this place can match.
    pub(super) fn includes(&self, location: Option<GeoPoint>) -> bool {
        self.area.as_ref().is_none_or(|area| location.is_some_and(|at| area.contains(at)))
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
}

/// Cameras with events that may lie in `area`, in order: the rectangle of their events touches that of the area.
async fn cameras_near(snapshot: &Snapshot, area: &Polygon) -> Result<Vec<i32>, tokio_postgres::Error> {
    let (GeoPoint { latitude: south, longitude: west }, GeoPoint { latitude: north, longitude: east }) = area.bounds();
    let sql =
        "SELECT camera FROM extents WHERE north >= $1 AND south <= $2 AND east >= $3 AND west <= $4 ORDER BY camera";
    let rows = snapshot.connection.query(sql, &[&south, &north, &west, &east]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
