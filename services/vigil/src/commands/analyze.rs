//! `vigil analyze`: the whole chain up to the event over a file, or over a camera for a while.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::ProgressBar;
use vigil_base::detection::ModelIdentity;
use vigil_base::event::{EndReason, EventState, ModelRef};
use vigil_base::{CameraId, EdgeId, Frame, GroundPlane, RegionId, Size, Timestamp};
use vigil_decode::{FileDamage, FileDecoder, FileInfo};
use vigil_edge::config::{AnalysisConfig, LookAt};
use vigil_event::{EventConfig, EventContext, EventIds, Revision};
use vigil_gate::GateConfig;
use vigil_runtime::{Analyser, AnalyserConfig, Analysis, Sampler};
use vigil_track::{Interpolation, TrackRecorder, TrackerConfig};

use crate::detection_log::DetectionLog;
use crate::detector::DetectorArgs;
use crate::ground::{self, GroundArgs};
use crate::live::LiveArgs;
use crate::plates::PlateArgs;
use crate::rules_trial::{self, RulesArgs};
use crate::{event_json, exit, output, progress, when};

/// Whom MOTChallenge files are about.
const PEOPLE: &str = "person";
/// A live event is not told between its begin and its end: a file's reader wants the whole.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Analyse a video file, or a camera for a while, and print its events as JSON lines, each event once, when it has ended.
///
/// The same file gives the same output; its times count from --start.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil analyze street.mp4
  vigil analyze street.mp4 --rate 10 --mot tracks.txt
  vigil analyze street.mp4 --gates
  vigil analyze rtsp://10.0.0.20/stream1 --duration 1m --user viewer --password-file camera.pw
  vigil analyze street.mp4 --plates | jq -c 'select(.plate) | [.plate, .plate_confidence, .plate_looks]'
  vigil analyze street.mp4 --rules rules.toml | jq -c 'select(.rule) | [.kind, .begin_time, .evidence]'
  vigil analyze street.mp4 --classes car,truck --start 2026-05-01T14:00:00Z | jq -c '[.class, .begin_time]'")]
pub struct AnalyzeArgs {
    /// The video: a file of any container and codec that GStreamer decodes, or an rtsp:// address with --duration.
    video: PathBuf,
    /// Frames a second that are analysed.
    #[arg(long, default_value_t = 5.0, value_name = "N", value_parser = rate)]
    rate: f64,
    /// Look when and where something moves or is tracked, as an edge does, and not at all of every frame; --rate is then
    /// the most.
    #[arg(long)]
    gates: bool,
    /// With --gates, look at parts as large as the cost of the whole picture allows: finds small objects in large pictures.
    #[arg(long, requires = "gates")]
    detail: bool,
    /// Write every track in MOTChallenge format, with a box on every frame of the video; with --ground its last columns are the
    /// place on the ground in metres. The format knows no classes and is used for people: no others are written, unless
    /// --classes says which.
    #[arg(long, value_name = "FILE")]
    mot: Option<PathBuf>,
    /// Write what the detector found on the analysed frames, before any tracking, in MOTChallenge format.
    #[arg(long, value_name = "FILE")]
    detections: Option<PathBuf>,
    /// Capture time of the first frame.
    #[arg(long, default_value = "1970-01-01T00:00:00Z", value_name = "TIME")]
    start: String,
    /// Object classes that become events.
    #[arg(long, value_name = "CLASS", value_delimiter = ',')]
    classes: Vec<String>,
    #[command(flatten)]
    live: LiveArgs,
    #[command(flatten)]
    ground: GroundArgs,
    #[command(flatten)]
    rules: RulesArgs,
    #[command(flatten)]
    plates: PlateArgs,
    #[command(flatten)]
    detector: DetectorArgs,
}

/// Runs the command.
pub fn run(args: AnalyzeArgs) -> anyhow::Result<ExitCode> {
    let start = when::parse(&args.start, Timestamp::MIN).context("--start").map_err(exit::wrong_use)?;
    let camera = args.live.camera(&args.video)?;
    for path in args.mot.iter().chain(&args.detections) {
        ensure_writable(path)?;
    }
    let (run, taken) = if let Some(camera) = camera {
        let mut run = Run::new(&args, "camera", None)?;
        let taken = camera.watch(&mut |number, frame| run.frame(number, frame));
        (run, taken)
    } else {
        let mut decoder = FileDecoder::open(&args.video, start)?;
        let mut run = Run::new(&args, "file", expected_frames(decoder.info()))?;
        let taken = run.file(&mut decoder);
        run.damage = decoder.damage();
        (run, taken)
    };
    run.finish(&args)?;
    // A video that is cut short gives the events of what is there, and fails all the same.
    taken?;
    Ok(ExitCode::SUCCESS)
}

fn expected_frames(info: FileInfo) -> Option<u64> {
    let known = info.duration.zip(info.frame_rate);
    known.map(|(duration, rate)| (duration.as_secs_f64() * rate.per_second()) as u64)
}

