//! What an edge relies on, case by case.
#![allow(clippy::unwrap_used)] // Helpers of tests.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use vigil_base::{EventId, SharedClock, SimClock, SystemClock, Timestamp};
use vigil_outbox::{MAX_RECORD_BYTES, Outbox, OutboxConfig, OutboxError, PutOutcome, Record};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn open(folder: &Path) -> Outbox {
    open_at(folder, SimClock::new(NOW))
}

fn open_at(folder: &Path, clock: SharedClock) -> Outbox {
    Outbox::open(&OutboxConfig::new(folder), clock).unwrap()
}

fn record(event_id: EventId, revision: u32, is_final: bool) -> Record {
    Record { event_id, revision, is_final, event: Bytes::from_static(b"event"), thumbnail: Bytes::new() }
}

#[test]
fn a_thumbnail_survives_the_revision_that_replaces_its_own() {
    let temp = tempfile::tempdir().unwrap();
    let outbox = open(temp.path());
    let id = EventId::at(NOW);
    outbox.put(Record { thumbnail: Bytes::from_static(b"jpeg"), ..record(id, 1, false) }).unwrap();
    outbox.put(record(id, 2, true)).unwrap();
    let waiting = outbox.next_batch(10, 10_000).unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].record.revision, &waiting[0].record.thumbnail[..]), (2, &b"jpeg"[..]));
}

#[test]
fn an_acknowledgement_of_a_replaced_revision_leaves_the_later_one() {
    let temp = tempfile::tempdir().unwrap();
    let outbox = open(temp.path());
    let id = EventId::at(NOW);
    outbox.put(record(id, 1, false)).unwrap();
    outbox.put(record(id, 2, true)).unwrap();
    outbox.acknowledge(&[(id, 1)]).unwrap();
    assert_eq!(outbox.backlog().records, 1);
    outbox.acknowledge(&[(id, 2)]).unwrap();
    assert_eq!(outbox.backlog().records, 0);
    assert_eq!(outbox.backlog().bytes, 0);
}

#[test]
fn an_event_that_did_not_end_is_known_after_a_restart_even_when_acknowledged() {
    let temp = tempfile::tempdir().unwrap();
    let id = EventId::at(NOW);
    let outbox = open(temp.path());
    outbox.put(record(id, 1, false)).unwrap();
    outbox.acknowledge(&[(id, 1)]).unwrap();
    drop(outbox);
    let outbox = open(temp.path());
    assert!(outbox.next_batch(10, 10_000).unwrap().is_empty());
    let open_events = outbox.open_events().unwrap();
    assert_eq!((open_events[0].event_id, open_events[0].revision), (id, 1));
    outbox.put(record(id, 2, true)).unwrap();
    assert!(outbox.open_events().unwrap().is_empty());
}

#[test]
fn batches_keep_to_their_bounds_and_go_on_where_the_last_one_ended() {
    let temp = tempfile::tempdir().unwrap();
    let outbox = open(temp.path());
    outbox.put_many((0..10).map(|_| record(EventId::at(NOW), 1, true)).collect()).unwrap();
    assert_eq!(outbox.next_batch(4, 10_000).unwrap().len(), 4);
    assert_eq!(outbox.next_batch(10, 12).unwrap().len(), 2, "each record has five bytes");
    assert_eq!(outbox.next_batch(10, 1).unwrap().len(), 1, "a batch is never empty while something waits");
    let first = outbox.next_batch(4, 10_000).unwrap();
    let next = outbox.next_batch_after(first[3].sequence, 4, 10_000).unwrap();
    assert_eq!(next[0].sequence, first[3].sequence + 1);
}

#[test]
fn the_oldest_time_is_that_of_the_first_revision_the_region_lacks() {
    let temp = tempfile::tempdir().unwrap();
    let clock = SimClock::new(NOW);
    let outbox = open_at(temp.path(), clock.clone());
    let id = EventId::at(NOW);
    outbox.put(record(id, 1, false)).unwrap();
    clock.advance(Duration::from_mins(1));
    outbox.put(record(id, 2, false)).unwrap();
    assert_eq!(outbox.oldest_pending().unwrap(), Some(NOW));
    outbox.acknowledge(&[(id, 2)]).unwrap();
    assert_eq!(outbox.oldest_pending().unwrap(), None);
    outbox.put(record(id, 3, false)).unwrap();
    assert_eq!(outbox.oldest_pending().unwrap(), Some(NOW + Duration::from_mins(1)));
}

