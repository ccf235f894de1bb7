//! The files of a log.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use fs4::FileExt;

use crate::error::AuditError;
use crate::line::MAX_LINE;

const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// Where a log's files are.
#[derive(Debug, Clone)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn head(&self) -> PathBuf {
        self.0.join("head")
    }

    pub(crate) fn signing_key(&self) -> PathBuf {
        self.0.join("signing-key.pem")
    }

    pub(crate) fn public_key(&self) -> PathBuf {
        self.0.join("public-key.pem")
    }

    /// The file whose first record has that number.
    pub(crate) fn segment(&self, first: u64) -> PathBuf {
        self.0.join(format!("{PREFIX}{first:020}{SUFFIX}"))
    }

    /// Makes the folder where it is missing, and keeps other processes out of it until the file is dropped.
    pub(crate) fn lock(&self) -> Result<File, AuditError> {
        fs::create_dir_all(&self.0).map_err(|error| AuditError::io(&self.0, "make", error))?;
        let path = self.0.join("lock");
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.map_err(|error| AuditError::io(&path, "open", error))?;
        match FileExt::try_lock(&file) {
            Ok(()) => Ok(file),
            Err(_) => Err(AuditError::InUse { folder: self.0.clone() }),
        }
    }

    /// The segments, with the number that each is named after, oldest first.
    pub(crate) fn segments(&self) -> Result<Vec<(u64, PathBuf)>, AuditError> {
        let listed = |error| AuditError::io(&self.0, "list", error);
        let mut segments = Vec::new();
        for item in fs::read_dir(&self.0).map_err(listed)? {
            let path = item.map_err(listed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_suffix(SUFFIX));
            if let Some(first) = number.and_then(|number| number.parse().ok()) {
                segments.push((first, path));
            }
        }
        segments.sort_unstable();
        Ok(segments)
    }
}

/// The lines of a segment, one at a time.
pub(crate) struct Lines {
    path: PathBuf,
    file: BufReader<File>,
    line: Vec<u8>,
    /// Bytes of whole lines so far.
    pub(crate) whole: u64,
}

/// What comes next in a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next<'l> {
    /// A line, without its end.
    Line(&'l [u8]),
    /// The file ends within a line, or in one longer than any that is written.
    Torn,
    /// The file ends.
    End,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, AuditError> {
        let file = File::open(path).map_err(|error| AuditError::io(path, "open", error))?;
        Ok(Self { path: path.to_owned(), file: BufReader::new(file), line: Vec::new(), whole: 0 })
    }

    pub(crate) fn next(&mut self) -> Result<Next<'_>, AuditError> {
        self.line.clear();
        let mut bounded = (&mut self.file).take(MAX_LINE as u64 + 1);
        let read = bounded.read_until(b'\n', &mut self.line);
        let read = read.map_err(|error| AuditError::io(&self.path, "read", error))?;
        if read == 0 {
            return Ok(Next::End);
        }
        let Some(line) = self.line.strip_suffix(b"\n") else { return Ok(Next::Torn) };
        self.whole += read as u64;
        Ok(Next::Line(line))
    }
}
