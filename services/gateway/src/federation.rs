//! All the regions, and which of them a question goes to.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Request;
use vigil_base::{RegionId, SharedClock};
use vigil_serve::{HealthBoard, ServiceError, TokenKey};
use vigil_trust::{Keeper, Network};

use crate::admission::Admission;
use crate::config::{GatewayConfig, RegionEndpoint};
use crate::deadline::Question;
use crate::link::{RegionLink, Setting};

/// Known regions that an error message lists.
const MAX_LISTED: usize = 20;

/// The configured regions. Questions take their links with them, so that the set can be replaced under them.
pub(crate) struct Federation {
    /// In order of id.
    links: RwLock<Arc<[Arc<RegionLink>]>>,
    replaced: watch::Sender<()>,
    max_fan_out: usize,
    setting: Setting,
    watchers: TaskTracker,
}

/// What another set of regions changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) added: usize,
    pub(crate) removed: usize,
    /// Found at another address now.
    pub(crate) moved: usize,
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { added, removed, moved } = self;
        write!(f, "regions: {added} added, {removed} removed, {moved} at another address")
    }
}

impl Federation {
    /// Links to all regions of `config`, which connect and are watched over until `shutdown`. Must be made within a tokio
    /// runtime.
    pub(crate) fn new(
        config: &GatewayConfig,
        (keeper, network): (Option<Arc<Keeper>>, Network),
        clock: &SharedClock,
        board: &HealthBoard,
        shutdown: &CancellationToken,
    ) -> Self {
        let federation = Self {
            links: RwLock::new(Arc::new([])),
            replaced: watch::Sender::new(()),
            max_fan_out: config.max_fan_out,
            setting: Setting {
                keeper,
                network,
                telling_budget: config.default_deadline.mul_f32(config.region_share) / 2,
                clock: clock.clone(),
                board: board.clone(),
            },
            watchers: TaskTracker::new(),
        };
        federation.replace(&config.regions, shutdown);
        federation
    }

    /// Becomes these regions: those at the same address keep their connections, the others' end.
    pub(crate) fn replace(&self, endpoints: &[RegionEndpoint], shutdown: &CancellationToken) -> Changes {
        let before = self.links();
        let kept = |endpoint: &RegionEndpoint| before.iter().find(|link| link.endpoint() == endpoint).cloned();
        let mut after: Vec<_> =
            endpoints.iter().map(|end| kept(end).unwrap_or_else(|| self.link(end, shutdown))).collect();
        after.sort_by(|a, b| a.id().cmp(b.id()));
        *self.links.write() = after.iter().cloned().collect();
        self.replaced.send_replace(());

        let (mut gone, mut moved) = (0, 0);
        for old in before.iter().filter(|old| !after.iter().any(|link| Arc::ptr_eq(link, old))) {
            let successor = after.iter().find(|link| link.id() == old.id());
            old.retire(successor.is_none());
            gone += 1;
            moved += usize::from(successor.is_some());
        }
        Changes { added: after.len() + gone - before.len() - moved, removed: gone - moved, moved }
    }

    fn link(&self, endpoint: &RegionEndpoint, shutdown: &CancellationToken) -> Arc<RegionLink> {
        let link = RegionLink::new(endpoint, &self.setting, &shutdown.child_token());
        for watched in [&link].into_iter().chain(link.replicas()) {
            self.watchers.spawn(watched.clone().watch());
        }
        link
    }

    /// Ends when all that watches over regions has, after their `shutdown`.
    pub(crate) async fn ended(&self) {
        self.watchers.close();
        self.watchers.wait().await;
    }

    /// Each replacement of the regions.
    pub(crate) fn replacements(&self) -> watch::Receiver<()> {
        self.replaced.subscribe()
    }

    fn links(&self) -> Arc<[Arc<RegionLink>]> {
        self.links.read().clone()
    }

    /// The region of this id.
    pub(crate) fn find(&self, id: &RegionId) -> Option<Arc<RegionLink>> {
        find(&self.links(), id).cloned()
    }

    /// The regions a filter names in `field`, or all when it names none: each once, in order of id.
    pub(crate) fn select(&self, named: &[RegionId], field: &str) -> Result<Vec<Arc<RegionLink>>, ServiceError> {
        let mut links = if named.is_empty() {
            self.links().to_vec()
        } else {
            let all = self.links();
            named.iter().map(|id| known(&all, id, field).cloned()).collect::<Result<_, _>>()?
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
            let problem = format!("is missing; this gateway has the regions {}", listed(&self.links()));
            return Err(ServiceError::field(field, problem));
        }
        let id = RegionId::new(text).map_err(|error| ServiceError::field(field, error))?;
        known(&self.links(), &id, field).cloned()
    }

    /// The one region that `text` names, or all when it is empty.
    pub(crate) fn route_or_all(&self, text: &str, field: &str) -> Result<Vec<Arc<RegionLink>>, ServiceError> {
        if text.is_empty() { self.select(&[], field) } else { Ok(vec![self.route(text, field)?]) }
    }
}

fn find<'a>(links: &'a [Arc<RegionLink>], id: &RegionId) -> Option<&'a Arc<RegionLink>> {
    links.get(links.binary_search_by(|link| link.id().cmp(id)).ok()?)
}

fn known<'a>(links: &'a [Arc<RegionLink>], id: &RegionId, field: &str) -> Result<&'a Arc<RegionLink>, ServiceError> {
    find(links, id).ok_or_else(|| {
        let problem = format!("{id} is not a region of this gateway; it has {}", listed(links));
        ServiceError::field(field, problem)
    })
}

fn listed(links: &[Arc<RegionLink>]) -> String {
    let names: Vec<_> = links.iter().take(MAX_LISTED).map(|link| link.id().as_str()).collect();
    match links.len().saturating_sub(MAX_LISTED) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
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
    /// The question that came with a request just now.
    pub(crate) fn question<M>(&self, request: &Request<M>) -> Question {
        Question::new(request, self.default_deadline, self.region_share, self.clock.monotonic())
    }
}
