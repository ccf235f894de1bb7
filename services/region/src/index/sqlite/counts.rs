//! Counts by hour, class, camera and zone: from the counts that are kept, where they answer, and by looking at events where
//! not.
//!
//! Slices are counted one by one. A count over [from, until) takes whole hours from `hourly`, and over all cameras whole tens of
//! minutes from `tens`. Events that begin in what is left at either end are looked at in an index that tells their class, and
//! where it must be their zone; those that began before `from` and touch it one by one, in an index that tells their end.

use std::collections::BTreeMap;
use std::ops::Range;

use rusqlite::{Connection, Row, params_from_iter};
use vigil_base::Timestamp;

use super::budget::{Budget, ROW_COST};
use super::conditions::Conditions;
use super::failure::ReadError;
use super::names::{NameKind, name_of};
use super::readers::Snapshot;
use super::row::RowReader;
use super::slices::Session;
use super::store::{ALL_CAMERAS, HOUR_US, HourlyKey, NO_ZONE, TEN_US, TENS_AN_HOUR, row_hourly_key};
use super::walk::{Entry, Key, Paths, Walk};
use crate::index::keys::whole;
use crate::index::{CountGroup, CountQuery, Counts, GroupKey, IndexError};

/// Work of one count, in index entries: about three seconds, for conditions for which no counts are kept.
const MAX_WORK: usize = 5_000_000;

/// Up to this many cameras are looked up one by one in each hour; more, and all of the hour is read.
const FEW_CAMERAS: usize = 64;

/// Numbers of what a group has in common; none for what was not grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    hour: Option<i64>,
    class: Option<i64>,
    camera: Option<i64>,
    zone: Option<i64>,
}

struct Counting<'s> {
    conditions: Conditions,
    paths: Paths,
    group_by: &'s [GroupKey],
    groups: BTreeMap<Group, u64>,
    budget: Budget<'s>,
}

/// The counts of a query whose filter has both times.
pub(super) fn count(snapshot: &Snapshot<'_>, query: &CountQuery) -> Result<Counts, ReadError> {
    let region = snapshot.region();
    let Some(conditions) = Conditions::new(region, &query.filter)? else {
        return Ok(Counts { groups: Vec::new(), truncated: false });
    };
    let (from_us, until_us) = (conditions.from_us, conditions.until_us);
    let mut counting = Counting {
        paths: conditions.paths(region)?,
        conditions,
        group_by: &query.group_by,
        groups: BTreeMap::new(),
        budget: Budget::new(snapshot, MAX_WORK),
    };
    for slice in snapshot.list().readable().filter(|slice| slice.may_touch(from_us, until_us)) {
        counting.add_slice(&snapshot.session(slice)?)?;
    }
    let groups = named(region, counting.groups)?;
    Ok(Counts::in_order(groups, &query.group_by, query.max_groups))
}

