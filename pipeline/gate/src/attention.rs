//! When to look next, and where: the detector's time goes to what moves and to what is open, not to whole pictures at a rate.
//!
//! - **When**: before the fastest of what is open has moved by a share of its own width, so that it is recognised where it
//!   comes out; at the highest rate while something is new or not confirmed yet; at the lowest while all stands.
//! - **Undecided**: while nothing moves that is known and in sight, and something came that is not known yet, or was lost from
//!   sight, nothing is saved: whole pictures at the highest rate, and those very frames that a camera without attention would
//!   be looked at on. Far and dim people are found at even odds; cut out of the picture, or looked at less often, they would
//!   not be found at all, and lost half-way.
//! - **Settled**: what has stood for long is still there where nothing changes. It is left to the whole pictures, so that a street full
//!   of parked cars costs no more than an empty one.
//! - **Where**: around the place where each open object is expected, and where something changed that none of them accounts
//!   for. At a bounded interval the whole picture is looked at all the same: something may stand there that never moved.

use std::time::Duration;

use vigil_base::{BoxPx, Frame, Hold, Size, Timestamp};

use crate::gate::{Motion, MotionGate, Reason};

/// What is open may move by this share of its width between two looks: at half of it, boxes still overlap by a third.
const REACH: f32 = 0.5;
/// Room around the place where something is expected, in shares of its longer side.
const MARGIN: f32 = 0.3;
/// And at least in shares of the picture's width: far people are a few cells large.
const LEAST_MARGIN: f32 = 0.012;
/// Room around a change that nobody accounts for, in shares of its longer side: what changed is part of what came.
const CHANGE_MARGIN: f32 = 0.5;
/// Least side of a region around such a change, in shares of the picture's width.
const LEAST_REGION: f32 = 0.1;
/// Frames come a little early or late: a look is due this share of the shortest period before its time.
const SLACK: f32 = 0.1;

/// How much attention a camera is given.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionConfig {
    /// Looks a second at the most.
    pub max_rate: f64,
    /// Looks a second at the least, while something is open.
    pub min_rate: f64,
    /// While something is open or changes, the whole picture is looked at this often.
    pub whole_every: Duration,
    /// And this often while nothing is.
    pub still_refresh: Duration,
    /// Between those, look at parts; else always at the whole.
    pub parts: bool,
    /// Look at parts as large as the cost of the whole allows.
    pub detail: bool,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self {
            max_rate: 5.0,
            min_rate: 2.5,
            whole_every: Duration::from_secs(2),
            still_refresh: Duration::from_secs(10),
            parts: true,
            detail: false,
        }
    }
}

impl AttentionConfig {
    /// Frames a second that [`Attention::consider`] wants to choose from: a look can then be put off by half a period.
    pub fn frames_per_second(&self) -> f64 {
        2.0 * self.max_rate
    }
}

/// Something that is open when a frame comes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Open {
    /// Where it is expected on the frame, pixels.
    pub bbox: BoxPx,
    /// Pixels per second.
    pub speed: f32,
    /// How firmly it is held.
    pub hold: Hold,
}

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attend {
    /// Nothing is open and nothing happened.
    Still,
    /// Something is open; the next look is not due yet.
    NotDue,
    /// Look at all of it.
    Whole,
    /// Look at [`Attention::places`].
    Parts,
}

/// One camera's attention.
#[derive(Debug)]
pub struct Attention {
    config: AttentionConfig,
    last_look: Option<Timestamp>,
    last_whole: Option<Timestamp>,
    places: Vec<BoxPx>,
    /// Changes that nobody accounted for at the last look.
    looked_at: Vec<BoxPx>,
}

impl Attention {
    /// Nothing was looked at yet.
    pub fn new(config: AttentionConfig) -> Self {
        Self { config, last_look: None, last_whole: None, places: Vec::new(), looked_at: Vec::new() }
    }

    /// Whether parts are to be looked at in detail.
    pub fn wants_detail(&self) -> bool {
        self.config.detail
    }

