//! Days: the partitions of events, their counts and the keys of their plates.
//!
//! Each UTC day has a partition of its own, made ahead of time and when an event of that day first comes. What begins further
//! from now than any camera with a working clock can be lies in the default partition, so that no edge can make the region
//! keep thousands of them. A day that comes near takes over what lay there for it.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::RwLock;
use vigil_base::Timestamp;

use super::connect::Connection;
use super::failure::Failure;
use super::values::At;
use crate::index::keys::HOUR_US;

/// One day, in microseconds.
pub(super) const DAY_US: i64 = 24 * HOUR_US;
/// Days made ahead of time.
const DAYS_AHEAD: i64 = 2;
/// Days back for which one is made: longer than any edge is away, and than most retention.
const DAYS_BACK: i64 = 400;
/// Tables that are cut by days, and the column that cuts them.
const TABLES: [(&str, &str, &str); 3] =
    [("events", "begin_time", ""), ("hourly", "hour", " WITH (fillfactor = 50)"), ("plate_keys", "day", "")];
/// How long dropping a day waits for who reads it. Whoever comes meanwhile waits behind it.
const DROP_PATIENCE: &str = "SET LOCAL lock_timeout = '2s'";

/// The number, since 1970, of the day in which a time lies.
pub(super) fn day_of(us: i64) -> i64 {
    us.div_euclid(DAY_US)
}

/// Start of a day.
pub(super) fn start_of(day: i64) -> Timestamp {
    Timestamp::from_micros(day * DAY_US)
}

/// The day's partition of a table.
fn partition(table: &str, day: i64) -> String {
    let date: String = start_of(day).to_string().chars().take(10).filter(char::is_ascii_digit).collect();
    format!("{table}_{date}")
}

/// The day of an event partition's name; none for the default partition, and for what others made.
fn day_of_partition(name: &str) -> Option<i64> {
    let date = name.strip_prefix("events_").filter(|date| date.len() == 8 && date.is_ascii())?;
    let (year, month, day) = (&date[..4], &date[4..6], &date[6..]);
    let start = Timestamp::parse(&format!("{year}-{month}-{day}T00:00:00Z")).ok()?;
    Some(day_of(start.as_micros()))
}

/// The days that have partitions, for all who read and write.
#[derive(Debug, Default)]
pub(super) struct Days(RwLock<BTreeSet<i64>>);

impl Days {
    /// Reads which there are.
    pub(super) async fn load(&self, connection: &Connection) -> Result<(), tokio_postgres::Error> {
        let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                   WHERE i.inhparent = 'events'::regclass";
        let rows = connection.query(sql, &[]).await?;
        *self.0.write() = rows.iter().filter_map(|row| day_of_partition(row.get(0))).collect();
        Ok(())
    }

    /// Those of `wanted` that are to have a partition and have none, and the next days from `now` on.
    pub(super) fn missing(&self, wanted: impl IntoIterator<Item = i64>, now: Timestamp) -> BTreeSet<i64> {
        let today = day_of(now.as_micros());
        let there = self.0.read();
        let near = |day: &i64| (today - DAYS_BACK..=today + DAYS_AHEAD).contains(day);
        let ahead = today..=today + DAYS_AHEAD;
        wanted.into_iter().filter(near).chain(ahead).filter(|day| !there.contains(day)).collect()
    }

    /// Notes days whose partitions were made, after the commit.
    pub(super) fn made(&self, days: &BTreeSet<i64>) {
        self.0.write().extend(days);
    }

    /// Notes that days were dropped, after the commit.
    pub(super) fn dropped(&self, days: &[i64]) {
        self.0.write().retain(|day| !days.contains(day));
    }

    /// The days that ended by `time`, the oldest first.
    pub(super) fn ended_before(&self, time: Timestamp) -> Vec<i64> {
        self.0.read().iter().copied().take_while(|day| start_of(day + 1) <= time).collect()
    }

