//! How often a frame of a busy scene asks the heap for memory once all buffers have their size, stage by stage.
//!
//! Counted are the product's own requests, by Rust's allocator; what GStreamer and ONNX Runtime do inside is theirs.
#![allow(unsafe_code)] // A global allocator is an unsafe trait by its nature; this one counts and passes on.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test ends where it cannot go on; its figures are its result.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::{Path, PathBuf};

use vigil_base::{Frame, Timestamp};
use vigil_decode::FileDecoder;
use vigil_detect::{Detector, Model, ModelCatalogue, ModelConfig, Regions, Runtime};
use vigil_gate::{Attention, AttentionConfig, GateConfig, MotionGate, Open};
use vigil_track::{Tracker, TrackerConfig};

thread_local! {
    static REQUESTS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it came; counting touches a plain number of the thread's own.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        REQUESTS.with(|requests| requests.set(requests.get() + 1));
        // SAFETY: as the caller promised to us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block came from `alloc` or `realloc` of this allocator, which is the system's.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        REQUESTS.with(|requests| requests.set(requests.get() + 1));
        // SAFETY: as in `dealloc`.
        unsafe { System.realloc(block, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn requests<T>(of: impl FnOnce() -> T) -> (u64, T) {
    let before = REQUESTS.with(Cell::get);
    let result = of();
    (REQUESTS.with(Cell::get) - before, result)
}

/// Requests of one stage, frame by frame.
#[derive(Default)]
struct Stage(Vec<u64>);

impl Stage {
    fn count<T>(&mut self, of: impl FnOnce() -> T) -> T {
        let (count, result) = requests(of);
        self.0.push(count);
        result
    }

    /// Of the frames after the first half, in which buffers find their size.
    fn median(&self) -> u64 {
        let mut settled = self.0[self.0.len() / 2..].to_vec();
        settled.sort_unstable();
        settled[settled.len() / 2]
    }
}

fn cached(path: &str) -> PathBuf {
    let cache = std::env::var_os("VIGIL_CACHE").map(PathBuf::from);
    let cache = cache.unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/vigil"));
    let path = cache.join(path);
    assert!(path.exists(), "{} is not there: run scripts/setup", path.display());
    path
}

#[test]
fn a_frame_of_a_busy_scene_asks_for_a_few_small_pieces_of_memory_and_no_picture() {
    const FRAMES: usize = 120;
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/manifest.toml");
    let models = ModelCatalogue::load(&manifest).unwrap();
    let model =
        Model::load(&Runtime::start(None).unwrap(), models.entry(None).unwrap(), &ModelConfig::default()).unwrap();
    let mut detector = model.detector().unwrap();
    let mut gate = MotionGate::new(GateConfig::default());
    let mut attention = Attention::new(AttentionConfig::default());
    let mut tracker = Tracker::new(TrackerConfig::default());
    let mut decoder = FileDecoder::open(&cached("clips/vtest.avi"), Timestamp::from_micros(0)).unwrap();

    let [mut decoding, mut watching, mut attending, mut bare, mut whole, mut parts, mut tracking]: [Stage; 7] =
        Default::default();
    let mut engine = model.inference_alone().unwrap();
    for _ in 0..FRAMES {
        let frame: Frame = decoding.count(|| decoder.next_frame().unwrap().unwrap());
        let motion = watching.count(|| gate.observe(&frame));
        attending.count(|| {
            let open = tracker.outlook(frame.capture_time).map(|one| Open {
                bbox: one.bbox,
                speed: one.speed,
                hold: one.hold,
            });
            attention.consider(&frame, &motion, &mut gate, open, true)
        });
        bare.count(|| engine().unwrap());
        let detections = whole.count(|| detector.detect(&frame).unwrap());
        let regions =
            Regions::of(detections.items.iter().filter(|found| found.confidence > 0.5).map(|found| found.bbox));
        parts.count(|| detector.detect_within(&frame, &regions).unwrap());
        tracking.count(|| tracker.update(&detections));
    }
    // A picture is one handle on the decoder's memory. Tracker and detector hand out a list each. What else a detector asks for
    // is the engine's binding, which makes its answer anew with each run.
    for (name, stage, most) in [
        ("decode", &decoding, 1),
        ("motion gate", &watching, 0),
        ("attention", &attending, 0),
        ("the engine alone", &bare, 3),
        ("detect, whole", &whole, 4),
        ("detect, regions", &parts, 7),
        ("track", &tracking, 1),
    ] {
        println!("{name}: {} requests a frame", stage.median());
        assert!(stage.median() <= most, "{name}: {:?}", stage.0);
    }
}
