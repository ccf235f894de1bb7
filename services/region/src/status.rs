//! `RegionService`: how the region is.

use std::sync::Arc;

use tonic::{Request, Response, Status, async_trait};
use vigil_proto::convert::{time_from_wire, time_to_wire};
use vigil_proto::v1;
use vigil_proto::v1::region_service_server::{RegionService, RegionServiceServer};
use vigil_serve::ServiceError;
use vigil_serve::grpc::MAX_MESSAGE_BYTES;

use crate::context::Context;
use crate::guard::{Guest, Pass, Question};
use crate::index::IndexStats;

/// Version that the region reports of itself.
pub(crate) const SOFTWARE_VERSION: &str = env!("CARGO_PKG_VERSION");

/// The service.
pub(crate) struct StatusService {
    context: Arc<Context>,
}

impl StatusService {
    pub(crate) fn server(context: Arc<Context>) -> RegionServiceServer<Self> {
        RegionServiceServer::new(Self { context })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }

    async fn status(&self, pass: &Pass) -> Result<v1::RegionStatus, ServiceError> {
        let context = &self.context;
        let stats = context.guard.stats(pass).await;
        let stats = stats.map_err(|e| context.failure("reading the index's figures", &e))?;
        let edges = context.guard.edges(pass, context.edges.statuses());
        let policy = context.guard.policy().borrow().as_ref().map(|policy| policy.version().to_owned());
        Ok(v1::RegionStatus {
            region_id: context.region.to_string(),
            software_version: SOFTWARE_VERSION.to_owned(),
            server_time: Some(time_to_wire(context.clock.now())),
            events: stats.events,
            oldest_begin_time: stats.oldest_begin.map(time_to_wire),
            newest_begin_time: stats.newest_begin.map(time_to_wire),
            last_commit_time: stats.last_commit.map(time_to_wire),
            complete_until: context.edges.freshness().complete_until.map(time_to_wire),
            index_bytes: stats.bytes,
            // 0 stands for what is not known, as it did before the field was there.
            disk_free_bytes: if stats.disk_free_bytes == IndexStats::FREE_UNKNOWN { 0 } else { stats.disk_free_bytes },
            problems: self.problems(pass, &edges),
            edges,
            policy: policy.unwrap_or_default(),
        })
    }

    /// What is wrong, one sentence each.
    fn problems(&self, pass: &Pass, edges: &[v1::EdgeStatus]) -> Vec<String> {
        // They name cameras, edges and files.
        let board = if pass.shows_all_cameras() { self.context.board.problems() } else { Vec::new() };
        let board = board.into_iter().map(|p| format!("{}: {}", p.component, p.detail));
        let away = edges.iter().filter(|edge| !edge.connected).map(|edge| {
            let seen = edge.last_seen_time.and_then(|at| time_from_wire("last_seen_time", at).ok());
            let since = seen.map_or_else(|| "never".to_owned(), |at| at.to_string());
            format!("edge {} is not connected; last seen {since}", edge.edge_id)
        });
        board.chain(away).collect()
    }
}

#[async_trait]
impl RegionService for StatusService {
    async fn get_status(
        &self,
        request: Request<v1::GetStatusRequest>,
    ) -> Result<Response<v1::GetStatusResponse>, Status> {
        let started = self.context.clock.monotonic();
        let pass = self.context.guard.admit(&Guest::of(request.extensions()));
        self.context.check_named(&request.into_inner().region_id)?;
        let statuses = vec![self.status(&pass).await?];
        let report = self.context.report_on(started, &pass, &Question::cameras(&[]));
        Ok(Response::new(v1::GetStatusResponse { statuses, regions: vec![report] }))
    }
}
