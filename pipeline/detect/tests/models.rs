//! Loading and running models: every head and layout, a user's own, and everything that can be wrong with one.

#![allow(clippy::unwrap_used)] // Test code, in part outside of test functions.

mod support;

use support::{cached, detector, load, models, runtime, test_models};
use vigil_base::{BoxPx, Frame, Size, SystemClock, Timestamp};
use vigil_detect::{
    DetectError, Detector, Model, ModelCatalogue, ModelConfig, Provider, Runtime, RuntimeError, Scheduler,
    SchedulerConfig,
};

fn grey(size: Size) -> Frame {
    Frame::uniform(size, [126, 128, 128], Timestamp::default())
}

#[test]
fn every_head_gives_its_known_boxes_in_frame_pixels() {
    let models = test_models();
    for name in ["fixed-yolov8", "fixed-nanodet-yolo", "fixed-yolox"] {
        // 128 x 64 on a canvas of 64 x 64, in the middle: canvas pixel (x, y) is frame pixel (2x, 2(y - 16)).
        let found = detector(&models, name).detect(&grey(Size::new(128, 64))).unwrap();
        let expected = [
            (0, 0.9, [24.0, -16.0, 16.0, 16.0]),
            (1, 0.7, [26.0, -16.0, 16.0, 16.0]),
            (2, 0.6, [64.0, 32.0, 32.0, 48.0]),
            (0, 0.5, [24.0, 12.0, 80.0, 40.0]),
            (1, 0.2, [90.0, -2.0, 20.0, 20.0]),
        ];
        assert_eq!(found.items.len(), expected.len(), "{name}: {:?}", found.items);
        for (found, (class, confidence, [left, top, width, height])) in found.items.iter().zip(expected) {
            assert_eq!(found.class, class, "{name}");
            assert!((found.confidence - confidence).abs() < 1e-3, "{name}: {found:?}");
            assert!(found.bbox.iou(&BoxPx::new(left, top, width, height)) > 0.999, "{name}: {found:?}");
        }
    }
}

#[test]
fn every_layout_and_colour_order_shows_the_model_the_same_picture() {
    let models = test_models();
    // Limited range BT.601 of about (200, 100, 30).
    let frame = Frame::uniform(Size::new(64, 64), [121, 77, 178], Timestamp::default());
    let expected = frame.rgb_at(0, 0).map(|sample| f32::from(sample) / 255.0);
    for layout in ["nhwc-u8", "nchw-f32-255", "nchw-f32-unit"] {
        for colour in ["rgb", "bgr"] {
            let name = format!("echo-{layout}-{colour}");
            let found = detector(&models, &name).detect(&frame).unwrap();
            // One box with three classes: the best class is told, which is red.
            assert_eq!((found.items.len(), found.items[0].class), (1, 0), "{name}: {:?}", found.items);
            assert!((found.items[0].confidence - expected[0]).abs() < 0.01, "{name}: {:?}", found.items);
        }
    }
}

#[test]
fn a_model_that_differs_from_its_entry_is_refused_with_what_was_expected_and_found() {
    let models = test_models();
    let message = |name: &str| {
        let err = load(&models, name).unwrap_err();
        assert!(matches!(err, DetectError::Interface { .. }), "{name}: {err:?}");
        err.to_string()
    };
    for (name, expected, found) in [
        ("bad-class-count", "[N, 8, 84]", "[N, 7, 84]"),
        ("bad-anchors", "[N, 7, 84]", "[N, 7, 83]"),
        ("bad-rank", "[N, 7, 84]", "[7, 84]"),
        ("bad-type", "[N, 64, 64, 3]", "[N, 3, 64, 64]"),
    ] {
        let text = message(name);
        assert!(text.contains(name) && text.contains(expected) && text.contains(found), "{text}");
    }
}

#[test]
fn a_missing_altered_or_truncated_file_is_refused_by_name() {
    let models = test_models();
    let err = load(&models, "bad-missing").unwrap_err();
    assert!(matches!(err, DetectError::ModelFile { .. }) && err.to_string().contains("bad-missing.onnx"), "{err}");
    let err = load(&models, "bad-fingerprint").unwrap_err();
    assert!(matches!(err, DetectError::Fingerprint { .. }) && err.to_string().contains("151151d32a9b"), "{err}");
    let err = load(&models, "bad-truncated").unwrap_err();
    assert!(matches!(err, DetectError::Unloadable { .. }) && err.to_string().contains("bad-truncated.onnx"), "{err}");
}

#[test]
fn a_model_that_answers_no_numbers_or_boxes_everywhere_is_told_and_the_next_picture_goes_well() {
    let models = test_models();
    let (dark, bright) = (Frame::uniform(Size::new(64, 48), [16, 128, 128], Timestamp::default()), {
        Frame::uniform(Size::new(512, 512), [235, 128, 128], Timestamp::default())
    });
    for (name, told) in
        [("odd-nan", "of 5376 answers on a picture are no numbers"), ("odd-flood", "5376 boxes on one picture")]
    {
        let config = SchedulerConfig { workers: 1, ..SchedulerConfig::default() };
        let scheduler = Scheduler::start(load(&models, name).unwrap(), config, SystemClock::shared()).unwrap();
        let mut lane = scheduler.camera(&"gate".parse().unwrap(), 5.0);
        for _ in 0..2 {
            assert_eq!(lane.detect(&dark).unwrap().items, [], "{name}: an empty street is no fault");
            let error = lane.detect(&bright).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(told), "{error}");
        }
    }
    let error = load(&models, "bad-nan").unwrap_err();
    assert!(matches!(error, DetectError::NotNumbers { .. }), "{error:?}");
}

