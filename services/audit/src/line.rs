//! A record as a line, and its hash.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::entry::Record;
use crate::error::AuditError;

/// Longest line that is written: a filter with its largest polygon and a thousand cameras fits in.
pub(crate) const MAX_LINE: usize = 256 * 1024;

const BYTES: usize = 32;

/// SHA-256 of a record's line (FIPS 180-4), shown as hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub(crate) [u8; BYTES]);

impl Digest {
    /// What stands before the first record.
    pub const NONE: Self = Self([0; BYTES]);

    /// The hash of some bytes; of a line without its end.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Digest {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const PROBLEM: &str = "is not a SHA-256 in 64 hexadecimal digits";
        if text.len() != 2 * BYTES || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(PROBLEM);
        }
        let mut bytes = [0; BYTES];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(|_| PROBLEM)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| PROBLEM)?;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The line of a record, without its end.
pub(crate) fn encode(record: &Record) -> Result<Vec<u8>, AuditError> {
    let line = serde_json::to_vec(record).expect("a record is made of strings, numbers and JSON");
    if line.len() > MAX_LINE {
        return Err(AuditError::TooLarge { bytes: line.len(), most: MAX_LINE });
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_and_nothing_else_does() {
        let digest = Digest::of(b"abc");
        // FIPS 180-4's own example.
        assert_eq!(digest.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for bad in ["", "00", &"g".repeat(64), &"0".repeat(63), &"+1".repeat(32)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
