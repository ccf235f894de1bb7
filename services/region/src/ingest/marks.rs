//! Whether the index still has what an edge was told is stored.
//!
//! An index that was put back from a backup does not know what it lacks. The edges do: each names some of what was acknowledged
//! to it, and sends again what comes after the newest of these that the index has. Of one edge, revisions are committed in the
//! order in which they were acknowledged, so whoever has one has all before it.

use vigil_base::{EdgeId, EventId, Timestamp};
use vigil_proto::v1;
use vigil_serve::ServiceError;

use crate::context::Context;
use crate::index::keys::begin_range;

/// Most marks of a hello, as the contract says.
const MAX_MARKS: usize = 32;

/// A revision that an edge was told is stored.
pub(super) struct Mark {
    event: EventId,
    revision: u32,
}

/// The marks of a hello.
///
/// # Errors
/// More than there may be, or one that names no event.
pub(super) fn checked_marks(marks: &[v1::AcknowledgedMark]) -> Result<Vec<Mark>, ServiceError> {
    if marks.len() > MAX_MARKS {
        let problem = format!("has {} entries; at most {MAX_MARKS} are taken", marks.len());
        return Err(ServiceError::field("hello.marks", problem));
    }
    let check = |mark: &v1::AcknowledgedMark| {
        let event = mark.event_id.parse().map_err(|e| ServiceError::field("hello.marks.event_id", e))?;
        Ok(Mark { event, revision: mark.revision })
    };
    marks.iter().map(check).collect()
}

/// How many of the marks, newest first, the index lacks.
///
/// # Errors
/// The index cannot be asked.
pub(super) async fn lost(context: &Context, edge: &EdgeId, marks: &[Mark]) -> Result<u32, ServiceError> {
    let kept_since = context.horizon.kept_since(context).await;
    let kept_since = kept_since.map_err(|e| context.failure("looking how far back the index reaches", &e))?;
    let mut lost = 0;
    for mark in marks {
        // What retention may have removed tells nothing; and before it there is nothing to send again.
        let is_old = Timestamp::from_micros(begin_range(mark.event).0) < kept_since;
        let found = context.guard.unguarded().event(mark.event).await;
        let found = found.map_err(|e| context.failure("looking for what was acknowledged", &e))?;
        if is_old || found.is_some_and(|event| event.revision >= mark.revision) {
            break;
        }
        lost += 1;
    }
    if lost > 0 {
        context.telemetry.fell_behind(edge, lost);
    }
    Ok(lost)
}
