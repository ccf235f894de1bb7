//! How many questions and streams are served at a time, and their numbers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Code, Response, Status};
use vigil_base::SharedClock;
use vigil_serve::{Answer, ErrorCode, ServiceError, Trail};

use crate::config::GatewayConfig;

/// When a question that found no room may be sent again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The doors of the gateway. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Admission {
    questions: Arc<Semaphore>,
    max_questions: usize,
    streams: Arc<Semaphore>,
    max_streams: usize,
    clock: SharedClock,
}

impl Admission {
    pub(crate) fn new(config: &GatewayConfig, clock: SharedClock) -> Self {
        Self {
            questions: Arc::new(Semaphore::new(config.max_concurrent_requests)),
            max_questions: config.max_concurrent_requests,
            streams: Arc::new(Semaphore::new(config.max_subscriptions)),
            max_streams: config.max_subscriptions,
            clock,
        }
    }

    /// Does the work of one call of `method` if there is room for it now, and notes what comes of it.
    pub(crate) async fn serve<T: Answer>(
        &self,
        method: &'static str,
        trail: Trail,
        work: impl Future<Output = Result<T, Status>>,
    ) -> Result<Response<T>, Status> {
        let start = self.clock.monotonic();
        let result = match self.questions.try_acquire() {
            Ok(_permit) => work.await,
            Err(_) => Err(full("questions", self.max_questions)),
        };
        let code = result.as_ref().err().map_or(Code::Ok, Status::code);
        let elapsed = self.clock.monotonic().saturating_sub(start);
        metrics::counter!("vigil_gateway_requests_total", "method" => method, "code" => format!("{code:?}"))
            .increment(1);
        metrics::histogram!("vigil_gateway_request_seconds", "method" => method).record(elapsed);
        result.map(|answer| trail.hand_out(answer))
    }

    /// Room for one more live stream, for as long as the permit is held.
    pub(crate) fn stream(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.streams.clone().try_acquire_owned().map_err(|_| full("live streams", self.max_streams))
    }
}

fn full(what: &str, most: usize) -> Status {
    let message = format!("{most} {what} are being served, the most this gateway takes");
    Status::from(ServiceError { retry_after: Some(RETRY_AFTER), ..ServiceError::new(ErrorCode::LimitReached, message) })
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt;
    use vigil_base::{SimClock, Timestamp};
    use vigil_proto::v1::DeleteCameraResponse as Deleted;

    use super::*;

    #[tokio::test]
    async fn a_question_too_many_is_told_when_to_come_back() {
        let mut config = GatewayConfig::local("key", Vec::new());
        config.max_concurrent_requests = 1;
        let admission = Admission::new(&config, SimClock::new(Timestamp::MIN));
        let inner = admission.clone();
        let trail = || Trail::of(&http::Extensions::new());
        let outer = admission.serve("Outer", trail(), async move {
            let refused = inner.serve("Inner", trail(), async { Ok(Deleted {}) }).await.unwrap_err();
            assert_eq!(refused.code(), Code::ResourceExhausted);
            assert_eq!(refused.get_error_details().retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
            Ok(Deleted {})
        });
        outer.await.unwrap();
        admission.serve("Later", trail(), async { Ok(Deleted {}) }).await.expect("room again");
    }
}
