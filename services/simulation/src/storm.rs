//! One run: the hosts come up, the plan happens to them, it becomes calm, and all is counted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use turmoil::Sim;

use crate::cast::Cast;
use crate::disk;
use crate::plan::{Action, Disturbance, Plan};
use crate::truth::Truth;

/// What one step simulates: messages arrive at its begin.
const TICK: Duration = Duration::from_millis(5);
/// How long a message takes on a good line, at most; most take a fifth.
const MAX_LATENCY: Duration = Duration::from_millis(60);
/// Until all has arrived everywhere once it is calm: edges wait for half a minute between two attempts, dead connections are
/// noticed after twenty seconds on either side, and all of that may come twice.
const CONVERGENCE: Duration = Duration::from_secs(150);
/// Steps between two looks at whether all has arrived: a quarter of a second.
const LOOK_EVERY: u32 = 50;
/// Until the end is counted.
const COUNTING: Duration = Duration::from_secs(60);
/// How long a region that was killed in a commit is down.
const DOWN_AFTER_COMMIT: Duration = Duration::from_secs(2);
/// Messages on their way through one connection: as many as the windows of HTTP/2 let through at most.
const TCP_CAPACITY: usize = 4_096;

/// The simulation and all that outlives its processes.
pub(crate) struct Storm<'a> {
    sim: Sim<'a>,
    plan: Plan,
    truth: Arc<Truth>,
    cast: Cast,
    /// What happens when, in order; what follows from it is put in.
    agenda: BTreeMap<(Duration, u64), Action>,
    planned: u64,
    _disks: tempfile::TempDir,
}

