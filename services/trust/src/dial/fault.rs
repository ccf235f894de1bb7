//! What goes wrong where TLS begins or is refused, in the terms of who called.

use std::fmt;
use std::io;

use rustls::{CertificateError, Error as TlsError};
use vigil_base::error::chain;

/// How what a server did begins; stands in the texts of [`DialError`].
const OF_A_SERVER: &str = "the server at ";

/// A connection over TLS cannot be made, or broke since the other side does not take ours.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Nobody takes the connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address is not one.
    #[error("{address} is no address with a host")]
    Address {
        /// The address.
        address: String,
    },
    /// Nothing to show.
    #[error("{problem}")]
    Credentials {
        /// What is wrong with the own ones, and with which file.
        problem: String,
    },
    /// The server is not who it must be.
    #[error("the server at {address} {problem}")]
    Server {
        /// Where.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The server does not take our certificate.
    #[error("the server at {address} refuses the certificate {shown}: {problem}")]
    Refused {
        /// Where.
        address: String,
        /// Which certificate was shown.
        shown: String,
        /// Why, as far as it says.
        problem: String,
    },
}

/// What went wrong with TLS, found in an error of a call; its text is for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    told: String,
    /// Nobody answers: TLS had no part in it.
    pub is_absent: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told)
    }
}

/// Finds what went wrong with TLS in an error of a call, where that was it: what transports make of it tells little. HTTP/2
/// keeps of an error of its socket the text alone, which is known by its beginning.
pub fn fault_in(error: &(dyn std::error::Error + 'static)) -> Option<Fault> {
    let mut next = Some(error);
    while let Some(error) = next {
        let inner = error.downcast_ref::<io::Error>().and_then(|error| error.get_ref());
        let inner = inner.and_then(|inner| inner.downcast_ref::<DialError>());
        if let Some(fault) = error.downcast_ref::<DialError>().or(inner) {
            return Some(Fault { told: chain(fault), is_absent: matches!(fault, DialError::Connect { .. }) });
        }
        let told = error.to_string();
        if told.starts_with(OF_A_SERVER) {
            return Some(Fault { told, is_absent: false });
        }
        next = error.source();
    }
    None
}

/// Whom a connection goes to, and what it shows there; for errors.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) address: String,
    pub(super) shown: String,
}

impl Place {
    /// Why TLS failed, in the terms of who called.
    pub(super) fn explain(&self, error: io::Error) -> DialError {
        use CertificateError as Fault;
        let Some(inner) = error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()) else {
            return DialError::Connect { address: self.address.clone(), source: error };
        };
        let problem = match inner {
            TlsError::AlertReceived(alert) => return self.refused(&format!("{alert:?}")),
            TlsError::InvalidCertificate(Fault::Expired | Fault::ExpiredContext { .. }) => {
                "has a certificate that has ended: issue it anew".to_owned()
            }
            TlsError::InvalidCertificate(Fault::NotValidYet | Fault::NotValidYetContext { .. }) => {
                "has a certificate that has not begun: is this machine's clock right?".to_owned()
            }
            TlsError::InvalidCertificate(Fault::UnknownIssuer | Fault::BadSignature) => {
                "has a certificate that was not signed by an authority of ours".to_owned()
            }
            TlsError::InvalidCertificate(Fault::Revoked) => {
                "has a certificate that its authority has revoked: do not trust it before you know why".to_owned()
            }
            TlsError::InvalidCertificate(_) => "has a certificate that is not made for answering".to_owned(),
            TlsError::InvalidMessage(_) => {
                "speaks no TLS: is it the right address, and is TLS set up there?".to_owned()
            }
            other => format!("cannot be spoken to over TLS: {other}"),
        };
        DialError::Server { address: self.address.clone(), problem }
    }

    fn refused(&self, alert: &str) -> DialError {
        let problem = match alert {
            // Before it is shown its time is looked at here.
            "CertificateExpired" => {
                "it has ended or not begun by the server's clock: is that right, and this machine's?".to_owned()
            }
            // Two authorities of one name: the signature is tried, and does not fit.
            "UnknownCA" | "DecryptError" => {
                "it was not signed by an authority of the server's: have it issued by one that the server names in [tls]".to_owned()
            }
            "CertificateRequired" => "the server asks for one".to_owned(),
            "CertificateRevoked" => {
                "it was revoked: have another issued (vigil pki issue … --replace), or enrol anew".to_owned()
            }
            "UnsupportedCertificate" | "BadCertificate" => {
                "it is not one that may call: show one of an edge, a gateway or an operator".to_owned()
            }
            other => format!("{other}; the server's log says more"),
        };
        DialError::Refused { address: self.address.clone(), shown: self.shown.clone(), problem }
    }
}
