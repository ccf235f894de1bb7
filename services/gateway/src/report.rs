//! What became of a question in one region, and how it is told.

use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, Status, TimeoutExpired};
use vigil_base::RegionId;
use vigil_proto::v1;
use vigil_serve::{ErrorCode, ServiceError, error};
use vigil_trust::dial;

use crate::link::Refusal;

/// Characters of a region's own error message that are passed on.
const MAX_DETAIL: usize = 300;
/// Kinds of things that a region may say it keeps back: more than there are.
const MAX_WITHHELD: usize = 32;
/// When asking a region again that could not be reached may help.
const RETRY_UNREACHABLE: Duration = Duration::from_secs(1);

/// Why a region's part is missing.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// No answer within the time it was given.
    TimedOut(Duration),
    /// Not asked, because it failed too often of late.
    NotAsked(Refusal),
    /// No connection, or one that broke.
    Unreachable(String),
    /// There is a server, and one of the two does not take the other for who it must be.
    Distrusted(String),
    /// The region refused this requester.
    Denied(Status),
    /// The region answered with an error.
    Error(Status),
    /// The region answered with something that cannot be its answer.
    Wrong(String),
    /// A page token names a region this gateway does not have.
    NotConfigured,
}

impl Failure {
    /// What a status from a call that had `budget` means.
    pub(crate) fn of_status(status: Status, budget: Duration) -> Self {
        let local = status.source();
        if local.is_some_and(timer_ran_out) {
            return Self::TimedOut(budget);
        }
        // Statuses that a region sent have no source; those that tonic makes of a broken connection have.
        if let Some(cause) = local {
            return match dial::fault_in(cause) {
                Some(fault) if !fault.is_absent => Self::Distrusted(cut(&fault.to_string())),
                _ => Self::Unreachable(cut(&error::chain(cause))),
            };
        }
        match status.code() {
            // A tonic server whose grpc-timeout ran out answers CANCELLED.
            Code::DeadlineExceeded | Code::Cancelled => Self::TimedOut(budget),
            Code::PermissionDenied | Code::Unauthenticated => Self::Denied(status),
            // Every question names its region; a region answers so when it is another.
            Code::FailedPrecondition if error::is(&status, ErrorCode::WrongRegion) => Self::Wrong(format!(
                "another region is at the address configured for it ({}): correct the gateway's configuration",
                cut(status.message())
            )),
            _ => Self::Error(status),
        }
    }

    /// Whether it tells of the region or the way to it, rather than of this one question.
    pub(crate) fn counts_against_region(&self) -> bool {
        matches!(self, Self::TimedOut(_) | Self::Unreachable(_) | Self::Distrusted(_))
    }

    /// Whether a replica may answer in its place: the region cannot be asked, or cannot answer anybody now. What it refuses this
    /// requester its replica is not asked for.
    pub(crate) fn calls_for_replica(&self) -> bool {
        match self {
            Self::TimedOut(_) | Self::NotAsked(_) | Self::Unreachable(_) | Self::Distrusted(_) => true,
            Self::Error(status) => status.code() == Code::Unavailable,
            Self::Denied(_) | Self::Wrong(_) | Self::NotConfigured => false,
        }
    }

    pub(crate) fn outcome(&self) -> v1::RegionOutcome {
        match self {
            Self::TimedOut(_) => v1::RegionOutcome::TimedOut,
            Self::NotAsked(_) | Self::Unreachable(_) | Self::Distrusted(_) => v1::RegionOutcome::Unreachable,
            Self::Denied(_) => v1::RegionOutcome::Denied,
            Self::Error(_) | Self::Wrong(_) | Self::NotConfigured => v1::RegionOutcome::Failed,
        }
    }

    /// Whether asking again may help.
    pub(crate) fn retryable(&self) -> bool {
        match self {
            Self::TimedOut(_)
            | Self::NotAsked(_)
            | Self::Unreachable(_)
            | Self::Distrusted(_)
            | Self::NotConfigured => true,
            Self::Denied(_) | Self::Wrong(_) => false,
            Self::Error(status) => matches!(status.code(), Code::Unavailable | Code::ResourceExhausted | Code::Aborted),
        }
    }

    /// For people.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::TimedOut(budget) => format!("did not answer within {} ms", budget.as_millis()),
            Self::NotAsked(refusal) => format!(
                "not asked, because it failed several times in a row ({}); it is tried again in {} ms",
                refusal.reason,
                refusal.retry_in.as_millis()
            ),
            Self::Unreachable(cause) => format!("cannot be reached: {cause}"),
            Self::Denied(status) => format!("refused: {}", cut(status.message())),
            Self::Error(status) => format!("answered {:?}: {}", status.code(), cut(status.message())),
            Self::Distrusted(problem) | Self::Wrong(problem) => problem.clone(),
            Self::NotConfigured => "is not configured at this gateway; its place is kept in the page token".to_owned(),
        }
    }

    /// The answer to a question that only `region` could answer.
    pub(crate) fn into_status(self, region: &RegionId) -> Status {
        let message = format!("region {region}: {}", self.detail());
        match self {
            Self::TimedOut(_) => ServiceError::new(ErrorCode::DeadlineExceeded, message).into(),
            Self::NotAsked(refusal) => ServiceError::unavailable(message, refusal.retry_in).into(),
            Self::Unreachable(_) | Self::Distrusted(_) => ServiceError::unavailable(message, RETRY_UNREACHABLE).into(),
            Self::Denied(status) | Self::Error(status) => {
                let own = format!("region {region}: {}", cut(status.message()));
                Status::with_details(status.code(), own, status.details().to_vec().into())
            }
            Self::Wrong(_) | Self::NotConfigured => ServiceError::new(ErrorCode::Internal, message).into(),
        }
    }
}

