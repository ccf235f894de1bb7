//! `AuditService`: the gateway's own log, or that of one region.

use tonic::{Request, Response, Status};
use vigil_proto::v1;
use vigil_proto::v1::audit_service_client::AuditServiceClient;
use vigil_proto::v1::audit_service_server::AuditService;
use vigil_serve::audit_search::AuditSearch;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;
use vigil_serve::{Requester, Trail};

use crate::deadline::Question;
use crate::federation::Context;

/// Who asked what.
pub(crate) struct Audit {
    context: Context,
    own: AuditSearch,
}

impl Audit {
    pub(crate) fn new(context: Context, own: AuditSearch) -> Self {
        Self { context, own }
    }

    async fn search(
        &self,
        question: Question,
        request: v1::SearchAuditRequest,
    ) -> Result<v1::SearchAuditResponse, Status> {
        if request.region_id.is_empty() {
            return Ok(self.own.page(request).await?);
        }
        let link = self.context.federation.route(&request.region_id, "region_id")?;
        let send = async |channel, request| {
            let mut client = AuditServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
            client.search_audit(request).await
        };
        link.ask(&question, request, send, Ok).await.map_err(|failure| failure.into_status(link.id()))
    }
}

#[tonic::async_trait]
impl AuditService for Audit {
    async fn search_audit(
        &self,
        request: Request<v1::SearchAuditRequest>,
    ) -> Result<Response<v1::SearchAuditResponse>, Status> {
        AuditSearch::check(&Requester::of(request.extensions()))?;
        let (question, trail) = (self.context.question(&request), Trail::of(request.extensions()));
        let work = self.search(question, request.into_inner());
        self.context.admission.serve("SearchAudit", trail, work).await
    }
}
