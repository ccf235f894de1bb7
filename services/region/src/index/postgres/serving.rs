//! The one task that writes.
//!
//! It commits in groups: while one is written, those who come meanwhile are gathered behind it, and what is stored of their
//! events is looked up over a second connection, so that the server goes from one group to the next. A lost connection is made
//! anew, with the lock, for as long as the index is open; until then publishers are told that the server cannot be reached, and
//! keep their events. A commit whose answer was lost with the connection may have been made: the publisher sends again, and what
//! is there is a duplicate.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use vigil_base::SharedClock;
use vigil_serve::error::chain;

use super::commit::{Committer, Written};
use super::connect::Connection;
use super::days::MAKE_AHEAD_EVERY;
use super::decide::Decided;
use super::failure::Failure;
use super::group::Group;
use super::schema::{Opened, Upgrade};
use super::session::{GRACE, Session, make_days, unreachable, within};
use super::writer::{Changing, Request};
use super::{PostgresConfig, Shared};
use crate::index::group::Batch;
use crate::index::tail::LiveTail;
use crate::index::{IndexError, Result};

/// When a lost server is looked for again.
const RETRY: Duration = Duration::from_secs(1);

/// The task's state.
pub(super) struct Serving {
    config: PostgresConfig,
    shared: Arc<Shared>,
    /// The connections, or why there are none.
    session: Result<Session>,
    committer: Committer,
    tail: Arc<LiveTail>,
    clock: SharedClock,
}

/// What was gathered while a group was written.
struct Gathered {
    group: Group,
    /// What came that is no batch: it is done after the group.
    other: Option<Request>,
    /// Batches that could not be looked up.
    failed: Option<(Option<Failure>, Vec<Batch>)>,
}

impl Serving {
    pub(super) fn new(
        config: PostgresConfig,
        shared: Arc<Shared>,
        session: Session,
        opened: Opened,
        tail: Arc<LiveTail>,
        clock: SharedClock,
    ) -> Self {
        let committer =
            Committer::new(&config.region, Arc::clone(&shared), Arc::clone(&tail), SharedClock::clone(&clock), opened);
        Self { config, shared, session: Ok(session), committer, tail, clock }
    }

    /// Until all handles are gone and all that waits is done.
    pub(super) async fn serve(mut self, mut requests: mpsc::Receiver<Request>) {
        let (mut retries, mut ahead) = (interval(RETRY), interval(MAKE_AHEAD_EVERY));
        let mut next = None;
        loop {
            let request = if next.is_some() {
                next.take()
            } else {
                // In this order: who publishes again and again must not keep a lost server from being looked for.
                tokio::select! {
                    biased;
                    () = lost(&self.session) => {
                        self.lose(unreachable(&self.shared, "the connection was lost"));
                        continue;
                    }
                    _ = retries.tick(), if self.session.is_err() => {
                        self.reconnect().await;
                        continue;
                    }
                    _ = ahead.tick() => {
                        self.make_days_ahead().await;
                        continue;
                    }
                    request = requests.recv() => request,
                }
            };
            match request {
                None => break,
                Some(Request::Task(task)) => task(&mut self).await,
                Some(Request::Commit(batch)) => next = Box::pin(self.commit_from(batch, &mut requests)).await,
            }
        }
        if let Ok(session) = self.session {
            session.give_back().await;
        }
    }

    async fn make_days_ahead(&self) {
        let Ok(session) = &self.session else { return };
        if let Err(error) = make_days(&session.writing, &self.shared, self.clock.now()).await {
            tracing::warn!(%error, "the index's next days could not be made; they are made when events come");
        }
    }

    async fn reconnect(&mut self) {
        let upgrade = Upgrade { migrate: false, citus: false };
        match Session::begin(&self.config, &self.shared, upgrade, self.clock.now()).await {
            Ok((session, opened, lineage)) => {
                tracing::info!(index = session.writing.index_name(), "the index's database is back");
                self.session = Ok(session);
                self.tail.begin(lineage);
                self.committer.stand_at(opened);
            }
            Err(error) => {
                tracing::debug!(error = %chain(&error), "the index's database is not back yet");
                self.session = Err(error);
            }
        }
    }

    fn lose(&mut self, error: IndexError) {
        tracing::error!(error = %chain(&error), "the index's database is lost; it is looked for again and again");
        self.session = Err(error);
    }

    /// Commits a batch, those that wait behind it and those that come meanwhile, until none does; what came that is no batch.
    async fn commit_from(&mut self, first: Batch, requests: &mut mpsc::Receiver<Request>) -> Option<Request> {
        let mut group = Group::after(self.committer.latest());
        // Those that wait behind it are decided about while it is written: together they would wait for that first.
        let (mut undecided, mut other) = (vec![first], None);
        loop {
            if !undecided.is_empty() {
                self.look_up(&mut group, undecided).await;
            }
            if group.is_empty() {
                return other;
            }
            let (written, gathered) = self.write_and_gather(group, other, requests).await;
            other = gathered.other;
            if let Some((failure, batches)) = gathered.failed {
                self.refuse_undecided(failure, batches).await;
            }
            (group, undecided) = (gathered.group, Vec::new());
            if let Err((failure, batches)) = written {
                self.refuse_unwritten(failure, batches).await;
                // What was decided behind a group that is not there is decided again.
                undecided = group.into_batches();
                group = Group::after(self.committer.latest());
            }
        }
    }

