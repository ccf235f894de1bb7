//! What rules refer to: lines, zones, schedules, the ground.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::tz::TimeZone;
use vigil_base::{GroundPlane, ZoneId};

use super::{Fault, RawRules, RawShape, listed};
use crate::schedule::{Schedule, time_zone};
use crate::shape::{Line, Zone};

/// Most lines of a camera, and most zones.
pub const MAX_SHAPES: usize = 64;
/// Most schedules of a camera.
pub const MAX_SCHEDULES: usize = 32;
/// Longest id of a schedule, bytes.
const MAX_SCHEDULE_ID: usize = 64;

/// A camera's lines, zones and schedules by their ids.
pub(super) struct Places {
    lines: BTreeMap<ZoneId, Arc<Line>>,
    zones: BTreeMap<ZoneId, Arc<Zone>>,
    schedules: BTreeMap<String, Arc<Schedule>>,
    pub(super) time_zone: TimeZone,
    pub(super) ground: Option<Arc<GroundPlane>>,
}

impl Places {
    pub(super) fn resolve(raw: &RawRules, ground: Option<&Arc<GroundPlane>>) -> Result<Self, Fault> {
        let zone_name = raw.time_zone.as_deref().unwrap_or("UTC");
        let time_zone = time_zone(zone_name).map_err(|fault| fault.under("time_zone"))?;
        let mut places = Self {
            lines: shapes(&raw.lines, "lines", Line::new)?,
            zones: shapes(&raw.zones, "zones", Zone::new)?,
            schedules: BTreeMap::new(),
            time_zone,
            ground: ground.cloned(),
        };
        if let Some((index, line)) = raw.lines.iter().enumerate().find(|(_, line)| places.zones.contains_key(&line.id))
        {
            return Err(Fault::at(format!("lines[{index}].id"), format!("{} is a zone, too; rename one", line.id)));
        }
        places.read_schedules(raw)?;
        Ok(places)
    }

    fn read_schedules(&mut self, raw: &RawRules) -> Result<(), Fault> {
        if raw.schedules.len() > MAX_SCHEDULES {
            let problem = format!("are {}; at most {MAX_SCHEDULES} are taken", raw.schedules.len());
            return Err(Fault::at("schedules", problem));
        }
        for (index, schedule) in raw.schedules.iter().enumerate() {
            let key = format!("schedules[{index}]");
            if schedule.id.is_empty() || schedule.id.len() > MAX_SCHEDULE_ID {
                return Err(Fault::at("id", format!("must have 1 to {MAX_SCHEDULE_ID} bytes")).under(&key));
            }
            let resolved = Schedule::resolve(schedule, &self.time_zone).map_err(|fault| fault.under(&key))?;
            if self.schedules.insert(schedule.id.clone(), Arc::new(resolved)).is_some() {
                return Err(Fault::at("id", format!("{:?} stands twice", schedule.id)).under(&key));
            }
        }
        Ok(())
    }

    pub(super) fn line(&self, id: &ZoneId) -> Result<Arc<Line>, Fault> {
        find(&self.lines, id, "line", ZoneId::as_str).map_err(|fault| fault.under("line"))
    }

    pub(super) fn zone(&self, id: &ZoneId) -> Result<Arc<Zone>, Fault> {
        find(&self.zones, id, "zone", ZoneId::as_str).map_err(|fault| fault.under("zone"))
    }

    pub(super) fn schedule(&self, id: &String) -> Result<Arc<Schedule>, Fault> {
        find(&self.schedules, id, "schedule", String::as_str).map_err(|fault| fault.under("schedule"))
    }

    /// The ground, for a rule that cannot do without.
    pub(super) fn ground(&self, unit: &str) -> Result<Arc<GroundPlane>, Fault> {
        let missing = || Fault::new(format!("is in {unit}, which needs the camera's ground: calibrate it"));
        self.ground.clone().ok_or_else(missing)
    }
}

fn shapes<T>(
    raw: &[RawShape],
    list: &str,
    make: impl Fn(ZoneId, &[[f64; 2]]) -> Result<T, Fault>,
) -> Result<BTreeMap<ZoneId, Arc<T>>, Fault> {
    if raw.len() > MAX_SHAPES {
        return Err(Fault::at(list, format!("are {}; at most {MAX_SHAPES} are taken", raw.len())));
    }
    let mut found = BTreeMap::new();
    for (index, shape) in raw.iter().enumerate() {
        let key = format!("{list}[{index}]");
        let made = make(shape.id.clone(), &shape.points).map_err(|fault| fault.under(&key))?;
        if found.insert(shape.id.clone(), Arc::new(made)).is_some() {
            return Err(Fault::at("id", format!("{} stands twice", shape.id)).under(&key));
        }
    }
    Ok(found)
}

fn find<K: Ord, T>(all: &BTreeMap<K, Arc<T>>, id: &K, what: &str, name: impl Fn(&K) -> &str) -> Result<Arc<T>, Fault> {
    let missing = || {
        let cut: String = name(id).chars().take(80).collect();
        Fault::new(format!("there is no {what} {cut:?}; there are: {}", listed(all.keys().map(&name))))
    };
    all.get(id).cloned().ok_or_else(missing)
}
