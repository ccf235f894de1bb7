//! A clearance over the cameras that a region knows: what a question may look at, and what is given of one event.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use vigil_base::event::EventKind;
use vigil_base::{CameraId, EdgeId, Timestamp};

use crate::grant::{Grant, Grants};
use crate::policy::{Clearance, Limit, Rule};
use crate::roster::Roster;

/// What is given of one camera.
#[derive(Debug, Clone, Copy)]
pub struct Ruling<'s> {
    rule: Option<&'s Rule>,
}

impl<'s> Ruling<'s> {
    /// What is given.
    pub fn grants(self) -> Grants {
        self.rule.map_or(Grants::NONE, |rule| rule.grants)
    }

    /// The rule that decided; none withholds everything.
    pub fn rule(self) -> Option<&'s Rule> {
        self.rule
    }

    /// Whether an event is given that ended at `end`, by `access`: one of events, counts and live.
    pub fn gives(self, access: Grant, kind: Option<EventKind>, class: &str, end: Timestamp, now: Timestamp) -> bool {
        self.rule.is_some_and(|rule| {
            rule.grants.has(access)
                && limit(rule, access).means(kind, class)
                && rule.back.is_none_or(|back| end >= now - back)
        })
    }
}

fn limit(rule: &Rule, access: Grant) -> &Limit {
    if access == Grant::Counts { &rule.counts_of } else { &rule.events_of }
}

/// A part of what a question may look at. All its conditions hold together.
#[derive(Debug, Clone, PartialEq)]
pub struct Part<'s> {
    /// None: all, those included that are not known yet.
    pub cameras: Option<Vec<CameraId>>,
    /// None: all.
    pub edges: Option<Vec<EdgeId>>,
    /// Which events.
    pub limit: &'s Limit,
    /// None that ended longer ago.
    pub back: Option<Duration>,
}

/// What of a question may be looked at.
#[derive(Debug, Clone, Default)]
pub struct Share<'s> {
    /// No event is in two of them.
    pub parts: Vec<Part<'s>>,
    /// Cameras that were asked for and of which nothing may be looked at.
    pub left_out: u32,
    /// Of others only some events may be looked at, by kind, class or edge.
    pub is_cut: bool,
    /// The shortest time that is looked back; none where nothing limits it.
    pub back: Option<Duration>,
    /// What is withheld of some camera that may be looked at.
    pub withheld: Grants,
}

/// Edges among which no rule of the clearance makes a difference.
#[derive(Debug)]
struct EdgeClass {
    is_in: HashSet<usize>,
    edges: Vec<EdgeId>,
}

/// Whether a camera is open, given the edges that are known to read it.
pub type Opens<'o> = dyn Fn(&CameraId, &BTreeSet<EdgeId>) -> bool + 'o;

/// A clearance over a roster.
#[derive(Debug)]
pub struct Scope {
    clearance: Clearance,
    /// One rule decides about everything.
    sole: Option<usize>,
    /// The first holds those in no group, and what is not known.
    classes: Vec<EdgeClass>,
    class_of: HashMap<String, usize>,
    tells_edges_apart: bool,
    /// By camera.
    cameras: HashMap<String, CameraRules>,
    /// Only cameras that are known are open, and of them not all.
    is_closed: bool,
}

#[derive(Debug)]
struct CameraRules {
    id: CameraId,
    /// The rule that decides, by class of edges.
    by_class: Box<[Option<usize>]>,
    /// Classes of the edges that are known to read it; empty where none is.
    read_by: BTreeSet<usize>,
}

impl Scope {
    /// Lays a clearance over the cameras and edges that are known.
    pub fn new(clearance: Clearance, roster: &Roster) -> Self {
        Self::laid(clearance, roster, None)
    }

    /// As [`Self::new`], but only of cameras that `opens` says are open, given the edges that are known to read them. Of others,
    /// and of those that are not known, nothing is given.
    pub fn within(clearance: Clearance, roster: &Roster, opens: &Opens<'_>) -> Self {
        Self::laid(clearance, roster, Some(opens))
    }

