//! What was watched: storing reports, adding them up, forgetting them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use prost::Message;
use tokio_postgres::Row;
use uuid::Uuid;
use vigil_base::coverage::{Analysis, CameraCoverage, CoverageReport, MINUTE, Tally};
use vigil_base::{CameraId, Timestamp};
use vigil_proto::convert::{CoverageQuestion, CoverageSums, tally_from_wire, tally_to_wire};
use vigil_proto::v1;

use super::connect::Connection;
use super::failure::{Failure, damaged};
use super::names::{Giving, NameKind};
use super::readers::Snapshot;
use super::writer::Changing;
use crate::index::IndexError;

/// Rows that one question reads: about three seconds.
const MAX_WORK: usize = 2_000_000;
/// Minutes that one step of retention removes: some tens of milliseconds for thousands of cameras, during which commits wait.
const PURGED_MINUTES: i64 = 10;
const HOUR: Duration = Duration::from_hours(1);

/// Stores reports; one that is there already changes nothing.
pub(super) async fn store(changing: Changing, reports: Vec<CoverageReport>) -> Result<(), Failure> {
    let connection = &changing.connection;
    let names = &changing.shared.names;
    let told = reports.iter().flat_map(|report| &report.cameras).map(|told| (NameKind::Camera, told.camera.as_str()));
    let looked_up = names.look_up(connection, told).await?;
    let mut giving = Giving::default();
    let mut storing = Storing { connection, analyses: HashMap::new() };
    let mut hours: BTreeMap<(i64, i32, i32), (Tally, Option<i64>)> = BTreeMap::new();
    for report in &reports {
        for told in &report.cameras {
            let camera = giving.number(names, &looked_up, None, (NameKind::Camera, told.camera.as_str()));
            let analysis = storing.analysis_number(&told.analysis).await?;
            if insert(connection, report, camera, analysis, told).await? {
                let hour = hours.entry((step_number(report.minute, HOUR), camera, analysis)).or_default();
                hour.0 += told.tally;
                hour.1 = told.clock_offset_ms.or(hour.1);
            }
        }
    }
    // Given for good only by a commit of events: a number that is read again costs a question, and nothing else.
    giving.store(connection).await?;
    for (key, (tally, offset)) in hours {
        add_to_hour(connection, key, tally, offset).await?;
    }
    Ok(())
}

struct Storing<'s> {
    connection: &'s Connection,
    analyses: HashMap<(String, String, String, i32), i32>,
}

impl Storing<'_> {
    /// The number of an analysis; a new one gets the next.
    async fn analysis_number(&mut self, analysis: &Analysis) -> Result<i32, tokio_postgres::Error> {
        let Analysis { provider, model, fingerprint, rate } = analysis;
        let rate = (rate * 100.0).round() as i32;
        let key = (provider.to_string(), model.to_string(), fingerprint.to_string(), rate);
        if let Some(number) = self.analyses.get(&key) {
            return Ok(*number);
        }
        let (provider, model, fingerprint) = (&**provider, &**model, &**fingerprint);
        let sql = "SELECT number FROM analyses WHERE provider = $1 AND model = $2 AND fingerprint = $3 AND rate = $4";
        let found = self.connection.query_opt(sql, &[&provider, &model, &fingerprint, &rate]).await?;
        let number = if let Some(row) = found {
            row.get(0)
        } else {
            let sql = "SELECT coalesce(max(number), 0) + 1 FROM analyses";
            let next: i32 = self.connection.client().query_one(sql, &[]).await?.get(0);
            let sql = "INSERT INTO analyses (number, provider, model, fingerprint, rate) VALUES ($1, $2, $3, $4, $5)";
            self.connection.execute(sql, &[&next, &provider, &model, &fingerprint, &rate]).await?;
            next
        };
        self.analyses.insert(key, number);
        Ok(number)
    }
}

/// Whether the report was not there yet.
async fn insert(
    connection: &Connection,
    report: &CoverageReport,
    camera: i32,
    analysis: i32,
    told: &CameraCoverage,
) -> Result<bool, tokio_postgres::Error> {
    let sql = "INSERT INTO coverage (minute, camera, report, analysis, tally, clock_offset_ms)
               VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
    let (minute, id) = (step_number(report.minute, MINUTE), Uuid::from_bytes(*report.id.as_bytes()));
    let tally = packed(&told.tally);
    let inserted = connection.execute(sql, &[&minute, &camera, &id, &analysis, &tally, &told.clock_offset_ms]).await?;
    Ok(inserted == 1)
}

async fn add_to_hour(
    connection: &Connection,
    (hour, camera, analysis): (i64, i32, i32),
    more: Tally,
    offset: Option<i64>,
) -> Result<(), Failure> {
    let sql = "SELECT tally FROM coverage_hourly WHERE hour = $1 AND camera = $2 AND analysis = $3";
    let before = connection.query_opt(sql, &[&hour, &camera, &analysis]).await?;
    let mut sum = before.map_or_else(|| Ok(Tally::default()), |row| unpacked(connection, row.get(0)))?;
    sum += more;
    let sql =
        "INSERT INTO coverage_hourly AS h (hour, camera, analysis, tally, clock_offset_ms) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (hour, camera, analysis) DO UPDATE SET tally = excluded.tally,
                   clock_offset_ms = coalesce(excluded.clock_offset_ms, h.clock_offset_ms)";
    connection.execute(sql, &[&hour, &camera, &analysis, &packed(&sum), &offset]).await?;
    Ok(())
}

