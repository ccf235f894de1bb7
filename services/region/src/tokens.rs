//! Page tokens and cursors: opaque to clients, authenticated, bound to region, index and filter.

use std::time::Duration;

use prost::Message;
use sha2::{Digest, Sha256};
use vigil_base::{CameraId, RegionId, SharedClock, Timestamp};
use vigil_proto::convert::{Filter, filter_to_wire};
use vigil_serve::{AGELESS, ErrorCode, ServiceError, TokenError, TokenKey};

use crate::index::{CommitSeq, Lineage, Locator, Position};

/// A search that was left for longer starts again.
const PAGE_MAX_AGE: Duration = Duration::from_hours(24);

const SEARCH_PAGE: &str = "region.search.page";
const CAMERA_PAGE: &str = "region.cameras.page";
const CURSOR: &str = "region.stream.cursor";

/// Bytes of SHA-256 that stand for a filter: no two that anybody meets are the same in 128 bits.
const FILTER_HASH: usize = 16;

/// Stands for a filter in tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FilterHash(Vec<u8>);

impl FilterHash {
    pub(crate) fn of(filter: &Filter) -> Self {
        let digest = Sha256::digest(filter_to_wire(filter).encode_to_vec());
        Self(digest[..FILTER_HASH].to_vec())
    }
}

#[derive(Clone, PartialEq, Message)]
struct SearchPageToken {
    #[prost(string, tag = "1")]
    region: String,
    #[prost(bytes = "vec", tag = "2")]
    filter: Vec<u8>,
    #[prost(sint64, tag = "3")]
    begin_us: i64,
    #[prost(bytes = "vec", tag = "4")]
    event_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct CameraPageToken {
    #[prost(string, tag = "1")]
    region: String,
    #[prost(string, tag = "2")]
    after: String,
}

#[derive(Clone, PartialEq, Message)]
struct CursorToken {
    #[prost(string, tag = "1")]
    region: String,
    #[prost(bytes = "vec", tag = "2")]
    index: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    filter: Vec<u8>,
    #[prost(uint64, tag = "4")]
    commit_seq: u64,
    /// The starts of the index under which it was made, see [`Locator`]; absent in a cursor of an earlier version.
    #[prost(fixed32, repeated, tag = "5")]
    starts: Vec<u32>,
    #[prost(uint64, repeated, tag = "6")]
    ends: Vec<u64>,
}

/// Where a cursor stands in the index as it now is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Resumed {
    pub(crate) after: CommitSeq,
    /// The cursor stood further on: the index was put back to a backup meanwhile.
    pub(crate) is_set_back: bool,
}

/// Makes and opens the tokens of one region.
pub(crate) struct Tokens {
    key: TokenKey,
    region: RegionId,
    index: uuid::Uuid,
    clock: SharedClock,
}

impl Tokens {
    pub(crate) fn new(key: TokenKey, region: RegionId, index: uuid::Uuid, clock: SharedClock) -> Self {
        Self { key, region, index, clock }
    }

    /// Where a search goes on.
    pub(crate) fn search_page(&self, filter: &FilterHash, position: Position) -> String {
        let token = SearchPageToken {
            region: self.region.to_string(),
            filter: filter.0.clone(),
            begin_us: position.begin_time.as_micros(),
            event_id: position.event_id.to_vec(),
        };
        self.key.seal(SEARCH_PAGE, &token, self.clock.now())
    }

    /// The place of a search's page token; none for the first page.
    pub(crate) fn open_search_page(&self, token: &str, filter: &FilterHash) -> Result<Option<Position>, ServiceError> {
        const FIELD: &str = "page_token";
        if token.is_empty() {
            return Ok(None);
        }
        let opened: SearchPageToken = self.open(FIELD, SEARCH_PAGE, token, PAGE_MAX_AGE)?;
        self.check_region(FIELD, &opened.region)?;
        check_filter(FIELD, &opened.filter, filter)?;
        let event_id = opened.event_id.try_into().map_err(|_| invalid(FIELD, TokenError::Invalid))?;
        Ok(Some(Position { begin_time: Timestamp::from_micros(opened.begin_us), event_id }))
    }

