//! What the exit status means.

use std::process::ExitCode;

use vigil_serve::config::ConfigError;

/// Wrong use or configuration: the same again fails again.
pub const USAGE: u8 = 2;
/// Some region did not answer: what was shown is a part.
pub const PARTIAL: u8 = 3;

/// Wrong use that only shows when the command runs.
#[derive(Debug)]
struct WrongUse(String);

impl std::fmt::Display for WrongUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WrongUse {}

/// Marks an error as wrong use.
pub fn wrong_use(error: impl Into<anyhow::Error>) -> anyhow::Error {
    anyhow::Error::new(WrongUse(format!("{:#}", error.into())))
}

/// Whether the same again fails again.
pub fn is_wrong_use(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<ConfigError>() || cause.is::<WrongUse>())
}

/// The exit status of a failure.
pub fn code_of(error: &anyhow::Error) -> ExitCode {
    if is_wrong_use(error) { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
}