#[test]
fn a_put_wakes_whoever_waits_for_records() {
    let temp = tempfile::tempdir().unwrap();
    let outbox = open(temp.path());
    let newest = outbox.newest_sequence();
    assert!(!newest.has_changed().unwrap());
    let PutOutcome::Stored { sequence } = outbox.put(record(EventId::at(NOW), 1, true)).unwrap() else {
        panic!("a new event is not stale")
    };
    assert!(newest.has_changed().unwrap());
    assert_eq!(*newest.borrow(), sequence);
}

#[test]
fn a_rejected_record_is_kept_with_its_reason_and_not_sent_again() {
    let temp = tempfile::tempdir().unwrap();
    let outbox = open(temp.path());
    let id = EventId::at(NOW);
    outbox.put(record(id, 1, true)).unwrap();
    outbox.set_aside(id, 1, "best_box: is missing").unwrap();
    assert!(outbox.next_batch(10, 10_000).unwrap().is_empty());
    let rejected = outbox.rejected(10).unwrap();
    assert_eq!((rejected[0].event_id, rejected[0].reason.as_str()), (id, "best_box: is missing"));
    assert_eq!(rejected[0].event, Bytes::from_static(b"event"));
}

#[test]
fn a_record_that_could_never_be_sent_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let outbox = open(temp.path());
    let id = EventId::at(NOW);
    let huge = Record { event: vec![0; MAX_RECORD_BYTES + 1].into(), ..record(id, 1, true) };
    let error = outbox.put(huge).unwrap_err();
    assert!(matches!(error, OutboxError::TooLarge { event_id, .. } if event_id == id), "{error}");
    assert_eq!(outbox.backlog().records, 0);
}

#[test]
fn a_damaged_file_is_moved_aside_and_named_and_the_edge_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let outbox = open(temp.path());
    let instance = outbox.instance_id();
    outbox.put_many((0..200).map(|_| record(EventId::at(NOW), 1, true)).collect()).unwrap();
    drop(outbox);
    let file = temp.path().join("outbox.db");
    let mut bytes = fs::read(&file).unwrap();
    let len = bytes.len();
    bytes[4096..len.min(5 * 4096)].fill(0xa5);
    fs::write(&file, &bytes).unwrap();

    let outbox = open(temp.path());
    let aside = outbox.quarantined().expect("the damage was not seen").to_owned();
    assert_eq!(fs::read(&aside).unwrap(), bytes, "the damaged file is kept as it was");
    assert_eq!(outbox.instance_id(), instance);
    outbox.put(record(EventId::at(NOW), 1, true)).unwrap();
    drop(outbox);
    assert_eq!(open(temp.path()).quarantined(), None);
}

#[test]
fn a_file_that_is_no_database_is_moved_aside() {
    let temp = tempfile::tempdir().unwrap();
    fs::write(temp.path().join("outbox.db"), "this is a text that somebody put here by mistake".repeat(200)).unwrap();
    assert!(open(temp.path()).quarantined().is_some());
}

#[test]
fn puts_from_many_threads_are_all_there_in_one_order() {
    let temp = tempfile::tempdir().unwrap();
    let outbox = Arc::new(open_at(temp.path(), SystemClock::shared()));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let outbox = Arc::clone(&outbox);
            let put = move || {
                for _ in 0..50 {
                    outbox.put(record(EventId::at(NOW), 1, true)).unwrap();
                }
            };
            std::thread::Builder::new().name("putter".to_owned()).spawn(put).unwrap()
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let sequences: Vec<u64> = outbox.next_batch(1_000, usize::MAX).unwrap().iter().map(|p| p.sequence).collect();
    assert_eq!(sequences, (1..=400).collect::<Vec<u64>>());
}