fn timer_ran_out(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<TimeoutExpired>() || error.source().is_some_and(timer_ran_out)
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_DETAIL).collect()
}

/// How complete a region says its own answer is.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Freshness {
    complete_until: Option<prost_types::Timestamp>,
    edges_offline: u32,
    /// What the answer lacks, where a part of the region's index cannot be read.
    missing: String,
    /// What its policy kept back.
    pub(crate) withheld: Option<v1::WithheldReport>,
    /// A replica of the region answered.
    from_replica: bool,
}

impl Freshness {
    /// Nothing is known but what is kept back.
    pub(crate) fn unknown(withheld: Option<v1::WithheldReport>) -> Self {
        Self { withheld, ..Self::default() }
    }

    /// From the report that a region gives of itself, which also proves that it is the region it is taken for.
    pub(crate) fn of(region: &RegionId, reports: &[v1::RegionReport]) -> Result<Self, Failure> {
        match reports {
            [own] if own.region_id == region.as_str() => {
                let missing = cut(&own.missing);
                let withheld = own.withheld.clone().map(|withheld| bounded(region, withheld));
                Ok(Self {
                    complete_until: own.complete_until,
                    edges_offline: own.edges_offline,
                    missing,
                    withheld,
                    from_replica: own.from_replica,
                })
            }
            [other] => Err(other_region(region, &other.region_id)),
            _ => Err(Failure::Wrong(format!("answered with {} reports of itself instead of one", reports.len()))),
        }
    }
}

/// What a region says that it keeps back, as its own and no longer than it need be.
pub(crate) fn bounded(region: &RegionId, withheld: v1::WithheldReport) -> v1::WithheldReport {
    let mut what = withheld.what;
    what.sort_unstable();
    what.dedup();
    what.truncate(MAX_WITHHELD);
    v1::WithheldReport {
        region_id: region.to_string(),
        cameras: withheld.cameras,
        what,
        policy: cut(&withheld.policy),
        contact: cut(&withheld.contact),
        hint: cut(&withheld.hint),
    }
}

/// The server at a region's address belongs to another.
pub(crate) fn other_region(region: &RegionId, found: &str) -> Failure {
    Failure::Wrong(format!(
        "the server at the address configured for {region} is region {:?}: correct the gateway's configuration",
        cut(found)
    ))
}

/// The report on one region.
pub(crate) fn report(region: &RegionId, outcome: Result<Freshness, &Failure>, elapsed: Duration) -> v1::RegionReport {
    let elapsed = prost_types::Duration {
        seconds: i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX),
        nanos: elapsed.subsec_nanos() as i32,
    };
    let empty = v1::RegionReport { region_id: region.to_string(), elapsed: Some(elapsed), ..Default::default() };
    match outcome {
        Ok(fresh) => v1::RegionReport {
            outcome: v1::RegionOutcome::Answered.into(),
            complete_until: fresh.complete_until,
            edges_offline: fresh.edges_offline,
            missing: fresh.missing,
            withheld: fresh.withheld,
            from_replica: fresh.from_replica,
            ..empty
        },
        Err(failure) => v1::RegionReport {
            outcome: failure.outcome().into(),
            detail: failure.detail(),
            retryable: failure.retryable(),
            ..empty
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn north() -> RegionId {
        RegionId::new("north").unwrap()
    }

    #[test]
    fn each_status_of_a_region_has_its_outcome() {
        let cases = [
            (Status::deadline_exceeded(""), v1::RegionOutcome::TimedOut, true),
            (Status::cancelled("Timeout expired"), v1::RegionOutcome::TimedOut, true),
            (Status::permission_denied("not yours"), v1::RegionOutcome::Denied, false),
            (Status::unauthenticated("who?"), v1::RegionOutcome::Denied, false),
            (Status::unavailable("draining"), v1::RegionOutcome::Failed, true),
            (Status::invalid_argument("old"), v1::RegionOutcome::Failed, false),
            (ServiceError::new(ErrorCode::WrongRegion, "this is south").into(), v1::RegionOutcome::Failed, false),
            (Status::failed_precondition("the event has no appearance"), v1::RegionOutcome::Failed, false),
            (Status::from_error("broken".into()), v1::RegionOutcome::Unreachable, true),
        ];
        for (status, outcome, retryable) in cases {
            let shown = format!("{status}");
            let failure = Failure::of_status(status, Duration::from_secs(1));
            assert_eq!((failure.outcome(), failure.retryable()), (outcome, retryable), "{shown}");
        }
    }

    #[test]
    fn a_regions_own_error_keeps_its_code_and_details_and_gains_the_regions_name() {
        let status = Status::with_details(Code::Aborted, "etag differs", vec![1, 2, 3].into());
        let passed = Failure::of_status(status, Duration::ZERO).into_status(&north());
        assert_eq!((passed.code(), passed.details()), (Code::Aborted, &[1, 2, 3][..]));
        assert_eq!(passed.message(), "region north: etag differs");
    }

    #[test]
    fn an_answer_without_a_name_or_under_another_is_no_answer() {
        let own = v1::RegionReport { region_id: "north".into(), edges_offline: 2, ..Default::default() };
        assert_eq!(Freshness::of(&north(), std::slice::from_ref(&own)).unwrap().edges_offline, 2);
        let other = v1::RegionReport { region_id: "south".into(), ..Default::default() };
        for reports in [vec![], vec![own.clone(), own], vec![other.clone()]] {
            assert!(matches!(Freshness::of(&north(), &reports), Err(Failure::Wrong(_))));
        }
        let detail = Freshness::of(&north(), &[other]).unwrap_err().detail();
        assert!(detail.contains("north") && detail.contains("\"south\""), "{detail}");
    }
}
