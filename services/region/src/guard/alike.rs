//! Questions for what looks alike, as far as a pass goes: they need appearance beside what their filters need.

use vigil_base::EventId;
use vigil_policy::{Grant, Grants};
use vigil_proto::convert::Filter;
use vigil_proto::v1;

use super::questions::needs;
use super::{Guard, Pass};
use crate::index::Result;

/// What such a question needs.
pub(super) fn needs_alike(filter: &Filter) -> Grants {
    needs(filter).with(Grant::Appearance)
}

impl Guard {
    /// The filters within which the pass lets events be compared.
    pub(crate) fn parts_alike(pass: &Pass, filter: &Filter) -> Vec<Filter> {
        Self::parts(pass, Grant::Events, needs_alike(filter), filter)
    }

    /// The event of a hit, as it is given; none where it is gone or withheld.
    pub(crate) async fn alike(&self, pass: &Pass, id: EventId, filter: &Filter) -> Result<Option<v1::Event>> {
        let event = self.index.event(id).await?;
        Ok(event.and_then(|event| pass.cleared(Grant::Events, needs_alike(filter), event)))
    }
}
