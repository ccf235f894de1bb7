//! What several readings of one plate say together.
//!
//! Each reading gives its character, at each place, the probability that the reader gave it, and shares the rest among
//! [`RIVALS`] others; places are taken for independent (naive Bayes). So one reading is as sure as the reader says, and
//! readings that agree are surer than each. Readings of one plate are not independent, they share dirt, light and angle: of
//! each further one only half counts as news, and all together hardly more than one: votes find the right characters, and
//! agreement alone proves little.

use std::collections::BTreeMap;

use vigil_base::event::MAX_PLATE_BYTES;
use vigil_detect::Character;

/// Characters that one is mistaken for, as 8 for B, 3, 6, 9, 0 and S.
const RIVALS: f32 = 10.0;
/// What a reader says is taken for no surer: networks are overconfident.
const SUREST: f32 = 0.99;
/// And for no less sure: what it read is still likelier than each rival.
const LEAST_SURE: f32 = 0.1;
/// No number of readings makes a plate certain.
const SUREST_VERDICT: f32 = 0.999;
/// How much of each further reading is news.
const NEWS: f32 = 0.5;
/// All readings of a plate are worth so many that are independent, at the most. What is misread is misread at every look: of 160
/// drawn plates of 18 to 48 pixels (as in `scripts/bench plates`), 47 of 51 that were told with 0.8 or more were right with this
/// bound, 73 of 103 with 3; the mean squared error of the confidence was 0.18 and 0.26, and 0.19 where nothing is news.
const MOST_NEWS: f32 = 1.25;
/// Fewest characters of a plate; less is a scrap of one.
const MIN_CHARACTERS: usize = 3;
/// Most different numbers of characters that are kept apart; each is a plate of its own kind, and no plate has ten.
const MAX_LENGTHS: usize = 10;

/// Readings of one plate.
#[derive(Debug, Clone, Default)]
pub struct Ballot {
    /// By how many characters were read.
    lengths: BTreeMap<usize, Tally>,
}

#[derive(Debug, Clone, Default)]
struct Tally {
    readings: u32,
    /// Logarithm of odds, summed: that the readings are right as a whole.
    whole: f32,
    /// At each place, by character, the logarithm of its odds, summed.
    places: Vec<BTreeMap<char, f32>>,
}

/// What the readings say.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Letters and digits.
    pub text: String,
    /// That all of them are right, 0..1.
    pub confidence: f32,
    /// Readings that it comes from.
    pub readings: u32,
}

impl Ballot {
    /// Takes in a reading; false when it is none: too short, or longer than an event may carry.
    pub fn add(&mut self, reading: &[Character]) -> bool {
        let bytes: usize = reading.iter().map(|read| read.character.len_utf8()).sum();
        if reading.len() < MIN_CHARACTERS || bytes > MAX_PLATE_BYTES {
            return false;
        }
        if !self.lengths.contains_key(&reading.len()) && self.lengths.len() == MAX_LENGTHS {
            return false;
        }
        let tally = self.lengths.entry(reading.len()).or_default();
        tally.readings += 1;
        tally.whole += log_odds(reading.iter().map(|read| read.confidence).product());
        tally.places.resize_with(reading.len(), BTreeMap::new);
        for (place, read) in tally.places.iter_mut().zip(reading) {
            *place.entry(read.character).or_default() += log_odds(read.confidence);
        }
        true
    }

    /// What all readings say; none without a reading.
    pub fn verdict(&self) -> Option<Verdict> {
        let best = self.lengths.values().max_by(|a, b| a.whole.total_cmp(&b.whole))?;
        let others: f32 =
            self.lengths.values().map(|tally| (tally.news(tally.whole) - best.news(best.whole)).exp()).sum();
        let (mut text, mut confidence) = (String::new(), 1.0 / others);
        for place in &best.places {
            let (character, score) = place.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
            text.push(*character);
            let rivals: f32 = place.values().map(|rival| (best.news(*rival) - best.news(*score)).exp()).sum();
            let unseen = (RIVALS + 1.0 - place.len() as f32).max(0.0);
            confidence /= rivals + unseen * (-best.news(*score)).exp();
        }
        Some(Verdict { text, confidence: confidence.min(SUREST_VERDICT), readings: best.readings })
    }
}

