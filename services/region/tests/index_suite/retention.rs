//! What is too old goes, and nothing else does, whatever clocks said.

use std::time::Duration;

use vigil_base::{Clock, Timestamp};
use vigil_proto::convert::Filter;
use vigil_region::index::CommitSeq;

use super::{Engine, clock, feed, find, ids, open, slice_start, store, store_all, store_with};
use crate::common::{at, event, jpeg, secs};

pub async fn retention_removes_what_is_old_and_says_so_to_the_feed(engine: &dyn Engine) {
    let clock = clock();
    let index = engine.open(clock.clone());
    let old = event(secs(0));
    store_with(&*index, old.clone(), jpeg(1, 100)).await;
    store_all(&*index, (1..4).map(|i| event(secs(i)))).await;
    let young = event(slice_start(engine, 2));
    clock.advance(engine.slice() * 2);
    let received = clock.now();
    store(&*index, young.clone()).await;
    let too_early = Timestamp::from_micros(slice_start(engine, 1).as_micros() - 1);
    assert_eq!(index.purge(too_early).await.unwrap(), 0, "an event of that slice may be younger");
    assert_eq!(index.purge(slice_start(engine, 1)).await.unwrap(), 4);
    assert_eq!(index.purge(slice_start(engine, 1)).await.unwrap(), 0);
    assert_eq!(index.event(old.id).await.unwrap(), None);
    assert_eq!(index.thumbnail(old.id).await.unwrap(), None);
    assert_eq!(ids(&find(&*index, Filter::default()).await), [young.id.to_string()]);
    let stats = index.stats().await.unwrap();
    assert_eq!((stats.events, stats.oldest_begin), (1, Some(young.begin_time)));
    assert_eq!(feed(&*index, CommitSeq(4)).await.purged_through, CommitSeq(4));
    drop(index);
    let page = feed(&*open(engine), CommitSeq(0)).await;
    assert_eq!((page.purged_through, page.items.len()), (CommitSeq(4), 1));
    assert_eq!(page.resumes_at, Some(received));
}

pub async fn retention_does_not_spare_events_of_a_camera_whose_clock_is_ahead(engine: &dyn Engine) {
    let clock = clock();
    let index = engine.open(clock.clone());
    store(&*index, event(at(Duration::from_hours(100_000)))).await;
    clock.advance(Duration::from_hours(48));
    store(&*index, event(at(Duration::from_hours(49)))).await;
    assert_eq!(index.purge(at(Duration::from_hours(25))).await.unwrap(), 1);
    assert_eq!(index.purge(at(Duration::from_hours(25))).await.unwrap(), 0);
    assert_eq!(find(&*index, Filter::default()).await.len(), 1);
}

pub async fn events_received_by_a_clock_that_was_behind_are_kept_by_their_begin(engine: &dyn Engine) {
    let slice = engine.slice();
    // A dead battery; and a day that somebody mistyped.
    for received in [Timestamp::from_micros(0), slice_start(engine, 0) - slice * 20] {
        let clock = clock();
        let now = clock.now();
        clock.jump_to(received);
        let index = engine.open(clock.clone());
        // Of a camera whose clock is a little ahead.
        let stored = event(now + Duration::from_secs(30));
        store(&*index, stored.clone()).await;
        for right in [now, now + slice] {
            clock.jump_to(right);
            assert_eq!(index.purge(now - slice * 5).await.unwrap(), 0, "received {received}");
        }
        assert_eq!(ids(&find(&*index, Filter::default()).await), [stored.id.to_string()]);
        // When its own time has come it goes.
        clock.jump_to(now + slice * 8);
        assert_eq!(index.purge(now + slice * 2).await.unwrap(), 1, "received {received}");
        assert_eq!(find(&*index, Filter::default()).await.len(), 0);
    }
}
