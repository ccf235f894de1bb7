//! Event to durable record, until its region has acknowledged it.
//!
//! # Constraints
//! - [`Outbox::put`] returns after the record is on the disk: what was put survives kill -9 and loss of power.
//! - A record leaves only when its region acknowledged or rejected that revision. Nothing is ever dropped to make room:
//!   at its bound the outbox refuses new records with an error of its own.
//! - An outage of days is bounded by the number of events, not of revisions: a later revision of an event replaces the
//!   earlier one that still waits. A thumbnail that has not reached the region moves on to the later revision.
//! - An edge that died knows, when it comes back, which events it had begun and not ended ([`Outbox::open_events`]).
//! - One folder belongs to one process at a time.
//!
//! # Layout
//! ```text
//! folder/
//!   lock            locked (flock) for as long as the outbox is open
//!   instance-id     UUID, made once with the folder
//!   reserve         blocks kept back for a full disk
//!   outbox.db       SQLite: WAL, synchronous = FULL
//!   outbox.db-wal
//!   outbox.db-shm
//!   outbox.db.corrupt-<time>   a damaged file that was moved aside, with its -wal
//!
//! outbox.db
//!   records     one row an event:  event_id | sequence  | revision | is_final | queued_us | event | thumbnail
//!                 waiting:                    a number
//!                 acknowledged, not final:    NULL                                                  NULL
//!                 acknowledged and final:     no row
//!   set_aside   what the region rejected:  event_id | revision | reason | set_aside_us | event
//!                 (bounded: the oldest go first)
//!   counters    next_sequence, set_aside_total
//! ```
//!
//! # Write, read, delete
//! One thread owns the writing connection. It takes all the puts, acknowledgements and rejections that wait, applies
//! them in one transaction and syncs once (group commit), then answers each caller. A call that fails inside a group is
//! undone alone; a group that fails as a whole is tried again call by call, so that an acknowledgement, which frees
//! room, is not lost with a put that found none. Reads have a connection of their own and see the last commit.
//! Sequences grow with every put and are never given twice.
//!
//! # Crash cases
//! - Before the commit is synced: the put has not returned; the record may be there or not, whole in either case.
//! - After the commit, before the caller is answered: the record is there; the caller's event is sent once, by its id.
//! - Between sending and acknowledging: the record still waits and is sent again; the region counts a duplicate.
//! - After the region's commit, before [`Outbox::acknowledge`] is synced: the same.
//! - While the file is made: no table, or all of them (one transaction); the next start makes them.
//! - While a damaged file is moved aside: its -wal goes first, so that it never meets the new file; the next start sees
//!   a moved -wal without its file and moves that too.
//! - Disk full: the reserve is given to the disk, the log is emptied into the database, and the call is tried once more.
//!   Acknowledgements then always find room. A put does where the database has free pages inside, or the reserve could
//!   be taken back; else it gets [`OutboxError::DiskFull`], and what was there stays. A crash while the reserve is lent
//!   changes nothing: the next call, or the next start, takes it back as soon as there is room.
//! - Read-only: the transaction is undone, callers get [`OutboxError::ReadOnly`], and the next call tries again.
//! - A file that is damaged (SQLite's quick check, or a read that fails): moved aside under its own name, reported by
//!   [`Outbox::quarantined`], never emptied.

mod call;
mod change;
mod config;
mod error;
mod folder;
mod kept;
mod outbox;
mod reader;
mod record;
mod reserve;
mod schema;
mod store;
mod telemetry;
mod writer;

pub use config::{DEFAULT_MAX_BYTES, OutboxConfig};
pub use error::OutboxError;
pub use kept::{Kept, KeptConfig, MAX_MARKS, Mark};
pub use outbox::{Commit, Outbox};
pub use record::{Backlog, MAX_RECORD_BYTES, MAX_SET_ASIDE, OpenEvent, Pending, PutOutcome, Record, SetAside};
