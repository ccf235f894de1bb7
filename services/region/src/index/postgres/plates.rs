//! Plates, asked for in the server's terms.

use vigil_proto::convert::{PlateMatch, PlatePattern};

/// An advanced regular expression (PostgreSQL, section 9.7.3) that matches the plates of a pattern. Its text is letters and
/// digits, which stand for themselves.
pub(super) fn plate_regex(pattern: &PlatePattern) -> String {
    let text = pattern.text();
    match pattern.how() {
        PlateMatch::Any => String::new(),
        PlateMatch::Part => text.to_owned(),
        PlateMatch::Prefix => format!("^{text}"),
        PlateMatch::Exact => format!("^{text}$"),
        PlateMatch::OneWrong => format!("^(?:{})$", one_wrong(text).join("|")),
    }
}

/// At each place of a text: another character or none in its stead, or one more before it.
fn one_wrong(text: &str) -> Vec<String> {
    let mut ways = Vec::new();
    for (at, character) in text.char_indices() {
        let (before, after) = (&text[..at], &text[at + character.len_utf8()..]);
        ways.push(format!("{before}.?{after}"));
        ways.push(format!("{before}.{character}{after}"));
    }
    ways.push(format!("{text}."));
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_compare_has_its_expression() {
        let regex = |text, how| plate_regex(&PlatePattern::new(text, how).unwrap());
        assert_eq!(regex("AB1", PlateMatch::Part), "AB1");
        assert_eq!(regex("AB1", PlateMatch::Prefix), "^AB1");
        assert_eq!(regex("AB1", PlateMatch::Exact), "^AB1$");
        let wrong = "^(?:.?B12|.AB12|A.?12|A.B12|AB.?2|AB.12|AB1.?|AB1.2|AB12.)$";
        assert_eq!(regex("AB12", PlateMatch::OneWrong), wrong);
        assert!(plate_regex(&PlatePattern::ANY).is_empty());
    }
}
