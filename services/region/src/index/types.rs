//! What goes into an index and what comes out.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use vigil_base::{CameraId, EdgeId, Event, EventId, GeoPoint, Timestamp};
use vigil_proto::convert::{Filter, event_to_wire, time_to_wire};
use vigil_proto::v1;

/// Place of a stored revision in the region's order of commits; 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CommitSeq(pub u64);

impl fmt::Display for CommitSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Place of an event in the order of search: pages go on right after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Its begin.
    pub begin_time: Timestamp,
    /// Its id; all zeros stand before every event of that time, in the direction of search.
    pub event_id: [u8; 16],
}

/// A revision that was checked and is ready to be stored.
#[derive(Debug, Clone)]
pub struct NewRevision {
    /// Without what the region adds: receive time and thumbnail key. Shared with the readers of the live stream.
    pub(crate) event: Arc<Event>,
    /// The event for the wire, without what the region adds: receive time and thumbnail key.
    pub(crate) payload: Bytes,
    pub(crate) thumbnail: Bytes,
}

impl NewRevision {
    /// Encodes `event` for storage; `thumbnail` is a JPEG, or empty when it has not changed.
    pub fn new(mut event: Event, thumbnail: Bytes) -> Self {
        event.receive_time = None;
        event.thumbnail_key = None;
        let payload = event_to_wire(&event).encode_to_vec().into();
        Self { event: Arc::new(event), payload, thumbnail }
    }

    /// The event.
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Bytes that storing it writes, roughly.
    pub fn len(&self) -> usize {
        self.payload.len() + self.thumbnail.len()
    }

    /// Whether it carries nothing, which no checked event does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What became of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreOutcome {
    /// Stored.
    Accepted(CommitSeq),
    /// This revision or a later one was there already.
    Duplicate,
    /// It can never be stored.
    Rejected(String),
}

/// A search.
#[derive(Debug, Clone)]
pub struct SearchQuery {
    /// Which events.
    pub filter: Filter,
    /// Where the page before ended.
    pub after: Option<Position>,
    /// Most events to return.
    pub max_events: usize,
}

/// A page of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchPage {
    /// Newest first.
    pub events: Vec<v1::Event>,
    /// Where to go on; none when there is nothing more.
    pub next: Option<Position>,
}

/// A question for counts.
#[derive(Debug, Clone)]
pub struct CountQuery {
    /// Which events.
    pub filter: Filter,
    /// What each group has in common; groups are in ascending order of these, the first first.
    pub group_by: Vec<GroupKey>,
    /// Most groups to return.
    pub max_groups: usize,
}

/// What the events of a group have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GroupKey {
    /// The UTC hour of their begin.
    Hour,
    /// Their object class.
    Class,
    /// Their camera.
    Camera,
    /// The zone or line that their rule watches; empty where there is none.
    Zone,
}

/// Counts by group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counts {
    /// In ascending order of what was grouped by.
    pub groups: Vec<CountGroup>,
    /// Whether there were more groups than asked for.
    pub truncated: bool,
}

impl Counts {
    /// Groups in ascending order of what they were grouped by, and no more than `max_groups` of them.
    pub(crate) fn in_order(mut groups: Vec<CountGroup>, group_by: &[GroupKey], max_groups: usize) -> Self {
        groups.sort_by(|a, b| {
            let by_key = group_by.iter().map(|key| match key {
                GroupKey::Hour => a.hour.cmp(&b.hour),
                GroupKey::Class => a.class.cmp(&b.class),
                GroupKey::Camera => a.camera.cmp(&b.camera),
                GroupKey::Zone => a.zone.cmp(&b.zone),
            });
            by_key.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then)
        });
        let truncated = groups.len() > max_groups;
        groups.truncate(max_groups);
        Self { groups, truncated }
    }
}

/// One group; what was not grouped by is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountGroup {
    /// Start of the UTC hour.
    pub hour: Option<Timestamp>,
    /// Object class.
    pub class: Option<String>,
    /// Camera.
    pub camera: Option<String>,
    /// Zone or line; empty for the events that have none.
    pub zone: Option<String>,
    /// Events.
    pub events: u64,
}

/// One revision in commit order.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedItem {
    /// Its commit.
    pub seq: CommitSeq,
    /// The event as of that commit.
    pub event: v1::Event,
}

/// A piece of the feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedPage {
    /// In commit order.
    pub items: Vec<FeedItem>,
    /// All commits up to here were looked at: read on after it.
    pub through: CommitSeq,
    /// The last commit whose event was removed by retention: a reader that stands before it has missed something.
    pub purged_through: CommitSeq,
    /// Receive time of the first revision after the reader's place that is still there.
    pub resumes_at: Option<Timestamp>,
}

