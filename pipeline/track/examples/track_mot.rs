//! `vigil track` without the rest of vigil: MOTChallenge detections in, MOTChallenge tracks out.
//!
//! `cargo run --release -p vigil-track --example track_mot -- det.txt tracks.txt [frames-per-second]`

#![allow(clippy::print_stderr)] // A program for a terminal.

use std::error::Error;
use std::process::ExitCode;

use vigil_base::ConfidenceScale;
use vigil_track::{FrameRate, MotFile, TrackerConfig, track_mot};

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let (detections, tracks, rate) = match arguments {
        [detections, tracks] => (detections, tracks, FrameRate::ASSUMED),
        [detections, tracks, rate] => {
            (detections, tracks, FrameRate::new(rate.parse()?).ok_or("frames per second must be within 0.1 and 240")?)
        }
        _ => return Err("usage: track_mot DETECTIONS TRACKS [FRAMES_PER_SECOND]".into()),
    };
    let text = std::fs::read_to_string(detections).map_err(|err| format!("{detections}: {err}"))?;
    let file = MotFile::parse(&text).map_err(|err| format!("{detections}: {err}"))?;
    let config = TrackerConfig { confidence: ConfidenceScale::MOT15_PUBLIC.into(), ..TrackerConfig::default() };
    std::fs::write(tracks, track_mot(&file, rate, &config).to_text()).map_err(|err| format!("{tracks}: {err}"))?;
    Ok(())
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("track_mot: {err}");
            ExitCode::FAILURE
        }
    }
}
