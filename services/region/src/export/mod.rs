//! `vigil region export`: the index as Parquet files, which `DuckDB`, Spark, pandas and others read.
//!
//! # Layout
//! ```text
//! OUT/day=2026-05-01/events.parquet     events that began on that UTC day
//!     day=2026-05-02/events.parquet
//!     _export.json                      what was exported, when, and what is missing; written last: an export without it is a part
//! ```
//! Each file is written under another name, synced, and then given its own: a file that is there is whole. An export that was cut
//! off is done again; its files are replaced. Names that begin with `_` or `.` are passed over by readers of such folders.
//!
//! # Memory
//! One row group of events, whatever their number.
//!
//! It reads the engine's data beside the region, not through its border: whoever can run it on the region's machine can read that
//! data anyway. It is in an audit log of its own (`exports` in the region's), before the first file has its name.

mod columns;

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::writer::SerializedFileWriter;
use serde_json::json;
use vigil_audit::{AuditError, AuditLog, Entry, Outcome};
use vigil_base::event::Event;
use vigil_base::{SharedClock, SystemClock, Timestamp};
use vigil_proto::convert::event_from_wire;
use vigil_proto::v1;
use vigil_serve::Access;

use self::columns::{Columns, properties};
use crate::RegionConfig;
use crate::config::IndexConfig;
use crate::index::{IndexError, postgres, sqlite};
use crate::server::embedded;

/// Events of a row group: some 20 MiB while it is made.
const ROW_GROUP: usize = 16_384;
/// The folder of the exports' own audit log, in the region's: that one is the running region's.
const AUDIT: &str = "exports";
const SUMMARY: &str = "_export.json";
const DAY_US: i64 = 86_400_000_000;

/// What to export, and why.
#[derive(Debug, Clone)]
pub struct ExportRequest {
    /// The folder for the files; made where it is not there.
    pub out: PathBuf,
    /// Events that began within this time.
    pub time: Range<Timestamp>,
    /// Whether plates, which are personal data, are among the columns.
    pub with_plates: bool,
    /// Purpose and case.
    pub access: Access,
}

/// What was exported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Events.
    pub events: u64,
    /// Files: one a day.
    pub files: u64,
    /// What could not be read, and why.
    pub missing: Vec<String>,
}

/// An export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The region requires what was not said.
    #[error("the region's [access] requires a {0} for every question; say it with --{0}")]
    Unsaid(&'static str),
    /// The index cannot be read.
    #[error("the index cannot be exported")]
    Index(#[from] IndexError),
    /// The export cannot be written down, so it is not made.
    #[error("the audit log of exports cannot be used")]
    Audit(#[from] AuditError),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Parquet's own failure.
    #[error("cannot write {} as Parquet", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ParquetError,
    },
}

/// Exports what the request asks for, beside the region that may be running.
///
/// # Errors
/// See [`ExportError`]. Files that are there are whole.
pub async fn export(config: &RegionConfig, request: ExportRequest) -> Result<Exported, ExportError> {
    for (what, said, required) in [
        ("purpose", &request.access.purpose, config.access.require_purpose),
        ("case", &request.access.case, config.access.require_case),
    ] {
        if required && said.is_none() {
            return Err(ExportError::Unsaid(what));
        }
    }
    let clock = SystemClock::shared();
    let folder = config.audit_dir.join(AUDIT);
    let opening = (folder, clock.clone());
    let opened = tokio::task::spawn_blocking(move || AuditLog::open(&opening.0, opening.1)).await;
    let audit = opened.unwrap_or(Err(AuditError::Closed))?;
    audit.append(entry(&request, "Begun", 0)).await?;
    let (asked, config) = (request.clone(), config.clone());
    let writing = tokio::task::spawn_blocking(move || write_all(&config, &asked, &clock)).await;
    let done = writing.unwrap_or(Err(ExportError::Index(IndexError::Closed)));
    let (code, events) = done.as_ref().map_or(("Failed", 0), |done| ("Ok", done.events));
    audit.append(entry(&request, code, events)).await?;
    done
}

fn entry(request: &ExportRequest, code: &str, items: u64) -> Entry {
    // The kernel's word for who runs this process.
    let user = fs::metadata("/proc/self").map_or_else(|_| "unknown".to_owned(), |own| format!("uid:{}", own.uid()));
    let ExportRequest { out, time, with_plates, access } = request;
    Entry {
        subject: user,
        on_behalf_of: None,
        peer: String::new(),
        method: "Region/Export".to_owned(),
        purpose: access.purpose.clone(),
        case: access.case.clone(),
        question: json!({
            "out": out.display().to_string(),
            "from": time.start.to_string(),
            "until": time.end.to_string(),
            "with_plates": with_plates,
        }),
        outcome: Outcome { code: code.to_owned(), ..Outcome::ok(items) },
    }
}

fn write_all(config: &RegionConfig, request: &ExportRequest, clock: &SharedClock) -> Result<Exported, ExportError> {
    let summary = request.out.join(SUMMARY);
    if summary.exists() {
        fs::remove_file(&summary).map_err(|source| ExportError::Write { path: summary.clone(), source })?;
    }
    let mut writer = Writer::new(request);
    let mut failed = None;
    let mut give = |events: Vec<v1::Event>| {
        writer.take(events).map_err(|error| {
            failed = Some(error);
            IndexError::Cancelled
        })
    };
    let scanned = match &config.index {
        IndexConfig::Sqlite => sqlite::scan(&embedded(config), &request.time, &mut give),
        IndexConfig::Postgres(postgres) | IndexConfig::Replica(postgres) => {
            postgres::scan(postgres, &request.time, &mut give).map(|()| Vec::new())
        }
    };
    if let Some(error) = failed {
        return Err(error);
    }
    let missing = scanned?;
    let done = Exported { missing, ..writer.finish()? };
    let told = json!({
        "region": config.region_id.as_str(),
        "from": request.time.start.to_string(),
        "until": request.time.end.to_string(),
        "made": clock.now().to_string(),
        "with_plates": request.with_plates,
        "events": done.events,
        "files": done.files,
        "missing": done.missing,
    });
    let written = fs::create_dir_all(&request.out).and_then(|()| fs::write(&summary, format!("{told:#}\n")));
    written.map_err(|source| ExportError::Write { path: summary, source })?;
    Ok(done)
}

/// Writes events, which come a day after the other, into a file for each day.
struct Writer<'r> {
    out: &'r Path,
    columns: Columns,
    day: Option<DayFile>,
    waiting: Vec<Event>,
    done: Exported,
}

