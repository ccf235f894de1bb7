//! What was watched: storing reports, adding them up, forgetting them.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::time::Duration;

use prost::Message;
use rusqlite::{Connection, OptionalExtension, Rows, params};
use vigil_base::coverage::{Analysis, CameraCoverage, CoverageReport, MINUTE, Tally};
use vigil_base::{CameraId, Timestamp};
use vigil_proto::convert::{CoverageQuestion, CoverageSums, tally_from_wire, tally_to_wire};
use vigil_proto::v1;

use super::budget::{Budget, ROW_COST};
use super::cameras::parsed;
use super::failure::ReadError;
use super::names::{NameCache, NameKind, number_of};
use super::readers::Snapshot;
use super::writer::Changing;
use crate::index::IndexError;

/// Work of one question, in index entries: about three seconds.
const MAX_WORK: usize = 5_000_000;
/// Up to this many cameras are looked up one by one in each step; more, and all of the step is read.
const FEW_CAMERAS: usize = 64;
/// Minutes that one step of retention removes: some milliseconds for thousands of cameras, during which commits wait.
const PURGED_MINUTES: i64 = 10;
const HOUR: Duration = Duration::from_hours(1);

/// What was told of some minutes, and of some hours.
const MINUTES: &str =
    "SELECT minute, camera, analysis, tally, clock_offset_ms FROM coverage WHERE minute >= ?1 AND minute < ?2";
const HOURS: &str =
    "SELECT hour, camera, analysis, tally, clock_offset_ms FROM coverage_hourly WHERE hour >= ?1 AND hour < ?2";

/// Stores reports; one that is there already changes nothing.
pub(super) fn store(changing: &mut Changing<'_>, reports: &[CoverageReport]) -> Result<(), ReadError> {
    let transaction = &changing.transaction;
    let mut names = NameCache::default();
    for report in reports {
        for told in &report.cameras {
            let camera = names.number(transaction, NameKind::Camera, told.camera.as_str())?;
            let analysis = analysis_number(transaction, &told.analysis)?;
            if insert(transaction, report, camera, analysis, told)? {
                add_to_hour(transaction, step_number(report.minute, HOUR), camera, analysis, told)?;
            }
        }
    }
    Ok(())
}

/// Whether the report was not there yet.
fn insert(
    connection: &Connection,
    report: &CoverageReport,
    camera: i64,
    analysis: i64,
    told: &CameraCoverage,
) -> rusqlite::Result<bool> {
    let sql = "INSERT OR IGNORE INTO coverage (minute, camera, report, analysis, tally, clock_offset_ms)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (minute, id, tally) = (step_number(report.minute, MINUTE), report.id.as_bytes(), packed(&told.tally));
    let row = params![minute, camera, id, analysis, tally, told.clock_offset_ms];
    Ok(connection.prepare_cached(sql)?.execute(row)? == 1)
}

fn add_to_hour(
    connection: &Connection,
    hour: i64,
    camera: i64,
    analysis: i64,
    told: &CameraCoverage,
) -> rusqlite::Result<()> {
    let sql = "SELECT tally FROM coverage_hourly WHERE hour = ?1 AND camera = ?2 AND analysis = ?3";
    let key = [hour, camera, analysis];
    let before: Option<Vec<u8>> = connection.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
    let mut sum = before.map_or_else(|| Ok(Tally::default()), |packed| unpacked(&packed))?;
    sum += told.tally;
    let sql = "INSERT INTO coverage_hourly (hour, camera, analysis, tally, clock_offset_ms) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (hour, camera, analysis) DO UPDATE SET tally = excluded.tally,
                   clock_offset_ms = ifnull(excluded.clock_offset_ms, clock_offset_ms)";
    connection.prepare_cached(sql)?.execute(params![hour, camera, analysis, packed(&sum), told.clock_offset_ms])?;
    Ok(())
}

/// The number of an analysis; a new one gets the next.
fn analysis_number(connection: &Connection, analysis: &Analysis) -> rusqlite::Result<i64> {
    let Analysis { provider, model, fingerprint, rate } = analysis;
    let rate = (rate * 100.0).round() as i64;
    let key = params![provider, model, fingerprint, rate];
    let sql = "INSERT OR IGNORE INTO analyses (provider, model, fingerprint, rate) VALUES (?1, ?2, ?3, ?4)";
    connection.prepare_cached(sql)?.execute(key)?;
    let sql = "SELECT number FROM analyses WHERE provider = ?1 AND model = ?2 AND fingerprint = ?3 AND rate = ?4";
    connection.prepare_cached(sql)?.query_row(key, |row| row.get(0))
}

fn analysis_of(connection: &Connection, number: i64) -> rusqlite::Result<Analysis> {
    let sql = "SELECT provider, model, fingerprint, rate FROM analyses WHERE number = ?1";
    connection.prepare_cached(sql)?.query_row([number], |row| {
        let text = |column: usize| row.get::<_, String>(column).map(Into::into);
        let rate = row.get::<_, i64>(3)? as f32 / 100.0;
        Ok(Analysis { provider: text(0)?, model: text(1)?, fingerprint: text(2)?, rate })
    })
}

