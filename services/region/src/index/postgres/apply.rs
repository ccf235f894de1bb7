//! Storing revisions inside the writer's transaction.
//!
//! What is stored of the events in a group is read first, so that each revision's outcome and commit number are known before
//! anything is written; there is only one writer. New events are then copied straight into their days. Later revisions of
//! events that are there go by a staging table and one INSERT that replaces only what is older.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use uuid::Uuid;
use vigil_base::{Event, EventId, Timestamp};

use super::Shared;
use super::connect::Connection;
use super::days::{self, day_of};
use super::extents::Extents;
use super::failure::{Failure, damaged};
use super::names::{Giving, NameKind};
use super::plates::note_plates;
use super::rows::{COLUMNS, NewRow, Numbers, copy_in};
use super::values::At;
use crate::index::keys::{HOUR_US, begin_range, id_carries_begin, kind_number};
use crate::index::tail::Committed;
use crate::index::{CommitSeq, NewRevision, StoreOutcome};

/// The camera number under which the sums over all cameras are kept; no camera has it.
pub(super) const ALL_CAMERAS: i32 = 0;
/// The zone number under which events without a zone are counted; no zone has it.
pub(super) const NO_ZONE: i32 = 0;
/// Makes the staging table of a connection.
pub(super) const MAKE_STAGING: &str = "CREATE TEMP TABLE grown (LIKE events) ON COMMIT DELETE ROWS";

/// Which counter an event is counted under; `hour` since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct HourlyKey {
    pub(super) camera: i32,
    pub(super) hour: i64,
    pub(super) class: i32,
    pub(super) kind: i16,
    /// 0 where it has none.
    pub(super) zone: i32,
}

/// Changes of the counts, summed up over a transaction.
#[derive(Debug, Default)]
pub(super) struct CountChanges {
    hourly: BTreeMap<HourlyKey, i64>,
    pub(super) events: i64,
}

impl CountChanges {
    pub(super) fn add(&mut self, key: HourlyKey, events: i64) {
        *self.hourly.entry(key).or_default() += events;
        *self.hourly.entry(HourlyKey { camera: ALL_CAMERAS, ..key }).or_default() += events;
        self.events += events;
    }

    /// Writes the hourly counts.
    pub(super) async fn store(&self, connection: &Connection) -> Result<(), tokio_postgres::Error> {
        let changed: Vec<_> = self.hourly.iter().filter(|(_, events)| **events != 0).collect();
        if changed.is_empty() {
            return Ok(());
        }
        let cameras: Vec<i32> = changed.iter().map(|(key, _)| key.camera).collect();
        let hours: Vec<At> = changed.iter().map(|(key, _)| At::micros(key.hour * HOUR_US)).collect();
        let classes: Vec<i32> = changed.iter().map(|(key, _)| key.class).collect();
        let kinds: Vec<i16> = changed.iter().map(|(key, _)| key.kind).collect();
        let zones: Vec<i32> = changed.iter().map(|(key, _)| key.zone).collect();
        let events: Vec<i64> = changed.iter().map(|(_, events)| **events).collect();
        let sql = "INSERT INTO hourly (camera, hour, class, kind, zone, events)
                   SELECT * FROM unnest($1::int4[], $2::timestamptz[], $3::int4[], $4::int2[], $5::int4[], $6::int8[])
                   ON CONFLICT (camera, hour, class, kind, zone) DO UPDATE SET events = hourly.events + excluded.events";
        connection.execute(sql, &[&cameras, &hours, &classes, &kinds, &zones, &events]).await?;
        if events.iter().any(|events| *events < 0) {
            let clean = "DELETE FROM hourly h USING unnest($1::int4[], $2::timestamptz[]) AS changed (camera, hour)
                         WHERE h.camera = changed.camera AND h.hour = changed.hour AND h.events <= 0";
            connection.execute(clean, &[&cameras, &hours]).await?;
        }
        Ok(())
    }
}

/// What the writer stands on.
pub(super) struct Writing<'w> {
    pub(super) connection: &'w Connection,
    pub(super) shared: &'w Shared,
    pub(super) extents: &'w mut Extents,
    pub(super) latest: CommitSeq,
    pub(super) commit_time: Option<Timestamp>,
    pub(super) now: Timestamp,
}

/// What is good once the transaction is committed.
pub(super) struct Stored<'n> {
    pub(super) outcomes: Vec<Vec<StoreOutcome>>,
    pub(super) commits: Vec<Committed>,
    pub(super) names: Giving<'n>,
    pub(super) days: BTreeSet<i64>,
}

