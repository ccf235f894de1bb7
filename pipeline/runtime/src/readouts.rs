//! What a camera's rules count and whether they are on, for those who watch over the edge: metrics
//! `vigil_rule_{on,crossings,inside}{camera,rule}`, and heartbeats.

use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use vigil_base::{CameraId, RuleId};
use vigil_rules::{Reading, RuleState};

/// A rule as it was on the last analysed frame.
#[derive(Debug, Clone, PartialEq)]
pub struct RuleReadout {
    /// Which.
    pub rule: RuleId,
    /// Armed, and within its schedule.
    pub is_on: bool,
    /// What it counts, where it counts.
    pub reading: Option<Reading>,
}

/// Read by others while the camera is analysed; as many as it has rules.
#[derive(Debug, Default)]
pub(crate) struct Readouts(Mutex<Vec<RuleReadout>>);

impl Readouts {
    pub fn get(&self) -> Vec<RuleReadout> {
        self.0.lock().clone()
    }
}

/// Tells of the rules' states; costs a comparison while nothing changes.
pub(crate) struct RuleTelemetry {
    camera: CameraId,
    told: Vec<Told>,
}

struct Told {
    readout: RuleReadout,
    on: Gauge,
    left: Gauge,
    right: Gauge,
    inside: Gauge,
}

impl RuleTelemetry {
    pub fn new(camera: CameraId) -> Self {
        Self { camera, told: Vec::new() }
    }

    /// Takes in how the rules are now.
    pub fn follow<'a>(&mut self, states: impl Iterator<Item = RuleState<'a>> + Clone, readouts: &Readouts) {
        if !states.clone().map(|state| state.rule).eq(self.told.iter().map(|told| &told.readout.rule)) {
            self.begin(states.clone(), readouts);
        }
        for (index, (told, state)) in self.told.iter_mut().zip(states).enumerate() {
            if (told.readout.is_on, told.readout.reading) != (state.is_on, state.reading) {
                (told.readout.is_on, told.readout.reading) = (state.is_on, state.reading);
                told.show();
                if let Some(shown) = readouts.0.lock().get_mut(index) {
                    (shown.is_on, shown.reading) = (state.is_on, state.reading);
                }
            }
        }
    }

    /// Other rules than before: the metrics of those that are gone read zero.
    fn begin<'a>(&mut self, states: impl Iterator<Item = RuleState<'a>>, readouts: &Readouts) {
        for mut gone in self.told.drain(..) {
            (gone.readout.is_on, gone.readout.reading) = (false, None);
            gone.show();
        }
        self.told.extend(states.map(|state| Told::new(&self.camera, &state)));
        *readouts.0.lock() = self.told.iter().map(|told| told.readout.clone()).collect();
    }
}

impl Told {
    fn new(camera: &CameraId, state: &RuleState<'_>) -> Self {
        let gauge = |name: &'static str| gauge!(name, "camera" => camera.to_string(), "rule" => state.rule.to_string());
        let crossings = |direction: &'static str| {
            gauge!(
                "vigil_rule_crossings", "camera" => camera.to_string(), "rule" => state.rule.to_string(),
                "direction" => direction
            )
        };
        let told = Self {
            readout: RuleReadout { rule: state.rule.clone(), is_on: state.is_on, reading: state.reading },
            on: gauge("vigil_rule_on"),
            left: crossings("left"),
            right: crossings("right"),
            inside: gauge("vigil_rule_inside"),
        };
        told.show();
        told
    }

    fn show(&self) {
        let (left, right, inside) = match self.readout.reading {
            Some(Reading::Counts(counts)) => (counts.left as f64, counts.right as f64, 0.0),
            Some(Reading::Occupancy { count, .. } | Reading::Density { count, .. }) => (0.0, 0.0, f64::from(count)),
            None => (0.0, 0.0, 0.0),
        };
        self.on.set(f64::from(u8::from(self.readout.is_on)));
        self.left.set(left);
        self.right.set(right);
        self.inside.set(inside);
    }
}
