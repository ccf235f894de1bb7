//! Cameras, edges, classes, rules and zones as small numbers: rows stay narrow, and comparing is comparing integers.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

/// What a name names. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum NameKind {
    Camera = 1,
    Edge = 2,
    Class = 3,
    Rule = 4,
    Zone = 5,
}

/// The number of a name, if it was ever given one.
pub(super) fn number_of(connection: &Connection, kind: NameKind, name: &str) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT number FROM names WHERE kind = ?1 AND name = ?2";
    connection.prepare_cached(sql)?.query_row(params![kind as i64, name], |row| row.get(0)).optional()
}

/// The name of a number.
pub(super) fn name_of(connection: &Connection, kind: NameKind, number: i64) -> rusqlite::Result<String> {
    let sql = "SELECT name FROM names WHERE kind = ?1 AND number = ?2";
    connection.prepare_cached(sql)?.query_row(params![kind as i64, number], |row| row.get(0))
}

/// All names of a kind.
pub(super) fn names_of(connection: &Connection, kind: NameKind) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached("SELECT name FROM names WHERE kind = ?1")?;
    statement.query_map([kind as i64], |row| row.get(0))?.collect()
}

/// Names of one kind kept in memory; a region with more classes or cameras than this reads some again.
const MAX_CACHED: usize = 65_536;

/// The writer's copy of the names it uses, and the giving of new numbers.
#[derive(Debug, Default)]
pub(super) struct NameCache {
    cameras: HashMap<String, i64>,
    edges: HashMap<String, i64>,
    classes: HashMap<String, i64>,
    rules: HashMap<String, i64>,
    zones: HashMap<String, i64>,
}

impl NameCache {
    /// The number of a name; a new name gets the next one.
    pub(super) fn number(&mut self, connection: &Connection, kind: NameKind, name: &str) -> rusqlite::Result<i64> {
        let numbers = match kind {
            NameKind::Camera => &mut self.cameras,
            NameKind::Edge => &mut self.edges,
            NameKind::Class => &mut self.classes,
            NameKind::Rule => &mut self.rules,
            NameKind::Zone => &mut self.zones,
        };
        if let Some(number) = numbers.get(name) {
            return Ok(*number);
        }
        let number = match number_of(connection, kind, name)? {
            Some(number) => number,
            None => give_number(connection, kind, name)?,
        };
        if numbers.len() >= MAX_CACHED {
            numbers.clear();
        }
        numbers.insert(name.to_owned(), number);
        Ok(number)
    }

    /// Forgets all: after an undone transaction some numbers were never given.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

fn give_number(connection: &Connection, kind: NameKind, name: &str) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO names (kind, number, name)
               SELECT ?1, 1 + ifnull(max(number), 0), ?2 FROM names WHERE kind = ?1 RETURNING number";
    connection.prepare_cached(sql)?.query_row(params![kind as i64, name], |row| row.get(0))
}
