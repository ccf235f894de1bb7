//! Where a box is and where it goes: a Kalman filter over centre, width and height, in real time steps.
//!
//! State and measurement are those of SORT (Bewley et al., ICIP 2016) in the form of BoT-SORT (Aharon et al., 2022):
//! centre x, centre y, width, height, and the velocity of each. All noise is diagonal, so the eight-state filter is,
//! exactly, four filters of two states, and no matrix is needed.
//!
//! Two things differ from those papers, because cameras are analysed at 1 to 25 frames a second and unevenly:
//! - The process noise is white acceleration over the true time step (Bar-Shalom, Li, Kirubarajan: Estimation with
//!   Applications to Tracking and Navigation, 2001, section 6.2), not a constant per frame.
//! - Velocities fade exponentially (Singer, IEEE Trans. AES 1970, in its first-order form), so that an object that is
//!   hidden for seconds is looked for near where it vanished, not across the picture.
//!
//! Every noise is in sizes of the object, a size being the longer side of its box: near objects move over more pixels.

use crate::config::MotionConfig;

/// No side is estimated smaller, pixels.
const MIN_SIDE: f64 = 1.0;
/// The initial spread of the sides' velocities, sizes per second: objects approach slowly.
const SIDE_VELOCITY: f64 = 0.2;

/// A box as centre and sides, pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CentreBox {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl CentreBox {
    /// The longer side: the unit of all noises and distances.
    pub(crate) fn size(&self) -> f64 {
        self.width.max(self.height)
    }

    /// Distance of the centres in sizes of `self`.
    pub(crate) fn distance(&self, other: &Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y) / self.size()
    }

    /// Intersection over union after both boxes grew by `dx` to the left and right, and by `dy` up and down.
    pub(crate) fn grown_iou(&self, other: &Self, dx: f64, dy: f64) -> f64 {
        let overlap = |a: f64, a_side: f64, b: f64, b_side: f64| {
            (a + a_side / 2.0).min(b + b_side / 2.0) - (a - a_side / 2.0).max(b - b_side / 2.0)
        };
        // Most pairs are far apart: the first side decides.
        let (aw, bw) = (self.width + 2.0 * dx, other.width + 2.0 * dx);
        let width = overlap(self.x, aw, other.x, bw);
        if width <= 0.0 {
            return 0.0;
        }
        let (ah, bh) = (self.height + 2.0 * dy, other.height + 2.0 * dy);
        let height = overlap(self.y, ah, other.y, bh);
        if height <= 0.0 {
            return 0.0;
        }
        let shared = width * height;
        shared / (aw * ah + bw * bh - shared)
    }

    /// Intersection over union.
    pub(crate) fn iou(&self, other: &Self) -> f64 {
        self.grown_iou(other, 0.0, 0.0)
    }
}

/// Value and velocity of one coordinate, with their covariance.
#[derive(Debug, Clone, Copy)]
struct Axis {
    value: f64,
    velocity: f64,
    /// Variance of the value, covariance, variance of the velocity.
    var: f64,
    cov: f64,
    velocity_var: f64,
}

impl Axis {
    fn new(value: f64, sigma: f64, velocity_sigma: f64) -> Self {
        Self { value, velocity: 0.0, var: sigma * sigma, cov: 0.0, velocity_var: velocity_sigma * velocity_sigma }
    }

    /// `fade` is the velocity's time constant in seconds, `acceleration` the root of the noise's density.
    fn predict(&mut self, dt: f64, fade: f64, acceleration: f64) {
        let keep = (-dt / fade).exp();
        let reach = fade * (1.0 - keep);
        let density = acceleration * acceleration;
        self.value += reach * self.velocity;
        self.velocity *= keep;
        self.var += 2.0 * reach * self.cov + reach * reach * self.velocity_var + density * dt.powi(3) / 3.0;
        self.cov = keep * (self.cov + reach * self.velocity_var) + density * dt * dt / 2.0;
        self.velocity_var = keep * keep * self.velocity_var + density * dt;
    }

    fn update(&mut self, measured: f64, sigma: f64) {
        let innovation_var = self.var + sigma * sigma;
        let (gain, velocity_gain) = (self.var / innovation_var, self.cov / innovation_var);
        let innovation = measured - self.value;
        self.value += gain * innovation;
        self.velocity += velocity_gain * innovation;
        self.velocity_var -= velocity_gain * self.cov;
        self.var *= 1.0 - gain;
        self.cov *= 1.0 - gain;
    }
}

/// The motion state of one track.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BoxFilter {
    x: Axis,
    y: Axis,
    width: Axis,
    height: Axis,
}

impl BoxFilter {
    /// A state that was seen once and may move anywhere.
    pub(crate) fn new(seen: &CentreBox, config: &MotionConfig) -> Self {
        let size = seen.size();
        let (centre, side) = (config.centre_noise * size, config.side_noise * size);
        let velocity = config.initial_velocity * size;
        Self {
            x: Axis::new(seen.x, centre, velocity),
            y: Axis::new(seen.y, centre, velocity * config.vertical_share),
            width: Axis::new(seen.width, side, SIDE_VELOCITY * size),
            height: Axis::new(seen.height, side, SIDE_VELOCITY * size),
        }
    }

