//! Counts by hour, class, camera and zone: from the counts that are kept, where they answer, and by looking at events where
//! not.
//!
//! A count over [from, until) takes whole hours from `hourly`, and of all cameras together whole tens of minutes. Events that begin
//! in what is left at either end, and those that began before `from` and touch it, are looked at. Where an area is asked for, the server groups by place,
//! too, and which places lie inside is decided here, by the same rule as everywhere.

use std::collections::BTreeMap;
use std::ops::Range;

use futures::future::try_join_all;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use vigil_base::{GeoPoint, Timestamp};

use super::conditions::{COUNTED, Conditions, FIRST_OWN, MATCHES};
use super::failure::Failure;
use super::hourly::{ALL_CAMERAS, ALL_CAMERAS_FINE, FINE_US, NO_ZONE};
use super::names::NameKind;
use super::readers::Snapshot;
use super::values::At;
use super::walk::before;
use crate::index::keys::{FIRST_SPAN_US, HOUR_US, LAST_SPAN, longest_of_span, whole};
use crate::index::{CountGroup, CountQuery, Counts, GroupKey, IndexError};

/// Rows that one count looks at: about three seconds, for conditions for which no counts are kept.
const MAX_WORK: usize = 5_000_000;

/// Numbers of what a group has in common; none for what was not grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    hour: Option<Timestamp>,
    class: Option<i32>,
    camera: Option<i32>,
    zone: Option<i32>,
}

impl Group {
    /// The first four columns of a row.
    fn read(row: &Row) -> Self {
        Self {
            hour: row.get::<_, Option<At>>(0).map(|at| at.0),
            class: row.get(1),
            camera: row.get(2),
            zone: row.get(3),
        }
    }
}

/// Events that are looked at: those that begin within a time, of one span or of all.
#[derive(Debug, Clone, Copy)]
struct Piece {
    from: Timestamp,
    until: Timestamp,
    span: Option<i16>,
}

/// Counts that are kept.
struct Kept {
    /// Of these cameras; none of each.
    cameras: Option<Vec<i32>>,
    /// The hour of a row, as an expression.
    hour: &'static str,
    /// In microseconds.
    time: Range<i64>,
}

/// The counts of a query.
pub(super) async fn count(snapshot: Snapshot, query: CountQuery) -> Result<Counts, Failure> {
    let Some(conditions) = Conditions::new(&snapshot, &query.filter).await? else {
        return Ok(Counts { groups: Vec::new(), truncated: false });
    };
    let from = conditions.from.unwrap_or(Timestamp::MIN);
    let until = conditions.until.unwrap_or(Timestamp::MAX);
    let mut counting = Counting { snapshot: &snapshot, query: &query, groups: BTreeMap::new(), looked_at: 0 };
    let mut pieces = Vec::new();
    let mut looked_at_until = until;
    if conditions.from.is_some() && conditions.are_counted_hourly() {
        let kept = counting.add_kept(&conditions, from, until).await?;
        if !kept.is_empty() {
            pieces.push(Piece { from: Timestamp::from_micros(kept.end), until, span: None });
            looked_at_until = Timestamp::from_micros(kept.start);
        }
    }
    let near = before(from, FIRST_SPAN_US);
    pieces.push(Piece { from: near, until: looked_at_until, span: None });
    if conditions.from.is_some() {
        let long = |span| Piece { from: before(from, longest_of_span(span)), until: near, span: Some(span as i16) };
        pieces.extend((1..=LAST_SPAN).map(long));
    }
    counting.add_pieces(&conditions, &pieces).await?;
    let groups = named(&snapshot, counting.groups).await?;
    Ok(Counts::in_order(groups, &query.group_by, query.max_groups))
}

struct Counting<'s> {
    snapshot: &'s Snapshot,
    query: &'s CountQuery,
    groups: BTreeMap<Group, u64>,
    looked_at: usize,
}

