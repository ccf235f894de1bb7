//! Figures about the whole index: from what is known of each slice, without a look at any.

use rusqlite::Connection;
use vigil_base::{CameraId, EdgeId, Timestamp};

use super::names::{NameKind, names_of};
use super::slices::SliceList;
use crate::index::{IndexStats, Sources};

/// What the slices hold; the disk is asked by [`super::folder::disk`].
pub(super) fn stats(list: &SliceList) -> IndexStats {
    let held = || list.readable().map(|slice| slice.summary()).filter(|summary| summary.events > 0);
    let newest_commit = held().max_by_key(|summary| summary.last_seq);
    IndexStats {
        events: held().map(|summary| summary.events).sum(),
        oldest_begin: held().map(|summary| summary.first_begin_us).min().map(Timestamp::from_micros),
        newest_begin: held().map(|summary| summary.last_begin_us).max().map(Timestamp::from_micros),
        last_commit: newest_commit.map(|summary| Timestamp::from_micros(summary.latest_us)),
        ..IndexStats::default()
    }
}

/// Whatever was ever given a number. A name that is no id any more is of no event that a question can name.
pub(super) fn sources(region: &Connection) -> rusqlite::Result<Sources> {
    let cameras = names_of(region, NameKind::Camera)?.iter().filter_map(|name| CameraId::new(name).ok()).collect();
    let edges = names_of(region, NameKind::Edge)?.iter().filter_map(|name| EdgeId::new(name).ok()).collect();
    Ok(Sources { cameras, edges })
}
