//! `RegionService` over all regions.

use tonic::{Request, Response, Status};
use vigil_proto::v1;
use vigil_proto::v1::region_service_server::RegionService;
use vigil_serve::Trail;

use crate::deadline::Question;
use crate::federation::Context;
use crate::scatter::Scatter;

/// How the regions are.
pub(crate) struct RegionsStatus {
    context: Context,
}

impl RegionsStatus {
    pub(crate) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn gather(&self, question: Question, request: v1::GetStatusRequest) -> Result<v1::GetStatusResponse, Status> {
        let links = self.context.federation.route_or_all(&request.region_id, "region_id")?;
        let ask = |_, link: std::sync::Arc<crate::link::RegionLink>| {
            let question = question.clone();
            async move { link.status(&question).await }
        };
        let parts = Scatter::new(&self.context.clock, &links, ask).all().await;
        let regions = parts.iter().map(|part| part.report(|(_, fresh)| fresh.clone())).collect();
        let statuses = parts.into_iter().filter_map(|part| part.result.ok()).flat_map(|(statuses, _)| statuses);
        Ok(v1::GetStatusResponse { statuses: statuses.collect(), regions })
    }
}

#[tonic::async_trait]
impl RegionService for RegionsStatus {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        self.context.admission.serve("GetStatus", trail, self.gather(question, request.into_inner())).await
    }
}
