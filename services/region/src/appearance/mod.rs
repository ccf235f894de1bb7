//! Who looked like this: the appearances of a region's events, beside its index.
//!
//! Derived from the index, whichever engine keeps it, by following its feed of commits; so both engines give the same answers, a
//! batch that an edge publishes does not wait for it, and what is lost or damaged is made anew. Files in `appearances/` of the
//! data folder:
//!
//! ```text
//! catalogue.json                       names and their numbers, files, and how far the feed was followed; replaced whole
//! 489432-489456.0.appearances          events that began in these hours since 1970 (a slice), by method 0:
//!   block 0: 1024 records of 64 bytes, 1024 vectors      what passes an event over, and what it is compared by
//!   block 1: ...
//! strays.0.appearances                 events of cameras whose clocks are far from the region's
//! ```
//!
//! - **Write**: an event has one place in one file; its revisions are written over it, and an earlier one never over a later one.
//!   So it counts once, as of its last revision. Every ten seconds files are synced, and then the catalogue says how far.
//! - **Crash**: the feed is followed again from where the catalogue says, and what was written twice is the same. Killing the
//!   process tears no write; a power cut may, and the checksum says so: then all is followed anew. Numbers of names are on the disk before they are used.
//! - **Damage**: a file that is missing, shorter than it was, or whose checksums are wrong is removed, and all is followed from the
//!   beginning; until that is done answers say what they lack. Files are checked at the start up to 256 MiB, the newest first;
//!   `vigil region reindex` makes all anew.
//! - **Read**: blocks are read by `pread` into one buffer, so memory is bounded by the buffer and not by what there is: 192 KiB a
//!   question, and 30 MB for each file that is written to (three). The kernel's cache of files is not counted.
//! - **Delete**: retention removes the file of a slice with the slice; strays go when their event is no longer in the index.
//!
//! Every hit is looked up in the index before it is told: nothing that is gone, that the filter does not mean or that the policy
//! withholds is found here.

mod answer;
mod catalogue;
mod file;
mod follow;
mod mend;
mod record;
mod scan;
mod service;
mod store;

pub(crate) use follow::{purge, run};
pub(crate) use service::LooksService;
pub use store::AppearanceStore;
