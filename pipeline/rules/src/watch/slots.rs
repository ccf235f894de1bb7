//! One state per track.

/// States by the tracks' slots, which are few and used again, so that memory is bounded by the tracks that live at once
/// and nothing is allocated once there were as many as there will be.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    states: Vec<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { states: Vec::new() }
    }
}

impl<T: Default> Slots<T> {
    /// The state of a slot; a new one where it has none.
    pub fn of(&mut self, slot: usize) -> &mut T {
        if slot >= self.states.len() {
            self.states.resize_with(slot + 1, T::default);
        }
        &mut self.states[slot]
    }

    /// Takes a slot's state away.
    pub fn take(&mut self, slot: usize) -> T {
        self.states.get_mut(slot).map(std::mem::take).unwrap_or_default()
    }

    /// All states, also those of slots that nobody has.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.states.iter()
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.states.clear();
    }
}
