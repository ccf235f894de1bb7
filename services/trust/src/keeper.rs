//! The credentials in use, read again when their files change.
//!
//! Connections that are up stay up, for as long as what is in use believes their peers ([`crate::ending`]); the next handshake
//! uses what is here then. Files that cannot be used leave what was good in use. What is compared is the files' bytes: times
//! of change lie where files are replaced through links, or twice within a second.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics::{counter, gauge};
use parking_lot::RwLock;
use tokio::sync::watch;
use vigil_base::error::chain;
use vigil_base::{SharedClock, Timestamp};

use crate::authority::BACKDATE;
use crate::certificate::CertificateInfo;
use crate::credentials::{Contents, Credentials, CredentialsError, TlsFiles};
use crate::identity::{Identity, Role};

/// From this part of its lifetime on, a certificate that nobody renewed is told of. Edges renew theirs at two thirds.
const LATE: f64 = 5.0 / 6.0;

/// Whose a certificate must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Exactly this one's.
    Exactly(Identity),
    /// Any of a role.
    Any(Role),
    /// Anybody's.
    Anybody,
}

impl Owner {
    /// Whether it is.
    pub fn is(&self, identity: &Identity) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == identity,
            Self::Any(role) => *role == identity.role(),
            Self::Anybody => true,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exactly(identity) => identity.fmt(f),
            Self::Any(role) => write!(f, "a process of the role {role}"),
            Self::Anybody => f.write_str("anybody"),
        }
    }
}

/// What a look at the files found.
#[derive(Debug)]
pub enum Refresh {
    /// They are as they were.
    Same,
    /// New ones are in use.
    Taken,
    /// New ones are in use, or none were there, but the list of what was revoked cannot be used: the one before stays in force.
    OldLists(CredentialsError),
    /// They cannot be used; what was in use still is.
    Refused(CredentialsError),
}

/// Holds credentials and keeps them up to date. Shared by all that listens and calls.
pub struct Keeper {
    files: TlsFiles,
    owner: Owner,
    clock: SharedClock,
    held: RwLock<Held>,
    /// Told whenever new credentials are in use.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Held {
    credentials: Option<Arc<Credentials>>,
    /// What was looked at last, used or refused.
    seen: Option<Contents>,
    /// What is wrong with the lists that were looked at last.
    unfit_lists: Option<String>,
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keeper({})", self.files.certificate.display())
    }
}

/// There are no credentials yet.
#[derive(Debug, Clone, thiserror::Error)]
#[error("there is no certificate {file} yet")]
pub struct NotYet {
    file: String,
}

