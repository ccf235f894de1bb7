//! One event in a file of appearances: what is needed to pass it over, and where it stands among the others.
//!
//! 64 bytes, little-endian, beside the event's vector:
//!
//! | bytes | |
//! |---|---|
//! | 0..16 | event id; zeros: nothing here |
//! | 16..24 | begin, µs since 1970 |
//! | 24..32 | length, µs |
//! | 32..36 | revision |
//! | 36..40, 40..44 | latitude and longitude, 10⁻⁷ degrees, rounded; [`NOWHERE`] where there is none |
//! | 44..48 | number of the camera |
//! | 48..50 | number of the class |
//! | 50..52 | colours, a bit each |
//! | 52..54 | confidence, 65535ths, rounded up |
//! | 54..56 | kind |
//! | 56..60 | one over the vector's length, float |
//! | 60..64 | CRC-32 of the 60 bytes before, and of the vector |

use crc32fast::Hasher;
use vigil_base::Event;
use vigil_base::event::AppearanceVector;

use crate::index::keys::{colours_of, kind_number};

/// Bytes of a record without its vector.
pub(super) const RECORD_BYTES: usize = 64;
/// The latitude of what has no place.
pub(super) const NOWHERE: i32 = i32::MIN;
/// Units of latitude and longitude in a degree: 11 mm, at the most.
pub(super) const PER_DEGREE: f64 = 1e7;
/// What a confidence of 1 is.
pub(super) const SURE: f32 = 65_535.0;
/// Where the checksum begins.
const CHECKED: usize = RECORD_BYTES - 4;

/// A record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Record {
    pub(super) id: [u8; 16],
    pub(super) begin_us: i64,
    pub(super) length_us: i64,
    pub(super) revision: u32,
    pub(super) place: (i32, i32),
    pub(super) camera: u32,
    pub(super) class: u16,
    pub(super) colours: u16,
    pub(super) confidence: u16,
    pub(super) kind: u16,
    pub(super) inverse_length: f32,
}

impl Record {
    /// The record of an event, whose camera and class have these numbers.
    pub(super) fn of(event: &Event, vector: &AppearanceVector, (camera, class): (u32, u16)) -> Self {
        let place = event.location.map_or((NOWHERE, 0), |at| (units(at.latitude), units(at.longitude)));
        Self {
            id: *event.id.as_bytes(),
            begin_us: event.begin_time.as_micros(),
            length_us: event.end_time.as_micros() - event.begin_time.as_micros(),
            revision: event.revision,
            place,
            camera,
            class,
            colours: colours_of(event) as u16,
            confidence: (event.confidence * SURE).ceil() as u16,
            kind: kind_number(event.kind()) as u16,
            inverse_length: vigil_appearance::inverse_length(vector.values()),
        }
    }

    pub(super) fn end_us(&self) -> i64 {
        self.begin_us.saturating_add(self.length_us)
    }

    /// Whether there is an event here.
    pub(super) fn is_some(&self) -> bool {
        self.id != [0; 16]
    }

    pub(super) fn encode(&self, vector: &[u8]) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let mut at = 0;
        let mut put = |field: &[u8]| {
            bytes[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        };
        put(&self.id);
        put(&self.begin_us.to_le_bytes());
        put(&self.length_us.to_le_bytes());
        put(&self.revision.to_le_bytes());
        put(&self.place.0.to_le_bytes());
        put(&self.place.1.to_le_bytes());
        put(&self.camera.to_le_bytes());
        put(&self.class.to_le_bytes());
        put(&self.colours.to_le_bytes());
        put(&self.confidence.to_le_bytes());
        put(&self.kind.to_le_bytes());
        put(&self.inverse_length.to_le_bytes());
        let sum = checksum(&bytes, vector);
        bytes[CHECKED..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// What the bytes say; whether they are whole is another question ([`is_whole`]).
    pub(super) fn decode(bytes: &[u8; RECORD_BYTES]) -> Self {
        fn field<const N: usize>(bytes: &[u8; RECORD_BYTES], at: usize) -> [u8; N] {
            bytes[at..at + N].try_into().expect("a slice of N bytes has N bytes")
        }
        Self {
            id: field(bytes, 0),
            begin_us: i64::from_le_bytes(field(bytes, 16)),
            length_us: i64::from_le_bytes(field(bytes, 24)),
            revision: u32::from_le_bytes(field(bytes, 32)),
            place: (i32::from_le_bytes(field(bytes, 36)), i32::from_le_bytes(field(bytes, 40))),
            camera: u32::from_le_bytes(field(bytes, 44)),
            class: u16::from_le_bytes(field(bytes, 48)),
            colours: u16::from_le_bytes(field(bytes, 50)),
            confidence: u16::from_le_bytes(field(bytes, 52)),
            kind: u16::from_le_bytes(field(bytes, 54)),
            inverse_length: f32::from_le_bytes(field(bytes, 56)),
        }
    }
}

/// Degrees in the units of a record.
pub(super) fn units(degrees: f64) -> i32 {
    (degrees * PER_DEGREE).round() as i32
}

/// Whether a record and its vector are as they were written.
pub(super) fn is_whole(bytes: &[u8; RECORD_BYTES], vector: &[u8]) -> bool {
    checksum(bytes, vector).to_le_bytes() == bytes[CHECKED..]
}

fn checksum(bytes: &[u8; RECORD_BYTES], vector: &[u8]) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(&bytes[..CHECKED]);
    hasher.update(vector);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_record_comes_back_and_any_changed_byte_shows(
            id in any::<[u8; 16]>(), times in any::<(i64, i64)>(), place in any::<(i32, i32)>(),
            small in any::<(u32, u32, u16, u16, u16, u16)>(), at in 0usize..(RECORD_BYTES + 128), change in 1u8..,
        ) {
            let (revision, camera, class, colours, confidence, kind) = small;
            let record = Record {
                id, begin_us: times.0, length_us: times.1, revision, place, camera, class, colours, confidence, kind,
                inverse_length: 0.001,
            };
            let mut vector = [7u8; 128];
            let mut bytes = record.encode(&vector);
            prop_assert_eq!(Record::decode(&bytes), record);
            prop_assert!(is_whole(&bytes, &vector));
            match at.checked_sub(RECORD_BYTES) {
                None => bytes[at] ^= change,
                Some(at) => vector[at] ^= change,
            }
            prop_assert!(!is_whole(&bytes, &vector));
        }
    }
}
