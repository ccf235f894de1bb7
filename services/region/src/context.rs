//! What all services of a region share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use vigil_base::ids::MAX_NAME_LEN;
use vigil_base::{RegionId, SharedClock};
use vigil_proto::convert::{Filter, time_to_wire};
use vigil_proto::v1;
use vigil_serve::error::chain;
use vigil_serve::{ErrorCode, HealthBoard, ServiceError, Threads};

use crate::appearance::AppearanceStore;
use crate::config::Limits;
use crate::edges::Edges;
use crate::error::from_index;
use crate::guard::{Guard, Pass, Question};
use crate::index::IndexError;
use crate::retention::Horizon;
use crate::telemetry::Telemetry;
use crate::tokens::Tokens;

/// Parts of the index that an answer lacks and names; more are not worth reading.
const MAX_TOLD_PARTS: usize = 3;
/// The index on the health board.
const INDEX: &str = "index";

/// What all services of a region share.
pub(crate) struct Context {
    pub(crate) region: RegionId,
    pub(crate) limits: Limits,
    /// How far back it keeps what it has.
    pub(crate) horizon: Horizon,
    /// Before the index, which nobody else reaches.
    pub(crate) guard: Guard,
    /// Another process is the region: this one only answers questions.
    pub(crate) is_replica: bool,
    /// What the objects of its events looked like.
    pub(crate) appearances: Arc<AppearanceStore>,
    pub(crate) tokens: Tokens,
    pub(crate) edges: Arc<Edges>,
    pub(crate) telemetry: Telemetry,
    pub(crate) board: HealthBoard,
    pub(crate) clock: SharedClock,
    /// Which threads do what blocks.
    pub(crate) threads: Threads,
    /// Set when the index failed last; the board is touched only when that changes.
    pub(crate) index_is_down: AtomicBool,
    /// A failure after which the process must end: set once.
    pub(crate) fatal: watch::Sender<Option<IndexError>>,
}

impl Context {
    /// A question's failure, for who asked it. A damaged index ends the process.
    pub(crate) fn failure(&self, doing: &str, error: &IndexError) -> ServiceError {
        self.end_if_damaged(error);
        from_index(doing, error)
    }

    /// The index could not store: the region is not ready until it can again. A damaged index ends the process.
    pub(crate) fn index_failed(&self, error: &IndexError) {
        self.index_is_down.store(true, Ordering::Relaxed);
        self.board.report(INDEX, chain(error), true);
        self.end_if_damaged(error);
    }

    fn end_if_damaged(&self, error: &IndexError) {
        if matches!(error, IndexError::Corrupt { .. }) {
            self.fatal.send_replace(Some(error.clone()));
        }
    }

    /// The index has stored.
    pub(crate) fn index_works(&self) {
        if self.index_is_down.swap(false, Ordering::Relaxed) {
            self.board.clear(INDEX);
        }
    }

    /// Whether events of this region can match.
    pub(crate) fn is_asked(&self, filter: &Filter) -> bool {
        filter.regions.is_empty() || filter.regions.contains(&self.region)
    }

    /// Refuses a request that names another region: its sender has a wrong address, and anything this region could say
    /// of the other would mislead.
    pub(crate) fn check_named(&self, region_id: &str) -> Result<(), ServiceError> {
        if region_id.is_empty() || region_id == self.region.as_str() {
            return Ok(());
        }
        Err(self.named_wrongly("the request is", region_id))
    }

    /// The error of who (`who is`) takes this region for the one of this id.
    pub(crate) fn named_wrongly(&self, who_is: &str, region_id: &str) -> ServiceError {
        let shown: String = region_id.chars().take(MAX_NAME_LEN).collect();
        let message = format!("{who_is} for region {shown:?}, but this is region \"{}\"", self.region);
        ServiceError::new(ErrorCode::WrongRegion, message)
    }

    /// The region's report of an answer to a question that arrived at `started` (monotonic).
    pub(crate) fn report(&self, started: Duration) -> v1::RegionReport {
        let elapsed = self.clock.monotonic().saturating_sub(started);
        let freshness = self.edges.freshness();
        v1::RegionReport {
            region_id: self.region.to_string(),
            outcome: v1::RegionOutcome::Answered.into(),
            detail: String::new(),
            retryable: false,
            elapsed: prost_types::Duration::try_from(elapsed).ok(),
            complete_until: freshness.complete_until.map(time_to_wire),
            edges_offline: freshness.edges_offline,
            missing: String::new(),
            withheld: None,
            from_replica: self.is_replica,
        }
    }

    /// The same, with what the policy keeps back of the answer.
    pub(crate) fn report_on(&self, started: Duration, pass: &Pass, question: &Question<'_>) -> v1::RegionReport {
        v1::RegionReport { withheld: Guard::kept_back(pass, &self.region, question), ..self.report(started) }
    }

    /// The same, of an answer to a question about events: it says which of them it lacks.
    pub(crate) fn report_about(
        &self,
        started: Duration,
        filter: &Filter,
        pass: &Pass,
        question: &Question<'_>,
    ) -> v1::RegionReport {
        let parts = self.guard.unreadable().into_iter().filter(|part| part.may_match(filter));
        let missing = parts.map(|part| part.problem).take(MAX_TOLD_PARTS).collect::<Vec<_>>().join("; ");
        v1::RegionReport { missing, ..self.report_on(started, pass, question) }
    }
}
