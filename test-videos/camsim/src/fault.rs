//! What a simulated camera can be told to do wrong, and how a person says it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use vigil_base::Size;

use crate::config::check_size;

const EXAMPLES: &str = "freeze cam1 5s | close cam1 | refuse cam1 5s | jump cam1 +10s | ntp cam1 -1h | \
                        damage cam1 5% 10s | garbage cam1 3s | repeat cam1 3s | resize cam1 640x480";

/// One misbehaviour of one camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Sends neither pictures nor reports for so long, with all connections open; goes on at a keyframe.
    Freeze(Duration),
    /// Closes every connection that plays it.
    Close,
    /// Answers 503 (service unavailable) to new sessions for so long; sessions that play go on.
    Refuse(Duration),
    /// The camera's clock is set, and its RTP time stamps follow it: both jump, for good.
    TimeJump {
        /// Forward when positive.
        by_ms: i64,
    },
    /// The camera's clock is set, its RTP time stamps do not follow: only the NTP time in its reports steps, for good.
    NtpStep {
        /// Forward when positive.
        by_ms: i64,
    },
    /// Of its RTP packets this share is damaged: every other one lost, the rest altered in a few bytes.
    Damage {
        /// Share of packets, 0..1.
        rate: f64,
        /// For how long.
        lasts: Duration,
    },
    /// The payload of each RTP packet is replaced by noise for so long.
    GarbageStream(Duration),
    /// The RTP time stamps stand still for so long: each picture carries that of the one before.
    RepeatTimes(Duration),
    /// Sends pictures of another size, for good, from a keyframe with new parameter sets on.
    Resize(Size),
}

/// Whom a command is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Each mount; with [`Fault::Refuse`] the whole server is off the network.
    All,
    /// One mount, by name.
    Mount(String),
}

/// A fault and its target, as written on one line:
///
/// ```text
/// freeze cam1 5s         sends nothing for 5 s; connections stay open
/// close cam1             closes every connection to it
/// refuse cam1 5s         answers 503 to whoever asks for it
/// refuse all 5s          closes everything and does not listen at all
/// jump cam1 +10s         its clock and its RTP time stamps jump together
/// ntp cam1 -20000days    only its NTP time steps: a camera whose clock was never set
/// damage cam1 5% 10s     5% of RTP packets are lost or altered
/// garbage cam1 3s        the payload of every RTP packet is noise
/// repeat cam1 3s         its RTP time stamps stand still
/// resize cam1 640x480    another picture size from the next keyframe on
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// Whom it is for.
    pub target: Target,
    /// What happens.
    pub fault: Fault,
}

/// A line is not a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{line:?}: {what}")]
pub struct FaultError {
    /// The line, cut to 120 characters.
    line: String,
    /// What was expected.
    what: String,
}

impl FromStr for Command {
    type Err = FaultError;

    fn from_str(line: &str) -> Result<Self, FaultError> {
        parse(line).map_err(|what| FaultError { line: line.trim().chars().take(120).collect(), what })
    }
}

impl Fault {
    /// Parses what follows the fault's name and the target.
    ///
    /// `word` is the fault's name, `arguments` what stands after the target: `("freeze", &["5s"])`.
    pub fn parse(word: &str, arguments: &[&str]) -> Result<Self, String> {
        match (word, arguments) {
            ("freeze", [lasts]) => Ok(Self::Freeze(duration(lasts)?)),
            ("close", []) => Ok(Self::Close),
            ("refuse", [lasts]) => Ok(Self::Refuse(duration(lasts)?)),
            ("jump", [by]) => Ok(Self::TimeJump { by_ms: signed_ms(by)? }),
            ("ntp", [by]) => Ok(Self::NtpStep { by_ms: signed_ms(by)? }),
            ("damage", [rate, lasts]) => Ok(Self::Damage { rate: share(rate)?, lasts: duration(lasts)? }),
            ("garbage", [lasts]) => Ok(Self::GarbageStream(duration(lasts)?)),
            ("repeat", [lasts]) => Ok(Self::RepeatTimes(duration(lasts)?)),
            ("resize", [to]) => Ok(Self::Resize(size(to)?)),
            ("freeze" | "refuse" | "garbage" | "repeat", _) => {
                Err(format!("{word} wants one duration: {word} cam1 5s"))
            }
            ("close", _) => Err("close wants nothing more: close cam1".to_owned()),
            ("jump" | "ntp", _) => Err(format!("{word} wants one signed duration: {word} cam1 +5s")),
            ("damage", _) => Err("damage wants a share and a duration: damage cam1 5% 10s".to_owned()),
            ("resize", _) => Err("resize wants one size: resize cam1 640x480".to_owned()),
            _ => Err(format!("unknown fault {word:?}; known are: {EXAMPLES}")),
        }
    }
}

fn parse(line: &str) -> Result<Command, String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [word, target, arguments @ ..] = words.as_slice() else {
        return Err(format!("a command is a fault and a mount, as in: {EXAMPLES}"));
    };
    let target = match *target {
        "all" => Target::All,
        name => Target::Mount(name.to_owned()),
    };
    Ok(Command { target, fault: Fault::parse(word, arguments)? })
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| format!("{text:?} is not a duration such as 500ms, 5s or 1h"))
}

