//! Reading one region's stream for one subscriber: joins, reads, and joins again from its own place when it breaks.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tonic::{Code, Request, Streaming};
use vigil_base::{RegionId, SharedClock};
use vigil_proto::v1;
use vigil_proto::v1::event_stream_service_client::EventStreamServiceClient;
use vigil_proto::v1::subscribe_response::Message;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;

use super::cursor::Place;
use crate::deadline::Asker;
use crate::link::RegionLink;
use crate::report::{Failure, Freshness, other_region};

/// A region that has not sent its first message by then is down for this attempt.
const JOIN_LIMIT: Duration = Duration::from_secs(5);
/// A region sends a heartbeat every ten seconds; after three that did not come it is gone.
const SILENCE_LIMIT: Duration = Duration::from_secs(35);
/// Wait before the first new attempt; doubled after each that fails.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Longest wait between attempts.
const MAX_WAIT: Duration = Duration::from_secs(15);
/// Longest cursor taken from a region: they are below 200 bytes, and a stream's cursor holds one of each region.
pub(super) const MAX_REGION_CURSOR: usize = 256;

/// What a reader tells its stream.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) region: RegionId,
    pub(super) news: News,
}

#[derive(Debug)]
pub(super) enum News {
    /// The region's stream runs, or runs again, after this time; and how fresh the region then is.
    Joined(Freshness, Duration),
    /// It does not run: the reader keeps trying.
    Failed(Failure, Duration),
    Delivery {
        event: Box<v1::Event>,
        cursor: String,
    },
    /// Nothing new up to here.
    Heartbeat {
        cursor: String,
        freshness: Freshness,
    },
    Gap(v1::StreamGap),
}

/// Why one attempt ended.
enum Stop {
    /// Nobody wants the notes any more.
    Unwanted,
    Failed(Failure),
}

/// What is wanted of a region.
pub(super) struct Wanted {
    pub(super) filter: v1::EventFilter,
    /// Who wants it, and why.
    pub(super) asker: Asker,
    /// The stream begins now and nothing has been tried yet: the region's own "now" is better than this machine's.
    pub(super) fresh: bool,
}

/// Reads one region's stream.
pub(super) struct Reader {
    link: Arc<RegionLink>,
    wanted: Wanted,
    place: Place,
    /// What the stream was last told of the region; none before anything was.
    told: Option<v1::RegionOutcome>,
    /// What it was last told that the region's policy keeps back.
    withheld: Option<v1::WithheldReport>,
    notes: mpsc::Sender<Note>,
    clock: SharedClock,
}

impl Reader {
    pub(super) fn new(
        link: Arc<RegionLink>,
        wanted: Wanted,
        place: Place,
        notes: mpsc::Sender<Note>,
        clock: SharedClock,
    ) -> Self {
        Self { link, wanted, place, told: None, withheld: None, notes, clock }
    }

    /// Reads until nobody wants the notes any more, or the region is no longer configured, which is told.
    pub(super) async fn run(mut self) {
        let link = self.link.clone();
        let region = link.id().clone();
        let notes = self.notes.clone();
        tokio::select! {
            () = self.read() => {}
            left = link.gone() => if left {
                // An error: the stream has ended.
                let _ = notes.send(Note { region, news: News::Failed(Failure::NotConfigured, Duration::ZERO) }).await;
            }
        }
    }

    async fn read(&mut self) {
        let mut wait = FIRST_WAIT;
        loop {
            let start = self.clock.monotonic();
            let mut joined = false;
            let failure = match self.run_once(start, &mut joined).await {
                Stop::Unwanted => return,
                Stop::Failed(failure) => failure,
            };
            self.wanted.fresh = false;
            wait = if joined { FIRST_WAIT } else { (wait * 2).min(MAX_WAIT) };
            // A region that could not get rid of its events is well: this stream was held back by its own subscriber.
            let held_back = joined && matches!(&failure, Failure::Error(s) if s.code() == Code::ResourceExhausted);
            if !held_back {
                let elapsed = self.clock.monotonic().saturating_sub(start);
                let outcome = failure.outcome();
                if self.told != Some(outcome) && self.tell(News::Failed(failure, elapsed)).await.is_err() {
                    return;
                }
                self.told = Some(outcome);
            }
            let pause = tokio::time::sleep(wait.mul_f32(rand::random_range(0.7..=1.0)));
            tokio::select! {
                () = pause => {}
                () = self.notes.closed() => return,
            }
        }
    }

