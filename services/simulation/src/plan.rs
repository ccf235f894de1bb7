//! What a seed means: which hosts there are, and what happens to them when.

use std::time::Duration;

use rand::Rng;
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;

use crate::edge::CLASSES;
use crate::index::Moment;

/// The operator's host.
pub(crate) const OPERATOR: &str = "operator";
/// Names of regions, as many as there may be.
const REGIONS: [&str; 3] = ["centre", "north", "south"];
/// For how long things go wrong.
const STORM_S: std::ops::Range<u64> = 50..90;
/// Quiet between two faults, at most.
const MAX_LULL_MS: u64 = 5_000;
/// How long one fault lasts.
const FAULT_MS: std::ops::Range<u64> = 300..22_000;
/// How wrong a region's clock is set, at most: half a day, either way, as a person mistypes it; or years, as a dead battery.
const WRONG_CLOCK_S: i64 = 12 * 3_600;
const DEAD_CLOCK_S: i64 = 20 * 365 * 24 * 3_600;
/// How wrong an edge's clock is all along, at most.
const WRONG_EDGE_S: i64 = 30;
/// How long a message takes on a slow link, at most.
const SLOW_MS: std::ops::Range<u64> = 400..5_000;

/// What happens at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Kill -9; up again after a while.
    Kill { host: String, down: Duration },
    /// The same to a region, in the middle of its next commit.
    KillAt { region: String, moment: Moment },
    /// A killed process starts.
    Start { host: String },
    /// A region's folder is backed up.
    BackUp { region: String },
    /// A region is killed, and starts with its backup.
    Restore { region: String, down: Duration },
    /// A region's wall clock is set wrong, or right.
    SetClock { region: String, wrong_by_s: i64 },
    /// A region's disk is full, or has room again.
    Fill { region: String, is_full: bool },
    /// Something is wrong with the line between two hosts.
    Disturb { a: String, b: String, how: Disturbance },
    /// The line is well again.
    Heal { a: String, b: String },
}

/// What is wrong with a line.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Disturbance {
    /// All that is sent is lost, both ways.
    Cut,
    /// All that the first sends to the second is lost.
    OneWay,
    /// All that is sent waits until the line is well.
    Hold,
    /// Messages take up to so many milliseconds.
    Slow(u64),
    /// A message in so many breaks the line, and what is under way is lost.
    Lossy(u32),
}

/// An edge of the plan.
#[derive(Debug, Clone)]
pub(crate) struct EdgePlan {
    pub(crate) name: String,
    pub(crate) region: String,
    pub(crate) wrong_by_s: i64,
}

/// A subscriber of the plan.
#[derive(Debug, Clone)]
pub(crate) struct SubscriberPlan {
    pub(crate) name: String,
    /// None: all, through the gateways.
    pub(crate) region: Option<String>,
    pub(crate) class: Option<&'static str>,
}

/// All that one seed decides before it begins.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) regions: Vec<String>,
    pub(crate) edges: Vec<EdgePlan>,
    pub(crate) gateways: Vec<String>,
    pub(crate) subscribers: Vec<SubscriberPlan>,
    /// When it becomes calm.
    pub(crate) storm: Duration,
    /// In order of time.
    pub(crate) actions: Vec<(Duration, Action)>,
}

