//! What rules find, as events: one event per firing.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use vigil_base::detection::ModelIdentity;
use vigil_base::event::{EndReason, Event, EventState, Finding};
use vigil_base::{BoxNorm, EventId, Frame, Timestamp, TrackId};
use vigil_rules::{Ending, Firing, OpenFiring, Phase};

use crate::interrupted::Interrupted;
use crate::live::{LiveEvent, Snapshot};
use crate::maker::{EventConfig, EventContext, EventIds, Revision, STANDING_INTERVAL};
use crate::thumbnail;

/// Set in the numbers of repeatable ids, so that a firing never gets the id of a track.
const FIRING: u64 = 1 << 63;
/// What a rule found that is no object is the picture's.
const WHOLE: BoxNorm = BoxNorm { left: 0.0, top: 0.0, width: 1.0, height: 1.0 };

/// Firings that go on, by their number.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// As many as the rule engine has open, which is bounded there.
    open: BTreeMap<u64, OpenFinding>,
    pub interrupted: Interrupted,
}

#[derive(Debug)]
struct OpenFinding {
    event: Event,
    /// Capture time of the frame that the last revision was made on.
    revised_at: Timestamp,
}

impl OpenFinding {
    /// Where its object went meanwhile, while that is followed.
    fn follow(&mut self, live: &BTreeMap<TrackId, LiveEvent>) {
        if let Some(live) = live.get(&self.event.track) {
            self.event.path = live.path();
            self.event.appearance = live.appearance().or(self.event.appearance.take());
        }
    }

    fn revise(&mut self, state: EventState, end_time: Timestamp, now: Timestamp) -> Revision {
        let event = &mut self.event;
        event.revision += 1;
        event.state = state;
        event.end_time = event.end_time.max(end_time);
        self.revised_at = now;
        Revision { event: event.clone(), thumbnail: None, resumes: false }
    }
}

/// What the events of a frame's firings are made of.
pub(crate) struct Scene<'a> {
    pub context: &'a EventContext,
    pub config: &'a EventConfig,
    /// The tracks' own events, as of this frame.
    pub live: &'a BTreeMap<TrackId, LiveEvent>,
    pub frame: &'a Frame,
    pub classes: &'a ModelIdentity,
}

impl Findings {
    /// A firing of this frame, or the end of an earlier one.
    pub fn take(&mut self, firing: Firing, scene: &Scene<'_>) -> Option<Revision> {
        let (number, phase, time) = (firing.number, firing.phase, firing.time);
        if let Phase::Ended(ending) = phase {
            let reason = end_reason(ending, EndReason::StreamLost);
            return self.end(&firing, reason, scene.live, scene.frame.capture_time);
        }
        if phase == Phase::Begun
            && let Some(resumed) = self.resume(&firing, scene)
        {
            return Some(resumed);
        }
        let (mut event, thumbnail) = begin(firing, scene);
        if phase == Phase::Instant {
            event.state = EventState::Ended(EndReason::Over);
        } else {
            let open = OpenFinding { event: event.clone(), revised_at: time };
            self.open.insert(number, open);
        }
        Some(Revision { event, thumbnail, resumes: false })
    }

