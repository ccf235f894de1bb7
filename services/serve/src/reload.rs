//! The configuration, read again while a process runs: who asks for it, and where it is told what came of it.

use std::fmt::Display;
use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::HealthBoard;

/// The component's name on the health board.
const COMPONENT: &str = "configuration";

/// Where the configuration stands, and when it is to be read again.
pub struct Reloads {
    /// The file that the process was started with.
    pub file: PathBuf,
    /// One message for each request.
    pub requests: mpsc::Receiver<()>,
}

/// The configuration was read again and is followed now; `changes` says what it changed.
pub fn taken_over(board: &HealthBoard, changes: impl Display) {
    count("taken_over");
    board.clear(COMPONENT);
    tracing::info!("the configuration was read again and taken over: {changes}");
}

/// It was read again and is not followed, or not all of it; `detail` says why in one sentence.
pub fn refused(board: &HealthBoard, detail: &str) {
    count("refused");
    tracing::error!("{detail}");
    board.report(COMPONENT, detail, false);
}

/// What [`refused`] says where nothing has changed, before the reason.
pub fn nothing_changed(process: &str, reason: &str) -> String {
    format!("the configuration that was read is refused, and the {process} goes on with the one before: {reason}")
}

fn count(outcome: &'static str) {
    metrics::counter!("vigil_configuration_reads_total", "outcome" => outcome).increment(1);
}
