//! `CoverageService`: what was watched, and what was not.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};
use vigil_proto::convert::coverage_question_from_wire;
use vigil_proto::v1;
use vigil_proto::v1::coverage_service_server::{CoverageService, CoverageServiceServer};
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ServiceError, Trail};

use crate::context::Context;
use crate::guard::{Guest, Pass, Question};

/// The service.
pub(crate) struct LedgerService {
    context: Arc<Context>,
}

impl LedgerService {
    pub(crate) fn server(context: Arc<Context>) -> CoverageServiceServer<Self> {
        CoverageServiceServer::new(Self { context })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn coverage(
        &self,
        pass: &Pass,
        request: v1::GetCoverageRequest,
    ) -> Result<v1::GetCoverageResponse, ServiceError> {
        let context = &self.context;
        let started = context.clock.monotonic();
        let question = coverage_question_from_wire(request)?;
        if !question.regions.is_empty() && !question.regions.contains(&context.region) {
            return Ok(v1::GetCoverageResponse { regions: vec![context.report(started)], ..Default::default() });
        }
        let report = context.report_on(started, pass, &Question::cameras(&question.cameras));
        let sums = context.guard.coverage(pass, question).await;
        let sums = sums.map_err(|e| context.failure("reading what was watched", &e))?;
        let (spans, truncated) = sums.into_spans(&context.region, context.clock.now());
        Ok(v1::GetCoverageResponse { spans, truncated, regions: vec![report] })
    }
}

#[async_trait]
impl CoverageService for LedgerService {
    async fn get_coverage(
        &self,
        request: Request<v1::GetCoverageRequest>,
    ) -> Result<Response<v1::GetCoverageResponse>, Status> {
        let trail = Trail::of(request.extensions());
        let pass = self.context.guard.admit(&Guest::of(request.extensions()));
        Ok(trail.hand_out(self.coverage(&pass, request.into_inner()).await?))
    }
}