/// Stores batches in the transaction that runs.
pub(super) async fn store<'w>(writing: &mut Writing<'w>, batches: &[Vec<NewRevision>]) -> Result<Stored<'w>, Failure> {
    let connection = writing.connection;
    let known = find_known(connection, batches).await?;
    let mut names = Giving::new(&writing.shared.names);
    let mut deciding = Deciding { latest: writing.latest, now: writing.now, known, ..Deciding::default() };
    let mut outcomes = Vec::with_capacity(batches.len());
    for batch in batches {
        let mut of_batch = Vec::with_capacity(batch.len());
        for revision in batch {
            let numbers = numbers_of(&mut names, connection, revision.event()).await?;
            of_batch.push(deciding.decide(revision, numbers));
        }
        outcomes.push(of_batch);
    }
    let Deciding { latest, rows, counts, commits, .. } = deciding;
    let begins = rows.iter().map(|row| day_of(row.revision.event().begin_time.as_micros()));
    let days = writing.shared.days.missing(begins, writing.now);
    for day in &days {
        days::make(connection, *day).await?;
    }
    if !commits.is_empty() {
        names.store(connection).await?;
        write_rows(connection, &rows, writing.now).await?;
        note_plates(connection, &rows).await?;
        counts.store(connection).await?;
        let places = rows.iter().filter_map(|row| Some((row.numbers.camera, row.revision.event().location?)));
        writing.extents.grow(connection, places).await?;
        note_commit(writing, latest, counts.events).await?;
    }
    Ok(Stored { outcomes, commits, names, days })
}

/// Moves the index to its newest commit, and notes where the clock was set back.
async fn note_commit(writing: &Writing<'_>, latest: CommitSeq, more_events: i64) -> Result<(), Failure> {
    let connection = writing.connection;
    if let Some(before) = writing.commit_time.filter(|before| writing.now < *before) {
        let sql = "INSERT INTO clock_steps (commit_seq, receive_time) VALUES ($1, $2)";
        connection.execute(sql, &[&(writing.latest.0 as i64), &At(before)]).await?;
    }
    let sql = "UPDATE index_state SET commit_seq = $1, commit_time = $2, events = events + $3 WHERE commit_seq = $4";
    let parameters = (latest.0 as i64, At(writing.now), more_events, writing.latest.0 as i64);
    let (new, time, more, old) = &parameters;
    if connection.execute(sql, &[new, time, more, old]).await? == 1 {
        return Ok(());
    }
    Err(damaged(connection.index_name(), std::io::Error::other("another program has written to index_state")))
}

async fn write_rows(connection: &Connection, rows: &[NewRow<'_>], now: Timestamp) -> Result<(), Failure> {
    if rows.iter().any(|row| row.is_new) {
        copy_in(connection, "events", rows.iter().filter(|row| row.is_new), now).await?;
    }
    if rows.iter().all(|row| row.is_new) {
        return Ok(());
    }
    let grown = copy_in(connection, "grown", rows.iter().filter(|row| !row.is_new), now).await?;
    let replaced = connection.execute(&replace_sql(), &[]).await?;
    if grown == replaced {
        return Ok(());
    }
    Err(damaged(connection.index_name(), std::io::Error::other("another program has written to events")))
}

/// A revision without a thumbnail keeps the one that is there.
fn replace_sql() -> String {
    let kept = ["camera", "begin_time", "event_id", "jpeg"];
    let set: Vec<String> = COLUMNS
        .split(", ")
        .filter(|column| !kept.contains(column))
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    format!(
        "INSERT INTO events ({COLUMNS}) SELECT {COLUMNS} FROM grown
         ON CONFLICT (camera, begin_time, event_id)
         DO UPDATE SET {}, jpeg = coalesce(excluded.jpeg, events.jpeg)
         WHERE events.revision < excluded.revision",
        set.join(", ")
    )
}

/// What is known of an event: its stored state, or that of a revision before in the same group.
#[derive(Debug, Clone)]
struct Known {
    camera: i32,
    begin_us: i64,
    revision: u32,
    hourly: HourlyKey,
    thumbnail_revision: u32,
    /// Its place among the rows to write, once it has one.
    row: Option<usize>,
}

/// What is stored of the events of a group. An id says within which millisecond its event began.
async fn find_known(connection: &Connection, batches: &[Vec<NewRevision>]) -> Result<HashMap<EventId, Known>, Failure> {
    let ids: BTreeSet<EventId> = batches.iter().flatten().map(|revision| revision.event().id).collect();
    let firsts: Vec<i64> = ids.iter().map(|id| begin_range(*id).0).collect();
    let (Some(first), Some(last)) = (firsts.iter().min(), firsts.iter().max()) else { return Ok(HashMap::new()) };
    let uuids: Vec<Uuid> = ids.iter().map(|id| Uuid::from_bytes(*id.as_bytes())).collect();
    let starts: Vec<At> = firsts.iter().map(|us| At::micros(*us)).collect();
    let ends: Vec<At> = firsts.iter().map(|us| At::micros(us + 999)).collect();
    let sql = "SELECT e.camera, e.begin_time, e.event_id, e.revision, e.class, e.kind, e.thumbnail_revision, e.zone
               FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[]) AS sought (id, first, last)
               JOIN events e ON e.event_id = sought.id AND e.begin_time >= sought.first AND e.begin_time <= sought.last
               WHERE e.begin_time >= $4 AND e.begin_time <= $5";
    let bounds = (At::micros(*first), At::micros(last + 999));
    let rows = connection.query(sql, &[&uuids, &starts, &ends, &bounds.0, &bounds.1]).await?;
    let known = rows.iter().map(|row| {
        let (camera, begin_us) = (row.get(0), row.get::<_, At>(1).0.as_micros());
        let hour = begin_us.div_euclid(HOUR_US);
        let known = Known {
            camera,
            begin_us,
            revision: row.get::<_, i64>(3) as u32,
            hourly: HourlyKey {
                camera,
                hour,
                class: row.get(4),
                kind: row.get(5),
                zone: row.get::<_, Option<i32>>(7).unwrap_or(NO_ZONE),
            },
            thumbnail_revision: row.get::<_, i64>(6) as u32,
            row: None,
        };
        let id = EventId::from_bytes(row.get::<_, Uuid>(2).into_bytes());
        id.map(|id| (id, known)).map_err(|e| damaged(connection.index_name(), e))
    });
    known.collect()
}

