//! The region's edges: which are connected, how fresh each is, and which stay away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use vigil_base::{EdgeId, SharedClock, Timestamp};
use vigil_proto::convert::time_to_wire;
use vigil_proto::v1;
use vigil_serve::{ErrorCode, ServiceError};

use crate::index::{EdgeRecord, Index, Result};
use crate::replica;
use crate::retention::EdgesTime;
use crate::telemetry::Telemetry;

/// An edge that stays connected is written down this often, so that a region that dies knows roughly since when it
/// misses it.
pub(crate) const SAVE_EVERY: Duration = Duration::from_mins(1);

/// What an edge said of itself when it connected.
#[derive(Debug, Clone)]
pub(crate) struct Introduction {
    pub(crate) edge: EdgeId,
    /// UUID of its installation.
    pub(crate) instance: String,
    pub(crate) software_version: String,
}

/// What an edge said in a heartbeat, checked.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    pub(crate) edge_time: Timestamp,
    pub(crate) complete_until: Option<Timestamp>,
    pub(crate) backlog: u64,
    pub(crate) cameras: Vec<v1::CameraHealth>,
}

/// How much of what the edges made the region can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// Everything the connected edges made before this is in the index; none when one has not said, or none is
    /// connected.
    pub(crate) complete_until: Option<Timestamp>,
    pub(crate) edges_offline: u32,
}

#[derive(Debug)]
struct EdgeState {
    record: EdgeRecord,
    saved: Timestamp,
    backlog: u64,
    clock_offset_ms: i64,
    cameras: Vec<v1::CameraHealth>,
    session: Option<Session>,
}

/// Of so many clocks one that is wrong does not move the median away from the others.
const NONE_ALONE: usize = 3;

#[derive(Debug)]
struct Session {
    number: u64,
    ended: CancellationToken,
    /// The time by the edge's clock, and when (monotonic) it said so.
    told_time: Option<(Timestamp, Duration)>,
}

#[derive(Debug, Default)]
struct States {
    edges: BTreeMap<EdgeId, EdgeState>,
    sessions_begun: u64,
}

/// All edges that were ever connected and are not forgotten.
pub(crate) struct Edges {
    states: Mutex<States>,
    index: Arc<dyn Index>,
    max_connected: usize,
    clock: SharedClock,
    /// They connect to another process, which writes down how they are.
    is_replica: bool,
    /// Told of each connection whose edge has said for the first time what time it is.
    has_told_time: Notify,
}

impl Edges {
    /// The edges that the index remembers, none of them connected.
    pub(crate) async fn load(
        index: Arc<dyn Index>,
        max_connected: usize,
        clock: SharedClock,
        is_replica: bool,
    ) -> Result<Arc<Self>> {
        let has_told_time = Notify::new();
        let edges = Self { states: Mutex::default(), index, max_connected, clock, is_replica, has_told_time };
        edges.read_again().await?;
        Ok(Arc::new(edges))
    }

    /// Takes them as they are written down now; for a replica.
    pub(crate) async fn read_again(&self) -> Result<()> {
        let records = self.index.edges().await?;
        let known = records.into_iter().map(|record| (record.id.clone(), EdgeState::offline(record)));
        self.states.lock().edges = known.collect();
        Ok(())
    }