impl Counting<'_> {
    /// Adds the events of one slice.
    fn add_slice(&mut self, session: &Session) -> Result<(), ReadError> {
        let (from_us, until_us) = (self.conditions.from_us, self.conditions.until_us.unwrap_or(i64::MAX));
        let Some(from_us) = from_us.filter(|_| self.conditions.are_counted_hourly()) else {
            return self.add_walk(session, from_us, Key::before(until_us), None);
        };
        let hours = whole(from_us, until_us, HOUR_US);
        let is_of_all = self.conditions.cameras.is_none() && !self.group_by.contains(&GroupKey::Camera);
        let kept = if is_of_all { whole(from_us, until_us, TEN_US) } else { hours.clone() };
        if kept.is_empty() {
            return self.add_walk(session, Some(from_us), Key::before(until_us), None);
        }
        if hours.is_empty() {
            self.add_tens(session, &kept)?;
        } else {
            self.add_hours(session, &(hours.start / HOUR_US..hours.end / HOUR_US))?;
            self.add_tens(session, &(kept.start..hours.start))?;
            self.add_tens(session, &(hours.end..kept.end))?;
        }
        self.add_begun(session, kept.end..until_us)?;
        self.add_begun(session, from_us..kept.start)?;
        self.add_walk(session, Some(from_us), Key::before(from_us), None)
    }

    fn add(&mut self, key: HourlyKey, events: u64) {
        let grouped = |by, number| self.group_by.contains(&by).then_some(number);
        let group = Group {
            hour: grouped(GroupKey::Hour, key.hour),
            class: grouped(GroupKey::Class, key.class),
            camera: grouped(GroupKey::Camera, key.camera),
            zone: grouped(GroupKey::Zone, key.zone),
        };
        *self.groups.entry(group).or_default() += events;
    }

    /// Adds the kept counts of whole hours: camera by camera where they are few, else all of each hour.
    fn add_hours(&mut self, session: &Session, hours: &Range<i64>) -> Result<(), ReadError> {
        let is_by_camera = self.group_by.contains(&GroupKey::Camera);
        let few = match &self.conditions.cameras {
            Some(cameras) if cameras.len() <= FEW_CAMERAS => Some(cameras.iter().copied().collect()),
            None if !is_by_camera => Some(vec![ALL_CAMERAS]),
            _ => None,
        };
        let hours = session.read(|slice| counted_hours(slice, hours))?;
        let sql = "SELECT hour, camera, class, kind, zone, events FROM hourly WHERE";
        let Some(cameras) = few else {
            let sql = format!("{sql} hour >= ?1 AND hour < ?2 AND camera <> ?3");
            return self.add_kept(session, &sql, &[hours.start, hours.end, ALL_CAMERAS]);
        };
        let sql = format!("{sql} hour = ?1 AND camera = ?2");
        for hour in hours {
            for camera in &cameras {
                self.add_kept(session, &sql, &[hour, *camera])?;
            }
        }
        Ok(())
    }

    /// Adds the kept counts of ten minutes, in a time that is whole ones.
    fn add_tens(&mut self, session: &Session, time: &Range<i64>) -> Result<(), ReadError> {
        if time.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "SELECT ten / {TENS_AN_HOUR}, ?3, class, kind, zone, events FROM tens WHERE ten >= ?1 AND ten < ?2"
        );
        self.add_kept(session, &sql, &[time.start / TEN_US, time.end / TEN_US, ALL_CAMERAS])
    }

    fn add_kept(&mut self, session: &Session, sql: &str, arguments: &[i64]) -> Result<(), ReadError> {
        self.spend(1)?;
        let failed = |error| session.failed(error);
        let mut statement = session.connection().prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query(params_from_iter(arguments)).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            self.spend(1)?;
            let (key, events) = kept_count(row).map_err(failed)?;
            if self.counts(&key) {
                self.add(key, events);
            }
        }
        Ok(())
    }

    /// Adds the events that begin in a part of one hour.
    fn add_begun(&mut self, session: &Session, part: Range<i64>) -> Result<(), ReadError> {
        if part.is_empty() {
            return Ok(());
        }
        let Conditions { cameras, kinds, zones, .. } = &self.conditions;
        let needs_more = cameras.is_some() || kinds.is_some() || zones.is_some();
        if needs_more || self.group_by.contains(&GroupKey::Camera) {
            return self.add_walk(session, Some(part.start), Key::before(part.end), Some(part.start));
        }
        // An index entry tells the class of all, another the zone of those that have one: no row is read.
        let hour = part.start.div_euclid(HOUR_US);
        let mut begun: BTreeMap<(i64, i64), u64> = BTreeMap::new();
        let sql = "SELECT class, ?3 FROM events INDEXED BY events_by_time WHERE begin_us >= ?1 AND begin_us < ?2";
        self.tally(session, sql, &part, |class, zone| *begun.entry((class, zone)).or_default() += 1)?;
        if self.group_by.contains(&GroupKey::Zone) {
            let sql = "SELECT class, zone FROM events INDEXED BY events_by_rule
                       WHERE rule IS NOT NULL AND begin_us >= ?1 AND begin_us < ?2 AND zone IS NOT NULL AND ?3 = 0";
            self.tally(session, sql, &part, |class, zone| {
                *begun.entry((class, zone)).or_default() += 1;
                *begun.entry((class, NO_ZONE)).or_default() -= 1;
            })?;
        }
        for ((class, zone), events) in begun {
            let key = HourlyKey { camera: ALL_CAMERAS, hour, class, kind: 0, zone };
            if events > 0 && self.counts(&key) {
                self.add(key, events);
            }
        }
        Ok(())
    }

    /// Gives the class and zone of each entry of an index whose event begins within `part`.
    fn tally(
        &mut self,
        session: &Session,
        sql: &str,
        part: &Range<i64>,
        mut each: impl FnMut(i64, i64),
    ) -> Result<(), ReadError> {
        let failed = |error| session.failed(error);
        let mut statement = session.connection().prepare_cached(sql).map_err(failed)?;
        let mut rows = statement.query([part.start, part.end, NO_ZONE]).map_err(failed)?;
        while let Some(row) = rows.next().map_err(failed)? {
            self.spend(1)?;
            each(row.get(0).map_err(failed)?, row.get(1).map_err(failed)?);
        }
        Ok(())
    }

    fn counts(&self, key: &HourlyKey) -> bool {
        let Conditions { cameras, classes, kinds, zones, .. } = &self.conditions;
        (key.camera == ALL_CAMERAS || cameras.as_ref().is_none_or(|cameras| cameras.contains(&key.camera)))
            && classes.as_ref().is_none_or(|classes| classes.contains(&key.class))
            && kinds.as_ref().is_none_or(|kinds| kinds.contains(&key.kind))
            && zones.as_ref().is_none_or(|zones| zones.contains(&key.zone))
    }

    /// Adds matching events below (older than) `below`, one by one: back to `stop_us`, or where there is none to all
    /// that touch `from_us`.
    fn add_walk(
        &mut self,
        session: &Session,
        from_us: Option<i64>,
        below: Key,
        stop_us: Option<i64>,
    ) -> Result<(), ReadError> {
        let by_zone = self.group_by.contains(&GroupKey::Zone);
        let mut walk = session.read(|slice| Walk::new(slice, &self.paths, from_us, below))?;
        while let Some(entry) = session.read(|slice| walk.next(slice))? {
            if stop_us.is_some_and(|stop| entry.key.begin_us < stop) {
                break;
            }
            self.spend(1)?;
            if !self.conditions.may_match(&entry) {
                continue;
            }
            if !by_zone && self.conditions.is_met_by(&entry) {
                self.add(entry_hourly_key(&entry), 1);
                continue;
            }
            self.spend(ROW_COST)?;
            let row = session.read(|slice| RowReader::new(slice)?.read(entry.camera, &entry.key))?;
            if let Some(row) = row.filter(|row| self.conditions.matches(row)) {
                self.add(row_hourly_key(&row), 1);
            }
        }
        Ok(())
    }

    fn spend(&mut self, cost: usize) -> Result<(), ReadError> {
        if self.budget.spend(cost)? { Ok(()) } else { Err(IndexError::TooMuchWork { limit: MAX_WORK }.into()) }
    }
}

