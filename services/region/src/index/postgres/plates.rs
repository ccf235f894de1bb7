//! The plates of each day, by the keys under which they are asked for (`keys`); and patterns in the server's terms.

use std::collections::{BTreeSet, HashSet};

use tokio_postgres::types::Type;
use vigil_base::{Event, Timestamp};
use vigil_proto::convert::{PlateMatch, PlatePattern};

use super::connect::Connection;
use super::copy::CopyIn;
use super::days::{day_of, start_of};
use super::readers::Snapshot;
use super::values::At;
use crate::index::keys::{MAX_PLATE_KEYS, MAX_WALKED_PLATES, PlateKey, key_ranges, plate_keys};

/// Plates whose keys are made at a time when a schema is migrated.
const MIGRATED_AT_ONCE: i32 = 10_000;

/// A plate on the day, since 1970, on which it was read.
pub(super) type OfDay = (i64, String);

/// The columns of `plate_keys`, in the order of [`TYPES`].
const COLUMNS: &str = "day, kind, key, plate";
const TYPES: [Type; 4] = [Type::TIMESTAMPTZ, Type::INT2, Type::TEXT, Type::TEXT];

/// The plate of an event.
pub(super) fn of_day(event: &Event) -> Option<OfDay> {
    Some((day_of(event.begin_time.as_micros()), event.plate.as_ref()?.text.clone()))
}

/// Those plates of events whose keys their days have already: all keys of a plate or none.
pub(super) async fn find_noted(
    connection: &Connection,
    events: impl Iterator<Item = &Event>,
) -> Result<HashSet<OfDay>, tokio_postgres::Error> {
    let seen: BTreeSet<OfDay> = events.filter_map(of_day).collect();
    if seen.is_empty() {
        return Ok(HashSet::new());
    }
    let days: Vec<At> = seen.iter().map(|(day, _)| At(start_of(*day))).collect();
    let plates: Vec<&str> = seen.iter().map(|(_, plate)| plate.as_str()).collect();
    // A value, not a join: each is looked up in the index, whatever the server thinks it knows of the table.
    let sql = "SELECT (SELECT true FROM plate_keys known WHERE known.kind = $3 AND known.key = seen.plate
                       AND known.plate = seen.plate AND known.day = seen.day)
               FROM unnest($1::timestamptz[], $2::text[]) WITH ORDINALITY AS seen (day, plate, number) ORDER BY number";
    let noted = connection.query(sql, &[&days, &plates, &(PlateKey::Whole as i16)]).await?;
    let noted = noted.iter().map(|row| row.get::<_, Option<bool>>(0).is_some());
    Ok(seen.into_iter().zip(noted).filter_map(|(plate, is_noted)| is_noted.then_some(plate)).collect())
}

/// Notes the keys of plates that their days do not have yet: all of them or none, as one statement.
pub(super) async fn note(connection: &Connection, plates: &HashSet<OfDay>) -> Result<(), tokio_postgres::Error> {
    let plates: Vec<(At, &str)> = plates.iter().map(|(day, plate)| (At(start_of(*day)), plate.as_str())).collect();
    copy_keys(connection, &plates).await
}

/// Notes the keys of the plates of all events.
pub(super) async fn note_all_plates(connection: &Connection) -> Result<(), tokio_postgres::Error> {
    let client = connection.client();
    let declare = "DECLARE seen NO SCROLL CURSOR FOR
                   SELECT DISTINCT date_trunc('day', begin_time, 'UTC'), plate FROM events WHERE plate IS NOT NULL";
    client.batch_execute(declare).await?;
    loop {
        let seen = client.query(&format!("FETCH {MIGRATED_AT_ONCE} FROM seen"), &[]).await?;
        if seen.is_empty() {
            return client.batch_execute("CLOSE seen").await;
        }
        let seen: Vec<(At, &str)> = seen.iter().map(|row| (row.get(0), row.get(1))).collect();
        copy_keys(connection, &seen).await?;
    }
}

/// Copies in the keys of plates whose days have none of theirs.
async fn copy_keys(connection: &Connection, plates: &[(At, &str)]) -> Result<(), tokio_postgres::Error> {
    if plates.is_empty() {
        return Ok(());
    }
    let keys = plates.iter().flat_map(|(day, plate)| {
        plate_keys(plate).into_iter().map(move |(kind, key)| (*day, kind as i16, key, *plate))
    });
    // As the table's index has them.
    let keys: BTreeSet<(At, i16, String, &str)> = keys.collect();
    let mut copying = CopyIn::begin(connection, "plate_keys", COLUMNS, &TYPES).await?;
    for (day, kind, key, plate) in &keys {
        copying.row(&[day, kind, key, plate]).await?;
    }
    copying.finish().await?;
    Ok(())
}

