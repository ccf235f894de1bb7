//! Looking things up in a log: who asked for this camera, what did this officer ask, what was asked for that case.

use std::path::Path;

use vigil_base::Timestamp;

use crate::entry::Record;
use crate::error::AuditError;
use crate::folder::{Folder, Lines, Next};

/// Records that one call looks at: about a second's work.
const MAX_LOOKED_AT: u64 = 200_000;

/// Which records are wanted; what is absent is not asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Search {
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Exactly this subject, or on behalf of it.
    pub subject: Option<String>,
    /// Exactly this case.
    pub case: Option<String>,
    /// Exactly this method.
    pub method: Option<String>,
    /// Somewhere in the question: a camera, a plate.
    pub text: Option<String>,
    /// Exactly this outcome: the name of a gRPC status, or `Refused`.
    pub outcome: Option<String>,
    /// Records after this one.
    pub after: u64,
    /// Most records to return.
    pub limit: usize,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Found {
    /// In the order they were written.
    pub records: Vec<Record>,
    /// Search on after this record; none when the log ends here.
    pub next: Option<u64>,
}

impl Search {
    fn matches(&self, record: &Record) -> bool {
        let entry = &record.entry;
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|w| found == Some(w));
        self.from.is_none_or(|from| record.time_us >= from.as_micros())
            && self.until.is_none_or(|until| record.time_us < until.as_micros())
            && (is(&self.subject, Some(&entry.subject)) || is(&self.subject, entry.on_behalf_of.as_deref()))
            && is(&self.case, entry.case.as_deref())
            && is(&self.method, Some(&entry.method))
            && is(&self.outcome, Some(&entry.outcome.code))
            && self.text.as_deref().is_none_or(|text| entry.question.to_string().contains(text))
    }
}

/// Looks the log in `folder` through, also while it is written. The work is bounded: fewer records than asked for, or none,
/// may come back together with where to go on. Checks nothing: see [`crate::verify()`].
///
/// # Errors
/// A file cannot be read.
pub fn search(folder: &Path, search: &Search) -> Result<Found, AuditError> {
    let segments = Folder(folder.to_owned()).segments()?;
    let begin = segments.partition_point(|(first, _)| *first <= search.after.saturating_add(1)).saturating_sub(1);
    let mut found = Found::default();
    let mut looked_at = 0;
    for (_, path) in &segments[begin.min(segments.len())..] {
        let mut lines = Lines::open(path)?;
        while let Next::Line(line) = lines.next()? {
            let Ok(record) = serde_json::from_slice::<Record>(line) else { continue };
            if record.seq <= search.after {
                continue;
            }
            if found.records.len() >= search.limit.max(1) || looked_at >= MAX_LOOKED_AT {
                found.next = Some(record.seq - 1);
                return Ok(found);
            }
            looked_at += 1;
            if search.matches(&record) {
                found.records.push(record);
            }
        }
    }
    Ok(found)
}
