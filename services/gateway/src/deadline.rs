//! How long one question may take, and what travels with it to the regions.

use std::time::Duration;

use tonic::metadata::{Ascii, MetadataMap, MetadataValue};
use tonic::{Extensions, Request};
use vigil_base::RegionId;
use vigil_serve::{Access, Bearer, CameraScope, ErrorCode, Requester, ServiceError};

use crate::report::Failure;

/// The header in which a client says how long it waits (gRPC over HTTP/2, "Timeout").
const GRPC_TIMEOUT: &str = "grpc-timeout";
/// Most digits of its number.
const MAX_DIGITS: usize = 8;
/// Least time for the merge and the way back, where the deadline has twice as much.
const MIN_MARGIN: Duration = Duration::from_millis(20);
/// Trace headers that are passed on as they are (W3C Trace Context, sections 3.2 and 3.3).
const TRACE_HEADERS: [&str; 2] = ["traceparent", "tracestate"];
/// Longest trace header that is passed on, bytes (W3C Trace Context, section 3.3.1.5 asks for at least 512).
const MAX_TRACE_HEADER: usize = 512;

/// A question on its way: until when the regions may answer, and its trace.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    /// [`vigil_base::Clock::monotonic`] at which the regions' time is up.
    ends_at: Duration,
    trace: Vec<(&'static str, MetadataValue<Ascii>)>,
    asker: Asker,
}

/// Who asks the regions, through this gateway, and why.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    access: Access,
    /// The asker's own token: each region verifies it itself.
    bearer: Option<Bearer>,
    scope: CameraScope,
}

impl Asker {
    fn of<M>(request: &Request<M>) -> Self {
        let told = request.extensions().get::<Access>().cloned().unwrap_or_default();
        let requester = request.extensions().get::<Requester>().filter(|requester| requester.proved);
        let on_behalf_of = requester.map(|requester| requester.subject.clone());
        let scope = request.extensions().get().cloned().unwrap_or_else(CameraScope::everything);
        Self { access: Access { on_behalf_of, ..told }, bearer: request.extensions().get().cloned(), scope }
    }

    /// The gateway itself.
    fn own() -> Self {
        Self { access: Access::default(), bearer: None, scope: CameraScope::everything() }
    }

    /// Into the metadata of a call to a region.
    pub(crate) fn write(&self, metadata: &mut MetadataMap) {
        self.access.write(metadata);
        if let Some(bearer) = &self.bearer {
            bearer.write(metadata);
        }
    }

    /// Whether that region may be asked for it, by this gateway's own rights; the region has its own beside them.
    pub(crate) fn may_ask(&self, region: &RegionId) -> Result<(), Failure> {
        if self.scope.touches(region) {
            return Ok(());
        }
        let who = self.access.on_behalf_of.as_deref().unwrap_or("this requester");
        let message = format!("no row of this gateway's [[rights]] opens region {region} to {who}");
        Err(Failure::Denied(ServiceError::new(ErrorCode::Denied, message).into()))
    }
}

impl Question {
    /// The question of a request that came at monotonic time `now`: the regions have `share` of the client's deadline or of
    /// `limit`, whichever is shorter. Why it is asked goes with it to the regions, and on whose behalf, as it was proved here.
    pub(crate) fn new<M>(request: &Request<M>, limit: Duration, share: f32, now: Duration) -> Self {
        let metadata = request.metadata();
        let whole = client_timeout(metadata).map_or(limit, |asked| asked.min(limit));
        let trace = TRACE_HEADERS.into_iter().filter_map(|name| {
            let value = metadata.get(name).filter(|value| value.len() <= MAX_TRACE_HEADER)?;
            Some((name, value.clone()))
        });
        Self { ends_at: now + regions_time(whole, share), trace: trace.collect(), asker: Asker::of(request) }
    }

    /// A question of the gateway's own.
    pub(crate) fn own(budget: Duration, now: Duration) -> Self {
        Self { ends_at: now + budget, trace: Vec::new(), asker: Asker::own() }
    }

    /// Who asks, and why.
    pub(crate) fn asker(&self) -> &Asker {
        &self.asker
    }

    /// Who asks, and why.
    pub(crate) fn into_asker(self) -> Asker {
        self.asker
    }

    /// Time the regions have left.
    pub(crate) fn remaining(&self, now: Duration) -> Duration {
        self.ends_at.saturating_sub(now)
    }

    /// `message` as it goes to a region: with the time left, the trace, and why it is asked.
    pub(crate) fn request<M>(&self, message: M, now: Duration) -> Request<M> {
        let mut request = Request::from_parts(MetadataMap::new(), Extensions::default(), message);
        request.set_timeout(self.remaining(now));
        for (name, value) in &self.trace {
            request.metadata_mut().insert(*name, value.clone());
        }
        self.asker.write(request.metadata_mut());
        request
    }
}

fn regions_time(whole: Duration, share: f32) -> Duration {
    whole.mul_f32(share).min(whole.saturating_sub(MIN_MARGIN)).max(whole / 2)
}

/// The client's `grpc-timeout`: up to eight digits and a unit. A malformed one counts as none, as in tonic itself.
fn client_timeout(metadata: &MetadataMap) -> Option<Duration> {
    let text = metadata.get(GRPC_TIMEOUT)?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 3_600)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    fn metadata(timeout: &str) -> MetadataMap {
        let mut map = MetadataMap::new();
        map.insert(GRPC_TIMEOUT, timeout.parse().unwrap());
        map
    }

    fn asked(map: &MetadataMap) -> Request<()> {
        Request::from_parts(map.clone(), Extensions::default(), ())
    }

    fn remaining(map: &MetadataMap) -> Duration {
        Question::new(&asked(map), LIMIT, 0.5, Duration::from_secs(7)).remaining(Duration::from_secs(7))
    }

    #[test]
    fn the_shorter_of_deadline_and_limit_counts() {
        assert_eq!(remaining(&metadata("500m")), Duration::from_millis(250));
        assert_eq!(remaining(&metadata("99999999H")), LIMIT / 2);
        assert_eq!(remaining(&MetadataMap::new()), LIMIT / 2);
        for malformed in ["", "5", "m", "123456789m", "5x", "-5m", "+5m"] {
            assert_eq!(remaining(&metadata(malformed)), LIMIT / 2, "{malformed}");
        }
    }

    #[test]
    fn something_is_left_for_the_way_back() {
        assert_eq!(regions_time(Duration::from_secs(2), 0.75), Duration::from_millis(1_500));
        assert_eq!(regions_time(Duration::from_millis(60), 0.75), Duration::from_millis(40));
        assert_eq!(regions_time(Duration::from_millis(10), 0.75), Duration::from_millis(5));
    }

    #[test]
    fn a_region_is_told_the_time_left_and_the_trace() {
        let mut map = metadata("1S");
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        map.insert("traceparent", trace.parse().unwrap());
        map.insert("authorization", "Bearer x".parse().unwrap());
        let question = Question::new(&asked(&map), LIMIT, 0.5, Duration::ZERO);
        let request = question.request((), Duration::from_millis(100));
        assert_eq!(client_timeout(request.metadata()), Some(Duration::from_millis(400)));
        assert_eq!(request.metadata().get("traceparent").unwrap(), trace);
        assert!(request.metadata().get("authorization").is_none());
    }

    proptest! {
        #[test]
        fn no_timeout_header_panics(text in "[ -~]{0,12}") {
            let _ = remaining(&metadata(&text));
        }
    }
}