    /// Lets an edge in. Another installation with the same id is refused while this one is connected; the same
    /// installation, whose old connection is dead but not yet noticed, takes the place of its old self.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        introduction: &Introduction,
        telemetry: &Telemetry,
    ) -> std::result::Result<EdgeSession, ServiceError> {
        let (session, record, was_replaced) = self.begin_session(introduction)?;
        if was_replaced {
            telemetry.edge_replaced(&introduction.edge);
        }
        // Remembering it can fail while the disk is full; its batches then fail too, and say so.
        if let Err(error) = self.index.save_edge(record).await {
            tracing::warn!(edge = %introduction.edge, %error, "the edge could not be written down");
        }
        Ok(session)
    }

    fn begin_session(
        self: &Arc<Self>,
        introduction: &Introduction,
    ) -> std::result::Result<(EdgeSession, EdgeRecord, bool), ServiceError> {
        let Introduction { edge, instance, software_version } = introduction;
        let now = self.clock.now();
        let mut states = self.states.lock();
        let connected = states.edges.values().filter(|state| state.session.is_some()).count();
        let current = states.edges.get(edge);
        let known_until = current.and_then(|state| state.record.complete_until);
        // Until it says what time it is: see EdgeState::see.
        let last_seen = current.map_or(now, |state| state.record.last_seen.max(now));
        let is_connected = current.is_some_and(|state| state.session.is_some());
        let is_other = current.is_some_and(|state| state.record.instance != *instance);
        if is_connected && is_other {
            let message =
                format!("edge_id {edge} is connected from another installation; give each edge an id of its own");
            return Err(ServiceError::new(ErrorCode::AlreadyExists, message));
        }
        if !is_connected && connected >= self.max_connected {
            let message = format!("{connected} edges are connected; this region takes no more");
            return Err(ServiceError::new(ErrorCode::LimitReached, message));
        }
        states.sessions_begun += 1;
        let number = states.sessions_begun;
        let ended = CancellationToken::new();
        // What another installation delivered says nothing about this one.
        let complete_until = known_until.filter(|_| !is_other);
        let record = EdgeRecord {
            id: edge.clone(),
            instance: instance.clone(),
            software_version: software_version.clone(),
            last_seen,
            complete_until,
        };
        let session = Session { number, ended: ended.clone(), told_time: None };
        let state = EdgeState { saved: now, session: Some(session), ..EdgeState::offline(record.clone()) };
        if let Some(Session { ended, .. }) = states.edges.insert(edge.clone(), state).and_then(|old| old.session) {
            ended.cancel();
        }
        drop(states);
        Ok((EdgeSession { edges: Arc::clone(self), edge: edge.clone(), number, superseded: ended }, record, is_other))
    }

    /// See [`Freshness`].
    pub(crate) fn freshness(&self) -> Freshness {
        let states = self.states.lock();
        if self.is_replica {
            let records: Vec<&EdgeRecord> = states.edges.values().map(|state| &state.record).collect();
            return replica::freshness(&records, self.clock.now());
        }
        let (connected, offline): (Vec<_>, Vec<_>) = states.edges.values().partition(|state| state.session.is_some());
        let untold = connected.iter().any(|state| state.record.complete_until.is_none());
        let least = connected.iter().filter_map(|state| state.record.complete_until).min();
        Freshness {
            complete_until: least.filter(|_| !untold),
            edges_offline: u32::try_from(offline.len()).unwrap_or(u32::MAX),
        }
    }

    /// What time it is by the clocks of the connected edges; none where no edge has said.
    pub(crate) fn time(&self) -> Option<EdgesTime> {
        let monotonic = self.clock.monotonic();
        let states = self.states.lock();
        let told = states.edges.values().filter_map(|state| state.session.as_ref()?.told_time);
        let mut times: Vec<Timestamp> = told.map(|(time, at)| time + monotonic.saturating_sub(at)).collect();
        let middle = times.len() / 2;
        (!times.is_empty()).then(|| EdgesTime { median: *times.select_nth_unstable(middle).1, edges: times.len() })
    }

    /// The latest that it may be now: by the region's clock, or by most edges' where that is later and none of them decides alone.
    pub(crate) fn latest_now(&self) -> Timestamp {
        let now = self.clock.now();
        self.time().filter(|told| told.edges >= NONE_ALONE).map_or(now, |told| now.max(told.median))
    }

    /// Waits until an edge that has connected says what time it is; for one who waits.
    pub(crate) async fn time_is_told(&self) {
        self.has_told_time.notified().await;
    }

    /// Every edge, in order of its id.
    pub(crate) fn statuses(&self) -> Vec<v1::EdgeStatus> {
        let now = self.clock.now();
        let seen = |state: &EdgeState| self.is_replica && !replica::is_away(&state.record, now);
        let states = self.states.lock();
        states
            .edges
            .values()
            .map(|state| v1::EdgeStatus { connected: state.session.is_some() || seen(state), ..state.status() })
            .collect()
    }

    /// Forgets edges that were last seen before `older_than`: retention has removed all they sent.
    pub(crate) async fn forget_unseen(&self, older_than: Timestamp) -> Result<()> {
        let is_old = |state: &EdgeState| state.session.is_none() && state.record.last_seen < older_than;
        let old: Vec<EdgeId> =
            self.states.lock().edges.values().filter(|state| is_old(state)).map(|s| s.record.id.clone()).collect();
        for edge in old {
            self.index.forget_edge(edge.clone()).await?;
            let mut states = self.states.lock();
            if states.edges.get(&edge).is_some_and(is_old) {
                states.edges.remove(&edge);
            }
        }
        Ok(())
    }
}

