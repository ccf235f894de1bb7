//! Where a live stream stands in each of its regions, and the cursor that carries it.
//!
//! A region's own cursor is opaque here and goes back to the region as it came. As theirs are, the gateway's cursor is
//! bound to the filter. Places in regions that this gateway does not have are carried along, so that nothing is lost on
//! the way through another gateway.

use std::collections::BTreeSet;
use std::time::Duration;

use prost::{Message, Oneof};
use vigil_base::{RegionId, Timestamp};
use vigil_proto::convert::{Filter, time_to_wire};
use vigil_proto::v1;
use vigil_serve::{AGELESS, ServiceError, TokenKey};

use crate::tokens::{self, fingerprint};

const PURPOSE: &str = "gateway.stream";
const FIELD: &str = "cursor";
/// How far clocks of gateway and region may differ where a stream begins at a moment. A subscriber gets this much of the
/// past again when a region could not be reached at the start; better than losing as much.
const CLOCK_SLACK: Duration = Duration::from_mins(1);

/// The places of one stream, in order of region.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Places {
    #[prost(message, repeated, tag = "1")]
    regions: Vec<RegionPlace>,
    #[prost(bytes = "vec", tag = "2")]
    filter: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RegionPlace {
    #[prost(string, tag = "1")]
    region_id: String,
    #[prost(oneof = "Place", tags = "2, 3, 4")]
    place: Option<Place>,
}

/// Where a stream goes on in one region.
#[derive(Clone, PartialEq, Eq, Oneof)]
pub(super) enum Place {
    /// After this cursor of the region's own.
    #[prost(string, tag = "2")]
    Cursor(String),
    /// With what the region received from this time on: it has not been reached yet. Microseconds since 1970.
    #[prost(sint64, tag = "3")]
    Since(i64),
    /// With the oldest the region holds: it has not been reached yet.
    #[prost(bool, tag = "4")]
    Oldest(bool),
}

impl Place {
    /// Where a stream without a cursor begins, asked for at `now`.
    pub(super) fn of_start(start: v1::SubscribeStart, since: Option<Timestamp>, now: Timestamp) -> Self {
        match (since, start) {
            (Some(since), _) => Self::Since(since.as_micros()),
            (None, v1::SubscribeStart::Oldest) => Self::Oldest(true),
            (None, v1::SubscribeStart::Now | v1::SubscribeStart::Unspecified) => {
                Self::Since((now - CLOCK_SLACK).as_micros().max(0))
            }
        }
    }

    /// The question that goes on from here.
    pub(super) fn request(&self, filter: v1::EventFilter) -> v1::SubscribeRequest {
        let request = v1::SubscribeRequest { filter: Some(filter), ..v1::SubscribeRequest::default() };
        match self {
            Self::Cursor(cursor) => v1::SubscribeRequest { cursor: cursor.clone(), ..request },
            Self::Since(micros) => {
                let since = time_to_wire(Timestamp::from_micros(*micros));
                v1::SubscribeRequest { since: Some(since), start: v1::SubscribeStart::Now.into(), ..request }
            }
            Self::Oldest(_) => v1::SubscribeRequest { start: v1::SubscribeStart::Oldest.into(), ..request },
        }
    }
}

impl Places {
    /// No places yet.
    pub(super) fn new(filter: &Filter) -> Self {
        Self { regions: Vec::new(), filter: fingerprint(filter) }
    }

    /// The places that a cursor of this gateway, or of one with its key, carries for this filter. What a region no longer holds, it
    /// says itself.
    pub(super) fn open(cursor: &str, filter: &Filter, key: &TokenKey, now: Timestamp) -> Result<Self, ServiceError> {
        let mut places: Self = tokens::open(key, PURPOSE, FIELD, cursor, AGELESS, now)?;
        if places.filter != fingerprint(filter) {
            let problem = "belongs to another filter: repeat the filter it was given for, or start without it";
            return Err(tokens::refused(FIELD, problem));
        }
        places.regions.sort_by(|a, b| a.region_id.cmp(&b.region_id));
        Ok(places)
    }

    /// The cursor.
    pub(super) fn seal(&self, key: &TokenKey, now: Timestamp) -> String {
        key.seal(PURPOSE, self, now)
    }

