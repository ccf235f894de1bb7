//! A region whose policy file is exchanged while it runs, and requesters that say who they are.

use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::sync::mpsc;
use tonic::Request;
use vigil_base::{Clock, SimClock};
use vigil_policy::{Asker, Clearance, Policy};
use vigil_proto::v1;
use vigil_region::config::IndexConfig;
use vigil_region::{RegionConfig, RegionServer, load_policy};
use vigil_serve::{Access, Reloads};

use super::afternoon;
use super::server::{TestRegion, eventually};

/// Who asks, as it says itself: the regions of these tests ask for no certificates.
#[derive(Debug, Clone, Copy, Default)]
pub struct Who {
    pub subject: &'static str,
    pub purpose: bool,
    pub case: bool,
}

impl Who {
    pub fn named(subject: &'static str) -> Self {
        Self { subject, ..Self::default() }
    }

    /// The question as this requester asks it.
    pub fn asks<T>(self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let given = |is_given: bool, text: &str| is_given.then(|| text.to_owned());
        let access = Access {
            purpose: given(self.purpose, "a lost child"),
            case: given(self.case, "2026/417"),
            on_behalf_of: given(!self.subject.is_empty(), self.subject),
        };
        access.write(request.metadata_mut());
        request
    }

    /// What the policy says of it, read rule by rule.
    pub fn clearance(self, policy: &Arc<Policy>, now: vigil_base::Timestamp) -> Clearance {
        let subject = if self.subject.is_empty() { "anonymous" } else { self.subject };
        let asker = Asker { subject, has_purpose: self.purpose, has_case: self.case, ..Asker::default() };
        policy.clearance(&asker, now)
    }
}

/// A region with a configuration file and a policy beside it.
pub struct Guarded {
    pub region: TestRegion,
    pub clock: Arc<SimClock>,
    folder: TempDir,
    requests: mpsc::Sender<()>,
}

impl Guarded {
    /// With this policy, over that index.
    pub async fn start(policy: &str, index: Option<IndexConfig>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("region.toml");
        let config = "region_id = 'north'\nlisten = '127.0.0.1:0'\nops_listen = '127.0.0.1:0'\ndata_dir = 'data'\npolicy = 'policy.toml'\n";
        std::fs::write(&file, config).unwrap();
        std::fs::write(folder.path().join("policy.toml"), policy).unwrap();
        let running = RegionConfig::load(&file).unwrap();
        let clock = afternoon();
        let started = RegionConfig { index: index.unwrap_or_else(|| running.index.clone()), ..running.clone() };
        let mut server = RegionServer::start_at(started, clock.clone()).await.unwrap();
        let (requests, receiver) = mpsc::channel(1);
        server.follow(running, Reloads { file, requests: receiver });
        Self { region: TestRegion::serving(server).await, clock, folder, requests }
    }

    pub fn policy_file(&self) -> PathBuf {
        self.folder.path().join("policy.toml")
    }

    pub fn now(&self) -> vigil_base::Timestamp {
        self.clock.now()
    }

    /// Has the region read this policy, which may be wrong.
    pub async fn offer(&self, policy: &str) {
        std::fs::write(self.policy_file(), policy).unwrap();
        self.offer_what_is_there().await;
    }

    /// Has it read what the files say now.
    pub async fn offer_what_is_there(&self) {
        self.requests.send(()).await.unwrap();
    }

    pub fn rewrite_config(&self, change: impl FnOnce(String) -> String) {
        let file = self.folder.path().join("region.toml");
        std::fs::write(&file, change(std::fs::read_to_string(&file).unwrap())).unwrap();
    }

    /// The same, and it is followed.
    pub async fn change(&self, policy: &str) -> Arc<Policy> {
        self.offer(policy).await;
        let loaded = load_policy(&self.policy_file()).unwrap();
        eventually("the new policy is followed", async || {
            (self.region.status().await.policy == loaded.version()).then_some(())
        })
        .await;
        loaded
    }

    /// What the policy keeps back of a search without conditions.
    pub async fn kept_back(&self, who: Who) -> Option<v1::WithheldReport> {
        let answer = self.region.query().search(who.asks(v1::SearchRequest::default())).await.unwrap().into_inner();
        answer.regions[0].withheld.clone()
    }
}
