//! A place in the feed over restarts, and over a restore from a backup.

use vigil_base::event::Event;

use super::{Engine, feed, open, store_all};
use crate::common::{event, secs};

/// Events that begin so many seconds after noon.
fn events(seconds: std::ops::Range<u64>) -> Vec<Event> {
    seconds.map(|second| event(secs(second))).collect()
}

fn ids(events: &[Event]) -> Vec<String> {
    events.iter().map(|event| event.id.to_string()).collect()
}

pub async fn a_place_in_the_feed_survives_restarts(engine: &dyn Engine) {
    let index = open(engine);
    store_all(&*index, events(0..3)).await;
    let (lineage, place) = (index.lineage(), *index.latest().borrow());
    index.close();
    for second in 3..8 {
        let index = open(engine);
        assert_eq!(index.lineage().shared(lineage.locator(), place), Some(place));
        store_all(&*index, events(second..second + 1)).await;
        index.close();
    }
}

pub async fn after_a_restore_a_reader_is_put_back_to_the_backup(engine: &dyn Engine) {
    let index = open(engine);
    store_all(&*index, events(0..5)).await;
    let early = (index.lineage(), *index.latest().borrow());
    index.close();
    let restore = engine.back_up();
    let index = open(engine);
    store_all(&*index, events(5..10)).await;
    let late = (index.lineage(), *index.latest().borrow());
    index.close();

    restore();
    let index = open(engine);
    let others = events(20..27);
    store_all(&*index, others.clone()).await;
    assert!(*index.latest().borrow() >= late.1, "the numbers of what was lost are given again");
    for (lineage, read) in [early, late] {
        let place = index.lineage().shared(lineage.locator(), read).unwrap();
        let page = feed(&*index, place).await;
        let found: Vec<_> = page.items.into_iter().map(|item| item.event.event_id).collect();
        assert_eq!(found, ids(&others));
    }
    index.close();
}