async fn numbers_of(
    names: &mut Giving<'_>,
    connection: &Connection,
    event: &Event,
) -> Result<Numbers, tokio_postgres::Error> {
    let (mut rule, mut zone) = (None, None);
    if let Some(finding) = &event.finding {
        rule = Some(names.number(connection, NameKind::Rule, finding.rule.as_str()).await?);
        if let Some(watched) = &finding.zone {
            zone = Some(names.number(connection, NameKind::Zone, watched.as_str()).await?);
        }
    }
    Ok(Numbers {
        camera: names.number(connection, NameKind::Camera, event.camera.as_str()).await?,
        edge: names.number(connection, NameKind::Edge, event.edge.as_str()).await?,
        class: names.number(connection, NameKind::Class, &event.object_class).await?,
        rule,
        zone,
    })
}

/// Deciding what becomes of each revision of a group, in their order.
#[derive(Default)]
struct Deciding<'r> {
    latest: CommitSeq,
    now: Timestamp,
    known: HashMap<EventId, Known>,
    rows: Vec<NewRow<'r>>,
    counts: CountChanges,
    commits: Vec<Committed>,
}

impl<'r> Deciding<'r> {
    fn decide(&mut self, revision: &'r NewRevision, numbers: Numbers) -> StoreOutcome {
        let event = revision.event();
        let begin_us = event.begin_time.as_micros();
        let known = self.known.get(&event.id).cloned();
        match &known {
            None if !id_carries_begin(event) => return rejected("its time part is not begin_time in milliseconds"),
            Some(known) if (known.camera, known.begin_us) != (numbers.camera, begin_us) => {
                return rejected("is known with another begin_time or camera_id; these never change");
            }
            Some(known) if known.revision >= event.revision => return StoreOutcome::Duplicate,
            _ => {}
        }
        let hour = begin_us.div_euclid(HOUR_US);
        let hourly = HourlyKey {
            camera: numbers.camera,
            hour,
            class: numbers.class,
            kind: kind_number(event.kind()) as i16,
            zone: numbers.zone.unwrap_or(NO_ZONE),
        };
        if let Some(before) = known.as_ref().map(|known| known.hourly).filter(|before| *before != hourly) {
            self.counts.add(before, -1);
            self.counts.add(hourly, 1);
        } else if known.is_none() {
            self.counts.add(hourly, 1);
        }
        self.latest = CommitSeq(self.latest.0 + 1);
        self.keep(revision, numbers, hourly, known.as_ref())
    }

    /// Takes a revision among the rows to write, in the place of one before it.
    fn keep(
        &mut self,
        revision: &'r NewRevision,
        numbers: Numbers,
        hourly: HourlyKey,
        known: Option<&Known>,
    ) -> StoreOutcome {
        let event = revision.event();
        let place = known.and_then(|known| known.row);
        let replaced = place.map(|place| &self.rows[place]);
        let brings_one = !revision.thumbnail.is_empty();
        let row = NewRow {
            revision,
            numbers,
            seq: self.latest,
            jpeg: if brings_one { Some(&revision.thumbnail[..]) } else { replaced.and_then(|row| row.jpeg) },
            thumbnail_revision: match known {
                _ if brings_one => event.revision,
                Some(known) => known.thumbnail_revision,
                None => 0,
            },
            is_new: replaced.map_or(known.is_none(), |row| row.is_new),
        };
        self.commits.push(Committed {
            seq: self.latest,
            receive_time: self.now,
            thumbnail_revision: row.thumbnail_revision,
            event: Arc::clone(&revision.event),
        });
        let place = place.unwrap_or(self.rows.len());
        let now_known = Known {
            camera: numbers.camera,
            begin_us: event.begin_time.as_micros(),
            revision: event.revision,
            hourly,
            thumbnail_revision: row.thumbnail_revision,
            row: Some(place),
        };
        self.known.insert(event.id, now_known);
        if place == self.rows.len() {
            self.rows.push(row);
        } else {
            self.rows[place] = row;
        }
        StoreOutcome::Accepted(self.latest)
    }
}

fn rejected(problem: &str) -> StoreOutcome {
    StoreOutcome::Rejected(format!("event.event_id: {problem}"))
}
