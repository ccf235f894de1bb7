//! A box that gives the edge a part of its processors only: as many detectors run at once as may run.
//!
//! A real control group is made, of version 2 or 1, and this test runs itself in it.
#![allow(clippy::unwrap_used, clippy::print_stdout)] // A test ends where it cannot go on; the child's output is its result.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use vigil_detect::SchedulerConfig;

/// Set in the process that is inside.
const INSIDE: &str = "VIGIL_TEST_INSIDE_CGROUP";
const ANSWER: &str = "detectors at once: ";
/// Microseconds, of the period and of what may be used in it: one processor.
const PERIOD: &str = "100000";

/// A control group that may use one processor; removed when dropped.
struct Limited(PathBuf);

impl Limited {
    fn new() -> Result<Self, String> {
        let mut refusals = Vec::new();
        // Version 2 alone, version 2 beside version 1, and version 1.
        for (root, limits) in [
            ("/sys/fs/cgroup", &[("cpu.max", "100000 100000")][..]),
            ("/sys/fs/cgroup/unified", &[("cpu.max", "100000 100000")]),
            ("/sys/fs/cgroup/cpu", &[("cpu.cfs_period_us", PERIOD), ("cpu.cfs_quota_us", PERIOD)]),
        ] {
            let group = Self(Path::new(root).join(format!("vigil-test-{}", std::process::id())));
            let limit = |(file, value): &(&str, &str)| {
                let path = group.0.join(file);
                if path.exists() { fs::write(path, value) } else { Err(std::io::ErrorKind::NotFound.into()) }
            };
            match fs::create_dir(&group.0).and_then(|()| limits.iter().try_for_each(limit)) {
                Ok(()) => return Ok(group),
                Err(error) => refusals.push(format!("{root}: {error}")),
            }
        }
        Err(refusals.join("; "))
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn no_more_detectors_run_at_once_than_the_control_group_lets() {
    if std::env::var_os(INSIDE).is_some() {
        println!("\n{ANSWER}{}", SchedulerConfig::default().sessions());
        return;
    }
    if std::thread::available_parallelism().unwrap().get() < 2 {
        println!("SKIPPED: a machine with one processor has nothing to limit");
        return;
    }
    let group = match Limited::new() {
        Ok(group) => group,
        Err(refusals) => {
            println!(
                "SKIPPED: THIS MACHINE LETS NOBODY MAKE A CONTROL GROUP WITH A LIMIT, so nothing is known of limits: {refusals}"
            );
            return;
        }
    };
    let mut inside = Command::new("sh");
    inside.args(["-c", "echo $$ > \"$1\" && shift && exec \"$@\"", "sh"]).arg(group.0.join("cgroup.procs"));
    inside.arg(std::env::current_exe().unwrap()).args(["--nocapture", "--test-threads", "1"]).env(INSIDE, "1");
    let output = inside.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let workers = said.lines().find_map(|line| line.strip_prefix(ANSWER)).unwrap_or_else(|| panic!("{output:?}"));
    assert_eq!(workers, "1", "in {}", group.0.display());
}
