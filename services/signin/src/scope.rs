//! Which cameras somebody may ask about: the rows of `[[rights]]` that are theirs, added up.
//!
//! Nothing is open to those whom no row is for. A row without a list opens all of that kind; rows add up, they never take away.

use std::collections::BTreeSet;
use std::sync::Arc;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use vigil_base::{CameraId, EdgeId, RegionId};
use vigil_trust::person::Role;

use crate::config::{RightsRow, Unfit};
use crate::verify::SignedIn;

/// Most rows: a city's departments times its regions, many times over.
const MAX_ROWS: usize = 1_000;
/// Most entries of one list of a row.
const MAX_ENTRIES: usize = 10_000;

/// What one row opens.
#[derive(Debug, Clone)]
struct Grant {
    regions: Option<BTreeSet<RegionId>>,
    sites: Option<BTreeSet<EdgeId>>,
    cameras: Option<GlobSet>,
}

impl Grant {
    fn region(&self, region: &RegionId) -> bool {
        self.regions.as_ref().is_none_or(|regions| regions.contains(region))
    }

    /// Whether it is open at the sites that are meant.
    fn opens(&self, region: &RegionId, camera: &CameraId) -> bool {
        self.region(region) && self.cameras.as_ref().is_none_or(|cameras| cameras.is_match(camera.as_str()))
    }

    fn camera(&self, region: &RegionId, site: &EdgeId, camera: &CameraId) -> bool {
        self.opens(region, camera) && self.sites.as_ref().is_none_or(|sites| sites.contains(site))
    }
}

impl PartialEq for CameraScope {
    /// Made of the same rows.
    fn eq(&self, other: &Self) -> bool {
        match (&self.grants, &other.grants) {
            (Some(a), Some(b)) => a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| Arc::ptr_eq(a, b)),
            (None, None) => true,
            _ => false,
        }
    }
}

/// The cameras that a requester may ask about; beside the requester in the extensions of each request.
#[derive(Debug, Clone)]
pub struct CameraScope {
    /// None: everything.
    grants: Option<Arc<[Arc<Grant>]>>,
}

impl CameraScope {
    /// Every camera of every region: where nobody signs in.
    pub fn everything() -> Self {
        Self { grants: None }
    }

    /// Whether every camera of `region` is in it, without asking for each.
    pub fn covers(&self, region: &RegionId) -> bool {
        let is_whole = |grant: &Arc<Grant>| grant.region(region) && grant.sites.is_none() && grant.cameras.is_none();
        self.grants.as_ref().is_none_or(|grants| grants.iter().any(is_whole))
    }

    /// Whether any camera of `region` can be in it.
    pub fn touches(&self, region: &RegionId) -> bool {
        self.grants.as_ref().is_none_or(|grants| grants.iter().any(|grant| grant.region(region)))
    }

    /// Whether a camera is in it; `site` is the edge that it is at.
    pub fn holds(&self, region: &RegionId, site: &EdgeId, camera: &CameraId) -> bool {
        self.grants.as_ref().is_none_or(|grants| grants.iter().any(|grant| grant.camera(region, site, camera)))
    }

    /// Whether a camera is in it that these sites are known to have: at whichever of them it was seen. Where none is known, only a
    /// row that names no sites opens it.
    pub fn holds_at(&self, region: &RegionId, sites: &BTreeSet<EdgeId>, camera: &CameraId) -> bool {
        let anywhere = |grant: &Arc<Grant>| grant.sites.is_none() && grant.opens(region, camera);
        match &self.grants {
            Some(grants) if sites.is_empty() => grants.iter().any(anywhere),
            Some(_) => sites.iter().all(|site| self.holds(region, site, camera)),
            None => true,
        }
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.grants.as_ref().is_some_and(|grants| grants.is_empty())
    }
}

/// Whom a row is for, and what it opens.
#[derive(Debug, Clone)]
struct Row {
    subject: Option<String>,
    role: Option<Role>,
    department: Option<String>,
    grant: Arc<Grant>,
}

impl Row {
    fn is_for(&self, who: &SignedIn) -> bool {
        self.subject.as_ref().is_none_or(|subject| *subject == who.subject)
            && self.role.is_none_or(|role| who.roles.contains(&role))
            && self.department.as_ref().is_none_or(|department| who.department.as_ref() == Some(department))
    }
}

/// All rows of a server.
#[derive(Debug, Clone, Default)]
pub struct Rights(Vec<Row>);

impl Rights {
    /// Checks what was written.
    ///
    /// # Errors
    /// The first row that cannot be meant, by its key.
    pub fn new(rows: Vec<RightsRow>) -> Result<Self, Unfit> {
        if rows.len() > MAX_ROWS {
            return Err(("rights".to_owned(), format!("has {} rows; at most {MAX_ROWS} are taken", rows.len())));
        }
        let checked = rows
            .into_iter()
            .enumerate()
            .map(|(at, row)| check(row).map_err(|(key, problem)| (format!("rights[{at}]{key}"), problem)));
        checked.collect::<Result<_, _>>().map(Self)
    }

    /// What is open to somebody.
    pub fn scope(&self, who: &SignedIn) -> CameraScope {
        let grants = self.0.iter().filter(|row| row.is_for(who)).map(|row| row.grant.clone());
        CameraScope { grants: Some(grants.collect()) }
    }
}

