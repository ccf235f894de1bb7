//! A file of appearances: one slice of time, one method.
//!
//! Blocks of [`BLOCK`] places, each all the block's records and then all its vectors, so that a question reads the 64 bytes of
//! those it passes over and no more. An event has one place for good; its later revisions are written over it.
//!
//! What a crash leaves: a place that was being written may hold anything. Its checksum says so to whoever opens
//! a file that was in use ([`AppearanceFile::mend`]), and all is derived anew. What was written whole and not noted is read from
//! the index again, since the store's place in the index's feed moves on only after what was written is on the disk.
//!
//! Readers and the writer share nothing but a lock that is held for one block or one record: no place is ever seen half written.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use parking_lot::{Mutex, RwLock};

use super::record::{RECORD_BYTES, Record, is_whole};

/// Places in a block: its records and vectors stay in a core's second-level cache while they are looked at.
pub(super) const BLOCK: usize = 1024;

/// A file that is open.
#[derive(Debug)]
pub(super) struct AppearanceFile {
    path: PathBuf,
    file: File,
    /// Values of a vector, one byte each.
    values: usize,
    extent: RwLock<Extent>,
    /// Where each event is; filled when the file is first written to.
    places: Mutex<Option<HashMap<[u8; 16], u32>>>,
}

/// What of a file is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Places that were ever filled.
    pub(super) places: u32,
    /// No event in it ends later.
    pub(super) last_end_us: i64,
}

impl Extent {
    pub(super) const EMPTY: Self = Self { places: 0, last_end_us: i64::MIN };
}

/// The records of a block, and what else of it is asked for.
#[derive(Debug, Default)]
pub(super) struct BlockBuffer {
    records: Vec<u8>,
    vectors: Vec<u8>,
}

impl BlockBuffer {
    /// The records that were read.
    pub(super) fn records(&self) -> impl Iterator<Item = Record> {
        self.records.as_chunks::<RECORD_BYTES>().0.iter().map(Record::decode)
    }

    /// The vectors that were read, each as many values long as the file says.
    pub(super) fn vectors(&self) -> &[u8] {
        &self.vectors
    }
}

