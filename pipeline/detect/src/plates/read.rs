//! What stands on a plate.
//!
//! Connectionist temporal classification, best path: Graves et al., ICML 2006, section 3.2.

use vigil_base::Frame;

use super::Character;
use super::flatten::{Quad, flatten};
use super::manifest::{Blank, Format, PlatesEntry};
use super::network::{Network, wrong_answer};
use crate::open::OpenError;
use crate::preprocess::InputSpec;
use crate::provider::Provider;
use crate::{DetectError, Runtime};

/// Reads a plate whose corners are known.
pub(super) struct Reader {
    network: Network,
    spec: InputSpec,
    alphabet: Vec<char>,
    blank: Blank,
    format: Option<Format>,
}

impl Reader {
    pub fn open(runtime: &Runtime, entry: &PlatesEntry, file: &[u8], on: Provider) -> Result<Self, OpenError> {
        let network = Network::open(runtime, &entry.reader, file, on)?;
        let mut reader = Self {
            network,
            spec: entry.reader.input,
            alphabet: entry.alphabet.clone(),
            blank: entry.blank,
            format: entry.format.clone(),
        };
        // On a black plate: the answer's shape is what is checked.
        reader.run().map_err(OpenError::Model)?;
        Ok(reader)
    }

    pub fn read(&mut self, frame: &Frame, corners: &Quad) -> Result<Vec<Character>, DetectError> {
        flatten(frame, corners, &self.spec, &mut self.network.slot());
        let read = self.run()?;
        // A scrap of a plate, as when its first character is too small to be read, would be read as surely as a whole one.
        let fits = |format: &Format| format.fits(&read.iter().map(|read| read.character).collect::<String>());
        Ok(if self.format.as_ref().is_none_or(fits) { read } else { Vec::new() })
    }

    fn run(&mut self) -> Result<Vec<Character>, DetectError> {
        let (name, alphabet, blank) = (self.network.name().to_owned(), &self.alphabet, self.blank);
        self.network.run(|steps, classes, numbers| {
            if classes != alphabet.len() + 1 {
                let expected =
                    format!("[1, T, {}]: a blank and the {} of the alphabet", alphabet.len() + 1, alphabet.len());
                return Err(wrong_answer(&name, expected, format!("[1, {steps}, {classes}]")));
            }
            let spoilt = numbers.iter().filter(|number| !number.is_finite()).count();
            if spoilt > 0 {
                return Err(DetectError::NotNumbers { model: name, spoilt, anchors: numbers.len() });
            }
            Ok(best_path(numbers, alphabet, blank))
        })
    }
}

/// A run of one symbol is a character, as sure as its surest step.
fn best_path(numbers: &[f32], alphabet: &[char], blank: Blank) -> Vec<Character> {
    let empty = if blank == Blank::First { 0 } else { alphabet.len() };
    let mut read: Vec<Character> = Vec::new();
    let mut before = empty;
    for step in numbers.chunks_exact(alphabet.len() + 1) {
        let better = |best: (usize, f32), this: (usize, &f32)| if *this.1 > best.1 { (this.0, *this.1) } else { best };
        let (symbol, sure) = step.iter().enumerate().fold((empty, f32::NEG_INFINITY), better);
        let confidence = sure.clamp(0.0, 1.0);
        match read.last_mut() {
            Some(last) if symbol == before && symbol != empty => last.confidence = last.confidence.max(confidence),
            _ if symbol != empty => {
                let character = alphabet[symbol - usize::from(blank == Blank::First)];
                read.push(Character { character, confidence });
            }
            _ => {}
        }
        before = symbol;
    }
    read
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One step that is sure of `symbol`.
    fn step(symbol: usize, sure: f32) -> [f32; 3] {
        let mut step = [(1.0 - sure) / 2.0; 3];
        step[symbol] = sure;
        step
    }

    fn text(steps: &[(usize, f32)], blank: Blank) -> (String, Vec<f32>) {
        let numbers: Vec<f32> = steps.iter().flat_map(|(symbol, sure)| step(*symbol, *sure)).collect();
        let read = best_path(&numbers, &['A', 'B'], blank);
        (read.iter().map(|read| read.character).collect(), read.iter().map(|read| read.confidence).collect())
    }

    #[test]
    fn runs_are_one_character_and_a_blank_parts_two_of_the_same() {
        let steps = [(0, 0.9), (1, 0.6), (1, 0.8), (0, 0.9), (1, 0.7), (2, 0.9), (0, 0.9)];
        assert_eq!(text(&steps, Blank::First), ("AAB".to_owned(), vec![0.8, 0.7, 0.9]));
        let last = [(2, 0.9), (0, 0.6), (2, 0.9), (1, 0.7)];
        assert_eq!(text(&last, Blank::Last), ("AB".to_owned(), vec![0.6, 0.7]));
        assert_eq!(text(&[(0, 0.9)], Blank::First).0, "");
    }
}
