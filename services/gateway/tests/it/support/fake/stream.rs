//! The live stream of a fake region.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use vigil_proto::convert::required_time;
use vigil_proto::v1;
use vigil_proto::v1::event_stream_service_server::EventStreamService;
use vigil_proto::v1::subscribe_response::Message;
use vigil_serve::{ErrorCode, ServiceError};

use super::{Behaviour, Service, State};

#[tonic::async_trait]
impl EventStreamService for Service {
    type SubscribeStream = ReceiverStream<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        request: Request<v1::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let behaviour = self.0.behaviour.lock().clone();
        match behaviour {
            Behaviour::Frozen => std::future::pending().await,
            Behaviour::Failing(code) => return Err(Status::new(code, "as it was told")),
            Behaviour::Another => return Err(ServiceError::new(ErrorCode::WrongRegion, "this is east").into()),
            _ => {}
        }
        let request = request.into_inner();
        self.0.subscriptions.lock().push(request.clone());
        let (sender, receiver) = mpsc::channel(16);
        tokio::spawn(follow(self.0.clone(), request, sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

type Sender = mpsc::Sender<Result<v1::SubscribeResponse, Status>>;

/// As long as a real region's.
fn cursor(next: usize) -> String {
    format!("{next:0110}")
}

/// Sends the commits from where the request says until the subscriber has gone or the streams are cut.
async fn follow(state: Arc<State>, request: v1::SubscribeRequest, sender: Sender) {
    let (mut commits, mut cuts) = (state.commits.subscribe(), state.cuts.subscribe());
    cuts.mark_unchanged();
    let mut next = start(&request, &commits.borrow_and_update());
    let response = |message| Ok(v1::SubscribeResponse { message: Some(message) });
    let heartbeat = v1::StreamHeartbeat { cursor: cursor(next), server_time: None, region: Some(state.report()) };
    let gap = state.gap.lock().take();
    let opening = std::iter::once(Message::Heartbeat(heartbeat)).chain(gap.map(Message::Gap));
    for message in opening {
        if sender.send(response(message)).await.is_err() {
            return;
        }
    }
    loop {
        let event = commits.borrow_and_update().get(next).cloned();
        if let Some(event) = event {
            next += 1;
            let delivery = v1::EventDelivery { event: Some(event), cursor: cursor(next) };
            if sender.send(response(Message::Delivery(delivery))).await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            changed = commits.changed() => if changed.is_err() { return },
            _ = cuts.changed() => {
                // A subscriber that has gone needs no farewell.
                let _ = sender.send(Err(Status::unavailable("cut"))).await;
                return;
            }
            () = sender.closed() => return,
        }
    }
}

fn start(request: &v1::SubscribeRequest, commits: &[v1::Event]) -> usize {
    if !request.cursor.is_empty() {
        return request.cursor.parse().unwrap();
    }
    if let Some(since) = request.since {
        let since = required_time("since", Some(since)).unwrap();
        let received = |event: &v1::Event| required_time("receive_time", event.receive_time).unwrap();
        return commits.iter().position(|event| received(event) >= since).unwrap_or(commits.len());
    }
    if request.start() == v1::SubscribeStart::Oldest { 0 } else { commits.len() }
}