impl Storm<'_> {
    /// All hosts of the plan, before the first step.
    pub(crate) fn gather(seed: u64, plan: Plan, truth: &Arc<Truth>) -> anyhow::Result<Self> {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .tick_duration(TICK)
            .simulation_duration(plan.storm + CONVERGENCE + COUNTING + TICK)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(MAX_LATENCY)
            .tcp_capacity(TCP_CAPACITY)
            .enable_random_order()
            .build();
        let disks = disk::all_disks().context("a folder for the disks")?;
        let cast = Cast::gather(&plan, SmallRng::seed_from_u64(!seed), disks.path(), truth)?;
        cast.enter(&mut sim);
        let agenda = (0..).zip(&plan.actions).map(|(number, (at, action))| ((*at, number), action.clone())).collect();
        let planned = plan.actions.len() as u64;
        Ok(Self { sim, plan, truth: truth.clone(), cast, agenda, planned, _disks: disks })
    }

    /// From the first step to the count.
    pub(crate) fn run(mut self) -> anyhow::Result<()> {
        while self.sim.elapsed() < self.plan.storm {
            self.step()?;
        }
        self.becalm()?;
        let until = self.sim.elapsed() + CONVERGENCE;
        loop {
            let lacking = self.cast.lacking(&self.truth);
            if lacking.is_empty() {
                break;
            }
            ensure!(self.sim.elapsed() < until, "not all has arrived {CONVERGENCE:?} after the storm: {lacking}");
            for _ in 0..LOOK_EVERY {
                self.step()?;
            }
        }
        self.truth.note("arrived", "");
        self.cast.arrived.cancel();
        let until = self.sim.elapsed() + COUNTING;
        while !self.cast.operator.done.is_cancelled() {
            ensure!(self.sim.elapsed() < until, "the end could not be counted within {COUNTING:?}");
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> anyhow::Result<()> {
        while let Some(entry) = self.agenda.first_entry().filter(|next| next.key().0 <= self.sim.elapsed()) {
            let action = entry.remove();
            self.act(action)?;
        }
        let killed: Vec<_> = self.cast.regions.values().filter(|region| region.fate.take_killed()).cloned().collect();
        for region in killed {
            self.kill(&region.name, DOWN_AFTER_COMMIT)?;
        }
        self.sim.step().map_err(|error| anyhow!("a host failed: {error}"))?;
        Ok(())
    }

    fn act(&mut self, action: Action) -> anyhow::Result<()> {
        self.truth.note("action", format_args!("{action:?}"));
        match action {
            Action::Kill { host, down } => self.kill(&host, down)?,
            Action::KillAt { region, moment } => self.cast.regions[&region].fate.kill_at(moment),
            Action::Start { host } => self.sim.bounce(host.as_str()),
            Action::BackUp { region } => {
                self.cast.regions[&region].disk.back_up()?;
                self.truth.backed_up(&region);
            }
            Action::Restore { region, down } => {
                if self.cast.regions[&region].disk.restore() {
                    self.truth.restored(&region);
                    self.stop(&region, down);
                }
            }
            Action::SetClock { region, wrong_by_s } => {
                self.cast.regions[&region].clock.set_wrong_by(wrong_by_s * 1_000_000);
            }
            Action::Fill { region, is_full } => self.cast.regions[&region].fate.fill(is_full),
            Action::Disturb { a, b, how } => self.disturb(&a, &b, how),
            Action::Heal { a, b } => self.heal(&a, &b),
        }
        Ok(())
    }

    /// Kill -9, and a start after a while. Who is down already stays so.
    fn kill(&mut self, host: &str, down: Duration) -> anyhow::Result<()> {
        if !self.sim.is_host_running(host) {
            return Ok(());
        }
        self.cast.disk(host)?.leave()?;
        self.stop(host, down);
        Ok(())
    }

    fn stop(&mut self, host: &str, down: Duration) {
        if let Some(edge) = self.cast.edges.get(host) {
            *edge.backlog.lock() = None;
        }
        if self.sim.is_host_running(host) {
            self.sim.crash(host);
            self.truth.note("down", host);
            self.plan_in(down, Action::Start { host: host.to_owned() });
        }
    }

    fn plan_in(&mut self, after: Duration, action: Action) {
        self.planned += 1;
        self.agenda.insert((self.sim.elapsed() + after, self.planned), action);
    }

    fn disturb(&mut self, a: &str, b: &str, how: Disturbance) {
        match how {
            Disturbance::Cut => self.sim.partition(a, b),
            Disturbance::OneWay => self.sim.partition_oneway(a, b),
            Disturbance::Hold => self.sim.hold(a, b),
            Disturbance::Slow(ms) => self.sim.set_link_max_message_latency(a, b, Duration::from_millis(ms)),
            Disturbance::Lossy(one_in) => self.sim.set_link_fail_rate(a, b, 1.0 / f64::from(one_in)),
        }
    }

    /// What was held goes on, what was lost is lost.
    fn heal(&mut self, a: &str, b: &str) {
        self.sim.set_link_max_message_latency(a, b, MAX_LATENCY);
        self.sim.set_link_fail_rate(a, b, 0.0);
        self.sim.release(a, b);
    }

    /// All lines are well, all clocks right, all processes up or about to be; nothing more is seen, and nobody goes away.
    fn becalm(&mut self) -> anyhow::Result<()> {
        let pending: Vec<_> = std::mem::take(&mut self.agenda).into_values().collect();
        for action in pending {
            match action {
                // What was promised is kept; a fault that is still to come would be one of the calm.
                Action::Restore { .. } | Action::Start { .. } | Action::SetClock { .. } => self.act(action)?,
                Action::Kill { .. }
                | Action::KillAt { .. }
                | Action::BackUp { .. }
                | Action::Fill { .. }
                | Action::Disturb { .. }
                | Action::Heal { .. } => {}
            }
        }
        for (a, b) in self.plan.lines() {
            self.heal(&a, &b);
        }
        for region in self.cast.regions.values() {
            region.clock.set_wrong_by(0);
            region.fate.spare();
        }
        self.cast.calm.cancel();
        self.truth.note("calm", "");
        Ok(())
    }
}