impl Counting<'_> {
    fn is_by(&self, key: GroupKey) -> bool {
        self.query.group_by.contains(&key)
    }

    fn spend(&mut self, rows: i64) -> Result<(), IndexError> {
        self.looked_at = self.looked_at.saturating_add(usize::try_from(rows).unwrap_or(0));
        if self.looked_at > MAX_WORK { Err(IndexError::TooMuchWork { limit: MAX_WORK }) } else { Ok(()) }
    }

    /// Adds the counts that are kept of whole hours and, of all cameras together, of the ten minutes before and after them; the
    /// time that these are about, in microseconds.
    async fn add_kept(
        &mut self,
        conditions: &Conditions,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Range<i64>, Failure> {
        let whole = |length_us| whole(from.as_micros(), until.as_micros(), length_us);
        let is_of_all = conditions.cameras.is_none() && !self.is_by(GroupKey::Camera);
        let hours = whole(HOUR_US);
        let kept = if is_of_all { whole(FINE_US) } else { hours.clone() };
        let (fine_before, fine_after) =
            if hours.is_empty() { (kept.clone(), 0..0) } else { (kept.start..hours.start, hours.end..kept.end) };
        let of_cameras = if is_of_all { Some(vec![ALL_CAMERAS]) } else { conditions.cameras.clone() };
        let hours = Kept { cameras: of_cameras, hour: "hour", time: hours };
        let fine = |time| Kept { cameras: Some(vec![ALL_CAMERAS_FINE]), hour: "date_trunc('hour', hour, 'UTC')", time };
        let sums = [hours].into_iter().chain([fine_before, fine_after].map(fine).into_iter().filter(|_| is_of_all));
        let asked = sums.filter(|kept| !kept.time.is_empty()).map(|kept| self.sums(conditions, kept));
        for row in try_join_all(asked).await?.into_iter().flatten() {
            self.spend(row.get(5))?;
            *self.groups.entry(Group::read(&row)).or_default() += row.get::<_, i64>(4).unsigned_abs();
        }
        Ok(kept)
    }

    async fn sums(&self, conditions: &Conditions, kept: Kept) -> Result<Vec<Row>, tokio_postgres::Error> {
        let Kept { cameras, hour, time } = kept;
        // The sums over all cameras stand under numbers that no camera has, below all others.
        let which = if cameras.is_some() { "camera = ANY($4)" } else { "($4::int4[] IS NULL AND camera > 0)" };
        let sql = format!(
            "SELECT CASE WHEN $1 THEN {hour} END, CASE WHEN $2 THEN class END,
                    CASE WHEN $3 THEN camera END, CASE WHEN $10 THEN zone END, sum(events)::int8, count(*)
             FROM (SELECT hour, class, camera, zone, events FROM hourly
                   WHERE {which} AND hour >= $5 AND hour < $6
                         AND ($7::int4[] IS NULL OR class = ANY($7)) AND ($8::int2[] IS NULL OR kind = ANY($8))
                         AND ($11::int4[] IS NULL OR zone = ANY($11))
                   LIMIT $9) AS kept
             GROUP BY 1, 2, 3, 4"
        );
        let (by_hour, by_class) = (self.is_by(GroupKey::Hour), self.is_by(GroupKey::Class));
        let (by_camera, by_zone) = (self.is_by(GroupKey::Camera), self.is_by(GroupKey::Zone));
        let (first, last) = (At::micros(time.start), At::micros(time.end));
        let limit = MAX_WORK as i64 + 1;
        let parameters: [&(dyn ToSql + Sync); 11] = [
            &by_hour,
            &by_class,
            &by_camera,
            &cameras,
            &first,
            &last,
            &conditions.classes,
            &conditions.kinds,
            &limit,
            &by_zone,
            &conditions.zones,
        ];
        self.snapshot.connection.query(&sql, &parameters).await
    }

    /// Adds matching events of these pieces.
    async fn add_pieces(&mut self, conditions: &Conditions, pieces: &[Piece]) -> Result<(), Failure> {
        let pieces = pieces.iter().filter(|piece| piece.from < piece.until);
        let (of_spans, of_all): (Vec<Piece>, Vec<Piece>) = pieces.partition(|piece| piece.span.is_some());
        // What a statement over a partition a day costs before it finds a row, it costs once, but where each goes to other nodes.
        let together = if self.snapshot.shared.is_spread() { 1 } else { of_spans.len() + of_all.len() }.max(1);
        let asked = of_all.chunks(together).chain(of_spans.chunks(together));
        let answers: Vec<Vec<Row>> = try_join_all(asked.map(|pieces| self.ask(conditions, pieces))).await?;
        for row in answers.into_iter().flatten() {
            self.spend(row.get(7))?;
            let place = row.get::<_, Option<f64>>(4).zip(row.get::<_, Option<f64>>(5));
            let place = place.map(|(latitude, longitude)| GeoPoint { latitude, longitude });
            let events = row.get::<_, i64>(6).unsigned_abs();
            if events > 0 && conditions.includes(place) {
                *self.groups.entry(Group::read(&row)).or_default() += events;
            }
        }
        Ok(())
    }

    /// The groups of pieces that are all of one span each, or none is.
    async fn ask(&self, conditions: &Conditions, pieces: &[Piece]) -> Result<Vec<Row>, tokio_postgres::Error> {
        let [hour, class, camera, zone, place] = [0, 1, 2, 3, 4].map(|own| FIRST_OWN + own);
        let matches = if conditions.are_counted_hourly() { COUNTED } else { MATCHES };
        let sql = format!(
            "SELECT CASE WHEN ${hour} THEN date_trunc('hour', begin_time, 'UTC') END, CASE WHEN ${class} THEN class END,
                    CASE WHEN ${camera} THEN camera END, CASE WHEN ${zone} THEN coalesce(zone, {NO_ZONE}) END,
                    CASE WHEN ${place} THEN latitude END, CASE WHEN ${place} THEN longitude END,
                    count(*) FILTER (WHERE {matches}), count(*)
             FROM ({}) AS looked_at
             GROUP BY 1, 2, 3, 4, 5, 6",
            rows_of(pieces, conditions, FIRST_OWN + 5)
        );
        let (by_hour, by_class) = (self.is_by(GroupKey::Hour), self.is_by(GroupKey::Class));
        let (by_camera, by_zone) = (self.is_by(GroupKey::Camera), self.is_by(GroupKey::Zone));
        let by_place = conditions.area.is_some();
        let froms: Vec<At> = pieces.iter().map(|piece| At(piece.from)).collect();
        let untils: Vec<At> = pieces.iter().map(|piece| At(piece.until)).collect();
        let spans: Vec<i16> = pieces.iter().filter_map(|piece| piece.span).collect();
        let limit = MAX_WORK as i64 + 1;
        let own: [&(dyn ToSql + Sync); 8] =
            [&by_hour, &by_class, &by_camera, &by_zone, &by_place, &froms, &untils, &limit];
        let mut parameters = conditions.parameters(&own);
        let (first, last) = (froms.iter().min().copied(), untils.iter().max().copied());
        if !spans.is_empty() {
            parameters.push(&spans);
        }
        if pieces.len() > 1 {
            parameters.extend([&first as &(dyn ToSql + Sync), &last]);
        }
        self.snapshot.connection.query(&sql, &parameters).await
    }
}