fn signed_ms(text: &str) -> Result<i64, String> {
    let (sign, amount) = match text.split_at_checked(1) {
        Some(("+", amount)) => (1, amount),
        Some(("-", amount)) => (-1, amount),
        _ => (1, text),
    };
    let wanted = || format!("{text:?} is not a signed duration such as +5s or -1h");
    let lasts = humantime::parse_duration(amount).map_err(|_| wanted())?;
    i64::try_from(lasts.as_millis()).map(|ms| sign * ms).map_err(|_| wanted())
}

fn share(text: &str) -> Result<f64, String> {
    let parsed = match text.strip_suffix('%') {
        Some(percent) => percent.parse::<f64>().map(|value| value / 100.0),
        None => text.parse::<f64>(),
    };
    parsed
        .ok()
        .filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| format!("{text:?} is not a share such as 5% or 0.05"))
}

fn size(text: &str) -> Result<Size, String> {
    let wanted = || format!("{text:?} is not a size such as 640x480");
    let (width, height) = text.split_once('x').ok_or_else(wanted)?;
    let size = Size::new(width.parse().map_err(|_| wanted())?, height.parse().map_err(|_| wanted())?);
    check_size(size)?;
    Ok(size)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Mount(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Command {
    /// The line that parses to this command.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = &self.target;
        let text = |lasts: Duration| humantime::format_duration(lasts).to_string().replace(' ', "");
        let signed = |by_ms: i64| {
            let sign = if by_ms < 0 { '-' } else { '+' };
            format!("{sign}{}ms", by_ms.unsigned_abs())
        };
        match self.fault {
            Fault::Freeze(lasts) => write!(f, "freeze {target} {}", text(lasts)),
            Fault::Close => write!(f, "close {target}"),
            Fault::Refuse(lasts) => write!(f, "refuse {target} {}", text(lasts)),
            Fault::TimeJump { by_ms } => write!(f, "jump {target} {}", signed(by_ms)),
            Fault::NtpStep { by_ms } => write!(f, "ntp {target} {}", signed(by_ms)),
            Fault::Damage { rate, lasts } => {
                write!(f, "damage {target} {rate} {}", text(lasts))
            }
            Fault::GarbageStream(lasts) => {
                write!(f, "garbage {target} {}", text(lasts))
            }
            Fault::RepeatTimes(lasts) => write!(f, "repeat {target} {}", text(lasts)),
            Fault::Resize(size) => write!(f, "resize {target} {size}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(line: &str) -> Fault {
        line.parse::<Command>().unwrap().fault
    }

    #[test]
    fn each_fault_is_said_as_its_documentation_shows() {
        assert_eq!(fault("freeze cam1 5s"), Fault::Freeze(Duration::from_secs(5)));
        assert_eq!(fault("  close   cam1 "), Fault::Close);
        assert_eq!(fault("jump cam1 -1m"), Fault::TimeJump { by_ms: -60_000 });
        assert_eq!(fault("ntp cam1 500ms"), Fault::NtpStep { by_ms: 500 });
        assert_eq!(fault("damage cam1 5% 10s"), Fault::Damage { rate: 0.05, lasts: Duration::from_secs(10) });
        assert_eq!(fault("resize cam1 640x480"), Fault::Resize(Size::new(640, 480)));
        assert_eq!("refuse all 5s".parse::<Command>().unwrap().target, Target::All);
        assert!(EXAMPLES.split(" | ").all(|line| line.trim().parse::<Command>().is_ok()));
    }

    #[test]
    fn what_cannot_be_understood_is_quoted_with_an_example() {
        let bad = [
            ("", "a fault and a mount"),
            ("freeze", "a fault and a mount"),
            ("freeze cam1", "freeze cam1 5s"),
            ("freeze cam1 long", "\"long\" is not a duration"),
            ("explode cam1", "unknown fault \"explode\""),
            ("damage cam1 105% 1s", "\"105%\" is not a share"),
            ("resize cam1 640", "\"640\" is not a size"),
            ("resize cam1 641x480", "even"),
            ("jump cam1 ±5s", "signed duration"),
        ];
        for (line, expected) in bad {
            let error = line.parse::<Command>().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    fn any_fault() -> impl Strategy<Value = Fault> {
        let lasts = || (0u64..100_000).prop_map(Duration::from_millis);
        prop_oneof![
            lasts().prop_map(Fault::Freeze),
            Just(Fault::Close),
            lasts().prop_map(Fault::Refuse),
            (-1_000_000i64..1_000_000).prop_map(|by_ms| Fault::TimeJump { by_ms }),
            (-1_000_000i64..1_000_000).prop_map(|by_ms| Fault::NtpStep { by_ms }),
            (0f64..=1.0, lasts()).prop_map(|(rate, lasts)| Fault::Damage { rate, lasts }),
            lasts().prop_map(Fault::GarbageStream),
            lasts().prop_map(Fault::RepeatTimes),
            (8u32..2000, 8u32..2000).prop_map(|(w, h)| Fault::Resize(Size::new(w * 2, h * 2))),
        ]
    }

    proptest! {
        #[test]
        fn a_command_that_was_printed_parses_to_itself(fault in any_fault(), all: bool) {
            let target = if all { Target::All } else { Target::Mount("cam-1".to_owned()) };
            let command = Command { target, fault };
            prop_assert_eq!(command.to_string().parse::<Command>().unwrap(), command);
        }

        #[test]
        fn no_line_makes_it_panic(line: String) {
            let _ = line.parse::<Command>();
        }
    }
}
