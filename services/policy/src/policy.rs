//! What a policy file means.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use vigil_base::Timestamp;
use vigil_base::event::EventKind;

use crate::asker::{Asker, Conditions, Hint, Unmet};
use crate::file::{GroupFile, LimitFile, PolicyFile, RuleFile};
use crate::grant::{Grant, Grants};
use crate::group::Group;

/// Most groups of a policy.
const MAX_GROUPS: usize = 256;
/// Most rules of a policy: each requester's question walks through all of them.
const MAX_RULES: usize = 256;
/// Most kinds or classes of a limit: the most that a filter of a question takes.
const MAX_LIMITED: usize = 100;
/// Longest id of a group or rule, in characters.
const MAX_ID: usize = 100;
/// Longest text that says whom to ask, in characters.
const MAX_CONTACT: usize = 200;
/// Grants by one name.
const EVERYTHING: &str = "everything";

/// A policy cannot be used; nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct PolicyError {
    /// Path of the key, as `rules[2].cameras[0]`.
    pub key: String,
    /// What is wrong and what to do.
    pub problem: String,
}

/// What is wrong with a value of a group or rule.
#[derive(Debug)]
pub(crate) struct Fault {
    key: String,
    problem: String,
}

impl Fault {
    pub(crate) fn new(key: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { key: key.into(), problem: problem.into() }
    }

    fn under(self, parent: &str) -> PolicyError {
        PolicyError { key: format!("{parent}.{}", self.key), problem: self.problem }
    }
}

/// Which events a rule means.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limit {
    /// None: all.
    pub kinds: Option<Vec<EventKind>>,
    /// None: all.
    pub classes: Option<Vec<String>>,
}

impl Limit {
    fn resolve(key: &str, raw: &LimitFile) -> Result<Self, Fault> {
        let bounded = |name: &str, list: &Option<Vec<String>>| match list.as_ref().map(Vec::len) {
            Some(0) => Err(Fault::new(format!("{key}.{name}"), "is empty: leave it out for all")),
            Some(length) if length > MAX_LIMITED => {
                Err(Fault::new(format!("{key}.{name}"), format!("has {length} entries; at most {MAX_LIMITED}")))
            }
            _ => Ok(()),
        };
        bounded("kinds", &raw.kinds)?;
        bounded("classes", &raw.classes)?;
        let kind = |(at, name): (usize, &String)| {
            name.parse::<EventKind>().map_err(|error| Fault::new(format!("{key}.kinds[{at}]"), error.to_string()))
        };
        let kinds = raw.kinds.as_ref().map(|kinds| kinds.iter().enumerate().map(kind).collect::<Result<Vec<_>, _>>());
        Ok(Self { kinds: kinds.transpose()?, classes: raw.classes.clone() })
    }

    /// Whether it leaves out nothing.
    pub fn is_whole(&self) -> bool {
        self.kinds.is_none() && self.classes.is_none()
    }

    /// Whether it means an event of this kind and class; `kind` is none where it is not known.
    pub fn means(&self, kind: Option<EventKind>, class: &str) -> bool {
        self.kinds.as_ref().is_none_or(|kinds| kind.is_some_and(|kind| kinds.contains(&kind)))
            && self.classes.as_ref().is_none_or(|classes| classes.iter().any(|known| known == class))
    }
}

/// Who is given what of which cameras.
#[derive(Debug)]
pub struct Rule {
    /// Its name.
    pub id: String,
    /// What it gives.
    pub grants: Grants,
    /// Which events `events` and `live` give.
    pub events_of: Limit,
    /// Which events `counts` counts.
    pub counts_of: Limit,
    /// Nothing that ended longer ago.
    pub back: Option<Duration>,
    conditions: Conditions,
    /// None: all cameras.
    groups: Option<Vec<usize>>,
}

/// Which rules a requester meets, and how a camera's is found.
#[derive(Debug)]
pub struct Policy {
    version: String,
    contact: String,
    groups: Vec<Group>,
    rules: Vec<Rule>,
}

/// How one rule stands to a requester and a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding<'p> {
    /// The rule.
    pub rule: &'p str,
    /// What the requester does not meet.
    pub unmet: Vec<Unmet>,
    /// Whether the camera is in one of its groups.
    pub has_camera: bool,
}

