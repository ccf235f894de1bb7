//! The cameras and edges that a region knows.

use std::collections::{BTreeMap, BTreeSet};

use vigil_base::{CameraId, EdgeId};

/// Cameras of which there are events or entries, and the edges that are known to read them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Roster {
    cameras: BTreeMap<CameraId, BTreeSet<EdgeId>>,
    edges: BTreeSet<EdgeId>,
}

impl Roster {
    /// Whether it knows that this edge reads this camera.
    pub fn knows(&self, camera: &CameraId, edge: &EdgeId) -> bool {
        self.cameras.get(camera).is_some_and(|edges| edges.contains(edge))
    }

    /// Adds a camera; `edge` reads it, where that is known.
    pub fn add_camera(&mut self, camera: &CameraId, edge: Option<&EdgeId>) {
        let edges = self.cameras.entry(camera.clone()).or_default();
        if let Some(edge) = edge {
            edges.insert(edge.clone());
            self.edges.insert(edge.clone());
        }
    }

    /// Adds an edge of which it is not known which cameras it read.
    pub fn add_edge(&mut self, edge: &EdgeId) {
        self.edges.insert(edge.clone());
    }

    /// All cameras, in order, with the edges that are known to read them.
    pub fn cameras(&self) -> impl Iterator<Item = (&CameraId, &BTreeSet<EdgeId>)> {
        self.cameras.iter()
    }

    /// All edges, in order.
    pub fn edges(&self) -> impl Iterator<Item = &EdgeId> {
        self.edges.iter()
    }
}