/// The file of one day while it is written.
struct DayFile {
    day: i64,
    part: PathBuf,
    whole: PathBuf,
    writer: SerializedFileWriter<File>,
}

impl<'r> Writer<'r> {
    fn new(request: &'r ExportRequest) -> Self {
        let columns = Columns::new(request.with_plates);
        Self { out: &request.out, columns, day: None, waiting: Vec::new(), done: Exported::default() }
    }

    fn take(&mut self, events: Vec<v1::Event>) -> Result<(), ExportError> {
        // What the index holds was checked when it came.
        for event in events.into_iter().filter_map(|wire| event_from_wire(wire).ok()) {
            let day = event.begin_time.as_micros().div_euclid(DAY_US);
            if self.day.as_ref().is_none_or(|file| file.day != day) {
                self.close()?;
                self.day = Some(DayFile::create(self.out, day, &self.columns)?);
            }
            self.waiting.push(event);
            if self.waiting.len() == ROW_GROUP {
                self.write_group()?;
            }
        }
        Ok(())
    }

    fn write_group(&mut self) -> Result<(), ExportError> {
        let Some(file) = self.day.as_mut().filter(|_| !self.waiting.is_empty()) else { return Ok(()) };
        let mut write = || {
            let mut group = file.writer.next_row_group()?;
            self.columns.write(&self.waiting, &mut group)?;
            group.close().map(drop)
        };
        let path = file.part.clone();
        write().map_err(|source| ExportError::Parquet { path, source })?;
        self.done.events += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    fn close(&mut self) -> Result<(), ExportError> {
        self.write_group()?;
        let Some(file) = self.day.take() else { return Ok(()) };
        file.close()?;
        self.done.files += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<Exported, ExportError> {
        self.close()?;
        Ok(self.done)
    }
}

impl DayFile {
    fn create(out: &Path, day: i64, columns: &Columns) -> Result<Self, ExportError> {
        let date: String = Timestamp::from_micros(day * DAY_US).to_string().chars().take(10).collect();
        let folder = out.join(format!("day={date}"));
        let (part, whole) = (folder.join(".events.parquet.part"), folder.join("events.parquet"));
        let created = fs::create_dir_all(&folder).and_then(|()| File::create(&part));
        let file = created.map_err(|source| ExportError::Write { path: part.clone(), source })?;
        let made = columns.schema().and_then(|schema| SerializedFileWriter::new(file, schema, Arc::new(properties())));
        let writer = made.map_err(|source| ExportError::Parquet { path: part.clone(), source })?;
        Ok(Self { day, part, whole, writer })
    }

    fn close(self) -> Result<(), ExportError> {
        let Self { part, whole, writer, .. } = self;
        let file = writer.into_inner().map_err(|source| ExportError::Parquet { path: part.clone(), source })?;
        let named = file.sync_all().and_then(|()| fs::rename(&part, &whole));
        named.map_err(|source| ExportError::Write { path: whole, source })
    }
}
