//! The registry of cameras, as far as a pass goes.
//!
//! Ids of cameras can be guessed, so whether one is withheld is decided by its id, before anybody looks whether it is there.

use vigil_base::{CameraId, EdgeId};
use vigil_policy::{Grant, Grants};
use vigil_proto::v1;

use super::clearing::cleared_camera;
use super::{Found, Guard, Pass};
use crate::index::{CameraEntry, Etag, IndexStats, PutCamera, Result};

impl Pass {
    /// What is given of a camera that `edge` is said to read.
    fn of_camera(&self, camera: &CameraId, edge: Option<&EdgeId>) -> Grants {
        self.scope.as_ref().map_or(Grants::all(), |scope| scope.of_camera_at(camera, edge))
    }

    /// Whether the camera's entry, and how it is, are given.
    pub(crate) fn shows_camera(&self, camera: &CameraId, edge: Option<&EdgeId>) -> bool {
        self.of_camera(camera, edge).has(Grant::Coverage)
    }

    /// A camera's entry as it is given.
    pub(crate) fn cleared_camera(&self, entry: &CameraEntry, wire: v1::Camera) -> v1::Camera {
        cleared_camera(wire, self.of_camera(&entry.id, entry.edge.as_ref()))
    }

    /// Whether how every camera is, is given.
    pub(crate) fn shows_all_cameras(&self) -> bool {
        self.restricted().is_none_or(|scope| scope.lacking(Grant::Coverage, &[]) == 0)
    }

    /// Only who is given all about a camera may change its entry.
    fn may_change(&self, camera: &CameraId, edge: Option<&EdgeId>) -> bool {
        self.of_camera(camera, edge) == Grants::all()
    }
}

impl Guard {
    /// Entries after `after` that are given, at most `max_cameras`, in order.
    pub(crate) async fn cameras(
        &self,
        pass: &Pass,
        mut after: Option<CameraId>,
        max_cameras: usize,
    ) -> Result<Vec<CameraEntry>> {
        let mut given = Vec::new();
        loop {
            let page = self.index.cameras(after, max_cameras).await?;
            let is_last = page.len() < max_cameras;
            after = page.last().map(|entry| entry.id.clone());
            given.extend(page.into_iter().filter(|entry| pass.shows_camera(&entry.id, entry.edge.as_ref())));
            if is_last || given.len() >= max_cameras {
                given.truncate(max_cameras);
                return Ok(given);
            }
        }
    }

    /// One entry.
    pub(crate) async fn camera(&self, pass: &Pass, id: &CameraId) -> Result<Found<CameraEntry>> {
        if !pass.shows_camera(id, None) {
            return Ok(Found::Withheld);
        }
        let entry = self.index.camera(id.clone()).await?;
        let is_given = |entry: &CameraEntry| pass.shows_camera(&entry.id, entry.edge.as_ref());
        Ok(match entry {
            None => Found::Missing,
            Some(entry) if is_given(&entry) => Found::Given(entry),
            Some(_) => Found::Withheld,
        })
    }

    /// Makes or replaces an entry.
    pub(crate) async fn put_camera(
        &self,
        pass: &Pass,
        entry: CameraEntry,
        expected: Option<Etag>,
    ) -> Result<Found<PutCamera>> {
        let may_be_as_put = pass.may_change(&entry.id, entry.edge.as_ref());
        if !may_be_as_put || !self.may_change_current(pass, &entry.id).await? {
            return Ok(Found::Withheld);
        }
        let (id, edge) = (entry.id.clone(), entry.edge.clone());
        let put = self.index.put_camera(entry, expected).await?;
        self.add_to_roster(&id, edge.as_ref());
        Ok(Found::Given(put))
    }

    /// Takes an entry out.
    pub(crate) async fn delete_camera(&self, pass: &Pass, id: &CameraId) -> Result<Found<()>> {
        if !pass.may_change(id, None) || !self.may_change_current(pass, id).await? {
            return Ok(Found::Withheld);
        }
        Ok(if self.index.delete_camera(id.clone()).await? { Found::Given(()) } else { Found::Missing })
    }

    /// How the edges are, each with its cameras of which that is given. An edge without any is left out.
    pub(crate) fn edges(&self, pass: &Pass, edges: Vec<v1::EdgeStatus>) -> Vec<v1::EdgeStatus> {
        let Some(scope) = pass.restricted() else { return edges };
        let known = self.known.read();
        let given = |mut status: v1::EdgeStatus| {
            let edge = EdgeId::new(&status.edge_id).ok()?;
            let shows = |camera: &CameraId| scope.of_camera_at(camera, Some(&edge)).has(Grant::Coverage);
            let is_shown = known.roster.cameras().any(|(camera, edges)| edges.contains(&edge) && shows(camera));
            status.cameras.retain(|health| CameraId::new(&health.camera_id).is_ok_and(|camera| shows(&camera)));
            is_shown.then_some(status)
        };
        edges.into_iter().filter_map(given).collect()
    }

    /// Figures about the whole index. How many events there are, and from when, for who may count all of them.
    pub(crate) async fn stats(&self, pass: &Pass) -> Result<IndexStats> {
        let stats = self.index.stats().await?;
        let Some(scope) = pass.restricted() else { return Ok(stats) };
        let share = scope.share(Grant::Counts, Grants::NONE, &[]);
        if share.left_out == 0 && !share.is_cut && share.back.is_none() {
            return Ok(stats);
        }
        Ok(IndexStats { events: 0, oldest_begin: None, newest_begin: None, last_commit: None, bytes: 0, ..stats })
    }

    async fn may_change_current(&self, pass: &Pass, id: &CameraId) -> Result<bool> {
        let Some(_) = pass.restricted() else { return Ok(true) };
        let current = self.index.camera(id.clone()).await?;
        Ok(current.is_none_or(|current| pass.may_change(id, current.edge.as_ref())))
    }

    /// Takes in the cameras that an edge says it reads.
    pub(crate) async fn announce_cameras(&self, entries: Vec<CameraEntry>) -> Result<()> {
        for entry in &entries {
            self.add_to_roster(&entry.id, entry.edge.as_ref());
        }
        self.index.announce_cameras(entries).await
    }

    fn add_to_roster(&self, camera: &CameraId, edge: Option<&EdgeId>) {
        if let Some(edge) = edge {
            return self.note(camera, edge);
        }
        let mut known = self.known.write();
        known.roster.add_camera(camera, None);
        known.scopes.clear();
    }
}
