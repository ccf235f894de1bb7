//! A policy as it is written.

use std::time::Duration;

use serde::Deserialize;
use vigil_rules::RawWindow;

/// A policy file; an empty one withholds everything from everybody.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyFile {
    /// Whom to ask for more, for people.
    pub contact: String,
    /// Groups of cameras, for rules to name.
    pub groups: Vec<GroupFile>,
    /// In order: the first that is met decides.
    pub rules: Vec<RuleFile>,
}

/// Cameras that rules name together.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupFile {
    /// Unique among the groups.
    pub id: String,
    /// Ids of cameras; `*` stands for any characters, `?` for one.
    #[serde(default)]
    pub cameras: Vec<String>,
    /// Ids of edges, likewise: all that they saw.
    #[serde(default)]
    pub edges: Vec<String>,
}

/// Who is given what of which cameras. What is absent asks for nothing.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleFile {
    /// For people, unique.
    pub id: String,
    /// The requester belongs to one of these departments.
    pub departments: Option<Vec<String>>,
    /// The requester belongs to one of these regions.
    pub home_regions: Option<Vec<String>>,
    /// The requester has one of these roles.
    pub roles: Option<Vec<String>>,
    /// The requester has one of these names; `*` and `?` as in groups.
    pub subjects: Option<Vec<String>>,
    /// Who asks must be proved. Absent: where the rule says who; false: what is merely said counts.
    pub proved: Option<bool>,
    /// A purpose must be given.
    #[serde(default)]
    pub purpose: bool,
    /// A case number must be given.
    #[serde(default)]
    pub case: bool,
    /// IANA time zone of the windows; absent: UTC.
    pub time_zone: Option<String>,
    /// The question is asked within one of these.
    pub windows: Option<Vec<RawWindow>>,
    /// The camera is in one of these groups.
    pub cameras: Option<Vec<String>>,
    /// What is given, by the names of [`crate::Grant`], or `everything`.
    pub grants: Vec<String>,
    /// Which events `events` and `live` give.
    #[serde(default)]
    pub events_of: LimitFile,
    /// Which events `counts` counts.
    #[serde(default)]
    pub counts_of: LimitFile,
    /// Nothing that ended longer ago.
    #[serde(default, with = "humantime_serde::option")]
    pub back: Option<Duration>,
}

/// Which events; what is absent does not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitFile {
    /// Kinds of events, as `object` and `crowd_density`.
    pub kinds: Option<Vec<String>>,
    /// Classes of objects, as `person`.
    pub classes: Option<Vec<String>>,
}
