//! What every engine derives from an event in the same way: its place in time, what it is counted under, and small
//! numbers for kinds, colours and lengths. The numbers are stored.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use vigil_base::event::{Colour, Event, EventKind};
use vigil_base::{RuleKind, Timestamp};
use vigil_proto::convert::{PlateMatch, PlatePattern};

use super::Position;
pub(crate) use super::types::begin_range;

/// One hour, in microseconds.
pub(crate) const HOUR_US: i64 = 3_600_000_000;
/// Largest page: below the 4 MiB that a gRPC client takes unless it was told otherwise.
pub(crate) const MAX_PAGE_BYTES: usize = 3 * 1024 * 1024;

/// Place of an event in the order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) begin_us: i64,
    pub(crate) id: [u8; 16],
}

impl Key {
    /// Newer than every event.
    pub(crate) const NEWEST: Self = Self { begin_us: i64::MAX, id: [0xff; 16] };

    /// Before (older than) every event that begins at `begin_us`.
    pub(crate) fn before(begin_us: i64) -> Self {
        Self { begin_us, id: [0; 16] }
    }

    /// Where a page that ended with this event goes on.
    pub(crate) fn position(self) -> Position {
        Position { begin_time: Timestamp::from_micros(self.begin_us), event_id: self.id }
    }
}

impl From<Position> for Key {
    fn from(position: Position) -> Self {
        Self { begin_us: position.begin_time.as_micros(), id: position.event_id }
    }
}

/// Whether the event's id carries its begin, by which it is looked up.
pub(crate) fn id_carries_begin(event: &Event) -> bool {
    let (first_us, last_us) = begin_range(event.id);
    (first_us..=last_us).contains(&event.begin_time.as_micros())
}

/// What of a time is whole stretches of this length, counted from 1970.
pub(crate) fn whole(from_us: i64, until_us: i64, length_us: i64) -> Range<i64> {
    let first = from_us.div_euclid(length_us) + i64::from(from_us.rem_euclid(length_us) > 0);
    first * length_us..until_us.div_euclid(length_us) * length_us
}

/// The stored number of a kind.
pub(crate) fn kind_number(kind: EventKind) -> i64 {
    let EventKind::Rule(kind) = kind else { return 1 };
    match kind {
        RuleKind::LineCrossed => 2,
        RuleKind::LineCount => 3,
        RuleKind::Inside => 4,
        RuleKind::Entered => 5,
        RuleKind::Left => 6,
        RuleKind::Loitering => 7,
        RuleKind::Occupancy => 8,
        RuleKind::CrowdDensity => 9,
        RuleKind::StoppedVehicle => 10,
        RuleKind::WrongWay => 11,
        RuleKind::Speeding => 12,
        RuleKind::ObjectAbandoned => 13,
        RuleKind::ObjectRemoved => 14,
        RuleKind::CameraTampered => 15,
        RuleKind::PlateListed => 16,
    }
}

/// The colours as one bit each, in the order of [`Colour::ALL`].
pub(crate) fn colour_bits(colours: impl IntoIterator<Item = Colour>) -> i64 {
    colours.into_iter().map(|colour| 1 << (colour as i64)).fold(0, |bits, bit: i64| bits | bit)
}

/// The colours of an event.
pub(crate) fn colours_of(event: &Event) -> i64 {
    colour_bits(event.attributes.colours.iter().map(|told| told.colour))
}

/// What begins further ahead of now is of a camera or an edge whose clock is wrong: those of others differ by less.
pub(crate) const AHEAD: Duration = Duration::from_hours(24);
/// Length of the first span: most events of a street are shorter.
pub(crate) const FIRST_SPAN_US: i64 = 60_000_000;
/// Each span is this many times as long as the one before.
const SPAN_FACTOR: i64 = 4;
/// The last span, 45 days and longer: it has no upper bound.
pub(crate) const LAST_SPAN: i64 = 9;

/// How long an event is, in powers of four of a minute: 0 is up to [`FIRST_SPAN_US`].
pub(crate) fn span_of(length_us: i64) -> i64 {
    (0..LAST_SPAN).find(|span| length_us <= longest_of_span(*span)).unwrap_or(LAST_SPAN)
}

/// The longest event of a span, in microseconds.
pub(crate) fn longest_of_span(span: i64) -> i64 {
    if span >= LAST_SPAN {
        return i64::MAX;
    }
    FIRST_SPAN_US * SPAN_FACTOR.pow(span as u32)
}

/// Plates that are walked one by one, each in time order. Where a pattern means more, all plates are walked, and it is not far
/// from one that matches to the next.
pub(crate) const MAX_WALKED_PLATES: usize = 64;
/// Keys that one [`KeyRange`] is followed over. Plates of which more share a key are as good as all.
pub(crate) const MAX_PLATE_KEYS: usize = 4_096;

