//! A camera's chain, from its configuration.

use std::sync::Arc;

use parking_lot::Mutex;
use vigil_base::config::Share;
use vigil_base::event::ModelRef;
use vigil_camera::{CameraClock, CameraStatus};
use vigil_decode::DecoderConfig;
use vigil_event::{EventConfig, EventContext, EventIds};
use vigil_gate::{GateConfig, PacketGateConfig};
use vigil_runtime::{AnalyserConfig, ChainConfig, SightListener, StatusListener};
use vigil_serve::HealthBoard;
use vigil_track::{ConfirmationConfig, TrackerConfig};

use crate::cameras::Common;
use crate::clock_watch;
use crate::config::{AnalysisConfig, CameraConfig, EdgeConfig};

pub(crate) fn chain_config(config: &EdgeConfig, camera: &CameraConfig, common: &Common) -> ChainConfig {
    let Common { model, plates, board, memories, openings, .. } = common;
    let analysis = &camera.analysis;
    let identity = model.identity();
    ChainConfig {
        camera: camera.id.clone(),
        source: camera.analysed.clone(),
        decoder: DecoderConfig::default(),
        rate: analysis.frames_per_second(),
        gate: (analysis.motion_gate && analysis.packet_gate).then(PacketGateConfig::default),
        openings: openings.clone(),
        analyser: AnalyserConfig {
            rules: camera.rules.clone(),
            gate: analysis.motion_gate.then(GateConfig::default),
            attention: analysis.attention(),
            tracker: tracker_config(analysis),
            plates: plates.of(camera),
            events: EventConfig {
                classes: analysis.classes.clone(),
                update_interval: analysis.update_interval,
                thumbnails: analysis.thumbnails,
                ids: EventIds::Random,
            },
        },
        context: EventContext {
            region: config.region.clone(),
            edge: config.edge.clone(),
            camera: camera.id.clone(),
            location: camera.location,
            ground: camera.ground.clone(),
            model: ModelRef { name: identity.name.as_str().into(), fingerprint: identity.fingerprint.as_str().into() },
        },
        detector: model.detector_for(&camera.id, analysis.rate),
        on_status: on_status(camera, board),
        on_sight: on_sight(camera, board),
        memory: Some(memories.of(&camera.id)),
    }
}

/// Camera trouble goes to the board; the camera itself logs it, once for each reason.
fn on_status(camera: &CameraConfig, board: &HealthBoard) -> StatusListener {
    let (id, component, board) = (camera.id.clone(), format!("camera/{}", camera.id), board.clone());
    // A camera whose clock drifts is told of often, and logged once.
    let logged = Mutex::new(String::new());
    Arc::new(move |status, sentence| match status {
        CameraStatus::Connecting { .. } => tracing::debug!(camera = %id, "{sentence}"),
        CameraStatus::Streaming { camera_clock, .. } => {
            if *logged.lock() != sentence {
                tracing::info!(camera = %id, "streaming {sentence}");
                sentence.clone_into(&mut logged.lock());
            }
            board.clear(&component);
            match clock_trouble(*camera_clock) {
                Some(trouble) => board.report(&format!("{component}/clock"), trouble, false),
                None => board.clear(&format!("{component}/clock")),
            }
        }
        CameraStatus::Waiting { .. } | CameraStatus::Down { .. } => {
            logged.lock().clear();
            board.report(&component, sentence, false);
        }
    })
}

/// A camera that streams and is not seen is as good as none; the camera's chain logs it.
fn on_sight(camera: &CameraConfig, board: &HealthBoard) -> SightListener {
    let (component, board) = (format!("camera/{}/pictures", camera.id), board.clone());
    Arc::new(move |trouble| match trouble {
        Some(why) => board.report(&component, why, false),
        None => board.clear(&component),
    })
}

/// What operators must know of a camera's clock: events that carry wrong times are found at the wrong time.
fn clock_trouble(clock: CameraClock) -> Option<String> {
    let (offset_ms, consequence) = match clock {
        CameraClock::Good { offset_ms } => (offset_ms, "its events carry these times"),
        CameraClock::Wrong { offset_ms } => (offset_ms, "times of arrival are used instead"),
        CameraClock::Unknown | CameraClock::Ignored { .. } => return None,
    };
    let off = clock_watch::off(offset_ms)?;
    Some(format!("the camera's clock is {off} this edge's: set it by NTP; {consequence}"))
}

fn tracker_config(analysis: &AnalysisConfig) -> TrackerConfig {
    let confirmation = ConfirmationConfig {
        begin_confidence: analysis.min_confidence.map(Share::get),
        ..ConfirmationConfig::default()
    };
    TrackerConfig { confirmation, ..TrackerConfig::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_confidence_that_is_configured_is_what_can_begin_a_track() {
        let begins_at = |least| {
            let analysis = AnalysisConfig { min_confidence: least, ..AnalysisConfig::default() };
            tracker_config(&analysis).confirmation.begin_confidence
        };
        assert_eq!((begins_at(Share::new(0.8)), begins_at(None)), (Some(0.8), None));
    }
}