    /// Where a list of cameras goes on.
    pub(crate) fn camera_page(&self, after: &CameraId) -> String {
        let token = CameraPageToken { region: self.region.to_string(), after: after.to_string() };
        self.key.seal(CAMERA_PAGE, &token, self.clock.now())
    }

    /// The place of a camera list's page token; none for the first page.
    pub(crate) fn open_camera_page(&self, token: &str) -> Result<Option<CameraId>, ServiceError> {
        const FIELD: &str = "page_token";
        if token.is_empty() {
            return Ok(None);
        }
        let opened: CameraPageToken = self.open(FIELD, CAMERA_PAGE, token, PAGE_MAX_AGE)?;
        self.check_region(FIELD, &opened.region)?;
        CameraId::new(&opened.after).map(Some).map_err(|_| invalid(FIELD, TokenError::Invalid))
    }

    /// Where a stream goes on.
    pub(crate) fn cursor(&self, filter: &FilterHash, after: CommitSeq, lineage: &Lineage) -> String {
        let token = CursorToken {
            region: self.region.to_string(),
            index: self.index.as_bytes().to_vec(),
            filter: filter.0.clone(),
            commit_seq: after.0,
            starts: lineage.locator().starts.clone(),
            ends: lineage.locator().ends.clone(),
        };
        self.key.seal(CURSOR, &token, self.clock.now())
    }

    /// The place of a cursor, however old: of what was removed since, its holder learns as of a gap. One that was given after the backup to which the index was put back stands where the two
    /// parted; one of which nothing is known any more is refused. `latest` is the newest commit.
    pub(crate) fn open_cursor(
        &self,
        token: &str,
        filter: &FilterHash,
        latest: CommitSeq,
        lineage: &Lineage,
    ) -> Result<Resumed, ServiceError> {
        const FIELD: &str = "cursor";
        let opened: CursorToken = self.open(FIELD, CURSOR, token, AGELESS)?;
        self.check_region(FIELD, &opened.region)?;
        check_filter(FIELD, &opened.filter, filter)?;
        let read = CommitSeq(opened.commit_seq);
        let is_own = opened.index == self.index.as_bytes();
        let locator = Locator { starts: opened.starts, ends: opened.ends };
        let shared = if locator.starts.is_empty() { Some(read) } else { lineage.shared(&locator, read) };
        match shared.filter(|shared| is_own && *shared <= latest) {
            Some(after) => Ok(Resumed { after, is_set_back: after < read }),
            None => Err(refused(
                FIELD,
                "was made before the region's index was made anew or restored; start again without it",
            )),
        }
    }

    fn open<M: Message + Default>(
        &self,
        field: &str,
        purpose: &str,
        token: &str,
        max_age: Duration,
    ) -> Result<M, ServiceError> {
        self.key.open(purpose, token, max_age, self.clock.now()).map_err(|error| invalid(field, error))
    }

    fn check_region(&self, field: &str, region: &str) -> Result<(), ServiceError> {
        if region == self.region.as_str() { Ok(()) } else { Err(refused(field, "belongs to another region")) }
    }
}

fn check_filter(field: &str, made_for: &[u8], filter: &FilterHash) -> Result<(), ServiceError> {
    if made_for == filter.0 {
        return Ok(());
    }
    Err(refused(field, "was made for another filter; start again without it"))
}

fn refused(field: &str, problem: &str) -> ServiceError {
    ServiceError { code: ErrorCode::InvalidToken, ..ServiceError::field(field, problem) }
}