    /// Revisions that are due of what goes on, with the evidence as it is now.
    pub fn grow<'a>(
        &mut self,
        open: impl Iterator<Item = OpenFiring<'a>>,
        config: &EventConfig,
        live: &BTreeMap<TrackId, LiveEvent>,
        now: Timestamp,
        due: &mut Vec<Revision>,
    ) {
        for firing in open {
            let Some(known) = self.open.get_mut(&firing.number) else { continue };
            let interval = config.interval(now >= known.event.confirm_time + STANDING_INTERVAL);
            // A clock that was set back must not silence an event for as long.
            if now >= known.revised_at + interval || now < known.revised_at {
                if let Some(finding) = &mut known.event.finding {
                    finding.evidence = firing.evidence.clone();
                }
                known.follow(live);
                due.push(known.revise(EventState::Ongoing, now, now));
            }
        }
    }

    /// Firings that ended without a frame: the rules were changed, or all is ended for `cut`.
    pub fn conclude(
        &mut self,
        firings: Vec<Firing>,
        live: &BTreeMap<TrackId, LiveEvent>,
        cut: EndReason,
    ) -> Vec<Revision> {
        let mut ended = Vec::new();
        for firing in firings {
            let Phase::Ended(ending) = firing.phase else { continue };
            let Some(last) = self.end(&firing, end_reason(ending, cut), live, firing.time) else { continue };
            if ending == Ending::Cut {
                self.interrupted.add(last.event.clone());
            }
            ended.push(last);
        }
        ended
    }

    /// The event that a break had cut off goes on, about the track that its object has now.
    fn resume(&mut self, firing: &Firing, scene: &Scene<'_>) -> Option<Revision> {
        let object = object(firing, scene);
        let mut event = self.interrupted.take(firing, &object.class, object.bbox)?;
        (event.track, event.path) = (firing.object.map_or(TrackId(0), |(track, _)| track), object.path);
        if let Some(finding) = &mut event.finding {
            (finding.evidence, finding.suppressed) = (firing.evidence.clone(), firing.suppressed);
        }
        let mut open = OpenFinding { event, revised_at: firing.time };
        let revision = open.revise(EventState::Ongoing, firing.time, firing.time);
        self.open.insert(firing.number, open);
        Some(Revision { resumes: true, ..revision })
    }

    fn end(
        &mut self,
        firing: &Firing,
        reason: EndReason,
        live: &BTreeMap<TrackId, LiveEvent>,
        now: Timestamp,
    ) -> Option<Revision> {
        let mut open = self.open.remove(&firing.number)?;
        open.follow(live);
        if let Some(finding) = &mut open.event.finding {
            finding.evidence = firing.evidence.clone();
        }
        Some(open.revise(EventState::Ended(reason), firing.time, now))
    }
}

fn end_reason(ending: Ending, cut: EndReason) -> EndReason {
    match ending {
        Ending::Over => EndReason::Over,
        Ending::Lost => EndReason::Lost,
        Ending::Off => EndReason::RuleOff,
        Ending::Changed => EndReason::RuleChanged,
        Ending::Cut => cut,
    }
}

/// The first revision, ongoing, and its picture: the object, or the whole scene.
fn begin(firing: Firing, scene: &Scene<'_>) -> (Event, Option<Bytes>) {
    let (context, frame) = (scene.context, scene.frame);
    let object = object(&firing, scene);
    let id = match scene.config.ids {
        EventIds::Random => EventId::at(firing.begin),
        EventIds::Repeatable => EventId::numbered(firing.begin, firing.number | FIRING),
    };
    let thumbnail = scene.config.thumbnails.then(|| thumbnail::of(frame, object.bbox.to_px(frame.size))).flatten();
    let event = Event {
        id,
        revision: 1,
        state: EventState::Ongoing,
        region: context.region.clone(),
        edge: context.edge.clone(),
        camera: context.camera.clone(),
        object_class: object.class,
        track: firing.object.map_or(TrackId(0), |(track, _)| track),
        begin_time: firing.begin,
        end_time: firing.time.max(firing.begin),
        confirm_time: frame.capture_time,
        receive_time: None,
        time_source: frame.time_source,
        confidence: object.confidence,
        best_box: object.bbox,
        best_time: frame.capture_time,
        path: object.path,
        attributes: object.attributes,
        location: object.location.or(context.location),
        finding: Some(Finding {
            rule: firing.rule,
            kind: firing.kind,
            zone: firing.zone,
            evidence: firing.evidence,
            suppressed: firing.suppressed,
        }),
        plate: object.plate,
        thumbnail_key: thumbnail.is_some().then(|| Arc::from(id.to_string())),
        model: context.model.clone(),
        trace_parent: Some(id.trace_parent().into()),
        appearance: object.appearance,
    };
    (event, thumbnail)
}

/// Whom a firing is about: its track as the track's own event has it.
fn object(firing: &Firing, scene: &Scene<'_>) -> Snapshot {
    let Some((track, class)) = firing.object else {
        return Snapshot { class: "".into(), confidence: 1.0, bbox: WHOLE, ..Snapshot::default() };
    };
    if let Some(live) = scene.live.get(&track) {
        return live.snapshot();
    }
    // A track that ended before: what is left of it is its class, and where it was.
    let place = firing.position.map_or(WHOLE, |at| BoxNorm {
        left: at.x.clamp(0.0, 1.0) as f32,
        top: at.y.clamp(0.0, 1.0) as f32,
        width: 0.0,
        height: 0.0,
    });
    Snapshot { class: scene.classes.class_name(class).into(), bbox: place, ..Snapshot::default() }
}
