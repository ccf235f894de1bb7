//! Makes events of tracks and firings.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vigil_base::detection::ModelIdentity;
use vigil_base::event::{EndReason, Event, EventState, ModelRef, PlateReading};
use vigil_base::{CameraId, EdgeId, Frame, GeoPoint, GroundPlane, RegionId, Timestamp, TrackId};
use vigil_rules::{Firing, OpenFiring};
use vigil_track::{TrackUpdate, TrackView};

use crate::finding::{Findings, Scene};
use crate::live::LiveEvent;

/// Intersection over union above which a nearer object hides a part that matters.
const HIDDEN_OVERLAP: f32 = 0.05;
/// Least time between two revisions of what stands, or of what a rule has found for so long: a car that is parked for a week must not
/// fill the outbox, the line and the index.
pub(crate) const STANDING_INTERVAL: Duration = Duration::from_mins(1);

/// Whose events they are.
#[derive(Debug, Clone)]
pub struct EventContext {
    /// Goes into every event.
    pub region: RegionId,
    /// Goes into every event.
    pub edge: EdgeId,
    /// Goes into every event.
    pub camera: CameraId,
    /// Where the camera stands.
    pub location: Option<GeoPoint>,
    /// The ground as the camera sees it, where it is calibrated.
    pub ground: Option<Arc<GroundPlane>>,
    /// The model that detects; [`EventMaker::set_model`] follows a change.
    pub model: ModelRef,
}

/// How often and with what events are told.
#[derive(Debug, Clone)]
pub struct EventConfig {
    /// Class names that become events of their own; others are followed for the rules alone.
    pub classes: Vec<String>,
    /// A live event is revised at most this often; one whose object stands, or of which a rule has told for a minute, at most
    /// once a minute.
    pub update_interval: Duration,
    /// Make pictures of best moments.
    pub thumbnails: bool,
    /// How events get their ids.
    pub ids: EventIds,
}

impl EventConfig {
    /// Between two revisions of what goes on as it is, or changes.
    pub(crate) fn interval(&self, steady: bool) -> Duration {
        if steady { self.update_interval.max(STANDING_INTERVAL) } else { self.update_interval }
    }
}

/// How events get their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventIds {
    /// Never the same twice. Use for cameras.
    Random,
    /// From the track's number: the same analysis gives the same ids. Use for files.
    Repeatable,
}

/// One revision of an event, ready for the outbox.
#[derive(Debug, Clone)]
pub struct Revision {
    /// The whole event.
    pub event: Event,
    /// JPEG of the best moment, when it is new with this revision.
    pub thumbnail: Option<Bytes>,
    /// The event had ended with a break, and goes on: it is neither new nor a second one.
    pub resumes: bool,
}

/// Makes events of one camera's tracks.
pub struct EventMaker {
    context: EventContext,
    config: EventConfig,
    /// As many as the tracker has tracks, which is bounded there.
    live: BTreeMap<TrackId, LiveEvent>,
    findings: Findings,
    /// Read on the frame that is taken in next.
    plates: Vec<PlateReading>,
}

impl EventMaker {
    /// A maker without live events.
    pub fn new(context: EventContext, config: EventConfig) -> Self {
        Self { context, config, live: BTreeMap::new(), findings: Findings::default(), plates: Vec::new() }
    }

    /// Takes in the plates that were read on the frame that [`EventMaker::observe`] is given next. The events of their tracks
    /// carry them from then on; one that lives tells them with its next revision.
    pub fn read(&mut self, plates: &[PlateReading]) {
        self.plates.extend_from_slice(plates);
    }

    /// The revisions that are due after a frame: begun, grown, found by rules, ended.
    ///
    /// `update` must be the tracker's answer to the detections of `frame`, made by the model `classes` belong to, and
    /// `firings` what the rules made of `update`.
    pub fn observe(
        &mut self,
        update: &TrackUpdate,
        firings: Vec<Firing>,
        frame: &Frame,
        classes: &ModelIdentity,
    ) -> Vec<Revision> {
        let mut due = Vec::new();
        for track in update.tracks.iter().filter(|track| track.seen_on(update)) {
            let class = classes.class_name(track.class);
            let live = self
                .live
                .entry(track.id)
                .or_insert_with(|| LiveEvent::begin(&self.context, self.config.ids, track, class, frame));
            let first_told = !live.is_told && self.config.classes.iter().any(|told| told == class);
            live.is_told |= first_told;
            live.see(track, class, frame, self.config.thumbnails && live.is_told);
            live.look_closely(track, frame, || is_hidden(track, update));
            if let Some(read) = self.plates.iter().find(|read| read.track == track.id) {
                live.carry(&read.plate);
            }
            let grown = update.capture_time >= live.revised_at + self.config.interval(track.stationary);
            // A clock that was set back must not silence an event for as long.
            let set_back = update.capture_time < live.revised_at;
            if live.is_told && (first_told || grown || set_back) {
                due.push(live.revise(EventState::Ongoing, update.capture_time));
            }
        }
        self.plates.clear();
        due.extend(self.find(firings, frame, classes));
        for id in &update.ended {
            due.extend(self.end(*id, EndReason::Lost, update.capture_time));
        }
        due
    }

