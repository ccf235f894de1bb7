//! What the region is told of the edge's cameras.

use vigil_base::evidence::Counts;
use vigil_proto::convert::{geo_to_wire, time_to_wire};
use vigil_proto::v1;
use vigil_rules::Reading;
use vigil_runtime::{CameraHealth, CameraState, RuleReadout};

use crate::config::{CameraConfig, EdgeConfig};

/// Longest sentence about a camera's state.
const MAX_DETAIL: usize = 300;

/// A camera as it is announced; the address without user and password.
pub(crate) fn camera(edge: &EdgeConfig, camera: &CameraConfig) -> v1::Camera {
    v1::Camera {
        camera_id: camera.id.to_string(),
        region_id: edge.region.to_string(),
        edge_id: edge.edge.to_string(),
        display_name: camera.name.clone(),
        location: camera.location.map(geo_to_wire),
        address: camera.stream.address.to_string(),
        ..v1::Camera::default()
    }
}

/// How a camera is, for a heartbeat.
pub(crate) fn camera_health(health: &CameraHealth, rules: &[RuleReadout]) -> v1::CameraHealth {
    let state = match health.state {
        CameraState::Connecting => v1::CameraState::Connecting,
        CameraState::Streaming => v1::CameraState::Streaming,
        CameraState::Down => v1::CameraState::Down,
    };
    v1::CameraHealth {
        camera_id: health.camera.to_string(),
        state: state.into(),
        last_frame_time: health.last_frame_time.map(time_to_wire),
        detail: health.detail.chars().take(MAX_DETAIL).collect(),
        frames_received: health.counts.received,
        frames_analysed: health.counts.analysed,
        frames_dropped: health.counts.dropped(),
        rules: rules.iter().map(rule_readout).collect(),
    }
}

fn rule_readout(readout: &RuleReadout) -> v1::RuleReadout {
    use v1::rule_readout::Reading as Wire;
    let reading = readout.reading.map(|reading| match reading {
        Reading::Counts(Counts { left, right, since }) => {
            Wire::Counts(v1::LineCounts { left, right, since: Some(time_to_wire(since)) })
        }
        Reading::Occupancy { count, .. } | Reading::Density { count, .. } => Wire::Inside(count),
    });
    v1::RuleReadout { rule_id: readout.rule.to_string(), on: readout.is_on, reading }
}
