//! An edge without cameras, for the kill tests: makes events at full speed, keeps them in a real outbox and ships them.
//!
//! usage: `event_source DATA_DIR REGION_URL REGION_ID EDGE_ID [CERTIFICATE KEY AUTHORITY [REVOKED]]`
//!
//! Prints an event's id once it is durable; while the disk is full it waits, as the cameras of a real edge do. When standard input ends it makes no more events, waits until the region has
//! acknowledged all, prints `shipped` and ends.
#![allow(clippy::print_stdout)] // What it prints is its purpose.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use prost::Message;
use tokio_util::sync::CancellationToken;
use vigil_base::event::{Attributes, EndReason, EventState, ModelRef};
use vigil_base::{BoxNorm, CameraId, EdgeId, Event, EventId, RegionId, SystemClock, TimeSource, Timestamp, TrackId};
use vigil_edge::ship::{self, Shipper, ShipperConfig};
use vigil_outbox::{Kept, KeptConfig, Outbox, OutboxConfig, OutboxError, Record};
use vigil_proto::convert::event_to_wire;
use vigil_serve::{HealthBoard, Surroundings};
use vigil_trust::{Identity, Keeper, Owner, TlsFiles};

/// Events made and committed together.
const GROUP: u64 = 10;
/// What was acknowledged is kept for so long, and so much of it.
const KEEP: Duration = Duration::from_hours(1);
const MAX_KEPT_BYTES: u64 = 1024 * 1024 * 1024;
/// Between two attempts to keep them.
const RETRY: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    vigil_serve::logs::init(vigil_serve::logs::LogFormat::Text, Some("warn"));
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| args.next().with_context(|| format!("{what} is missing"));
    let (folder, url, region, edge) = (next("DATA_DIR")?, next("REGION_URL")?, next("REGION_ID")?, next("EDGE_ID")?);
    let (region, edge) = (RegionId::new(region)?, EdgeId::new(edge)?);
    let clock = SystemClock::shared();
    let keeper = match (next("CERTIFICATE"), next("KEY"), next("AUTHORITY")) {
        (Ok(certificate), Ok(key), Ok(authority)) => {
            let revoked = next("REVOKED").ok().map(Into::into);
            let (certificate, key, authority) = (certificate.into(), key.into(), authority.into());
            let files = TlsFiles { certificate, key, authority, revoked };
            Some(Keeper::open(files, Owner::Exactly(Identity::Edge(edge.clone())), clock.clone())?)
        }
        _ => None,
    };
    let open = |folder: &Path| Outbox::open(&OutboxConfig::new(folder), clock.clone()).map(Arc::new);
    let (outbox, coverage) = (open(Path::new(&folder))?, open(Path::new(&format!("{folder}-coverage")))?);
    let kept = KeptConfig { path: Path::new(&folder).join("acknowledged.db"), keep: KEEP, max_bytes: MAX_KEPT_BYTES };
    let kept = Arc::new(Kept::open(kept));
    let shutdown = CancellationToken::new();
    let shipper = Shipper {
        config: ShipperConfig { region_address: url.parse()?, region: region.clone(), edge: edge.clone() },
        outbox: outbox.clone(),
        kept,
        coverage,
        announced: tokio::sync::watch::Sender::default().subscribe(),
        cameras: Arc::new(Vec::new),
        keeper: keeper.clone(),
        surroundings: Surroundings::by(clock.clone()),
        board: HealthBoard::new(),
    };
    if let Some(keeper) = keeper {
        tokio::spawn(vigil_serve::tls::follow(keeper, HealthBoard::new(), shutdown.clone()));
    }
    let shipping = tokio::spawn(ship::run(shipper, shutdown.clone()));
    let maker = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        let stop = input_ends()?;
        let mut made = 0;
        while !stop.load(Ordering::Relaxed) {
            let events: Vec<Event> = (0..GROUP).map(|i| event(made + i, &region, &edge, clock.now())).collect();
            keep(&outbox, &events)?;
            let ids: Vec<String> = events.iter().map(|event| event.id.to_string()).collect();
            // One write: a kill leaves whole lines, or a last one without its end.
            writeln!(std::io::stdout().lock(), "{}", ids.join("\n"))?;
            made += GROUP;
        }
        while outbox.backlog().records > 0 {
            std::thread::park_timeout(Duration::from_millis(20));
        }
        println!("shipped");
        Ok(())
    });
    maker.await??;
    shutdown.cancel();
    Ok(shipping.await?)
}

/// Puts all of `events`, as often as it takes.
fn keep(outbox: &Outbox, events: &[Event]) -> Result<(), OutboxError> {
    loop {
        match outbox.put_many(events.iter().map(record).collect()) {
            Err(OutboxError::DiskFull { .. } | OutboxError::Full { .. }) => std::thread::park_timeout(RETRY),
            put => return put.map(|_| ()),
        }
    }
}

fn input_ends() -> std::io::Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    let flag = ended.clone();
    std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        flag.store(true, Ordering::Relaxed);
    })?;
    Ok(ended)
}

fn record(event: &Event) -> Record {
    Record {
        event_id: event.id,
        revision: event.revision,
        is_final: true,
        event: event_to_wire(event).encode_to_vec().into(),
        thumbnail: bytes::Bytes::new(),
    }
}

fn event(number: u64, region: &RegionId, edge: &EdgeId, now: Timestamp) -> Event {
    let camera = CameraId::new(format!("camera-{}", number % 7)).expect("the name is fit to be an id");
    let best_box = BoxNorm { left: 0.1, top: 0.2, width: 0.3, height: 0.4 };
    Event {
        id: EventId::at(now),
        revision: 1,
        state: EventState::Ended(EndReason::Lost),
        region: region.clone(),
        edge: edge.clone(),
        camera,
        object_class: if number.is_multiple_of(3) { "car".into() } else { "person".into() },
        track: TrackId(number),
        begin_time: now,
        end_time: now + Duration::from_secs(2),
        confirm_time: now,
        receive_time: None,
        time_source: TimeSource::Arrival,
        confidence: 0.9,
        best_box,
        best_time: now,
        path: Vec::new(),
        attributes: Attributes::default(),
        location: None,
        finding: None,
        plate: None,
        thumbnail_key: None,
        model: ModelRef { name: "test".into(), fingerprint: "0".into() },
        trace_parent: None,
        appearance: None,
    }
}
