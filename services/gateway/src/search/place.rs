//! Where a search stands in each of its regions, and the page token that carries it.
//!
//! A region is asked for the events after a place in the order (begin, id), newest first, and needs no memory of earlier
//! pages; so a part of a region's page can be taken and the rest asked for again, by this gateway or by another.
//! A search's places are:
//! - no place yet: from the newest event on;
//! - a place: everything down to it has been handed out;
//! - not listed: everything has been handed out.
//!
//! All regions that took part in a page stand at its last event, so a token holds each place once, with the regions at it.

use std::collections::BTreeMap;
use std::time::Duration;

use prost::Message;
use uuid::Uuid;
use vigil_base::{RegionId, Timestamp};
use vigil_proto::convert::{Filter, required_time, time_to_wire};
use vigil_proto::{WireError, v1};
use vigil_serve::{ServiceError, TokenKey};

use crate::tokens::{self, fingerprint};

const PURPOSE: &str = "gateway.search";
const FIELD: &str = "page_token";
/// An operator who left a page open yesterday may go on with it.
const MAX_TOKEN_AGE: Duration = Duration::from_hours(24);

/// A place in the order of a search; an event need not stand there. The greater is the newer, and comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventKey {
    pub(crate) begin_time: Timestamp,
    pub(crate) id: Uuid,
}

impl EventKey {
    /// The place of an event.
    pub(crate) fn of(event: &v1::Event) -> Result<Self, WireError> {
        Self::from_parts(event.begin_time, &event.event_id)
    }

    pub(crate) fn from_wire(key: &v1::SearchKey) -> Result<Self, WireError> {
        Self::from_parts(key.begin_time, &key.event_id)
    }

    fn from_parts(begin_time: Option<prost_types::Timestamp>, id: &str) -> Result<Self, WireError> {
        Ok(Self {
            begin_time: required_time("begin_time", begin_time)?,
            id: Uuid::try_parse(id).map_err(|_| WireError::new("event_id", "must be a UUID"))?,
        })
    }

    pub(crate) fn to_wire(self) -> v1::SearchKey {
        v1::SearchKey { begin_time: Some(time_to_wire(self.begin_time)), event_id: self.id.to_string() }
    }
}

/// The place in each region that has, or may have, more. `None` is before its newest event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Places(pub(crate) BTreeMap<RegionId, Option<EventKey>>);

#[derive(Clone, PartialEq, Message)]
struct TokenBody {
    #[prost(bytes = "vec", tag = "1")]
    filter: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    groups: Vec<Group>,
}

/// Regions that stand at one place.
#[derive(Clone, PartialEq, Message)]
struct Group {
    /// None where they have not begun.
    #[prost(message, optional, tag = "1")]
    at: Option<TokenKeyset>,
    #[prost(string, repeated, tag = "2")]
    region_ids: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct TokenKeyset {
    #[prost(sint64, tag = "1")]
    begin_us: i64,
    #[prost(bytes = "vec", tag = "2")]
    event_id: Vec<u8>,
}

impl Places {
    /// All of `regions` at one place.
    pub(crate) fn begin(regions: impl IntoIterator<Item = RegionId>, after: Option<EventKey>) -> Self {
        Self(regions.into_iter().map(|region| (region, after)).collect())
    }

    /// The page token; empty when there is nothing more.
    pub(crate) fn seal(&self, filter: &Filter, key: &TokenKey, now: Timestamp) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut groups: BTreeMap<Option<EventKey>, Vec<String>> = BTreeMap::new();
        for (region, at) in &self.0 {
            groups.entry(*at).or_default().push(region.to_string());
        }
        let group = |(at, region_ids): (Option<EventKey>, _)| Group { at: at.map(TokenKeyset::from), region_ids };
        let body = TokenBody { filter: fingerprint(filter), groups: groups.into_iter().map(group).collect() };
        key.seal(PURPOSE, &body, now)
    }

