//! What may be given.

use std::fmt;

use serde::Deserialize;

/// Something that a policy gives or withholds, of one camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grant {
    /// Events of the past: found by searches, and read one by one.
    Events,
    /// How many events there were.
    Counts,
    /// Events as they happen: live streams.
    Live,
    /// The text of number plates, and searches for it.
    Plates,
    /// How objects looked: colours, and searches for them. Thumbnails are a grant of their own.
    Appearance,
    /// Pictures of objects. They may show a plate and how somebody looked, whatever else is withheld.
    Thumbnails,
    /// Where in the picture and on the map objects were and cameras stand, and searches for an area.
    Position,
    /// The camera's pictures: where its stream is found. Footage itself does not leave the edge.
    Footage,
    /// What was watched, how the camera is, and its entry in the registry.
    Coverage,
}

impl Grant {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Events,
        Self::Counts,
        Self::Live,
        Self::Plates,
        Self::Appearance,
        Self::Thumbnails,
        Self::Position,
        Self::Footage,
        Self::Coverage,
    ];

    /// As it stands in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Counts => "counts",
            Self::Live => "live",
            Self::Plates => "plates",
            Self::Appearance => "appearance",
            Self::Thumbnails => "thumbnails",
            Self::Position => "position",
            Self::Footage => "footage",
            Self::Coverage => "coverage",
        }
    }

    fn bit(self) -> u16 {
        1 << self as u16
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Grants(u16);

impl Grants {
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Everything.
    pub fn all() -> Self {
        Grant::ALL.into_iter().collect()
    }

    /// Whether it holds `grant`.
    pub fn has(self, grant: Grant) -> bool {
        self.0 & grant.bit() != 0
    }

    /// Whether it holds all of `others`.
    pub fn has_all(self, others: Self) -> bool {
        self.0 & others.0 == others.0
    }

    /// Whether it holds nothing.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What both hold.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What either holds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What it holds and `other` does not.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The same with `grant`.
    #[must_use]
    pub fn with(self, grant: Grant) -> Self {
        Self(self.0 | grant.bit())
    }

    /// What it holds, in the order of [`Grant::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Grant> {
        Grant::ALL.into_iter().filter(move |grant| self.has(*grant))
    }
}

impl FromIterator<Grant> for Grants {
    fn from_iter<T: IntoIterator<Item = Grant>>(grants: T) -> Self {
        grants.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Display for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        f.write_str(&self.iter().map(Grant::name).collect::<Vec<_>>().join(", "))
    }
}
