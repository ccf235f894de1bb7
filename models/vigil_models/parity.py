"""Writes frames and the boxes that must be found on them, for the test that compares the Rust detector with this one.

Run: python -m vigil_models.parity --clips FOLDER --out FOLDER

`parity.json` holds a list of cases: model, fingerprint, file (raw packed I420), width, height, matrix, full_range,
and detections (class, label, confidence, box: left, top, width, height in frame pixels).
"""

import argparse
import json
from pathlib import Path

import cv2

from vigil_models import frames, manifest
from vigil_models.reference import Detector

MODELS = ("nanodet-g-416x544-int8", "nanodet-g-416x544-fp32")
VTEST_FRAMES = (0, 100, 300, 500, 700)
BIKES_FRAMES = (120,)
FULL_HD = (1920, 1080)


def pictures(clips: Path) -> dict[str, frames.Frame]:
    """The frames by name: people (BT.601), vehicles, and 1080p in both matrices' ranges (BT.709, limited and full)."""
    people = dict(frames.clip_frames(clips / "vtest.avi", set(VTEST_FRAMES)))
    vehicles = dict(frames.clip_frames(clips / "bikes.mp4", set(BIKES_FRAMES)))
    named = {f"vtest-{i:06}": frame for i, frame in people.items()}
    named |= {f"bikes-{i:06}": frame for i, frame in vehicles.items()}
    named["vtest-1080p-bt709"] = upscaled(people[100], full_range=False)
    named["vtest-1080p-bt709-full"] = upscaled(people[300], full_range=True)
    return named


def upscaled(frame: frames.Frame, full_range: bool) -> frames.Frame:
    """A synthetic 1080p picture: the planes enlarged, and declared to be BT.709."""
    width, height = FULL_HD
    luma = cv2.resize(frame.y, (width, height), interpolation=cv2.INTER_CUBIC)
    chroma = (cv2.resize(p, (width // 2, height // 2), interpolation=cv2.INTER_CUBIC) for p in (frame.u, frame.v))
    return frames.Frame(luma, *chroma, matrix="bt709", full_range=full_range)


def write(clips: Path, out: Path) -> int:
    """Writes frames and expectations into `out`; returns the number of cases."""
    out.mkdir(parents=True, exist_ok=True)
    named, cases = pictures(clips), []
    for name, frame in named.items():
        (out / f"{name}.i420").write_bytes(frame.to_bytes())
    for model in MODELS:
        detector = Detector(manifest.load(manifest.default_manifest(), model))
        cases += [_case(detector, name, frame) for name, frame in named.items()]
    (out / "parity.json").write_text(json.dumps({"cases": cases}, indent=1) + "\n")
    return len(cases)


def _case(detector: Detector, name: str, frame: frames.Frame) -> dict:
    return {
        "model": detector.model.name,
        "fingerprint": detector.model.sha256,
        "file": f"{name}.i420",
        "width": frame.width,
        "height": frame.height,
        "matrix": frame.matrix,
        "full_range": frame.full_range,
        "detections": detector.detect(frame),
    }


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="vigil_models.parity", description=__doc__)
    parser.add_argument("--clips", type=Path, default=manifest.cache_dir() / "clips")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    print(f"{arguments.out}: {write(arguments.clips, arguments.out)} cases")


if __name__ == "__main__":
    main()
