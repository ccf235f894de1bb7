//! All ids, as types of their own, so that a camera's id is never passed where an edge's is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Longest name id, in characters.
pub const MAX_NAME_LEN: usize = 64;

/// A text is not fit to be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Empty, too long, or with a character outside `A-Z a-z 0-9 . _ -`.
    #[error("{kind} id {value:?} must be 1 to 64 characters of A-Z a-z 0-9 . _ - and start with a letter or digit")]
    Name {
        /// What the id is for.
        kind: &'static str,
        /// The text, cut to 80 characters.
        value: String,
    },
    /// Not a UUID, or not of version 7 where that is asked for.
    #[error("{kind} id {value:?} must be a UUID{version}")]
    Uuid {
        /// What the id is for.
        kind: &'static str,
        /// The text, cut to 80 characters.
        value: String,
        /// The version asked for, as " (version 7)", or nothing.
        version: &'static str,
    },
}

fn check_name(kind: &'static str, value: &str) -> Result<(), IdError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let starts_well = value.starts_with(|c: char| c.is_ascii_alphanumeric());
    if starts_well && value.len() <= MAX_NAME_LEN && value.chars().all(allowed) {
        return Ok(());
    }
    Err(IdError::Name { kind, value: value.chars().take(80).collect() })
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Checks `value`: 1 to 64 characters of `A-Z a-z 0-9 . _ -`, starting with a letter or digit.
            pub fn new(value: impl AsRef<str>) -> Result<Self, IdError> {
                check_name($kind, value.as_ref())?;
                Ok(Self(value.as_ref().into()))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(value: &str) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(value: String) -> Result<Self, IdError> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
    };
}

name_id!(
    /// A region: one index, owned by one department or district.
    RegionId,
    "region"
);
name_id!(
    /// An edge box, unique within its region.
    EdgeId,
    "edge"
);
name_id!(
    /// A gateway, unique within its authority.
    GatewayId,
    "gateway"
);
name_id!(
    /// A person or program that asks questions, unique within its authority.
    OperatorId,
    "operator"
);
name_id!(
    /// A camera, unique within its region.
    CameraId,
    "camera"
);
name_id!(
    /// A rule, unique within its camera.
    RuleId,
    "rule"
);
name_id!(
    /// A zone or line that rules watch, unique within its camera.
    ZoneId,
    "zone"
);

/// An event: UUIDv7, given once on the edge; its time part is the event's begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(Uuid);

impl EventId {
    /// A new id for an event that began at `begin`.
    pub fn at(begin: Timestamp) -> Self {
        let micros = begin.as_micros().max(0).unsigned_abs();
        let nanos = u32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000;
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, micros / 1_000_000, nanos)))
    }

    /// The id of the event with this number that began at `begin`: the same each time, for analyses that must repeat.
    pub fn numbered(begin: Timestamp, number: u64) -> Self {
        let millis = begin.as_micros().max(0).unsigned_abs() / 1_000;
        let mut low = [0; 10];
        low[2..].copy_from_slice(&number.to_be_bytes());
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &low).into_uuid())
    }

    /// An id made elsewhere; must be a UUID of version 7.
    pub fn from_uuid(uuid: Uuid) -> Result<Self, IdError> {
        if uuid.get_version_num() == 7 {
            return Ok(Self(uuid));
        }
        Err(IdError::Uuid { kind: "event", value: uuid.to_string(), version: " (version 7)" })
    }

    /// The W3C traceparent of the event's own trace: the trace's id is the event's, the parent is its lower half, which is
    /// never all zero. Not sampled; whoever traces it decides.
    pub fn trace_parent(&self) -> String {
        let (trace, parent) = (u128::from_be_bytes(*self.as_bytes()), self.0.as_u64_pair().1);
        format!("00-{trace:032x}-{parent:016x}-00")
    }

    /// The sixteen bytes, in network order: sorts by time.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id from its sixteen bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, IdError> {
        Self::from_uuid(Uuid::from_bytes(bytes))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for EventId {
    type Err = IdError;
    fn from_str(value: &str) -> Result<Self, IdError> {
        let uuid = Uuid::try_parse(value).map_err(|_| IdError::Uuid {
            kind: "event",
            value: value.chars().take(80).collect(),
            version: " (version 7)",
        })?;
        Self::from_uuid(uuid)
    }
}

/// One installation of an edge: made once with its data folder, so that two machines given one edge id are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InstanceId(Uuid);

impl InstanceId {
    /// A new random id.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for InstanceId {
    type Err = IdError;
    fn from_str(value: &str) -> Result<Self, IdError> {
        Uuid::try_parse(value).map(Self).map_err(|_| IdError::Uuid {
            kind: "instance",
            value: value.chars().take(80).collect(),
            version: "",
        })
    }
}

/// A track, unique within one camera for as long as the edge process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrackId(pub u64);

impl fmt::Display for TrackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_ids_refuse_what_could_become_a_path_or_a_query() {
        for bad in ["", "..", "../x", "a/b", "a b", "-a", "ä", "a\0", &"x".repeat(65)] {
            assert!(CameraId::new(bad).is_err(), "{bad:?} was taken");
        }
        for good in ["a", "cam-1", "north.gate_2", &"x".repeat(64)] {
            assert_eq!(CameraId::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn event_ids_sort_by_begin_and_are_unique_within_a_millisecond() {
        let early = EventId::at(Timestamp::from_micros(1_700_000_000_000_000));
        let late = EventId::at(Timestamp::from_micros(1_700_000_000_001_000));
        assert!(early < late);
        assert_ne!(early, EventId::at(Timestamp::from_micros(1_700_000_000_000_000)));
        assert_eq!(early.to_string().parse::<EventId>().unwrap(), early);
    }

    #[test]
    fn numbered_event_ids_repeat_and_differ_by_number() {
        let begin = Timestamp::from_micros(1_700_000_000_000_000);
        assert_eq!(EventId::numbered(begin, 7), EventId::numbered(begin, 7));
        assert_ne!(EventId::numbered(begin, 7), EventId::numbered(begin, 8));
        assert!(EventId::numbered(begin, u64::MAX).to_string().parse::<EventId>().is_ok());
    }

    #[test]
    fn the_trace_of_an_event_is_named_by_its_id() {
        let id = EventId::numbered(Timestamp::from_micros(0), 0);
        let parts: Vec<String> = id.trace_parent().split('-').map(str::to_owned).collect();
        assert_eq!((parts[0].as_str(), parts[1].clone()), ("00", id.to_string().replace('-', "")));
        assert_eq!((parts[2].len(), parts[3].as_str()), (16, "00"));
        assert!(parts[2].chars().any(|digit| digit != '0'), "all zeros are no valid parent");
    }

    #[test]
    fn event_ids_of_other_versions_are_refused() {
        assert!(Uuid::new_v4().to_string().parse::<EventId>().is_err());
        assert!("no uuid".parse::<EventId>().is_err());
    }

    #[test]
    fn a_bad_id_in_config_is_an_error_that_shows_it() {
        let err = serde_json::from_str::<EdgeId>("\"a b\"").unwrap_err().to_string();
        assert!(err.contains("edge id \"a b\""), "{err}");
    }
}
