//! `vigil track`: the tracker alone.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use vigil_base::ConfidenceScale;
use vigil_track::{FrameRate, MotFile, TrackerConfig, track_mot};

/// Run the tracker over detections of a file, without any video.
///
/// Reads MOTChallenge detections (frame,id,left,top,width,height,confidence,...; frames and pixels count from 1) and writes the
/// tracks in the same format, with a box on every frame a track lives.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  vigil track det.txt --fps 25 --out tracks.txt")]
pub struct TrackArgs {
    /// MOTChallenge detections.
    detections: PathBuf,
    /// Where the tracks are written.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Frames a second of the video the detections are of; without it a middling rate is assumed.
    #[arg(long, value_name = "N")]
    fps: Option<f64>,
    /// The detections are of the frames 1, 1+N, 1+2N, ... alone: an analysis rate below the video's.
    #[arg(long, value_name = "N", default_value = "1")]
    every: NonZeroU32,
    /// What the confidences mean.
    #[arg(long, value_enum, default_value_t = Scale::Mot15)]
    confidence: Scale,
}

/// How a detector's confidences are to be read.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scale {
    /// The public detections of the MOT15 benchmark.
    Mot15,
    /// Vigil's own default detector.
    Nanodet,
    /// Probabilities that mean what they say.
    Probability,
}

/// Largest detection file that is read: an hour of a crowd.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// Runs the command.
pub fn run(args: TrackArgs) -> anyhow::Result<ExitCode> {
    let path = args.detections.display();
    let size = std::fs::metadata(&args.detections).with_context(|| format!("cannot read {path}"))?.len();
    anyhow::ensure!(size <= MAX_BYTES, "{path} has {size} bytes; at most {MAX_BYTES} are read");
    let text = std::fs::read_to_string(&args.detections).with_context(|| format!("cannot read {path}"))?;
    let detections = MotFile::parse(&text).with_context(|| path.to_string())?;
    let rate = match args.fps {
        Some(fps) => FrameRate::new(fps).with_context(|| format!("--fps {fps} is not within 0.1 and 240"))?,
        None => FrameRate::ASSUMED,
    };
    let confidence = match args.confidence {
        Scale::Mot15 => ConfidenceScale::MOT15_PUBLIC,
        Scale::Nanodet => ConfidenceScale::NANODET,
        Scale::Probability => ConfidenceScale::PROBABILITY,
    };
    let rate = rate.looked_at_every(args.every);
    let tracks =
        track_mot(&detections, rate, &TrackerConfig { confidence: confidence.into(), ..TrackerConfig::default() });
    std::fs::write(&args.out, tracks.to_text()).with_context(|| format!("cannot write {}", args.out.display()))?;
    Ok(ExitCode::SUCCESS)
}
