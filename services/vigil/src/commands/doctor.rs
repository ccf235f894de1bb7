//! `vigil doctor`: what works on this machine, really tried.

mod certificate;
mod ledger;
#[cfg(feature = "region")]
mod policy;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::json;
use vigil_base::SystemClock;
use vigil_base::error::chain;
use vigil_camera::{CameraClock, ProbeReport, StreamAddress};
use vigil_detect::Provider;

use crate::client::TlsArgs;
use crate::detector::DetectorArgs;
use crate::{exit, live, output, paths};

/// How long a camera is watched.
const PROBE: Duration = Duration::from_secs(10);

/// Try what Vigil needs: decoders, the model and its execution providers, the clips of the demo, a camera, certificates, and what a
/// running edge has watched of late.
///
/// Each line is the outcome of a real try, not of a list of what is installed. Ends with status 1 when something needed
/// does not work.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  vigil doctor
  vigil doctor --edge http://127.0.0.1:7201
  vigil doctor --config edge.toml
  vigil doctor --camera rtsp://10.0.0.20/stream1 --user viewer --password-file camera.pw")]
pub struct DoctorArgs {
    // Not parsed by clap, whose errors show what was typed: a password may stand in it.
    /// Connect to this camera and tell what it sends.
    #[arg(long, value_name = "URL")]
    camera: Option<String>,
    /// The camera's user.
    #[arg(long, requires = "camera")]
    user: Option<String>,
    /// File whose first line is the camera's password.
    #[arg(long, requires = "camera", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Ask this edge's coverage ledger how its cameras did in the last ten minutes.
    #[arg(long, value_name = "URL")]
    edge: Option<String>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Look at the certificates, and a region's policy, that this configuration file of an edge, region or gateway names.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Model manifest to try; the one that came with the product when absent.
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// Execution providers to try, in order of preference.
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "tensorrt,cuda,cpu")]
    providers: Vec<Provider>,
    /// JSON lines on standard output.
    #[arg(long)]
    json: bool,
}

/// How one try went.
enum Verdict {
    Works,
    /// Not there, and not needed.
    Absent,
    Broken,
}

struct Finding {
    what: String,
    verdict: Verdict,
    detail: String,
}

impl Finding {
    fn new(what: impl Into<String>, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self { what: what.into(), verdict, detail: detail.into() }
    }

    fn word(&self) -> &'static str {
        match self.verdict {
            Verdict::Works => "works",
            Verdict::Absent => "absent",
            Verdict::Broken => "BROKEN",
        }
    }
}

/// Runs the command.
pub fn run(args: DoctorArgs) -> anyhow::Result<ExitCode> {
    let address = args.camera.as_deref().map(str::parse::<StreamAddress>).transpose();
    let address = address.context("--camera").map_err(exit::wrong_use)?;
    let mut findings = decoders();
    findings.push(model(&args));
    findings.extend(clips());
    if let Some(address) = address {
        findings.push(camera(&args, address));
    }
    if let Some(edge) = &args.edge {
        findings.extend(ledger::findings(edge, &args.tls));
    }
    if let Some(config) = &args.config {
        findings.extend(certificate::findings(config));
        #[cfg(feature = "region")]
        findings.extend(policy::finding(config));
    }
    let broken = findings.iter().any(|finding| matches!(finding.verdict, Verdict::Broken));
    let mut table = output::table(["what", "", "detail"]);
    for finding in findings {
        let word = finding.word();
        if args.json {
            output::line(json!({"what": finding.what, "verdict": word.to_lowercase(), "detail": finding.detail}))?;
        } else {
            table.add_row([finding.what, word.to_owned(), finding.detail]);
        }
    }
    if !args.json {
        output::line(table)?;
    }
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn decoders() -> Vec<Finding> {
    let decoders = match vigil_decode::usable_decoders() {
        Ok(decoders) => decoders,
        Err(error) => return vec![Finding::new("decoders", Verdict::Broken, chain(&error))],
    };
    decoders
        .into_iter()
        .map(|decoder| {
            let kind = if decoder.hardware { "hardware" } else { "software" };
            let what = format!("{} decoder {} ({kind})", decoder.codec, decoder.element);
            match decoder.problem {
                None => Finding::new(what, Verdict::Works, ""),
                Some(problem) if decoder.hardware => Finding::new(what, Verdict::Absent, problem),
                Some(problem) => Finding::new(what, Verdict::Broken, format!("{problem}: run scripts/setup")),
            }
        })
        .collect()
}

fn model(args: &DoctorArgs) -> Finding {
    let detector = DetectorArgs { manifest: args.manifest.clone(), model: None, providers: args.providers.clone() };
    let tried = detector.load().map(|model| {
        let provider = model.provider();
        let refused =
            provider.refused.iter().map(|refusal| format!("; {} does not work: {}", refusal.provider, refusal.reason));
        format!("{} runs on {}{}", model.identity().name, provider.active, refused.collect::<String>())
    });
    match tried {
        Ok(detail) => Finding::new("detector", Verdict::Works, detail),
        Err(error) => Finding::new("detector", Verdict::Broken, chain(error.as_ref())),
    }
}

fn clips() -> Vec<Finding> {
    ["vtest.avi", "bikes.mp4"]
        .map(|name| match paths::clip(name) {
            Ok(path) => Finding::new(format!("clip {name}"), Verdict::Works, path.display().to_string()),
            Err(error) => Finding::new(format!("clip {name}"), Verdict::Absent, error.to_string()),
        })
        .into()
}

fn camera(args: &DoctorArgs, address: StreamAddress) -> Finding {
    let what = format!("camera {address}");
    match probe(args, address) {
        Ok(report) => Finding::new(what, Verdict::Works, describe(&report)),
        Err(error) => Finding::new(what, Verdict::Broken, chain(error.as_ref())),
    }
}

fn probe(args: &DoctorArgs, address: StreamAddress) -> anyhow::Result<ProbeReport> {
    let source = live::source(address, args.user.as_deref(), args.password_file.as_deref())?;
    Ok(vigil_camera::probe(&source, &SystemClock::shared(), PROBE)?)
}

fn describe(report: &ProbeReport) -> String {
    let size = report.size.map_or("size unknown".to_owned(), |size| size.to_string());
    let fps = report.fps.map_or("rate unknown".to_owned(), |fps| format!("{fps:.1} fps"));
    let keyframe = match report.time_to_keyframe {
        Some(time) => format!("first keyframe after {:.1} s", time.as_secs_f64()),
        None => format!("no keyframe within {PROBE:?}: set a keyframe distance of 1 to 4 s"),
    };
    let clock = match report.camera_clock {
        CameraClock::Unknown => "sends no NTP time: times of arrival are used".to_owned(),
        CameraClock::Good { offset_ms } => format!("its clock is {offset_ms:+} ms off this one"),
        CameraClock::Wrong { offset_ms } => {
            format!("its clock is {:+} s off: set it; times of arrival are used", offset_ms / 1000)
        }
        CameraClock::Ignored { offset_ms } => format!("its clock, {offset_ms:+} ms off, is not used as configured"),
    };
    format!("{} {size}, {fps}, {keyframe}, {clock}", report.codec)
}