    /// The places that a page token of this gateway, or of one with its key, carries for this filter.
    pub(crate) fn open(token: &str, filter: &Filter, key: &TokenKey, now: Timestamp) -> Result<Self, ServiceError> {
        let body: TokenBody = tokens::open(key, PURPOSE, FIELD, token, MAX_TOKEN_AGE, now)?;
        if body.filter != fingerprint(filter) {
            let problem = "belongs to another filter: repeat the filter of the first page, or start again";
            return Err(tokens::refused(FIELD, problem));
        }
        let damaged = || tokens::refused(FIELD, "is of another version: start again");
        let mut places = BTreeMap::new();
        for group in body.groups {
            let at = group.at.map(EventKey::try_from).transpose().map_err(|()| damaged())?;
            for region in group.region_ids {
                places.insert(RegionId::new(region).map_err(|_| damaged())?, at);
            }
        }
        Ok(Self(places))
    }
}

impl From<EventKey> for TokenKeyset {
    fn from(key: EventKey) -> Self {
        Self { begin_us: key.begin_time.as_micros(), event_id: key.id.as_bytes().to_vec() }
    }
}

impl TryFrom<TokenKeyset> for EventKey {
    type Error = ();
    fn try_from(key: TokenKeyset) -> Result<Self, ()> {
        let id = Uuid::from_slice(&key.event_id).map_err(|_| ())?;
        Ok(Self { begin_time: Timestamp::from_micros(key.begin_us), id })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vigil_serve::ErrorCode;

    use super::*;
    use crate::config::MAX_FAN_OUT;

    fn now() -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000)
    }

    fn places() -> impl Strategy<Value = Places> {
        let key = (0i64..2_000_000_000_000_000, any::<u128>())
            .prop_map(|(micros, id)| EventKey { begin_time: Timestamp::from_micros(micros), id: Uuid::from_u128(id) });
        let place = proptest::option::of(key);
        proptest::collection::btree_map("[a-z][a-z0-9]{0,20}", place, 1..20)
            .prop_map(|map| Places(map.into_iter().map(|(id, at)| (RegionId::new(id).unwrap(), at)).collect()))
    }

    proptest! {
        #[test]
        fn places_survive_the_token(places in places()) {
            let key = TokenKey::random();
            let token = places.seal(&Filter::default(), &key, now());
            prop_assert_eq!(Places::open(&token, &Filter::default(), &key, now()).unwrap(), places);
        }
    }

    #[test]
    fn a_token_is_good_for_its_filter_its_key_and_a_day() {
        let key = TokenKey::random();
        let places = Places::begin([RegionId::new("north").unwrap()], None);
        let token = places.seal(&Filter::default(), &key, now());
        let open = |filter: &Filter, key: &TokenKey, at| Places::open(&token, filter, key, at).map_err(|e| e.code);
        let other = Filter { min_confidence: 0.5, ..Filter::default() };
        assert_eq!(open(&other, &key, now()), Err(ErrorCode::InvalidToken));
        assert_eq!(open(&Filter::default(), &TokenKey::random(), now()), Err(ErrorCode::InvalidToken));
        let tomorrow = now() + MAX_TOKEN_AGE + Duration::from_secs(1);
        assert_eq!(open(&Filter::default(), &key, tomorrow), Err(ErrorCode::ExpiredToken));
        assert!(open(&Filter::default(), &key, now()).is_ok());
    }

    #[test]
    fn a_token_over_five_hundred_regions_at_one_place_is_below_twelve_kilobytes() {
        let regions = (0..500).map(|i| RegionId::new(format!("district-{i:03}")).unwrap());
        let at = EventKey { begin_time: now(), id: Uuid::max() };
        let token = Places::begin(regions, Some(at)).seal(&Filter::default(), &TokenKey::random(), now());
        assert!(token.len() < 12_000, "{} characters", token.len());
    }

    #[test]
    fn the_longest_token_is_taken_back() {
        let key = TokenKey::random();
        let latest = Timestamp::MAX.as_micros();
        // No two regions at one place, as after many pages on which regions failed.
        let place = |i: usize| EventKey { begin_time: Timestamp::from_micros(latest - i as i64), id: Uuid::max() };
        let regions = (0..MAX_FAN_OUT).map(|i| (RegionId::new(format!("{i:064}")).unwrap(), Some(place(i))));
        let places = Places(regions.collect());
        let token = places.seal(&Filter::default(), &key, now());
        assert_eq!(Places::open(&token, &Filter::default(), &key, now()).unwrap(), places);
    }

    #[test]
    fn nothing_more_is_no_token() {
        assert_eq!(Places::default().seal(&Filter::default(), &TokenKey::random(), now()), "");
    }
}
