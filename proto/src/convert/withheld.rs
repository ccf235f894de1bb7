//! Marks of what a policy withholds, as words.

use crate::v1::Withheld;

/// All marks with their words.
const WORDS: [(Withheld, &str); 11] = [
    (Withheld::Unspecified, "something"),
    (Withheld::Plate, "plate"),
    (Withheld::Appearance, "appearance"),
    (Withheld::Thumbnail, "thumbnail"),
    (Withheld::Position, "position"),
    (Withheld::Footage, "footage"),
    (Withheld::Events, "events"),
    (Withheld::History, "history"),
    (Withheld::Counts, "counts"),
    (Withheld::Live, "live"),
    (Withheld::Coverage, "coverage"),
];

/// What is withheld, in a word.
pub fn withheld_name(mark: Withheld) -> &'static str {
    WORDS[mark as usize].1
}

/// What a word of [`withheld_name`] means.
pub fn withheld_of_name(name: &str) -> Option<Withheld> {
    WORDS.iter().find(|(_, word)| *word == name).map(|(mark, _)| *mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mark_has_its_word() {
        for (number, (mark, word)) in WORDS.into_iter().enumerate() {
            assert_eq!(mark as usize, number);
            assert_eq!((withheld_name(mark), withheld_of_name(word)), (word, Some(mark)));
        }
        assert!(Withheld::try_from(WORDS.len() as i32).is_err(), "a mark without a word");
        assert_eq!(withheld_of_name("all"), None);
    }
}
