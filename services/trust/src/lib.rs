//! Who is who between Vigil's processes, and who may do what.
//!
//! - [`identity`]: a process or person has one name, which stands in its certificate as a URI: `vigil://edge/box-7`.
//! - [`authority`]: a private authority that signs such certificates (`vigil pki`).
//! - [`certificate`]: what a certificate says.
//! - [`credentials`]: a process's own certificate and key and the authorities it believes, read from files and checked.
//! - [`keeper`]: the credentials in use; read again when the files change, so that they are replaced without a restart.
//! - [`accept`]: mutual TLS on the listening side; [`dial`]: on the calling side.
//! - [`connection`]: what was taken there; [`ending`]: ended with the certificate by which it was taken.
//! - [`person`]: what people and programs that ask are there for.
//! - [`rights`]: the one table of who may do what.
//! - [`revocation`]: the lists of what authorities have revoked.
//! - [`token`], [`ledger`]: one-time tokens by which a new edge gets its first certificate.
//! - [`exposure`]: nothing listens in the clear to other machines unless it is told to.
//!
//! Invariants:
//! - TLS 1.3 alone, both sides with certificates, no resumed sessions: each connection is checked against the authorities
//!   and the time of its own begin, and ends with the certificate that began it.
//! - A peer is who its certificate says, not who its messages say.
//! - Private keys and tokens stand in no log, no error and no `Debug`.

pub mod accept;
pub mod authority;
pub mod certificate;
pub mod connection;
pub mod credentials;
pub mod dial;
pub mod ending;
pub mod exposure;
pub mod files;
pub mod identity;
pub mod keeper;
pub mod ledger;
pub mod network;
pub mod person;
pub mod request;
pub mod revocation;
pub mod rights;
mod suite;
pub mod token;
mod verify;

pub use accept::Security;
pub use authority::{Authority, AuthorityError};
pub use certificate::{CertificateInfo, Fingerprint, Serial};
pub use connection::{Connection, Peer, PeerInfo};
pub use credentials::{Credentials, CredentialsError, TlsFiles, TlsSection};
pub use dial::{DialError, Dialer, Expect};
pub use ending::{Ending, Over};
pub use identity::{Identity, IdentityError, Role};
pub use keeper::{Keeper, Owner, Refresh};
pub use network::Network;
pub use rights::Right;
