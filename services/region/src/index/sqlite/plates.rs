//! The plates of a slice, by the keys under which they are asked for (`keys`).

use std::collections::BTreeSet;

use rusqlite::{Connection, params};
use vigil_proto::convert::PlatePattern;

use crate::index::keys::{MAX_PLATE_KEYS, MAX_WALKED_PLATES, PlateKey, key_ranges, plate_keys};

/// Notes the keys of a plate, where the slice has them not yet.
pub(super) fn note_plate(slice: &Connection, plate: &str) -> rusqlite::Result<()> {
    let known = "SELECT EXISTS (SELECT 1 FROM plate_keys WHERE kind = ?1 AND key = ?2 AND plate = ?2)";
    if slice.prepare_cached(known)?.query_row(params![PlateKey::Whole as i64, plate], |row| row.get(0))? {
        return Ok(());
    }
    let mut insert = slice.prepare_cached("INSERT OR IGNORE INTO plate_keys (kind, key, plate) VALUES (?1, ?2, ?3)")?;
    for (kind, key) in plate_keys(plate) {
        insert.execute(params![kind as i64, key, plate])?;
    }
    Ok(())
}

/// Builds all keys of a slice anew.
pub(super) fn note_all_plates(slice: &Connection) -> rusqlite::Result<()> {
    slice.execute("DELETE FROM main.plate_keys", [])?;
    let sql = "SELECT DISTINCT plate FROM main.events INDEXED BY events_of_plate WHERE plate IS NOT NULL";
    let mut statement = slice.prepare(sql)?;
    let mut plates = statement.query([])?;
    while let Some(row) = plates.next()? {
        note_plate(slice, row.get_ref(0)?.as_str()?)?;
    }
    Ok(())
}

/// The plates of a slice that a pattern means; none where they may be many. Some may have no event any more: a later revision
/// had another.
pub(super) fn few_plates(slice: &Connection, pattern: &PlatePattern) -> rusqlite::Result<Option<BTreeSet<String>>> {
    let Some(ranges) = key_ranges(pattern) else { return Ok(None) };
    let sql = "SELECT plate FROM plate_keys WHERE kind = ?1 AND key >= ?2 AND key < ?3 LIMIT ?4";
    let mut statement = slice.prepare_cached(sql)?;
    let mut meant = BTreeSet::new();
    for range in ranges {
        let mut rows = statement.query(params![range.key as i64, range.first, range.end, MAX_PLATE_KEYS as i64])?;
        let mut looked_at = 0;
        while let Some(row) = rows.next()? {
            looked_at += 1;
            let plate = row.get_ref(0)?.as_str()?;
            if pattern.matches(plate) && !meant.contains(plate) {
                meant.insert(plate.to_owned());
            }
            if looked_at == MAX_PLATE_KEYS || meant.len() > MAX_WALKED_PLATES {
                return Ok(None);
            }
        }
    }
    Ok(Some(meant))
}
