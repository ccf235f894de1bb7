//! `vigil analyze`: a file instead of a camera.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use vigil_base::event::{EndReason, EventState, ModelRef};
use vigil_base::{CameraId, EdgeId, Frame, RegionId, Timestamp};
use vigil_decode::FileDecoder;
use vigil_edge::config::AnalysisConfig;
use vigil_event::{EventConfig, EventContext, EventIds, Revision};
use vigil_runtime::{Analyser, AnalyserConfig, Analysis, Sampler};
use vigil_track::{Interpolation, TrackRecorder, TrackerConfig};

use crate::detector::DetectorArgs;
use crate::rules_trial::{RulesArgs, RulesTrial};
use crate::{event_json, exit, output, progress, when};

/// A live event is not told between its begin and its end: a file's reader wants the whole.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Analyse a video file and print its events as JSON lines, each event once, when it has ended.
///
/// The same file gives the same output. Times count from --start.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil analyze street.mp4
  vigil analyze street.mp4 --rate 10 --mot tracks.txt
  vigil analyze street.mp4 --rules rules.toml | jq -c 'select(.rule)'
  vigil analyze street.mp4 --classes car,truck --start 2026-05-01T14:00:00Z | jq -c '[.class, .begin_time]'")]
pub struct AnalyzeArgs {
    /// The video; any container and codec that GStreamer decodes.
    video: PathBuf,
    /// Frames a second that are analysed.
    #[arg(long, default_value_t = 5.0, value_name = "N", value_parser = rate)]
    rate: f64,
    /// Write every track in MOTChallenge format, with a box on every frame of the file.
    #[arg(long, value_name = "FILE")]
    mot: Option<PathBuf>,
    /// Capture time of the first frame.
    #[arg(long, default_value = "1970-01-01T00:00:00Z", value_name = "TIME")]
    start: String,
    /// Object classes that become events.
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    classes: Vec<String>,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    detector: DetectorArgs,
}

/// Runs the command.
pub fn run(args: AnalyzeArgs) -> anyhow::Result<ExitCode> {
    let start = when::parse(&args.start, Timestamp::MIN).context("--start").map_err(exit::wrong_use)?;
    args.mot.as_deref().map(ensure_writable).transpose()?;
    let decoder = FileDecoder::open(&args.video, start)?;
    let mut run = Run::new(&args, &decoder)?;
    let decoded = run.frames(decoder);
    run.finish(args.mot.as_deref())?;
    // A file that is cut short gives the events of what is there, and fails all the same.
    decoded?;
    Ok(ExitCode::SUCCESS)
}

/// One pass over a file.
struct Run {
    analyser: Analyser,
    sampler: Sampler,
    recorder: TrackRecorder,
    rules: Option<RulesTrial>,
    /// Number (from 1) and capture time of each frame.
    times: Vec<(u32, Timestamp)>,
    progress: ProgressBar,
}

impl Run {
    fn new(args: &AnalyzeArgs, decoder: &FileDecoder) -> anyhow::Result<Self> {
        let model = args.detector.load()?;
        let identity = model.identity();
        let context = EventContext {
            region: RegionId::new("local")?,
            edge: EdgeId::new("local")?,
            camera: CameraId::new("file")?,
            location: None,
            model: ModelRef { name: identity.name.as_str().into(), fingerprint: identity.fingerprint.as_str().into() },
        };
        let tracker = TrackerConfig::default();
        let recorder = TrackRecorder::new(&tracker);
        let rules = args.rules.load(identity)?;
        let mut classes =
            if args.classes.is_empty() { AnalysisConfig::default().classes } else { args.classes.clone() };
        // What a rule names must be tracked.
        let named = rules.iter().flat_map(|rules| rules.classes().to_vec());
        classes.extend(named.collect::<Vec<_>>());
        let config = AnalyserConfig {
            classes,
            gate: None,
            still_refresh: Duration::ZERO,
            tracker,
            events: EventConfig { update_interval: NEVER, thumbnails: false, ids: EventIds::Repeatable },
        };
        let frames = decoder.info().duration.zip(decoder.info().frame_rate);
        let frames = frames.map(|(duration, rate)| (duration.as_secs_f64() * rate.per_second()) as u64);
        Ok(Self {
            analyser: Analyser::new(config, context, Box::new(model.detector()?))?,
            sampler: Sampler::new(args.rate),
            recorder,
            rules,
            times: Vec::new(),
            progress: progress::frames(frames),
        })
    }

    fn frames(&mut self, mut decoder: FileDecoder) -> anyhow::Result<()> {
        while let Some(frame) = decoder.next_frame()? {
            self.frame(&frame)?;
        }
        Ok(())
    }

    fn frame(&mut self, frame: &Frame) -> anyhow::Result<()> {
        self.progress.inc(1);
        self.times.push((u32::try_from(frame.sequence + 1)?, frame.capture_time));
        if !self.sampler.takes(frame.capture_time) {
            return Ok(());
        }
        match self.analyser.analyse(frame)? {
            Analysis::Still => Ok(()),
            Analysis::Seen { update, revisions } => {
                self.recorder.observe(&update);
                if let Some(rules) = &mut self.rules {
                    rules.observe(&update, frame)?;
                }
                print_ended(&revisions)
            }
        }
    }

    fn finish(mut self, mot: Option<&Path>) -> anyhow::Result<()> {
        print_ended(&self.analyser.end_all(EndReason::StreamLost))?;
        self.rules.map(RulesTrial::finish).transpose()?;
        self.progress.finish_and_clear();
        let Some(path) = mot else { return Ok(()) };
        let tracks = self.recorder.tracks(&self.times, &Interpolation::default());
        std::fs::write(path, tracks.to_text()).with_context(|| format!("cannot write {}", path.display()))
    }
}

/// Told before the work begins: a path that cannot be written must not cost an hour of analysis.
fn ensure_writable(path: &Path) -> anyhow::Result<()> {
    let opened = File::options().create(true).append(true).open(path);
    opened.map(drop).with_context(|| format!("cannot write {}", path.display()))
}

fn rate(text: &str) -> anyhow::Result<f64> {
    let rate: f64 = text.parse()?;
    anyhow::ensure!(rate.is_finite() && rate > 0.0, "must be above 0");
    Ok(rate)
}

fn print_ended(revisions: &[Revision]) -> anyhow::Result<()> {
    let mut ended = revisions.iter().filter(|revision| revision.event.state != EventState::Ongoing);
    ended.try_for_each(|revision| output::line(event_json::event(&revision.event)))
}