    /// The place in `region`, which becomes `first` where there is none.
    pub(super) fn get_or(&mut self, region: &RegionId, first: &Place) -> Place {
        match self.find(region) {
            Ok(at) => self.regions[at].place.get_or_insert_with(|| first.clone()).clone(),
            Err(at) => {
                let place = RegionPlace { region_id: region.to_string(), place: Some(first.clone()) };
                self.regions.insert(at, place);
                first.clone()
            }
        }
    }

    /// Moves on to a cursor of the region's own.
    pub(super) fn advance(&mut self, region: &RegionId, cursor: String) {
        if let Ok(at) = self.find(region) {
            self.regions[at].place = Some(Place::Cursor(cursor));
        }
    }

    /// Regions with a place here that are not among `known`.
    pub(super) fn strangers(&self, known: impl Fn(&RegionId) -> bool) -> BTreeSet<RegionId> {
        let ids = self.regions.iter().filter_map(|place| RegionId::new(&place.region_id).ok());
        ids.filter(|id| !known(id)).collect()
    }

    fn find(&self, region: &RegionId) -> Result<usize, usize> {
        self.regions.binary_search_by(|place| place.region_id.as_str().cmp(region.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use vigil_serve::ErrorCode;

    use super::*;

    fn region(name: &str) -> RegionId {
        RegionId::new(name).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_micros(1_800_000_000_000_000)
    }

    #[test]
    fn a_cursor_carries_each_regions_place_and_those_of_regions_unknown_here() {
        let key = TokenKey::random();
        let any = Filter::default();
        let mut places = Places::new(&any);
        for name in ["south", "north", "away"] {
            places.get_or(&region(name), &Place::Oldest(true));
        }
        places.advance(&region("north"), "n42".into());
        let mut opened = Places::open(&places.seal(&key, now()), &any, &key, now()).unwrap();
        assert_eq!(opened, places);
        assert_eq!(opened.get_or(&region("north"), &Place::Oldest(true)), Place::Cursor("n42".into()));
        assert_eq!(opened.get_or(&region("west"), &Place::Since(7)), Place::Since(7));
        let known = [region("north"), region("south"), region("west")];
        assert_eq!(opened.strangers(|id| known.contains(id)), BTreeSet::from([region("away")]));
        assert_eq!(Places::open(&opened.seal(&key, now()), &any, &key, now()).unwrap(), opened);
    }

    #[test]
    fn a_cursor_that_is_forged_foreign_or_of_another_filter_is_refused() {
        let (key, any) = (TokenKey::random(), Filter::default());
        let sure = Filter { min_confidence: 0.5, ..Filter::default() };
        let cursor = Places::new(&any).seal(&key, now());
        for (cursor, filter, key) in
            [(cursor.as_str(), &any, &TokenKey::random()), ("forged", &any, &key), (cursor.as_str(), &sure, &key)]
        {
            let error = Places::open(cursor, filter, key, now()).unwrap_err();
            assert_eq!((error.code, error.field.as_deref()), (ErrorCode::InvalidToken, Some("cursor")));
        }
    }

    #[test]
    fn the_longest_cursor_is_taken_back() {
        let (key, any) = (TokenKey::random(), Filter::default());
        let mut places = Places::new(&any);
        for i in 0..super::super::sources::MAX_REGIONS {
            let id = region(&format!("{i:064}"));
            places.get_or(&id, &Place::Oldest(true));
            places.advance(&id, "c".repeat(super::super::reader::MAX_REGION_CURSOR));
        }
        assert!(Places::open(&places.seal(&key, now()), &any, &key, now()).is_ok());
    }

    #[test]
    fn a_region_reached_late_is_asked_from_the_moment_the_stream_began() {
        let place = Place::of_start(v1::SubscribeStart::Now, None, now());
        let since = place.request(v1::EventFilter::default()).since.unwrap();
        assert_eq!(since, time_to_wire(now() - CLOCK_SLACK));
        let oldest = Place::of_start(v1::SubscribeStart::Oldest, None, now()).request(v1::EventFilter::default());
        assert_eq!((oldest.start(), oldest.since), (v1::SubscribeStart::Oldest, None));
    }
}