    /// Decides about batches while nothing is being written; those that cannot be looked up are refused.
    async fn look_up(&mut self, group: &mut Group, batches: Vec<Batch>) {
        let connection = match &self.session {
            Ok(session) => Arc::clone(&session.finding),
            Err(error) => return refuse(batches, error),
        };
        if let Err((failure, batches)) = group.add(&connection, &self.shared, batches, None).await {
            self.refuse_undecided(failure, batches).await;
        }
    }

    /// Writes a group, and gathers what comes meanwhile behind it; nothing behind what is no batch.
    async fn write_and_gather(
        &mut self,
        group: Group,
        other: Option<Request>,
        requests: &mut mpsc::Receiver<Request>,
    ) -> (Written, Gathered) {
        let Self { session, committer, shared, .. } = self;
        let (decided, waiting) = group.split();
        let gathering = Gathered { group: Group::after(decided.latest), other, failed: None };
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                let failure = Failure::Index(error.clone());
                return (Err((Some(failure), waiting.into_batches())), gathering);
            }
        };
        let done = CancellationToken::new();
        let writing = async {
            let written = committer.commit(session, &decided, waiting).await;
            done.cancel();
            written
        };
        let gathering = gather(gathering, &session.finding, shared, &decided, requests, &done);
        join(writing, gathering).await
    }

    /// Batches about which nothing could be decided. Where one of them alone may be why, each is tried alone.
    async fn refuse_undecided(&mut self, failure: Option<Failure>, batches: Vec<Batch>) {
        let error = match failure {
            Some(failure) => failure.told(self.shared.server.name(), "look events up"),
            None => self.hung(),
        };
        self.refuse_or_try_alone(&error, batches).await;
    }

    /// Batches whose group could not be written. Where one of them alone may be why, each is tried alone.
    async fn refuse_unwritten(&mut self, failure: Option<Failure>, batches: Vec<Batch>) {
        let error = self.undo(failure, "store events").await;
        self.refuse_or_try_alone(&error, batches).await;
    }

    async fn refuse_or_try_alone(&mut self, error: &IndexError, batches: Vec<Batch>) {
        if !matches!(error, IndexError::Database { .. }) || batches.len() < 2 {
            return refuse(batches, error);
        }
        for batch in batches {
            if let Err((failure, batch)) = self.commit_alone(batch).await {
                let error = self.undo(failure, "store events").await;
                refuse(batch, &error);
            }
        }
    }

    async fn commit_alone(&mut self, batch: Batch) -> Written {
        let session = match &self.session {
            Ok(session) => session,
            Err(error) => return Err((Some(Failure::Index(error.clone())), vec![batch])),
        };
        let mut group = Group::after(self.committer.latest());
        group.add(&session.finding, &self.shared, vec![batch], None).await?;
        let (decided, waiting) = group.split();
        self.committer.commit(session, &decided, waiting).await
    }

    /// Makes a change in a transaction of its own.
    pub(super) async fn change<T, F, Fut>(&mut self, doing: &'static str, change: F) -> Result<T>
    where
        F: FnOnce(Changing) -> Fut,
        Fut: Future<Output = std::result::Result<T, Failure>>,
    {
        let connection = Arc::clone(&self.session.as_ref().map_err(Clone::clone)?.writing);
        let changing =
            Changing { connection: Arc::clone(&connection), shared: Arc::clone(&self.shared), now: self.clock.now() };
        let working = async {
            connection.client().batch_execute("BEGIN").await?;
            let value = change(changing).await?;
            connection.client().batch_execute("COMMIT").await?;
            Ok(value)
        };
        match within(self.shared.server.statement_timeout(), working).await {
            Ok(value) => Ok(value),
            Err(failure) => Err(self.undo(failure, doing).await),
        }
    }

    /// After a failure: the transaction is undone, or the connection is given up where that cannot be known.
    async fn undo(&mut self, failure: Option<Failure>, doing: &'static str) -> IndexError {
        self.committer.forget_extents();
        let Some(failure) = failure else { return self.hung() };
        let error = failure.told(self.shared.server.name(), doing);
        if let Ok(session) = &self.session {
            let undone = timeout(GRACE, session.writing.client().batch_execute("ROLLBACK")).await;
            if !matches!(undone, Ok(Ok(()))) {
                self.lose(unreachable(&self.shared, "the connection was lost"));
            }
        }
        error
    }

    fn hung(&mut self) -> IndexError {
        let error = unreachable(&self.shared, "it does not answer");
        self.lose(error.clone());
        error
    }
}

/// Decides about what comes while the group of `before` is written, until it is `done`.
async fn gather(
    mut gathered: Gathered,
    connection: &Connection,
    shared: &Shared,
    before: &Decided,
    requests: &mut mpsc::Receiver<Request>,
    done: &CancellationToken,
) -> Gathered {
    let Gathered { group, other, failed } = &mut gathered;
    while other.is_none() && failed.is_none() && group.has_room() {
        // In this order: what comes when the group is written must not keep the next from being written.
        let request = tokio::select! {
            biased;
            () = done.cancelled() => break,
            request = requests.recv() => request,
        };
        match request {
            None => break,
            Some(Request::Task(task)) => *other = Some(Request::Task(task)),
            Some(Request::Commit(batch)) => {
                let (batches, behind) = group.collect(batch, requests);
                *other = behind;
                *failed = group.add(connection, shared, batches, Some(before)).await.err();
            }
        }
    }
    gathered
}

fn refuse(batches: Vec<Batch>, error: &IndexError) {
    for batch in batches {
        batch.answer(Err(error.clone()));
    }
}

/// Returns when a connection that there is has ended.
async fn lost(session: &Result<Session>) {
    match session {
        Ok(session) => session.lost().await,
        Err(_) => std::future::pending().await,
    }
}
