//! The end of a connection whose certificate is over before its peer hangs up.
//!
//! A connection is checked when it begins. A stream may be open for months, so the certificate that began it is watched while
//! it is open, by the same rules as at the beginning: when it ends, or when the credentials in use no longer believe it, the
//! connection ends, in this order:
//!
//! 1. [`Ending::told`]: no new calls are taken, and open streams end with a status that says why. What was asked before may
//!    still be answered where a certificate has merely ended; its holder comes back with a renewed one.
//! 2. [`GRACE`] later the socket is cut, whatever is open; [`GRACE_REFUSED`] later where the certificate is not believed.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::counter;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture, WaitForCancellationFutureOwned};
use vigil_base::Timestamp;

use crate::identity::Identity;
use crate::keeper::Keeper;

/// Between the end of a certificate and that of its connection: a question that was just asked is answered within it.
pub const GRACE: Duration = Duration::from_secs(2);
/// The same where the certificate is not believed any more: long enough to be told why.
pub const GRACE_REFUSED: Duration = Duration::from_millis(250);
/// Between two looks at the clock, which may be put forward.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Why a connection ends that was good when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// The peer's certificate has reached its end.
    Ended {
        /// The peer.
        who: Identity,
        /// When.
        not_after: Timestamp,
    },
    /// The peer's certificate is not believed any more.
    Refused {
        /// The peer.
        who: Identity,
        /// Why not, as "was revoked: have another issued".
        problem: String,
    },
}

impl fmt::Display for Over {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended { who, not_after } => {
                write!(f, "the certificate of {who} ended at {not_after}: connect again with a renewed one")
            }
            Self::Refused { who, problem } => write!(f, "the certificate of {who} {problem}"),
        }
    }
}

/// Whether and why a connection ends; shared by all that use it. One by default never does.
#[derive(Debug, Clone, Default)]
pub struct Ending(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    over: OnceLock<Over>,
    told: CancellationToken,
    cut: CancellationToken,
    /// Nobody uses the connection any more.
    gone: CancellationToken,
}

impl Ending {
    /// Why it ends, once it does.
    pub fn over(&self) -> Option<&Over> {
        self.0.over.get()
    }

    /// Until it is to end.
    pub fn told(&self) -> WaitForCancellationFuture<'_> {
        self.0.told.cancelled()
    }

    /// Until nobody uses the connection any more.
    pub fn gone(&self) -> WaitForCancellationFuture<'_> {
        self.0.gone.cancelled()
    }

    /// Until the socket is cut.
    pub(crate) fn cut(&self) -> WaitForCancellationFutureOwned {
        self.0.cut.clone().cancelled_owned()
    }

    /// Nobody uses it any more.
    pub(crate) fn leave(&self) {
        self.0.gone.cancel();
    }

    /// Watches a connection of `standing` until it is over, or nobody uses it any more.
    pub(crate) async fn follow(self, standing: Standing) {
        let Some(over) = self.0.gone.run_until_cancelled(standing.over()).await else { return };
        let (reason, grace) = match &over {
            Over::Ended { .. } => ("ended", GRACE),
            Over::Refused { .. } => ("refused", GRACE_REFUSED),
        };
        counter!("vigil_tls_connections_cut_total", "reason" => reason).increment(1);
        tracing::warn!(reason = %over, "an open connection is ended");
        let _ = self.0.over.set(over);
        self.0.told.cancel();
        let _ = self.0.gone.run_until_cancelled(tokio::time::sleep(grace)).await;
        self.0.cut.cancel();
    }
}

/// Which side of a connection the peer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Calls,
    Answers,
}

/// The certificate by which a peer was let in, and what tells whether it would be let in now.
pub(crate) struct Standing {
    pub(crate) keeper: Arc<Keeper>,
    /// Changes of the credentials since those by which the peer was let in.
    pub(crate) changes: watch::Receiver<()>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) who: Identity,
    pub(crate) not_after: Timestamp,
    pub(crate) side: Side,
}

impl Standing {
    /// Until it is not believed any more, by the own credentials or lists. Its end is another matter: whoever answers is asked
    /// for a new one by the next connection.
    pub(crate) async fn refused(mut self) -> Over {
        loop {
            if self.changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            if let Some(problem) = self.problem() {
                return Over::Refused { who: self.who, problem };
            }
        }
    }

    /// Until it is no longer good. Signatures are only looked at when the own credentials change.
    async fn over(mut self) -> Over {
        loop {
            let left = self.not_after.since(self.keeper.clock().now());
            if left.is_zero() {
                return Over::Ended { who: self.who, not_after: self.not_after };
            }
            tokio::select! {
                () = tokio::time::sleep(left.min(LOOK_AGAIN)) => {}
                // Its sender lives as long as the keeper.
                Ok(()) = self.changes.changed() => if let Some(problem) = self.problem() {
                    return Over::Refused { who: self.who, problem };
                },
            }
        }
    }

    /// What is wrong with the certificate by the credentials in use now.
    fn problem(&self) -> Option<String> {
        let credentials = self.keeper.current().ok()?;
        let checked = match self.side {
            Side::Calls => credentials.check_caller(&self.chain),
            Side::Answers => credentials.check_answerer(&self.chain),
        };
        checked.err().map(|error| refusal(&error))
    }
}

/// What is wrong with a peer's certificate.
pub(crate) fn refusal(error: &rustls::Error) -> String {
    use rustls::{CertificateError as Fault, Error};
    let text = match error {
        Error::InvalidCertificate(Fault::Expired | Fault::ExpiredContext { .. }) => "has ended",
        Error::InvalidCertificate(Fault::NotValidYet | Fault::NotValidYetContext { .. }) => {
            "has not begun: is this machine's clock right?"
        }
        Error::InvalidCertificate(Fault::UnknownIssuer | Fault::BadSignature) => {
            "was not signed by an authority of ours"
        }
        Error::InvalidCertificate(Fault::Revoked) => "was revoked: have another issued",
        Error::InvalidCertificate(_) => "is not one that may call",
        other => return other.to_string(),
    };
    text.to_owned()
}
