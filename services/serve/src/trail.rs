//! What is handed out in answer to a call, and what is kept back, for the audit log.

use std::sync::Arc;

use parking_lot::Mutex;
use tonic::Response;
use vigil_audit::{Outcome, Withheld};
use vigil_proto::convert::withheld_name;
use vigil_proto::v1;
use vigil_proto::v1::subscribe_response::Message;

/// Most policies that are named of one answer: a gateway's may come of a thousand.
const MAX_POLICIES: usize = 32;

/// In the extensions of each audited request; a live stream keeps it as long as it runs.
#[derive(Debug, Clone)]
pub struct Trail(Arc<State>);

/// Who is told what a call came to, once nobody holds its trail any more.
pub(crate) type AtEnd = Box<dyn FnOnce(Outcome) + Send + Sync>;

struct State {
    given: Mutex<Given>,
    at_end: Option<AtEnd>,
}

#[derive(Debug, Default)]
struct Given {
    items: u64,
    withheld: Withheld,
}

impl Trail {
    /// The trail of a call; one that leads nowhere where calls are not audited.
    pub fn of(extensions: &http::Extensions) -> Self {
        extensions.get().cloned().unwrap_or_else(|| Self::new(None))
    }

    pub(crate) fn new(at_end: Option<AtEnd>) -> Self {
        Self(Arc::new(State { given: Mutex::default(), at_end }))
    }

    /// Notes what an answer holds, and hands it out.
    pub fn hand_out<A: Answer>(&self, answer: A) -> Response<A> {
        self.0.given.lock().items += answer.items() as u64;
        answer.kept_back().for_each(|report| self.kept_back(report));
        let mut given = self.0.given.lock();
        given.withheld.what.extend(answer.marks().map(|mark| withheld_name(mark).to_owned()));
        drop(given);
        Response::new(answer)
    }

    /// Notes what a message of a live stream holds.
    pub fn streamed(&self, message: &Message) {
        let report = match message {
            Message::Delivery(_) => {
                self.0.given.lock().items += 1;
                return;
            }
            Message::Heartbeat(heartbeat) => heartbeat.region.as_ref(),
            Message::Region(report) => Some(report),
            Message::Gap(_) => None,
        };
        report.and_then(|report| report.withheld.as_ref()).into_iter().for_each(|report| self.kept_back(report));
    }

    fn kept_back(&self, report: &v1::WithheldReport) {
        let withheld = &mut self.0.given.lock().withheld;
        withheld.what.extend(report.what().map(|mark| withheld_name(mark).to_owned()));
        if withheld.policies.len() < MAX_POLICIES && !report.policy.is_empty() {
            withheld.policies.insert(report.policy.clone());
        }
    }

    /// What was noted up to now.
    pub(crate) fn outcome(&self) -> Outcome {
        self.0.outcome()
    }
}

impl State {
    fn outcome(&self) -> Outcome {
        let given = self.given.lock();
        Outcome { withheld: given.withheld.clone(), ..Outcome::ok(given.items) }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("given", &self.given).finish_non_exhaustive()
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Some(at_end) = self.at_end.take() {
            at_end(self.outcome());
        }
    }
}

/// What an answer holds, as an auditor asks.
pub trait Answer {
    /// Events, cameras, groups or other items.
    fn items(&self) -> usize;

    /// What regions' policies kept back of it.
    fn kept_back(&self) -> impl Iterator<Item = &v1::WithheldReport> {
        std::iter::empty()
    }

    /// What is missing of its items, where no report says so.
    fn marks(&self) -> impl Iterator<Item = v1::Withheld> {
        std::iter::empty()
    }
}

/// An answer with reports of regions, and how many items it has.
macro_rules! answers_of_regions {
    ($($answer:ident: |$it:ident| $items:expr;)*) => {$(
        impl Answer for v1::$answer {
            fn items(&self) -> usize {
                let $it = self;
                $items
            }

            fn kept_back(&self) -> impl Iterator<Item = &v1::WithheldReport> {
                self.regions.iter().filter_map(|region| region.withheld.as_ref())
            }
        }
    )*};
}

