"""The whole reference on hand-made models and on the default one."""

import json
from pathlib import Path

import numpy as np
import pytest

from vigil_models import frames, heads, manifest, parity, reference
from vigil_models.manifest import ManifestError
from vigil_models.reference import Detector, ModelShapeError

INT8, FP32 = "nanodet-g-416x544-int8", "nanodet-g-416x544-fp32"

RECALL_FLOOR = PRECISION_FLOOR = 0.85
"""On the frames annotated by eye both models find 22 of 23 people, with at most two false ones (traffic cones). The
floor leaves room for one change of mind, because arithmetic differs a little between processors."""


def detector(name, path=None):
    return Detector(manifest.load(path or manifest.default_manifest(), name))


def red_frame():
    """64x64, BT.601 red: R'G'B' (254, 0, 0)."""
    half = (32, 32)
    return frames.Frame(np.full((64, 64), 81, np.uint8), np.full(half, 90, np.uint8), np.full(half, 240, np.uint8))


@pytest.mark.parametrize("name", ["fixed-yolov8", "fixed-nanodet-yolo", "fixed-yolox"])
def test_each_head_finds_the_fixed_boxes(test_models, name):
    found = detector(name, test_models).detect(red_frame())
    assert [(d["label"], pytest.approx(d["confidence"])) for d in found] == [
        ("red", 0.9),
        ("green", 0.7),
        ("blue", 0.6),
        ("red", 0.5),
    ]
    expected = [[12, 8, 8, 8], [13, 8, 8, 8], [32, 32, 16, 24], [12, 22, 40, 20]]
    np.testing.assert_allclose([d["box"] for d in found], expected, rtol=1e-5)


@pytest.mark.parametrize("layout", ["nhwc-u8", "nchw-f32-255", "nchw-f32-unit"])
@pytest.mark.parametrize("colour", ["rgb", "bgr"])
def test_each_layout_brings_red_as_red(test_models, layout, colour):
    (found,) = detector(f"echo-{layout}-{colour}", test_models).detect(red_frame())
    assert found["label"] == "red"
    assert found["confidence"] == pytest.approx(254 / 255, abs=1e-3)
    np.testing.assert_allclose(found["box"], [0, 0, 64, 64])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("bad-class-count", r"output should be tensor\(float\) \[N, 8, 84\], found tensor\(float\) \['N', 7, 84\]"),
        ("bad-rank", r"output should be tensor\(float\) \[N, 7, 84\], found tensor\(float\) \[7, 84\]"),
        ("bad-anchors", r"found tensor\(float\) \['N', 7, 83\]"),
        ("bad-type", r"input should be tensor\(uint8\) \[N, 64, 64, 3\], found tensor\(float\) \['N', 3, 64, 64\]"),
        ("bad-truncated", r"bad-truncated\.onnx: ONNX Runtime cannot load it"),
    ],
)
def test_a_model_that_does_not_fit_its_entry_is_refused(test_models, name, message):
    with pytest.raises(ModelShapeError, match=message):
        detector(name, test_models)


@pytest.mark.parametrize("name", ["bad-fingerprint", "bad-missing"])
def test_an_altered_or_missing_file_is_refused(test_models, name):
    with pytest.raises(ManifestError, match=name):
        detector(name, test_models)


@pytest.mark.parametrize("name", [INT8, FP32])
def test_people_in_the_clip_are_found(vtest, name):
    truth = json.loads((Path(__file__).parent / "data" / "vtest-people.json").read_text())["frames"]
    model = detector(name)
    hits = people = claims = 0
    for index, boxes in truth.items():
        found = np.array([d["box"] for d in model.detect(vtest[int(index)]) if d["label"] == "person"])
        overlap = heads.iou(np.array(boxes, float), found)
        matches = (overlap > 0.5) & (overlap == overlap.max(axis=0)) & (overlap == overlap.max(axis=1, keepdims=True))
        hits, people, claims = hits + matches.sum(), people + len(boxes), claims + len(found)
    assert hits / people >= RECALL_FLOOR, f"{hits} of {people} people found"
    assert hits / claims >= PRECISION_FLOOR, f"{hits} of {claims} claims are people"


def test_int8_sees_what_fp32_sees(vtest):
    coarse, exact = detector(INT8), detector(FP32)
    for index, frame in vtest.items():
        sure = [d for d in exact.detect(frame) if d["confidence"] >= 0.6]
        found = coarse.detect(frame)
        for detection in sure:
            rivals = [d for d in found if d["class"] == detection["class"]]
            overlap = heads.iou(np.array([detection["box"]]), np.array([d["box"] for d in rivals]))
            best = int(overlap.argmax())
            assert overlap[0, best] > 0.7, f"frame {index}: {detection}"
            assert abs(rivals[best]["confidence"] - detection["confidence"]) < 0.1, f"frame {index}: {detection}"


def test_the_command_line_reads_clips_and_raw_pictures_alike(vtest, tmp_path, clips):
    clip, raw = tmp_path / "clip.json", tmp_path / "raw.json"
    reference.main(["--video", str(clips / "vtest.avi"), "--frames", "90", "--json", str(clip)])
    (tmp_path / "f.i420").write_bytes(vtest[90].to_bytes())
    reference.main(["--video", str(tmp_path / "f.i420"), "--size", "768x576", "--json", str(raw)])
    first, second = json.loads(clip.read_text()), json.loads(raw.read_text())
    assert first["frames"][0]["detections"] == second["frames"][0]["detections"]
    assert first["model"] == INT8
    assert (first["frames"][0]["frame"], first["frames"][0]["width"], first["frames"][0]["height"]) == (90, 768, 576)


def test_parity_data_says_what_the_detector_says(tmp_path, clips):
    assert parity.write(clips, tmp_path) == len(parity.MODELS) * 8
    cases = json.loads((tmp_path / "parity.json").read_text())["cases"]
    assert {(c["matrix"], c["full_range"]) for c in cases} == {("bt601", False), ("bt709", False), ("bt709", True)}
    case = next(c for c in cases if c["file"] == "vtest-1080p-bt709.i420")
    data = (tmp_path / case["file"]).read_bytes()
    frame = frames.from_bytes(data, case["width"], case["height"], case["matrix"], case["full_range"])
    assert detector(case["model"]).detect(frame) == case["detections"]
    assert len(case["detections"]) >= 5