/// Sums over what a question asks for. Over all of the time, cameras of the registry are named of which nothing is known.
pub(super) fn sums(snapshot: &Snapshot<'_>, question: &CoverageQuestion) -> Result<CoverageSums, ReadError> {
    // All that is read is of one commit.
    let connection = &snapshot.region().unchecked_transaction()?;
    let mut adding = Adding {
        connection,
        budget: Budget::new(snapshot, MAX_WORK),
        cameras: HashMap::new(),
        analyses: HashMap::new(),
        sums: CoverageSums::new(question.clone()),
    };
    if question.step.length().is_none() {
        name_registered(connection, question, &mut adding.sums)?;
    }
    let named = question.cameras.iter().map(|camera| number_of(connection, NameKind::Camera, camera.as_str()));
    // A camera that is named twice is one.
    let named: BTreeSet<i64> = named.filter_map(Result::transpose).collect::<Result<_, _>>()?;
    let step = question.grain;
    let sql = if step == MINUTE { MINUTES } else { HOURS };
    let steps = step_number(question.from, step)..step_number(question.until, step);
    match named.len() {
        0 if !question.cameras.is_empty() => {}
        1..=FEW_CAMERAS => adding.add_few(sql, steps, step, &named)?,
        _ => {
            let mut statement = connection.prepare_cached(sql)?;
            adding.add(statement.query([steps.start, steps.end])?, step, &named)?;
        }
    }
    Ok(adding.sums)
}

fn name_registered(
    connection: &Connection,
    question: &CoverageQuestion,
    sums: &mut CoverageSums,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("SELECT camera_id FROM cameras")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let camera: CameraId = parsed(row, 0)?;
        if question.cameras.is_empty() || question.cameras.contains(&camera) {
            sums.name(&camera);
        }
    }
    Ok(())
}

struct Adding<'s> {
    connection: &'s Connection,
    budget: Budget<'s>,
    cameras: HashMap<i64, CameraId>,
    analyses: HashMap<i64, Analysis>,
    sums: CoverageSums,
}

impl Adding<'_> {
    fn add_few(
        &mut self,
        sql: &str,
        steps: Range<i64>,
        step: Duration,
        cameras: &BTreeSet<i64>,
    ) -> Result<(), ReadError> {
        let mut statement = self.connection.prepare_cached(&format!("{sql} AND camera = ?3"))?;
        for number in steps {
            for camera in cameras {
                self.spend(ROW_COST)?;
                self.add(statement.query([number, number + 1, *camera])?, step, &BTreeSet::new())?;
            }
        }
        Ok(())
    }

    /// Adds rows of these cameras, or of all where none are named.
    fn add(&mut self, mut rows: Rows<'_>, step: Duration, cameras: &BTreeSet<i64>) -> Result<(), ReadError> {
        while let Some(row) = rows.next()? {
            self.spend(1)?;
            let (number, camera): (i64, i64) = (row.get(0)?, row.get(1)?);
            if !cameras.is_empty() && !cameras.contains(&camera) {
                continue;
            }
            let at = Timestamp::from_micros(number * step.as_micros() as i64);
            let tally = unpacked(&row.get::<_, Vec<u8>>(3)?)?;
            let (camera, analysis) = (self.camera(camera)?, self.analysis(row.get(2)?)?);
            self.sums.add(&camera, at, &tally, &analysis, row.get(4)?);
        }
        Ok(())
    }

    fn spend(&mut self, cost: usize) -> Result<(), ReadError> {
        if self.budget.spend(cost)? {
            return Ok(());
        }
        Err(IndexError::TooMuchWork { limit: MAX_WORK }.into())
    }

    fn camera(&mut self, number: i64) -> rusqlite::Result<CameraId> {
        if let Some(camera) = self.cameras.get(&number) {
            return Ok(camera.clone());
        }
        let sql = "SELECT name FROM names WHERE kind = ?1 AND number = ?2";
        let key = [NameKind::Camera as i64, number];
        let camera: CameraId = self.connection.prepare_cached(sql)?.query_row(key, |row| parsed(row, 0))?;
        Ok(self.cameras.entry(number).or_insert(camera).clone())
    }

    fn analysis(&mut self, number: i64) -> rusqlite::Result<Analysis> {
        if let Some(analysis) = self.analyses.get(&number) {
            return Ok(analysis.clone());
        }
        let analysis = analysis_of(self.connection, number)?;
        Ok(self.analyses.entry(number).or_insert(analysis).clone())
    }
}

/// Removes the oldest minutes before `older_than`, a bounded number of them, and hours and analyses that are no longer needed;
/// returns how many rows of minutes went.
pub(super) fn purge(changing: &mut Changing<'_>, older_than: Timestamp) -> Result<usize, ReadError> {
    let transaction = &changing.transaction;
    let oldest = transaction.query_row("SELECT min(minute) FROM coverage", [], |row| row.get::<_, Option<i64>>(0))?;
    let before = step_number(older_than, MINUTE);
    let Some(oldest) = oldest.filter(|oldest| *oldest < before) else { return Ok(0) };
    let until = before.min(oldest + PURGED_MINUTES);
    let removed = transaction.execute("DELETE FROM coverage WHERE minute < ?1", [until])?;
    let minutes_an_hour = (HOUR.as_secs() / MINUTE.as_secs()) as i64;
    let hours = transaction.execute("DELETE FROM coverage_hourly WHERE hour < ?1", [until / minutes_an_hour])?;
    if hours > 0 {
        let unused = "DELETE FROM analyses WHERE number NOT IN (SELECT analysis FROM coverage_hourly)";
        transaction.execute(unused, [])?;
    }
    Ok(removed)
}

/// The number, since 1970, of the step of this length that a time lies in.
fn step_number(at: Timestamp, step: Duration) -> i64 {
    at.as_micros().div_euclid(step.as_micros() as i64)
}

fn packed(tally: &Tally) -> Vec<u8> {
    tally_to_wire(tally).encode_to_vec()
}

fn unpacked(packed: &[u8]) -> rusqlite::Result<Tally> {
    let damaged = |e| rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Blob, Box::new(e));
    Ok(tally_from_wire(v1::CoverageTally::decode(packed).map_err(damaged)?))
}
