//! The class of a track: voted, so that one odd frame does not make a van a bus.

/// Classes a track remembers votes for; an object is rarely taken for more.
const REMEMBERED: usize = 4;
/// When the votes sum up to this, all are halved: a track that lives for days still listens.
const MAX_VOTES: f64 = 64.0;
/// Another class must lead by this factor before the track changes to it.
const LEAD: f64 = 1.25;

/// Votes for the class of one track.
#[derive(Debug, Clone)]
pub(crate) struct ClassVotes {
    winner: u16,
    votes: [(u16, f64); REMEMBERED],
}

impl ClassVotes {
    /// One vote, `weight` strong.
    pub(crate) fn new(class: u16, weight: f64) -> Self {
        let mut votes = [(class, 0.0); REMEMBERED];
        votes[0].1 = weight;
        Self { winner: class, votes }
    }

    /// One more vote. A class without votes takes the place of the weakest.
    pub(crate) fn vote(&mut self, class: u16, weight: f64) {
        let known = self.votes.iter().position(|&(c, strength)| c == class && strength > 0.0);
        let place = known.unwrap_or_else(|| self.weakest());
        if known.is_none() {
            self.votes[place] = (class, 0.0);
        }
        self.votes[place].1 += weight;
        let leads = self.votes[place].1 > LEAD * self.strength(self.winner);
        if leads {
            self.winner = class;
        }
        if self.votes.iter().map(|vote| vote.1).sum::<f64>() > MAX_VOTES {
            for vote in &mut self.votes {
                vote.1 /= 2.0;
            }
        }
    }

    /// The class so far.
    pub(crate) fn winner(&self) -> u16 {
        self.winner
    }

    fn strength(&self, class: u16) -> f64 {
        self.votes.iter().filter(|vote| vote.0 == class).map(|vote| vote.1).sum()
    }

    /// The place with the fewest votes that is not the winner's.
    fn weakest(&self) -> usize {
        let rank = |place: &usize| {
            let (class, strength) = self.votes[*place];
            if class == self.winner && strength > 0.0 { f64::INFINITY } else { strength }
        };
        (0..REMEMBERED).min_by(|a, b| rank(a).total_cmp(&rank(b))).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_frame_changes_nothing_and_a_lasting_lead_does() {
        let mut votes = ClassVotes::new(2, 0.5);
        for _ in 0..5 {
            votes.vote(2, 0.9);
        }
        votes.vote(7, 0.95);
        assert_eq!(votes.winner(), 2);
        for _ in 0..8 {
            votes.vote(7, 0.95);
        }
        assert_eq!(votes.winner(), 7);
    }

    #[test]
    fn a_track_of_days_still_listens() {
        let mut votes = ClassVotes::new(2, 0.9);
        for _ in 0..1_000_000 {
            votes.vote(2, 0.9);
        }
        for _ in 0..200 {
            votes.vote(7, 0.9);
        }
        assert_eq!(votes.winner(), 7);
    }

    #[test]
    fn many_classes_do_not_push_the_winner_out() {
        let mut votes = ClassVotes::new(0, 0.9);
        for class in 1..100 {
            votes.vote(class, 0.3);
        }
        assert_eq!(votes.winner(), 0);
    }
}
