//! What a look of the motion gate costs: CPU microseconds per frame, one JSON line per picture size.
//!
//! `cargo run --release -p vigil-gate --example gate_cost`

#![allow(clippy::print_stdout)] // Its output is its purpose.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use vigil_base::{Frame, Size, Timestamp};
use vigil_gate::{GateConfig, MotionGate};

const FRAMES: u32 = 2000;

fn main() -> Result<(), nix::Error> {
    for size in [Size::new(768, 576), Size::new(1280, 720), Size::new(1920, 1080), Size::new(3840, 2160)] {
        let frames: Vec<Frame> = (0..8).map(|seed| noisy(size, seed)).collect();
        let mut gate = MotionGate::new(GateConfig::default());
        let before = used_us()?;
        let moved = frames.iter().cycle().take(FRAMES as usize).filter(|frame| gate.observe(frame).moved).count();
        let each = (used_us()? - before) / f64::from(FRAMES);
        println!("{}", serde_json::json!({ "size": size.to_string(), "cpu_us_per_frame": each, "moved": moved }));
    }
    Ok(())
}

fn noisy(size: Size, seed: u64) -> Frame {
    let time = Timestamp::default() + Duration::from_millis(40 * seed);
    let mut frame = Frame::uniform(size, [100, 128, 128], time);
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut sample = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        100 + (random >> 60) as u8
    };
    frame.planes[0].data = (0..size.width * size.height).map(|_| sample()).collect::<Vec<_>>().into();
    frame
}

fn used_us() -> Result<f64, nix::Error> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let us = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e6 + time.tv_usec() as f64;
    Ok(us(usage.user_time()) + us(usage.system_time()))
}
