//! The places where a camera's frames wait for analysis.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use vigil_base::Frame;

/// Frames that may wait. At ten a second, three bridge what other cameras take of the machine at once: their keyframes come
/// together now and then, and a few that wake together decode seconds of video. More would only be older under a load that lasts.
const PLACES: usize = 3;
/// A frame that is so much older than the newest is not waited for: what is analysed is what is seen now.
const LONGEST_LAG: Duration = Duration::from_millis(400);
/// Longest wait for a place: an analysis that takes longer is overloaded, and must not hold the camera's packets up.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Holds the frames that wait, oldest first. Where a newer one finds no place, or is much newer, it takes that of the oldest.
#[derive(Debug, Default)]
pub struct FrameSlot {
    state: Mutex<State>,
    changed: Condvar,
}

/// What a wait for a frame brought.
#[derive(Debug)]
pub enum Taken {
    /// The oldest frame that waited.
    Frame(Frame),
    /// No frame came in time.
    Nothing,
    /// The slot is closed and empty.
    Closed,
}

#[derive(Debug)]
struct State {
    frames: VecDeque<Frame>,
    closed: bool,
}

impl Default for State {
    fn default() -> Self {
        Self { frames: VecDeque::with_capacity(PLACES), closed: false }
    }
}

impl State {
    /// Puts a frame in; how many had to make room for it.
    fn put(&mut self, frame: Frame) -> usize {
        let before = self.frames.len();
        let now = frame.capture_time;
        self.frames.retain(|waiting| now.since(waiting.capture_time) <= LONGEST_LAG);
        while self.frames.len() >= PLACES {
            self.frames.pop_front();
        }
        let dropped = before - self.frames.len();
        self.frames.push_back(frame);
        dropped
    }
}

impl FrameSlot {
    /// Puts a frame. Returns how many were dropped to make room for it, which must be counted.
    pub fn put(&self, frame: Frame) -> usize {
        let dropped = self.state.lock().put(frame);
        self.changed.notify_one();
        dropped
    }

    /// Puts a frame once those before were taken, so that none is lost; waits at most [`LONGEST_WAIT`], and then does as
    /// [`FrameSlot::put`].
    pub fn put_after(&self, frame: Frame) -> usize {
        let mut state = self.state.lock();
        let waiting = |state: &mut State| !state.frames.is_empty() && !state.closed;
        self.changed.wait_while_for(&mut state, waiting, LONGEST_WAIT);
        let dropped = state.put(frame);
        self.changed.notify_all();
        dropped
    }

    /// Waits for the next frame, at most so long.
    pub fn take(&self, at_most: Duration) -> Taken {
        let mut state = self.state.lock();
        if state.frames.is_empty() && !state.closed {
            self.changed.wait_while_for(&mut state, |state| state.frames.is_empty() && !state.closed, at_most);
        }
        let taken = state.frames.pop_front();
        self.changed.notify_all();
        match taken {
            Some(frame) => Taken::Frame(frame),
            None if state.closed => Taken::Closed,
            None => Taken::Nothing,
        }
    }

    /// Lets the taker end once it has the last frame.
    pub fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use vigil_base::{Size, Timestamp};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn frame(us: i64) -> Frame {
        Frame::uniform(Size::new(2, 2), [0, 0, 0], Timestamp::from_micros(us))
    }

    /// The capture times of what waits, milliseconds.
    fn waiting(slot: &FrameSlot) -> Vec<i64> {
        slot.close();
        let taken = || match slot.take(LONG) {
            Taken::Frame(frame) => Some(frame.capture_time.as_micros() / 1000),
            _ => None,
        };
        std::iter::from_fn(taken).collect()
    }

    #[test]
    fn a_burst_is_bridged_and_beyond_it_the_oldest_makes_room_and_is_counted() {
        let slot = FrameSlot::default();
        let dropped: Vec<_> = (1..=5).map(|n| slot.put(frame(n * 100_000))).collect();
        assert_eq!(dropped, [0, 0, 0, 1, 1]);
        assert_eq!(waiting(&slot), [300, 400, 500]);
    }

    #[test]
    fn what_is_much_older_than_the_newest_is_not_waited_for() {
        let slot = FrameSlot::default();
        assert_eq!([0, 100_000, 450_000].map(|us| slot.put(frame(us))), [0, 0, 1]);
        assert_eq!(waiting(&slot), [100, 450]);
        let seldom = FrameSlot::default();
        assert_eq!([0, 1_000_000, 2_000_000].map(|us| seldom.put(frame(us))), [0, 1, 1], "one a second: the newest");
    }

    #[test]
    fn a_wait_without_frames_ends() {
        assert!(matches!(FrameSlot::default().take(Duration::from_millis(1)), Taken::Nothing));
    }

    #[test]
    fn a_frame_put_after_another_waits_until_that_one_is_taken() {
        let slot = std::sync::Arc::new(FrameSlot::default());
        slot.put(frame(1));
        std::thread::scope(|scope| {
            let putter = scope.spawn(|| slot.put_after(frame(2)));
            assert!(matches!(slot.take(LONG), Taken::Frame(frame) if frame.capture_time == Timestamp::from_micros(1)));
            assert!(matches!(slot.take(LONG), Taken::Frame(frame) if frame.capture_time == Timestamp::from_micros(2)));
            assert_eq!(putter.join().unwrap(), 0);
        });
    }

    #[test]
    fn closing_wakes_a_taker_that_waits() {
        let slot = std::sync::Arc::new(FrameSlot::default());
        let taker = std::thread::scope(|scope| {
            let taker = scope.spawn(|| slot.take(LONG));
            slot.close();
            taker.join()
        });
        assert!(matches!(taker.unwrap(), Taken::Closed));
    }
}
