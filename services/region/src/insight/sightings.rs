//! Plates seen by this region's cameras.

use vigil_base::Timestamp;
use vigil_proto::convert::{JourneyQuestion, Sighting, event_from_wire};
use vigil_proto::v1;

use super::Events;
use super::pages::NewestFirst;
use crate::index::IndexError;

/// Sightings that one answer looks at: a few hundred milliseconds, and 3 MiB where all of them are told.
pub const MAX_SIGHTINGS: usize = 20_000;

/// The sightings that a question is about; and, where there were more than `most`, the moment from which on they are all here.
///
/// # Errors
/// As a search's.
pub async fn sightings(
    events: &(impl Events + ?Sized),
    question: &JourneyQuestion,
    most: usize,
) -> Result<(Vec<Sighting>, Option<Timestamp>), IndexError> {
    let mut pages = NewestFirst::new(events, question.filter.clone(), most);
    let mut seen = Vec::new();
    while let Some(page) = pages.next().await? {
        seen.extend(page.into_iter().filter_map(sighting));
    }
    Ok((seen, pages.looked_from()))
}

/// None of an event without a plate, which the filter leaves out.
fn sighting(wire: v1::Event) -> Option<Sighting> {
    let event = event_from_wire(wire).ok()?;
    let plate = event.plate?;
    Some(Sighting {
        event: event.id,
        region: event.region,
        camera: event.camera,
        begin_time: event.begin_time,
        end_time: event.end_time,
        plate: plate.text,
        confidence: plate.confidence,
        location: event.location,
    })
}
