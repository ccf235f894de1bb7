//! `vigil camsim`: simulated cameras over real RTSP.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use tokio::sync::mpsc;
use vigil_base::{Codec, Secret, Size};
use vigil_camsim::{Command, Credentials, MountConfig, Quality, SimConfig, Simulator, Target};

use crate::{exit, output, paths, progress};

/// Serve clips as live cameras over RTSP, looped without a gap, and let them misbehave on command.
///
/// Commands are read from standard input, one a line, and from --fault; "all" in place of a name means every camera.
#[derive(Debug, Args)]
#[command(after_help = "Commands:
  freeze gate 5s        sends nothing for 5 s; connections stay open
  close gate            closes every connection to it
  refuse gate 5s        answers 503 to new sessions; \"refuse all 5s\" is off the network altogether
  jump gate +10s        its clock and its RTP time stamps jump together, for good
  ntp gate -1h          its clock alone is set back an hour, for good
  damage gate 5% 10s    5% of its RTP packets are lost or altered
  garbage gate 3s       the payload of every RTP packet is noise
  repeat gate 3s        its RTP time stamps stand still
  resize gate 640x480   another picture size from the next keyframe on, for good

Examples:
  vigil camsim --mount gate=vtest.avi
  vigil camsim --mount gate=vtest.avi,codec=h265,size=1920x1080,fps=25 --user admin --password-file pw.txt
  vigil camsim --mount gate=vtest.avi --fault \"30s freeze gate 5s\" --fault \"60s close gate\"")]
pub struct CamsimArgs {
    /// A camera: NAME=CLIP, then any of codec=h264|h265, size=WxH, fps=N, gop=2s, offset=10s, length=60s, start=play, bframes=N,
    /// scan=interlaced, chroma=422, separated by commas. With start=play the clip begins when somebody comes and nobody else
    /// watches, not when the camera is switched on.
    #[arg(long = "mount", required = true, value_name = "NAME=CLIP[,KEY=VALUE...]")]
    mounts: Vec<MountArg>,
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:8554", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Ask clients for this user (with --password-file).
    #[arg(long, requires = "password_file")]
    user: Option<String>,
    /// File whose first line is the password.
    #[arg(long, requires = "user", value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// A command at a time after the start: "30s freeze cam1 5s".
    #[arg(long = "fault", value_name = "WHEN COMMAND")]
    faults: Vec<TimedFault>,
    /// End after this time instead of at an interrupt.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
}

#[derive(Debug, Clone)]
struct MountArg(MountConfig);

impl FromStr for MountArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, clip) = first.split_once('=').ok_or_else(|| anyhow!("{first:?} is not NAME=CLIP"))?;
        let mut mount = MountConfig::new(name, clip);
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| anyhow!("{part:?} is not KEY=VALUE"))?;
            match key {
                "codec" => mount.codec = codec(value)?,
                "size" => mount.size = Some(size(value)?),
                "fps" => mount.fps = Some(value.parse().with_context(|| format!("fps={value}"))?),
                "gop" => mount.gop = humantime::parse_duration(value).with_context(|| format!("gop={value}"))?,
                "offset" => {
                    mount.start_offset = humantime::parse_duration(value).with_context(|| format!("offset={value}"))?;
                }
                "length" => {
                    mount.max_length =
                        Some(humantime::parse_duration(value).with_context(|| format!("length={value}"))?);
                }
                "kbps" => mount.quality = Quality::Kbps(value.parse().with_context(|| format!("kbps={value}"))?),
                "mean-kbps" => {
                    mount.quality = Quality::MeanKbps(value.parse().with_context(|| format!("mean-kbps={value}"))?);
                }
                "start" if value == "play" => mount.starts_on_play = true,
                "bframes" => mount.coding.b_frames = value.parse().with_context(|| format!("bframes={value}"))?,
                "scan" if value == "interlaced" => mount.coding.interlaced = true,
                "chroma" if value == "422" => mount.coding.wide_chroma = true,
                _ => bail!(
                    "{part:?} is not one of codec=, size=, fps=, gop=, offset=, length=, kbps=, mean-kbps=, start=play, bframes=, scan=interlaced, chroma=422"
                ),
            }
        }
        Ok(Self(mount))
    }
}

