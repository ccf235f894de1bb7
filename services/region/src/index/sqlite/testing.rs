//! Events and an open index, for the engine's own tests.

use std::path::Path;
use std::time::Duration;

use vigil_base::event::{Attributes, Event, EventKind, EventState, ModelRef};
use vigil_base::{BoxNorm, CameraId, EdgeId, EventId, RegionId, SimClock, TimeSource, Timestamp, TrackId};

use super::{SqliteConfig, SqliteIndex};

const NOON: Timestamp = Timestamp::from_micros(1_767_607_200_000_000);

/// An index in `folder`, by a clock that stands at noon.
pub(super) fn open(folder: &Path) -> SqliteIndex {
    let region = RegionId::new("north").unwrap();
    let config = SqliteConfig { data_dir: folder.to_owned(), region, reader_threads: 1 };
    SqliteIndex::open(&config, SimClock::new(NOON)).unwrap()
}

/// An event that begins so many seconds after noon.
pub(super) fn event(after_s: u64) -> Event {
    let begin = NOON + Duration::from_secs(after_s);
    Event {
        id: EventId::at(begin),
        revision: 1,
        state: EventState::Ongoing,
        region: RegionId::new("north").unwrap(),
        edge: EdgeId::new("edge").unwrap(),
        camera: CameraId::new("gate").unwrap(),
        kind: EventKind::Object,
        object_class: "person".into(),
        track: TrackId(1),
        begin_time: begin,
        end_time: begin,
        confirm_time: begin,
        receive_time: None,
        time_source: TimeSource::Ntp,
        confidence: 0.5,
        best_box: BoxNorm::default(),
        best_time: begin,
        path: Vec::new(),
        attributes: Attributes::default(),
        location: None,
        rule: None,
        zone: None,
        plate: None,
        thumbnail_key: None,
        model: ModelRef { name: "m".into(), fingerprint: "f".into() },
        trace_parent: None,
    }
}
