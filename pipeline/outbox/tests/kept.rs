//! What is kept of what the region has acknowledged.
#![allow(clippy::unwrap_used)] // A test ends where it cannot go on.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use vigil_base::{EventId, Timestamp};
use vigil_outbox::{Kept, KeptConfig, Record};

const NOW: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);
const HOUR: Duration = Duration::from_hours(1);

fn config(folder: &Path) -> KeptConfig {
    KeptConfig { path: folder.join("acknowledged.db"), keep: HOUR, max_bytes: 1_000_000 }
}

fn record(number: u64, revision: u32, bytes: usize, thumbnail: &'static [u8]) -> Record {
    Record {
        event_id: EventId::numbered(NOW, number),
        revision,
        is_final: false,
        event: vec![7; bytes].into(),
        thumbnail: Bytes::from_static(thumbnail),
    }
}

fn all(kept: &Kept) -> Vec<(u64, Record)> {
    kept.after(0, usize::MAX, usize::MAX).unwrap()
}

fn ids(kept: &Kept) -> Vec<EventId> {
    all(kept).into_iter().map(|(_, record)| record.event_id).collect()
}

#[test]
fn the_last_revision_is_kept_in_the_order_of_acknowledgement_with_the_last_picture_also_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(config(folder.path()));
    kept.keep(&[record(1, 1, 10, b"picture"), record(2, 1, 10, b"")], NOW);
    kept.keep(&[record(1, 4, 30, b"")], NOW);
    drop(kept);
    let kept = Kept::open(config(folder.path()));
    let records: Vec<Record> = all(&kept).into_iter().map(|(_, record)| record).collect();
    assert_eq!(records, [record(2, 1, 10, b""), record(1, 4, 30, b"picture")]);
    let place = all(&kept)[0].0;
    assert_eq!(kept.after(place, 10, 1).unwrap().len(), 1, "at least one, whatever its size");
    assert_eq!((kept.count_after(0).unwrap(), kept.count_after(place).unwrap()), (2, 1));
}

#[test]
fn what_is_old_or_too_much_goes_from_the_oldest_end() {
    let folder = tempfile::tempdir().unwrap();
    let kept = Kept::open(config(folder.path()));
    for number in 0..15 {
        kept.keep(&[record(number, 1, 100_000, b"")], NOW);
    }
    let expected: Vec<EventId> = (5..15).map(|number| EventId::numbered(NOW, number)).collect();
    assert_eq!(ids(&kept), expected, "no more than a million bytes");
    kept.keep(&[record(20, 1, 10, b"")], NOW + HOUR + Duration::from_secs(1));
    assert_eq!(ids(&kept), [EventId::numbered(NOW, 20)], "nothing from more than an hour ago");
    drop(kept);
    let none = Kept::open(KeptConfig { keep: Duration::ZERO, ..config(folder.path()) });
    none.keep(&[record(21, 1, 10, b"")], NOW);
    assert!(ids(&none).is_empty() && none.marks().unwrap().is_empty());
    assert!(!folder.path().join("acknowledged.db").exists(), "whoever keeps nothing leaves nothing");
}

#[test]
fn a_damaged_file_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("acknowledged.db"), [0xab; 9_000]).unwrap();
    let kept = Kept::open(config(folder.path()));
    assert!(ids(&kept).is_empty());
    kept.keep(&[record(1, 1, 10, b"")], NOW);
    assert_eq!(ids(&kept).len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Marks are a few, newest first, from the newest to the oldest; of whatever was lost, less than twice is sent again.
    #[test]
    fn marks_span_all_at_doubling_distances(count in 0..400_u64, lost in 0..400_u64) {
        let folder = tempfile::tempdir().unwrap();
        let kept = Kept::open(config(folder.path()));
        let records: Vec<Record> = (0..count).map(|number| record(number, 1, 1, b"")).collect();
        kept.keep(&records, NOW);
        let marks = kept.marks().unwrap();
        prop_assert!(marks.len() <= vigil_outbox::MAX_MARKS);
        prop_assert!(marks.windows(2).all(|pair| pair[0].place > pair[1].place));
        let places: Vec<u64> = all(&kept).iter().map(|(place, _)| *place).collect();
        prop_assert_eq!(marks.first().map(|mark| mark.place), places.last().copied());
        prop_assert_eq!(marks.last().map(|mark| mark.place), places.first().copied());
        // The newest mark that whoever lost so many still has.
        let lost = lost.min(count);
        let has = |place: u64| places.iter().rposition(|known| *known == place).unwrap() < (count - lost) as usize;
        let held = marks.iter().find(|mark| has(mark.place)).map_or(0, |mark| mark.place);
        let again = kept.count_after(held).unwrap();
        prop_assert!(again >= lost && again <= 2 * lost + 1, "{again} for {lost}");
    }
}