    fn laid(clearance: Clearance, roster: &Roster, opens: Option<&Opens<'_>>) -> Self {
        let sole = clearance.sole().filter(|_| opens.is_none());
        let mut scope = Self {
            sole,
            classes: vec![EdgeClass { is_in: HashSet::new(), edges: Vec::new() }],
            class_of: HashMap::new(),
            tells_edges_apart: !clearance.edge_groups().is_empty(),
            cameras: HashMap::new(),
            is_closed: opens.is_some(),
            clearance,
        };
        if sole.is_none() {
            scope.sort_edges(roster);
        }
        for (camera, edges) in roster.cameras() {
            let by_class =
                scope.classes.iter().map(|class| scope.clearance.decide_among(camera.as_str(), &class.is_in));
            let is_open = opens.is_none_or(|opens| opens(camera, edges));
            let by_class = by_class.map(|rule| rule.filter(|_| is_open));
            let by_class = if sole.is_some() { Box::from([sole]) } else { by_class.collect() };
            let read_by = edges.iter().map(|edge| scope.class_of.get(edge.as_str()).copied().unwrap_or(0)).collect();
            let rules = CameraRules { id: camera.clone(), by_class, read_by };
            scope.cameras.insert(camera.to_string(), rules);
        }
        scope
    }

    fn sort_edges(&mut self, roster: &Roster) {
        let groups = self.clearance.edge_groups();
        for edge in roster.edges() {
            let is_in: HashSet<usize> =
                groups.iter().copied().filter(|group| self.clearance.is_edge_of(*group, edge.as_str())).collect();
            let known = self.classes.iter().position(|class| class.is_in == is_in);
            let class = known.unwrap_or_else(|| {
                self.classes.push(EdgeClass { is_in, edges: Vec::new() });
                self.classes.len() - 1
            });
            self.classes[class].edges.push(edge.clone());
            self.class_of.insert(edge.to_string(), class);
        }
    }

    /// What it was made of.
    pub fn clearance(&self) -> &Clearance {
        &self.clearance
    }

    /// Whether everything is given, of all cameras there are and will be.
    pub fn is_everything(&self) -> bool {
        self.sole.map(|at| self.clearance.rule(at)).is_some_and(|rule| {
            rule.grants == Grants::all()
                && rule.events_of.is_whole()
                && rule.counts_of.is_whole()
                && rule.back.is_none()
        })
    }