impl Policy {
    /// Checks what a file says. `version` tells this policy from others in answers and logs: the beginning of the file's SHA-256.
    ///
    /// # Errors
    /// The first value that cannot be used.
    pub fn resolve(file: &PolicyFile, version: impl Into<String>) -> Result<Self, PolicyError> {
        let wrong = |key: &str, problem: String| Err(PolicyError { key: key.to_owned(), problem });
        if file.contact.chars().count() > MAX_CONTACT || file.contact.chars().any(char::is_control) {
            return wrong("contact", format!("must be at most {MAX_CONTACT} printable characters"));
        }
        if file.groups.len() > MAX_GROUPS {
            return wrong("groups", format!("are {}; at most {MAX_GROUPS} are taken", file.groups.len()));
        }
        if file.rules.len() > MAX_RULES {
            return wrong("rules", format!("are {}; at most {MAX_RULES} are taken", file.rules.len()));
        }
        check_ids("groups", file.groups.iter().map(|group| group.id.as_str()))?;
        check_ids("rules", file.rules.iter().map(|rule| rule.id.as_str()))?;
        let group = |(at, raw): (usize, &GroupFile)| Group::resolve(raw).map_err(|f| f.under(&format!("groups[{at}]")));
        let groups = file.groups.iter().enumerate().map(group).collect::<Result<_, _>>()?;
        let ids: HashMap<&str, usize> =
            file.groups.iter().enumerate().map(|(at, group)| (group.id.as_str(), at)).collect();
        let rule =
            |(at, raw): (usize, &RuleFile)| Rule::resolve(raw, &ids).map_err(|f| f.under(&format!("rules[{at}]")));
        let rules = file.rules.iter().enumerate().map(rule).collect::<Result<_, _>>()?;
        Ok(Self { version: version.into(), contact: file.contact.clone(), groups, rules })
    }

    /// Tells this policy from others.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whom to ask for more; may be empty.
    pub fn contact(&self) -> &str {
        &self.contact
    }

    /// How many rules it has.
    pub fn rules(&self) -> usize {
        self.rules.len()
    }

    /// The rules that the requester meets now, and what it could say to meet more.
    pub fn clearance(self: &Arc<Self>, asker: &Asker<'_>, now: Timestamp) -> Clearance {
        let (mut met, mut hint) = (Vec::new(), Hint::default());
        for (at, rule) in self.rules.iter().enumerate() {
            let mut unmet = rule.conditions.unmet(asker, now).peekable();
            match unmet.peek() {
                None => met.push(at),
                Some(Unmet::Purpose | Unmet::Case) => unmet.for_each(|what| match what {
                    Unmet::Case => hint.case = true,
                    _ => hint.purpose = true,
                }),
                Some(_) => {}
            }
        }
        Clearance { policy: Arc::clone(self), met: met.into(), hint }
    }

    /// How each rule, in order, stands to a requester and a camera. The first without anything unmet that has the camera decides.
    pub fn explain(&self, asker: &Asker<'_>, now: Timestamp, camera: &str, edge: Option<&str>) -> Vec<Finding<'_>> {
        let finding = |rule: &'_ Rule| {
            let unmet = rule.conditions.unmet(asker, now).collect();
            (unmet, self.has_camera(rule, camera, edge))
        };
        let rules = self.rules.iter().map(|rule| (rule, finding(rule)));
        rules.map(|(rule, (unmet, has_camera))| Finding { rule: &rule.id, unmet, has_camera }).collect()
    }

    fn has_camera(&self, rule: &Rule, camera: &str, edge: Option<&str>) -> bool {
        rule.groups.as_ref().is_none_or(|groups| {
            groups
                .iter()
                .map(|at| &self.groups[*at])
                .any(|group| group.cameras.matches(camera) || edge.is_some_and(|edge| group.edges.matches(edge)))
        })
    }
}

impl Rule {
    fn resolve(raw: &RuleFile, ids: &HashMap<&str, usize>) -> Result<Self, Fault> {
        let group = |(at, name): (usize, &String)| {
            let unknown = || Fault::new(format!("cameras[{at}]"), format!("no group has the id {name:?}"));
            ids.get(name.as_str()).copied().ok_or_else(unknown)
        };
        let groups = match &raw.cameras {
            None => None,
            Some(names) if names.is_empty() => {
                return Err(Fault::new("cameras", "is empty: leave it out for all cameras"));
            }
            Some(names) => Some(names.iter().enumerate().map(group).collect::<Result<_, _>>()?),
        };
        let rule = Self {
            id: raw.id.clone(),
            grants: grants(&raw.grants)?,
            events_of: Limit::resolve("events_of", &raw.events_of)?,
            counts_of: Limit::resolve("counts_of", &raw.counts_of)?,
            back: raw.back,
            conditions: Conditions::resolve(raw)?,
            groups,
        };
        rule.check().map(|()| rule)
    }

