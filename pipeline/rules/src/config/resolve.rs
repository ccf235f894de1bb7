//! From rules as written to rules as meant.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use vigil_base::config::Share;
use vigil_base::{GroundPlane, ZoneId};

use super::kinds::{
    RawAbandoned, RawCrowdDensity, RawLineCount, RawOccupancy, RawPlateListed, RawSpeeding, RawTampered, RawWrongWay,
};
use super::places::Places;
use super::resolved::{
    AbandonedRule, Capacity, CrowdLimit, CrowdRule, LineRule, OccupancyRule, PlateRule, Rule, Settings, SpeedScale,
    SpeedingRule, StandingRule, TamperRule, Watch, WrongWayRule, ZoneRule,
};
use super::{Anchor, Density, Fault, RawRule, RawRules, Reach, RuleError, RuleKind, RuleSet, SpeedLimit, Tamper};
use crate::plate::PlateList;
use crate::schedule::TimesOfDay;

/// Most rules of a camera: the busiest crossings have a dozen, and each looks at every object on every frame.
pub const MAX_RULES: usize = 64;
/// Most plates on a list: what a district looks for; 2 MB.
pub const MAX_PLATES: usize = 20_000;
/// Most class names of a rule; models have some hundred.
const MAX_CLASSES: usize = 128;
/// Longest duration in a rule. A longer one is a slip: no track and no process need live so long.
const MAX_DURATION: Duration = Duration::from_hours(7 * 24);
/// Largest distance in object sizes.
const MAX_SIZES: f64 = 100.0;

/// Share of its size by which the foot of a box trembles: 0.04 to 0.1 against drawn truth (see `MotionConfig` of the
/// tracker).
const HYSTERESIS: f64 = 0.1;
/// How far a thing that stands moves, in its sizes; the tracker's own measure for the same (`LifeConfig::left_place`).
const TOLERANCE: f64 = 0.25;
const VEHICLES: [&str; 4] = ["car", "motorcycle", "bus", "truck"];
const BAGGAGE: [&str; 3] = ["backpack", "handbag", "suitcase"];

impl RuleSet {
    /// Checks rules as written and follows their references. `ground` is the camera's, where it is calibrated.
    ///
    /// # Errors
    /// The first thing that is wrong; nothing of the set may then be used.
    pub fn resolve(raw: &RawRules, ground: Option<&Arc<GroundPlane>>) -> Result<Self, RuleError> {
        let places = Places::resolve(raw, ground).map_err(Fault::in_no_rule)?;
        if raw.rules.len() > MAX_RULES {
            let problem = format!("are {}; at most {MAX_RULES} are taken", raw.rules.len());
            return Err(Fault::at("rules", problem).in_no_rule());
        }
        let mut ids = BTreeSet::new();
        let mut rules = Vec::with_capacity(raw.rules.len());
        for (index, rule) in raw.rules.iter().enumerate() {
            let told = |fault: Fault| fault.under(&format!("rules[{index}]")).in_rule(rule.id.as_str());
            if !ids.insert(&rule.id) {
                return Err(told(Fault::at("id", "stands twice")));
            }
            rules.push(resolve_rule(rule, &places).map_err(told)?);
        }
        Ok(Self { rules })
    }
}

fn resolve_rule(raw: &RawRule, places: &Places) -> Result<Rule, Fault> {
    let watch = Resolver { places, anchor: raw.anchor.unwrap_or_default() }.only_kind(raw)?;
    let settings = settings(raw, watch.kind(), places)?;
    Ok(Rule { id: raw.id.clone(), settings, watch })
}

fn settings(raw: &RawRule, kind: RuleKind, places: &Places) -> Result<Settings, Fault> {
    let default: &[&str] = match kind {
        RuleKind::StoppedVehicle => &VEHICLES,
        RuleKind::ObjectAbandoned => &BAGGAGE,
        _ => &[],
    };
    let classes = match &raw.classes {
        Some(named) => Some(checked_classes(named).map_err(|fault| fault.under("classes"))?),
        None if default.is_empty() => None,
        None => Some(default.iter().map(ToString::to_string).collect()),
    };
    if kind == RuleKind::CameraTampered && (raw.classes.is_some() || raw.min_presence.is_some()) {
        return Err(Fault::at(
            "camera_tampered",
            "looks at the picture, not at objects: leave classes and min_presence out",
        ));
    }
    Ok(Settings {
        classes,
        classes_named: raw.classes.is_some(),
        min_confidence: raw.min_confidence.map_or(0.0, Share::get),
        min_presence: at_most(raw.min_presence.unwrap_or_default(), "min_presence")?,
        schedule: raw.schedule.as_ref().map(|id| places.schedule(id)).transpose()?,
        cool_down: at_most(raw.cool_down.unwrap_or_default(), "cool_down")?,
        armed: raw.armed.unwrap_or(true),
    })
}

