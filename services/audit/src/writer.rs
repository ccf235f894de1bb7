//! The thread that owns the files: records to lines, lines to the disk, the head to the disk, answers to the callers.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use metrics::{Counter, Gauge, counter, gauge};
use nix::fcntl::{FallocateFlags, fallocate};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use vigil_base::SharedClock;

use crate::entry::{Entry, Outcome, Record};
use crate::error::AuditError;
use crate::folder::{Folder, Lines, Next};
use crate::head::{Head, HeadFile, load_or_make_key};
use crate::line::{Digest, encode};

/// A new file is begun once the last has so many bytes: what is checked at a start.
const SEGMENT_BYTES: u64 = 64 << 20;
/// Calls that are written together: what comes in during one sync.
const GROUP: usize = 256;
/// Room that is kept on the disk for questions that come when it is full: some ten thousand.
const ROOM: u64 = 8 << 20;
/// Who writes about the log itself.
const SELF: &str = "vigil";

/// An entry to be written, and who waits for it.
pub(crate) struct Call {
    pub(crate) entry: Entry,
    pub(crate) answer: oneshot::Sender<Result<u64, AuditError>>,
}

pub(crate) struct Writer {
    folder: Folder,
    clock: SharedClock,
    heads: HeadFile,
    segment: Segment,
    /// The last record's number, and its hash.
    last: (u64, Digest),
    records: Counter,
    failures: Counter,
    number: Gauge,
}

/// The file that is written.
struct Segment {
    path: PathBuf,
    file: File,
    /// Bytes of whole records in it; more may be there after a failure.
    length: u64,
    /// Something after `length` could not be cut off yet.
    dirty: bool,
    /// Room is kept on the disk up to here.
    kept_to: u64,
}

impl Writer {
    /// Opens the newest file, checks it, and goes on after its last record.
    pub(crate) fn open(folder: Folder, clock: SharedClock) -> Result<Self, AuditError> {
        let key = load_or_make_key(&folder.signing_key(), &folder.public_key())?;
        let (heads, head) = HeadFile::open(&folder.head(), key)?;
        let newest = folder.segments()?.pop();
        let (segment, last) = match newest {
            Some((first, path)) => go_on(&folder, first, path)?,
            None => (Segment::begin(&folder, 1)?, (0, Digest::NONE)),
        };
        let sealed = head.as_ref().map_or(0, |head| head.seq);
        check_head(&folder, head.as_ref(), last)?;
        let mut writer = Self {
            folder,
            clock,
            heads,
            segment,
            last,
            records: counter!("vigil_audit_records_total"),
            failures: counter!("vigil_audit_failures_total"),
            number: gauge!("vigil_audit_last_record"),
        };
        if last.0 > sealed {
            writer.tell_unsigned(last.0 - sealed)?;
        }
        Ok(writer)
    }

    /// Writes until nobody can call any more.
    pub(crate) fn run(mut self, mut calls: mpsc::Receiver<Call>) {
        let mut group = Vec::with_capacity(GROUP);
        while calls.blocking_recv_many(&mut group, GROUP) > 0 {
            self.write_group(group.drain(..));
        }
    }

    fn write_group(&mut self, calls: impl Iterator<Item = Call>) {
        let (mut lines, mut waiting, mut last) = (Vec::new(), Vec::new(), self.last);
        for Call { entry, answer } in calls {
            match encode(&Record::new(last.0 + 1, last.1, self.clock.now(), entry)) {
                Ok(line) => {
                    last = (last.0 + 1, Digest::of(&line));
                    lines.extend_from_slice(&line);
                    lines.push(b'\n');
                    waiting.push((last.0, answer));
                }
                // Who went away meanwhile gives no answer, either.
                Err(error) => drop(answer.send(Err(error))),
            }
        }
        let written = if waiting.is_empty() { Ok(()) } else { self.write(&lines, last) };
        if let Err(error) = &written {
            self.failures.increment(1);
            tracing::error!(error = %vigil_base::error::chain(error), "the audit log cannot be written: no answer is given");
        }
        for (seq, answer) in waiting {
            drop(answer.send(written.clone().map(|()| seq)));
        }
    }

    /// Lines, sync, head, sync. On an error nothing of it counts.
    fn write(&mut self, lines: &[u8], last: (u64, Digest)) -> Result<(), AuditError> {
        if self.segment.length >= SEGMENT_BYTES {
            self.segment = Segment::begin(&self.folder, self.last.0 + 1)?;
        }
        self.segment.append(lines)?;
        if let Err(error) = self.heads.write(last.0, last.1, self.clock.now()) {
            self.segment.cut_back(lines.len() as u64);
            return Err(AuditError::io(&self.folder.head(), "write", error));
        }
        self.records.increment(last.0 - self.last.0);
        self.last = last;
        self.number.set(last.0 as f64);
        Ok(())
    }

    /// Says how many records there are that no head signs.
    fn tell_unsigned(&mut self, records: u64) -> Result<(), AuditError> {
        let entry = Entry {
            subject: SELF.to_owned(),
            on_behalf_of: None,
            peer: String::new(),
            method: "Audit/Reopened".to_owned(),
            purpose: None,
            case: None,
            question: json!({ "unsigned_records": records }),
            outcome: Outcome::ok(0),
        };
        let record = Record::new(self.last.0 + 1, self.last.1, self.clock.now(), entry);
        let mut line = encode(&record)?;
        let last = (record.seq, Digest::of(&line));
        line.push(b'\n');
        self.write(&line, last)
    }
}

