//! Who asked what, why, and what they were given: written before the answer leaves.
//!
//! # Constraints
//! - [`AuditLog::append`] returns after the record and its seal are on the disk. Whoever answers only then never gives an
//!   answer that is not in the log. A log that cannot be written refuses, and so must the answer be.
//! - Nothing is ever changed or removed. Each record holds the hash of the one before it (a hash chain; Haber and
//!   Stornetta, "How to Time-Stamp a Digital Document", 1991), and the head of the chain is signed (Ed25519, RFC 8032).
//! - Anybody with the folder and the public key can check it, offline: [`verify()`].
//!
//! # Layout
//! ```text
//! folder/
//!   lock                                locked (flock) for as long as the log is open
//!   signing-key.pem                     PKCS#8, readable by its owner alone; made with the folder
//!   public-key.pem                      to be given to auditors
//!   head                                two slots of 512 bytes, written in turn: number and hash of the last record, time,
//!                                       signature
//!   audit-00000000000000000001.jsonl    a record a line; named after its first record's number
//!   audit-00000000000000048211.jsonl
//! ```
//! A record is one line of JSON. Its `prev` is the SHA-256 of the line before it, without the line's end; that of the first
//! is all zeros. So `head -n1 audit-….jsonl | tr -d '\n' | sha256sum` is the `prev` of line two.
//!
//! # Write
//! One thread owns the files. It takes the records that wait, writes them, syncs (fdatasync), writes the head's other slot,
//! syncs, and answers each caller (group commit).
//!
//! # Crash cases
//! - Before the records are synced: nobody was answered. A line without its end is cut off at the next start.
//! - After the records, before the head: nobody was answered either, but whole lines are there that no head signs. They stay,
//!   and the next record says how many they are.
//! - While a slot of the head is written: the other one holds the head before.
//! - Disk full: room for some ten thousand questions is kept (8 MiB). Then, as for any other failure to write: what was written of the group is cut off
//!   again and its callers are refused. Where even that fails, nothing more is written until it works.
//!
//! # What it proves, and what not
//! A record that was altered, removed, put elsewhere or added afterwards breaks the chain or does not fit the signed head;
//! so do records missing at the end. Who has the signing key can write another history: against that, auditors keep heads
//! (`vigil audit head`) outside the machine, and [`verify()`] checks that the log still contains them.

mod entry;
mod error;
mod folder;
mod head;
mod line;
mod log;
mod search;
mod verify;
mod writer;

pub use entry::{Entry, Outcome, Record, Withheld};
pub use error::AuditError;
pub use head::{Head, PublicKey};
pub use line::Digest;
pub use log::AuditLog;
pub use search::{Found, Search, search};
pub use verify::{Problem, Report, verify};
