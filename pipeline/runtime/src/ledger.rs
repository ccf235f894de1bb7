//! What became of each frame: tells silence from blindness.

use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, counter};
use vigil_base::CameraId;
use vigil_base::coverage::FrameCounts;
use vigil_gate::WakeCause;

/// Why a frame was not analysed although it was meant to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    /// A newer frame came before the machine got to it.
    Overload,
    /// The detector failed on it.
    DetectorFailed,
}

/// One number that is both exported and read back.
#[derive(Debug)]
struct Tally {
    value: AtomicU64,
    exported: Counter,
}

impl Tally {
    fn new(exported: Counter) -> Self {
        Self { value: AtomicU64::new(0), exported }
    }

    fn add_one(&self) {
        self.value.fetch_add(1, Ordering::Relaxed);
        self.exported.increment(1);
    }

    fn get(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

/// Packets and frames of one camera since the edge started. Counters are `vigil_packets_*_total{camera}` and
/// `vigil_frames_*_total{camera}`.
#[derive(Debug)]
pub struct Ledger {
    received: Tally,
    gated: Tally,
    woken: [(WakeCause, Counter); 5],
    decoded: Tally,
    not_due: Tally,
    still: Tally,
    analysed: Tally,
    dropped_overload: Tally,
    dropped_detector: Tally,
}

impl Ledger {
    /// An empty ledger for a camera.
    pub fn new(camera: &CameraId) -> Self {
        let camera = camera.to_string();
        let tally = |name: &'static str| Tally::new(counter!(name, "camera" => camera.clone()));
        let dropped = |cause: &'static str| {
            Tally::new(counter!("vigil_frames_dropped_total", "camera" => camera.clone(), "cause" => cause))
        };
        let wakes = |cause: WakeCause, name: &'static str| {
            (cause, counter!("vigil_gate_wakes_total", "camera" => camera.clone(), "cause" => name))
        };
        Self {
            received: tally("vigil_packets_received_total"),
            gated: tally("vigil_packets_gated_total"),
            woken: [
                wakes(WakeCause::Sentinel, "sentinel"),
                wakes(WakeCause::Sizes, "sizes"),
                wakes(WakeCause::Cut, "cut"),
                wakes(WakeCause::NoSentinel, "no_sentinel"),
                wakes(WakeCause::New, "new"),
            ],
            decoded: tally("vigil_frames_decoded_total"),
            not_due: tally("vigil_frames_not_due_total"),
            still: tally("vigil_frames_still_total"),
            analysed: tally("vigil_frames_analysed_total"),
            dropped_overload: dropped("overload"),
            dropped_detector: dropped("detector_failed"),
        }
    }

    /// A packet came.
    pub fn received(&self) {
        self.received.add_one();
    }

    /// A packet is kept undecoded.
    pub fn gated(&self) {
        self.gated.add_one();
    }

    /// The gate before the decoder woke.
    pub fn woke(&self, cause: WakeCause) {
        let found = self.woken.iter().find(|(known, _)| *known == cause);
        found.inspect(|(_, counter)| counter.increment(1));
    }

    /// A frame came out of the decoder.
    pub fn decoded(&self) {
        self.decoded.add_one();
    }

    /// The analysis rate did not ask for the frame.
    pub fn not_due(&self) {
        self.not_due.add_one();
    }

    /// The motion gate passed it over.
    pub fn still(&self) {
        self.still.add_one();
    }

    /// The detector looked at it.
    pub fn analysed(&self) {
        self.analysed.add_one();
    }

    /// It was dropped.
    pub fn dropped(&self, cause: DropCause) {
        match cause {
            DropCause::Overload => self.dropped_overload.add_one(),
            DropCause::DetectorFailed => self.dropped_detector.add_one(),
        }
    }

    /// All counts now.
    pub fn counts(&self) -> FrameCounts {
        FrameCounts {
            received: self.received.get(),
            gated: self.gated.get(),
            decoded: self.decoded.get(),
            not_due: self.not_due.get(),
            still: self.still.get(),
            analysed: self.analysed.get(),
            dropped_overload: self.dropped_overload.get(),
            dropped_detector: self.dropped_detector.get(),
        }
    }
}
