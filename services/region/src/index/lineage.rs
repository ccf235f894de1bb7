//! Which past an index shares with a reader that comes back with a cursor.
//!
//! An index that is put back to a backup gives its commit numbers out again: a reader that had come further than the backup
//! must not go on behind its number, or it would miss what now has the numbers before it. So each start of the index leaves a
//! mark in it, an id of its own and the newest commit at that moment, and each cursor names some of the marks that it was
//! made under, in steps that grow with their age, as a block locator does in the protocol of Bitcoin, and where the history
//! that it knows went on from each. The newest mark that both have is where they were one; which of the two went on from it
//! first says how far. No clock is asked.

use serde::{Deserialize, Serialize};

use super::CommitSeq;

/// Marks that an index keeps, the newest; a cursor under none of them is refused.
pub(crate) const MAX_STARTS: usize = 1_024;
/// How far back the marks lie that a cursor names, in starts; more would make cursors longer than the contract promises.
const STEPS: [usize; 5] = [0, 1, 2, 8, 64];

/// A start of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Drawn at random: two histories that parted do not have the same.
    pub(crate) id: u32,
    /// Every commit of this start and of later ones is greater, no commit of an earlier one is.
    pub(crate) after: CommitSeq,
}

impl Start {
    /// One that is made now.
    pub(crate) fn new(after: CommitSeq) -> Self {
        Self { id: uuid::Uuid::new_v4().as_fields().0, after }
    }
}

/// By what a later lineage finds what it shares with the one that this is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locator {
    /// Ids of starts, newest first.
    pub(crate) starts: Vec<u32>,
    /// The newest commit under each of them but the first, which may still go on.
    pub(crate) ends: Vec<u64>,
}

/// The starts of an index, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lineage {
    starts: Vec<Start>,
    locator: Locator,
}

impl Lineage {
    pub(crate) fn new(starts: Vec<Start>) -> Self {
        let named = STEPS.iter().map_while(|steps| starts.len().checked_sub(steps + 1));
        let ends = named.clone().skip(1).map(|index| starts[index + 1].after.0).collect();
        let locator = Locator { starts: named.map(|index| starts[index].id).collect(), ends };
        Self { starts, locator }
    }

    /// What a cursor carries.
    pub fn locator(&self) -> &Locator {
        &self.locator
    }

    /// How far somebody who read all commits up to `read`, under the starts of `locator`, has read of this index: at most
    /// `read`. None: nothing is known of what the two share.
    pub fn shared(&self, locator: &Locator, read: CommitSeq) -> Option<CommitSeq> {
        // Who has read nothing shares that with every history; a start without a commit leaves no mark by which to find it.
        if read == CommitSeq(0) {
            return Some(read);
        }
        let of = |(place, id): (usize, &u32)| {
            let own = self.starts.iter().rposition(|start| start.id == *id)?;
            Some((own, place.checked_sub(1).and_then(|place| locator.ends.get(place))))
        };
        let (newest_shared, its_end) = locator.starts.iter().enumerate().find_map(of)?;
        let own_end = self.starts.get(newest_shared + 1).map(|start| start.after);
        let its_end = its_end.map(|end| CommitSeq(*end));
        Some([own_end, its_end].into_iter().flatten().fold(read, CommitSeq::min))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// An index as its backups hold it: what each number stands for, and the starts.
    #[derive(Debug, Clone, Default)]
    struct Index {
        commits: BTreeMap<u64, u32>,
        reserved: u64,
        starts: Vec<Start>,
    }

    impl Index {
        fn start(&mut self, id: u32) {
            let after = CommitSeq(self.reserved);
            self.starts.retain(|start| start.after != after);
            self.starts.push(Start { id, after });
        }

        fn commit(&mut self, what: u32, gap: u64) {
            self.reserved += 1 + gap;
            self.commits.insert(self.reserved, what);
        }

        fn lineage(&self) -> Lineage {
            Lineage::new(self.starts.clone())
        }
    }

    /// Somebody who read all up to a number, and what that was.
    struct Reader {
        locator: Locator,
        read: CommitSeq,
        seen: Vec<u32>,
    }

    #[derive(Debug, Clone)]
    enum Step {
        Start,
        Commit(u64),
        BackUp,
        Restore(prop::sample::Index),
        Read(prop::sample::Index),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            2 => Just(Step::Start),
            6 => (0u64..3).prop_map(Step::Commit),
            2 => Just(Step::BackUp),
            1 => any::<prop::sample::Index>().prop_map(Step::Restore),
            3 => any::<prop::sample::Index>().prop_map(Step::Read),
        ]
    }