    /// Another model detects from here on: events that begin carry its fingerprint, those that live keep the one they began with.
    pub fn set_model(&mut self, model: ModelRef) {
        self.context.model = model;
    }

    /// The revisions of what rules found on a frame without tracks; [`EventMaker::observe`] does it for those with.
    pub fn find(&mut self, firings: Vec<Firing>, frame: &Frame, classes: &ModelIdentity) -> Vec<Revision> {
        self.findings.interrupted.look(frame.capture_time);
        let scene = Scene { context: &self.context, config: &self.config, live: &self.live, frame, classes };
        firings.into_iter().filter_map(|firing| self.findings.take(firing, &scene)).collect()
    }

    /// Adds the revisions that are due of what rules found and goes on.
    pub fn grow<'a>(&mut self, open: impl Iterator<Item = OpenFiring<'a>>, now: Timestamp, due: &mut Vec<Revision>) {
        self.findings.grow(open, &self.config, &self.live, now, due);
    }

    /// Ends what the rules say has ended while there was no frame: they were changed, or all is cut for `reason`.
    pub fn conclude(&mut self, firings: Vec<Firing>, reason: EndReason) -> Vec<Revision> {
        self.findings.conclude(firings, &self.live, reason)
    }

    /// Events that a break cut off and that may go on, for another process ([`EventMaker::recall`]).
    pub fn interrupted(&mut self) -> Vec<Event> {
        self.findings.interrupted.set_saved();
        self.findings.interrupted.events().to_vec()
    }

    /// Whether [`EventMaker::interrupted`] has changed since it was last asked for.
    pub fn has_unsaved(&self) -> bool {
        self.findings.interrupted.is_changed()
    }

    /// Goes on with what another process left; to be called before the first frame. At most [`crate::MAX_INTERRUPTED`] are kept,
    /// for a break of at most [`crate::MAX_BREAK`].
    pub fn recall(&mut self, interrupted: impl IntoIterator<Item = Event>) {
        self.findings.interrupted.recall(interrupted);
    }

    /// Ends all live events of tracks: the stream broke, or the edge stops.
    pub fn end_all(&mut self, reason: EndReason) -> Vec<Revision> {
        let live = std::mem::take(&mut self.live).into_values().filter(|live| live.is_told);
        live.map(|mut event| event.revise(EventState::Ended(reason), event.revised_at)).collect()
    }

    fn end(&mut self, id: TrackId, reason: EndReason, at: Timestamp) -> Option<Revision> {
        self.live.remove(&id).filter(|live| live.is_told).map(|mut event| event.revise(EventState::Ended(reason), at))
    }
}

/// Whether another object stands before this one: its box overlaps, and its foot is lower in the picture, so nearer.
fn is_hidden(track: &TrackView, update: &TrackUpdate) -> bool {
    update.tracks.iter().any(|other| {
        other.id != track.id
            && other.bbox.bottom() > track.bbox.bottom()
            && other.bbox.iou(&track.bbox) > HIDDEN_OVERLAP
    })
}

#[cfg(test)]
mod tests {
    use vigil_base::{BoxPx, Size, TimeSource};
    use vigil_track::{Observation, TrackView};

    use super::*;

    const SIZE: Size = Size::new(640, 480);

    fn maker() -> EventMaker {
        let context = EventContext {
            region: RegionId::new("north").unwrap(),
            edge: EdgeId::new("edge-1").unwrap(),
            camera: CameraId::new("gate").unwrap(),
            location: None,
            ground: None,
            model: ModelRef { name: "m".into(), fingerprint: "f".into() },
        };
        EventMaker::new(
            context,
            EventConfig {
                classes: vec!["person".into()],
                update_interval: Duration::from_secs(2),
                thumbnails: true,
                ids: EventIds::Random,
            },
        )
    }