impl AppearanceFile {
    /// Opens a file, or makes it.
    pub(super) fn open(path: &Path, values: usize, extent: Extent) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let file = Self { path: path.to_owned(), file, values, extent: RwLock::new(extent), places: Mutex::new(None) };
        if file.file.metadata()?.len() < file.length_of(extent.places) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it was"));
        }
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn extent(&self) -> Extent {
        *self.extent.read()
    }

    fn block_bytes(&self) -> u64 {
        (BLOCK * (RECORD_BYTES + self.values)) as u64
    }

    /// Bytes of a file with so many places in use: whole blocks.
    fn length_of(&self, places: u32) -> u64 {
        u64::from(places).div_ceil(BLOCK as u64) * self.block_bytes()
    }

    fn record_at(&self, place: u32) -> u64 {
        let (block, within) = (u64::from(place) / BLOCK as u64, u64::from(place) % BLOCK as u64);
        block * self.block_bytes() + within * RECORD_BYTES as u64
    }

    fn vector_at(&self, place: u32) -> u64 {
        let (block, within) = (u64::from(place) / BLOCK as u64, u64::from(place) % BLOCK as u64);
        block * self.block_bytes() + (BLOCK * RECORD_BYTES) as u64 + within * self.values as u64
    }

    /// Reads the records of a block into `buffer`, lets `choose` say which run of places within it is of interest, and reads
    /// their vectors. Both in one go, so that no revision comes in between.
    pub(super) fn read_block(
        &self,
        block: u32,
        buffer: &mut BlockBuffer,
        choose: impl FnOnce(&BlockBuffer) -> Option<std::ops::Range<usize>>,
    ) -> io::Result<()> {
        let extent = self.extent.read();
        let first = block * BLOCK as u32;
        let places = (extent.places.saturating_sub(first) as usize).min(BLOCK);
        buffer.records.resize(places * RECORD_BYTES, 0);
        buffer.vectors.clear();
        self.file.read_exact_at(&mut buffer.records, self.record_at(first))?;
        if let Some(run) = choose(buffer) {
            buffer.vectors.resize(run.len() * self.values, 0);
            self.file.read_exact_at(&mut buffer.vectors, self.vector_at(first + run.start as u32))?;
        }
        Ok(())
    }

    /// Blocks in use.
    pub(super) fn blocks(&self) -> u32 {
        self.extent().places.div_ceil(BLOCK as u32)
    }

    /// Writes an event at its place, unless a later revision is there.
    pub(super) fn put(&self, record: &Record, vector: &[u8]) -> io::Result<()> {
        let mut places = self.places.lock();
        if places.is_none() {
            *places = Some(self.load()?);
        }
        let places = places.as_mut().expect("it was filled right above");
        let known = places.get(&record.id).copied();
        if let Some(place) = known
            && self.read_record(place)?.revision > record.revision
        {
            return Ok(());
        }
        let mut extent = self.extent.write();
        let place = known.unwrap_or(extent.places);
        let in_use = extent.places.max(place + 1);
        if self.length_of(in_use) > self.length_of(extent.places) {
            // Whole blocks, so that a reader never asks for what is not there.
            self.file.set_len(self.length_of(in_use))?;
        }
        self.file.write_all_at(vector, self.vector_at(place))?;
        self.file.write_all_at(&record.encode(vector), self.record_at(place))?;
        *extent = Extent { places: in_use, last_end_us: extent.last_end_us.max(record.end_us()) };
        places.insert(record.id, place);
        Ok(())
    }

    fn read_record(&self, place: u32) -> io::Result<Record> {
        let mut bytes = [0; RECORD_BYTES];
        self.file.read_exact_at(&mut bytes, self.record_at(place))?;
        Ok(Record::decode(&bytes))
    }

    /// Where each event is.
    fn load(&self) -> io::Result<HashMap<[u8; 16], u32>> {
        let mut places = HashMap::new();
        let mut buffer = BlockBuffer::default();
        for block in 0..self.blocks() {
            self.read_block(block, &mut buffer, |_| None)?;
            let records = (block * BLOCK as u32..).zip(buffer.records());
            places.extend(records.filter(|(_, record)| record.is_some()).map(|(place, record)| (record.id, place)));
        }
        Ok(places)
    }

    /// Forgets where each event is, until it is written to again.
    pub(super) fn rest(&self) {
        self.places.lock().take();
    }

    /// Empties the places that are not whole, and finds out what is in use; how many were emptied.
    pub(super) fn mend(&self) -> io::Result<u32> {
        let blocks = (self.file.metadata()?.len() / self.block_bytes()) as u32;
        let mut extent = Extent { places: blocks * BLOCK as u32, last_end_us: i64::MIN };
        *self.extent.write() = extent;
        let (mut buffer, mut emptied, mut used) = (BlockBuffer::default(), 0, 0);
        for block in 0..blocks {
            self.read_block(block, &mut buffer, |_| Some(0..BLOCK))?;
            let vectors = buffer.vectors.chunks_exact(self.values);
            let records = buffer.records.as_chunks::<RECORD_BYTES>().0.iter().zip(vectors);
            for (place, (bytes, vector)) in (block * BLOCK as u32..).zip(records) {
                let record = Record::decode(bytes);
                if is_whole(bytes, vector) {
                    used = place + 1;
                    extent.last_end_us = extent.last_end_us.max(record.end_us());
                } else if bytes.iter().any(|byte| *byte != 0) {
                    self.file.write_all_at(&[0; RECORD_BYTES], self.record_at(place))?;
                    emptied += 1;
                }
            }
        }
        *self.extent.write() = Extent { places: used, ..extent };
        Ok(emptied)
    }

    /// Places in use that are not whole. Reads all of the file.
    pub(super) fn damaged(&self) -> io::Result<u32> {
        let (mut buffer, mut damaged) = (BlockBuffer::default(), 0);
        for block in 0..self.blocks() {
            self.read_block(block, &mut buffer, |block| Some(0..block.records().count()))?;
            let vectors = buffer.vectors.chunks_exact(self.values);
            let records = buffer.records.as_chunks::<RECORD_BYTES>().0.iter().zip(vectors);
            let bad = |(bytes, vector): &(&[u8; RECORD_BYTES], &[u8])| {
                !is_whole(bytes, vector) && bytes.iter().any(|byte| *byte != 0)
            };
            damaged += records.filter(bad).count() as u32;
        }
        Ok(damaged)
    }

    /// Empties the place of an event that is gone.
    pub(super) fn empty(&self, place: u32) -> io::Result<()> {
        let mut places = self.places.lock();
        let _guard = self.extent.write();
        let record = self.read_record(place)?;
        if let Some(places) = places.as_mut() {
            places.remove(&record.id);
        }
        self.file.write_all_at(&[0; RECORD_BYTES], self.record_at(place))
    }

    /// Makes what was written durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