    /// Whether a frame of that time comes too soon after the last look for another, whatever it shows: then the gate need not
    /// observe it either.
    pub fn is_too_soon(&self, at: Timestamp) -> bool {
        let least = (1.0 - SLACK) / self.config.max_rate as f32;
        elapsed(self.last_look, at).is_some_and(|since| since.as_secs_f32() < least)
    }

    /// Decides about a frame that `gate` has just observed. Frames come in order, evenly, and at least twice as often as the
    /// highest rate; `open` is what is tracked, or may become so; `regular` says that the frame is one of those that would be
    /// looked at if all were, at the highest rate.
    pub fn consider(
        &mut self,
        frame: &Frame,
        motion: &Motion,
        gate: &mut MotionGate,
        open: impl Iterator<Item = Open>,
        regular: bool,
    ) -> Attend {
        let (now, size) = (frame.capture_time, frame.size);
        let (Some(since), Some(since_whole)) = (elapsed(self.last_look, now), elapsed(self.last_whole, now)) else {
            return self.whole(now);
        };
        if matches!(motion.reason, Reason::First | Reason::Resized | Reason::SceneChanged) {
            return self.whole(now);
        }
        let shortest = 1.0 / self.config.max_rate as f32;
        let mut period = 1.0 / self.config.min_rate as f32;
        self.places.clear();
        let (mut known_moves, mut undecided, mut settled) = (false, false, false);
        for one in open {
            known_moves |= one.hold == Hold::Followed && one.speed > 0.0;
            undecided |= one.hold.is_undecided();
            let place = grown(&one.bbox, MARGIN, LEAST_MARGIN * size.width as f32);
            if one.hold == Hold::Settled && !motion.boxes.iter().any(|change| place.iou(&change.to_px(size)) > 0.0) {
                settled = true;
                continue;
            }
            self.places.push(place);
            if one.hold.may_move() {
                let moves = REACH * one.bbox.width / one.speed.max(1.0);
                period = period.min(if one.hold.is_track() { moves } else { shortest });
            }
        }
        let changes = gate.changes_outside(&self.places);
        if self.places.is_empty() && changes.is_empty() {
            let AttentionConfig { whole_every, still_refresh, .. } = self.config;
            let (wait, meanwhile) =
                if settled { (whole_every, Attend::NotDue) } else { (still_refresh, Attend::Still) };
            return if since_whole >= wait { self.whole(now) } else { meanwhile };
        }
        if !known_moves && (undecided || !changes.is_empty()) {
            return if regular { self.whole(now) } else { Attend::NotDue };
        }
        let old = |change: &BoxPx| self.looked_at.iter().any(|before| contains(before, change.centre()));
        if changes.iter().any(|change| !old(&change.to_px(size))) {
            period = shortest;
        }
        if since.as_secs_f32() < period.max(shortest) - SLACK * shortest {
            return Attend::NotDue;
        }
        if !self.config.parts || since_whole >= self.config.whole_every {
            return self.whole(now);
        }
        self.looked_at.clear();
        self.looked_at.extend(changes.iter().map(|change| around(&change.to_px(size), size)));
        self.places.extend_from_slice(&self.looked_at);
        self.last_look = Some(now);
        Attend::Parts
    }

    /// Where to look after [`Attend::Parts`], in pixels of the frame; may overlap and reach beyond it.
    pub fn places(&self) -> &[BoxPx] {
        &self.places
    }

    /// Forgets all looks: the next frame is looked at as a whole.
    pub fn reset(&mut self) {
        (self.last_look, self.last_whole) = (None, None);
    }

    fn whole(&mut self, now: Timestamp) -> Attend {
        (self.last_look, self.last_whole) = (Some(now), Some(now));
        Attend::Whole
    }
}

/// Time since then; none when the clock went back, or nothing was.
fn elapsed(then: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    then.filter(|then| *then <= now).map(|then| now.since(then))
}

fn contains(bbox: &BoxPx, (x, y): (f32, f32)) -> bool {
    (bbox.left..bbox.right()).contains(&x) && (bbox.top..bbox.bottom()).contains(&y)
}

