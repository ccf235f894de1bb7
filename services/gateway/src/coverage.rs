//! `CoverageService` over all regions: each region's spans, one after the other.

use std::sync::Arc;

use tonic::{Request, Response, Status};
use vigil_proto::convert::{CoverageQuestion, coverage_question_from_wire, coverage_question_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::coverage_service_client::CoverageServiceClient;
use vigil_proto::v1::coverage_service_server::CoverageService;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{ServiceError, Trail};

use crate::deadline::Question;
use crate::federation::Context;
use crate::link::RegionLink;
use crate::report::{Failure, Freshness, other_region};
use crate::scatter::Scatter;

/// Most spans in an answer.
const MAX_SPANS: usize = 100_000;

/// What was watched.
pub(crate) struct Coverage {
    context: Context,
}

impl Coverage {
    pub(crate) fn new(context: Context) -> Self {
        Self { context }
    }

    async fn gather(
        &self,
        question: Question,
        request: v1::GetCoverageRequest,
    ) -> Result<v1::GetCoverageResponse, Status> {
        let asked = coverage_question_from_wire(request).map_err(ServiceError::from)?;
        let links = self.context.federation.select(&asked.regions, "region_ids")?;
        let ask = |_, link: Arc<RegionLink>| ask_region(link, question.clone(), asked.clone());
        let mut parts = Scatter::new(&self.context.clock, &links, ask).all().await;
        parts.sort_by(|a, b| a.link.id().cmp(b.link.id()));
        let regions = parts.iter().map(|part| part.report(|(_, fresh)| fresh.clone())).collect();
        let mut response = v1::GetCoverageResponse { regions, ..v1::GetCoverageResponse::default() };
        for (answer, _) in parts.into_iter().filter_map(|part| part.result.ok()) {
            response.truncated |= answer.truncated;
            response.spans.extend(answer.spans);
        }
        response.truncated |= response.spans.len() > MAX_SPANS;
        response.spans.truncate(MAX_SPANS);
        Ok(response)
    }
}

async fn ask_region(
    link: Arc<RegionLink>,
    question: Question,
    asked: CoverageQuestion,
) -> Result<(v1::GetCoverageResponse, Freshness), Failure> {
    let request = coverage_question_to_wire(&CoverageQuestion { regions: vec![link.id().clone()], ..asked });
    let send = async |channel, request| {
        let mut client = CoverageServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        client.get_coverage(request).await
    };
    let accept = |answer: v1::GetCoverageResponse| {
        let fresh = Freshness::of(link.id(), &answer.regions)?;
        match answer.spans.iter().find(|span| span.region_id != link.id().as_str()) {
            Some(span) => Err(other_region(link.id(), &span.region_id)),
            None => Ok((answer, fresh)),
        }
    };
    link.read(&question, request, send, accept).await
}

#[tonic::async_trait]
impl CoverageService for Coverage {
    async fn get_coverage(
        &self,
        request: Request<v1::GetCoverageRequest>,
    ) -> Result<Response<v1::GetCoverageResponse>, Status> {
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        self.context.admission.serve("GetCoverage", trail, self.gather(question, request.into_inner())).await
    }
}