    /// One attempt: joins and reads until something breaks. `joined` tells whether it came that far.
    async fn run_once(&mut self, start: Duration, joined: &mut bool) -> Stop {
        let mut messages = match tokio::time::timeout(JOIN_LIMIT, self.subscribe()).await {
            Err(_) => return Stop::Failed(Failure::TimedOut(JOIN_LIMIT)),
            Ok(Err(failure)) => return Stop::Failed(failure),
            Ok(Ok(messages)) => messages,
        };
        loop {
            let limit = if *joined { SILENCE_LIMIT } else { JOIN_LIMIT };
            let message = match tokio::time::timeout(limit, messages.message()).await {
                Err(_) => return Stop::Failed(Failure::TimedOut(limit)),
                Ok(Err(status)) => return Stop::Failed(Failure::of_status(status, limit)),
                Ok(Ok(None)) => return Stop::Failed(Failure::Unreachable("the region ended the stream".to_owned())),
                Ok(Ok(Some(message))) => message,
            };
            let news = match self.check(message) {
                Ok(news) => news,
                Err(failure) => return Stop::Failed(failure),
            };
            if let News::Delivery { cursor, .. } | News::Heartbeat { cursor, .. } = &news {
                self.place = Place::Cursor(cursor.clone());
            }
            let freshness = if let News::Heartbeat { freshness, .. } = &news { Some(freshness.clone()) } else { None };
            if self.tell(news).await.is_err() {
                return Stop::Unwanted;
            }
            // After the first message, a heartbeat, which brings the region's cursor: from now on its place is its own.
            let is_first = !std::mem::replace(joined, true);
            let of_first = || Freshness::unknown(self.withheld.clone());
            let heard = freshness.or_else(|| is_first.then(of_first));
            if let Some(freshness) = heard
                && self.tell_joined(freshness, start).await.is_err()
            {
                return Stop::Unwanted;
            }
        }
    }

    async fn subscribe(&self) -> Result<Streaming<v1::SubscribeResponse>, Failure> {
        self.wanted.asker.may_ask(self.link.id())?;
        let mut message = self.place.request(self.wanted.filter.clone());
        if self.wanted.fresh {
            message.since = None;
        }
        let mut request = Request::new(message);
        self.wanted.asker.write(request.metadata_mut());
        let mut client =
            EventStreamServiceClient::new(self.link.streams()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        match client.subscribe(request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(Failure::of_status(status, JOIN_LIMIT)),
        }
    }

    /// Takes a region's message when it is of that region and carries what the stream needs.
    fn check(&self, response: v1::SubscribeResponse) -> Result<News, Failure> {
        let region = self.link.id();
        match response.message {
            Some(Message::Delivery(v1::EventDelivery { event: Some(event), cursor })) => {
                if event.region_id != region.as_str() {
                    return Err(other_region(region, &event.region_id));
                }
                Ok(News::Delivery { event: Box::new(event), cursor: checked(cursor)? })
            }
            Some(Message::Heartbeat(heartbeat)) => {
                let freshness = Freshness::of(region, heartbeat.region.as_slice())?;
                Ok(News::Heartbeat { cursor: checked(heartbeat.cursor)?, freshness })
            }
            Some(Message::Gap(gap)) if gap.region_id == region.as_str() => Ok(News::Gap(gap)),
            Some(Message::Gap(gap)) => Err(other_region(region, &gap.region_id)),
            Some(Message::Delivery(_) | Message::Region(_)) | None => {
                Err(Failure::Wrong("sent a message that a region's stream does not have".to_owned()))
            }
        }
    }

    async fn tell_joined(&mut self, freshness: Freshness, start: Duration) -> Result<(), ()> {
        if self.told == Some(v1::RegionOutcome::Answered) && self.withheld == freshness.withheld {
            return Ok(());
        }
        self.withheld.clone_from(&freshness.withheld);
        self.told = Some(v1::RegionOutcome::Answered);
        self.tell(News::Joined(freshness, self.clock.monotonic().saturating_sub(start))).await
    }

    async fn tell(&self, news: News) -> Result<(), ()> {
        self.notes.send(Note { region: self.link.id().clone(), news }).await.map_err(|_| ())
    }
}

fn checked(cursor: String) -> Result<String, Failure> {
    if cursor.is_empty() || cursor.len() > MAX_REGION_CURSOR {
        let length = cursor.len();
        return Err(Failure::Wrong(format!("sent a cursor of {length} bytes; 1 to {MAX_REGION_CURSOR} are taken")));
    }
    Ok(cursor)
}
