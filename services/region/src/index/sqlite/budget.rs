//! A bound on the work of one question.

use super::readers::Snapshot;
use crate::index::Result;

/// Reading a row by its key costs about as much as this many entries of an index walk.
pub(super) const ROW_COST: usize = 5;
/// How much work is done between two looks at whether anybody still waits for the answer: about a millisecond.
const CHECK_EVERY: usize = 2_048;

/// Work left to one question, in entries of an index walk.
pub(super) struct Budget<'s> {
    snapshot: &'s Snapshot<'s>,
    left: usize,
    until_check: usize,
}

impl<'s> Budget<'s> {
    pub(super) fn new(snapshot: &'s Snapshot<'s>, work: usize) -> Self {
        Self { snapshot, left: work, until_check: CHECK_EVERY }
    }

    /// Takes `cost` from what is left; false when there was not enough.
    ///
    /// # Errors
    /// [`crate::index::IndexError::Cancelled`] when nobody waits for the answer any more.
    pub(super) fn spend(&mut self, cost: usize) -> Result<bool> {
        if self.until_check <= cost {
            self.until_check = CHECK_EVERY;
            self.snapshot.check_wanted()?;
        } else {
            self.until_check -= cost;
        }
        let Some(left) = self.left.checked_sub(cost) else { return Ok(false) };
        self.left = left;
        Ok(true)
    }
}
