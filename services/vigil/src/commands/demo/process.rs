//! The demo's processes: started in order, watched, ended in order.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tonic::transport::Endpoint;

use super::plan::{Plan, ProcessPlan};

/// How long a process may take until it serves: a cold start loads a model and opens a database.
const READY: Duration = Duration::from_secs(60);
/// Between two questions whether it does.
const POLL: Duration = Duration::from_millis(100);
/// How long an orderly end may take before it is forced.
const END: Duration = Duration::from_secs(15);

struct Running {
    name: String,
    log: std::path::PathBuf,
    child: Child,
}

/// Running processes, killed when dropped.
pub struct Processes(Vec<Running>);

impl Processes {
    /// Starts each process of `plan` and waits until it serves.
    pub async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let mut processes = Self(Vec::new());
        for process in &plan.processes {
            processes.0.push(spawn(process)?);
            tokio::select! {
                ready = serves(process) => ready?,
                died = processes.first_death() => return Err(died),
            }
        }
        Ok(processes)
    }

    /// Waits until some process ends, which none should.
    pub async fn first_death(&mut self) -> anyhow::Error {
        let deaths = self.0.iter_mut().map(|running| {
            let name = running.name.clone();
            let log = running.log.clone();
            Box::pin(async move {
                let status = running.child.wait().await;
                let text = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                anyhow!("{name} ended ({text}): {}", last_line(&log))
            })
        });
        let deaths: Vec<_> = deaths.collect();
        if deaths.is_empty() {
            return std::future::pending().await;
        }
        futures::future::select_all(deaths).await.0
    }

    /// Ends all, the last started first, so that edges hand over their last events.
    pub async fn stop(mut self) {
        for running in self.0.iter_mut().rev() {
            if let Some(pid) = running.child.id() {
                let _ = kill(Pid::from_raw(pid.cast_signed()), Signal::SIGTERM);
            }
            if tokio::time::timeout(END, running.child.wait()).await.is_err() {
                tracing::warn!(process = %running.name, "did not end in time and is killed");
                let _ = running.child.kill().await;
            }
        }
    }
}

fn spawn(process: &ProcessPlan) -> anyhow::Result<Running> {
    let log = File::create(&process.log).with_context(|| format!("cannot write {}", process.log.display()))?;
    let program = std::env::current_exe().context("this program's own path")?;
    let mut command = Command::new(program);
    command.arg(process.command).arg("--config").arg(&process.config);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    let child = command.spawn().with_context(|| format!("cannot start {}", process.name))?;
    Ok(Running { name: process.name.clone(), log: process.log.clone(), child })
}

async fn serves(process: &ProcessPlan) -> anyhow::Result<()> {
    let endpoint = Endpoint::from_shared(format!("http://{}", process.address))?.connect_timeout(POLL);
    let ready = async {
        while endpoint.connect().await.is_err() {
            tokio::time::sleep(POLL).await;
        }
    };
    let late = || format!("{} does not serve after {READY:?}: {}", process.name, last_line(&process.log));
    tokio::time::timeout(READY, ready).await.with_context(late)
}

/// What a process said last, for the message about its end.
fn last_line(log: &std::path::Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it logged nothing").to_owned()
}
