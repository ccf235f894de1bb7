//! A region's numbers, log lines and place on the health board, in one place.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use vigil_proto::v1::RegionOutcome;
use vigil_serve::HealthBoard;

use crate::report::Failure;

const OUTCOMES: [(RegionOutcome, &str); 5] = [
    (RegionOutcome::Answered, "answered"),
    (RegionOutcome::TimedOut, "timed_out"),
    (RegionOutcome::Unreachable, "unreachable"),
    (RegionOutcome::Denied, "denied"),
    (RegionOutcome::Failed, "failed"),
];

/// Handles and state of one region's telemetry.
#[derive(Debug)]
pub(super) struct Telemetry {
    /// The region's id, or what its replica is called.
    region: String,
    component: String,
    answers: [Counter; OUTCOMES.len()],
    seconds: Histogram,
    circuit_open: Gauge,
    board: HealthBoard,
    /// Whether the board says that the region answers wrongly.
    wrong: AtomicBool,
}

impl Telemetry {
    pub(super) fn new(region: &str, board: HealthBoard) -> Self {
        let label = region.to_owned();
        let answers = OUTCOMES.map(|(_, outcome)| {
            metrics::counter!("vigil_gateway_region_answers_total", "region" => label.clone(), "outcome" => outcome)
        });
        Self {
            region: region.to_owned(),
            component: format!("region/{region}"),
            answers,
            seconds: metrics::histogram!("vigil_gateway_region_answer_seconds", "region" => label.clone()),
            circuit_open: metrics::gauge!("vigil_gateway_region_circuit_open", "region" => label),
            board,
            wrong: AtomicBool::new(false),
        }
    }

    /// A question's end.
    pub(super) fn settled(&self, result: Result<(), &Failure>, elapsed: Duration) {
        let outcome = result.err().map_or(RegionOutcome::Answered, Failure::outcome);
        for ((known, _), counter) in OUTCOMES.iter().zip(&self.answers) {
            if *known == outcome {
                counter.increment(1);
            }
        }
        match result {
            Ok(()) => {
                self.seconds.record(elapsed);
                if self.wrong.swap(false, Ordering::Relaxed) {
                    tracing::info!(region = %self.region, "region answers rightly again");
                    self.board.clear(&self.component);
                }
            }
            Err(failure @ Failure::Wrong(_)) => {
                let detail = format!("region {}: {}", self.region, failure.detail());
                if !self.wrong.swap(true, Ordering::Relaxed) {
                    tracing::error!(region = %self.region, detail = failure.detail(), "region answers wrongly");
                }
                self.board.report(&self.component, detail, false);
            }
            Err(failure) => {
                tracing::debug!(region = %self.region, detail = failure.detail(), "region did not answer");
            }
        }
    }

    /// The region is no longer asked.
    pub(super) fn opened(&self, failure: &Failure) {
        tracing::warn!(region = %self.region, detail = failure.detail(), "region fails repeatedly: not asked for now");
        self.circuit_open.set(1.0);
        // Not critical: the gateway still answers for the others, and says so.
        self.board.report(&self.component, format!("region {} {}", self.region, failure.detail()), false);
    }

    /// The region is no longer configured: nothing is wrong with it here any more.
    pub(super) fn retired(&self) {
        self.circuit_open.set(0.0);
        self.board.clear(&self.component);
    }

    /// The region is asked again.
    pub(super) fn closed(&self) {
        tracing::info!(region = %self.region, "region is back");
        self.circuit_open.set(0.0);
        self.board.clear(&self.component);
    }
}