impl Keeper {
    /// Reads the files, which must be good. A certificate that has ended is taken all the same, and told of: a process that
    /// would not start for it could not even say so.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn open(files: TlsFiles, owner: Owner, clock: SharedClock) -> Result<Arc<Self>, CredentialsError> {
        let keeper = Self::empty(files, owner, clock);
        let contents = Contents::read(&keeper.files)?;
        keeper.take(contents)?;
        Ok(keeper)
    }

    /// The same; where there is no certificate yet, it is waited for.
    ///
    /// # Errors
    /// There are files, and they cannot be used.
    pub fn open_or_wait(files: TlsFiles, owner: Owner, clock: SharedClock) -> Result<Arc<Self>, CredentialsError> {
        if files.certificate.exists() {
            return Self::open(files, owner, clock);
        }
        Ok(Self::empty(files, owner, clock))
    }

    fn empty(files: TlsFiles, owner: Owner, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self { files, owner, clock, held: RwLock::default(), changes: watch::Sender::default() })
    }

    /// The files.
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// What is in use now.
    ///
    /// # Errors
    /// Nothing yet.
    pub fn current(&self) -> Result<Arc<Credentials>, NotYet> {
        let held = self.held.read().credentials.clone();
        held.ok_or_else(|| NotYet { file: self.files.certificate.display().to_string() })
    }

    /// Tells of each change of what is in use from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn clock(&self) -> &SharedClock {
        &self.clock
    }

    /// Looks at the files, and uses them where they are new and good. Blocks on the disk.
    pub fn refresh(&self) -> Refresh {
        let contents = match Contents::read(&self.files) {
            Ok(contents) => contents,
            // Waited for.
            Err(error) if error.is_missing() && self.held.read().credentials.is_none() => return Refresh::Same,
            Err(error) => return Refresh::Refused(error.into()),
        };
        self.show();
        if self.held.read().seen.as_ref() == Some(&contents) {
            return Refresh::Same;
        }
        match self.take(contents) {
            Ok(None) => {
                read("taken");
                Refresh::Taken
            }
            Ok(Some(error)) => {
                read("old_lists");
                Refresh::OldLists(error)
            }
            Err(error) => {
                read("refused");
                Refresh::Refused(error)
            }
        }
    }

    /// Uses what was read. Lists of what was revoked that cannot be used are returned, where there were others before, and hold
    /// up nothing else: a list that was damaged on its way must not keep a new certificate out. Where there were none, nothing is
    /// used: a process does not start that lets in who was shut out.
    fn take(&self, contents: Contents) -> Result<Option<CredentialsError>, CredentialsError> {
        let before = self.held.read().credentials.as_ref().and_then(|old| old.lists.clone());
        let (lists, unfit) = match contents.lists(&self.files, before.as_deref()) {
            Ok(lists) => (Ok(lists), None),
            Err(error) if before.is_some() => (Ok(before), Some(error)),
            Err(error) => (Err(error), None),
        };
        let read = |lists| Credentials::of(&contents, lists, &self.files, &self.owner, Arc::clone(&self.clock));
        let read = lists.and_then(read);
        let mut held = self.held.write();
        let checked = read.and_then(|new| {
            // One that is over replaces none that is not.
            let has_good = held.credentials.as_ref().is_some_and(|old| old.check_time(&self.files).is_ok());
            if has_good {
                new.check_time(&self.files)?;
            }
            Ok(new)
        });
        held.seen = Some(contents);
        held.credentials = Some(Arc::new(checked?));
        held.unfit_lists = unfit.as_ref().map(|error| chain(error));
        drop(held);
        self.changes.send_replace(());
        self.show();
        Ok(unfit)
    }

    /// Exports the seconds until what is in use ends; below zero it has ended. The handles are not kept: a keeper is opened
    /// before there is a recorder, and this is every two seconds.
    fn show(&self) {
        let Ok(credentials) = self.current() else { return };
        let left = |info: &CertificateInfo| info.not_after.seconds_since(self.clock.now());
        gauge!("vigil_certificate_expiry_seconds", "of" => "own").set(left(&credentials.info));
        if let Some(first) = credentials.authorities.iter().map(left).min_by(f64::total_cmp) {
            gauge!("vigil_certificate_expiry_seconds", "of" => "authority").set(first);
        }
        let ends = credentials.lists.iter().flat_map(|lists| lists.lists()).filter_map(|list| list.next_update);
        if let Some(first) = ends.min() {
            let left = first.seconds_since(self.clock.now());
            gauge!("vigil_certificate_expiry_seconds", "of" => "revocation_list").set(left);
        }
    }

    /// What is wrong with what is in use, for people: it has ended, or ends soon, or was revoked.
    pub fn problem(&self) -> Option<String> {
        let credentials = self.current().ok()?;
        if let Err(error) = credentials.check_time(&self.files) {
            return Some(error.to_string());
        }
        if let Some(unfit) = &self.held.read().unfit_lists {
            return Some(format!(
                "the new list of what was revoked is not taken, and the one before stays in force: {unfit}"
            ));
        }
        if credentials.is_revoked() {
            return Some(format!(
                "{} was revoked, and others refuse it: issue another",
                self.files.certificate.display()
            ));
        }
        let own = (&self.files.certificate, &credentials.info);
        let authorities = credentials.authorities.iter().map(|info| (&self.files.authority, info));
        let now = self.clock.now();
        if let Some((path, info)) = std::iter::once(own).chain(authorities).find(|(_, info)| is_late(info, now)) {
            return Some(format!("{} ends at {}: issue it anew", path.display(), info.not_after));
        }
        let (path, lists) = (self.files.revoked.as_ref()?, credentials.lists.as_ref()?);
        let late = lists.lists().iter().find(|list| list.is_late(now))?;
        Some(format!(
            "{} is to be followed by a newer list by {}; whom the authority has shut out since it was made is still let in \
             (vigil pki revoked --renew)",
            path.display(),
            late.next_update?
        ))
    }

    /// From when on the own certificate is to be renewed: two thirds of its lifetime.
    pub fn renew_from(&self) -> Option<Timestamp> {
        let info = &self.current().ok()?.info;
        let lifetime = info.not_after.since(info.not_before).saturating_sub(BACKDATE);
        Some(info.not_after - lifetime / 3)
    }
}

fn is_late(info: &CertificateInfo, now: Timestamp) -> bool {
    let lifetime: Duration = info.not_after.since(info.not_before);
    now.since(info.not_before) > lifetime.mul_f64(LATE)
}

fn read(outcome: &'static str) {
    counter!("vigil_certificate_reads_total", "outcome" => outcome).increment(1);
}
