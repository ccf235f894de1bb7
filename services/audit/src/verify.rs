//! Checking a log, offline: every record against its neighbours, and all of them against signed heads.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::entry::Record;
use crate::error::AuditError;
use crate::folder::{Folder, Lines, Next};
use crate::head::{self, Head, PublicKey};
use crate::line::Digest;

/// Problems that are listed; more are only counted. One removed record is one problem.
const MAX_PROBLEMS: usize = 100;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line in it, from 1; none where it is about all of it.
    pub line: Option<u64>,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// What a check found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Records that were read.
    pub records: u64,
    /// Files they stand in.
    pub segments: usize,
    /// The newest head whose signature holds.
    pub head: Option<Head>,
    /// Whole records after it, which no head signs: the writer ended in between, or is at work, or they were added.
    pub unsigned: u64,
    /// The file ends within a record: the writer ended in between, or is at work.
    pub torn: bool,
    /// Problems, the first ones.
    pub problems: Vec<Problem>,
    /// All of them.
    pub problem_count: u64,
}

impl Report {
    /// Whether nothing was altered, removed or put elsewhere.
    pub fn is_whole(&self) -> bool {
        self.problem_count == 0
    }

    fn note(&mut self, file: &Path, line: Option<u64>, what: String) {
        self.problem_count += 1;
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem { file: file.to_owned(), line, what });
        }
    }
}

/// Checks the log in `folder` with `key`, and that it still holds the records of `heads`, which were kept elsewhere.
///
/// # Errors
/// A file cannot be read. What was read and is wrong is in the report.
pub fn verify(folder: &Path, key: &PublicKey, heads: &[Head]) -> Result<Report, AuditError> {
    let folder = Folder(folder.to_owned());
    let mut report = Report { head: head::newest(&folder.head(), key)?, ..Report::default() };
    let mut expected: Vec<(&str, Head)> =
        heads.iter().map(|head| ("a head that was kept elsewhere", head.clone())).collect();
    expected.retain(|(_, head)| {
        let signed = key.signed(head);
        if !signed {
            report.note(&folder.0, None, format!("the head at record {} was not signed with this key", head.seq));
        }
        signed
    });
    expected.extend(report.head.clone().map(|head| ("the signed head", head)));

    let mut walk = Walk { next: 1, prev: Digest::NONE };
    let segments = folder.segments()?;
    report.segments = segments.len();
    for (i, (first, path)) in segments.iter().enumerate() {
        if *first != walk.next {
            report.note(path, None, format!("begins with record {first} by its name; {} was to come", walk.next));
        }
        walk.segment(path, i + 1 == segments.len(), &expected, &mut report)?;
    }
    report.unsigned = (walk.next - 1).saturating_sub(report.head.as_ref().map_or(0, |head| head.seq));
    if report.head.is_none() && report.records > 0 {
        report.note(&folder.head(), None, "no head that was signed with this key".to_owned());
    }
    for (what, head) in expected.iter().filter(|(_, head)| head.seq >= walk.next) {
        let missing = head.seq + 1 - walk.next;
        report.note(&folder.0, None, format!("ends {missing} records before {what}, which is at record {}", head.seq));
    }
    Ok(report)
}

/// The place in the chain.
struct Walk {
    next: u64,
    prev: Digest,
}

impl Walk {
    fn segment(
        &mut self,
        path: &Path,
        is_last: bool,
        heads: &[(&str, Head)],
        report: &mut Report,
    ) -> Result<(), AuditError> {
        let mut lines = Lines::open(path)?;
        let mut number = 0;
        loop {
            number += 1;
            match lines.next()? {
                Next::Line(line) => self.line(line, (path, number), heads, report),
                Next::Torn if is_last => {
                    report.torn = true;
                    return Ok(());
                }
                Next::Torn => {
                    report.note(path, Some(number), "ends within a record".to_owned());
                    return Ok(());
                }
                Next::End => return Ok(()),
            }
        }
    }

    fn line(&mut self, line: &[u8], (path, number): (&Path, u64), heads: &[(&str, Head)], report: &mut Report) {
        let hash = Digest::of(line);
        let mut note = |what: String| report.note(path, Some(number), what);
        match serde_json::from_slice::<Record>(line) {
            Err(error) => {
                note(format!("is no record: {error}"));
                self.next += 1;
            }
            Ok(record) => {
                if record.seq != self.next {
                    note(format!("is record {}; {} was to come", record.seq, self.next));
                }
                if record.prev != self.prev {
                    note(format!(
                        "record {} does not follow the one before it: one of them is not as it was written",
                        record.seq
                    ));
                }
                for (what, head) in heads.iter().filter(|(_, head)| head.seq == record.seq && head.hash != hash) {
                    note(format!("record {} is not the one of {what}", head.seq));
                }
                report.records += 1;
                self.next = record.seq + 1;
            }
        }
        self.prev = hash;
    }
}
