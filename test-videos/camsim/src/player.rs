//! Which access unit is due next. Knows nothing of clocks and sockets.

use std::sync::Arc;
use std::time::Duration;

use crate::clip::{AccessUnit, Clip};

/// Plays a clip for ever: one access unit per tick, whether anybody watches or not.
pub(crate) struct Player {
    clip: Arc<Clip>,
    /// Index of the access unit that the next tick is about.
    position: usize,
    /// Takes over at its next keyframe.
    next_clip: Option<Arc<Clip>>,
    /// What was held back is missing: the next picture must be a keyframe.
    cut: bool,
}

/// What is due, and where in the clip it stands.
pub(crate) struct Due {
    pub index: usize,
    pub unit: AccessUnit,
}

impl Player {
    /// Starts at the keyframe at or after `offset`, counted around the clip's end.
    pub fn new(clip: Arc<Clip>, offset: Duration) -> Self {
        let frames = clip.access_units.len() as u64;
        let position = clip.keyframe_from((clip.rate.frame_at(offset) % frames) as usize);
        Self { clip, position, next_clip: None, cut: false }
    }

    pub fn clip(&self) -> &Arc<Clip> {
        &self.clip
    }

    /// Changes to another encoding of the same clip where that one has its next keyframe.
    pub fn change_to(&mut self, clip: Arc<Clip>) {
        self.next_clip = Some(clip);
    }

    /// The next picture is to be a keyframe: a new client is waiting. Cameras make one; a clip is moved on to its next.
    pub fn want_keyframe(&mut self) {
        self.cut = true;
    }

    /// The next picture is the clip's first, which is a keyframe.
    pub fn rewind(&mut self) {
        self.position = 0;
    }

    /// One tick passes and its picture is not sent.
    pub fn hold(&mut self) {
        self.advance();
        self.cut = true;
    }

    /// One tick passes; its picture is due.
    pub fn tick(&mut self) -> Due {
        if std::mem::take(&mut self.cut) {
            self.position = self.clip.keyframe_from(self.position);
        }
        self.change_clip_at_keyframe();
        let index = self.position;
        self.advance();
        Due { index, unit: self.clip.access_units[index].clone() }
    }

    fn advance(&mut self) {
        self.position = (self.position + 1) % self.clip.access_units.len();
    }

    fn change_clip_at_keyframe(&mut self) {
        if let Some(next) = self.next_clip.take_if(|next| {
            let index = self.position % next.access_units.len();
            next.access_units[index].keyframe
        }) {
            self.position %= next.access_units.len();
            self.clip = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use proptest::prelude::*;
    use vigil_base::{Codec, Size};

    use crate::clip::FrameRate;

    /// A clip of `frames` pictures with a keyframe every `gop`.
    fn clip(frames: usize, gop: usize, width: u32) -> Arc<Clip> {
        Arc::new(Clip {
            codec: Codec::H264,
            size: Size::new(width, 64),
            rate: FrameRate { frames: 10, per: 1 },
            access_units: (0..frames)
                .map(|i| AccessUnit { keyframe: i % gop == 0, taken_before: 0, data: Bytes::new() })
                .collect(),
        })
    }

    #[test]
    fn the_clip_is_looped_without_a_gap() {
        let mut player = Player::new(clip(5, 2, 64), Duration::ZERO);
        let played: Vec<_> = (0..12).map(|_| player.tick().index).collect();
        assert_eq!(played, [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]);
    }

    #[test]
    fn it_starts_at_the_keyframe_after_its_offset() {
        assert_eq!(Player::new(clip(20, 4, 64), Duration::from_millis(500)).tick().index, 8);
        assert_eq!(Player::new(clip(20, 4, 64), Duration::from_millis(1900)).tick().index, 0);
        assert_eq!(Player::new(clip(20, 4, 64), Duration::from_millis(2400)).tick().index, 4);
    }

    #[test]
    fn rewound_it_starts_with_the_clips_first_picture() {
        let mut player = Player::new(clip(20, 4, 64), Duration::from_millis(500));
        player.tick();
        player.rewind();
        assert_eq!([player.tick().index, player.tick().index], [0, 1]);
    }

    #[test]
    fn another_size_begins_at_a_keyframe_where_the_old_one_stopped() {
        let mut player = Player::new(clip(8, 4, 64), Duration::ZERO);
        player.tick();
        player.change_to(clip(8, 4, 128));
        let widths: Vec<_> = (1..6).map(|_| (player.tick().index, player.clip().size.width)).collect();
        assert_eq!(widths, [(1, 64), (2, 64), (3, 64), (4, 128), (5, 128)]);
    }

    proptest! {
        #[test]
        fn whatever_is_held_back_the_next_picture_sent_is_a_keyframe_or_follows_the_last_one(
            frames in 1usize..30, gop in 1usize..10, held in prop::collection::vec(any::<bool>(), 1..100),
        ) {
            let mut player = Player::new(clip(frames, gop, 64), Duration::ZERO);
            let mut last: Option<usize> = None;
            for hold in held {
                if hold {
                    player.hold();
                    last = None;
                } else {
                    let due = player.tick();
                    let follows = last.is_some_and(|last| (last + 1) % frames == due.index);
                    prop_assert!(due.unit.keyframe || follows);
                    last = Some(due.index);
                }
            }
        }
    }
}
