//! What people and programs that ask are there for. Processes have roles of their own, in their names ([`crate::identity`]).

use std::fmt;
use std::str::FromStr;

/// What a person or program that asks is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Watches, and looks for what happened.
    Operator,
    /// Leads operators: may be shown more, where a region's policy says so.
    Supervisor,
    /// Sees who asked what, and nothing else.
    Auditor,
    /// A program that takes events on.
    Integrator,
    /// Looks after cameras and processes, and sees no events.
    Administrator,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 5] = [Self::Operator, Self::Supervisor, Self::Auditor, Self::Integrator, Self::Administrator];

    /// As it stands in configurations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Supervisor => "supervisor",
            Self::Auditor => "auditor",
            Self::Integrator => "integrator",
            Self::Administrator => "administrator",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A text is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a role: there are operator, supervisor, auditor, integrator and administrator")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        let known = Self::ALL.into_iter().find(|role| role.as_str() == text);
        known.ok_or_else(|| UnknownRole(text.chars().take(60).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reads_back_and_nothing_else_does() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        assert!("Operator".parse::<Role>().is_err() && "".parse::<Role>().is_err());
    }
}
