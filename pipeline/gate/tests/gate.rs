//! The gate against synthetic cameras: noise, walkers, light, cuts.

use std::time::Duration;

use vigil_base::{BoxPx, Frame, Size, Timestamp};
use vigil_gate::{GateConfig, Motion, MotionGate, Reason};

const HD: Size = Size::new(1280, 720);
const FRAME_TIME: Duration = Duration::from_millis(200);

/// A camera that looks at a still, textured scene.
struct Camera {
    size: Size,
    time: Timestamp,
    /// Standard deviation of its sensor noise, grey levels.
    noise: f32,
    random: u64,
    gain: f32,
    walkers: Vec<(BoxPx, u8)>,
}

impl Camera {
    fn new(size: Size, noise: f32) -> Self {
        Self {
            size,
            time: Timestamp::from_micros(1_000_000),
            noise,
            random: 0x9e37_79b9_7f4a_7c15,
            gain: 1.0,
            walkers: vec![],
        }
    }

    /// Noise of about the wanted deviation: the sum of four uniform numbers (Irwin-Hall).
    fn noise(&mut self) -> f32 {
        let mut sum = 0.0;
        for _ in 0..4 {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            sum += (self.random >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        }
        sum * self.noise * 1.732
    }

    fn shoot(&mut self) -> Frame {
        let Size { width, height } = self.size;
        let mut luma = vec![0u8; (width * height) as usize];
        for (i, sample) in luma.iter_mut().enumerate() {
            let (x, y) = (i as u32 % width, i as u32 / width);
            let scene = 60.0 + ((x / 40 + y / 24) % 5) as f32 * 25.0;
            let walker = self.walkers.iter().find(|(place, _)| {
                let (x, y) = (x as f32, y as f32);
                x >= place.left && x < place.right() && y >= place.top && y < place.bottom()
            });
            let light = walker.map_or(scene, |(_, shade)| f32::from(*shade)) * self.gain;
            *sample = (light + self.noise()).clamp(0.0, 255.0) as u8;
        }
        let mut frame = Frame::uniform(self.size, [0, 128, 128], self.time);
        frame.planes[0].data = luma.into();
        self.time = self.time + FRAME_TIME;
        frame
    }

    fn watched_by(&mut self, gate: &mut MotionGate, frames: usize) -> Vec<Motion> {
        (0..frames).map(|_| gate.observe(&self.shoot())).collect()
    }
}

#[test]
fn the_first_frame_counts_as_motion_everywhere() {
    let mut gate = MotionGate::new(GateConfig::default());
    let motion = gate.observe(&Camera::new(HD, 3.0).shoot());
    assert!(motion.moved && motion.share_changed == 1.0);
    assert_eq!((motion.reason, motion.boxes.len()), (Reason::First, 1));
}

#[test]
fn noise_alone_is_still() {
    for noise in [0.0, 3.0, 8.0] {
        let mut gate = MotionGate::new(GateConfig::default());
        let motions = Camera::new(HD, noise).watched_by(&mut gate, 60);
        let moved = motions[10..].iter().filter(|motion| motion.moved).count();
        assert_eq!(moved, 0, "noise of {noise} levels");
    }
}

#[test]
fn a_small_walker_is_seen_in_every_frame_and_where_it_is() {
    let mut gate = MotionGate::new(GateConfig::default());
    let mut camera = Camera::new(HD, 3.0);
    camera.watched_by(&mut gate, 20);
    for step in 0..60 {
        // 2% of the picture's width, and three times as high.
        let place = BoxPx::new(100.0 + step as f32 * 15.0, 300.0, 26.0, 78.0);
        camera.walkers = vec![(place, 40)];
        let motion = gate.observe(&camera.shoot());
        assert!(motion.moved, "step {step}");
        let seen = motion.boxes.iter().map(|b| b.to_px(HD)).any(|b| b.iou(&place) > 0.3);
        assert!(seen, "step {step}: {:?} is not {place:?}", motion.boxes);
    }
}

#[test]
fn a_walker_that_hardly_differs_from_the_ground_is_seen_somewhere_on_its_way() {
    let mut gate = MotionGate::new(GateConfig::default());
    let mut camera = Camera::new(HD, 3.0);
    camera.watched_by(&mut gate, 20);
    let seen = (0..30).filter(|step| {
        camera.walkers = vec![(BoxPx::new(100.0 + *step as f32 * 15.0, 300.0, 26.0, 78.0), 90)];
        gate.observe(&camera.shoot()).moved
    });
    assert_eq!(seen.count(), 30);
}

#[test]
fn a_change_of_the_light_is_not_motion() {
    let mut gate = MotionGate::new(GateConfig::default());
    let mut camera = Camera::new(HD, 2.0);
    camera.watched_by(&mut gate, 20);
    let mut reasons = Vec::new();
    for _ in 0..12 {
        camera.gain *= 1.04;
        reasons.push(gate.observe(&camera.shoot()).reason);
    }
    assert!(reasons.iter().all(|reason| *reason == Reason::LightChanged), "{reasons:?}");
    let after = camera.watched_by(&mut gate, 20);
    assert!(after[10..].iter().all(|motion| !motion.moved), "the new light is the background soon after");
}

#[test]
fn a_walker_is_seen_while_the_light_changes() {
    let mut gate = MotionGate::new(GateConfig::default());
    let mut camera = Camera::new(HD, 2.0);
    camera.watched_by(&mut gate, 20);
    camera.gain = 1.06;
    camera.walkers = vec![(BoxPx::new(600.0, 300.0, 40.0, 120.0), 20)];
    assert_eq!(gate.observe(&camera.shoot()).reason, Reason::Moved);
}

#[test]
fn a_lamp_in_the_dark_and_a_turned_camera_count_as_motion_once() {
    let mut gate = MotionGate::new(GateConfig::default());
    let mut camera = Camera::new(HD, 2.0);
    camera.gain = 0.15;
    camera.watched_by(&mut gate, 20);
    camera.gain = 1.0;
    let motions = camera.watched_by(&mut gate, 20);
    assert!(motions[0].moved);
    assert_eq!(motions[0].reason, Reason::SceneChanged);
    assert!(motions[10..].iter().all(|motion| !motion.moved));
}

#[test]
fn another_size_starts_anew() {
    let mut gate = MotionGate::new(GateConfig::default());
    Camera::new(HD, 2.0).watched_by(&mut gate, 5);
    let mut small = Camera::new(Size::new(640, 360), 2.0);
    let motions = small.watched_by(&mut gate, 20);
    assert_eq!((motions[0].reason, motions[0].moved), (Reason::Resized, true));
    assert!(motions[10..].iter().all(|motion| !motion.moved));
}

#[test]
fn a_camera_clock_that_jumps_changes_nothing() {
    let mut gate = MotionGate::new(GateConfig::default());
    let mut camera = Camera::new(HD, 2.0);
    camera.watched_by(&mut gate, 20);
    for time in [0, 2_000_000_000_000_000, 5] {
        camera.time = Timestamp::from_micros(time);
        assert!(!gate.observe(&camera.shoot()).moved);
    }
}

#[test]
fn tiny_and_odd_pictures_are_taken() {
    for size in [Size::new(1, 1), Size::new(7, 3), Size::new(161, 91), Size::new(1919, 1)] {
        let mut gate = MotionGate::new(GateConfig::default());
        let motions = Camera::new(size, 0.0).watched_by(&mut gate, 3);
        assert!(motions[0].moved && !motions[2].moved, "{size}");
    }
}
