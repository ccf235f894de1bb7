//! Figures about the whole index: from what is known of each slice, without a look at any.

use vigil_base::Timestamp;

use super::slices::SliceList;
use crate::index::IndexStats;

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