/// One pass over a video.
struct Run {
    analyser: Analyser,
    sampler: Sampler,
    recorder: TrackRecorder,
    model: Arc<ModelIdentity>,
    /// Those that `--mot` tells of; all when empty.
    mot_classes: Vec<String>,
    detections: DetectionLog,
    ground: Option<Arc<GroundPlane>>,
    size: Size,
    /// Number (from 1) and capture time of each frame.
    times: Vec<(u32, Timestamp)>,
    progress: ProgressBar,
    damage: FileDamage,
}

impl Run {
    fn new(args: &AnalyzeArgs, camera: &str, expected_frames: Option<u64>) -> anyhow::Result<Self> {
        let model = args.detector.load()?;
        let identity = model.identity();
        let ground = args.ground.load()?;
        let context = EventContext {
            region: RegionId::new("local")?,
            edge: EdgeId::new("local")?,
            camera: CameraId::new(camera)?,
            location: None,
            ground: ground.clone(),
            model: ModelRef { name: identity.name.as_str().into(), fingerprint: identity.fingerprint.as_str().into() },
        };
        let tracker = TrackerConfig { confidence: identity.confidence.clone(), ..TrackerConfig::default() };
        let recorder = TrackRecorder::new(&tracker);
        let classes = if args.classes.is_empty() { AnalysisConfig::default().classes } else { args.classes.clone() };
        let people = identity.classes.iter().filter(|class| *class == PEOPLE).cloned();
        let mot_classes = if args.classes.is_empty() { people.collect() } else { args.classes.clone() };
        let look = if args.detail { LookAt::Detail } else { LookAt::Regions };
        let analysis = AnalysisConfig { rate: args.rate, motion_gate: args.gates, look, ..AnalysisConfig::default() };
        let rules = args.rules.load(ground.as_ref())?;
        let config = AnalyserConfig {
            plates: args.plates.load(&args.detector, &rules)?,
            rules,
            gate: args.gates.then(GateConfig::default),
            attention: analysis.attention(),
            tracker,
            events: EventConfig { classes, update_interval: NEVER, thumbnails: false, ids: EventIds::Repeatable },
        };
        let detections = DetectionLog::default();
        let detector = detections.listen(Box::new(model.detector()?), &config.events.classes);
        Ok(Self {
            analyser: Analyser::new(config, context, detector)?,
            sampler: Sampler::new(analysis.frames_per_second()),
            recorder,
            model: identity.clone(),
            mot_classes,
            detections,
            ground,
            size: Size::new(1, 1),
            times: Vec::new(),
            progress: progress::frames(expected_frames),
            damage: FileDamage::default(),
        })
    }

    fn file(&mut self, decoder: &mut FileDecoder) -> anyhow::Result<()> {
        while let Some(frame) = decoder.next_frame()? {
            self.frame(u32::try_from(frame.sequence + 1)?, &frame)?;
        }
        Ok(())
    }

    fn frame(&mut self, number: u32, frame: &Frame) -> anyhow::Result<()> {
        self.progress.inc(1);
        self.times.push((number, frame.capture_time));
        self.size = frame.size;
        if !self.sampler.takes(frame.capture_time) {
            return Ok(());
        }
        let analysis = self.analyser.analyse(frame)?;
        self.detections.note(number);
        match analysis {
            Analysis::NotDue => Ok(()),
            Analysis::Still { revisions } => print_ended(&revisions),
            Analysis::Seen { update, revisions } => {
                self.recorder.observe(&update);
                print_ended(&revisions)
            }
        }
    }

    fn finish(mut self, args: &AnalyzeArgs) -> anyhow::Result<()> {
        print_ended(&self.analyser.end_all(EndReason::StreamLost))?;
        rules_trial::print_counts(self.analyser.readouts())?;
        self.progress.finish_and_clear();
        tell_damage(args, self.damage)?;
        if let Some(path) = &args.detections {
            write(path, &self.detections.into_text())?;
        }
        if let Some(path) = &args.mot {
            let (told, model) = (&self.mot_classes, &self.model);
            let is_told = |class| told.is_empty() || told.iter().any(|name| name == model.class_name(class));
            let mut tracks = self.recorder.tracks(&self.times, &Interpolation::default(), is_told);
            if let Some(plane) = &self.ground {
                ground::locate(&mut tracks, plane, self.size);
            }
            write(path, &tracks.to_text())?;
        }
        Ok(())
    }
}

/// What was analysed is not all that was filmed: said on standard error, and as the last line of the results.
#[allow(clippy::print_stderr)] // For the person at the terminal.
fn tell_damage(args: &AnalyzeArgs, damage: FileDamage) -> anyhow::Result<()> {
    if !damage.is_any() {
        return Ok(());
    }
    let FileDamage { repaired, lost } = damage;
    eprintln!(
        "vigil: {} is damaged: {repaired} pictures were analysed as the decoder repaired them, {lost} could not be decoded",
        args.video.display()
    );
    output::line(serde_json::json!({"damaged_pictures": repaired, "lost_pictures": lost}))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
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
