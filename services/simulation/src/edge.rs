//! An edge: the real outbox and the real shipper; only what the cameras see is made up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message;
use rand::Rng;
use rand::rngs::SmallRng;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use vigil_base::attributes::Attributes;
use vigil_base::event::{EndReason, EventState, ModelRef};
use vigil_base::time::TimeSource;
use vigil_base::{BoxNorm, CameraId, Clock, EdgeId, Event, EventId, RegionId, TrackId};
use vigil_edge::close_open_events;
use vigil_edge::ship::{self, Shipper, ShipperConfig};
use vigil_outbox::{Kept, KeptConfig, Outbox, OutboxConfig, OutboxError, Record};
use vigil_proto::convert::event_to_wire;
use vigil_proto::v1;
use vigil_serve::{HealthBoard, Surroundings, Threads};

use crate::clock::HostClock;
use crate::disk::Disk;
use crate::network;
use crate::region::PORT;
use crate::truth::Truth;

/// Cameras of an edge.
const CAMERAS: u32 = 2;
/// Classes of what they see, the first of which is asked for alone now and then.
pub(crate) const CLASSES: [&str; 2] = ["person", "car"];
/// Longest time in which nothing is seen.
const MAX_QUIET_MS: u64 = 900;
/// Most revisions that are kept at once.
const MAX_AT_ONCE: u32 = 4;
/// Most events that still grow.
const MAX_OPEN: usize = 6;
/// As an edge's own configuration has it.
const KEEP: Duration = Duration::from_hours(48);
const MAX_KEPT_BYTES: u64 = 64 * 1024 * 1024;
/// By then an edge has connected again to a region that was put back, and sent what that had lost, in seconds.
const SENT_AGAIN: f64 = 90.0;
/// Begin of a JPEG; enough of one for all who do not show it.
const JPEG: [u8; 3] = [0xff, 0xd8, 0xff];

/// What outlives an edge's process.
pub(crate) struct Edge {
    pub(crate) name: String,
    pub(crate) number: u64,
    pub(crate) region: String,
    pub(crate) clock: Arc<HostClock>,
    pub(crate) disk: Disk,
    pub(crate) truth: Arc<Truth>,
    /// Events so far; and chance.
    pub(crate) made: Mutex<(u64, SmallRng)>,
    /// The cameras see nothing from now on.
    pub(crate) calm: CancellationToken,
    /// Records that wait; none while the process is down.
    pub(crate) backlog: Mutex<Option<u64>>,
}

