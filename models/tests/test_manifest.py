"""The manifest's rules, as models/README.md states them."""

import hashlib

import pytest

from vigil_models import manifest, testmodels
from vigil_models.manifest import ManifestError

ENTRY = testmodels._entry(testmodels.Spec("mine"), "0" * 64)


def load(tmp_path, text, name="mine"):
    (tmp_path / "m.toml").write_text("schema = 1\n" + text)
    return manifest.load(tmp_path / "m.toml", name)


def test_every_entry_of_the_repositorys_manifest_loads():
    models = manifest.load_all(manifest.default_manifest())
    assert len(models) == 2
    assert manifest.load(manifest.default_manifest()).name == "nanodet-g-416x544-int8"
    assert all(len(m.classes) == 80 and m.classes[0] == "person" and m.classes[7] == "truck" for m in models)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('head = "yolov8"', 'head = "yolov8"\nheat = 1', r"model 'mine': unknown keys: \['heat'\]"),
        ("pad = 0", "pad = 0\ncolor = 1", r"letterbox: unknown keys: \['color'\]"),
        ("pad = 0", "", r"letterbox: keys missing: \['pad'\]"),
        ("pad = 0", "pad = 256", "letterbox.pad is out of range"),
        ('head = "yolov8"', 'head = "yolov5"', "head is out of range"),
        ("width = 64", "width = 100", "input.width is out of range"),
        ("width = 64", "any_size = 1\nwidth = 64", "input.any_size is out of range"),
        (
            "nms_iou = 0.5",
            "nms_iou = 0.5\n[model.confidence]\neven_odds = 1\nslope = 2",
            "confidence.even_odds is out of range",
        ),
        (
            "nms_iou = 0.5",
            "nms_iou = 0.5\n[model.confidence]\neven_odds = 0.5",
            r"confidence: keys missing: \['slope'\]",
        ),
        ("confidence = 0.45", "confidence = 45", "thresholds.confidence is out of range"),
        ('"green"', '"red"', "classes must be lower-case names without duplicates"),
        ('"green"', '"Green"', "classes must be lower-case names without duplicates"),
        ('name = "mine"', 'name = "My model"', "no model named 'mine'; it has"),
        ("0" * 64, "abc", "sha256 is out of range"),
        ("[[model]]", "default = 3\nbest = 4\n[[model]]", r"unknown keys: \['best'\]"),
    ],
)
def test_what_is_not_as_specified_is_named(tmp_path, old, new, message):
    assert old in ENTRY
    with pytest.raises(ManifestError, match=message):
        load(tmp_path, ENTRY.replace(old, new, 1))


def test_another_schema_and_a_name_twice_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="a model name is missing or stands twice"):
        load(tmp_path, ENTRY + ENTRY)
    (tmp_path / "m.toml").write_text("schema = 2\n" + ENTRY)
    with pytest.raises(ManifestError, match="schema is 2, expected 1"):
        manifest.load(tmp_path / "m.toml", "mine")


def test_a_file_beside_the_manifest_comes_before_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))
    assert load(tmp_path, ENTRY).file == tmp_path / "cache" / "models" / "mine.onnx"
    (tmp_path / "mine.onnx").touch()
    assert load(tmp_path, ENTRY).file == tmp_path / "mine.onnx"


def test_the_cache_follows_the_environment(monkeypatch):
    monkeypatch.delenv("VIGIL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert str(manifest.cache_dir()) == "/x/vigil"
    monkeypatch.setenv("VIGIL_CACHE", "/y")
    assert str(manifest.cache_dir()) == "/y"


def test_missing_and_altered_files_are_refused(tmp_path):
    (tmp_path / "mine.onnx").write_bytes(b"weights")
    right = hashlib.sha256(b"weights").hexdigest()
    manifest.check_fingerprint(load(tmp_path, ENTRY.replace("0" * 64, right)))
    with pytest.raises(ManifestError, match=f"has sha256 {right}, the manifest says 000"):
        manifest.check_fingerprint(load(tmp_path, ENTRY))
    model = load(tmp_path, ENTRY)
    (tmp_path / "mine.onnx").unlink()
    with pytest.raises(ManifestError, match="is missing; run scripts/setup"):
        manifest.check_fingerprint(model)


def test_classes_may_stand_in_a_file_beside_the_manifest(tmp_path):
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    assert load(tmp_path, ENTRY.replace('["red", "green", "blue"]', '"names.txt"')).classes == ("cat", "dog")