/// Sums over what a question asks for. Over all of the time, cameras of the registry are named of which nothing is known.
pub(super) async fn sums(snapshot: Snapshot, question: CoverageQuestion) -> Result<CoverageSums, Failure> {
    let connection = &snapshot.connection;
    let mut sums = CoverageSums::new(question.clone());
    if question.step.length().is_none() {
        name_registered(connection, &question, &mut sums).await?;
    }
    let named: Vec<&str> = question.cameras.iter().map(CameraId::as_str).collect();
    let cameras = snapshot.shared.names.numbers(connection, NameKind::Camera, &named).await?;
    if cameras.is_empty() && !named.is_empty() {
        return Ok(sums);
    }
    let step = question.grain;
    let (table, column) = if step == MINUTE { ("coverage", "minute") } else { ("coverage_hourly", "hour") };
    let of_cameras = if named.is_empty() { "($3::int4[] = '{}' OR true)" } else { "camera = ANY($3)" };
    let sql = format!(
        "SELECT {column}, camera, analysis, tally, clock_offset_ms FROM {table}
         WHERE {column} >= $1 AND {column} < $2 AND {of_cameras} LIMIT $4"
    );
    let (from, until) = (step_number(question.from, step), step_number(question.until, step));
    let rows = connection.query(&sql, &[&from, &until, &cameras, &(MAX_WORK as i64 + 1)]).await?;
    if rows.len() > MAX_WORK {
        return Err(IndexError::TooMuchWork { limit: MAX_WORK }.into());
    }
    let mut analyses = HashMap::new();
    for row in &rows {
        let analysis = match analyses.entry(row.get::<_, i32>(2)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let analysis = analysis_of(connection, *new.key()).await?;
                new.insert(analysis)
            }
        };
        add(&snapshot, &mut sums, row, step, analysis).await?;
    }
    Ok(sums)
}

async fn add(
    snapshot: &Snapshot,
    sums: &mut CoverageSums,
    row: &Row,
    step: Duration,
    analysis: &Analysis,
) -> Result<(), Failure> {
    let connection = &snapshot.connection;
    let name = snapshot.shared.names.name(connection, NameKind::Camera, row.get(1)).await?;
    let camera = CameraId::new(name).map_err(|e| damaged(connection.index_name(), e))?;
    let at = Timestamp::from_micros(row.get::<_, i64>(0) * step.as_micros() as i64);
    sums.add(&camera, at, &unpacked(connection, row.get(3))?, analysis, row.get(4));
    Ok(())
}

async fn name_registered(
    connection: &Connection,
    question: &CoverageQuestion,
    sums: &mut CoverageSums,
) -> Result<(), Failure> {
    for row in connection.query("SELECT camera_id FROM cameras", &[]).await? {
        let camera = CameraId::new(row.get::<_, &str>(0)).map_err(|e| damaged(connection.index_name(), e))?;
        if question.cameras.is_empty() || question.cameras.contains(&camera) {
            sums.name(&camera);
        }
    }
    Ok(())
}

async fn analysis_of(connection: &Connection, number: i32) -> Result<Analysis, tokio_postgres::Error> {
    let sql = "SELECT provider, model, fingerprint, rate FROM analyses WHERE number = $1";
    let statement = connection.prepare(sql).await?;
    let row = connection.client().query_one(&statement, &[&number]).await?;
    let text = |column: usize| row.get::<_, &str>(column).into();
    let rate = row.get::<_, i32>(3) as f32 / 100.0;
    Ok(Analysis { provider: text(0), model: text(1), fingerprint: text(2), rate })
}

/// Removes the oldest minutes before `older_than`, a bounded number of them, and hours and analyses that are no longer needed;
/// returns how many rows of minutes went.
pub(super) async fn purge(changing: Changing, older_than: Timestamp) -> Result<usize, Failure> {
    let connection = &changing.connection;
    let row = connection.client().query_one("SELECT min(minute) FROM coverage", &[]).await?;
    let before = step_number(older_than, MINUTE);
    let Some(oldest) = row.get::<_, Option<i64>>(0).filter(|oldest| *oldest < before) else { return Ok(0) };
    let until = before.min(oldest + PURGED_MINUTES);
    let removed = connection.execute("DELETE FROM coverage WHERE minute < $1", &[&until]).await?;
    let hour = until / (HOUR.as_secs() / MINUTE.as_secs()) as i64;
    let hours = connection.execute("DELETE FROM coverage_hourly WHERE hour < $1", &[&hour]).await?;
    if hours > 0 {
        let unused = "DELETE FROM analyses WHERE number NOT IN (SELECT analysis FROM coverage_hourly)";
        connection.execute(unused, &[]).await?;
    }
    Ok(removed as usize)
}

/// The number, since 1970, of the step of this length that a time lies in.
fn step_number(at: Timestamp, step: Duration) -> i64 {
    at.as_micros().div_euclid(step.as_micros() as i64)
}

fn packed(tally: &Tally) -> Vec<u8> {
    tally_to_wire(tally).encode_to_vec()
}

fn unpacked(connection: &Connection, packed: &[u8]) -> Result<Tally, Failure> {
    let tally = v1::CoverageTally::decode(packed).map_err(|e| damaged(connection.index_name(), e))?;
    Ok(tally_from_wire(tally))
}
