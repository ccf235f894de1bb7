//! Which regions a live stream reads: those its filter means, whichever they are while it runs.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use vigil_base::RegionId;
use vigil_proto::convert::{Filter, filter_to_wire};
use vigil_proto::v1;
use vigil_serve::ServiceError;

use super::cursor::{Place, Places};
use super::reader::{Note, Reader, Wanted};
use crate::deadline::Asker;
use crate::federation::Context;
use crate::link::RegionLink;

/// Most regions of one stream: with the longest ids and cursors of their own, its cursor is still taken back. Each delivery
/// carries that cursor, so more would cost more than the events.
pub(super) const MAX_REGIONS: usize = 250;

/// The readers of one stream. They end with it.
pub(super) struct Sources {
    context: Context,
    filter: Filter,
    /// Where regions begin in which the stream has no place yet.
    first: Place,
    asker: Asker,
    notes: mpsc::Sender<Note>,
    readers: JoinSet<()>,
    read: Vec<Arc<RegionLink>>,
}

impl Sources {
    pub(super) fn new(context: Context, filter: Filter, first: Place, asker: Asker, notes: mpsc::Sender<Note>) -> Self {
        Self { context, filter, first, asker, notes, readers: JoinSet::new(), read: Vec::new() }
    }

    /// Reads every region that is meant now and is not read yet, each from its place; says which those are. What is no longer
    /// configured ends by itself, and says so. `fresh`: the stream begins now, in the regions' own time.
    pub(super) fn follow(&mut self, places: &mut Places, fresh: bool) -> Result<Vec<RegionId>, ServiceError> {
        let meant = self.context.federation.select(&self.filter.regions, "filter.region_ids")?;
        let strangers = places.strangers(|id| meant.iter().any(|link| link.id() == id)).len();
        check_size(meant.len(), strangers)?;
        self.read.retain(|link| meant.iter().any(|meant| Arc::ptr_eq(meant, link)));
        let added: Vec<_> =
            meant.into_iter().filter(|link| !self.read.iter().any(|read| Arc::ptr_eq(read, link))).collect();
        for link in &added {
            let place = places.get_or(link.id(), &self.first);
            let wanted = Wanted { filter: self.region_filter(link.id()), asker: self.asker.clone(), fresh };
            let (notes, clock) = (self.notes.clone(), self.context.clock.clone());
            self.readers.spawn(Reader::new(link.clone(), wanted, place, notes, clock).run());
        }
        let ids = added.iter().map(|link| link.id().clone()).collect();
        self.read.extend(added);
        Ok(ids)
    }

    /// Whether that region is read.
    pub(super) fn reads(&self, region: &RegionId) -> bool {
        self.read.iter().any(|link| link.id() == region)
    }

    fn region_filter(&self, region: &RegionId) -> v1::EventFilter {
        filter_to_wire(&Filter { regions: vec![region.clone()], ..self.filter.clone() })
    }
}

/// Refuses a stream whose cursor could outgrow what is taken back: too many regions here, or too many more in the cursor.
fn check_size(regions: usize, strangers: usize) -> Result<(), ServiceError> {
    if regions > MAX_REGIONS {
        let problem = format!("{regions} regions are meant; a stream takes at most {MAX_REGIONS}");
        return Err(ServiceError::field("filter.region_ids", problem));
    }
    if regions + strangers > MAX_REGIONS {
        let problem = format!(
            "holds places in {strangers} regions that this gateway does not have; with its own it would have more than \
             {MAX_REGIONS}: resume at a gateway that has them, or start without it"
        );
        return Err(ServiceError::field("cursor", problem));
    }
    Ok(())
}
