//! Cameras, edges, classes, rules and zones as small numbers: rows stay narrow, and comparing is comparing integers.
//!
//! Names are never taken back, so what was once read from the table stays true and is kept in memory.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::connect::Connection;

/// What a name names. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum NameKind {
    Camera = 1,
    Edge = 2,
    Class = 3,
    Rule = 4,
    Zone = 5,
}

/// Names of all kinds kept in memory, 10 MiB at the most; a region with more reads some again.
const MAX_CACHED: usize = 131_072;

type Name = (i16, Arc<str>);

#[derive(Debug, Default)]
struct Cached {
    /// By kind, so that a text is looked up without being copied.
    numbers: HashMap<i16, HashMap<Arc<str>, i32>>,
    names: HashMap<(i16, i32), Arc<str>>,
}

/// Names that were read or given.
#[derive(Debug, Default)]
pub(super) struct Names(RwLock<Cached>);

impl Names {
    fn keep(&self, found: impl IntoIterator<Item = (Name, i32)>) {
        let mut cached = self.0.write();
        for ((kind, name), number) in found {
            if cached.names.len() >= MAX_CACHED {
                *cached = Cached::default();
            }
            cached.names.insert((kind, number), Arc::clone(&name));
            cached.numbers.entry(kind).or_default().insert(name, number);
        }
    }

    /// Forgets all: the index was put back, and its numbers are given anew.
    pub(super) fn forget(&self) {
        *self.0.write() = Cached::default();
    }

    fn known(&self, kind: NameKind, name: &str) -> Option<i32> {
        self.0.read().numbers.get(&(kind as i16))?.get(name).copied()
    }

    /// The numbers of those names that have one, in any order.
    pub(super) async fn numbers(
        &self,
        connection: &Connection,
        kind: NameKind,
        names: &[&str],
    ) -> Result<Vec<i32>, tokio_postgres::Error> {
        let (known, unknown): (Vec<_>, Vec<_>) =
            names.iter().map(|name| (*name, self.known(kind, name))).partition(|(_, number)| number.is_some());
        let mut numbers: Vec<i32> = known.into_iter().filter_map(|(_, number)| number).collect();
        let unknown: Vec<&str> = unknown.into_iter().map(|(name, _)| name).collect();
        for (name, number) in read(connection, kind, &unknown).await? {
            numbers.push(number);
            self.keep([(name, number)]);
        }
        numbers.sort_unstable();
        numbers.dedup();
        Ok(numbers)
    }

    /// The name of a number that a row holds.
    pub(super) async fn name(
        &self,
        connection: &Connection,
        kind: NameKind,
        number: i32,
    ) -> Result<Arc<str>, tokio_postgres::Error> {
        let known = self.0.read().names.get(&(kind as i16, number)).cloned();
        if let Some(name) = known {
            return Ok(name);
        }
        let sql = "SELECT name FROM names WHERE kind = $1 AND number = $2";
        let statement = connection.prepare(sql).await?;
        let row = connection.client().query_one(&statement, &[&(kind as i16), &number]).await?;
        let name: Arc<str> = row.get::<_, &str>(0).into();
        self.keep([((kind as i16, Arc::clone(&name)), number)]);
        Ok(name)
    }
}

/// All names of a kind.
pub(super) async fn names_of(connection: &Connection, kind: NameKind) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = connection.query("SELECT name FROM names WHERE kind = $1", &[&(kind as i16)]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn read(
    connection: &Connection,
    kind: NameKind,
    names: &[&str],
) -> Result<Vec<(Name, i32)>, tokio_postgres::Error> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT name, number FROM names WHERE kind = $1 AND name = ANY($2)";
    let rows = connection.query(sql, &[&(kind as i16), &names]).await?;
    Ok(rows.iter().map(|row| ((kind as i16, row.get::<_, &str>(0).into()), row.get(1))).collect())
}

/// Numbers for names that come in one transaction. Given for good with [`Giving::commit`], after it.
pub(super) struct Giving<'n> {
    names: &'n Names,
    given: HashMap<Name, i32>,
    /// The largest number of each kind, where new ones were given.
    largest: HashMap<i16, i32>,
    new: Vec<(Name, i32)>,
}

impl<'n> Giving<'n> {
    pub(super) fn new(names: &'n Names) -> Self {
        Self { names, given: HashMap::new(), largest: HashMap::new(), new: Vec::new() }
    }

    /// The number of a name; a new name gets the next one.
    pub(super) async fn number(
        &mut self,
        connection: &Connection,
        kind: NameKind,
        name: &str,
    ) -> Result<i32, tokio_postgres::Error> {
        if let Some(number) = self.names.known(kind, name) {
            return Ok(number);
        }
        let key = (kind as i16, Arc::from(name));
        if let Some(number) = self.given.get(&key) {
            return Ok(*number);
        }
        let found = read(connection, kind, &[name]).await?.pop();
        let number = match found {
            Some((_, number)) => number,
            None => self.give(connection, &key).await?,
        };
        self.given.insert(key, number);
        Ok(number)
    }

    async fn give(&mut self, connection: &Connection, key: &Name) -> Result<i32, tokio_postgres::Error> {
        let largest: i32 = if let Some(largest) = self.largest.get(&key.0) {
            *largest
        } else {
            let sql = "SELECT coalesce(max(number), 0) FROM names WHERE kind = $1";
            let statement = connection.prepare(sql).await?;
            connection.client().query_one(&statement, &[&key.0]).await?.get(0)
        };
        self.largest.insert(key.0, largest + 1);
        self.new.push((key.clone(), largest + 1));
        Ok(largest + 1)
    }

    /// Writes the new names.
    pub(super) async fn store(&self, connection: &Connection) -> Result<(), tokio_postgres::Error> {
        if self.new.is_empty() {
            return Ok(());
        }
        let kinds: Vec<i16> = self.new.iter().map(|((kind, _), _)| *kind).collect();
        let names: Vec<&str> = self.new.iter().map(|((_, name), _)| &**name).collect();
        let numbers: Vec<i32> = self.new.iter().map(|(_, number)| *number).collect();
        let sql = "INSERT INTO names (kind, number, name) SELECT * FROM unnest($1::int2[], $2::int4[], $3::text[])";
        connection.execute(sql, &[&kinds, &numbers, &names]).await?;
        Ok(())
    }

    /// The transaction was committed.
    pub(super) fn commit(self) {
        self.names.keep(self.given);
    }
}