    /// Lets `dt` seconds pass.
    pub(crate) fn predict(&mut self, dt: f64, config: &MotionConfig) {
        let size = self.centre_box().size();
        let (centre, side) = (config.acceleration * size, config.side_acceleration * size);
        self.x.predict(dt, config.velocity_fade, centre);
        self.y.predict(dt, config.velocity_fade, centre * config.vertical_share);
        self.width.predict(dt, config.side_velocity_fade, side);
        self.height.predict(dt, config.side_velocity_fade, side);
    }

    /// Takes a detection in.
    pub(crate) fn update(&mut self, seen: &CentreBox, config: &MotionConfig) {
        let size = self.centre_box().size();
        let (centre, side) = (config.centre_noise * size, config.side_noise * size);
        self.x.update(seen.x, centre);
        self.y.update(seen.y, centre);
        self.width.update(seen.width, side);
        self.height.update(seen.height, side);
    }

    /// Where it is thought to be.
    pub(crate) fn centre_box(&self) -> CentreBox {
        let side = |axis: &Axis| axis.value.max(MIN_SIDE);
        CentreBox { x: self.x.value, y: self.y.value, width: side(&self.width), height: side(&self.height) }
    }

    /// Pixels per second, x then y.
    pub(crate) fn velocity(&self) -> (f64, f64) {
        (self.x.velocity, self.y.velocity)
    }

    /// Standard deviation of the centre, pixels, x then y.
    pub(crate) fn centre_sigma(&self) -> (f64, f64) {
        (self.x.var.max(0.0).sqrt(), self.y.var.max(0.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(x: f64) -> CentreBox {
        CentreBox { x, y: 100.0, width: 40.0, height: 100.0 }
    }

    /// A walker of 50 pixels a second, seen at `times`.
    fn followed(times: &[f64]) -> BoxFilter {
        let config = MotionConfig::default();
        let mut filter = BoxFilter::new(&at(50.0 * times[0]), &config);
        for pair in times.windows(2) {
            filter.predict(pair[1] - pair[0], &config);
            filter.update(&at(50.0 * pair[1]), &config);
        }
        filter
    }

    #[test]
    fn the_same_walk_gives_the_same_velocity_at_any_rate() {
        for rate in [1.0, 5.0, 10.0, 25.0] {
            let times: Vec<f64> = (0..=(8.0 * rate) as usize).map(|i| i as f64 / rate).collect();
            let (vx, vy) = followed(&times).velocity();
            assert!((vx - 50.0).abs() < 8.0 && vy.abs() < 1.0, "{vx} {vy} at {rate} fps");
        }
    }

    #[test]
    fn a_hidden_walker_is_looked_for_further_on_but_not_across_the_picture() {
        let config = MotionConfig::default();
        let times: Vec<f64> = (0..40).map(|i| f64::from(i) / 10.0).collect();
        let mut filter = followed(&times);
        let last_seen = filter.centre_box().x;
        filter.predict(1.0, &config);
        assert!(filter.centre_box().x > last_seen + 30.0);
        filter.predict(100.0, &config);
        assert!(filter.centre_box().x < last_seen + 50.0 * config.velocity_fade + 1.0);
    }

    #[test]
    fn uncertainty_grows_while_hidden_and_shrinks_when_seen() {
        let config = MotionConfig::default();
        let mut filter = followed(&[0.0, 0.1, 0.2, 0.3]);
        let seen = filter.centre_sigma().0;
        filter.predict(0.5, &config);
        let hidden = filter.centre_sigma().0;
        filter.update(&at(40.0), &config);
        assert!(hidden > 2.0 * seen && filter.centre_sigma().0 < hidden);
    }

    #[test]
    fn grown_boxes_meet_where_plain_ones_do_not() {
        let (a, b) = (at(100.0), at(150.0));
        assert_eq!(a.iou(&b), 0.0);
        assert!(a.grown_iou(&b, 20.0, 0.0) > 0.2);
        assert_eq!(a.grown_iou(&a, 20.0, 30.0), 1.0);
    }

    proptest! {
        /// One long step and many short ones lead to the same place; the noise model is consistent in time.
        #[test]
        fn prediction_does_not_depend_on_how_time_is_cut(parts in 1usize..40, total in 0.05f64..3.0) {
            let config = MotionConfig::default();
            let start = followed(&[0.0, 0.1, 0.2, 0.3, 0.4]);
            let (mut once, mut often) = (start, start);
            once.predict(total, &config);
            for _ in 0..parts {
                often.predict(total / parts as f64, &config);
            }
            let (a, b) = (once.centre_box(), often.centre_box());
            prop_assert!((a.x - b.x).abs() < 1e-6 && (a.y - b.y).abs() < 1e-6);
            let (a, b) = (once.centre_sigma().0, often.centre_sigma().0);
            prop_assert!((a / b - 1.0).abs() < 0.35, "{a} {b}");
        }

        #[test]
        fn variances_stay_positive(steps in prop::collection::vec((0.001f64..5.0, any::<bool>()), 1..200)) {
            let config = MotionConfig::default();
            let mut filter = BoxFilter::new(&at(0.0), &config);
            for (dt, seen) in steps {
                filter.predict(dt, &config);
                if seen {
                    filter.update(&at(10.0), &config);
                }
                for axis in [filter.x, filter.y, filter.width, filter.height] {
                    prop_assert!(axis.var > 0.0 && axis.velocity_var > 0.0);
                    prop_assert!(axis.cov * axis.cov <= axis.var * axis.velocity_var * (1.0 + 1e-9));
                }
            }
        }
    }
}