/// Resolves the one table of a rule that says its kind.
struct Resolver<'a> {
    places: &'a Places,
    anchor: Anchor,
}

impl Resolver<'_> {
    fn only_kind(&self, raw: &RawRule) -> Result<Watch, Fault> {
        let mut found: Option<(RuleKind, Result<Watch, Fault>)> = None;
        for kind in RuleKind::ALL {
            let Some(watch) = self.kind(raw, kind) else { continue };
            if let Some((first, _)) = found {
                return Err(Fault::new(format!("is both {first} and {kind}; make two rules of it")));
            }
            found = Some((kind, watch));
        }
        let (kind, watch) = found.ok_or_else(|| {
            Fault::new(format!("watches for nothing; add one of {}", RuleKind::ALL.map(RuleKind::name).join(", ")))
        })?;
        watch.map_err(|fault| fault.under(kind.name()))
    }

    /// The rule's table of this kind, where it has one.
    fn kind(&self, raw: &RawRule, kind: RuleKind) -> Option<Result<Watch, Fault>> {
        Some(match kind {
            RuleKind::LineCrossed => {
                let table = raw.line_crossed.as_ref()?;
                self.line(&table.line, table.hysteresis).map(|line| Watch::LineCrossed(line, table.direction))
            }
            RuleKind::LineCount => self.line_count(raw.line_count.as_ref()?),
            RuleKind::Inside | RuleKind::Entered | RuleKind::Left => {
                let table = match kind {
                    RuleKind::Inside => raw.inside.as_ref()?,
                    RuleKind::Entered => raw.entered.as_ref()?,
                    _ => raw.left.as_ref()?,
                };
                self.zone(Some(&table.zone), table.hysteresis).map(|zone| Watch::Zone(zone, kind))
            }
            RuleKind::Loitering => {
                let table = raw.loitering.as_ref()?;
                let zone = self.zone(table.zone.as_ref(), None);
                zone.and_then(|zone| Ok(Watch::Loitering(zone, positive(table.time_threshold, "time_threshold")?)))
            }
            RuleKind::Occupancy => self.occupancy(raw.occupancy.as_ref()?),
            RuleKind::CrowdDensity => self.crowd(raw.crowd_density.as_ref()?),
            RuleKind::StoppedVehicle => {
                let table = raw.stopped_vehicle.as_ref()?;
                self.standing(table.zone.as_ref(), table.time_threshold, table.tolerance).map(Watch::Stopped)
            }
            RuleKind::WrongWay => self.wrong_way(raw.wrong_way.as_ref()?),
            RuleKind::Speeding => self.speeding(raw.speeding.as_ref()?),
            RuleKind::ObjectAbandoned => self.abandoned(raw.object_abandoned.as_ref()?),
            RuleKind::ObjectRemoved => {
                let table = raw.object_removed.as_ref()?;
                self.standing(table.zone.as_ref(), table.time_threshold, table.tolerance).map(Watch::Removed)
            }
            RuleKind::CameraTampered => tampered(raw.camera_tampered.as_ref()?),
            RuleKind::PlateListed => plate_listed(raw.plate_listed.as_ref()?),
        })
    }

    fn line(&self, id: &ZoneId, hysteresis: Option<f64>) -> Result<LineRule, Fault> {
        let hysteresis = sizes(hysteresis.unwrap_or(HYSTERESIS), "hysteresis")?;
        Ok(LineRule { line: self.places.line(id)?, hysteresis, anchor: self.anchor })
    }

    fn zone(&self, id: Option<&ZoneId>, hysteresis: Option<f64>) -> Result<ZoneRule, Fault> {
        let zone = id.map(|id| self.places.zone(id)).transpose()?;
        let hysteresis = sizes(hysteresis.unwrap_or(HYSTERESIS), "hysteresis")?;
        Ok(ZoneRule { zone, hysteresis, anchor: self.anchor })
    }

    fn reset(&self, times: &[String]) -> Result<TimesOfDay, Fault> {
        TimesOfDay::resolve(times, &self.places.time_zone).map_err(|fault| fault.under("reset"))
    }

    fn standing(&self, zone: Option<&ZoneId>, time: Duration, tolerance: Option<f64>) -> Result<StandingRule, Fault> {
        Ok(StandingRule {
            zone: self.zone(zone, None)?,
            time_threshold: positive(time, "time_threshold")?,
            tolerance: sizes(tolerance.unwrap_or(TOLERANCE), "tolerance")?,
        })
    }

    fn line_count(&self, raw: &RawLineCount) -> Result<Watch, Fault> {
        let report_every = raw.report_every.map(|every| positive(every, "report_every")).transpose()?;
        let line = self.line(&raw.line, raw.hysteresis)?;
        Ok(Watch::LineCount { line, reset: self.reset(&raw.reset)?, report_every })
    }

    fn occupancy(&self, raw: &RawOccupancy) -> Result<Watch, Fault> {
        let of = match (&raw.zone, &raw.line) {
            (Some(zone), None) if raw.reset.is_empty() => Capacity::Zone(self.zone(Some(zone), None)?),
            (Some(_), None) => return Err(Fault::at("reset", "is for a line: a zone's count is who is seen in it")),
            (None, Some(line)) => Capacity::Line { line: self.line(line, None)?, reset: self.reset(&raw.reset)? },
            _ => return Err(Fault::new("needs a zone or a line, and only one of them")),
        };
        let hold = at_most(raw.hold.unwrap_or(Duration::from_secs(2)), "hold")?;
        Ok(Watch::Occupancy(OccupancyRule { of, capacity: raw.capacity, hold }))
    }

    fn crowd(&self, raw: &RawCrowdDensity) -> Result<Watch, Fault> {
        let zone = self.places.zone(&raw.zone)?;
        let (limit, area) = match raw.limit {
            Density::PerSquareMetre(limit) => {
                let ground = self.places.ground("objects per square metre").map_err(|fault| fault.under("limit"))?;
                let far = || Fault::at("zone", "reaches beyond the part of the ground that the camera can measure");
                (limit, ground.area(zone.points()).ok_or_else(far)?)
            }
            Density::PerPicture(limit) => (limit, zone.area()),
        };
        above_zero(limit, "limit")?;
        let zone = ZoneRule { zone: Some(zone), hysteresis: HYSTERESIS, anchor: self.anchor };
        let hold = at_most(raw.hold.unwrap_or(Duration::from_secs(5)), "hold")?;
        Ok(Watch::Crowd(CrowdRule { zone, limit: CrowdLimit { density: raw.limit, area }, hold }))
    }

    fn wrong_way(&self, raw: &RawWrongWay) -> Result<Watch, Fault> {
        /// Shortest arrow, share of the picture: a click's tremble must not turn it.
        const MIN_ARROW: f64 = 0.02;
        let [from, to] = raw.allowed;
        let allowed = (to[0] - from[0], to[1] - from[1]);
        let in_picture = raw.allowed.iter().flatten().all(|share| (0.0..=1.0).contains(share));
        if !in_picture || allowed.0.hypot(allowed.1) < MIN_ARROW {
            let problem = format!("must be two points in the picture, at least {MIN_ARROW} of it apart");
            return Err(Fault::at("allowed", problem));
        }
        let tolerance_degrees = raw.tolerance_degrees.unwrap_or(60.0);
        if !(1.0..=89.0).contains(&tolerance_degrees) {
            return Err(Fault::at("tolerance_degrees", format!("{tolerance_degrees} is not within 1 and 89")));
        }
        let min_distance = above_zero(sizes(raw.min_distance.unwrap_or(1.0), "min_distance")?, "min_distance")?;
        Ok(Watch::WrongWay(WrongWayRule {
            zone: self.zone(raw.zone.as_ref(), None)?,
            allowed,
            tolerance_degrees,
            min_distance,
        }))
    }

    fn speeding(&self, raw: &RawSpeeding) -> Result<Watch, Fault> {
        let ground = |unit| self.places.ground(unit).map(SpeedScale::Ground).map_err(|fault| fault.under("limit"));
        let (limit, scale) = match raw.limit {
            SpeedLimit::KilometresPerHour(limit) => (limit / 3.6, ground("kilometres per hour")?),
            SpeedLimit::MetresPerSecond(limit) => (limit, ground("metres per second")?),
            SpeedLimit::PictureWidthsPerSecond(limit) => (limit, SpeedScale::Picture),
        };
        above_zero(limit, "limit")?;
        let window = raw.window.unwrap_or(Duration::from_secs(1));
        if !(Duration::from_millis(200)..=Duration::from_secs(10)).contains(&window) {
            return Err(Fault::at("window", "must be within 200ms and 10s"));
        }
        Ok(Watch::Speeding(SpeedingRule { zone: self.zone(raw.zone.as_ref(), None)?, scale, limit, window }))
    }

    fn abandoned(&self, raw: &RawAbandoned) -> Result<Watch, Fault> {
        let key = "attended_within";
        let calibrated = self.places.ground.is_some();
        let attended_within =
            raw.attended_within.unwrap_or(if calibrated { Reach::Metres(3.0) } else { Reach::Sizes(1.75) });
        let ground = match attended_within {
            Reach::Metres(metres) => {
                above_zero(metres, key)?;
                Some(self.places.ground("metres").map_err(|fault| fault.under(key))?)
            }
            Reach::Sizes(reach) => {
                above_zero(sizes(reach, key)?, key)?;
                None
            }
        };
        let owners = match &raw.owners {
            Some(named) => checked_classes(named).map_err(|fault| fault.under("owners"))?,
            None => vec!["person".to_owned()],
        };
        let standing = self.standing(raw.zone.as_ref(), raw.time_threshold, raw.tolerance)?;
        Ok(Watch::Abandoned(AbandonedRule { standing, owners, attended_within, ground }))
    }
}

