//! Damage to good inputs, the same for the same seed.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// Words that parsers of numbers, times and quotes trip over.
const WORDS: [&str; 20] = [
    "-1",
    "0",
    "1e308",
    "-1e999",
    "nan",
    "inf",
    "-inf",
    "18446744073709551616",
    "-9223372036854775808",
    "0.1e-400",
    "\"",
    "'''",
    "[[",
    "]]",
    "{",
    "}",
    "\u{0}",
    "\u{feff}",
    "ÿ",
    "999999999999d",
];
/// Damages to one input, at most.
const MOST_DAMAGES: usize = 6;
/// Longest piece that is cut out, doubled or overwritten.
const LONGEST_PIECE: usize = 64;

/// Makes damaged inputs out of good ones.
pub struct Mutator {
    rng: StdRng,
    seeds: Vec<Vec<u8>>,
    is_text: bool,
}

impl Mutator {
    /// Starts at `seeds`, of which there is at least one.
    pub fn new(seeds: Vec<Vec<u8>>, is_text: bool, seed: u64) -> Self {
        assert!(!seeds.is_empty(), "there is a good input to begin with");
        Self { rng: StdRng::seed_from_u64(seed), seeds, is_text }
    }

    /// The next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.any_seed().clone();
        for _ in 0..self.rng.random_range(1..=MOST_DAMAGES) {
            self.damage(&mut input);
        }
        input
    }

    fn any_seed(&mut self) -> &Vec<u8> {
        self.seeds.choose(&mut self.rng).expect("there is at least one")
    }

    fn damage(&mut self, input: &mut Vec<u8>) {
        if input.is_empty() {
            return input.push(self.rng.random());
        }
        let at = self.rng.random_range(0..input.len());
        let end = (at + self.rng.random_range(1..=LONGEST_PIECE)).min(input.len());
        match self.rng.random_range(0..8) {
            0 => input[at] ^= 1 << self.rng.random_range(0..8),
            1 => input[at] = self.rng.random(),
            2 => input.truncate(at),
            3 => drop(input.drain(at..end)),
            4 => {
                let piece = input[at..end].to_vec();
                drop(input.splice(at..at, piece));
            }
            5 if self.is_text => {
                let word = WORDS.choose(&mut self.rng).expect("there are words");
                drop(input.splice(at..end.min(at + 4), word.bytes()));
            }
            5 => input[at..end].fill(self.rng.random()),
            6 => {
                let length = self.rng.random_range(1..=LONGEST_PIECE);
                let noise: Vec<u8> = (0..length).map(|_| self.rng.random()).collect();
                drop(input.splice(at..at, noise));
            }
            _ => {
                let other = self.any_seed().clone();
                let from = self.rng.random_range(0..other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
        }
    }
}
