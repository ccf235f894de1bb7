//! ONNX Runtime: found, loaded once per process, and asked what it can do.

use std::path::{Path, PathBuf};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use parking_lot::Mutex;

use crate::provider::Provider;
use crate::{RuntimeError, provider};

/// The library's name below the cache.
const LIBRARY: &str = "lib/libonnxruntime.so";

/// The loaded ONNX Runtime. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Runtime {
    library: PathBuf,
    environment: Environment,
}

/// A library can be loaded once and never unloaded, so that which one it was is a fact about the process.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

/// What a runtime is and can do, for `vigil doctor`.
#[derive(Debug, Clone)]
pub struct RuntimeInfo {
    /// The library's file, links followed: its name tells the version.
    pub library: PathBuf,
    /// What the library says of its build.
    pub build: String,
    /// All providers that Vigil knows.
    pub providers: Vec<ProviderInfo>,
}

/// An execution provider on this machine.
#[derive(Debug, Clone)]
pub struct ProviderInfo {
    /// Which one.
    pub provider: Provider,
    /// Why it cannot be used; none when a session accepts it.
    pub problem: Option<String>,
}

impl Runtime {
    /// Loads the library: `library`, else `$ORT_DYLIB_PATH`, else `lib/libonnxruntime.so` in the cache that `scripts/setup`
    /// fills. Where it is loaded already, gives that one.
    pub fn start(library: Option<&Path>) -> Result<Self, RuntimeError> {
        let path = library.map_or_else(default_library, Path::to_owned);
        let real = path.canonicalize().map_err(|_| RuntimeError::Missing { path: path.clone() })?;
        let mut loaded = LOADED.lock();
        if let Some(runtime) = &*loaded {
            if runtime.library == real {
                return Ok(runtime.clone());
            }
            return Err(RuntimeError::AnotherIsLoaded { loaded: runtime.library.clone(), path: real });
        }
        let environment = load(&real).map_err(|source| RuntimeError::Unusable { path: real.clone(), source })?;
        tracing::info!(library = %real.display(), "ONNX Runtime is loaded");
        Ok(loaded.insert(Self { library: real, environment }).clone())
    }

    /// What it is, and which providers work, each really tried.
    pub fn info(&self) -> RuntimeInfo {
        let examine = |provider: Provider| ProviderInfo { provider, problem: self.try_provider(provider).err() };
        RuntimeInfo {
            library: self.library.clone(),
            build: ort::info().to_owned(),
            providers: Provider::ALL.map(examine).into(),
        }
    }

    pub(crate) fn session_builder(&self) -> ort::Result<SessionBuilder> {
        Session::builder(&self.environment)
    }

    fn try_provider(&self, wanted: Provider) -> Result<(), String> {
        let mut builder = self.session_builder().map_err(|err| err.message().to_owned())?;
        provider::register(&mut builder, wanted)
    }
}

/// `$VIGIL_CACHE`, else `$XDG_CACHE_HOME/vigil`, else `~/.cache/vigil`.
pub(crate) fn cache_dir() -> PathBuf {
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = || var("XDG_CACHE_HOME").or_else(|| var("HOME").map(|home| home.join(".cache"))).unwrap_or_default();
    var("VIGIL_CACHE").unwrap_or_else(|| base().join("vigil"))
}

fn default_library() -> PathBuf {
    let named = std::env::var_os("ORT_DYLIB_PATH").filter(|value| !value.is_empty());
    named.map_or_else(|| cache_dir().join(LIBRARY), PathBuf::from)
}

fn load(library: &Path) -> Result<Environment, Box<dyn std::error::Error + Send + Sync>> {
    let environment = ort::init_from(library)?.with_name("vigil").with_telemetry(false).build()?;
    // The binding asks for verbose logs and drops them later, which costs a call for every node of every run.
    environment.set_log_level(LogLevel::Warning);
    Ok(environment)
}
