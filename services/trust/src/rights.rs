//! Who may do what: the one table.

use std::fmt;

use crate::identity::{Identity, Role};

/// Something that only some may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Be connected at all: health and reflection, which say nothing of cameras or events.
    Connect,
    /// Publish events and coverage, under one's own name.
    Publish,
    /// Ask a region: search, stream, coverage, status, camera registry.
    AskRegion,
    /// Ask a gateway the same of all regions.
    AskGateway,
    /// Ask an edge what it watched.
    AskEdge,
    /// Read metrics and health over HTTP.
    Observe,
    /// Have one's own certificate renewed.
    Renew,
}

impl Right {
    /// Who has it. A region only answers and has none.
    pub fn holders(self) -> &'static [Role] {
        match self {
            Self::Connect => &[Role::Edge, Role::Gateway, Role::Operator],
            Self::Publish | Self::Renew => &[Role::Edge],
            Self::AskRegion => &[Role::Gateway, Role::Operator],
            Self::AskGateway | Self::AskEdge | Self::Observe => &[Role::Operator],
        }
    }

    /// What it is to do, for people.
    fn described(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Publish => "publish events",
            Self::AskRegion => "ask a region",
            Self::AskGateway => "ask a gateway",
            Self::AskEdge => "ask an edge",
            Self::Observe => "read metrics and health",
            Self::Renew => "have a certificate renewed",
        }
    }
}

impl Identity {
    /// Whether it may.
    ///
    /// # Errors
    /// It may not; the error names it and who may.
    pub fn may(&self, right: Right) -> Result<(), Forbidden> {
        if right.holders().contains(&self.role()) {
            return Ok(());
        }
        Err(Forbidden { who: self.clone(), right })
    }
}

/// Somebody may not do something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forbidden {
    who: Identity,
    right: Right,
}

impl std::error::Error for Forbidden {}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let holders: Vec<_> = self.right.holders().iter().map(|role| role.as_str()).collect();
        write!(
            f,
            "{} may not {}: that takes a certificate of the role {}",
            self.who,
            self.right.described(),
            holders.join(" or ")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_a_right_by_accident() {
        let may = |role, right| Identity::new(role, "x").unwrap().may(right).is_ok();
        assert!(may(Role::Edge, Right::Publish) && may(Role::Gateway, Right::AskRegion));
        assert!(!may(Role::Edge, Right::AskRegion), "an edge that is stolen reads nothing");
        assert!(!may(Role::Operator, Right::Publish) && !may(Role::Gateway, Right::Publish));
        let all = [
            Right::Connect,
            Right::Publish,
            Right::AskRegion,
            Right::AskGateway,
            Right::AskEdge,
            Right::Observe,
            Right::Renew,
        ];
        assert!(all.iter().all(|right| !may(Role::Region, *right)), "a region only answers");
    }

    #[test]
    fn a_refusal_names_who_and_what_it_takes() {
        let told = Identity::new(Role::Edge, "box-7").unwrap().may(Right::AskRegion).unwrap_err().to_string();
        assert!(told.contains("vigil://edge/box-7") && told.contains("gateway or operator"), "{told}");
    }
}
