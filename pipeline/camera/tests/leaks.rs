//! Reconnecting for ever must cost nothing. In a test binary of its own: it counts what the whole process holds.

#![allow(clippy::unwrap_used)] // The helpers are tests too.

mod common;

use common::{Watched, simulator};
use vigil_camsim::Fault;

/// Forced reconnects before the first count: pools and caches fill.
const WARM_UP: u32 = 10;
/// Forced reconnects in all.
const RECONNECTS: u32 = 50;

#[derive(Debug)]
struct Held {
    threads: usize,
    files: usize,
    resident_kib: u64,
}

fn held() -> Held {
    let entries = |folder: &str| std::fs::read_dir(folder).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let resident_kib = resident.trim().trim_end_matches(" kB").parse().unwrap();
    Held { threads: entries("/proc/self/task"), files: entries("/proc/self/fd"), resident_kib }
}

#[test]
fn fifty_reconnects_leave_no_thread_no_file_and_no_memory_behind() {
    let simulator = simulator();
    let camera = Watched::url(&simulator.url("cam"));
    let mut warm = None;
    for session in 1..=RECONNECTS {
        camera.wait_for_session(session, 1);
        camera.forget();
        if session == WARM_UP {
            warm = Some(held());
        }
        simulator.inject("cam", Fault::Close).unwrap();
    }
    camera.wait_for_session(RECONNECTS + 1, 1);
    let (warm, end) = (warm.unwrap(), held());
    // A session that is being taken down may still hold a few; a leak of one per reconnect would show 40.
    assert!(end.threads <= warm.threads + 8, "from {warm:?} to {end:?}");
    assert!(end.files <= warm.files + 8, "from {warm:?} to {end:?}");
    assert!(end.resident_kib <= warm.resident_kib + 2_000, "from {warm:?} to {end:?}");
}
