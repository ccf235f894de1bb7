//! Cameras, edges, classes, rules and zones as small numbers: rows stay narrow, and comparing is comparing integers.
//!
//! Names are never taken back, so what was once read from the table stays true and is kept in memory.

use std::collections::{BTreeSet, HashMap};
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

    /// What the table says of those names that are not known.
    pub(super) async fn look_up<'a>(
        &self,
        connection: &Connection,
        wanted: impl Iterator<Item = (NameKind, &'a str)>,
    ) -> Result<LookedUp, tokio_postgres::Error> {
        let unknown = wanted.filter(|(kind, name)| self.known(*kind, name).is_none());
        let unknown: BTreeSet<(i16, &str)> = unknown.map(|(kind, name)| (kind as i16, name)).collect();
        let mut found = LookedUp::default();
        if unknown.is_empty() {
            return Ok(found);
        }
        let (kinds, names): (Vec<i16>, Vec<&str>) = unknown.into_iter().unzip();
        let sql = "SELECT kind, name, (SELECT number FROM names n WHERE n.kind = sought.kind AND n.name = sought.name),
                          (SELECT coalesce(max(number), 0) FROM names n WHERE n.kind = sought.kind)
                   FROM unnest($1::int2[], $2::text[]) AS sought (kind, name)";
        for row in connection.query(sql, &[&kinds, &names]).await? {
            let kind: i16 = row.get(0);
            if let Some(number) = row.get(2) {
                found.numbers.insert((kind, row.get::<_, &str>(1).into()), number);
            }
            found.largest.insert(kind, row.get(3));
        }
        Ok(found)
    }

    /// Takes over what a transaction gave, which was committed.
    pub(super) fn take(&self, giving: &Giving) {
        self.keep(giving.given.iter().map(|(name, number)| (name.clone(), *number)));
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

/// What the table says of names that are not known here.
#[derive(Debug, Default)]
pub(super) struct LookedUp {
    numbers: HashMap<Name, i32>,
    /// The largest number of each kind that was asked about.
    largest: HashMap<i16, i32>,
}

/// Numbers of names in one transaction: those that are there, and new ones. Given for good with [`Names::take`], after it.
#[derive(Debug, Default)]
pub(super) struct Giving {
    given: HashMap<Name, i32>,
    /// The largest number of each kind, where new ones were given.
    largest: HashMap<i16, i32>,
    new: Vec<(Name, i32)>,
}

impl Giving {
    /// The number of a name, which was looked up where it was not known; a new name gets the next one. `before` gives numbers in
    /// a transaction that will be committed before this one.
    pub(super) fn number(
        &mut self,
        names: &Names,
        looked_up: &LookedUp,
        before: Option<&Self>,
        (kind, name): (NameKind, &str),
    ) -> i32 {
        if let Some(number) = names.known(kind, name) {
            return number;
        }
        let key = (kind as i16, Arc::from(name));
        let found = [Some(&self.given), before.map(|before| &before.given), Some(&looked_up.numbers)];
        let found = found.into_iter().flatten().find_map(|numbers| numbers.get(&key)).copied();
        if let Some(number) = found {
            self.given.insert(key, number);
            return number;
        }
        let largest = [Some(&self.largest), before.map(|before| &before.largest), Some(&looked_up.largest)];
        let largest = largest.into_iter().flatten().filter_map(|of_kinds| of_kinds.get(&key.0)).max();
        let number = largest.copied().unwrap_or(0) + 1;
        self.largest.insert(key.0, number);
        self.new.push((key.clone(), number));
        self.given.insert(key, number);
        number
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_over_transactions_that_follow_each_other() {
        let names = Names::default();
        let asked = LookedUp { numbers: HashMap::new(), largest: HashMap::from([(NameKind::Camera as i16, 7)]) };
        let mut first = Giving::default();
        let gate = (NameKind::Camera, "gate");
        assert_eq!(first.number(&names, &asked, None, gate), 8);
        assert_eq!(first.number(&names, &asked, None, gate), 8);
        // The second was asked about before the first was written.
        let mut second = Giving::default();
        assert_eq!(second.number(&names, &asked, Some(&first), (NameKind::Camera, "yard")), 9);
        assert_eq!(second.number(&names, &asked, Some(&first), gate), 8);
        assert_eq!(second.new.len(), 1, "the first brings its own");
        names.take(&first);
        assert_eq!(Giving::default().number(&names, &LookedUp::default(), None, gate), 8);
        assert_eq!(first.number(&names, &LookedUp::default(), None, (NameKind::Class, "gate")), 1);
    }
}
