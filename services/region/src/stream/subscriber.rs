//! One subscriber, from its first heartbeat to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use vigil_policy::Policy;
use vigil_proto::convert::{Filter, time_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::subscribe_response::Message;
use vigil_serve::{ErrorCode, ServiceError, Trail};

use crate::context::Context;
use crate::guard::{Guest, Pass, Question};
use crate::index::{CommitSeq, FeedPage, Lineage};
use crate::tokens::FilterHash;

/// A subscriber that gets nothing else gets a heartbeat this often.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Events read at a time.
const PAGE: usize = 256;
/// When a subscriber may come back after the region shut down.
const RETRY_SHUTDOWN: Duration = Duration::from_secs(1);

/// What a subscriber asked for.
pub(super) struct Subscription {
    pub(super) filter: Arc<Filter>,
    pub(super) hash: FilterHash,
    /// False when the filter names other regions only: nothing is delivered, heartbeats go on.
    pub(super) is_asked: bool,
    /// Delivery begins right after this commit.
    pub(super) start: CommitSeq,
    /// It came with a cursor from further on.
    pub(super) is_set_back: bool,
    /// The starts of the index under which `start` is meant.
    pub(super) lineage: Arc<Lineage>,
    /// What retention removed up to here is no gap to this subscriber.
    pub(super) gaps_known_through: CommitSeq,
}

/// Why a subscription ends.
enum End {
    /// The subscriber went away: there is nobody to tell.
    Gone,
    Told(ServiceError),
}

type Step = Result<(), End>;

pub(super) struct Subscriber {
    context: Arc<Context>,
    subscription: Subscription,
    messages: mpsc::Sender<Result<v1::SubscribeResponse, Status>>,
    latest: watch::Receiver<CommitSeq>,
    requester: Guest,
    /// What the requester may see, as of the last page or heartbeat.
    pass: Pass,
    policy: watch::Receiver<Option<Arc<Policy>>>,
    /// All commits up to here were handed over, or do not match.
    place: CommitSeq,
    /// Monotonic.
    last_sent: Duration,
    trail: Trail,
}

impl Subscriber {
    pub(super) fn new(
        context: Arc<Context>,
        subscription: Subscription,
        requester: Guest,
        messages: mpsc::Sender<Result<v1::SubscribeResponse, Status>>,
        trail: Trail,
    ) -> Self {
        let (latest, policy) = (context.guard.latest(), context.guard.policy());
        let pass = context.guard.admit(&requester);
        let last_sent = context.clock.monotonic();
        Self {
            place: subscription.start,
            context,
            subscription,
            messages,
            latest,
            requester,
            pass,
            policy,
            last_sent,
            trail,
        }
    }

    /// Delivers until the subscriber goes away (none) or must be told why it ends.
    pub(super) async fn run(mut self, shutdown: &CancellationToken) -> Option<ServiceError> {
        let messages = self.messages.clone();
        let ended = tokio::select! {
            step = self.deliver() => step,
            () = messages.closed() => Err(End::Gone),
            () = shutdown.cancelled() => {
                Err(End::Told(ServiceError::unavailable("the region shuts down; resume", RETRY_SHUTDOWN)))
            }
        };
        match ended {
            Err(End::Told(error)) => Some(error),
            Err(End::Gone) | Ok(()) => None,
        }
    }

    /// Sends a heartbeat, then everything after the subscriber's place, then what is committed, without end.
    async fn deliver(&mut self) -> Step {
        self.send_heartbeat().await?;
        if self.subscription.is_set_back {
            self.tell_set_back().await?;
        }
        loop {
            self.follow_lineage().await?;
            if self.has_more() {
                self.deliver_page().await?;
            } else {
                self.wait().await?;
            }
            if self.silence() >= HEARTBEAT {
                self.send_heartbeat().await?;
            }
        }
    }

    /// Goes back to where the index parted from what was read, when it was started once more (a database that was lost, and
    /// whose standby lacked commits).
    async fn follow_lineage(&mut self) -> Step {
        let lineage = self.context.guard.lineage();
        if Arc::ptr_eq(&lineage, &self.subscription.lineage) {
            return Ok(());
        }
        let read = self.place;
        // Without a start that both have, all there is may be news.
        self.place = lineage.shared(self.subscription.lineage.locator(), read).unwrap_or(CommitSeq(0));
        self.subscription.lineage = lineage;
        if self.place < read { self.tell_set_back().await } else { Ok(()) }
    }

    /// Says that what follows may have been delivered before, and that what was delivered may be gone.
    async fn tell_set_back(&mut self) -> Step {
        self.context.telemetry.set_back();
        self.tell(v1::GapReason::Restored, None).await
    }

    fn has_more(&mut self) -> bool {
        *self.latest.borrow_and_update() > self.place
    }

    fn silence(&self) -> Duration {
        self.context.clock.monotonic().saturating_sub(self.last_sent)
    }

    /// Waits for a commit, for another policy, or until a heartbeat is due.
    async fn wait(&mut self) -> Step {
        let patience = HEARTBEAT.saturating_sub(self.silence());
        let news = async {
            tokio::select! {
                changed = self.latest.changed() => changed,
                Ok(()) = self.policy.changed() => Ok(()),
            }
        };
        let waited = timeout(patience, news).await;
        self.admit().await?;
        match waited {
            // The index was closed: the region shuts down.
            Ok(Err(_)) => Err(End::Told(ServiceError::unavailable("the region shuts down; resume", RETRY_SHUTDOWN))),
            Ok(Ok(())) => Ok(()),
            Err(_) => self.send_heartbeat().await,
        }
    }

    /// Asks anew what the requester may see, and says so when that has changed: by the policy, or by the time.
    async fn admit(&mut self) -> Step {
        let pass = self.context.guard.admit(&self.requester);
        let is_other = !pass.is_like(&self.pass);
        self.pass = pass;
        if is_other { self.send_heartbeat().await } else { Ok(()) }
    }

    async fn deliver_page(&mut self) -> Step {
        if !self.subscription.is_asked {
            self.place = *self.latest.borrow();
            return Ok(());
        }
        let filter = Arc::clone(&self.subscription.filter);
        self.admit().await?;
        let page = self.context.guard.read(&self.pass, self.place, filter, PAGE).await;
        let page = page.map_err(|error| End::Told(self.context.failure("reading the stream", &error)))?;
        self.tell_gap(&page).await?;
        for item in page.items {
            // Sending may take as long as the subscriber likes: the rest of the page is cleared anew.
            if self.policy.has_changed().unwrap_or(false) {
                self.policy.borrow_and_update();
                return Ok(());
            }
            let delivery = v1::EventDelivery { event: Some(item.event), cursor: self.cursor(item.seq) };
            self.send(Message::Delivery(delivery)).await?;
            self.place = item.seq;
            self.context.telemetry.delivered();
        }
        self.place = page.through;
        Ok(())
    }

    /// Says so, once, when retention removed events that this subscriber has not read.
    async fn tell_gap(&mut self, page: &FeedPage) -> Step {
        let removed = page.purged_through;
        let is_news = removed > self.place && removed > self.subscription.gaps_known_through;
        self.subscription.gaps_known_through = self.subscription.gaps_known_through.max(removed);
        if !is_news {
            return Ok(());
        }
        let resumes_at = page.resumes_at.unwrap_or_else(|| self.context.clock.now());
        self.tell(v1::GapReason::Retention, Some(time_to_wire(resumes_at))).await
    }

    async fn tell(&mut self, reason: v1::GapReason, resumes_at: Option<prost_types::Timestamp>) -> Step {
        let gap = v1::StreamGap { region_id: self.context.region.to_string(), resumes_at, reason: reason.into() };
        self.send(Message::Gap(gap)).await
    }

    async fn send_heartbeat(&mut self) -> Step {
        let server_time = Some(time_to_wire(self.context.clock.now()));
        let question = Question::live(&self.subscription.filter);
        let region = Some(self.context.report_on(self.context.clock.monotonic(), &self.pass, &question));
        let heartbeat = v1::StreamHeartbeat { cursor: self.cursor(self.place), server_time, region };
        self.send(Message::Heartbeat(heartbeat)).await
    }

    fn cursor(&self, after: CommitSeq) -> String {
        self.context.tokens.cursor(&self.subscription.hash, after, &self.subscription.lineage)
    }

    /// Hands a message to the transport, which takes it when the subscriber has room (HTTP/2 flow control).
    async fn send(&mut self, message: Message) -> Step {
        let patience = self.context.limits.subscriber_timeout;
        match timeout(patience, self.messages.reserve()).await {
            Ok(Ok(room)) => {
                self.trail.streamed(&message);
                room.send(Ok(v1::SubscribeResponse { message: Some(message) }));
                self.last_sent = self.context.clock.monotonic();
                Ok(())
            }
            Ok(Err(_)) => Err(End::Gone),
            Err(_) => Err(End::Told(self.too_slow(patience))),
        }
    }

    /// The cursor is that of the last message that was handed over, which the subscriber still gets before this error.
    fn too_slow(&self, patience: Duration) -> ServiceError {
        self.context.telemetry.subscriber_too_slow();
        let cursor = self.cursor(self.place);
        let message = format!("nothing was taken for {patience:?}; resume with cursor {cursor}");
        ServiceError::new(ErrorCode::LimitReached, message)
    }
}
