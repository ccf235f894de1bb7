//! `EventIngestService`: edges publish, the region acknowledges what is durable.
//!
//! One stream per edge. Its messages are read and checked while the batch before is being committed; acknowledgements
//! are in the order of the batches.

mod check;
mod marks;
mod session;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};
use vigil_proto::v1;
use vigil_proto::v1::event_ingest_service_server::{EventIngestService, EventIngestServiceServer};
use vigil_serve::grpc::{MAX_MESSAGE_BYTES, sender};

use crate::context::Context;
use crate::error::only_reads;

/// Acknowledgements that wait for a slow edge before its batches do.
const ACKS_WAITING: usize = 8;

/// The service.
pub(crate) struct IngestService {
    context: Arc<Context>,
    shutdown: CancellationToken,
}

impl IngestService {
    pub(crate) fn server(context: Arc<Context>, shutdown: CancellationToken) -> EventIngestServiceServer<Self> {
        EventIngestServiceServer::new(Self { context, shutdown })
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    }
}

#[async_trait]
impl EventIngestService for IngestService {
    type PublishStream = ReceiverStream<Result<v1::PublishResponse, Status>>;

    async fn publish(
        &self,
        request: Request<Streaming<v1::PublishRequest>>,
    ) -> Result<Response<Self::PublishStream>, Status> {
        if self.context.is_replica {
            return Err(only_reads().into());
        }
        let (responses, stream) = mpsc::channel(ACKS_WAITING);
        let sender = sender(&request).cloned();
        let context = Arc::clone(&self.context);
        tokio::spawn(session::run(context, (sender, request.into_inner()), responses, self.shutdown.clone()));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
