//! What can go wrong with the simulator itself.

use std::net::SocketAddr;
use std::path::PathBuf;

use vigil_base::ids::IdError;

/// The simulator cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A mount's name is not fit to be a camera id.
    #[error("a mount's name is not usable")]
    MountName {
        /// Which rule it breaks.
        source: IdError,
    },
    /// A mount's settings make no sense.
    #[error("mount {mount}: {what}")]
    Mount {
        /// Its name.
        mount: String,
        /// What is wrong.
        what: String,
    },
    /// A command names a mount that is not served.
    #[error("no mount is named {name:?}; there are: {known}")]
    UnknownMount {
        /// As given.
        name: String,
        /// Names of all mounts.
        known: String,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}: is the port in use, or below 1024?")]
    Listen {
        /// As configured.
        listen: SocketAddr,
        /// What the system says.
        source: gstreamer::glib::BoolError,
    },
    /// GStreamer, or one of its plugins, is not installed.
    #[error("GStreamer cannot {what}: install its base, good, bad, ugly and libav plugins")]
    GStreamer {
        /// What it was asked to do.
        what: &'static str,
        /// What it says.
        source: gstreamer::glib::Error,
    },
    /// The clip cannot be read.
    #[error("clip {}", path.display())]
    Clip {
        /// The clip.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The clip cannot be encoded.
    #[error("clip {}: {what}", path.display())]
    Encode {
        /// The clip.
        path: PathBuf,
        /// What GStreamer says.
        what: String,
    },
    /// The cache folder cannot be written.
    #[error("cache folder {} cannot be written", path.display())]
    Cache {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A thread cannot be started.
    #[error("thread {name} cannot be started")]
    Thread {
        /// Its name.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
}