answers_of_regions! {
    SearchResponse: |it| it.events.len();
    AggregateResponse: |it| it.groups.len();
    SearchByAppearanceResponse: |it| it.hits.len();
    FollowAppearanceResponse: |it| it.journeys.iter().map(|journey| journey.sightings.len()).sum();
    FindJourneysResponse: |it| it.journeys.iter().map(|journey| journey.sightings.len()).sum();
    GetPresenceResponse: |it| it.classes.len();
    GetCoverageResponse: |it| it.spans.len();
}

impl Answer for v1::GetEventResponse {
    fn items(&self) -> usize {
        usize::from(self.event.is_some())
    }

    fn marks(&self) -> impl Iterator<Item = v1::Withheld> {
        self.event.iter().flat_map(v1::Event::withheld)
    }
}

impl Answer for v1::GetTrackResponse {
    fn items(&self) -> usize {
        self.findings.len() + usize::from(self.object.is_some())
    }

    fn kept_back(&self) -> impl Iterator<Item = &v1::WithheldReport> {
        self.regions.iter().filter_map(|region| region.withheld.as_ref())
    }

    fn marks(&self) -> impl Iterator<Item = v1::Withheld> {
        self.object.iter().chain(&self.findings).flat_map(v1::Event::withheld)
    }
}

impl Answer for v1::GetThumbnailResponse {
    fn items(&self) -> usize {
        1
    }
}

impl Answer for v1::ListCamerasResponse {
    fn items(&self) -> usize {
        self.cameras.len()
    }

    fn kept_back(&self) -> impl Iterator<Item = &v1::WithheldReport> {
        self.withheld.iter()
    }

    fn marks(&self) -> impl Iterator<Item = v1::Withheld> {
        self.cameras.iter().flat_map(v1::Camera::withheld)
    }
}

/// An answer of one camera.
macro_rules! answers_of_a_camera {
    ($($answer:ident)*) => {$(
        impl Answer for v1::$answer {
            fn items(&self) -> usize {
                usize::from(self.camera.is_some())
            }

            fn marks(&self) -> impl Iterator<Item = v1::Withheld> {
                self.camera.iter().flat_map(v1::Camera::withheld)
            }
        }
    )*};
}

answers_of_a_camera! { GetCameraResponse PutCameraResponse }

impl Answer for v1::DeleteCameraResponse {
    fn items(&self) -> usize {
        0
    }
}

/// Of servers alone: it is not audited.
impl Answer for v1::GetStatusResponse {
    fn items(&self) -> usize {
        0
    }
}

impl Answer for v1::SearchAuditResponse {
    fn items(&self) -> usize {
        self.records.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_holds_and_lacks_is_noted() {
        let trail = Trail::new(None);
        let marks = [v1::Withheld::Thumbnail, v1::Withheld::Plate].map(i32::from).to_vec();
        let withheld = v1::WithheldReport { what: marks, policy: "ab12".to_owned(), ..Default::default() };
        let region = v1::RegionReport { withheld: Some(withheld), ..Default::default() };
        let events = vec![v1::Event::default(); 3];
        trail.hand_out(v1::SearchResponse {
            events,
            regions: vec![region, v1::RegionReport::default()],
            ..Default::default()
        });
        let outcome = trail.outcome();
        assert_eq!((outcome.code.as_str(), outcome.items), ("Ok", 3));
        assert!(outcome.withheld.what.iter().eq(["plate", "thumbnail"]), "{outcome:?}");
        assert!(outcome.withheld.policies.iter().eq(["ab12"]), "{outcome:?}");
        let event = v1::Event { withheld: vec![v1::Withheld::Position.into()], ..Default::default() };
        trail.hand_out(v1::GetEventResponse { event: Some(event), ..Default::default() });
        assert_eq!((trail.outcome().items, trail.outcome().withheld.what.len()), (4, 3));
    }

    #[test]
    fn no_answer_names_policies_without_end() {
        let trail = Trail::new(None);
        for policy in 0..1_000 {
            trail.kept_back(&v1::WithheldReport { policy: policy.to_string(), ..Default::default() });
        }
        assert_eq!(trail.outcome().withheld.policies.len(), MAX_POLICIES);
    }
}
