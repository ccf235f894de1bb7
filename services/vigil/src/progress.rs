//! Progress of long work, on standard error.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use vigil_camsim::{Progress, SimConfig, SimError, Simulator};

/// A line that turns while something is under way; silent where standard error is no terminal.
pub fn spinner(text: impl Into<String>) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is well-formed");
    let bar = ProgressBar::new_spinner().with_style(style).with_message(text.into());
    bar.enable_steady_tick(std::time::Duration::from_millis(120));
    bar
}

/// A bar over frames, or a count where nobody knows how many; silent where standard error is no terminal.
pub fn frames(expected: Option<u64>) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} frames, {eta} left").expect("the template is well-formed");
    match expected {
        Some(frames) => ProgressBar::new(frames).with_style(style),
        None => spinner("analysing"),
    }
}

/// Starts a simulator and shows how the encoding of its clips comes along.
pub fn start_simulator(config: SimConfig) -> Result<Simulator, SimError> {
    let bars = MultiProgress::new();
    let known: Mutex<HashMap<String, ProgressBar>> = Mutex::default();
    Simulator::start_with_progress(config, &|progress| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        match progress {
            Progress::Encoding { mount, frames } => {
                let bar = known.entry(mount.clone()).or_insert_with(|| bars.add(spinner("")));
                bar.set_message(format!("camera {mount}: encoding its clip, {frames} frames"));
            }
            Progress::Ready { mount, .. } => {
                if let Some(bar) = known.remove(&mount) {
                    bar.finish_and_clear();
                }
            }
        }
    })
}
