//! Who asks, and what a rule says of who may.

use std::collections::HashSet;
use std::fmt;

use vigil_base::Timestamp;
use vigil_rules::{RawSchedule, Schedule};

use crate::file::RuleFile;
use crate::group::Patterns;
use crate::policy::Fault;

/// Roles that there are.
pub const ROLES: [&str; 5] = ["operator", "supervisor", "auditor", "integrator", "administrator"];
/// Most departments or regions of a rule.
const MAX_LISTED: usize = 256;

/// Who asks, and why.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asker<'a> {
    /// Its name.
    pub subject: &'a str,
    /// Its department, where that is known.
    pub department: Option<&'a str>,
    /// Its region, where that is known.
    pub home_region: Option<&'a str>,
    /// Its roles, by the names of [`ROLES`].
    pub roles: &'a [&'a str],
    /// It gave a purpose.
    pub has_purpose: bool,
    /// It gave a case number.
    pub has_case: bool,
    /// Who it is was proved, and not merely said.
    pub is_proved: bool,
}

/// What a rule asks for and a requester does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// It is of none of the departments.
    Department,
    /// It is of none of the regions.
    HomeRegion,
    /// It has none of the roles.
    Role,
    /// It has none of the names.
    Subject,
    /// Who it is was not proved.
    Proof,
    /// It asks outside of the windows.
    Window,
    /// It gave no purpose.
    Purpose,
    /// It gave no case number.
    Case,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Department => "the requester is of none of its departments",
            Self::HomeRegion => "the requester is of none of its regions",
            Self::Role => "the requester has none of its roles",
            Self::Subject => "the requester has none of its names",
            Self::Proof => "who asks is not proved",
            Self::Window => "none of its windows is open",
            Self::Purpose => "no purpose is given",
            Self::Case => "no case number is given",
        })
    }
}

/// What the requester could say to meet more rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Hint {
    /// Why it asks.
    pub purpose: bool,
    /// The case it asks for.
    pub case: bool,
}

impl Hint {
    /// For people; empty when there is nothing.
    pub fn text(self) -> &'static str {
        match (self.purpose, self.case) {
            (true, true) => "a purpose (--purpose) and a case number (--case) may give more",
            (true, false) => "a purpose (--purpose) may give more",
            (false, true) => "a case number (--case) may give more",
            (false, false) => "",
        }
    }
}

/// What a rule says of requesters.
#[derive(Debug)]
pub(crate) struct Conditions {
    departments: Option<HashSet<String>>,
    home_regions: Option<HashSet<String>>,
    roles: Option<HashSet<String>>,
    subjects: Option<Patterns>,
    proved: bool,
    purpose: bool,
    case: bool,
    windows: Option<Schedule>,
}

impl Conditions {
    pub(crate) fn resolve(raw: &RuleFile) -> Result<Self, Fault> {
        if let Some(at) = raw.roles.iter().flatten().position(|role| !ROLES.contains(&role.as_str())) {
            return Err(Fault::new(format!("roles[{at}]"), format!("is no role: there are {}", ROLES.join(", "))));
        }
        let names_somebody =
            [&raw.departments, &raw.home_regions, &raw.roles, &raw.subjects].iter().any(|l| l.is_some());
        Ok(Self {
            departments: listed("departments", raw.departments.as_ref())?,
            home_regions: listed("home_regions", raw.home_regions.as_ref())?,
            roles: listed("roles", raw.roles.as_ref())?,
            subjects: raw.subjects.as_ref().map(|names| subjects(names)).transpose()?,
            proved: raw.proved.unwrap_or(names_somebody),
            purpose: raw.purpose,
            case: raw.case,
            windows: windows(raw)?,
        })
    }

    /// What the requester does not meet, the first thing first; purpose and case come last, since it can give those.
    pub(crate) fn unmet(&self, asker: &Asker<'_>, now: Timestamp) -> impl Iterator<Item = Unmet> {
        let among = |set: &Option<HashSet<String>>, name: Option<&str>| {
            set.as_ref().is_none_or(|set| name.is_some_and(|name| set.contains(name)))
        };
        let has_role = self.roles.as_ref().is_none_or(|roles| asker.roles.iter().any(|role| roles.contains(*role)));
        [
            (Unmet::Department, among(&self.departments, asker.department)),
            (Unmet::HomeRegion, among(&self.home_regions, asker.home_region)),
            (Unmet::Role, has_role),
            (Unmet::Subject, self.subjects.as_ref().is_none_or(|names| names.matches(asker.subject))),
            (Unmet::Proof, asker.is_proved || !self.proved),
            (Unmet::Window, self.windows.as_ref().is_none_or(|windows| windows.is_on(now))),
            (Unmet::Purpose, asker.has_purpose || !self.purpose),
            (Unmet::Case, asker.has_case || !self.case),
        ]
        .into_iter()
        .filter_map(|(what, is_met)| (!is_met).then_some(what))
    }
}

fn listed(key: &str, names: Option<&Vec<String>>) -> Result<Option<HashSet<String>>, Fault> {
    let Some(names) = names else { return Ok(None) };
    if names.is_empty() || names.len() > MAX_LISTED {
        let problem =
            format!("has {} entries; 1 to {MAX_LISTED} are taken, or none of the key for anybody", names.len());
        return Err(Fault::new(key, problem));
    }
    if let Some(at) = names.iter().position(|name| name.trim().is_empty()) {
        return Err(Fault::new(format!("{key}[{at}]"), "is empty"));
    }
    Ok(Some(names.iter().cloned().collect()))
}

fn subjects(names: &[String]) -> Result<Patterns, Fault> {
    let patterns = Patterns::new("subjects", names)?;
    if patterns.is_empty() {
        return Err(Fault::new("subjects", "is empty: leave it out for anybody"));
    }
    Ok(patterns)
}

fn windows(raw: &RuleFile) -> Result<Option<Schedule>, Fault> {
    let Some(windows) = &raw.windows else {
        return match raw.time_zone {
            Some(_) => Err(Fault::new("time_zone", "is of no use without windows")),
            None => Ok(None),
        };
    };
    let schedule = RawSchedule { id: raw.id.clone(), time_zone: raw.time_zone.clone(), windows: windows.clone() };
    Schedule::new(&schedule).map(Some).map_err(|error| Fault::new(error.key, error.problem))
}
