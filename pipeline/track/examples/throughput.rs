//! How long a frame with fifty walkers takes, with and without appearance.
//!
//! `cargo run --release -p vigil-track --example throughput`

#![allow(clippy::print_stdout, clippy::disallowed_methods)] // A program for a terminal that measures time.

use std::sync::Arc;
use std::time::Instant;

use vigil_base::detection::ModelIdentity;
use vigil_base::{BoxPx, Detection, Detections, Size, TimeSource, Timestamp};
use vigil_track::{Descriptor, Tracker, TrackerConfig};

const WALKERS: usize = 50;
const FRAMES: i64 = 5000;
const DESCRIPTOR_LEN: usize = 512;

fn frame(index: i64, model: &Arc<ModelIdentity>) -> Detections {
    let seconds = index as f32 / 10.0;
    let walker = |i: usize| {
        // A plaza of 1920 x 1080: everybody circles, boxes overlap at times.
        let angle = seconds * (0.2 + 0.01 * i as f32) + i as f32;
        let (x, y) = (960.0 + (200.0 + 14.0 * i as f32) * angle.cos(), 540.0 + 350.0 * angle.sin());
        Detection { bbox: BoxPx::new(x, y, 40.0, 100.0), class: 0, confidence: 0.8 }
    };
    Detections {
        capture_time: Timestamp::from_micros(index * 100_000),
        time_source: TimeSource::File,
        size: Size::new(1920, 1080),
        items: (0..WALKERS).map(walker).collect(),
        model: Arc::clone(model),
    }
}

fn main() {
    let model = ModelIdentity::default();
    let model = Arc::new(model);
    let frames: Vec<Detections> = (0..FRAMES).map(|index| frame(index, &model)).collect();
    let look = |i: usize| {
        let values: Vec<f32> = (0..DESCRIPTOR_LEN).map(|bin| ((bin * (i + 3)) % 17) as f32).collect();
        Descriptor::from_histogram(&values)
    };
    for looks in [Vec::new(), (0..WALKERS).map(look).collect::<Vec<_>>()] {
        let mut tracker = Tracker::new(TrackerConfig::default());
        let begun = Instant::now();
        let mut tracked = 0;
        for frame in &frames {
            let look = |bbox: BoxPx| looks.get(frame.items.iter().position(|item| item.bbox == bbox)?).cloned()?;
            tracked += tracker.update_looking(frame, &look).tracks.len();
        }
        let micros = begun.elapsed().as_secs_f64() * 1e6 / FRAMES as f64;
        let mean = tracked as f64 / FRAMES as f64;
        println!("{micros:.1} us a frame, {mean:.1} tracks, descriptors: {}", !looks.is_empty());
    }
}