impl Tally {
    /// What a sum over all readings counts for.
    fn news(&self, sum: f32) -> f32 {
        let readings = self.readings.max(1) as f32;
        sum * (1.0 + NEWS * (readings - 1.0)).min(MOST_NEWS) / readings
    }
}

/// Logarithm of the odds of a character against one of its rivals.
fn log_odds(confidence: f32) -> f32 {
    let sure = if confidence.is_finite() { confidence.clamp(LEAST_SURE, SUREST) } else { LEAST_SURE };
    (sure * RIVALS / (1.0 - sure)).ln()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reading(text: &str, confidence: f32) -> Vec<Character> {
        text.chars().map(|character| Character { character, confidence }).collect()
    }

    fn verdict(readings: &[(&str, f32)]) -> Verdict {
        let mut ballot = Ballot::default();
        assert!(readings.iter().all(|(text, confidence)| ballot.add(&reading(text, *confidence))));
        ballot.verdict().unwrap()
    }

    #[test]
    fn one_reading_is_as_sure_as_the_reader_says() {
        let Verdict { text, confidence, readings } = verdict(&[("京A12345", 0.9)]);
        assert_eq!((text.as_str(), readings), ("京A12345", 1));
        assert!((confidence - 0.9f32.powi(7)).abs() < 0.01, "{confidence}");
    }

    #[test]
    fn the_right_characters_of_readings_that_are_each_wrong_make_the_plate() {
        let readings = [("BAB1234", 0.99), ("8AB1234", 0.9), ("BAB1284", 0.9), ("BAB1234", 0.99), ("BAD1234", 0.9)];
        let voted = verdict(&readings);
        assert_eq!((voted.text.as_str(), voted.readings), ("BAB1234", 5));
        assert!(voted.confidence > 0.8, "{}", voted.confidence);
    }

    #[test]
    fn a_scrap_does_not_spoil_the_plate() {
        let voted = verdict(&[("BAB1234", 0.9), ("AB123", 0.5), ("BAB1234", 0.9), ("BAB12344", 0.4)]);
        assert_eq!(voted.text, "BAB1234");
        assert!(voted.confidence > 0.6, "{}", voted.confidence);
    }

    #[test]
    fn two_that_contradict_each_other_make_nobody_sure() {
        let voted = verdict(&[("BAB1234", 0.95), ("8AB1234", 0.95)]);
        assert!(voted.confidence < 0.55, "{}", voted.confidence);
    }

    #[test]
    fn what_is_no_plate_is_not_counted() {
        let mut ballot = Ballot::default();
        assert!(!ballot.add(&[]) && !ballot.add(&reading("AB", 0.9)) && !ballot.add(&reading(&"京".repeat(11), 0.9)));
        assert_eq!(ballot.verdict(), None);
        for length in 3..30 {
            ballot.add(&reading(&"A".repeat(length), 0.9));
        }
        assert!(ballot.lengths.len() <= MAX_LENGTHS);
    }

    proptest! {
        #[test]
        fn readings_that_agree_make_surer_and_order_does_not_matter(
            texts in prop::collection::vec(("[A-D]{3,6}", 0f32..1.0), 1..12), again in 0f32..1.0,
        ) {
            let texts: Vec<_> = texts.iter().map(|(text, sure)| (text.as_str(), *sure)).collect();
            let voted = verdict(&texts);
            prop_assert!((0.0..=1.0).contains(&voted.confidence));
            let reversed: Vec<_> = texts.iter().rev().copied().collect();
            prop_assert!((verdict(&reversed).confidence - voted.confidence).abs() < 1e-3);
            let one = verdict(&[("ABC", again)]).confidence;
            prop_assert!(verdict(&[("ABC", again), ("ABC", again)]).confidence >= one - 1e-6);
        }
    }
}
