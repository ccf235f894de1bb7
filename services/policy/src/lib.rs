//! A region's policy: the region that owns the data decides what a requester of another department or region is given.
//!
//! Pure: no files, no network, no clock. [`PolicyFile`] is what a file says, [`Policy`] what it means. [`Policy::clearance`] finds
//! the rules that a requester meets at a moment, [`Scope`] lays them over the cameras that the region knows, and from then on a
//! decision is two look-ups.
//!
//! # How rules combine
//!
//! **The first rule decides.** A rule is met when the requester meets all that it says of requesters, and the camera is in one of its
//! groups. Of the rules in the order of the file, the first that is met decides alone what is given; what it does not grant is withheld.
//! Where none is met, everything is withheld. First match was chosen over adding up all rules, since one can then read off the file
//! what somebody gets, an exception stands above what it excepts from, and no rule further down can give what one above took away.
//!
//! What a rule says of who asks counts only where it is proved, by a certificate or token; `proved = false` in the rule lets what
//! is merely said count, for a region without certificates. A requester whose department or region is not known meets no rule
//! that asks for one.
//!
//! # Example
//!
//! ```toml
#![doc = include_str!("../example.toml")]
//! ```

mod asker;
mod file;
mod grant;
mod group;
mod policy;
mod roster;
mod scope;

pub use asker::{Asker, Hint, ROLES, Unmet};
pub use file::{GroupFile, LimitFile, PolicyFile, RuleFile};
pub use grant::{Grant, Grants};
pub use policy::{Clearance, Finding, Limit, Policy, PolicyError, Rule};
pub use roster::Roster;
pub use scope::{Part, Ruling, Scope, Share};
