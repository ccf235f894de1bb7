//! One vector against those of all events that a filter lets through: exact, block by block.
//!
//! What a record holds passes events over without reading their vectors. Where the record is coarser than the event (place,
//! confidence) or silent (plate, rule, zone, edge) more is let through, and looked at again in the event itself.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io;
use std::ops::Range;

use vigil_appearance::Probe;
use vigil_base::{EventId, Timestamp};
use vigil_proto::convert::Filter;

use super::catalogue::{ANY_CLASS, Catalogue};
use super::file::{AppearanceFile, BLOCK, BlockBuffer};
use super::record::{NOWHERE, Record, SURE, units};
use crate::index::keys::{colour_bits, kind_number};

/// A place on the edge of an area may be this far off for having been rounded, in units of a record.
const ROUNDING: i32 = 2;

/// An event that may be a hit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) similarity: f32,
    pub(super) begin_us: i64,
    pub(super) id: [u8; 16],
}

impl Candidate {
    pub(super) fn event(&self) -> Option<EventId> {
        uuid::Uuid::from_bytes(self.id).to_string().parse().ok()
    }
}

impl Eq for Candidate {}

impl Ord for Candidate {
    /// The greater is the better one: more alike, or newer.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_similarity = self.similarity.total_cmp(&other.similarity);
        by_similarity.then_with(|| (self.begin_us, self.id).cmp(&(other.begin_us, other.id)))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The filter, in the terms of records.
#[derive(Debug)]
pub(super) struct Sieve {
    from_us: i64,
    until_us: i64,
    /// By number; none: all.
    cameras: Option<Vec<bool>>,
    classes: Option<Vec<bool>>,
    kinds: u32,
    colours: u16,
    confidence: u16,
    /// South, north, west, east.
    area: Option<[i32; 4]>,
}

impl Sieve {
    pub(super) fn new(filter: &Filter, catalogue: &Catalogue) -> Self {
        let marked = |numbers: Vec<usize>| {
            let mut marks = vec![false; numbers.iter().max().map_or(0, |most| most + 1)];
            for number in numbers {
                marks[number] = true;
            }
            marks
        };
        let cameras = filter.cameras.iter().filter_map(|camera| catalogue.camera(camera.as_str()));
        let classes = filter.classes.iter().filter_map(|class| catalogue.class(class));
        let kinds = filter.kinds.iter().fold(0, |bits, kind| bits | 1 << kind_number(*kind));
        Self {
            from_us: filter.from.map_or(i64::MIN, Timestamp::as_micros),
            until_us: filter.until.map_or(i64::MAX, Timestamp::as_micros),
            cameras: (!filter.cameras.is_empty()).then(|| marked(cameras.map(|number| number as usize).collect())),
            classes: (!filter.classes.is_empty()).then(|| marked(classes.map(usize::from).collect())),
            kinds: if kinds == 0 { u32::MAX } else { kinds },
            colours: colour_bits(filter.colours.iter().copied()) as u16,
            confidence: (filter.min_confidence * SURE) as u16,
            area: filter.area.as_ref().map(|area| {
                let points = area.points();
                let least = |of: fn(&vigil_base::GeoPoint) -> f64| points.iter().map(of).fold(f64::MAX, f64::min);
                let most = |of: fn(&vigil_base::GeoPoint) -> f64| points.iter().map(of).fold(f64::MIN, f64::max);
                let (south, north) = (least(|at| at.latitude), most(|at| at.latitude));
                let (west, east) = (least(|at| at.longitude), most(|at| at.longitude));
                [
                    units(south).saturating_sub(ROUNDING),
                    units(north).saturating_add(ROUNDING),
                    units(west).saturating_sub(ROUNDING),
                    units(east).saturating_add(ROUNDING),
                ]
            }),
        }
    }

    /// Whether a file whose events began in `time` and ended at the latest at `last_end_us` may hold such an event.
    pub(super) fn may_hold(&self, time: Option<(i64, i64)>, last_end_us: i64) -> bool {
        last_end_us >= self.from_us && time.is_none_or(|(from, _)| from < self.until_us)
    }