/// Takes out the plates of which, in days without a partition, no event is left.
pub(super) async fn forget_strays(
    connection: &Connection,
    days: impl Iterator<Item = i64>,
) -> Result<(), tokio_postgres::Error> {
    let days: BTreeSet<i64> = days.collect();
    let days: Vec<At> = days.into_iter().map(|day| At(start_of(day))).collect();
    let sql = "DELETE FROM plate_keys_other k WHERE day = ANY($1::timestamptz[]) AND NOT EXISTS (
                   SELECT FROM events_other e
                   WHERE e.plate = k.plate AND e.begin_time >= k.day AND e.begin_time < k.day + interval '24 hours')";
    connection.execute(sql, &[&days]).await?;
    Ok(())
}

/// The plates that a pattern means, of all days that begin before `until`; none where they may be many. Some may have no event
/// any more: a later revision had another.
pub(super) async fn few_plates(
    snapshot: &Snapshot,
    pattern: &PlatePattern,
    until: Option<Timestamp>,
) -> Result<Option<Vec<String>>, tokio_postgres::Error> {
    let Some(ranges) = key_ranges(pattern) else { return Ok(None) };
    let kinds: Vec<i16> = ranges.iter().map(|range| range.key as i16).collect();
    let firsts: Vec<&str> = ranges.iter().map(|range| range.first.as_str()).collect();
    let ends: Vec<&str> = ranges.iter().map(|range| range.end.as_str()).collect();
    let sql = "SELECT plate, count(*), range.number
               FROM unnest($1::int2[], $2::text[], $3::text[]) WITH ORDINALITY AS range (kind, first, last, number)
               CROSS JOIN LATERAL (
                   SELECT plate FROM plate_keys k
                   WHERE k.kind = range.kind AND k.key >= range.first AND k.key < range.last
                         AND ($4::timestamptz IS NULL OR k.day < $4)
                   LIMIT $5) AS found
               GROUP BY plate, range.number";
    let (until, limit) = (until.map(At), MAX_PLATE_KEYS as i64);
    let rows = snapshot.connection.query(sql, &[&kinds, &firsts, &ends, &until, &limit]).await?;
    let mut looked_at = vec![0; ranges.len() + 1];
    let mut meant = BTreeSet::new();
    for row in &rows {
        let plate: &str = row.get(0);
        looked_at[usize::try_from(row.get::<_, i64>(2)).unwrap_or(0)] += row.get::<_, i64>(1);
        if pattern.matches(plate) {
            meant.insert(plate);
        }
    }
    let are_many = meant.len() > MAX_WALKED_PLATES || looked_at.iter().any(|rows| *rows >= limit);
    Ok((!are_many).then(|| meant.into_iter().map(str::to_owned).collect()))
}

/// An advanced regular expression (PostgreSQL, section 9.7.3) that matches the plates of a pattern. Its text is letters and
/// digits, which stand for themselves.
pub(super) fn plate_regex(pattern: &PlatePattern) -> String {
    let text = pattern.text();
    match pattern.how() {
        PlateMatch::Any => String::new(),
        PlateMatch::Part => text.to_owned(),
        PlateMatch::Prefix => format!("^{text}"),
        PlateMatch::Exact => format!("^{text}$"),
        PlateMatch::OneWrong => format!("^(?:{})$", one_wrong(text).join("|")),
    }
}

/// At each place of a text: another character or none in its stead, or one more before it.
fn one_wrong(text: &str) -> Vec<String> {
    let mut ways = Vec::new();
    for (at, character) in text.char_indices() {
        let (before, after) = (&text[..at], &text[at + character.len_utf8()..]);
        ways.push(format!("{before}.?{after}"));
        ways.push(format!("{before}.{character}{after}"));
    }
    ways.push(format!("{text}."));
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_compare_has_its_expression() {
        let regex = |text, how| plate_regex(&PlatePattern::new(text, how).unwrap());
        assert_eq!(regex("AB1", PlateMatch::Part), "AB1");
        assert_eq!(regex("AB1", PlateMatch::Prefix), "^AB1");
        assert_eq!(regex("AB1", PlateMatch::Exact), "^AB1$");
        let wrong = "^(?:.?B12|.AB12|A.?12|A.B12|AB.?2|AB.12|AB1.?|AB1.2|AB12.)$";
        assert_eq!(regex("AB12", PlateMatch::OneWrong), wrong);
        assert!(plate_regex(&PlatePattern::ANY).is_empty());
    }
}
