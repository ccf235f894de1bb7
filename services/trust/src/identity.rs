//! Identities: who a certificate is for.
//!
//! An identity stands in a certificate as a subject alternative name of the kind URI (RFC 5280, section 4.2.1.6) in one
//! form, `vigil://ROLE/NAME`. There is nothing to normalise: no upper case in the role, no escapes, no port, path or query.
//! So two texts are the same identity exactly when they are the same bytes.

use std::fmt;
use std::str::FromStr;

use vigil_base::ids::IdError;
use vigil_base::{EdgeId, GatewayId, OperatorId, RegionId};

/// Scheme of the URI.
pub const SCHEME: &str = "vigil://";

/// What somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// A box beside the cameras.
    Edge,
    /// A region's server.
    Region,
    /// A gateway over regions.
    Gateway,
    /// A person or program that asks questions.
    Operator,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Edge, Self::Region, Self::Gateway, Self::Operator];

    /// As it stands in the URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Region => "region",
            Self::Gateway => "gateway",
            Self::Operator => "operator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| IdentityError::Role { found: shortened(text) })
    }
}

/// A text is no identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not the form of an identity.
    #[error("{found:?} is not an identity such as vigil://edge/box-7")]
    Form {
        /// The text, cut to 120 characters.
        found: String,
    },
    /// No such role.
    #[error("{found:?} is not a role: there are edge, region, gateway and operator")]
    Role {
        /// The text, cut to 120 characters.
        found: String,
    },
    /// The name is not fit to be an id.
    #[error("the name in an identity")]
    Name(#[from] IdError),
    /// A certificate names nobody of Vigil.
    #[error("it names no identity such as vigil://edge/box-7")]
    None,
    /// A certificate names more than one.
    #[error("it names more than one identity")]
    Several,
}

fn shortened(text: &str) -> String {
    text.chars().take(120).collect()
}

/// Who somebody is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identity {
    /// An edge; its id must be unique under its authority, not only in its region.
    Edge(EdgeId),
    /// A region.
    Region(RegionId),
    /// A gateway.
    Gateway(GatewayId),
    /// A person or program that asks.
    Operator(OperatorId),
}

impl Identity {
    /// The identity of this role and name.
    ///
    /// # Errors
    /// The name is not fit to be an id.
    pub fn new(role: Role, name: &str) -> Result<Self, IdentityError> {
        Ok(match role {
            Role::Edge => Self::Edge(EdgeId::new(name)?),
            Role::Region => Self::Region(RegionId::new(name)?),
            Role::Gateway => Self::Gateway(GatewayId::new(name)?),
            Role::Operator => Self::Operator(OperatorId::new(name)?),
        })
    }

    /// What it is.
    pub fn role(&self) -> Role {
        match self {
            Self::Edge(_) => Role::Edge,
            Self::Region(_) => Role::Region,
            Self::Gateway(_) => Role::Gateway,
            Self::Operator(_) => Role::Operator,
        }
    }

    /// Its name within its role.
    pub fn name(&self) -> &str {
        match self {
            Self::Edge(id) => id.as_str(),
            Self::Region(id) => id.as_str(),
            Self::Gateway(id) => id.as_str(),
            Self::Operator(id) => id.as_str(),
        }
    }

    /// The one identity among the URIs of a certificate. URIs of other schemes are no matter of ours.
    ///
    /// # Errors
    /// None, more than one, or one that is malformed.
    pub fn among<'a>(uris: impl IntoIterator<Item = &'a str>) -> Result<Self, IdentityError> {
        let mut ours = uris.into_iter().filter(|uri| has_scheme(uri));
        let first = ours.next().ok_or(IdentityError::None)?;
        if ours.next().is_some() {
            return Err(IdentityError::Several);
        }
        first.parse()
    }
}

/// Whether it is a URI of ours, however the scheme is written: a near miss must be an error, not a foreign URI.
fn has_scheme(uri: &str) -> bool {
    uri.get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}/{}", self.role(), self.name())
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let form = || IdentityError::Form { found: shortened(text) };
        let rest = text.strip_prefix(SCHEME).ok_or_else(form)?;
        let (role, name) = rest.split_once('/').ok_or_else(form)?;
        Self::new(role.parse()?, name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn near_misses_are_refused() {
        for bad in [
            "",
            "vigil://",
            "vigil://edge",
            "vigil://edge/",
            "vigil://edge/a/b",
            "vigil://Edge/a",
            "VIGIL://edge/a",
            "vigil:///edge/a",
            "vigil://edge/a?x",
            "vigil://edge/a#x",
            "vigil://edge/%61",
            "vigil://edge/a ",
            "vigil://camera/a",
            "spiffe://edge/a",
            "vigil://edge:1/a",
            "vigil://u@edge/a",
            "vigil://edge/..",
            "vigil://edge/a\0",
        ] {
            assert!(bad.parse::<Identity>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_certificate_names_exactly_one() {
        let edge = Identity::new(Role::Edge, "box-7").unwrap();
        assert_eq!(Identity::among(["https://x.example/", "vigil://edge/box-7"]), Ok(edge));
        assert_eq!(Identity::among(["https://x.example/"]), Err(IdentityError::None));
        assert_eq!(Identity::among(["vigil://edge/a", "vigil://edge/a"]), Err(IdentityError::Several));
        assert!(Identity::among(["Vigil://edge/a"]).is_err(), "a near miss is no foreign URI");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else_is_the_same(role in 0..4_usize, name in "[A-Za-z0-9][A-Za-z0-9._-]{0,63}") {
            let identity = Identity::new(Role::ALL[role], &name).unwrap();
            prop_assert_eq!(identity.to_string().parse::<Identity>().unwrap(), identity);
        }

        #[test]
        fn no_text_panics_and_what_is_read_is_written_the_same(text in "(vigil://)?\\PC{0,80}") {
            if let Ok(identity) = text.parse::<Identity>() {
                prop_assert_eq!(identity.to_string(), text);
            }
        }
    }
}
