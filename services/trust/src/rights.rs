//! Who may do what: the one table, for processes by their certificates ([`Right`]) and for people by their roles ([`Question`]).

use std::fmt;

use crate::identity::{Identity, Role};
use crate::person;

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

/// What people and programs ask, by what they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Events: search, counts, live streams, thumbnails, and what is derived from them.
    Events,
    /// What is watched and how well: coverage, the camera registry, the regions' state.
    Watching,
    /// Who asked what.
    Audit,
    /// Changing the camera registry.
    Administration,
}

/// Services of processes alone, which certificates let in: no question of people.
const OF_PROCESSES: [&str; 3] = ["vigil.v1.EventIngestService", "vigil.v1.EnrolmentService", "vigil.v1.RenewalService"];

impl Question {
    /// What a call of this gRPC path asks; none of what is no question of people: health, reflection, what processes send each
    /// other. What the table does not name is about events: the closest kind.
    pub fn of_method(path: &str) -> Option<Self> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        if !service.starts_with("vigil.v1.") || OF_PROCESSES.contains(&service) {
            return None;
        }
        Some(match (service, method) {
            ("vigil.v1.CameraService", "PutCamera" | "DeleteCamera") => Self::Administration,
            ("vigil.v1.CameraService" | "vigil.v1.CoverageService" | "vigil.v1.RegionService", _) => Self::Watching,
            ("vigil.v1.AuditService", _) => Self::Audit,
            _ => Self::Events,
        })
    }

    /// Whose question it is. Who asked what is for auditors alone, and they see nothing else of events.
    pub fn asked_by(self) -> &'static [person::Role] {
        use person::Role::{Administrator, Auditor, Integrator, Operator, Supervisor};
        match self {
            Self::Events => &[Operator, Supervisor, Integrator],
            Self::Watching => &[Operator, Supervisor, Auditor, Integrator, Administrator],
            Self::Audit => &[Auditor],
            Self::Administration => &[Administrator],
        }
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Events => "ask about events",
            Self::Watching => "ask what is watched",
            Self::Audit => "search the audit log",
            Self::Administration => "change the camera registry",
        })
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
    fn the_audit_log_is_for_auditors_alone_and_they_see_no_events() {
        let asks = |path: &str| Question::of_method(path).map(Question::asked_by);
        let auditor = person::Role::Auditor;
        assert_eq!(asks("/vigil.v1.AuditService/SearchAudit"), Some([auditor].as_slice()));
        assert!(!asks("/vigil.v1.EventQueryService/Search").unwrap().contains(&auditor));
        assert!(!asks("/vigil.v1.SomethingNew/Ask").unwrap().contains(&auditor), "what is not named is about events");
        assert!(!asks("/vigil.v1.CameraService/PutCamera").unwrap().contains(&person::Role::Operator));
        assert_eq!(asks("/vigil.v1.EventIngestService/Publish"), None);
        assert_eq!(asks("/grpc.health.v1.Health/Check"), None);
    }

    #[test]
    fn a_refusal_names_who_and_what_it_takes() {
        let told = Identity::new(Role::Edge, "box-7").unwrap().may(Right::AskRegion).unwrap_err().to_string();
        assert!(told.contains("vigil://edge/box-7") && told.contains("gateway or operator"), "{told}");
    }
}