fn tampered(raw: &RawTampered) -> Result<Watch, Fault> {
    let all = [Tamper::Covered, Tamper::Blurred, Tamper::Moved, Tamper::Dark, Tamper::Frozen];
    let mut detect = raw.detect.clone().unwrap_or_else(|| all.to_vec());
    detect.sort_unstable();
    detect.dedup();
    if detect.is_empty() {
        return Err(Fault::at("detect", "is empty: nothing would ever be found; leave it out for all"));
    }
    let duration = |value: Option<Duration>, default, key| positive(value.unwrap_or(Duration::from_secs(default)), key);
    Ok(Watch::Tampered(TamperRule {
        detect,
        hold: duration(raw.hold, 10, "hold")?,
        frozen_after: duration(raw.frozen_after, 60, "frozen_after")?,
        accept_after: duration(raw.accept_after, 600, "accept_after")?,
    }))
}

fn plate_listed(raw: &RawPlateListed) -> Result<Watch, Fault> {
    if raw.plates.is_empty() || raw.plates.len() > MAX_PLATES {
        return Err(Fault::at("plates", format!("are {}; 1 to {MAX_PLATES} are taken", raw.plates.len())));
    }
    let list = PlateList::new(&raw.plates, raw.alike).map_err(|fault| fault.under("plates"))?;
    let min_likelihood = raw.min_likelihood.or_else(|| Share::new(0.8)).expect("0.8 is a share");
    Ok(Watch::Plate(PlateRule { list: Arc::new(list), on: raw.on, min_likelihood }))
}

fn checked_classes(names: &[String]) -> Result<Vec<String>, Fault> {
    if names.is_empty() || names.len() > MAX_CLASSES {
        return Err(Fault::new(format!("are {}; 1 to {MAX_CLASSES} are taken; leave them out for all", names.len())));
    }
    Ok(names.to_vec())
}

fn at_most(value: Duration, key: &str) -> Result<Duration, Fault> {
    if value <= MAX_DURATION { Ok(value) } else { Err(Fault::at(key, "is longer than seven days")) }
}

fn positive(value: Duration, key: &str) -> Result<Duration, Fault> {
    if value.is_zero() { Err(Fault::at(key, "must be above zero")) } else { at_most(value, key) }
}

fn sizes(value: f64, key: &str) -> Result<f64, Fault> {
    let within = (0.0..=MAX_SIZES).contains(&value);
    if within {
        Ok(value)
    } else {
        Err(Fault::at(key, format!("{value} is not within 0 and {MAX_SIZES} object sizes")))
    }
}

fn above_zero(value: f64, key: &str) -> Result<f64, Fault> {
    let fits = value > 0.0 && value.is_finite();
    if fits { Ok(value) } else { Err(Fault::at(key, format!("{value} is not a number above zero"))) }
}
