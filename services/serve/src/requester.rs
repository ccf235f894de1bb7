//! Who asks: one value in the extensions of each request, put there by the [door](crate::door) before any service or the audit log
//! sees it.
//!
//! It says what was proved and what was merely said: a certificate proves a name, and a gateway's word for whom it asks does not.

use std::collections::BTreeSet;

use http::{Extensions, HeaderMap};
use tonic::metadata::MetadataMap;
use vigil_trust::person::Role;
use vigil_trust::{Fingerprint, Identity, PeerInfo};

use crate::access::Access;

/// Who asks where nobody has to prove who they are.
pub const ANONYMOUS: &str = "anonymous";

/// Who asks, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requester {
    /// The name: of a token, as its issuer knows it; of a certificate, as `vigil://operator/alice`; for whom a gateway says that it
    /// asks; or [`ANONYMOUS`].
    pub subject: String,
    /// The department it belongs to, where that is known.
    pub department: Option<String>,
    /// The region it belongs to, where that is known.
    pub home_region: Option<String>,
    /// What it is there for. Empty where nothing proves it.
    pub roles: BTreeSet<Role>,
    /// Why it asks, in its own words.
    pub purpose: Option<String>,
    /// The case it asks for.
    pub case: Option<String>,
    /// The name is proved, by certificate or token, and not merely said by whoever asks for it.
    pub proved: bool,
}

impl Requester {
    /// Somebody of whom nothing is known.
    pub fn anonymous() -> Self {
        Self {
            subject: ANONYMOUS.to_owned(),
            department: None,
            home_region: None,
            roles: BTreeSet::new(),
            purpose: None,
            case: None,
            proved: false,
        }
    }

    /// Who sent a request; anonymous where no layer said.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_else(Self::anonymous)
    }

    /// Who asks by the connection's certificate and by what the question says of itself.
    pub(crate) fn of_connection(extensions: &Extensions, headers: &HeaderMap) -> Self {
        // What cannot be read is refused by the audit log's layer, which says what is wrong with it.
        let access = Access::of(&MetadataMap::from_headers(headers.clone())).unwrap_or_default();
        let known = Self { purpose: access.purpose, case: access.case, ..Self::anonymous() };
        match (certified(extensions), access.on_behalf_of) {
            (None | Some(Identity::Gateway(_)), Some(subject)) => Self { subject, ..known },
            (Some(identity), _) => {
                let roles = matches!(identity, Identity::Operator(_)).then_some(Role::Operator);
                Self { subject: identity.to_string(), roles: roles.into_iter().collect(), proved: true, ..known }
            }
            (None, None) => known,
        }
    }
}

/// Who is at the other end of the connection, by its certificate.
pub(crate) fn certified(extensions: &Extensions) -> Option<&Identity> {
    Some(&extensions.get::<PeerInfo>()?.peer.as_ref()?.identity)
}

/// The certificate at the other end of the connection.
pub(crate) fn shown_certificate(extensions: &Extensions) -> Option<Fingerprint> {
    Some(extensions.get::<PeerInfo>()?.peer.as_ref()?.fingerprint)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use vigil_base::Timestamp;
    use vigil_trust::{Ending, Peer, Serial};

    use super::*;

    fn asked_by(who: Option<&str>, access: &Access) -> Requester {
        let mut extensions = Extensions::new();
        let peer = who.map(|who| {
            let (identity, fingerprint) = (who.parse().unwrap(), Fingerprint::from_bytes([7; 32]));
            Arc::new(Peer { identity, fingerprint, serial: Serial::default(), not_after: Timestamp::MAX })
        });
        extensions.insert(PeerInfo { address: None, peer, ending: Ending::default() });
        let mut metadata = MetadataMap::new();
        access.write(&mut metadata);
        Requester::of_connection(&extensions, &metadata.into_headers())
    }

    #[test]
    fn a_certificate_proves_a_name_and_a_gateways_word_does_not() {
        let why = Access { purpose: Some("a lost child".into()), case: Some("2026/417".into()), on_behalf_of: None };
        let alice = asked_by(Some("vigil://operator/alice"), &why);
        assert_eq!((alice.subject.as_str(), alice.proved), ("vigil://operator/alice", true));
        assert_eq!(alice.roles, [Role::Operator].into());
        assert_eq!((alice.purpose, alice.case), (why.purpose.clone(), why.case.clone()));

        let said = Access { on_behalf_of: Some("vigil://operator/chief".into()), ..why };
        let for_chief = asked_by(Some("vigil://gateway/city"), &said);
        assert_eq!((for_chief.subject.as_str(), for_chief.proved), ("vigil://operator/chief", false));
        assert!(for_chief.roles.is_empty(), "nobody proved that the chief is one");
        let own = asked_by(Some("vigil://operator/alice"), &said);
        assert_eq!(own.subject, "vigil://operator/alice", "nobody but a gateway speaks for others");
        assert_eq!(asked_by(None, &Access::default()), Requester::anonymous());
        assert!(!asked_by(None, &said).proved);
    }
}