impl Plan {
    /// What `seed` means.
    pub(crate) fn draw(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let regions: Vec<String> = REGIONS[..rng.random_range(2..=3)].iter().map(ToString::to_string).collect();
        let edges = (0..rng.random_range(2..=4_usize)).map(|n| EdgePlan {
            name: format!("edge-{n}"),
            region: regions[n % regions.len()].clone(),
            wrong_by_s: rng.random_range(-WRONG_EDGE_S..=WRONG_EDGE_S),
        });
        let edges: Vec<_> = edges.collect();
        let gateways = (0..rng.random_range(1..=2)).map(|n| format!("gateway-{n}")).collect();
        let subscribers = (0..rng.random_range(2..=3)).map(|n| SubscriberPlan {
            name: format!("subscriber-{n}"),
            region: (n == 0).then(|| regions.choose(&mut rng).expect("there are some").clone()),
            class: rng.random_bool(0.3).then_some(CLASSES[0]),
        });
        let subscribers = subscribers.collect();
        let storm = Duration::from_secs(rng.random_range(STORM_S));
        let mut plan = Self { regions, edges, gateways, subscribers, storm, actions: Vec::new() };
        plan.brew(&mut rng);
        plan.actions.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Fills the time of the storm.
    fn brew(&mut self, rng: &mut SmallRng) {
        let mut at = Duration::from_secs(2);
        while at < self.storm {
            let lasts = Duration::from_millis(rng.random_range(FAULT_MS)).min(self.storm.saturating_sub(at));
            let begun = self.fault(rng, lasts);
            self.actions.extend(begun.into_iter().map(|(after, action)| (at + after, action)));
            at += Duration::from_millis(rng.random_range(0..MAX_LULL_MS));
        }
    }

    /// One fault, with its end; each moment counted from its begin.
    fn fault(&self, rng: &mut SmallRng, lasts: Duration) -> Vec<(Duration, Action)> {
        let region = || self.regions[0].clone();
        let region = self.regions.choose(rng).cloned().unwrap_or_else(region);
        // Most processes are back soon.
        let down = lasts.min(Duration::from_millis(rng.random_range(200..9_000)));
        let at_once = |action| vec![(Duration::ZERO, action)];
        match rng.random_range(0..22) {
            0..=2 => {
                at_once(Action::Kill { host: self.edges[rng.random_range(0..self.edges.len())].name.clone(), down })
            }
            3 => at_once(Action::Kill { host: region, down }),
            4..=6 => {
                let moment = if rng.random_bool(0.5) { Moment::BeforeCommit } else { Moment::AfterCommit };
                at_once(Action::KillAt { region, moment })
            }
            7 => at_once(Action::Kill { host: self.gateways[rng.random_range(0..self.gateways.len())].clone(), down }),
            8..=9 => vec![
                (Duration::ZERO, Action::BackUp { region: region.clone() }),
                (lasts, Action::Restore { region, down }),
            ],
            10..=11 => {
                let most = if rng.random_bool(0.5) { WRONG_CLOCK_S } else { DEAD_CLOCK_S };
                let wrong_by_s = rng.random_range(-most..=most);
                vec![
                    (Duration::ZERO, Action::SetClock { region: region.clone(), wrong_by_s }),
                    (lasts, Action::SetClock { region, wrong_by_s: 0 }),
                ]
            }
            12 => vec![
                (Duration::ZERO, Action::Fill { region: region.clone(), is_full: true }),
                (lasts, Action::Fill { region, is_full: false }),
            ],
            13 => self.isolated(rng, lasts),
            _ => {
                let (a, b) = self.line(rng);
                let how = match rng.random_range(0..5) {
                    0 => Disturbance::Cut,
                    1 => Disturbance::OneWay,
                    2 => Disturbance::Hold,
                    3 => Disturbance::Slow(rng.random_range(SLOW_MS)),
                    _ => Disturbance::Lossy(rng.random_range(20..200)),
                };
                vec![
                    (Duration::ZERO, Action::Disturb { a: a.clone(), b: b.clone(), how }),
                    (lasts, Action::Heal { a, b }),
                ]
            }
        }
    }

    /// All lines of one host at once: it stands still, or its cable is pulled.
    fn isolated(&self, rng: &mut SmallRng, lasts: Duration) -> Vec<(Duration, Action)> {
        let (host, _) = self.line(rng);
        let how = if rng.random_bool(0.5) { Disturbance::Hold } else { Disturbance::Cut };
        let lines = self.lines().into_iter().filter(|(a, b)| *a == host || *b == host);
        let both = lines.flat_map(|(a, b)| {
            let heal = Action::Heal { a: a.clone(), b: b.clone() };
            [(Duration::ZERO, Action::Disturb { a, b, how }), (lasts, heal)]
        });
        both.collect()
    }

    /// Two hosts that speak with each other, either first.
    fn line(&self, rng: &mut SmallRng) -> (String, String) {
        let lines = self.lines();
        let (a, b) = lines[rng.random_range(0..lines.len())].clone();
        if rng.random_bool(0.5) { (a, b) } else { (b, a) }
    }

    /// All pairs of hosts that speak with each other.
    pub(crate) fn lines(&self) -> Vec<(String, String)> {
        let mut lines: Vec<_> = self.edges.iter().map(|edge| (edge.name.clone(), edge.region.clone())).collect();
        for gateway in &self.gateways {
            lines.extend(self.regions.iter().map(|region| (gateway.clone(), region.clone())));
            lines.push((OPERATOR.to_owned(), gateway.clone()));
        }
        for subscriber in &self.subscribers {
            let servers = subscriber.region.as_ref().map_or(&self.gateways[..], std::slice::from_ref);
            lines.extend(servers.iter().map(|server| (subscriber.name.clone(), server.clone())));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::mem::discriminant;

    use super::*;

    #[test]
    fn a_seed_is_one_plan() {
        assert_eq!(Plan::draw(7).actions, Plan::draw(7).actions);
        assert_ne!(Plan::draw(7).actions, Plan::draw(8).actions);
    }

    #[test]
    fn the_first_seeds_hold_every_kind_of_fault_and_each_ends() {
        let actions: Vec<_> = (1..=32).flat_map(|seed| Plan::draw(seed).actions).map(|(_, action)| action).collect();
        let kinds: HashSet<_> = actions.iter().map(discriminant).collect();
        let how = actions.iter().filter_map(|action| match action {
            Action::Disturb { how, .. } => Some(discriminant(how)),
            _ => None,
        });
        // All but the start of a process, which follows from its end.
        assert_eq!((kinds.len(), how.collect::<HashSet<_>>().len()), (8, 5));
        let count = |is: fn(&Action) -> bool| actions.iter().filter(|action| is(action)).count();
        assert_eq!(count(|a| matches!(a, Action::Disturb { .. })), count(|a| matches!(a, Action::Heal { .. })));
        assert_eq!(count(|a| matches!(a, Action::BackUp { .. })), count(|a| matches!(a, Action::Restore { .. })));
    }
}
