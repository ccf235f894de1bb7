//! Kill -9 the region under load, again and again, then count: every event that was acknowledged is found, exactly
//! once.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use vigil_base::event::Event;
use vigil_base::{EdgeId, InstanceId};
use vigil_proto::v1;
use vigil_region::{RegionConfig, RegionServer};

use common::server::{Edge, TestRegion, connect, hello, record};
use common::{afternoon, ended, event, region, secs};

/// Set for the process that is the region: its data folder.
const CHILD: &str = "VIGIL_REGION_KILL_CHILD";
const ROUNDS: u64 = 6;
const EDGES: u64 = 3;
const BATCH: u64 = 25;
/// Batches that an edge sends before it waits for the first acknowledgement.
const WINDOW: usize = 3;

/// The child: a region that prints its address and serves until it is killed.
fn serve_until_killed(data_dir: &Path) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server =
        runtime.block_on(RegionServer::start_at(RegionConfig::local(region(), data_dir), afternoon())).unwrap();
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nserves {}", server.grpc_address()).unwrap();
    out.flush().unwrap();
    runtime.block_on(std::future::pending::<()>());
}

struct RegionProcess {
    child: Child,
    address: String,
}

impl RegionProcess {
    fn start(data_dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill_9_of_the_region_loses_and_repeats_nothing", "--nocapture"])
            .env(CHILD, data_dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.map_while(Result::ok).find_map(|line| line.strip_prefix("serves ").map(str::to_owned));
        Self { child, address: format!("http://{}", address.expect("the region did not start")) }
    }

    /// SIGKILL: nothing of the process runs after this.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// An edge that keeps what is not acknowledged and sends it again, as an outbox does.
struct Sender {
    edge: String,
    instance: String,
    unacknowledged: Vec<Vec<Event>>,
    /// The last acknowledged revision of each event.
    acknowledged: BTreeMap<String, u32>,
    made: u64,
}

impl Sender {
    fn new(number: u64) -> Self {
        Self {
            edge: format!("edge-{number}"),
            instance: InstanceId::random().to_string(),
            unacknowledged: Vec::new(),
            acknowledged: BTreeMap::new(),
            made: 0,
        }
    }

    /// New events, and the ends of some of the batch before.
    fn make_batch(&mut self) -> Vec<Event> {
        let edge = EdgeId::new(&self.edge).unwrap();
        let grown: Vec<Event> = self.unacknowledged.last().into_iter().flatten().step_by(3).map(ended).collect();
        self.made += BATCH;
        let new = (0..BATCH).map(|i| Event { edge: edge.clone(), ..event(secs((self.made + i) % 3_000)) });
        grown.into_iter().chain(new).collect()
    }

    /// Publishes until `acknowledgements` came, or the region dies.
    async fn publish(&mut self, address: &str, acknowledgements: usize) {
        let Ok(mut stream) = Edge::connect(connect(address).await, hello(&self.edge, &self.instance)).await else {
            return;
        };
        for batch in &self.unacknowledged {
            stream.send(batch.iter().map(record).collect()).await;
        }
        for _ in 0..acknowledgements {
            while self.unacknowledged.len() < WINDOW {
                let batch = self.make_batch();
                stream.send(batch.iter().map(record).collect()).await;
                self.unacknowledged.push(batch);
            }
            let Ok(ack) = stream.ack().await else { return };
            assert!(ack.rejections.is_empty(), "{ack:?}");
            for event in self.unacknowledged.remove(0) {
                let known = self.acknowledged.entry(event.id.to_string()).or_default();
                *known = event.revision.max(*known);
            }
        }
    }
}

#[tokio::test]
async fn kill_9_of_the_region_loses_and_repeats_nothing() {
    if let Some(data_dir) = std::env::var_os(CHILD) {
        let child = move || serve_until_killed(Path::new(&data_dir));
        tokio::task::spawn_blocking(child).await.unwrap();
        return;
    }
    let temp = tempfile::tempdir().unwrap();
    let mut senders: Vec<Sender> = (0..EDGES).map(Sender::new).collect();
    for round in 0..ROUNDS {
        let process = RegionProcess::start(temp.path());
        let address = process.address.clone();
        let publishing = senders.into_iter().enumerate().map(|(i, mut sender)| {
            let address = address.clone();
            // The first goes on until the region dies; the others are somewhere in between.
            let acknowledgements = if i == 0 { usize::MAX } else { 40 };
            tokio::spawn(async move {
                sender.publish(&address, acknowledgements).await;
                sender
            })
        });
        let mut publishing: Vec<_> = publishing.collect();
        // Killed when the last edge has had its acknowledgements, while the first is in the middle of some batch.
        let last = publishing.pop().unwrap().await.unwrap();
        process.kill();
        let mut back = vec![last];
        for task in publishing {
            back.push(task.await.unwrap());
        }
        senders = back;
        count(temp.path(), &senders, round).await;
    }
}

/// Every acknowledged event is found once, in its acknowledged revision or a later one; nothing is found that was not
/// sent.
async fn count(data_dir: &Path, senders: &[Sender], round: u64) {
    let region = TestRegion::start(data_dir).await;
    let mut found = BTreeMap::new();
    for event in region.search_all(v1::EventFilter::default(), 1_000).await {
        let twice = found.insert(event.event_id.clone(), event.revision);
        assert_eq!(twice, None, "{} was found twice", event.event_id);
    }
    assert_eq!(region.status().await.events, found.len() as u64);
    let mut acknowledged = 0;
    for sender in senders {
        acknowledged += sender.acknowledged.len();
        for (id, revision) in &sender.acknowledged {
            let stored = found.get(id).unwrap_or_else(|| panic!("round {round}: {id} was acknowledged and is gone"));
            assert!(stored >= revision, "round {round}: {id} went back from revision {revision} to {stored}");
        }
    }
    let under_way: usize = senders.iter().flat_map(|s| &s.unacknowledged).map(Vec::len).sum();
    assert!(found.len() <= acknowledged + under_way, "more was found than was sent");
    assert!(acknowledged > 500, "too little was acknowledged to count");
    region.stop().await;
}
