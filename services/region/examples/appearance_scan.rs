//! Figures of appearance search, as one JSON line: the most alike of EVENTS events, on one core, against a plain read of the same
//! bytes, from memory and by the kernel. Run with `cargo run --release -p vigil-region --example appearance_scan -- EVENTS`
//! (500,000 where it is not said).
// A measurement: it may stop at any error, and reads the clock.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../tests/common/events.rs"]
mod events;

use std::hint::black_box;
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use vigil_base::event::{Appearance, AppearanceMethod, AppearanceVector, Event};
use vigil_base::{CameraId, SimClock, Timestamp};
use vigil_proto::convert::Filter;
use vigil_region::appearance::AppearanceStore;
use vigil_region::index::{CommitSeq, Lineage};

/// Questions that are timed.
const QUESTIONS: usize = 100;
const VALUES: usize = 128;
/// Bytes of a record beside its vector.
const RECORD: usize = 64;
const BATCH: usize = 1_000;
const CAMERAS: u32 = 200;
/// Hits that are asked for.
const MOST: usize = 50;
const DAY: Duration = Duration::from_hours(24);

fn main() {
    let events: usize = std::env::args().nth(1).map_or(500_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(7);
    let store = filled(folder.path(), events, &mut random);
    let asked = look(&mut random);
    let one_camera = Filter { cameras: vec![CameraId::new("camera-7").unwrap()], ..Filter::default() };
    let all = timed(|| store.most_alike(&asked, &Filter::default(), MOST).unwrap().len());
    let one = timed(|| store.most_alike(&asked, &one_camera, MOST).unwrap().len());

    let bytes = events * (RECORD + VALUES);
    let memory = vec![1u64; bytes / 8];
    let sum = |part: &[u64]| part.iter().fold(0u64, |sum, value| sum.wrapping_add(*value));
    let from_memory = timed(|| black_box(sum(black_box(&memory))));
    let from_files = timed(|| read_all(folder.path()));
    let line = format!(
        "{{\"bench\":\"appearance\",\"candidates\":{events},\"bytes\":{bytes},\"hits\":{MOST},\
         \"kernel\":\"{:?}\",\"median_ms\":{:.2},\"p99_ms\":{:.2},\"gb_per_s\":{:.2},\
         \"one_camera_of_{CAMERAS}_median_ms\":{:.2},\"memory_read_ms\":{:.2},\"memory_read_gb_per_s\":{:.2},\
         \"file_read_ms\":{:.2},\"file_read_gb_per_s\":{:.2},\"ratio_to_file_read\":{:.2},\"bar_ms\":40}}",
        vigil_appearance::Kernel::available().last().unwrap(),
        all.0,
        all.1,
        bytes as f64 / all.0 / 1e6,
        one.0,
        from_memory.0,
        bytes as f64 / from_memory.0 / 1e6,
        from_files.0,
        bytes as f64 / from_files.0 / 1e6,
        all.0 / from_files.0,
    );
    std::io::stdout().write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// A store of one day with so many events.
fn filled(folder: &Path, events: usize, random: &mut StdRng) -> AppearanceStore {
    let store =
        AppearanceStore::open(folder, DAY, uuid::Uuid::nil(), CommitSeq(events as u64), &Lineage::default()).unwrap();
    let step = DAY / 2 / events as u32;
    let clock = SimClock::new(events::NOON);
    for first in (0..events).step_by(BATCH) {
        let batch: Vec<Event> =
            (first..(first + BATCH).min(events)).map(|i| made(random, events::NOON + step * i as u32)).collect();
        store.apply(&batch, CommitSeq((first + batch.len()) as u64), vigil_base::Clock::now(&*clock)).unwrap();
    }
    store.checkpoint().unwrap();
    store
}

fn made(random: &mut StdRng, begin: Timestamp) -> Event {
    let camera = CameraId::new(format!("camera-{}", random.random_range(0..CAMERAS))).unwrap();
    Event { camera, appearance: Some(look(random)), ..events::event(begin) }
}

/// A histogram like those of people: a few classes of each stripe hold nearly all.
fn look(random: &mut StdRng) -> Appearance {
    let mut values = [0.0f32; VALUES];
    for stripe in values.chunks_exact_mut(32) {
        for _ in 0..5 {
            stripe[random.random_range(0..32)] = random.random_range(0.1f32..1.0).sqrt();
        }
    }
    let method = AppearanceMethod { name: "hsv-stripes".into(), version: "1".into() };
    Appearance { vector: AppearanceVector::quantise(&values).unwrap(), method, looks: 4, quality: 0.7 }
}

/// Reads all files of appearances, block by block as questions do.
fn read_all(folder: &Path) -> u64 {
    let mut buffer = vec![0; 1024 * (RECORD + VALUES)];
    let mut total = 0;
    for entry in std::fs::read_dir(folder.join("appearances")).unwrap() {
        let mut file = std::fs::File::open(entry.unwrap().path()).unwrap();
        loop {
            let read = file.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            total += read as u64;
        }
    }
    black_box(total)
}

/// Median and 99th percentile, milliseconds.
fn timed<T>(mut act: impl FnMut() -> T) -> (f64, f64) {
    let mut times: Vec<f64> = (0..QUESTIONS)
        .map(|_| {
            let begun = Instant::now();
            black_box(act());
            begun.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    (times[QUESTIONS / 2], times[QUESTIONS * 99 / 100])
}