fn invalid(field: &str, error: TokenError) -> ServiceError {
    ServiceError { code: ServiceError::from(error).code, ..ServiceError::field(field, error) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vigil_base::SimClock;

    use super::*;
    use crate::index::Start;

    fn tokens(region: &str, index: uuid::Uuid, clock: &Arc<SimClock>, key: &TokenKey) -> Tokens {
        let region = RegionId::new(region).unwrap();
        Tokens::new(key.clone(), region, index, clock.clone())
    }

    #[test]
    fn a_token_is_good_for_its_own_question_alone() {
        let clock = SimClock::new(Timestamp::from_micros(1_000_000));
        let (key, index) = (TokenKey::random(), uuid::Uuid::new_v4());
        let north = tokens("north", index, &clock, &key);
        let any = FilterHash::of(&Filter::default());
        let cars = FilterHash::of(&Filter { classes: vec!["car".into()], ..Filter::default() });
        let place = Position { begin_time: Timestamp::from_micros(5), event_id: [7; 16] };
        let page = north.search_page(&any, place);
        assert_eq!(north.open_search_page(&page, &any).unwrap(), Some(place));
        let reason = |result: Result<_, ServiceError>| result.map(drop).unwrap_err().code;
        assert_eq!(reason(north.open_search_page(&page, &cars).map(drop)), ErrorCode::InvalidToken);
        let south = tokens("south", index, &clock, &key);
        assert_eq!(reason(south.open_search_page(&page, &any).map(drop)), ErrorCode::InvalidToken);
        let lineage = Lineage::new(Vec::new());
        let opened = north.open_cursor(&page, &any, CommitSeq(9), &lineage);
        assert_eq!(reason(opened.map(drop)), ErrorCode::InvalidToken);
        clock.advance(PAGE_MAX_AGE + Duration::from_secs(1));
        assert_eq!(reason(north.open_search_page(&page, &any).map(drop)), ErrorCode::ExpiredToken);
    }

    #[test]
    fn a_cursor_of_another_index_is_refused_and_one_of_a_lost_future_set_back() {
        let clock = SimClock::new(Timestamp::from_micros(1_000_000));
        let (key, index) = (TokenKey::random(), uuid::Uuid::new_v4());
        let any = FilterHash::of(&Filter::default());
        let north = tokens("north", index, &clock, &key);
        let first = Start::new(CommitSeq(0));
        let before = Lineage::new(vec![first]);
        let cursor = north.cursor(&any, CommitSeq(9), &before);
        let resumed = |after, is_set_back| Resumed { after: CommitSeq(after), is_set_back };
        // Made while the region's clock was decades behind, or read while it is ahead: the place is the same.
        clock.advance(Duration::from_hours(400_000));
        assert_eq!(north.open_cursor(&cursor, &any, CommitSeq(9), &before).unwrap(), resumed(9, false));
        let restored = Lineage::new(vec![first, Start::new(CommitSeq(5))]);
        assert_eq!(north.open_cursor(&cursor, &any, CommitSeq(20), &restored).unwrap(), resumed(5, true));
        let stranger = Lineage::new(vec![Start::new(CommitSeq(0))]);
        let error = north.open_cursor(&cursor, &any, CommitSeq(20), &stranger).unwrap_err();
        assert!(error.message.contains("restored"), "{error}");
        let remade = tokens("north", uuid::Uuid::new_v4(), &clock, &key);
        assert!(remade.open_cursor(&cursor, &any, CommitSeq(9), &before).is_err());
    }

    /// The wire contract promises at most 256 bytes, and a gateway takes no more: for the longest name of a region, after a
    /// thousand starts, and for more commits than there will be.
    #[test]
    fn the_longest_cursor_is_as_short_as_the_contract_says() {
        let clock = SimClock::new(Timestamp::from_micros(1_800_000_000_000_000));
        let newest = (1 << 56) - 1;
        let north = tokens(&"n".repeat(64), uuid::Uuid::new_v4(), &clock, &TokenKey::random());
        let starts = Lineage::new((0..1_000).map(|number| Start::new(CommitSeq(newest - 1_000 + number))).collect());
        let cursor = north.cursor(&FilterHash::of(&Filter::default()), CommitSeq(newest), &starts);
        assert!(cursor.len() <= 256, "{}", cursor.len());
    }
}