    proptest! {
        /// Whatever was backed up and put back: nobody is put behind a commit that they did not read.
        #[test]
        fn nobody_is_put_behind_what_they_did_not_read(steps in prop::collection::vec(step(), 1..200)) {
            let mut index = Index::default();
            index.start(0);
            let (mut backups, mut readers) = (vec![index.clone()], Vec::new());
            for (number, step) in (1u32..).zip(steps) {
                match step {
                    Step::Start => index.start(number),
                    Step::Commit(gap) => index.commit(number, gap),
                    Step::BackUp => backups.push(index.clone()),
                    Step::Restore(which) => {
                        index = which.get(&backups).clone();
                        index.start(number);
                    }
                    Step::Read(how_far) => {
                        let read = how_far.index(index.reserved as usize + 1) as u64;
                        let seen = index.commits.range(..=read).map(|(_, what)| *what).collect();
                        readers.push(Reader { locator: index.lineage().locator, read: CommitSeq(read), seen });
                    }
                }
                for reader in &readers {
                    let Some(place) = index.lineage().shared(&reader.locator, reader.read) else { continue };
                    prop_assert!(place <= reader.read);
                    for (seq, what) in index.commits.range(..=place.0) {
                        prop_assert!(reader.seen.contains(what), "{seq} was not read");
                    }
                }
            }
        }

        /// As long as nothing was put back, a cursor's place is its own.
        #[test]
        fn restarts_move_no_cursor(restarts in 1u32..300, commits in 1u64..20) {
            let mut index = Index::default();
            index.start(0);
            index.commit(0, 0);
            let (locator, read) = (index.lineage().locator, CommitSeq(index.reserved));
            for number in 1..=restarts {
                index.start(number);
                (0..commits).for_each(|_| index.commit(number, 0));
            }
            prop_assert_eq!(index.lineage().shared(&locator, read), Some(read));
        }
    }

    #[test]
    fn a_reader_of_an_index_that_never_had_a_commit_finds_its_place_after_a_restart() {
        let mut index = Index::default();
        index.start(1);
        let before = index.lineage();
        index.start(2);
        assert_eq!(index.lineage().shared(before.locator(), CommitSeq(0)), Some(CommitSeq(0)));
    }

    #[test]
    fn a_reader_of_what_was_lost_goes_back_to_the_backup() {
        let starts = |list: &[(u32, u64)]| {
            Lineage::new(list.iter().map(|&(id, after)| Start { id, after: CommitSeq(after) }).collect())
        };
        let before = starts(&[(1, 0), (2, 40)]);
        let restored = starts(&[(1, 0), (3, 25)]);
        assert_eq!(restored.shared(before.locator(), CommitSeq(60)), Some(CommitSeq(25)));
        assert_eq!(restored.shared(before.locator(), CommitSeq(20)), Some(CommitSeq(20)));
        // The backup was the wrong one, and a later one is put in its place.
        let later = starts(&[(1, 0), (2, 40), (4, 50)]);
        assert_eq!(later.shared(restored.locator(), CommitSeq(60)), Some(CommitSeq(25)));
        assert_eq!(starts(&[(7, 0)]).shared(before.locator(), CommitSeq(60)), None);
    }
}