/// What a key of a plate is. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PlateKey {
    /// All of it.
    Whole = 0,
    /// It without its first characters: what stands in it somewhere begins one of these.
    Tail = 1,
    /// It without one of its characters. Two texts have a Levenshtein distance of at most 1 only when one is a shortened
    /// other, or they share a shortened text (Garbe's symmetric deletion).
    Shortened = 2,
}

/// The keys under which a plate is found.
pub(crate) fn plate_keys(plate: &str) -> BTreeSet<(PlateKey, String)> {
    let tails = plate.char_indices().skip(1).map(|(at, _)| (PlateKey::Tail, plate[at..].to_owned()));
    let shortened = shortened(plate).map(|text| (PlateKey::Shortened, text));
    [(PlateKey::Whole, plate.to_owned())].into_iter().chain(tails).chain(shortened).collect()
}

fn shortened(text: &str) -> impl Iterator<Item = String> {
    text.char_indices().map(|(at, character)| format!("{}{}", &text[..at], &text[at + character.len_utf8()..]))
}

/// Keys of one sort from `first` up to, not including, `end`, by their bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyRange {
    pub(crate) key: PlateKey,
    pub(crate) first: String,
    pub(crate) end: String,
}

impl KeyRange {
    /// This key alone: no plate holds a control character.
    fn only(key: PlateKey, text: &str) -> Self {
        Self { key, first: text.to_owned(), end: format!("{text}\u{1}") }
    }

    fn beginning_with(key: PlateKey, text: &str) -> Self {
        Self { key, first: text.to_owned(), end: format!("{text}\u{10ffff}") }
    }
}

/// Where the keys of all plates lie that a pattern means; those of some others do, too. None where it means all.
pub(crate) fn key_ranges(pattern: &PlatePattern) -> Option<BTreeSet<KeyRange>> {
    let text = pattern.text();
    Some(match pattern.how() {
        PlateMatch::Any => return None,
        PlateMatch::Exact => BTreeSet::from([KeyRange::only(PlateKey::Whole, text)]),
        PlateMatch::Prefix => BTreeSet::from([KeyRange::beginning_with(PlateKey::Whole, text)]),
        PlateMatch::Part => [PlateKey::Whole, PlateKey::Tail].map(|key| KeyRange::beginning_with(key, text)).into(),
        PlateMatch::OneWrong => shortened(text)
            .chain([text.to_owned()])
            .flat_map(|text| [PlateKey::Whole, PlateKey::Shortened].map(|key| KeyRange::only(key, &text)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_plate_that_is_meant_has_a_key_where_the_pattern_looks(
            plate in "[AB1京]{1,6}",
            text in "[AB1京]{1,6}",
            how in prop::sample::select(vec![
                PlateMatch::Part, PlateMatch::Prefix, PlateMatch::Exact, PlateMatch::OneWrong,
            ]),
        ) {
            let Ok(pattern) = PlatePattern::new(&text, how) else { return Ok(()) };
            let ranges = key_ranges(&pattern).unwrap();
            let is_found = plate_keys(&plate).iter().any(|(key, text)| {
                ranges.iter().any(|range| range.key == *key && *text >= range.first && *text < range.end)
            });
            // One wrong character finds some more: those that are shortened to the same in another place.
            prop_assert!(is_found || !pattern.matches(&plate));
            prop_assert!(!is_found || how == PlateMatch::OneWrong || pattern.matches(&plate));
        }
    }

    #[test]
    fn looking_for_the_longest_plate_looks_at_a_bounded_number_of_keys() {
        let pattern = PlatePattern::new("ABCDEFGHIJKLMNOP", PlateMatch::OneWrong).unwrap();
        assert_eq!(key_ranges(&pattern).unwrap().len(), 34);
        assert_eq!(key_ranges(&PlatePattern::ANY), None);
        assert_eq!(plate_keys("AAB").len(), 5, "AAB, AB, B, and without one: AA, AB");
    }

    #[test]
    fn every_length_has_one_span_that_holds_it() {
        let lengths = [0, 1, FIRST_SPAN_US, FIRST_SPAN_US + 1, 4 * FIRST_SPAN_US, 86_400_000_000, i64::MAX];
        for length in lengths {
            let span = span_of(length);
            assert!(length <= longest_of_span(span), "{length}");
            assert!(span == 0 || length > longest_of_span(span - 1), "{length}");
        }
    }

    #[test]
    fn each_colour_has_a_bit_of_its_own() {
        let bits: Vec<i64> = Colour::ALL.into_iter().map(|colour| colour_bits([colour])).collect();
        assert_eq!(bits.iter().map(|bit| bit.count_ones()).sum::<u32>(), 12);
        assert_eq!(colour_bits(Colour::ALL).count_ones(), 12);
    }
}
