//! The plates of each day, by the keys under which they are asked for (`keys`); and patterns in the server's terms.

use std::collections::BTreeSet;

use vigil_base::Timestamp;
use vigil_proto::convert::{PlateMatch, PlatePattern};

use super::connect::Connection;
use super::days::{day_of, start_of};
use super::readers::Snapshot;
use super::rows::NewRow;
use super::values::At;
use crate::index::keys::{MAX_PLATE_KEYS, MAX_WALKED_PLATES, PlateKey, key_ranges, plate_keys};

/// Plates whose keys are made at a time when a schema is migrated.
const MIGRATED_AT_ONCE: i32 = 10_000;

/// Notes the keys of the rows' plates, where their days have them not yet.
pub(super) async fn note_plates(connection: &Connection, rows: &[NewRow<'_>]) -> Result<(), tokio_postgres::Error> {
    let plate = |row: &NewRow<'_>| {
        let event = row.revision.event();
        Some((day_of(event.begin_time.as_micros()), event.plate.as_ref()?.text.clone()))
    };
    let seen: BTreeSet<(i64, String)> = rows.iter().filter_map(plate).collect();
    if seen.is_empty() {
        return Ok(());
    }
    let days: Vec<At> = seen.iter().map(|(day, _)| At(start_of(*day))).collect();
    let plates: Vec<&str> = seen.iter().map(|(_, plate)| plate.as_str()).collect();
    let sql = "SELECT seen.day, seen.plate FROM unnest($1::timestamptz[], $2::text[]) AS seen (day, plate)
               WHERE NOT EXISTS (SELECT FROM plate_keys known WHERE known.kind = $3 AND known.key = seen.plate
                                 AND known.plate = seen.plate AND known.day = seen.day)";
    let new = connection.query(sql, &[&days, &plates, &(PlateKey::Whole as i16)]).await?;
    let new: Vec<(At, &str)> = new.iter().map(|row| (row.get(0), row.get(1))).collect();
    note(connection, &new).await
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
        note(connection, &seen).await?;
    }
}

async fn note(connection: &Connection, plates: &[(At, &str)]) -> Result<(), tokio_postgres::Error> {
    let (mut days, mut kinds, mut keys, mut of) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (day, plate) in plates {
        for (kind, key) in plate_keys(plate) {
            days.push(At(day.0));
            kinds.push(kind as i16);
            keys.push(key);
            of.push(*plate);
        }
    }
    if keys.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO plate_keys (day, kind, key, plate)
               SELECT * FROM unnest($1::timestamptz[], $2::int2[], $3::text[], $4::text[]) ON CONFLICT DO NOTHING";
    connection.execute(sql, &[&days, &kinds, &keys, &of]).await?;
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
