//! The place where a camera's next frame waits for analysis.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use vigil_base::Frame;

/// Longest wait for a place: an analysis that takes longer is overloaded, and must not hold the camera's packets up.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Holds one frame. A newer frame takes the place of one that still waits: what is analysed is what is seen now.
///
/// One place is enough: the analysis of the frame before is under way, and a second waiting frame would only be older.
#[derive(Debug, Default)]
pub struct FrameSlot {
    state: Mutex<State>,
    changed: Condvar,
}

/// What a wait for a frame brought.
#[derive(Debug)]
pub enum Taken {
    /// The newest frame.
    Frame(Frame),
    /// No frame came in time.
    Nothing,
    /// The slot is closed and empty.
    Closed,
}

#[derive(Debug, Default)]
struct State {
    frame: Option<Frame>,
    closed: bool,
}

impl FrameSlot {
    /// Puts a frame; gives back the frame whose place it took, which is then dropped and must be counted.
    pub fn put(&self, frame: Frame) -> Option<Frame> {
        let replaced = self.state.lock().frame.replace(frame);
        self.changed.notify_one();
        replaced
    }

    /// Puts a frame once the one before was taken, so that none is lost; waits at most [`LONGEST_WAIT`], and then does as
    /// [`FrameSlot::put`].
    pub fn put_after(&self, frame: Frame) -> Option<Frame> {
        let mut state = self.state.lock();
        let waiting = |state: &mut State| state.frame.is_some() && !state.closed;
        self.changed.wait_while_for(&mut state, waiting, LONGEST_WAIT);
        let replaced = state.frame.replace(frame);
        self.changed.notify_all();
        replaced
    }

    /// Waits for the next frame, at most so long.
    pub fn take(&self, at_most: Duration) -> Taken {
        let mut state = self.state.lock();
        if state.frame.is_none() && !state.closed {
            self.changed.wait_while_for(&mut state, |state| state.frame.is_none() && !state.closed, at_most);
        }
        let taken = state.frame.take();
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

    #[test]
    fn the_newest_frame_wins_and_the_replaced_one_is_handed_back() {
        let slot = FrameSlot::default();
        assert!(slot.put(frame(1)).is_none());
        assert_eq!(slot.put(frame(2)).map(|f| f.capture_time), Some(Timestamp::from_micros(1)));
        slot.close();
        assert!(matches!(slot.take(LONG), Taken::Frame(frame) if frame.capture_time == Timestamp::from_micros(2)));
        assert!(matches!(slot.take(LONG), Taken::Closed));
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
            assert!(putter.join().unwrap().is_none());
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
