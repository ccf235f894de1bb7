//! Simulated cameras and a camera that is watched, for tests over real RTSP.

#![allow(dead_code)] // Each test binary uses its own part.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use vigil_base::{CameraId, Clock, EncodedPacket, Size, SystemClock};
use vigil_camera::{Camera, CameraError, CameraSource, CameraStatus, Shutdown, Source};
use vigil_camsim::{MountConfig, SimConfig, Simulator};

/// How long a condition may take on a loaded machine. Only a failing test waits so long.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// The plaza with pedestrians: 768x576, 10 pictures a second.
pub fn clip() -> PathBuf {
    let cache = std::env::var_os("VIGIL_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/vigil"),
        PathBuf::from,
    );
    let clip = cache.join("clips/vtest.avi");
    assert!(clip.is_file(), "{} is missing: run scripts/setup, or set VIGIL_CACHE", clip.display());
    clip
}

/// The first five seconds of the plaza, small, with a keyframe every second and a sender report every half.
pub fn mount(name: &str) -> MountConfig {
    MountConfig {
        size: Some(Size::new(192, 144)),
        gop: Duration::from_secs(1),
        max_length: Some(Duration::from_secs(5)),
        sender_reports: Some(Duration::from_millis(500)),
        ..MountConfig::new(name, clip())
    }
}

pub fn config(mounts: impl IntoIterator<Item = MountConfig>) -> SimConfig {
    let mut config = SimConfig::new(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("clips"));
    config.mounts.extend(mounts);
    config
}

/// One camera named `cam`.
pub fn simulator() -> Simulator {
    Simulator::start(config([mount("cam")])).expect("the simulator starts")
}

/// Settings that notice faults and recover quickly.
pub fn source(url: &str) -> CameraSource {
    CameraSource {
        connect_timeout: Some(Duration::from_secs(10)),
        stall_timeout: Some(Duration::from_millis(1500)),
        reconnect_min: Some(Duration::from_millis(50)),
        reconnect_max: Some(Duration::from_millis(200)),
        ..CameraSource::new(url.parse().expect("the address is good"))
    }
}

/// A camera that runs on its thread, and all it has brought.
pub struct Watched {
    seen: Arc<(Mutex<Seen>, Condvar)>,
    shutdown: Shutdown,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
pub struct Seen {
    pub packets: Vec<EncodedPacket>,
    pub statuses: Vec<CameraStatus>,
}

impl Seen {
    /// Why the camera was down, each time.
    pub fn reasons(&self) -> Vec<Arc<CameraError>> {
        let reason = |status: &CameraStatus| match status {
            CameraStatus::Down { reason, .. } => Some(Arc::clone(reason)),
            _ => None,
        };
        self.statuses.iter().filter_map(reason).collect()
    }

    pub fn session(&self, session: u32) -> Vec<&EncodedPacket> {
        self.packets.iter().filter(|packet| packet.session == session).collect()
    }
}

impl Watched {
    pub fn url(url: &str) -> Self {
        Self::start(source(url).resolve().expect("the source is good"))
    }

    pub fn start(source: Source) -> Self {
        let id = CameraId::new("cam-under-test").expect("a good id");
        let mut camera = Camera::rtsp(id, source, SystemClock::shared()).expect("GStreamer is installed");
        let seen = Arc::new((Mutex::new(Seen::default()), Condvar::new()));
        let shutdown = Shutdown::new();
        let (filled, told) = (Arc::clone(&seen), shutdown.clone());
        let run = move || {
            let sink = |packet| {
                filled.0.lock().packets.push(packet);
                filled.1.notify_all();
                Ok(())
            };
            let status = |status| {
                filled.0.lock().statuses.push(status);
                filled.1.notify_all();
            };
            camera.run(&sink, &status, &told);
        };
        let thread = std::thread::Builder::new().name("camera-under-test".to_owned()).spawn(run).expect("a thread");
        Self { seen, shutdown, thread: Some(thread) }
    }

    /// Waits until `found` finds what it looks for in all that was seen.
    pub fn wait_for<T>(&self, what: &str, mut found: impl FnMut(&Seen) -> Option<T>) -> T {
        let clock = SystemClock::new();
        let mut seen = self.seen.0.lock();
        loop {
            if let Some(found) = found(&seen) {
                return found;
            }
            let left = PATIENCE.saturating_sub(clock.monotonic());
            if left.is_zero() {
                let (packets, last) = (seen.packets.len(), seen.statuses.iter().rev().take(6).collect::<Vec<_>>());
                panic!("{what} did not come; {packets} packets, last statuses, newest first: {last:#?}");
            }
            self.seen.1.wait_for(&mut seen, left);
        }
    }

    pub fn wait_for_packets(&self, count: usize) -> Vec<EncodedPacket> {
        self.wait_for("packets", |seen| (seen.packets.len() >= count).then(|| seen.packets.clone()))
    }

    /// Waits until so many packets of session `session` are there, and returns them.
    pub fn wait_for_session(&self, session: u32, packets: usize) -> Vec<EncodedPacket> {
        self.wait_for("a session's packets", |seen| {
            let all = seen.session(session);
            (all.len() >= packets).then(|| all.into_iter().cloned().collect())
        })
    }

    /// Waits until the camera is down for the `nth` time (from 0), and returns why.
    pub fn wait_for_reason(&self, nth: usize) -> Arc<CameraError> {
        self.wait_for("a reason", |seen| seen.reasons().get(nth).cloned())
    }

    /// Frees all that was seen.
    pub fn forget(&self) {
        *self.seen.0.lock() = Seen::default();
    }

    pub fn look<T>(&self, look: impl FnOnce(&Seen) -> T) -> T {
        look(&self.seen.0.lock())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.shutdown.trigger();
        if let Some(thread) = self.thread.take() {
            assert!(thread.join().is_ok() || std::thread::panicking(), "the camera's thread panicked");
        }
    }
}

/// NAL units of an Annex B byte stream, without their start codes.
pub fn nal_units(data: &[u8]) -> Vec<&[u8]> {
    let mut starts: Vec<usize> =
        (0..data.len().saturating_sub(2)).filter(|&at| data[at..at + 3] == [0, 0, 1]).collect();
    starts.push(data.len());
    let units = starts.windows(2).map(|pair| &data[pair[0] + 3..pair[1]]);
    // A four-byte start code leaves its first zero at the end of the unit before it; no unit ends in zero.
    units.map(|unit| unit.strip_suffix(&[0]).unwrap_or(unit)).collect()
}

/// The slices of a picture: what a decoder draws, whatever parameter sets were put around it.
pub fn slices(packet: &[u8], codec: vigil_base::Codec) -> Vec<&[u8]> {
    let is_slice = |unit: &&[u8]| match (codec, unit.first()) {
        (vigil_base::Codec::H264, Some(head)) => (1..=5).contains(&(head & 0x1f)),
        (vigil_base::Codec::H265, Some(head)) => (head >> 1) & 0x3f < 32,
        _ => false,
    };
    nal_units(packet).into_iter().filter(is_slice).collect()
}
