//! Paging over regions that fail at random, held against the list of all events.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use uuid::Uuid;
use vigil_base::Timestamp;
use vigil_proto::convert::time_to_wire;
use vigil_serve::TokenKey;

use super::*;

/// After this many pages regions no longer fail, so that every search ends.
const STORMY_PAGES: usize = 40;
/// A search that needs more pages than this goes round in circles.
const MAX_PAGES: usize = 4_000;

/// Regions as plain sets of keys, and the chance that a call to one fails.
struct World {
    regions: BTreeMap<RegionId, BTreeSet<EventKey>>,
    failure: f64,
    rng: RefCell<StdRng>,
}

impl World {
    /// What a region answers: fails at random, and at random gives less than it was asked for, or nothing yet.
    fn answer(&self, ask: &Ask) -> Option<RegionPage> {
        let mut rng = self.rng.borrow_mut();
        if rng.random_bool(self.failure) {
            return None;
        }
        let all = &self.regions[&ask.region];
        let rest: Vec<_> = match ask.after {
            Some(after) => all.range(..after).rev().collect(),
            None => all.iter().rev().collect(),
        };
        let mut given = if rng.random_bool(0.3) { rng.random_range(0..=ask.count) } else { ask.count };
        // The place right before the first event that is not given: the farthest that a region can have looked.
        let before =
            |given: usize| rest.get(given).map(|key| EventKey { id: Uuid::from_u128(key.id.as_u128() + 1), ..**key });
        if given == 0 && before(0) == ask.after {
            given = 1;
        }
        let last = rest.iter().take(given).next_back().map(|key| **key);
        let end = if rng.random_bool(0.5) { last.or(before(given)) } else { before(given) };
        let events = rest.iter().take(given).map(|key| (**key, wire(**key))).collect();
        Some(RegionPage { events, end: end.filter(|_| rest.len() > given) })
    }

    fn page(&self, places: Places, size: usize) -> (Vec<EventKey>, Places) {
        let count = ask_size(size, places.0.len()).min(3);
        let first = places.0.into_iter().map(|(region, after)| {
            let answer = self.answer(&Ask { region: region.clone(), after, count });
            (region, after, answer)
        });
        let refill = |asks: Vec<Ask>| std::future::ready(asks.iter().map(|ask| self.answer(ask)).collect());
        let (events, places) = futures::executor::block_on(fill_page(first.collect(), size, refill));
        (events.iter().map(|event| EventKey::of(event).unwrap()).collect(), places)
    }

    /// An edge that was away delivers: an event anywhere in the past.
    fn late_event(&mut self) -> EventKey {
        let mut rng = self.rng.borrow_mut();
        let key = key(rng.random_range(0..20), rng.random());
        let region = rng.random_range(0..self.regions.len());
        self.regions.values_mut().nth(region).unwrap().insert(key);
        key
    }
}

fn wire(key: EventKey) -> v1::Event {
    v1::Event { event_id: key.id.to_string(), begin_time: Some(time_to_wire(key.begin_time)), ..v1::Event::default() }
}

fn key(second: i64, random: u64) -> EventKey {
    EventKey { begin_time: Timestamp::from_micros(second * 1_000_000), id: Uuid::from_u128(random.into()) }
}

/// The seconds at which each region's events begin: few, so that many begin in the same moment.
fn regions() -> impl Strategy<Value = Vec<Vec<i64>>> {
    proptest::collection::vec(proptest::collection::vec(0i64..20, 0..40), 1..6)
}

fn world(seconds: &[Vec<i64>], failure: f64, seed: u64) -> World {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut region = |(i, list): (usize, &Vec<i64>)| {
        let keys = list.iter().map(|second| key(*second, rng.random())).collect();
        (RegionId::new(format!("r{i}")).unwrap(), keys)
    };
    let regions = seconds.iter().enumerate().map(&mut region).collect();
    World { regions, failure, rng: RefCell::new(rng) }
}

/// Pages through the whole world as a client does, by tokens; `between` is called before each page.
fn all_pages(world: &mut World, seed: u64, mut between: impl FnMut(&mut World, usize)) -> Vec<Vec<EventKey>> {
    let (key, filter, now) = (TokenKey::random(), Filter::default(), Timestamp::from_micros(0));
    let mut sizes = StdRng::seed_from_u64(seed);
    let mut places = Places::begin(world.regions.keys().cloned(), None);
    let mut pages = Vec::new();
    loop {
        assert!(pages.len() < MAX_PAGES, "no end in sight");
        if pages.len() == STORMY_PAGES {
            world.failure = 0.0;
        }
        between(world, pages.len());
        let size = sizes.random_range(1..12);
        let (page, next) = world.page(places, size);
        assert!(page.len() <= size);
        assert!(page.is_sorted_by(|a, b| a > b), "a page is newest first: {page:?}");
        pages.push(page);
        let token = next.seal(&filter, &key, now);
        if token.is_empty() {
            return pages;
        }
        places = Places::open(&token, &filter, &key, now).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_event_comes_exactly_once_while_regions_fail_and_come_back(seconds in regions(), seed in any::<u64>()) {
        let mut world = world(&seconds, 0.4, seed);
        let expected: BTreeSet<_> = world.regions.values().flatten().copied().collect();
        let got: Vec<_> = all_pages(&mut world, seed, |_, _| {}).concat();
        prop_assert_eq!(got.len(), expected.len());
        prop_assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), expected);
    }

    #[test]
    fn without_failures_the_order_holds_over_all_pages(seconds in regions(), seed in any::<u64>()) {
        let got = all_pages(&mut world(&seconds, 0.0, seed), seed, |_, _| {}).concat();
        prop_assert!(got.is_sorted_by(|a, b| a > b));
    }

    #[test]
    fn events_that_arrive_meanwhile_neither_hide_nor_repeat_any(seconds in regions(), seed in any::<u64>()) {
        let mut world = world(&seconds, 0.3, seed);
        let expected: BTreeSet<_> = world.regions.values().flatten().copied().collect();
        let mut late = BTreeSet::new();
        let got = all_pages(&mut world, seed, |world, page| if page < STORMY_PAGES { late.insert(world.late_event()); });
        let got = got.concat();
        let distinct: BTreeSet<_> = got.iter().copied().collect();
        prop_assert_eq!(got.len(), distinct.len(), "an event came twice");
        prop_assert!(expected.is_subset(&distinct));
        prop_assert!(distinct.difference(&expected).all(|key| late.contains(key)));
    }
}