impl EdgeState {
    fn offline(record: EdgeRecord) -> Self {
        let saved = record.last_seen;
        Self { record, saved, backlog: 0, clock_offset_ms: 0, cameras: Vec::new(), session: None }
    }

    /// Notes that the edge is here, by the later of the region's clock and its own: one that is written down by a clock that is years
    /// behind would be forgotten when that is set right, and answers would not say that it is away.
    fn see(&mut self, now: Timestamp, monotonic: Duration) {
        let told = self.session.as_ref().and_then(|session| session.told_time);
        let told = told.map(|(time, at)| time + monotonic.saturating_sub(at));
        self.record.last_seen = told.map_or(now, |told| told.max(now));
    }

    fn status(&self) -> v1::EdgeStatus {
        v1::EdgeStatus {
            edge_id: self.record.id.to_string(),
            connected: self.session.is_some(),
            software_version: self.record.software_version.clone(),
            last_seen_time: Some(time_to_wire(self.record.last_seen)),
            complete_until: self.record.complete_until.map(time_to_wire),
            backlog: self.backlog,
            clock_offset_ms: self.clock_offset_ms,
            cameras: self.cameras.clone(),
        }
    }
}

/// One connection of an edge. Dropping it marks the edge as not connected.
pub(crate) struct EdgeSession {
    edges: Arc<Edges>,
    edge: EdgeId,
    number: u64,
    /// The same installation has connected again.
    pub(crate) superseded: CancellationToken,
}

impl EdgeSession {
    /// Notes that the edge sent something.
    pub(crate) fn seen(&self) {
        let (now, at) = (self.edges.clock.now(), self.edges.clock.monotonic());
        self.change(|state| state.see(now, at));
    }

    /// Notes what the edge said of itself, and now and then writes it down.
    pub(crate) async fn heartbeat(&self, heartbeat: Heartbeat) {
        let (now, at) = (self.edges.clock.now(), self.edges.clock.monotonic());
        let to_save = self.change(|state| {
            // A clock that is ahead must not claim events that are not made yet.
            state.record.complete_until = heartbeat.complete_until.map(|until| until.min(now));
            state.backlog = heartbeat.backlog;
            state.clock_offset_ms = (heartbeat.edge_time.as_micros() - now.as_micros()) / 1_000;
            state.cameras = heartbeat.cameras;
            let told_before = state.session.as_mut().and_then(|own| own.told_time.replace((heartbeat.edge_time, at)));
            let is_first = told_before.is_none();
            if is_first {
                self.edges.has_told_time.notify_one();
            }
            state.see(now, at);
            let is_due = is_first || now.since(state.saved) >= SAVE_EVERY || now < state.saved;
            is_due.then(|| {
                state.saved = now;
                state.record.clone()
            })
        });
        if let Some(record) = to_save.flatten() {
            self.save(record).await;
        }
    }

    /// Ends the session in order: the edge is written down as last seen now.
    pub(crate) async fn close(self) {
        let record = self.change(|state| state.record.clone());
        if let Some(record) = record {
            self.save(record).await;
        }
    }

    async fn save(&self, record: EdgeRecord) {
        if let Err(error) = self.edges.index.save_edge(record).await {
            tracing::warn!(edge = %self.edge, %error, "the edge could not be written down");
        }
    }

    /// Changes the edge's state while this is its session.
    fn change<T>(&self, change: impl FnOnce(&mut EdgeState) -> T) -> Option<T> {
        let mut states = self.edges.states.lock();
        let state = states.edges.get_mut(&self.edge)?;
        let is_current = state.session.as_ref().is_some_and(|session| session.number == self.number);
        is_current.then(|| change(state))
    }
}

impl Drop for EdgeSession {
    fn drop(&mut self) {
        self.change(|state| state.session = None);
    }
}
