//! What the exit status means.

use std::process::ExitCode;

use vigil_serve::config::ConfigError;

/// Wrong use or configuration: the same again fails again.
pub const USAGE: u8 = 2;
/// Some region did not answer: what was shown is a part.
pub const PARTIAL: u8 = 3;

/// The exit status of a failure.
pub fn code_of(error: &anyhow::Error) -> ExitCode {
    if error.chain().any(<dyn std::error::Error>::is::<ConfigError>) {
        ExitCode::from(USAGE)
    } else {
        ExitCode::FAILURE
    }
}
