//! What a detection costs: CPU milliseconds per frame, the bare session against the detector and the shared scheduler.
//!
//! `cargo run --release -p vigil-detect --example detect_cost -- models/manifest.toml [MODEL] [ROUNDS]`. One JSON line per
//! frame size. The three take turns, frame by frame, so that all see the same machine; figures are medians.

#![allow(clippy::print_stdout)] // Its output is its purpose.

use nix::time::{ClockId, clock_gettime};
use vigil_base::{Frame, Size, SystemClock, Timestamp};
use vigil_detect::{DetectError, Detector, Model, ModelCatalogue, ModelConfig, Runtime, Scheduler, SchedulerConfig};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let manifest = arguments.next().ok_or("name a manifest")?;
    let catalogue = ModelCatalogue::load(manifest.as_ref())?;
    let entry = catalogue.entry(arguments.next().as_deref())?;
    let rounds: usize = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let runtime = Runtime::start(None)?;
    let model = Model::load(&runtime, entry, &ModelConfig::default())?;
    let (mut bare, mut detector) = (model.inference_alone()?, model.detector()?);
    let config = SchedulerConfig { workers: 1, ..SchedulerConfig::default() };
    let mut lane = Scheduler::start(model, config, SystemClock::shared())?.camera(&"bench".parse()?, 5.0);

    for size in [Size::new(768, 576), Size::new(1920, 1080)] {
        let frame = noisy(size);
        let (mut alone, mut detected, mut scheduled) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            alone.push(cpu_ms(&mut bare)?);
            detected.push(cpu_ms(|| detector.detect(&frame).map(drop))?);
            scheduled.push(cpu_ms(|| lane.detect(&frame).map(drop))?);
        }
        let [alone, detected, scheduled] = [alone, detected, scheduled].map(median);
        let line = serde_json::json!({
            "model": entry.name, "frame": size.to_string(), "session_ms": alone, "detector_ms": detected,
            "scheduler_ms": scheduled, "ratio": scheduled / alone,
        });
        println!("{line}");
    }
    Ok(())
}

fn noisy(size: Size) -> Frame {
    let mut frame = Frame::uniform(size, [0; 3], Timestamp::default());
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    for plane in &mut frame.planes {
        let mut sample = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 56) as u8
        };
        plane.data = (0..plane.width * plane.height).map(|_| sample()).collect::<Vec<_>>().into();
    }
    frame
}

/// CPU time (user and system) of this thread, which does all the work, while `work` runs.
fn cpu_ms(work: impl FnOnce() -> Result<(), DetectError>) -> Result<f64, Failure> {
    let before = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?;
    work()?;
    let used = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)? - before;
    Ok(used.tv_sec() as f64 * 1e3 + used.tv_nsec() as f64 / 1e6)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
