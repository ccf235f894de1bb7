//! The simulator as a whole: prepares the clips, runs the mounts, takes commands.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use vigil_base::{SharedClock, SystemClock};

use crate::clip::Clip;
use crate::config::{MountConfig, SimConfig};
use crate::error::SimError;
use crate::fault::{Command, Fault, Target};
use crate::mount::{Mount, MountStats};
use crate::prepare::{Progress, prepare};
use crate::server::Server;
use crate::transcode::Encoding;

/// A running RTSP server with its cameras. Dropping it closes all connections, frees the port and ends its threads.
pub struct Simulator {
    server: Server,
    mounts: Vec<Arc<Mount>>,
    feeders: Vec<JoinHandle<()>>,
    listen: SocketAddr,
    cache: PathBuf,
}

impl Simulator {
    /// Prepares every clip, which takes a while the first time, and starts to serve.
    pub fn start(config: SimConfig) -> Result<Self, SimError> {
        Self::start_with_progress(config, &|_| {})
    }

    /// The same, telling how far the preparation has come; several clips are prepared at once.
    pub fn start_with_progress(config: SimConfig, progress: &(dyn Fn(Progress) + Sync)) -> Result<Self, SimError> {
        config.check()?;
        gstreamer::init().map_err(|source| SimError::GStreamer { what: "start", source })?;
        let clock = SystemClock::shared();
        let clips = prepare_all(&config, progress)?;
        let mounts: Vec<_> = (config.mounts.into_iter().zip(clips))
            .map(|(mount, clip)| Arc::new(Mount::new(mount, clip, SharedClock::clone(&clock))))
            .collect();
        let server = Server::start(config.listen, config.credentials.as_ref(), mounts.clone())?;
        let listen = SocketAddr::new(config.listen.ip(), server.port());
        let mut simulator = Self { server, mounts, feeders: Vec::new(), listen, cache: config.cache };
        simulator.start_feeders()?;
        tracing::info!(%listen, mounts = simulator.mounts.len(), "cameras are simulated");
        Ok(simulator)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.listen.port()
    }

    /// The address of a mount, without user and password.
    pub fn url(&self, mount: &str) -> String {
        format!("rtsp://{}/{mount}", self.listen)
    }

    /// What a mount has done so far.
    pub fn stats(&self, mount: &str) -> Result<MountStats, SimError> {
        Ok(self.mounts[self.find(mount)?].stats())
    }

    /// The clip that a mount plays now.
    pub fn clip(&self, mount: &str) -> Result<Arc<Clip>, SimError> {
        Ok(self.mounts[self.find(mount)?].clip())
    }

    /// Makes one mount misbehave. [`Fault::Resize`] returns once the clip is prepared in its new size, which takes a
    /// while the first time; everything else returns at once.
    pub fn inject(&self, mount: &str, fault: Fault) -> Result<(), SimError> {
        let index = self.find(mount)?;
        let mount = &self.mounts[index];
        match fault {
            Fault::Close => self.server.close(Some(index)),
            Fault::Resize(size) => {
                let encoding = Encoding { size: Some(size), ..Encoding::of(&mount.config) };
                mount.change_to(prepare(&self.cache, &mount.config, &encoding, &|_| {})?);
            }
            other => mount.suffer(other),
        }
        tracing::info!(mount = mount.config.name, ?fault, "camera misbehaves");
        Ok(())
    }

    /// Does what a line said.
    pub fn execute(&self, command: &Command) -> Result<(), SimError> {
        match (&command.target, command.fault) {
            (Target::Mount(name), fault) => self.inject(name, fault),
            (Target::All, Fault::Refuse(lasts)) => {
                self.server.go_offline(lasts);
                Ok(())
            }
            (Target::All, fault) => self.mounts.iter().try_for_each(|mount| self.inject(&mount.config.name, fault)),
        }
    }

    /// Closes all connections, frees the port and ends all threads, as dropping does.
    pub fn stop(self) {}

    fn find(&self, name: &str) -> Result<usize, SimError> {
        self.mounts.iter().position(|mount| mount.config.name == name).ok_or_else(|| SimError::UnknownMount {
            name: name.to_owned(),
            known: self.mounts.iter().map(|mount| mount.config.name.as_str()).collect::<Vec<_>>().join(", "),
        })
    }

    fn start_feeders(&mut self) -> Result<(), SimError> {
        for mount in &self.mounts {
            let (name, mount) = (format!("vigil-cam-{}", mount.config.name), Arc::clone(mount));
            let feeder = std::thread::Builder::new()
                .name(name.clone())
                .spawn(move || mount.play())
                .map_err(|source| SimError::Thread { name, source })?;
            self.feeders.push(feeder);
        }
        Ok(())
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // While the feeders run: a client that waits for its first picture cannot be sent away before it has come.
        for mount in &self.mounts {
            mount.thaw();
        }
        self.server.shut_down();
        for mount in &self.mounts {
            mount.stop();
        }
        for feeder in self.feeders.drain(..) {
            if feeder.join().is_err() {
                tracing::error!("a feeder panicked");
            }
        }
    }
}

/// One clip per mount. Mounts that differ only in where they start share theirs; as many at once are prepared as there are
/// cores.
fn prepare_all(config: &SimConfig, progress: &(dyn Fn(Progress) + Sync)) -> Result<Vec<Arc<Clip>>, SimError> {
    let at_once = std::thread::available_parallelism().map_or(1, usize::from);
    let mounts = &config.mounts;
    let same =
        |one: &MountConfig, other: &MountConfig| one.clip == other.clip && Encoding::of(one) == Encoding::of(other);
    let first_like = |mount: &MountConfig| mounts.iter().position(|other| same(mount, other)).unwrap_or(0);
    let firsts: Vec<usize> = (0..mounts.len()).filter(|&index| first_like(&mounts[index]) == index).collect();
    let one = |index: usize| {
        let mount = &mounts[index];
        prepare(&config.cache, mount, &Encoding::of(mount), &|at| progress(at))
    };
    let mut prepared = HashMap::new();
    for group in firsts.chunks(at_once) {
        let clips: Vec<_> = std::thread::scope(|scope| {
            let running: Vec<_> = group.iter().map(|&index| scope.spawn(move || (index, one(index)))).collect();
            running.into_iter().map(|thread| thread.join().expect("preparing does not panic")).collect()
        });
        for (index, clip) in clips {
            prepared.insert(index, clip?);
        }
    }
    Ok(mounts.iter().map(|mount| Arc::clone(&prepared[&first_like(mount)])).collect())
}