/// Figures about the whole index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IndexStats {
    /// Events.
    pub events: u64,
    /// Begin of the oldest.
    pub oldest_begin: Option<Timestamp>,
    /// Begin of the newest.
    pub newest_begin: Option<Timestamp>,
    /// The region's clock at the last commit.
    pub last_commit: Option<Timestamp>,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes free on that disk; [`IndexStats::FREE_UNKNOWN`] where that cannot be asked.
    pub disk_free_bytes: u64,
}

impl IndexStats {
    /// The disk is another machine's.
    pub const FREE_UNKNOWN: u64 = u64::MAX;
}

/// Where the events of an index are from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// Their cameras.
    pub cameras: Vec<CameraId>,
    /// Their edges.
    pub edges: Vec<EdgeId>,
}

/// A part of the index that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadablePart {
    /// Its events began at or after this.
    pub from: Timestamp,
    /// Its events began before this.
    pub until: Timestamp,
    /// None of its events lasted longer than this; none where that is not known.
    pub last_end: Option<Timestamp>,
    /// What it is, what is wrong with it, and what to do: one sentence for people.
    pub problem: String,
}

impl UnreadablePart {
    /// Whether events of this part may match `filter`.
    pub fn may_match(&self, filter: &Filter) -> bool {
        filter.until.is_none_or(|until| until > self.from)
            && filter.from.is_none_or(|from| self.last_end.is_none_or(|last_end| last_end >= from))
    }
}

/// Names one state of a camera's entry; changes with each change of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Etag(pub u64);

/// A camera of the registry.
#[derive(Debug, Clone, PartialEq)]
pub struct CameraEntry {
    /// The camera.
    pub id: CameraId,
    /// The edge that reads it.
    pub edge: Option<EdgeId>,
    /// For people.
    pub display_name: String,
    /// Where it stands.
    pub location: Option<GeoPoint>,
    /// The stream's address without user and password.
    pub address: String,
    /// Who put it there.
    pub origin: CameraOrigin,
    /// The region's clock at its last change; set by the engine.
    pub update_time: Timestamp,
    /// Set by the engine.
    pub etag: Etag,
}

/// Who put a camera into the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraOrigin {
    /// Its edge announced it.
    Edge,
    /// An operator put it; an edge's announcement no longer changes it.
    Operator,
}

/// What became of a put.
#[derive(Debug, Clone, PartialEq)]
pub enum PutCamera {
    /// Stored, as returned.
    Stored(CameraEntry),
    /// The camera now has another etag, or is there though none was given, or is not there though one was.
    Conflict(Option<Etag>),
}

/// What the region remembers of an edge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeRecord {
    /// The edge.
    pub id: EdgeId,
    /// The installation that was last connected.
    pub instance: String,
    /// Its software.
    pub software_version: String,
    /// The region's clock at its last message.
    pub last_seen: Timestamp,
    /// Every event it made before this time of its own clock is in the index.
    pub complete_until: Option<Timestamp>,
}

/// The event as it was committed, with what the region adds to it. The key of its thumbnail names the event and the
/// revision that brought it: knowing it takes knowing the event.
pub(crate) fn committed_event(mut event: v1::Event, receive_time: Timestamp, thumbnail_revision: u32) -> v1::Event {
    event.receive_time = Some(time_to_wire(receive_time));
    if thumbnail_revision > 0 {
        event.thumbnail_key = format!("{}.{thumbnail_revision}", event.event_id);
    }
    event
}

/// First and last microsecond at which an event of this id may have begun (RFC 9562, section 5.7: the first 48 bits are
/// milliseconds since 1970).
pub(crate) fn begin_range(id: EventId) -> (i64, i64) {
    let mut millis = [0; 8];
    millis[2..].copy_from_slice(&id.as_bytes()[..6]);
    let first_us = i64::from_be_bytes(millis) * 1_000;
    (first_us, first_us + 999)
}

/// The event that a thumbnail key names.
pub(crate) fn event_of_thumbnail(key: &str) -> Option<EventId> {
    let (event, revision) = key.split_once('.')?;
    revision.parse::<u32>().ok()?;
    event.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thumbnail_key_names_its_event() {
        let id = EventId::at(Timestamp::from_micros(1_700_000_000_000_000));
        let event = v1::Event { event_id: id.to_string(), ..Default::default() };
        let key = committed_event(event.clone(), Timestamp::MIN, 3).thumbnail_key;
        assert_eq!(event_of_thumbnail(&key), Some(id));
        assert_eq!(committed_event(event, Timestamp::MIN, 0).thumbnail_key, "");
        for bad in ["", ".", "x.1", &id.to_string(), &format!("{id}."), &format!("{id}.x")] {
            assert_eq!(event_of_thumbnail(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_id_says_within_which_millisecond_its_event_began() {
        let begin = Timestamp::from_micros(1_700_000_000_123_456);
        assert_eq!(begin_range(EventId::at(begin)), (1_700_000_000_123_000, 1_700_000_000_123_999));
    }
}