fn grown(bbox: &BoxPx, share: f32, least: f32) -> BoxPx {
    let margin = (bbox.width.max(bbox.height) * share).max(least);
    BoxPx::new(bbox.left - margin, bbox.top - margin, bbox.width + 2.0 * margin, bbox.height + 2.0 * margin)
}

/// The region around a change: with room, and not so small that whoever caused it does not fit in.
fn around(change: &BoxPx, picture: Size) -> BoxPx {
    let least = picture.width as f32 * LEAST_REGION;
    let grown = grown(change, CHANGE_MARGIN, 0.0);
    let (x, y) = grown.centre();
    let (width, height) = (grown.width.max(least), grown.height.max(least));
    BoxPx::new(x - width / 2.0, y - height / 2.0, width, height)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GateConfig;

    const PICTURE: Size = Size::new(640, 360);
    const FRAME_MS: i64 = 100;

    /// A grey street, ten frames a second, with a bright patch where `patch` says.
    struct Street {
        gate: MotionGate,
        attention: Attention,
        now_ms: i64,
    }

    impl Street {
        /// After its first look.
        fn new() -> Self {
            let attention = Attention::new(AttentionConfig::default());
            let mut street = Self { gate: MotionGate::new(GateConfig::default()), attention, now_ms: 1_000_000 };
            assert_eq!(street.next(None, &[]), Attend::Whole, "nothing was looked at before");
            street
        }

        fn next(&mut self, patch: Option<BoxPx>, open: &[Open]) -> Attend {
            self.now_ms += FRAME_MS;
            let mut frame = Frame::uniform(PICTURE, [90, 128, 128], Timestamp::from_micros(self.now_ms * 1000));
            if let Some(patch) = patch {
                let mut luma = frame.planes[0].data.to_vec();
                for y in patch.top as usize..patch.bottom() as usize {
                    luma[y * 640..][patch.left as usize..patch.right() as usize].fill(200);
                }
                frame.planes[0].data = luma.into();
            }
            let motion = self.gate.observe(&frame);
            let regular = self.now_ms / FRAME_MS % 2 == 0;
            self.attention.consider(&frame, &motion, &mut self.gate, open.iter().copied(), regular)
        }
    }

    fn walker(speed: f32) -> Open {
        Open { bbox: BoxPx::new(300.0, 100.0, 40.0, 100.0), speed, hold: Hold::Followed }
    }

    fn candidate(bbox: BoxPx) -> Open {
        Open { bbox, speed: 0.0, hold: Hold::Moving }
    }

    /// Looks in `seconds`, of the whole and of parts.
    fn looks(open: &[Open], seconds: i64) -> (usize, usize) {
        let mut street = Street::new();
        let all: Vec<_> = (0..seconds * 1000 / FRAME_MS).map(|_| street.next(None, open)).collect();
        let count = |what| all.iter().filter(|attend| **attend == what).count();
        (count(Attend::Whole), count(Attend::Parts))
    }

    #[test]
    fn an_empty_street_is_looked_at_every_ten_seconds() {
        assert_eq!(looks(&[], 60), (6, 0));
    }

    #[test]
    fn what_stands_is_looked_at_seldom_and_what_runs_often() {
        let total = |(whole, parts)| whole + parts;
        let (standing, walking, running) =
            (looks(&[walker(0.0)], 20), looks(&[walker(65.0)], 20), looks(&[walker(400.0)], 20));
        assert_eq!((total(standing), standing.0), (50, 10));
        assert_eq!(total(walking), 66, "every 0.3 s: half its width");
        assert_eq!(total(running), 100);
    }

    #[test]
    fn what_has_settled_is_left_to_the_whole_pictures_until_something_changes_there() {
        let parked = Open { hold: Hold::Settled, ..walker(0.0) };
        assert_eq!(looks(&[parked], 20), (10, 0));
        let mut street = Street::new();
        let other = Open { bbox: BoxPx::new(500.0, 100.0, 40.0, 100.0), ..walker(400.0) };
        let mut places = |patch: Option<BoxPx>| {
            (0..10).filter(|_| street.next(patch, &[parked, other]) == Attend::Parts).count();
            street.attention.places().len()
        };
        assert_eq!(places(None), 1, "the other alone");
        assert_eq!(places(Some(BoxPx::new(305.0, 120.0, 24.0, 60.0))), 2, "it may be driving off");
    }

    #[test]
    fn the_fastest_sets_the_rate_and_an_unconvincing_candidate_does_not() {
        let doubtful = Open { hold: Hold::Doubtful, ..walker(0.0) };
        assert_eq!(looks(&[walker(0.0), doubtful], 20), looks(&[walker(0.0)], 20));
        assert_eq!(looks(&[walker(65.0), candidate(doubtful.bbox)], 20), looks(&[walker(400.0)], 20));
    }

    #[test]
    fn while_nothing_known_moves_a_candidate_gets_what_full_analysis_would_give_it() {
        let there = walker(0.0).bbox;
        for open in [vec![candidate(there)], vec![walker(0.0), candidate(there)]] {
            assert_eq!(looks(&open, 20), (100, 0), "every regular frame, and all of it");
        }
        assert_eq!(looks(&[walker(65.0), candidate(there)], 20).0, 10, "somebody walks: parts of it");
        assert_eq!(
            looks(&[Open { hold: Hold::Lost, ..walker(65.0) }], 20),
            (100, 0),
            "who was lost from sight is looked for"
        );
    }

    #[test]
    fn a_change_that_nobody_accounts_for_is_looked_at_in_the_next_frame_and_does_not_hurry_for_ever() {
        let mut street = Street::new();
        for _ in 0..30 {
            assert_eq!(street.next(None, &[]), Attend::Still);
        }
        let patch = BoxPx::new(100.0, 200.0, 24.0, 60.0);
        // Nothing that is known moves: whole pictures, as if all were looked at.
        let first: Vec<_> = (0..10).map(|_| street.next(Some(patch), &[])).collect();
        let wholes = first.iter().filter(|attend| **attend == Attend::Whole).count();
        assert_eq!((wholes, first.contains(&Attend::Parts)), (5, false));
        let walker = Open { bbox: BoxPx::new(400.0, 100.0, 40.0, 100.0), ..walker(20.0) };
        let holds = |place: &BoxPx| place.left < patch.left && place.right() > patch.right() && place.top < patch.top;
        let mut parts = 0;
        for _ in 0..10 {
            if street.next(Some(patch), &[walker]) == Attend::Parts {
                let places = street.attention.places();
                assert!(places.iter().any(holds), "{places:?}");
                parts += 1;
            }
        }
        assert!((2..=4).contains(&parts), "{parts}");
    }

    #[test]
    fn a_change_around_what_is_open_is_no_place_of_its_own() {
        let mut street = Street::new();
        let open = walker(400.0);
        let mut seen = 0;
        for _ in 0..10 {
            if street.next(Some(open.bbox), &[open]) == Attend::Parts {
                assert_eq!(street.attention.places().len(), 1);
                seen += 1;
            }
        }
        assert!(seen >= 4);
    }

    #[test]
    fn the_frame_after_a_look_need_not_be_observed() {
        let mut street = Street::new();
        let at = |ms: i64| Timestamp::from_micros((street.now_ms + ms) * 1000);
        assert!(street.attention.is_too_soon(at(100)));
        assert!(!street.attention.is_too_soon(at(185)) && !street.attention.is_too_soon(at(-1000)));
        street.attention.reset();
        assert!(!street.attention.is_too_soon(at(100)));
    }

    #[test]
    fn a_clock_that_goes_back_and_a_reset_begin_anew() {
        let mut street = Street::new();
        street.now_ms -= 60_000;
        assert_eq!(street.next(None, &[]), Attend::Whole);
        street.attention.reset();
        assert_eq!(street.next(None, &[]), Attend::Whole);
    }
}
