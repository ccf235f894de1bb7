//! `CoverageService` of an edge: the last hour, for the people at the box.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};
use vigil_base::RegionId;
use vigil_proto::convert::coverage_question_from_wire;
use vigil_proto::v1;
use vigil_proto::v1::coverage_service_server::{CoverageService, CoverageServiceServer};
use vigil_serve::ServiceError;

use super::Journal;

/// Largest question that is taken: a thousand cameras' names.
const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// The service.
pub(crate) struct CoverageLog {
    journal: Arc<Journal>,
    region: RegionId,
}

impl CoverageLog {
    pub(crate) fn server(journal: Arc<Journal>, region: RegionId) -> CoverageServiceServer<Self> {
        CoverageServiceServer::new(Self { journal, region }).max_decoding_message_size(MAX_REQUEST_BYTES)
    }
}

#[async_trait]
impl CoverageService for CoverageLog {
    async fn get_coverage(
        &self,
        request: Request<v1::GetCoverageRequest>,
    ) -> Result<Response<v1::GetCoverageResponse>, Status> {
        let question = coverage_question_from_wire(request.into_inner()).map_err(ServiceError::from)?;
        if !question.regions.is_empty() && !question.regions.contains(&self.region) {
            return Ok(Response::new(v1::GetCoverageResponse::default()));
        }
        let (spans, truncated) = self.journal.sums(question).into_spans(&self.region, self.journal.now());
        Ok(Response::new(v1::GetCoverageResponse { spans, truncated, regions: Vec::new() }))
    }
}
