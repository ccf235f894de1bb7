//! The sightings of a frame, for all rules alike.

use std::time::Duration;

use vigil_base::{Size, Timestamp};
use vigil_track::{Observation, TrackUpdate, TrackView};

use crate::moment::Moment;
use crate::seen::{Seen, aspect, outline};
use crate::tracks::Tracks;

/// A sighting, and what decides whether it counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    pub seen: Seen,
    /// Highest of its track so far.
    pub confidence: f32,
    /// How long its track has been seen.
    pub presence: Duration,
}

/// Finds the sightings of a frame; also those of before, of tracks that are confirmed on it. Notes all tracks.
///
/// How many tracks found no room, and were passed over.
pub(crate) fn collect(update: &TrackUpdate, now: Moment, tracks: &mut Tracks, found: &mut Vec<Sighting>) -> u64 {
    found.clear();
    tracks.begin_frame();
    let mut crowded_out = 0;
    for view in &update.tracks {
        let Some((foot, _, size)) = outline(view.bbox, update.size) else { continue };
        let Some(slot) = tracks.note(view, foot, size, earlier(now, view.first_seen)) else {
            crowded_out += 1;
            continue;
        };
        if view.began() {
            let sightings = view.history.iter().filter_map(|o| sighting(slot, view, o, update.size, now, tracks));
            found.extend(sightings);
        } else if view.seen_on(update) {
            let here = Observation { time: view.last_seen, bbox: view.bbox, confidence: view.confidence };
            found.extend(sighting(slot, view, &here, update.size, now, tracks));
        }
    }
    crowded_out
}

fn sighting(
    slot: usize,
    view: &TrackView,
    observation: &Observation,
    size: Size,
    now: Moment,
    tracks: &mut Tracks,
) -> Option<Sighting> {
    let (foot, centre, longer) = outline(observation.bbox, size)?;
    let (confidence, first) = tracks.detected(slot, observation.confidence)?;
    let moment = earlier(now, observation.time);
    let seen = Seen {
        slot,
        track: view.id,
        class: view.class,
        moment,
        foot,
        centre,
        size: longer,
        aspect: aspect(size),
        eligible: false,
    };
    Some(Sighting { seen, confidence, presence: moment.since(first) })
}

/// The moment of a capture time at or before now, as if all the time between had been watched.
fn earlier(now: Moment, time: Timestamp) -> Moment {
    let ago = now.time.as_micros().saturating_sub(time.as_micros()).max(0);
    Moment { time, watched: now.watched.saturating_sub(ago) }
}
