//! Plates as they are read, and lists of plates.

use std::collections::BTreeSet;
use std::fmt;

use crate::config::Fault;

/// Most letters and digits of a plate; the longest in use have ten.
const MAX_CHARACTERS: usize = 16;

/// The letters and digits of a plate, upper case; `None` when there is none, or more than any plate has.
fn bare(text: &str) -> Option<String> {
    let characters = text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase);
    let bare: String = characters.take(MAX_CHARACTERS + 1).collect();
    let count = bare.chars().count();
    (1..=MAX_CHARACTERS).contains(&count).then_some(bare)
}

/// The same with one character for all that readers confuse.
fn blurred(bare: &str) -> String {
    let one_for_all = |c| match c {
        'O' | 'Q' | 'D' => '0',
        'I' | 'L' => '1',
        'Z' => '2',
        'S' => '5',
        'B' => '8',
        other => other,
    };
    bare.chars().map(one_for_all).collect()
}

/// Plates that somebody looks for.
#[derive(Clone, PartialEq)]
pub(crate) struct PlateList {
    /// Bare, or blurred where alike ones are taken for the same.
    plates: BTreeSet<String>,
    alike: bool,
}

impl PlateList {
    pub(crate) fn new(plates: &[String], alike: bool) -> Result<Self, Fault> {
        let mut found = BTreeSet::new();
        for (index, text) in plates.iter().enumerate() {
            let problem = || format!("must have 1 to {MAX_CHARACTERS} letters and digits");
            let plate = bare(text).ok_or_else(|| Fault::at(format!("[{index}]"), problem()))?;
            found.insert(if alike { blurred(&plate) } else { plate });
        }
        Ok(Self { plates: found, alike })
    }

    /// Whether a reading is one of them.
    pub(crate) fn holds(&self, reading: &str) -> bool {
        let Some(plate) = bare(reading) else { return false };
        if self.alike { self.plates.contains(&blurred(&plate)) } else { self.plates.contains(&plate) }
    }
}

impl fmt::Debug for PlateList {
    /// How many, not which: logs are no place for them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlateList {{ {} plates, alike: {} }}", self.plates.len(), self.alike)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(plates: &[&str], alike: bool) -> PlateList {
        let plates: Vec<String> = plates.iter().map(ToString::to_string).collect();
        PlateList::new(&plates, alike).unwrap()
    }

    #[test]
    fn case_blanks_and_dashes_do_not_matter_and_characters_do() {
        let listed = list(&["b-ab 1234", "京A·12345"], false);
        assert!(listed.holds("BAB1234") && listed.holds("b ab-1234") && listed.holds("京a12345"));
        assert!(!listed.holds("BAB1235") && !listed.holds("8AB1234") && !listed.holds(""));
    }

    #[test]
    fn alike_characters_are_the_same_only_where_asked_for() {
        let listed = list(&["BO 150"], true);
        assert!(listed.holds("80 ISO") && listed.holds("BO150"));
        assert!(!listed.holds("BO 151"));
    }

    #[test]
    fn what_is_no_plate_is_refused_and_what_is_on_a_list_is_not_shown() {
        assert!(PlateList::new(&["ok1".into(), " - ".into()], false).is_err());
        assert!(PlateList::new(&["x".repeat(17)], false).is_err());
        assert!(!format!("{:?}", list(&["SECRET1"], false)).contains("SECRET1"));
    }
}