fn check(row: RightsRow) -> Result<Row, Unfit> {
    let unfit = |key: &str, problem: String| (key.to_owned(), problem);
    if row.subject.is_none() && row.role.is_none() && row.department.is_none() {
        return Err(unfit("", "is for nobody: name a subject, a role or a department".to_owned()));
    }
    let lengths = [
        (".regions", row.regions.as_ref().map(Vec::len)),
        (".sites", row.sites.as_ref().map(Vec::len)),
        (".cameras", row.cameras.as_ref().map(Vec::len)),
    ];
    if let Some((key, _)) = lengths.iter().find(|(_, length)| length.is_some_and(|length| length > MAX_ENTRIES)) {
        return Err(unfit(key, format!("has more than {MAX_ENTRIES} entries")));
    }
    let role = row.role.map(|role| role.parse::<Role>().map_err(|error| unfit(".role", error.to_string())));
    let cameras = row.cameras.map(|patterns| globs(&patterns).map_err(|problem| unfit(".cameras", problem)));
    let grant = Grant {
        regions: row.regions.map(|regions| regions.into_iter().collect()),
        sites: row.sites.map(|sites| sites.into_iter().collect()),
        cameras: cameras.transpose()?,
    };
    Ok(Row { subject: row.subject, role: role.transpose()?, department: row.department, grant: Arc::new(grant) })
}

fn globs(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(false).build();
        set.add(glob.map_err(|error| format!("{pattern:?} is no pattern: {}", error.kind()))?);
    }
    set.build().map_err(|error| format!("cannot be used together: {}", error.kind()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(subject: &str, roles: &[Role], department: Option<&str>) -> SignedIn {
        SignedIn {
            subject: subject.to_owned(),
            roles: roles.iter().copied().collect(),
            department: department.map(str::to_owned),
            home_region: None,
            ends_at: vigil_base::Timestamp::MAX,
        }
    }

    fn row() -> RightsRow {
        RightsRow { subject: None, role: None, department: None, regions: None, sites: None, cameras: None }
    }

    fn holds(scope: &CameraScope, region: &str, site: &str, camera: &str) -> bool {
        let (region, site) = (RegionId::new(region).unwrap(), EdgeId::new(site).unwrap());
        scope.holds(&region, &site, &CameraId::new(camera).unwrap())
    }

    #[test]
    fn who_stands_in_no_row_sees_nothing() {
        let rights = Rights::new(vec![RightsRow { role: Some("supervisor".into()), ..row() }]).unwrap();
        let scope = rights.scope(&who("alice", &[Role::Operator], None));
        assert!(scope.is_empty() && !holds(&scope, "north", "e", "c"));
        assert!(holds(&rights.scope(&who("bob", &[Role::Supervisor], None)), "north", "e", "c"));
        assert!(Rights::default().scope(&who("alice", &Role::ALL, None)).is_empty());
    }

    #[test]
    fn a_row_needs_all_it_says_and_rows_add_up() {
        let traffic = RightsRow {
            role: Some("operator".into()),
            department: Some("traffic".into()),
            cameras: Some(vec!["crossing-*".into()]),
            regions: Some(vec![RegionId::new("north").unwrap()]),
            ..row()
        };
        let alone =
            RightsRow { subject: Some("alice".into()), sites: Some(vec![EdgeId::new("harbour").unwrap()]), ..row() };
        let rights = Rights::new(vec![traffic, alone]).unwrap();
        let alice = rights.scope(&who("alice", &[Role::Operator], Some("traffic")));
        assert!(holds(&alice, "north", "e", "crossing-7") && !holds(&alice, "south", "e", "crossing-7"));
        assert!(!holds(&alice, "north", "e", "gate-1") && holds(&alice, "south", "harbour", "gate-1"));
        let bob = rights.scope(&who("bob", &[Role::Operator], Some("traffic")));
        let (north, south) = (RegionId::new("north").unwrap(), RegionId::new("south").unwrap());
        assert_eq!(bob, rights.scope(&who("bob-2", &[Role::Operator], Some("traffic"))), "made of the same row");
        assert_ne!(bob, alice);
        let crossing = CameraId::new("crossing-1").unwrap();
        let harbour =
            RightsRow { role: Some("operator".into()), sites: Some(vec![EdgeId::new("harbour").unwrap()]), ..row() };
        let at_harbour = Rights::new(vec![harbour]).unwrap().scope(&who("dora", &[Role::Operator], None));
        let sites = |names: &[&str]| names.iter().map(|name| EdgeId::new(name).unwrap()).collect::<BTreeSet<_>>();
        assert!(at_harbour.holds_at(&north, &sites(&["harbour"]), &crossing));
        assert!(!at_harbour.holds_at(&north, &sites(&["harbour", "market"]), &crossing), "it is also elsewhere");
        assert!(!at_harbour.holds_at(&north, &sites(&[]), &crossing) && bob.holds_at(&north, &sites(&[]), &crossing));
        assert!(bob.touches(&north) && !bob.touches(&south) && !bob.covers(&north));
        assert!(rights.scope(&who("carl", &[Role::Operator], Some("police"))).is_empty());
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        let refused = |row| Rights::new(vec![row]).unwrap_err();
        assert!(refused(row()).1.contains("for nobody"));
        assert_eq!(refused(RightsRow { role: Some("boss".into()), ..row() }).0, "rights[0].role");
        let pattern = RightsRow { role: Some("operator".into()), cameras: Some(vec!["[a".into()]), ..row() };
        assert_eq!(refused(pattern).0, "rights[0].cameras");
    }
}
