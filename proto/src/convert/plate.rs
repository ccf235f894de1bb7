//! Plates as they are asked for: a text, and how it is compared with what was read.

use std::str::FromStr;

use super::{WireError, bounded_text};
use crate::v1;

/// Longest text that is asked for, in bytes: the longest plates there are have ten characters, some of them of three bytes.
const MAX_BYTES: usize = 16;
/// Shortest text, in characters, that may have one wrong: of three characters, each plate of two and many of four would be meant.
pub const MIN_ONE_WRONG: usize = 4;

/// How a plate is compared with what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlateMatch {
    /// It stands anywhere in it.
    Part,
    /// What was read begins with it.
    Prefix,
    /// It is all of it.
    Exact,
    /// It is all of it but for at most one character, which is another, missing, or too many.
    OneWrong,
    /// Whatever was read.
    Any,
}

/// Which plates are meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PlatePattern {
    text: String,
    how: PlateMatch,
}

impl PlatePattern {
    /// Every plate.
    pub const ANY: Self = Self { text: String::new(), how: PlateMatch::Any };

    /// The plates that `text` means, in any case.
    ///
    /// # Errors
    /// It is not made of letters and digits, is empty where it may not be, too long, or too short to have one wrong.
    pub fn new(text: &str, how: PlateMatch) -> Result<Self, WireError> {
        let text = bounded_text("plate", text.to_owned(), MAX_BYTES)?.to_uppercase();
        if !text.chars().all(char::is_alphanumeric) {
            return Err(WireError::new("plate", "must be letters and digits alone"));
        }
        let length = text.chars().count();
        match how {
            PlateMatch::Any if length > 0 => Err(WireError::new("plate", "must be empty where any plate is meant")),
            PlateMatch::Part | PlateMatch::Prefix | PlateMatch::Exact if length == 0 => {
                Err(WireError::new("plate_match", "is set, and no plate to be compared"))
            }
            PlateMatch::OneWrong if length < MIN_ONE_WRONG => {
                let problem = format!("must have {MIN_ONE_WRONG} characters or more, where one of them may be wrong");
                Err(WireError::new("plate", problem))
            }
            _ => Ok(Self { text, how }),
        }
    }

    /// The text, upper case.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How it is compared.
    pub fn how(&self) -> PlateMatch {
        self.how
    }

    /// Whether this plate, as read, is meant.
    pub fn matches(&self, plate: &str) -> bool {
        match self.how {
            PlateMatch::Part => plate.contains(&self.text),
            PlateMatch::Prefix => plate.starts_with(&self.text),
            PlateMatch::Exact => plate == self.text,
            PlateMatch::OneWrong => at_most_one_differs(&self.text, plate),
            PlateMatch::Any => true,
        }
    }
}

/// A part of a plate.
impl FromStr for PlatePattern {
    type Err = WireError;

    fn from_str(text: &str) -> Result<Self, WireError> {
        Self::new(text, PlateMatch::Part)
    }
}

/// Whether the Levenshtein distance of two texts, by characters, is at most 1: what lies between their common beginning and
/// their common end is at most one character of each.
fn at_most_one_differs(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let shorter = a.len().min(b.len());
    let begin = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let end = a[begin..].iter().rev().zip(b[begin..].iter().rev()).take_while(|(a, b)| a == b).count();
    let differing = a.len().max(b.len()) - begin - end.min(shorter - begin);
    differing <= 1
}

/// The pattern of a filter; none where no plate is asked for.
pub(super) fn plate_from_wire(text: &str, how: i32) -> Result<Option<PlatePattern>, WireError> {
    let unknown = || WireError::new("plate_match", format!("{how} is not a known way to compare"));
    let how = match v1::PlateMatch::try_from(how).map_err(|_| unknown())? {
        v1::PlateMatch::Unspecified if text.is_empty() => return Ok(None),
        v1::PlateMatch::Unspecified | v1::PlateMatch::Part => PlateMatch::Part,
        v1::PlateMatch::Prefix => PlateMatch::Prefix,
        v1::PlateMatch::Exact => PlateMatch::Exact,
        v1::PlateMatch::OneWrong => PlateMatch::OneWrong,
        v1::PlateMatch::Any => PlateMatch::Any,
    };
    PlatePattern::new(text, how).map(Some)
}

/// For the wire: the text, and how it is compared.
pub(super) fn plate_to_wire(pattern: Option<&PlatePattern>) -> (String, i32) {
    let Some(pattern) = pattern else { return Default::default() };
    let how = match pattern.how {
        PlateMatch::Part => v1::PlateMatch::Part,
        PlateMatch::Prefix => v1::PlateMatch::Prefix,
        PlateMatch::Exact => v1::PlateMatch::Exact,
        PlateMatch::OneWrong => v1::PlateMatch::OneWrong,
        PlateMatch::Any => v1::PlateMatch::Any,
    };
    (pattern.text.clone(), how.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: [PlateMatch; 5] =
        [PlateMatch::Part, PlateMatch::Prefix, PlateMatch::Exact, PlateMatch::OneWrong, PlateMatch::Any];

    proptest! {
        #[test]
        fn one_wrong_is_a_levenshtein_distance_of_one_at_most(a in "[AB京]{0,6}", b in "[AB京]{0,6}") {
            prop_assert_eq!(at_most_one_differs(&a, &b), strsim::levenshtein(&a, &b) <= 1);
        }

        #[test]
        fn a_pattern_survives_the_wire_and_none_panics(text in "\\PC{0,12}", how in 0usize..5) {
            if let Ok(pattern) = PlatePattern::new(&text, ALL[how]) {
                let (text, how) = plate_to_wire(Some(&pattern));
                prop_assert_eq!(plate_from_wire(&text, how).unwrap(), Some(pattern));
            }
        }
    }

    #[test]
    fn each_way_to_compare_means_its_own_plates() {
        let matching = |text, how| -> Vec<&str> {
            let pattern = PlatePattern::new(text, how).unwrap();
            ["BAB12", "BAB1", "AB12", "BXB12", "XBAB12", "BAB21"].into_iter().filter(|p| pattern.matches(p)).collect()
        };
        assert_eq!(matching("bab1", PlateMatch::Part), ["BAB12", "BAB1", "XBAB12"]);
        assert_eq!(matching("BAB", PlateMatch::Prefix), ["BAB12", "BAB1", "BAB21"]);
        assert_eq!(matching("BAB12", PlateMatch::Exact), ["BAB12"]);
        assert_eq!(matching("BAB12", PlateMatch::OneWrong), ["BAB12", "BAB1", "AB12", "BXB12", "XBAB12"]);
        assert_eq!(matching("", PlateMatch::Any).len(), 6);
    }

    #[test]
    fn patterns_that_mean_nothing_or_too_much_are_refused_by_the_name_of_the_field() {
        let field = |text: &str, how: v1::PlateMatch| plate_from_wire(text, how.into()).unwrap_err().field;
        assert_eq!(field("AB1", v1::PlateMatch::OneWrong), "plate");
        assert_eq!(field("AB1", v1::PlateMatch::Any), "plate");
        assert_eq!(field("", v1::PlateMatch::Prefix), "plate_match");
        assert_eq!(field("A%", v1::PlateMatch::Part), "plate");
        assert_eq!(field(&"A".repeat(17), v1::PlateMatch::Exact), "plate");
        assert_eq!(plate_from_wire("AB", 99).unwrap_err().field, "plate_match");
        assert_eq!(plate_from_wire("", 0).unwrap(), None);
        assert_eq!(plate_from_wire("ab", 0).unwrap(), Some("AB".parse().unwrap()));
    }
}
