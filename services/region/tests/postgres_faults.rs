//! The database server dies, restarts and turns read-only under a region that runs: nothing that was acknowledged is lost, and
//! the region goes on when the server does.
#![allow(clippy::unwrap_used)] // Helpers of tests.

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vigil_base::SystemClock;
use vigil_base::event::Event;
use vigil_proto::convert::Filter;
use vigil_proto::v1::{EventFilter, SearchRequest};
use vigil_region::RegionConfig;
use vigil_region::config::IndexConfig;
use vigil_region::index::postgres::{PostgresConfig, PostgresIndex};
use vigil_region::index::{
    CommitFeed, CommitSeq, EventSearch, EventWriter, IndexError, IndexStatus, NewRevision, SearchQuery, StoreOutcome,
};

use common::postgres::PostgresServer;
use common::server::{TestRegion, eventually};
use common::{NOON, afternoon, event, region, secs};

const PUBLISHERS: u64 = 3;
const BATCH: u64 = 40;
const CRASHES: u64 = 4;
/// Batches that each publisher must have had acknowledged between two crashes.
const BETWEEN: u64 = 8;

/// Publishes until told to end, each batch again and again until it is acknowledged; returns what was.
async fn publish(
    index: Arc<PostgresIndex>,
    number: u64,
    done: watch::Sender<u64>,
    end: watch::Receiver<bool>,
) -> Vec<Event> {
    let mut acknowledged = Vec::new();
    while !*end.borrow() {
        let first = number * 1_000_000 + acknowledged.len() as u64;
        let batch: Vec<Event> = (first..first + BATCH).map(|i| event(secs(i % 3_000))).collect();
        loop {
            let revisions = batch.iter().map(|event| NewRevision::new(event.clone(), Bytes::new())).collect();
            match index.commit(revisions).await {
                Ok(outcomes) => {
                    assert!(
                        !outcomes.iter().any(|outcome| matches!(outcome, StoreOutcome::Rejected(_))),
                        "{outcomes:?}"
                    );
                    break;
                }
                Err(IndexError::Unreachable { .. } | IndexError::Taken { .. }) => tokio::task::yield_now().await,
                Err(other) => panic!("{other:?}"),
            }
        }
        acknowledged.extend(batch);
        done.send_modify(|batches| *batches += 1);
    }
    acknowledged
}

async fn all_ids(index: &PostgresIndex) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let query = SearchQuery { filter: Filter::default(), after, max_events: 1_000 };
        let page = index.search(query).await.unwrap();
        found.extend(page.events.into_iter().map(|event| event.event_id));
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}

/// Publishers that go on whatever happens to the server.
struct Publishing {
    index: Arc<PostgresIndex>,
    end: watch::Sender<bool>,
    publishers: Vec<JoinHandle<Vec<Event>>>,
    progress: Vec<watch::Receiver<u64>>,
}

impl Publishing {
    fn start(config: &PostgresConfig) -> Self {
        let index = Arc::new(PostgresIndex::open(config, SystemClock::shared()).unwrap());
        let (end, ended) = watch::channel(false);
        let (publishers, progress) = (0..PUBLISHERS)
            .map(|number| {
                let (done, batches) = watch::channel(0);
                (tokio::spawn(publish(Arc::clone(&index), number, done, ended.clone())), batches)
            })
            .unzip();
        Self { index, end, publishers, progress }
    }

    /// Waits until each publisher had so many more batches acknowledged than any has now.
    async fn until_more(&mut self, more: u64) {
        let enough = more + self.progress.iter().map(|batches| *batches.borrow()).max().unwrap_or(0);
        for batches in &mut self.progress {
            let enough = batches.wait_for(|batches| *batches >= enough);
            tokio::time::timeout(Duration::from_mins(2), enough).await.expect("the region did not go on").unwrap();
        }
    }

    /// Ends them; what was acknowledged is found, each event once. The ids.
    async fn count(self) -> BTreeSet<String> {
        self.end.send_replace(true);
        let mut sent = BTreeSet::new();
        for publisher in self.publishers {
            sent.extend(publisher.await.unwrap().into_iter().map(|event| event.id.to_string()));
        }
        let found = eventually("the region answers", || async { self.index.stats().await.ok() }).await.events;
        assert_eq!(found, sent.len() as u64, "every batch was acknowledged in the end, and counts once");
        let ids = all_ids(&self.index).await;
        assert_eq!(ids.len(), sent.len(), "nothing is found twice");
        assert_eq!(ids.into_iter().collect::<BTreeSet<_>>(), sent);
        sent
    }
}