/// A statement that gives the rows of pieces. Its parameters from number `own` on: arrays of their starts and ends, the most rows,
/// an array of their spans where they have any, and of several pieces the start of the first and the end of the last.
fn rows_of(pieces: &[Piece], conditions: &Conditions, own: usize) -> String {
    let is_of_span = pieces.iter().all(|piece| piece.span.is_some());
    let of_cameras = if conditions.cameras.is_some() { "AND camera = ANY($3)" } else { "" };
    let [froms, untils, limit, spans] = [0, 1, 2, 3].map(|place| own + place);
    let (froms, untils, spans) =
        (format!("${froms}::timestamptz[]"), format!("${untils}::timestamptz[]"), format!("${spans}::int2[]"));
    let columns = if conditions.are_counted_hourly() {
        "begin_time, end_time, camera, class, kind, zone, NULL::float8 AS latitude, NULL::float8 AS longitude"
    } else {
        "begin_time, end_time, camera, class, kind, edge, confidence, colours, plate, rule, zone, latitude, longitude"
    };
    let rows = |from: &str, until: &str, span: &str| {
        let of_span =
            if is_of_span { format!("AND span > 0 AND span = {span} AND end_time >= $1") } else { String::new() };
        format!(
            "SELECT {columns}
             FROM events WHERE begin_time >= {from} AND begin_time < {until} {of_cameras} {of_span}"
        )
    };
    if pieces.len() == 1 {
        let [from, until, span] = [&froms, &untils, &spans].map(|array| format!("({array})[1]"));
        return format!("{} LIMIT ${limit}", rows(&from, &until, &span));
    }
    let [first, last] = [3, 4].map(|place| own + place + usize::from(is_of_span));
    let arrays = if is_of_span { format!("{froms}, {untils}, {spans}") } else { format!("{froms}, {untils}") };
    let named = if is_of_span { "first, last, span" } else { "first, last" };
    // The time of all of them leaves out partitions before any is opened.
    format!(
        "SELECT of_piece.* FROM unnest({arrays}) AS piece ({named}) CROSS JOIN LATERAL (
             {} AND begin_time >= ${first} AND begin_time < ${last} LIMIT ${limit}) AS of_piece LIMIT ${limit}",
        rows("piece.first", "piece.last", "piece.span")
    )
}

/// The groups with texts for numbers.
async fn named(snapshot: &Snapshot, groups: BTreeMap<Group, u64>) -> Result<Vec<CountGroup>, tokio_postgres::Error> {
    let mut told = Vec::with_capacity(groups.len());
    for (group, events) in groups {
        let name = async |kind, number: Option<i32>| match number {
            Some(number) => {
                snapshot.shared.names.name(&snapshot.connection, kind, number).await.map(|name| Some(name.to_string()))
            }
            None => Ok(None),
        };
        let class = name(NameKind::Class, group.class).await?;
        let camera = name(NameKind::Camera, group.camera).await?;
        let zone = match group.zone {
            Some(NO_ZONE) => Some(String::new()),
            zone => name(NameKind::Zone, zone).await?,
        };
        told.push(CountGroup { hour: group.hour, class, camera, zone, events });
    }
    Ok(told)
}
