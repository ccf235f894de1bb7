//! The region's border: whatever a question is given passes here, and leaves as the policy lets it.
//!
//! The index is behind this guard. Who answers a question is first given a [`Pass`] for its requester ([`Guard::admit`]), and then
//! asks the guard, which asks the index about what the pass covers and clears each event on its way out. So nobody finds by plate,
//! colour or place what is withheld, no count holds it, and no page token or cursor leads to it: the policy is applied anew to each
//! page and each event, whoever was given the token.
//!
//! A guard without a policy lets everything through.
//!
//! What the guard relies on: [`Roster`] holds every camera and edge of which the index has events. It is read from the index at
//! the start, and [`Guard::commit`] adds to it before an event is stored. A replica stores none and reads it again and again; what a
//! camera saw that is not in it yet is decided event by event, or left out.

mod alike;
mod clearing;
mod policy_file;
mod questions;
mod registry;
mod report;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use parking_lot::RwLock;
use tokio::sync::watch;
use tonic::Extensions;
use vigil_base::{CameraId, EdgeId, RegionId, SharedClock, Timestamp};
use vigil_policy::{Asker, Clearance, Policy, PolicyFile, Roster, RuleFile, Scope};
use vigil_serve::{CameraScope, ErrorCode, Requester, ServiceError};

pub use self::policy_file::load_policy;
pub(crate) use self::questions::Found;
pub(crate) use self::report::Question;
use crate::index::{CommitSeq, Index, Lineage, NewRevision, Result, StoreOutcome, UnreadablePart};

/// Cameras of the registry that are read at a time when the region starts.
const REGISTRY_PAGE: usize = 1_000;
/// Scopes that are kept: one for each set of rules that requesters meet, of which a policy makes few. Each is some hundred bytes
/// a camera.
const MAX_SCOPES: usize = 64;

/// The cameras that are known, and what was made of them. A change of the one empties the other.
#[derive(Debug, Default)]
struct Known {
    roster: Roster,
    /// By what they were made of.
    scopes: Vec<(Arc<Scope>, CameraScope)>,
}

/// Who asks, and the cameras that its rights open to it: all where nobody signs in.
#[derive(Debug, Clone)]
pub(crate) struct Guest {
    requester: Requester,
    within: CameraScope,
}

impl Guest {
    /// Whoever sent a request.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let within = extensions.get().cloned().unwrap_or_else(CameraScope::everything);
        Self { requester: Requester::of(extensions), within }
    }
}

/// What decides where there is no policy, and rights restrict: everything is given of what they open.
static WITHOUT_POLICY: LazyLock<Arc<Policy>> = LazyLock::new(|| {
    let grants = vec!["everything".to_owned()];
    let rule = RuleFile { id: "everything".to_owned(), grants, proved: Some(false), ..RuleFile::default() };
    let file = PolicyFile { rules: vec![rule], ..PolicyFile::default() };
    Arc::new(Policy::resolve(&file, "").expect("one rule that asks for nothing"))
});

/// Stands between the index and whoever answers.
pub(crate) struct Guard {
    region: RegionId,
    index: Arc<dyn Index>,
    known: RwLock<Known>,
    policy: watch::Sender<Option<Arc<Policy>>>,
    clock: SharedClock,
}

/// What one requester may see, as of a moment.
#[derive(Debug, Clone)]
pub(crate) struct Pass {
    /// None: there is no policy.
    scope: Option<Arc<Scope>>,
    now: Timestamp,
}

impl Pass {
    /// Whether both give the same, but for what has grown too old.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        match (&self.scope, &other.scope) {
            (Some(a), Some(b)) => a.clearance() == b.clearance(),
            (None, None) => true,
            _ => false,
        }
    }

    /// The scope, where it restricts anything.
    fn restricted(&self) -> Option<&Arc<Scope>> {
        self.scope.as_ref().filter(|scope| !scope.is_everything())
    }
}

impl Guard {
    /// A guard of what is in the index.
    pub(crate) async fn new(
        region: RegionId,
        index: Arc<dyn Index>,
        policy: Option<Arc<Policy>>,
        clock: SharedClock,
    ) -> Result<Self> {
        let roster = roster_of(&index).await?;
        let known = RwLock::new(Known { roster, scopes: Vec::new() });
        Ok(Self { region, index, known, policy: watch::Sender::new(policy), clock })
    }

    /// Reads the cameras and edges anew, for a replica: what it does not know of yet is given to nobody whom the policy restricts.
    pub(crate) async fn renew_roster(&self) -> Result<()> {
        let roster = roster_of(&self.index).await?;
        let mut known = self.known.write();
        if known.roster != roster {
            *known = Known { roster, scopes: Vec::new() };
        }
        Ok(())
    }

    /// The index, for what takes events in, keeps them and removes them. Never for an answer: those go through a [`Pass`], which
    /// `scripts/fences` sees to.
    pub(crate) fn unguarded(&self) -> &Arc<dyn Index> {
        &self.index
    }