fn kept_count(row: &Row<'_>) -> rusqlite::Result<(HourlyKey, u64)> {
    let key =
        HourlyKey { hour: row.get(0)?, camera: row.get(1)?, class: row.get(2)?, kind: row.get(3)?, zone: row.get(4)? };
    Ok((key, row.get::<_, i64>(5)?.unsigned_abs()))
}

/// Which counter the event of an index entry is counted under; its kind, by which nothing is grouped, and its zone are not
/// known here.
fn entry_hourly_key(entry: &Entry) -> HourlyKey {
    let hour = entry.key.begin_us.div_euclid(HOUR_US);
    HourlyKey { camera: entry.camera, hour, class: entry.class, kind: 0, zone: NO_ZONE }
}

/// Those of `hours` that lie between the first and the last that anything was counted in.
fn counted_hours(connection: &Connection, hours: &Range<i64>) -> rusqlite::Result<Range<i64>> {
    // Two subqueries: each is one seek.
    let sql = "SELECT (SELECT min(hour) FROM hourly), (SELECT max(hour) FROM hourly)";
    let (first, last): (Option<i64>, Option<i64>) =
        connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (Some(first), Some(last)) = (first, last) else { return Ok(0..0) };
    Ok(hours.start.max(first)..hours.end.min(last + 1))
}

/// The groups with texts for numbers.
fn named(connection: &Connection, groups: BTreeMap<Group, u64>) -> rusqlite::Result<Vec<CountGroup>> {
    let mut names: BTreeMap<(i64, i64), String> = BTreeMap::new();
    let mut name = |kind: NameKind, number: i64| match names.get(&(kind as i64, number)) {
        Some(name) => Ok(name.clone()),
        None if (kind, number) == (NameKind::Zone, NO_ZONE) => Ok(String::new()),
        None => {
            name_of(connection, kind, number).inspect(|name| drop(names.insert((kind as i64, number), name.clone())))
        }
    };
    let text = |(group, events): (Group, u64)| {
        Ok(CountGroup {
            hour: group.hour.map(|hour| Timestamp::from_micros(hour * HOUR_US)),
            class: group.class.map(|number| name(NameKind::Class, number)).transpose()?,
            camera: group.camera.map(|number| name(NameKind::Camera, number)).transpose()?,
            zone: group.zone.map(|number| name(NameKind::Zone, number)).transpose()?,
            events,
        })
    };
    groups.into_iter().map(text).collect()
}