    /// What is given of what `edge` saw with `camera`. Two look-ups where both are known.
    pub fn decide(&self, camera: &str, edge: &str) -> Ruling<'_> {
        let class = if self.tells_edges_apart { self.class_of.get(edge).copied() } else { Some(0) };
        let known = self.cameras.get(camera).zip(class);
        let rule = match known {
            _ if self.sole.is_some() => self.sole.map(|at| self.clearance.rule(at)),
            Some((rules, class)) => rules.by_class[class].map(|at| self.clearance.rule(at)),
            None if self.is_closed => None,
            None => self.clearance.decide(camera, Some(edge)),
        };
        Ruling { rule }
    }

    /// What is given of a camera whichever edge read it: what is given for each that is known to, or, where none is, for all that are
    /// known and one that is not.
    pub fn of_camera(&self, camera: &CameraId) -> Grants {
        let all = |rules: &mut dyn Iterator<Item = Option<usize>>| {
            rules
                .map(|rule| rule.map_or(Grants::NONE, |at| self.clearance.rule(at).grants))
                .fold(Grants::all(), Grants::and)
        };
        match self.cameras.get(camera.as_str()) {
            _ if self.sole.is_some() => all(&mut std::iter::once(self.sole)),
            Some(rules) if !rules.read_by.is_empty() => {
                all(&mut rules.read_by.iter().map(|class| rules.by_class[*class]))
            }
            Some(rules) => all(&mut rules.by_class.iter().copied()),
            None => all(&mut self.unknown(camera).by_class.iter().copied()),
        }
    }

    /// What decides about a camera that the region does not know.
    fn unknown(&self, camera: &CameraId) -> CameraRules {
        let rule = |class: &EdgeClass| self.clearance.decide_among(camera.as_str(), &class.is_in);
        let decide = |class: &EdgeClass| rule(class).filter(|_| !self.is_closed);
        let by_class = self.classes.iter().map(decide).collect();
        CameraRules { id: camera.clone(), by_class, read_by: BTreeSet::new() }
    }

    /// What is given of a camera of which `edge` says that it reads it.
    pub fn of_camera_at(&self, camera: &CameraId, edge: Option<&EdgeId>) -> Grants {
        let said = edge.map_or(Grants::all(), |edge| self.decide(camera.as_str(), edge.as_str()).grants());
        self.of_camera(camera).and(said)
    }

    /// Of how many of these cameras (none named: of all) `grant` is not given as a whole.
    pub fn lacking(&self, grant: Grant, cameras: &[CameraId]) -> u32 {
        let lacks = |camera: &&CameraId| !self.of_camera(camera).has(grant);
        let count = if cameras.is_empty() {
            self.cameras.values().map(|rules| &rules.id).filter(lacks).count()
        } else {
            cameras.iter().filter(lacks).count()
        };
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// What may be looked at of these cameras (none named: of all), by `access`, by a question that needs `needs` of each camera.
    pub fn share(&self, access: Grant, needs: Grants, cameras: &[CameraId]) -> Share<'_> {
        let needs = needs.with(access);
        let mut share = Share::default();
        if let Some(rule) = self.sole.map(|at| self.clearance.rule(at)) {
            if rule.grants.has_all(needs) {
                share.takes(rule, access);
                let named = (!cameras.is_empty()).then(|| cameras.to_vec());
                share.parts.push(part(rule, access, named, None));
            } else {
                share.left_out = u32::try_from(if cameras.is_empty() { self.cameras.len() } else { cameras.len() })
                    .unwrap_or(u32::MAX);
            }
            return share;
        }
        let mut gathered: Vec<(usize, usize, Vec<CameraId>)> = Vec::new();
        let mut take = |CameraRules { id, by_class, read_by }: &CameraRules| {
            let given = |class: usize| by_class[class].filter(|at| self.clearance.rule(*at).grants.has_all(needs));
            let reads = |class: usize| read_by.is_empty() || read_by.contains(&class);
            let counted = (0..by_class.len()).filter(|class| reads(*class));
            let (seen, unseen): (Vec<usize>, Vec<usize>) = counted.partition(|class| given(*class).is_some());
            share.left_out = share.left_out.saturating_add(u32::from(seen.is_empty()));
            share.is_cut |= !seen.is_empty() && !unseen.is_empty();
            for (class, at) in (0..by_class.len()).filter_map(|class| Some((class, given(class)?))) {
                share.takes(self.clearance.rule(at), access);
                match gathered.iter_mut().find(|(c, r, _)| (*c, *r) == (class, at)) {
                    Some((.., cameras)) => cameras.push(id.clone()),
                    None => gathered.push((class, at, vec![id.clone()])),
                }
            }
        };
        if cameras.is_empty() {
            self.cameras.values().for_each(&mut take);
        }
        for camera in cameras {
            match self.cameras.get(camera.as_str()) {
                Some(rules) => take(rules),
                None => take(&self.unknown(camera)),
            }
        }
        for (class, at, cameras) in gathered {
            let edges = self.tells_edges_apart.then(|| self.classes[class].edges.clone());
            share.add(part(self.clearance.rule(at), access, Some(cameras), edges));
        }
        share
    }
}

fn part(rule: &Rule, access: Grant, cameras: Option<Vec<CameraId>>, edges: Option<Vec<EdgeId>>) -> Part<'_> {
    Part { cameras, edges, limit: limit(rule, access), back: rule.back }
}

impl<'s> Share<'s> {
    /// Notes what is withheld where `rule` decides.
    fn takes(&mut self, rule: &Rule, access: Grant) {
        self.withheld = self.withheld.or(Grants::all().without(rule.grants));
        self.is_cut |= !limit(rule, access).is_whole();
        self.back = match (self.back, rule.back) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
    }

    /// Cameras that differ in nothing that a question looks at are one part.
    fn add(&mut self, part: Part<'s>) {
        if part.edges.as_ref().is_some_and(Vec::is_empty) {
            return;
        }
        let like =
            |known: &&mut Part<'_>| known.edges == part.edges && known.limit == part.limit && known.back == part.back;
        match self.parts.iter_mut().find(like) {
            Some(Part { cameras: Some(known), .. }) => known.extend(part.cameras.into_iter().flatten()),
            _ => self.parts.push(part),
        }
    }
}