/// Reads the newest file through: its records must follow one another. A line without its end is cut off.
fn go_on(folder: &Folder, first: u64, path: PathBuf) -> Result<(Segment, (u64, Digest)), AuditError> {
    let damaged = |problem: String| AuditError::Damaged { folder: folder.0.clone(), problem };
    let mut lines = Lines::open(&path)?;
    let mut last: Option<(u64, Digest)> = None;
    let mut before = Digest::NONE;
    let torn = loop {
        let line = match lines.next()? {
            Next::Line(line) => line,
            Next::Torn => break true,
            Next::End => break false,
        };
        let problem = |what: &str| {
            damaged(format!("{} after record {}: {what}", path.display(), last.map_or(first - 1, |l| l.0)))
        };
        let record: Record = serde_json::from_slice(line).map_err(|_| problem("a line that is no record"))?;
        match last {
            None => before = record.prev,
            Some((seq, hash)) if record.seq == seq + 1 && record.prev == hash => {}
            Some(_) => return Err(problem("a record that does not follow it")),
        }
        last = Some((record.seq, Digest::of(line)));
    };
    let length = lines.whole;
    // An empty file was begun and not written: its name says where it stands, the file before it what comes before.
    let last = match last {
        Some(last) => last,
        None => last_of(folder, first)?,
    };
    if first == 1 && length > 0 && before != Digest::NONE {
        return Err(damaged("the first record follows another".to_owned()));
    }
    let mut segment = Segment::open(path, length)?;
    if torn {
        segment.dirty = true;
        segment.clean()?;
    }
    Ok((segment, last))
}

/// The last record before number `first`.
fn last_of(folder: &Folder, first: u64) -> Result<(u64, Digest), AuditError> {
    let mut last = (first - 1, Digest::NONE);
    let before = folder.segments()?.into_iter().rfind(|(begin, _)| *begin < first);
    if let Some((_, path)) = before {
        let mut lines = Lines::open(&path)?;
        while let Next::Line(line) = lines.next()? {
            last.1 = Digest::of(line);
        }
    }
    Ok(last)
}

/// The signed head must be among the records, the last of them or one that was signed before the end.
fn check_head(folder: &Folder, head: Option<&Head>, last: (u64, Digest)) -> Result<(), AuditError> {
    let damaged = |problem: String| Err(AuditError::Damaged { folder: folder.0.clone(), problem });
    match head {
        Some(head) if head.seq > last.0 => {
            damaged(format!("it ends at record {}, its signed head is at record {}", last.0, head.seq))
        }
        Some(head) if head.seq == last.0 && head.hash != last.1 => {
            damaged(format!("record {} is not the one that was signed", head.seq))
        }
        None if last.0 > 0 => damaged(format!("it has {} records and no signed head", last.0)),
        _ => Ok(()),
    }
}

impl Segment {
    fn begin(folder: &Folder, first: u64) -> Result<Self, AuditError> {
        let segment = Self::open(folder.segment(first), 0)?;
        // So that the file is found after a power cut.
        let synced = File::open(&folder.0).and_then(|folder| folder.sync_all());
        synced.map_err(|error| AuditError::io(&folder.0, "sync", error))?;
        Ok(segment)
    }

    fn open(path: PathBuf, length: u64) -> Result<Self, AuditError> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
        let file = file.map_err(|error| AuditError::io(&path, "open", error))?;
        let mut segment = Self { path, file, length, dirty: false, kept_to: length };
        segment.keep_room();
        Ok(segment)
    }

    /// Keeps blocks for what will be written: who fills the disk must not silence those who ask what was seen.
    fn keep_room(&mut self) {
        if self.length + ROOM / 2 < self.kept_to {
            return;
        }
        let (from, bytes) = (self.length as i64, ROOM as i64);
        // Refused by full disks, and by file systems that cannot keep room: then there is none but what is free.
        if fallocate(&self.file, FallocateFlags::FALLOC_FL_KEEP_SIZE, from, bytes).is_ok() {
            self.kept_to = self.length + ROOM;
        }
    }

    fn append(&mut self, lines: &[u8]) -> Result<(), AuditError> {
        self.clean()?;
        if let Err(error) = self.file.write_all(lines).and_then(|()| self.file.sync_data()) {
            self.cut_back(0);
            return Err(AuditError::io(&self.path, "write", error));
        }
        self.length += lines.len() as u64;
        self.keep_room();
        Ok(())
    }

    /// Takes back the last `bytes` that were appended, and whatever else is not a whole record.
    fn cut_back(&mut self, bytes: u64) {
        self.length -= bytes;
        self.dirty = true;
        if let Err(error) = self.clean() {
            tracing::error!(error = %vigil_base::error::chain(&error), "part of a record stays for now");
        }
    }

    fn clean(&mut self) -> Result<(), AuditError> {
        if self.dirty {
            let cut = self.file.set_len(self.length).and_then(|()| self.file.sync_data());
            cut.map_err(|error| AuditError::io(&self.path, "cut", error))?;
            self.dirty = false;
            self.kept_to = self.length;
        }
        Ok(())
    }
}