    /// Starts of stretches to walk, newest first, below `newest` and down to `oldest`: a day, a day, two, four, and so on. A page
    /// that fills soon opens few partitions, one that does not opens them in a few questions.
    pub(super) fn stretches(&self, newest: Timestamp, oldest: Timestamp) -> Vec<Timestamp> {
        let there = self.0.read();
        let mut starts = Vec::new();
        let (mut taken, mut next) = (0usize, 1usize);
        for day in there.iter().rev().filter(|day| start_of(**day) < newest) {
            let start = start_of(*day);
            if start <= oldest {
                break;
            }
            taken += 1;
            if taken == next {
                starts.push(start);
                next *= 2;
            }
        }
        starts.push(oldest);
        starts
    }
}

/// Makes a day's partitions in the transaction that runs on `connection`.
pub(super) async fn make(connection: &Connection, day: i64) -> Result<(), tokio_postgres::Error> {
    let (from, until) = (start_of(day), start_of(day + 1));
    for (table, column, storage) in TABLES {
        let sql = format!("SELECT EXISTS (SELECT FROM {table}_other WHERE {column} >= $1 AND {column} < $2)");
        let row = connection.client().query_one(&sql, &[&At(from), &At(until)]).await?;
        let takes_over: bool = row.get(0);
        let name = partition(table, day);
        if takes_over {
            let set_aside = format!(
                "CREATE TEMP TABLE set_aside ON COMMIT DROP AS SELECT * FROM {table}_other
                     WHERE {column} >= '{from}' AND {column} < '{until}';
                 DELETE FROM {table}_other WHERE {column} >= '{from}' AND {column} < '{until}'"
            );
            connection.client().batch_execute(&set_aside).await?;
        }
        let create =
            format!("CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{from}') TO ('{until}'){storage}");
        connection.client().batch_execute(&create).await?;
        if takes_over {
            let sql = format!("INSERT INTO {table} SELECT * FROM set_aside; DROP TABLE set_aside");
            connection.client().batch_execute(&sql).await?;
        }
    }
    Ok(())
}

/// Drops a day's partitions in the transaction that runs on `connection`.
pub(super) async fn drop_day(connection: &Connection, day: i64) -> Result<(), Failure> {
    let tables: Vec<String> = TABLES.iter().map(|(table, ..)| partition(table, day)).collect();
    let sql = format!("{DROP_PATIENCE}; DROP TABLE {}", tables.join(", "));
    Ok(connection.client().batch_execute(&sql).await?)
}

/// How often days are made ahead, where no event comes.
pub(super) const MAKE_AHEAD_EVERY: Duration = Duration::from_hours(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn day(date: &str) -> i64 {
        day_of(Timestamp::parse(&format!("{date}T12:00:00Z")).unwrap().as_micros())
    }

    #[test]
    fn a_partition_is_named_by_its_date() {
        let leap = day("2028-02-29");
        assert_eq!(partition("events", leap), "events_20280229");
        assert_eq!(day_of_partition("events_20280229"), Some(leap));
        for other in ["events_other", "hourly_20280229", "events_20280230", "events_2028022", "events_äöüä"] {
            assert_eq!(day_of_partition(other), None, "{other}");
        }
    }

    #[test]
    fn only_days_near_now_get_a_partition() {
        let days = Days::default();
        let now = start_of(1_000);
        assert_eq!(days.missing([], now), BTreeSet::from([1_000, 1_001, 1_002]));
        days.made(&days.missing([], now));
        assert_eq!(days.missing([0, 599, 600, 1_003, 900_000], now), BTreeSet::from([600]));
    }

    #[test]
    fn a_walk_goes_back_in_growing_stretches() {
        let days = Days::default();
        days.made(&(1..=20).collect());
        let starts = |newest, oldest| -> Vec<i64> {
            let found = days.stretches(start_of(newest), start_of(oldest));
            found.into_iter().map(|start| day_of(start.as_micros())).collect()
        };
        assert_eq!(starts(100, 0), [20, 19, 17, 13, 5, 0]);
        assert_eq!(starts(20, 18), [19, 18]);
        assert_eq!(starts(5, 5), [5]);
    }
}