impl Edge {
    /// Its process, until it is killed.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let Storage { outbox, kept, coverage, closed } = self.open().await?;
        self.truth.made(&closed, self.clock.now());
        self.truth.note("up", &self.name);
        let (_cameras, announced) = watch::channel((0..CAMERAS).map(|n| self.announced(n)).collect());
        let shipper = Shipper {
            config: ShipperConfig {
                region_address: format!("http://{}:{PORT}", self.region).parse()?,
                region: RegionId::new(&self.region)?,
                edge: EdgeId::new(&self.name)?,
            },
            outbox: outbox.clone(),
            kept,
            coverage,
            announced,
            cameras: Arc::new(Vec::new),
            keeper: None,
            surroundings: Surroundings {
                clock: self.clock.clone(),
                network: network::simulated(),
                threads: Threads::InPlace,
            },
            board: HealthBoard::new(),
        };
        tokio::spawn(ship::run(shipper, CancellationToken::new()));
        let mut open = Vec::new();
        loop {
            let quiet = self.made.lock().1.random_range(20..MAX_QUIET_MS);
            tokio::time::sleep(Duration::from_millis(quiet)).await;
            if !self.calm.is_cancelled() {
                self.see(&outbox, &mut open).await?;
            }
            self.check_outbox(&outbox).await?;
            *self.backlog.lock() = Some(outbox.backlog().records);
        }
    }

    /// What the outbox has let go of was acknowledged, and what was acknowledged is in the region's index.
    async fn check_outbox(&self, outbox: &Arc<Outbox>) -> turmoil::Result {
        let reading = outbox.clone();
        let waiting = Threads::InPlace.run(move || reading.next_batch(usize::MAX, usize::MAX)).await??;
        let waiting: BTreeSet<_> = waiting.into_iter().map(|pending| pending.record.event_id).collect();
        // A region that was put back lacks much until all of it was sent again.
        let is_whole = !self.truth.restores(&self.region, SENT_AGAIN).1;
        if let Some(lost) = self.truth.let_go(&self.name, &waiting).first().filter(|_| is_whole) {
            self.truth.violated(format_args!("{} let go of {lost}, which {} does not hold", self.name, self.region));
        }
        Ok(())
    }

    async fn open(&self) -> turmoil::Result<Storage> {
        let (folder, clock) = (self.disk.folder(), self.clock.clone());
        let opening = Threads::InPlace.run(move || {
            let outbox = Outbox::open(&OutboxConfig::new(folder.join("outbox")), clock.clone())?;
            let coverage = Outbox::open(&OutboxConfig::new(folder.join("coverage")), clock)?;
            let path = folder.join("outbox/acknowledged.db");
            let kept = Kept::open(KeptConfig { path, keep: KEEP, max_bytes: MAX_KEPT_BYTES });
            let closed = close_open_events(&outbox)?;
            Ok::<_, OutboxError>(Storage {
                outbox: Arc::new(outbox),
                coverage: Arc::new(coverage),
                kept: Arc::new(kept),
                closed,
            })
        });
        Ok(opening.await??)
    }

    /// The cameras see something: new events begin, others grow or end, and all is kept before it counts as made.
    async fn see(&self, outbox: &Arc<Outbox>, open: &mut Vec<Event>) -> turmoil::Result {
        let seen: Vec<Event> = {
            let mut made = self.made.lock();
            let count = made.1.random_range(1..=MAX_AT_ONCE);
            (0..count).map(|_| self.next_revision(&mut made, open)).collect()
        };
        let (keeping, records) = (outbox.clone(), seen.iter().map(record).collect());
        Threads::InPlace.run(move || keeping.put_many(records)).await??;
        self.truth.made(&seen, self.clock.now());
        Ok(())
    }

    fn next_revision(&self, (made, rng): &mut (u64, SmallRng), open: &mut Vec<Event>) -> Event {
        let grows = !open.is_empty() && (open.len() >= MAX_OPEN || rng.random_bool(0.5));
        let mut event = if grows {
            let mut event = open.swap_remove(rng.random_range(0..open.len()));
            event.revision += 1;
            event.end_time = self.clock.now();
            event
        } else {
            *made += 1;
            self.begin(*made, rng)
        };
        if rng.random_bool(0.4) {
            event.state = EventState::Ended(EndReason::Lost);
        } else {
            open.push(event.clone());
        }
        event
    }

    fn begin(&self, number: u64, rng: &mut SmallRng) -> Event {
        let now = self.clock.now();
        // Some begin in the same microsecond, which pages must tell apart.
        let begin = now - Duration::from_millis(rng.random_range(0..3) * 500);
        Event {
            id: EventId::numbered(begin, self.number << 32 | number),
            revision: 1,
            state: EventState::Ongoing,
            region: RegionId::new(&self.region).expect("hosts have names that are ids"),
            edge: EdgeId::new(&self.name).expect("hosts have names that are ids"),
            camera: self.camera(rng.random_range(0..CAMERAS)),
            object_class: CLASSES[rng.random_range(0..CLASSES.len())].into(),
            track: TrackId(number),
            begin_time: begin,
            end_time: now,
            confirm_time: begin,
            receive_time: None,
            time_source: TimeSource::Arrival,
            confidence: 0.9,
            best_box: BoxNorm { left: 0.1, top: 0.2, width: 0.3, height: 0.4 },
            best_time: begin,
            path: Vec::new(),
            attributes: Attributes::default(),
            location: None,
            finding: None,
            plate: None,
            thumbnail_key: None,
            model: ModelRef { name: "simulated".into(), fingerprint: "0".into() },
            trace_parent: None,
            appearance: None,
        }
    }

    fn camera(&self, number: u32) -> CameraId {
        CameraId::new(format!("{}-camera-{number}", self.name)).expect("hosts have names that are ids")
    }

    fn announced(&self, number: u32) -> v1::Camera {
        v1::Camera {
            camera_id: self.camera(number).to_string(),
            region_id: self.region.clone(),
            edge_id: self.name.clone(),
            ..v1::Camera::default()
        }
    }
}

struct Storage {
    outbox: Arc<Outbox>,
    kept: Arc<Kept>,
    coverage: Arc<Outbox>,
    /// Events that were in view when the process was killed, as they were ended now.
    closed: Vec<Event>,
}

fn record(event: &Event) -> Record {
    let is_new = event.revision == 1;
    Record {
        event_id: event.id,
        revision: event.revision,
        is_final: matches!(event.state, EventState::Ended(_)),
        event: event_to_wire(event).encode_to_vec().into(),
        thumbnail: if is_new { Bytes::from_static(&JPEG) } else { Bytes::new() },
    }
}