    /// Whether a record's event may match.
    fn lets_through(&self, record: &Record) -> bool {
        let marked = |marks: &Option<Vec<bool>>, number: usize| {
            marks.as_ref().is_none_or(|marks| marks.get(number).copied().unwrap_or(false))
        };
        let in_area = |[south, north, west, east]: [i32; 4]| {
            let (latitude, longitude) = record.place;
            latitude != NOWHERE && (south..=north).contains(&latitude) && (west..=east).contains(&longitude)
        };
        record.is_some()
            && record.begin_us < self.until_us
            && record.end_us() >= self.from_us
            && self.kinds & (1 << u32::from(record.kind)) != 0
            && (self.colours == 0 || self.colours & record.colours != 0)
            && record.confidence >= self.confidence
            && marked(&self.cameras, record.camera as usize)
            && (record.class == ANY_CLASS || marked(&self.classes, usize::from(record.class)))
            && self.area.is_none_or(in_area)
    }
}

/// The best of those that were looked at.
#[derive(Debug)]
pub(super) struct Best {
    /// The worst is on top.
    heap: BinaryHeap<std::cmp::Reverse<Candidate>>,
    most: usize,
    /// Only what is worse than this: where an earlier scan ended.
    after: Option<Candidate>,
    min_similarity: f32,
    /// How many were compared.
    pub(super) compared: u64,
}

impl Best {
    pub(super) fn new(most: usize, after: Option<Candidate>, min_similarity: f32) -> Self {
        Self { heap: BinaryHeap::with_capacity(most + 1), most, after, min_similarity, compared: 0 }
    }

    fn offer(&mut self, similarity: f32, record: &Record) {
        // Most are worse than the worst that is kept.
        let least = if self.heap.len() < self.most { None } else { self.heap.peek().map(|worst| worst.0.similarity) };
        if similarity < self.min_similarity || least.is_some_and(|least| similarity < least) {
            return;
        }
        let candidate = Candidate { similarity, begin_us: record.begin_us, id: record.id };
        if self.after.is_some_and(|after| candidate >= after) {
            return;
        }
        self.heap.push(std::cmp::Reverse(candidate));
        if self.heap.len() > self.most {
            self.heap.pop();
        }
    }

    /// The best first.
    pub(super) fn in_order(self) -> Vec<Candidate> {
        self.heap.into_sorted_vec().into_iter().map(|candidate| candidate.0).collect()
    }
}

/// Looks at all of a file. `wanted` is asked before each block.
///
/// # Errors
/// The file cannot be read, or nobody wants the answer any more ([`io::ErrorKind::Interrupted`]).
pub(super) fn scan(
    file: &AppearanceFile,
    probe: &Probe,
    sieve: &Sieve,
    best: &mut Best,
    wanted: &dyn Fn() -> bool,
) -> io::Result<()> {
    let (mut buffer, mut chosen) = (BlockBuffer::default(), Vec::with_capacity(BLOCK));
    let mut products = [0; BLOCK];
    for block in 0..file.blocks() {
        if !wanted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        chosen.clear();
        file.read_block(block, &mut buffer, |block| choose(block, sieve, &mut chosen))?;
        let Some((first, _)) = chosen.first() else { continue };
        best.compared += chosen.len() as u64;
        let rows: &[i8] = bytemuck::cast_slice(buffer.vectors());
        let first = *first;
        if chosen.len() * 2 > rows.len() / probe.len() {
            // Most of the run: comparing all of it is cheaper than picking.
            let products = &mut products[..rows.len() / probe.len()];
            probe.products(rows, products);
            for (place, record) in &chosen {
                best.offer(probe.cosine(products[place - first], record.inverse_length), record);
            }
        } else {
            for (place, record) in &chosen {
                let at = (place - first) * probe.len();
                probe.products(&rows[at..at + probe.len()], &mut products[..1]);
                best.offer(probe.cosine(products[0], record.inverse_length), record);
            }
        }
    }
    Ok(())
}

/// How many of a file's events the filter lets through.
pub(super) fn count(file: &AppearanceFile, sieve: &Sieve, wanted: &dyn Fn() -> bool) -> io::Result<u64> {
    let (mut buffer, mut count) = (BlockBuffer::default(), 0);
    for block in 0..file.blocks() {
        if !wanted() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        file.read_block(block, &mut buffer, |_| None)?;
        count += buffer.records().filter(|record| sieve.lets_through(record)).count() as u64;
    }
    Ok(count)
}

/// The records of a block that the sieve lets through, with their places, and the run of places from the first to the last.
fn choose(block: &BlockBuffer, sieve: &Sieve, chosen: &mut Vec<(usize, Record)>) -> Option<Range<usize>> {
    chosen.extend(block.records().enumerate().filter(|(_, record)| sieve.lets_through(record)));
    Some(chosen.first()?.0..chosen.last()?.0 + 1)
}