fn codec(text: &str) -> anyhow::Result<Codec> {
    match text {
        "h264" => Ok(Codec::H264),
        "h265" => Ok(Codec::H265),
        _ => bail!("codec {text:?} is not h264 or h265"),
    }
}

fn size(text: &str) -> anyhow::Result<Size> {
    let sides = text.split_once('x').and_then(|(w, h)| Some(Size::new(w.parse().ok()?, h.parse().ok()?)));
    sides.ok_or_else(|| anyhow!("size {text:?} is not WIDTHxHEIGHT, as 1920x1080"))
}

#[derive(Debug, Clone)]
struct TimedFault {
    after: Duration,
    command: Command,
}

impl FromStr for TimedFault {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (after, command) =
            text.trim().split_once(' ').ok_or_else(|| anyhow!("{text:?} is not \"30s freeze cam1 5s\""))?;
        let after = humantime::parse_duration(after).with_context(|| format!("{after:?} is no duration"))?;
        Ok(Self { after, command: command.parse()? })
    }
}

/// Runs until interrupted.
pub async fn run(args: CamsimArgs) -> anyhow::Result<ExitCode> {
    let config = SimConfig {
        listen: args.listen,
        credentials: credentials(&args)?,
        mounts: args.mounts.into_iter().map(|mount| mount.0).collect(),
        ..SimConfig::new(paths::cache().join("camsim"))
    };
    let names: Vec<String> = config.mounts.iter().map(|mount| mount.name.clone()).collect();
    for fault in &args.faults {
        check_target(&fault.command, &names).context("--fault").map_err(exit::wrong_use)?;
    }
    let simulator = progress::start_simulator(config)?;
    for name in &names {
        output::line(simulator.url(name))?;
    }
    let (commands, mut due) = mpsc::channel(16);
    let typed = commands.clone();
    // A thread of its own: a read of standard input cannot be cancelled, and this one ends with the process.
    std::thread::Builder::new().name("stdin".to_owned()).spawn(move || read_commands(&typed))?;
    for fault in args.faults {
        let commands = commands.clone();
        tokio::spawn(async move {
            tokio::time::sleep(fault.after).await;
            // The receiver is gone when the simulator ended: nothing left to disturb.
            let _ = commands.send(fault.command).await;
        });
    }
    let end = args.duration.unwrap_or_else(|| Duration::from_secs(u64::from(u32::MAX)));
    let deadline = tokio::time::sleep(end);
    tokio::pin!(deadline);
    loop {
        tokio::select! {
            () = &mut deadline => break,
            () = crate::signals::terminated() => break,
            Some(command) = due.recv() => tokio::task::block_in_place(|| execute(&simulator, &command)),
        }
    }
    simulator.stop();
    Ok(ExitCode::SUCCESS)
}

/// A misspelt camera must not show only when its time has come.
fn check_target(command: &Command, mounts: &[String]) -> anyhow::Result<()> {
    match &command.target {
        Target::Mount(name) if !mounts.contains(name) => {
            bail!("no mount is named {name:?}; there are: {}", mounts.join(", "))
        }
        Target::Mount(_) | Target::All => Ok(()),
    }
}

fn execute(simulator: &Simulator, command: &Command) {
    if let Err(error) = simulator.execute(command) {
        eprintln!("vigil camsim: {}", vigil_serve::error::chain(&error));
    }
}

fn credentials(args: &CamsimArgs) -> anyhow::Result<Option<Credentials>> {
    let (Some(user), Some(file)) = (&args.user, &args.password_file) else { return Ok(None) };
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    Ok(Some(Credentials { user: user.clone(), password: Secret::new(password) }))
}

/// Hands over what is typed; a line that is no command is told and passed over.
fn read_commands(commands: &mpsc::Sender<Command>) {
    for line in std::io::stdin().lines().map_while(Result::ok).filter(|line| !line.trim().is_empty()) {
        match line.parse() {
            Ok(command) => {
                if commands.blocking_send(command).is_err() {
                    return;
                }
            }
            Err(error) => eprintln!("vigil camsim: {error}"),
        }
    }
}
