//! Where a detector is to look on a frame.

use vigil_base::BoxPx;

/// Most boxes of one frame: a street scene in which more is open at once is better looked at as a whole.
pub const MAX_REGIONS: usize = 32;

/// The whole frame, or some parts of it, in pixels of the frame.
///
/// A model that takes pictures of any size looks at the parts alone, which costs what they cover; any other looks at the whole.
/// Copied with the frame from thread to thread, so it lives without the heap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Regions {
    boxes: [BoxPx; MAX_REGIONS],
    count: usize,
    whole: bool,
    detail: bool,
}

impl Regions {
    /// The whole frame.
    pub const WHOLE: Self =
        Self { boxes: [BoxPx::new(0.0, 0.0, 0.0, 0.0); MAX_REGIONS], count: 0, whole: true, detail: false };

    /// These parts; the whole where they are more than [`MAX_REGIONS`], or none.
    pub fn of(boxes: impl IntoIterator<Item = BoxPx>) -> Self {
        let mut regions = Self { whole: false, ..Self::WHOLE };
        for bbox in boxes {
            if regions.count == MAX_REGIONS {
                return Self::WHOLE;
            }
            regions.boxes[regions.count] = bbox;
            regions.count += 1;
        }
        if regions.count == 0 { Self::WHOLE } else { regions }
    }

    /// The same, looked at as large as the cost of the whole allows, at most pixel for pixel: for objects that are small in a
    /// picture much larger than the model's input.
    #[must_use]
    pub fn in_detail(self, detail: bool) -> Self {
        Self { detail, ..self }
    }

    /// Whether the parts are to be looked at larger than the whole would be.
    pub fn is_in_detail(&self) -> bool {
        self.detail
    }

    /// Whether all of the frame is to be looked at.
    pub fn is_whole(&self) -> bool {
        self.whole
    }

    /// The parts; none where the whole is meant.
    pub fn boxes(&self) -> &[BoxPx] {
        &self.boxes[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_and_too_many_parts_are_the_whole() {
        let some = |count: usize| Regions::of((0..count).map(|i| BoxPx::new(i as f32, 0.0, 1.0, 1.0)));
        assert!(some(0).is_whole() && some(MAX_REGIONS + 1).is_whole());
        assert!(!some(1).is_whole() && some(MAX_REGIONS).boxes().len() == MAX_REGIONS);
    }
}
