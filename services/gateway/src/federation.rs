//! All the regions, and which of them a question goes to.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use vigil_base::{RegionId, SharedClock};
use vigil_serve::{HealthBoard, ServiceError, TokenKey};

use crate::admission::Admission;
use crate::config::GatewayConfig;
use crate::deadline::Question;
use crate::link::RegionLink;

/// Known regions that an error message lists.
const MAX_LISTED: usize = 20;

/// The configured regions, in order of id. Questions take their links with them, so that a set can be replaced under them.
pub(crate) struct Federation {
    links: Vec<Arc<RegionLink>>,
    max_fan_out: usize,
}

impl Federation {
    /// Links to all regions of `config`. Must be made within a tokio runtime.
    pub(crate) fn new(config: &GatewayConfig, clock: &SharedClock, board: &HealthBoard) -> Self {
        let telling_budget = config.default_deadline.mul_f32(config.region_share) / 2;
        let link = |endpoint| RegionLink::new(endpoint, telling_budget, clock.clone(), board.clone());
        let mut links: Vec<_> = config.regions.iter().map(link).collect();
        links.sort_by(|a, b| a.id().cmp(b.id()));
        Self { links, max_fan_out: config.max_fan_out }
    }

    /// Connects to the regions and watches over them until `shutdown`.
    pub(crate) fn watch(&self, shutdown: &CancellationToken) -> JoinSet<()> {
        self.links.iter().map(|link| link.clone().watch(shutdown.clone())).collect()
    }

    /// The region of this id.
    pub(crate) fn find(&self, id: &RegionId) -> Option<&Arc<RegionLink>> {
        let at = self.links.binary_search_by(|link| link.id().cmp(id)).ok()?;
        self.links.get(at)
    }

    /// The regions a filter names in `field`, or all when it names none: each once, in order of id.
    pub(crate) fn select(&self, named: &[RegionId], field: &str) -> Result<Vec<Arc<RegionLink>>, ServiceError> {
        let mut links = if named.is_empty() {
            self.links.clone()
        } else {
            named.iter().map(|id| self.known(id, field).cloned()).collect::<Result<_, _>>()?
        };
        links.sort_by(|a, b| a.id().cmp(b.id()));
        links.dedup_by(|a, b| a.id() == b.id());
        if links.len() > self.max_fan_out {
            let problem =
                format!("{} regions are meant; at most {} are asked at a time", links.len(), self.max_fan_out);
            return Err(ServiceError::field(field, problem));
        }
        Ok(links)
    }

    /// The one region that `text` names.
    pub(crate) fn route(&self, text: &str, field: &str) -> Result<Arc<RegionLink>, ServiceError> {
        if text.is_empty() {
            let problem = format!("is missing; this gateway has the regions {}", self.listed());
            return Err(ServiceError::field(field, problem));
        }
        let id = RegionId::new(text).map_err(|error| ServiceError::field(field, error))?;
        self.known(&id, field).cloned()
    }

    /// The one region that `text` names, or all when it is empty.
    pub(crate) fn route_or_all(&self, text: &str, field: &str) -> Result<Vec<Arc<RegionLink>>, ServiceError> {
        if text.is_empty() { self.select(&[], field) } else { Ok(vec![self.route(text, field)?]) }
    }

    fn known(&self, id: &RegionId, field: &str) -> Result<&Arc<RegionLink>, ServiceError> {
        self.find(id).ok_or_else(|| {
            let problem = format!("{id} is not a region of this gateway; it has {}", self.listed());
            ServiceError::field(field, problem)
        })
    }

    fn listed(&self) -> String {
        let names: Vec<_> = self.links.iter().take(MAX_LISTED).map(|link| link.id().as_str()).collect();
        match self.links.len().saturating_sub(MAX_LISTED) {
            0 => names.join(", "),
            more => format!("{} and {more} more", names.join(", ")),
        }
    }
}

/// What every service of the gateway works with.
#[derive(Clone)]
pub(crate) struct Context {
    /// The regions.
    pub(crate) federation: Arc<Federation>,
    /// What time it is.
    pub(crate) clock: SharedClock,
    /// The key of page tokens and cursors.
    pub(crate) key: Arc<TokenKey>,
    /// How much is served at a time.
    pub(crate) admission: Admission,
    /// The longest time a question takes.
    pub(crate) default_deadline: Duration,
    /// The regions' share of a question's time.
    pub(crate) region_share: f32,
}

impl Context {
    /// A question that came with `metadata` just now.
    pub(crate) fn question(&self, metadata: &MetadataMap) -> Question {
        Question::new(metadata, self.default_deadline, self.region_share, self.clock.monotonic())
    }
}