/// The feed of an index that is opened anew has each event once.
async fn assert_feed(config: &PostgresConfig, sent: &BTreeSet<String>) {
    let index = PostgresIndex::open(config, SystemClock::shared()).unwrap();
    let mut after = CommitSeq(0);
    let mut delivered = BTreeSet::new();
    while after < *index.latest().borrow() {
        let page = index.read(after, Arc::new(Filter::default()), 1_000).await.unwrap();
        for item in page.items {
            assert!(item.seq > after && delivered.insert(item.event.event_id), "commit numbers were given twice");
            after = item.seq;
        }
        after = page.through;
    }
    assert_eq!(&delivered, sent, "the feed has each event once");
}

async fn a_server_that_crashes_during_ingest_loses_nothing_that_was_acknowledged(server: &PostgresServer) {
    let config = server.config("crashes");
    let mut publishing = Publishing::start(&config);
    for _ in 0..CRASHES {
        publishing.until_more(BETWEEN).await;
        server.crash();
        let index = &publishing.index;
        let error = eventually("the region notices", || async { index.stats().await.err() }).await;
        assert!(matches!(error, IndexError::Unreachable { .. }), "{error:?}");
        server.restart();
    }
    let sent = publishing.count().await;
    assert_feed(&config, &sent).await;
}

/// The primary is gone for good while events come in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_has_all_that_was_acknowledged_and_the_region_finds_it() {
    let primary = PostgresServer::start(&[]);
    let standby = primary.standby();
    let config = primary.config_with(&standby, "promoted");
    let mut publishing = Publishing::start(&config);
    publishing.until_more(BETWEEN).await;
    let (before, place) = (publishing.index.lineage(), *publishing.index.latest().borrow());
    primary.crash();
    let index = &publishing.index;
    let error = eventually("the region notices", || async { index.stats().await.err() }).await;
    assert!(matches!(error, IndexError::Unreachable { .. } | IndexError::ReadOnly { .. }), "{error:?}");
    standby.promote();
    publishing.until_more(BETWEEN).await;
    // Another server is another start, and who read what was acknowledged stands where they stood.
    let now = publishing.index.lineage();
    assert_ne!(now, before);
    assert_eq!(now.shared(before.locator(), place), Some(place));
    let sent = publishing.count().await;
    assert_feed(&config, &sent).await;
}

async fn a_server_that_turns_read_only_is_said_to_be_read_only(server: &PostgresServer) {
    let config = server.config("standby");
    let index = PostgresIndex::open(&config, SystemClock::shared()).unwrap();
    let store = || index.commit(vec![NewRevision::new(event(NOON), Bytes::new())]);
    store().await.unwrap();
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on");
    server.sql("SELECT pg_reload_conf()");
    let error = eventually("the server turns read-only", || async { store().await.err() }).await;
    assert!(matches!(error, IndexError::ReadOnly { .. }), "{error:?}");
    assert!(index.stats().await.is_ok(), "questions are answered all the same");
    server.sql("ALTER SYSTEM RESET default_transaction_read_only");
    server.sql("SELECT pg_reload_conf()");
    eventually("the server can be written again", || async { store().await.ok() }).await;
}

/// The whole region over this engine: chosen by its configuration, it says that its database is away, and comes back with it.
async fn a_region_tells_that_its_database_is_away_and_comes_back_with_it(server: &PostgresServer) {
    let temp = tempfile::tempdir().unwrap();
    let index = IndexConfig::Postgres(server.config("whole"));
    let config = RegionConfig { index, ..RegionConfig::local(region(), temp.path()) };
    let served = TestRegion::start_with(config, afternoon()).await;
    let mut edge = served.edge("edge-1").await;
    edge.publish(&[event(NOON)]).await;
    assert_eq!(served.search_all(EventFilter::default(), 10).await.len(), 1);
    server.crash();
    let sent = event(secs(1));
    edge.send(vec![common::server::record(&sent)]).await;
    let refused = edge.ack().await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("database cannot be reached"), "{refused:?}");
    let asked = served.query().search(SearchRequest::default()).await.unwrap_err();
    assert_eq!(asked.code(), tonic::Code::Unavailable, "{asked:?}");
    server.restart();
    let again = || async {
        let mut edge = served.edge_instance("edge-1", &edge_instance()).await.ok()?;
        edge.send(vec![common::server::record(&sent)]).await;
        edge.ack().await.ok()
    };
    eventually("the edge's batch is taken", again).await;
    assert_eq!(served.search_all(EventFilter::default(), 10).await.len(), 2);
    served.stop().await;
}

fn edge_instance() -> String {
    vigil_base::InstanceId::random().to_string()
}

/// One server, one test at a time: each takes it away from all others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_of_the_server() {
    let server = PostgresServer::start(&[]);
    a_server_that_crashes_during_ingest_loses_nothing_that_was_acknowledged(&server).await;
    a_server_that_turns_read_only_is_said_to_be_read_only(&server).await;
    a_region_tells_that_its_database_is_away_and_comes_back_with_it(&server).await;
}