    /// What is said of something that is not given is a mistake.
    fn check(&self) -> Result<(), Fault> {
        let gives_events = self.grants.has(Grant::Events) || self.grants.has(Grant::Live);
        if !self.events_of.is_whole() && !gives_events {
            return Err(Fault::new("events_of", "is of no use: neither events nor live are granted"));
        }
        if !self.counts_of.is_whole() && !self.grants.has(Grant::Counts) {
            return Err(Fault::new("counts_of", "is of no use: counts are not granted"));
        }
        let about_events = [Grant::Plates, Grant::Appearance, Grant::Thumbnails];
        match about_events.into_iter().find(|grant| self.grants.has(*grant)) {
            Some(grant) if !gives_events => {
                Err(Fault::new("grants", format!("{grant} is of no use: neither events nor live are granted")))
            }
            _ => Ok(()),
        }
    }
}

fn grants(names: &[String]) -> Result<Grants, Fault> {
    let mut all = Grants::NONE;
    for (at, name) in names.iter().enumerate() {
        match Grant::ALL.into_iter().find(|grant| grant.name() == name) {
            Some(grant) => all = all.with(grant),
            None if name == EVERYTHING => all = Grants::all(),
            None => {
                let known = Grants::all();
                let problem = format!("is nothing that can be granted: there are {known} and {EVERYTHING}");
                return Err(Fault::new(format!("grants[{at}]"), problem));
            }
        }
    }
    Ok(all)
}

fn check_ids<'a>(list: &str, ids: impl Iterator<Item = &'a str>) -> Result<(), PolicyError> {
    let mut seen = HashSet::new();
    for (at, id) in ids.enumerate() {
        let wrong = |problem: String| Err(PolicyError { key: format!("{list}[{at}].id"), problem });
        if id.trim().is_empty() || id.chars().count() > MAX_ID || id.chars().any(char::is_control) {
            return wrong(format!("must be 1 to {MAX_ID} printable characters"));
        }
        if !seen.insert(id) {
            return wrong(format!("{id:?} stands twice: give each an id of its own"));
        }
    }
    Ok(())
}

/// What a requester may see, as of a moment: the rules that it meets.
#[derive(Debug, Clone)]
pub struct Clearance {
    policy: Arc<Policy>,
    /// Indexes of rules, in order.
    met: Arc<[usize]>,
    hint: Hint,
}

impl PartialEq for Clearance {
    /// The same policy, and the same rules of it.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.policy, &other.policy) && self.met == other.met && self.hint == other.hint
    }
}

impl Clearance {
    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// What the requester could say to meet more rules.
    pub fn hint(&self) -> Hint {
        self.hint
    }

    /// The rules that are met, of the policy that they are of: tells clearances of one policy apart.
    pub fn met(&self) -> &Arc<[usize]> {
        &self.met
    }

    /// The rule that decides about a camera that `edge` reads; none withholds everything.
    pub fn decide(&self, camera: &str, edge: Option<&str>) -> Option<&Rule> {
        self.rules().find(|rule| self.policy.has_camera(rule, camera, edge))
    }

    /// The rule that decides about every camera there is or will be.
    pub(crate) fn sole(&self) -> Option<usize> {
        self.met.first().copied().filter(|at| self.policy.rules[*at].groups.is_none())
    }

    pub(crate) fn rule(&self, at: usize) -> &Rule {
        &self.policy.rules[at]
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.met.iter().map(|at| &self.policy.rules[*at])
    }

    /// Groups that tell edges apart, of those that the met rules name.
    pub(crate) fn edge_groups(&self) -> Vec<usize> {
        let mut groups: Vec<usize> = self.rules().flat_map(|rule| rule.groups.iter().flatten().copied()).collect();
        groups.sort_unstable();
        groups.dedup();
        groups.retain(|at| !self.policy.groups[*at].edges.is_empty());
        groups
    }

    pub(crate) fn is_edge_of(&self, group: usize, edge: &str) -> bool {
        self.policy.groups[group].edges.matches(edge)
    }

    /// As [`Self::decide`], where of the edge is known which groups it is in.
    pub(crate) fn decide_among(&self, camera: &str, edge_is_in: &HashSet<usize>) -> Option<usize> {
        let has = |rule: &Rule| {
            rule.groups.as_ref().is_none_or(|groups| {
                groups.iter().any(|at| edge_is_in.contains(at) || self.policy.groups[*at].cameras.matches(camera))
            })
        };
        self.met.iter().copied().find(|at| has(&self.policy.rules[*at]))
    }
}
