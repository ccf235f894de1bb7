//! Where the ground is, for commands that look at a video themselves.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use vigil_base::ground::RawMark;
use vigil_base::{GroundPlane, Size};
use vigil_serve::config;
use vigil_track::MotFile;

/// The camera's calibration.
#[derive(Debug, Args)]
pub struct GroundArgs {
    /// Four to sixteen marks on the ground, for places and speeds in metres: TOML,
    /// `marks = [{ picture = [x, y], metres = [right, ahead] }]`, picture in shares of width and height.
    #[arg(long, value_name = "FILE")]
    ground: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGround {
    marks: Vec<RawMark>,
}

impl GroundArgs {
    /// Reads the marks, where there are any.
    pub fn load(&self) -> anyhow::Result<Option<Arc<GroundPlane>>> {
        let Some(path) = &self.ground else { return Ok(None) };
        let raw: RawGround = config::load(path)?;
        let plane = GroundPlane::from_marks(&raw.marks).with_context(|| path.display().to_string())?;
        Ok(Some(Arc::new(plane)))
    }
}

/// Tells of each box in pictures of `size` where it stands on the ground; not of one whose foot is out of the picture.
pub fn locate(tracks: &mut MotFile, ground: &GroundPlane, size: Size) {
    for row in &mut tracks.rows {
        let cut_off = row.bbox.bottom() >= size.height as f32;
        let foot = row.bbox.normalise(size).foot();
        row.ground = if cut_off { None } else { ground.locate(foot) };
    }
}