#[test]
fn a_users_own_manifest_works_like_the_products() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(cached("test-models/fixed-yolov8.onnx"), dir.path().join("mine.onnx")).unwrap();
    std::fs::write(dir.path().join("names.txt"), "cat\ndog\nbird\n").unwrap();
    let manifest = dir.path().join("mine.toml");
    let sha256 = "884085388d9bf284448ae26cfe1b7a6fd0ffc758e3dedce28ddbda135a0907c0";
    let text = format!(
        "schema = 1\ndefault = \"mine\"\n[[model]]\nname = \"mine\"\nfile = \"mine.onnx\"\nsha256 = \"{sha256}\"\n\
         head = \"yolov8\"\nclasses = \"names.txt\"\n[model.input]\nwidth = 64\nheight = 64\nlayout = \"nhwc_u8\"\n\
         colour = \"rgb\"\n[model.letterbox]\nanchor = \"centre\"\npad = 0\n[model.thresholds]\nconfidence = 0.4\nnms_iou = 0.5\n"
    );
    std::fs::write(&manifest, text).unwrap();
    let catalogue = ModelCatalogue::load(&manifest).unwrap();
    let model = Model::load(&runtime(), catalogue.entry(None).unwrap(), &ModelConfig::default()).unwrap();
    let found = model.detector().unwrap().detect(&grey(Size::new(64, 64))).unwrap();
    assert_eq!(found.model.class_name(found.items[0].class), "cat");
    assert_eq!((found.model.name.as_str(), found.model.fingerprint.as_str()), ("mine", sha256));
}

#[test]
fn a_gpu_that_is_not_there_is_told_and_the_cpu_takes_over() {
    let models = test_models();
    let entry = models.entry(Some("fixed-yolov8")).unwrap();
    let config = ModelConfig { providers: vec![Provider::Cuda], ..ModelConfig::default() };
    let cuda = runtime().info().providers.into_iter().find(|info| info.provider == Provider::Cuda).unwrap();
    let Some(problem) = cuda.problem else { panic!("this test is for machines without CUDA") };
    assert!(!problem.is_empty());
    let model = Model::load(&runtime(), entry, &config).unwrap();
    let choice = model.provider();
    assert_eq!((choice.active, choice.is_fallback()), (Provider::Cpu, true));
    assert_eq!((choice.refused.len(), choice.refused[0].provider), (1, Provider::Cuda));
    assert_eq!(model.detector().unwrap().detect(&grey(Size::new(64, 64))).unwrap().items.len(), 5);
}

#[test]
fn without_fallback_a_gpu_that_is_not_there_is_an_error() {
    let models = test_models();
    let config = ModelConfig { providers: vec![Provider::TensorRt], fallback: false, ..ModelConfig::default() };
    let err = Model::load(&runtime(), models.entry(Some("fixed-yolov8")).unwrap(), &config).unwrap_err();
    assert!(matches!(err, DetectError::NoProvider { .. }) && err.to_string().contains("tensorrt"), "{err}");
}

#[test]
fn a_runtime_that_is_missing_or_none_is_told_by_path() {
    let loaded = runtime();
    let err = Runtime::start(Some("/nowhere/libonnxruntime.so".as_ref())).unwrap_err();
    assert!(matches!(err, RuntimeError::Missing { .. }) && err.to_string().contains("/nowhere/"), "{err}");
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("libonnxruntime.so");
    std::fs::write(&other, "no library").unwrap();
    let err = Runtime::start(Some(&other)).unwrap_err();
    assert!(matches!(err, RuntimeError::AnotherIsLoaded { .. }), "{err}");
    assert!(loaded.info().library.to_string_lossy().contains("onnxruntime"));
}

#[test]
fn cameras_share_a_real_model() {
    let model = load(&models(), "nanodet-g-416x544-int8").unwrap();
    let config = SchedulerConfig { workers: 2, ..SchedulerConfig::default() };
    let scheduler = Scheduler::start(model, config, SystemClock::shared()).unwrap();
    assert_eq!((scheduler.active_provider(), scheduler.model().classes.len()), (Provider::Cpu, 80));
    std::thread::scope(|scope| {
        for (name, size) in [("a", Size::new(640, 480)), ("b", Size::new(1280, 720)), ("c", Size::new(352, 288))] {
            let mut lane = scheduler.camera(&name.parse().unwrap(), 5.0);
            scope.spawn(move || {
                for _ in 0..3 {
                    assert_eq!(lane.detect(&grey(size)).unwrap().size, size);
                }
                let bad = Frame { size: Size::new(0, 0), ..grey(size) };
                assert!(matches!(lane.detect(&bad), Err(DetectError::BadFrame { .. })));
                assert!(lane.detect(&grey(size)).is_ok(), "a bad frame harms no other");
            });
        }
    });
}
