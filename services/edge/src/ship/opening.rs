//! Opening a stream: hello and welcome.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use vigil_outbox::MAX_RECORD_BYTES;
use vigil_proto::convert::required_time;
use vigil_proto::v1;
use vigil_proto::v1::event_ingest_service_client::EventIngestServiceClient;
use vigil_proto::v1::publish_request::Message as Outgoing;
use vigil_proto::v1::publish_response::Message as Incoming;
use vigil_trust::Dialer;

use super::Shipper;
use super::error::{ShipError, refused};
use crate::clock_watch::ClockWatch;

/// A region that takes longer to say hello is not answering.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);
/// Most records of a batch, also where the region would take more: bounds what is in memory.
const MAX_BATCH_RECORDS: u32 = 500;
/// Most bytes of a batch, likewise.
const MAX_BATCH_BYTES: u32 = 4 * 1024 * 1024;

/// What the region takes at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// A stream that was opened.
pub(super) struct Opened {
    pub(super) incoming: Streaming<v1::PublishResponse>,
    pub(super) limits: Limits,
    /// None where the region does not tell its time.
    pub(super) clock: Option<ClockWatch>,
    pub(super) takes_coverage: bool,
    /// How many of the marks it has lost, from the newest on.
    pub(super) lost_marks: u32,
}

/// Opens the stream and waits for the region's welcome.
pub(super) async fn open(
    shipper: &Shipper,
    dialer: &Dialer,
    outgoing: mpsc::Receiver<v1::PublishRequest>,
) -> Result<Opened, ShipError> {
    let region = &shipper.config.region;
    let channel = dialer.connect().await.map_err(|source| ShipError::Connect {
        region: region.clone(),
        address: shipper.config.region_address.to_string(),
        source,
    })?;
    let mut client = EventIngestServiceClient::new(channel).max_encoding_message_size(usize::MAX);
    let welcome = async {
        let answer = client.publish(ReceiverStream::new(outgoing)).await.map_err(|status| refused(shipper, status))?;
        let mut incoming = answer.into_inner();
        let first = incoming.message().await.map_err(|status| refused(shipper, status))?;
        Ok::<_, ShipError>((incoming, first))
    };
    let protocol = |problem: String| ShipError::Protocol { region: region.clone(), problem };
    let (incoming, first) = tokio::time::timeout(WELCOME_TIMEOUT, welcome)
        .await
        .map_err(|_| protocol(format!("did not say welcome within {WELCOME_TIMEOUT:?}")))??;
    let Some(Incoming::Welcome(welcome)) = first.and_then(|response| response.message) else {
        return Err(protocol("did not say welcome first".to_owned()));
    };
    if welcome.region_id != region.as_str() {
        return Err(protocol(format!(
            "is expected at {}, but {:?} answers there",
            shipper.config.region_address, welcome.region_id
        )));
    }
    // A region that does not tell its time is believed otherwise.
    let clock = required_time("region_time", welcome.region_time).ok();
    let clock = clock.map(|region_time| ClockWatch::new(region_time, &*shipper.surroundings.clock));
    let limits = Limits {
        records: welcome.max_batch_records.clamp(1, MAX_BATCH_RECORDS) as usize,
        bytes: (welcome.max_batch_bytes.min(MAX_BATCH_BYTES) as usize).max(MAX_RECORD_BYTES),
    };
    Ok(Opened { incoming, limits, clock, takes_coverage: welcome.takes_coverage, lost_marks: welcome.lost_marks })
}

/// The first message: who this is, its cameras, and what was acknowledged.
pub(super) fn hello(shipper: &Shipper, cameras: Vec<v1::Camera>, marks: Vec<v1::AcknowledgedMark>) -> Outgoing {
    let config = &shipper.config;
    Outgoing::Hello(v1::PublishHello {
        edge_id: config.edge.to_string(),
        instance_id: shipper.outbox.instance_id().to_string(),
        region_id: config.region.to_string(),
        software_version: env!("CARGO_PKG_VERSION").to_owned(),
        cameras,
        marks,
    })
}