    fn classes() -> ModelIdentity {
        ModelIdentity {
            name: "m".into(),
            fingerprint: "f".into(),
            classes: vec!["person".into()],
            ..ModelIdentity::default()
        }
    }

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_micros(1_700_000_000_000_000 + ms * 1000)
    }

    fn track(id: u64, ms: i64, bbox: BoxPx, history: Vec<Observation>) -> TrackView {
        TrackView {
            id: TrackId(id),
            class: 0,
            first_seen: at(0),
            last_seen: at(ms),
            bbox,
            confidence: 0.8,
            velocity: (0.0, 0.0),
            stationary: false,
            history,
        }
    }

    fn update(ms: i64, tracks: Vec<TrackView>, ended: Vec<TrackId>) -> (TrackUpdate, Frame) {
        let frame = Frame::uniform(SIZE, [81, 90, 240], at(ms));
        (TrackUpdate { capture_time: at(ms), time_source: TimeSource::File, size: SIZE, tracks, ended }, frame)
    }

    fn seen(ms: i64, x: f32) -> Observation {
        Observation { time: at(ms), bbox: BoxPx::new(x, 100.0, 40.0, 100.0), confidence: 0.7 }
    }

    #[test]
    fn an_event_begins_where_its_track_was_first_seen_grows_and_ends_once() {
        let mut maker = maker();
        let history = vec![seen(0, 100.0), seen(200, 110.0), seen(400, 120.0)];
        let (began, frame) = update(400, vec![track(1, 400, history[2].bbox, history)], vec![]);
        let first = maker.observe(&began, vec![], &frame, &classes());
        assert_eq!(first.len(), 1);
        let event = &first[0].event;
        assert_eq!((event.revision, event.begin_time, event.confirm_time), (1, at(0), at(400)));
        assert_eq!(event.path.first().map(|p| p.time), Some(at(0)));
        assert_eq!(event.attributes.colours.first().map(|c| c.colour.name()), Some("red"));
        let looks = |event: &Event| event.appearance.as_ref().map(|seen| (seen.method.name.to_string(), seen.looks));
        assert_eq!(looks(event), Some(("hsv-stripes".to_owned(), 1)));
        assert!(first[0].thumbnail.is_some() && event.thumbnail_key.is_some());

        let mut revisions = Vec::new();
        for ms in (600..=5000).step_by(200) {
            let x = 120.0 + ms as f32 / 50.0;
            let (grown, frame) = update(ms, vec![track(1, ms, seen(ms, x).bbox, vec![])], vec![]);
            revisions.extend(maker.observe(&grown, vec![], &frame, &classes()));
        }
        assert_eq!(revisions.iter().map(|r| r.event.revision).collect::<Vec<_>>(), [2, 3]);
        assert!(revisions.iter().all(|r| r.event.id == event.id && r.event.begin_time == at(0)));

        let (ended, frame) = update(6000, vec![], vec![TrackId(1)]);
        let last = maker.observe(&ended, vec![], &frame, &classes());
        assert_eq!(last.len(), 1);
        assert_eq!(last[0].event.state, EventState::Ended(EndReason::Lost));
        assert_eq!(last[0].event.end_time, at(5000));
        assert_eq!(looks(&last[0].event), Some(("hsv-stripes".to_owned(), 8)));
        assert!(last[0].event.attributes.direction_degrees.is_some_and(|d| (d - 90.0).abs() < 1.0));
        assert!(maker.observe(&ended, vec![], &frame, &classes()).is_empty());
        assert!(maker.end_all(EndReason::EdgeStopped).is_empty());
    }

    #[test]
    fn a_better_moment_brings_a_new_picture_and_a_worse_one_none() {
        let mut maker = maker();
        let history = vec![seen(0, 100.0)];
        let (began, frame) = update(0, vec![track(1, 0, history[0].bbox, history)], vec![]);
        maker.observe(&began, vec![], &frame, &classes());
        let (nearer, frame) = update(2500, vec![track(1, 2500, BoxPx::new(100.0, 50.0, 120.0, 300.0), vec![])], vec![]);
        let better = maker.observe(&nearer, vec![], &frame, &classes());
        assert!(better[0].thumbnail.is_some());
        assert_eq!(better[0].event.best_time, at(2500));
        let (farther, frame) = update(5000, vec![track(1, 5000, BoxPx::new(100.0, 50.0, 20.0, 50.0), vec![])], vec![]);
        let worse = maker.observe(&farther, vec![], &frame, &classes());
        assert!(worse[0].thumbnail.is_none());
        assert_eq!(worse[0].event.best_time, at(2500));
    }

    #[test]
    fn what_stands_is_told_once_a_minute_and_at_once_when_it_moves() {
        let mut maker = maker();
        let history = vec![seen(0, 100.0)];
        let (began, frame) = update(0, vec![track(1, 0, history[0].bbox, history)], vec![]);
        maker.observe(&began, vec![], &frame, &classes());
        let mut revised = Vec::new();
        for ms in (500..=180_000).step_by(500) {
            let standing = TrackView { stationary: ms < 150_000, ..track(1, ms, seen(ms, 100.0).bbox, vec![]) };
            let (grown, frame) = update(ms, vec![standing], vec![]);
            revised.extend(maker.observe(&grown, vec![], &frame, &classes()).iter().map(|_| ms / 1000));
        }
        assert_eq!(revised[..4], [60, 120, 150, 152]);
    }

    #[test]
    fn a_broken_stream_ends_every_event_with_its_reason() {
        let mut maker = maker();
        for id in 1..=3 {
            let history = vec![seen(0, 100.0 * id as f32)];
            let (began, frame) = update(0, vec![track(id, 0, history[0].bbox, history)], vec![]);
            maker.observe(&began, vec![], &frame, &classes());
        }
        let ended = maker.end_all(EndReason::StreamLost);
        assert_eq!(ended.len(), 3);
        assert!(
            ended.iter().all(|r| r.event.state == EventState::Ended(EndReason::StreamLost) && r.event.revision == 2)
        );
    }
}