    /// Parts of the index that cannot be read: which times they are of, and why.
    pub(crate) fn unreadable(&self) -> Vec<UnreadablePart> {
        self.index.unreadable()
    }

    /// The newest commit, and each change of it.
    pub(crate) fn latest(&self) -> watch::Receiver<CommitSeq> {
        self.index.latest()
    }

    /// The starts of the index.
    pub(crate) fn lineage(&self) -> Arc<Lineage> {
        self.index.lineage()
    }

    /// From now on this policy decides.
    pub(crate) fn set_policy(&self, policy: Option<Arc<Policy>>) {
        self.known.write().scopes.clear();
        self.policy.send_replace(policy);
    }

    /// The policy that decides; changes with it.
    pub(crate) fn policy(&self) -> watch::Receiver<Option<Arc<Policy>>> {
        self.policy.subscribe()
    }

    /// What this requester may see now: what the policy gives of the cameras that its rights open.
    pub(crate) fn admit(&self, guest: &Guest) -> Pass {
        let now = self.clock.now();
        let Guest { requester, within } = guest;
        let restricts = !within.covers(&self.region);
        let policy = self.policy.borrow().clone().or_else(|| restricts.then(|| WITHOUT_POLICY.clone()));
        let clearance = policy.map(|policy| policy.clearance(&asker(requester, &roles(requester)), now));
        Pass { scope: clearance.map(|clearance| self.scope(clearance, within)), now }
    }

    fn scope(&self, clearance: Clearance, within: &CameraScope) -> Arc<Scope> {
        let like = |(scope, made_within): &&(Arc<Scope>, CameraScope)| {
            *scope.clearance() == clearance && made_within == within
        };
        if let Some((scope, _)) = self.known.read().scopes.iter().find(like) {
            return Arc::clone(scope);
        }
        let mut known = self.known.write();
        if let Some((scope, _)) = known.scopes.iter().find(like) {
            return Arc::clone(scope);
        }
        if known.scopes.len() >= MAX_SCOPES {
            known.scopes.clear();
        }
        let opens = |camera: &CameraId, edges: &BTreeSet<EdgeId>| within.holds_at(&self.region, edges, camera);
        let scope = if within.covers(&self.region) {
            Scope::new(clearance, &known.roster)
        } else {
            Scope::within(clearance, &known.roster, &opens)
        };
        let scope = Arc::new(scope);
        known.scopes.push((Arc::clone(&scope), within.clone()));
        scope
    }

    /// Stores revisions, whose cameras and edges are known from before they are.
    pub(crate) async fn commit(&self, revisions: Vec<NewRevision>) -> Result<Vec<StoreOutcome>> {
        for revision in &revisions {
            self.note(&revision.event().camera, &revision.event().edge);
        }
        self.index.commit(revisions).await
    }

    /// `edge` reads `camera`.
    fn note(&self, camera: &CameraId, edge: &EdgeId) {
        if self.known.read().roster.knows(camera, edge) {
            return;
        }
        let mut known = self.known.write();
        known.roster.add_camera(camera, Some(edge));
        known.scopes.clear();
    }

    /// The error of a question for something that the policy withholds.
    pub(crate) fn withheld(pass: &Pass, what: &str) -> ServiceError {
        let mut message = format!("the region's policy withholds {what}");
        if let Some(clearance) = pass.scope.as_ref().map(|scope| scope.clearance()) {
            let (contact, hint) = (clearance.policy().contact(), clearance.hint().text());
            for part in [hint, contact].iter().filter(|part| !part.is_empty()) {
                message = format!("{message}; {part}");
            }
        }
        ServiceError::new(ErrorCode::Withheld, message)
    }
}

/// The cameras and edges of an index.
async fn roster_of(index: &Arc<dyn Index>) -> Result<Roster> {
    let mut roster = Roster::default();
    let sources = index.sources().await?;
    sources.cameras.iter().for_each(|camera| roster.add_camera(camera, None));
    sources.edges.iter().for_each(|edge| roster.add_edge(edge));
    let mut after = None;
    loop {
        let page = index.cameras(after, REGISTRY_PAGE).await?;
        for entry in &page {
            roster.add_camera(&entry.id, entry.edge.as_ref());
        }
        match page.last().filter(|_| page.len() == REGISTRY_PAGE) {
            Some(last) => after = Some(last.id.clone()),
            None => return Ok(roster),
        }
    }
}

fn roles(requester: &Requester) -> Vec<&'static str> {
    requester.roles.iter().map(|role| role.as_str()).collect()
}

/// The requester as policies see it.
fn asker<'a>(requester: &'a Requester, roles: &'a [&'a str]) -> Asker<'a> {
    Asker {
        subject: &requester.subject,
        department: requester.department.as_deref(),
        home_region: requester.home_region.as_deref(),
        roles,
        has_purpose: requester.purpose.is_some(),
        has_case: requester.case.is_some(),
        is_proved: requester.proved,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn policies_know_the_roles_that_there_are() {
        let roles = vigil_trust::person::Role::ALL.map(vigil_trust::person::Role::as_str);
        assert_eq!(roles, vigil_policy::ROLES);
    }
}
