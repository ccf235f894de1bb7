"""Writes pictures with drawn plates, and what must be found and read on them, for the test of the Rust plate models.

Run: python -m vigil_models.plate_parity --clips FOLDER --out FOLDER

`plates.json` holds a list of cases: model, file (raw packed I420), width, height, matrix, full_range, vehicle (left,
top, width, height in frame pixels), and plate: null, or text (as drawn), confidence, corners (frame pixels, from the
top left clockwise) and characters (as read, each with its confidence). `street` is
a picture wider than what a camera shows of it, with a real car that carries a drawn plate: file, width, height, matrix,
full_range, text.
"""

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from vigil_models import frames, manifest, plate_manifest, plate_pictures
from vigil_models.plate_pictures import BLUE, GREEN, View
from vigil_models.plate_reference import PlateReference

STREET_FRAME = 120
VEHICLE = (150.0, 60.0, 340.0, 300.0)
"""Where a vehicle would be, frame pixels."""
PICTURE = (640, 384)
CAR_FRAME = 30
CAR = (360, 7, 279, 265)
"""In that frame; left, top, width, height in its pixels."""
STREET_SCALE = 2.5
"""The street is enlarged by so much, so that the plate has the size that a plate has in a camera's picture."""
STREET_TEXT = "京A12345"
SEED = 20
VIEWS = (
    (BLUE, View(height=24)),
    (GREEN, View(height=30, yaw=20, roll=-3)),
    (BLUE, View(height=60, yaw=-25, roll=4, noise=4)),
    (GREEN, View(height=100, roll=2, blur=1.5)),
    (BLUE, View(height=16, blur=0.6, noise=3, light=0.7)),
)


def write(clips: Path, out: Path) -> int:
    """Writes frames and expectations into `out`; returns the number of cases."""
    out.mkdir(parents=True, exist_ok=True)
    pair = plate_manifest.load(manifest.default_manifest())
    models, random = PlateReference(pair), np.random.default_rng(SEED)
    street = cv2.resize(background(clips, STREET_FRAME), PICTURE, interpolation=cv2.INTER_CUBIC)
    shown = [("plate-none", "", street, "bt601")]
    for index, (style, view) in enumerate(VIEWS):
        text = plate_pictures.random_text(random, style)
        centre = (VEHICLE[0] + VEHICLE[2] * 0.5, VEHICLE[1] + VEHICLE[3] * 0.7)
        seen = plate_pictures.lay(street, plate_pictures.draw(text, style), centre, view, random)
        shown.append((f"plate-{index}", text, seen, "bt709" if index % 2 else "bt601"))
    cases = []
    for name, text, picture, matrix in shown:
        frame = to_frame(picture, matrix)
        (out / f"{name}.i420").write_bytes(frame.to_bytes())
        cases.append({"model": pair.name, "file": f"{name}.i420", **_case(models, frame, text)})
    golden = {"cases": cases, "street": _street(clips, out, random)}
    (out / "plates.json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
    return len(cases)


def _street(clips: Path, out: Path, random: np.random.Generator) -> dict:
    """The car in the street gets a plate at its bumper."""
    street = cv2.resize(
        background(clips, CAR_FRAME), None, fx=STREET_SCALE, fy=STREET_SCALE, interpolation=cv2.INTER_CUBIC
    )
    left, top, width, height = (STREET_SCALE * side for side in CAR)
    view = View(height=0.16 * width * plate_pictures.HEIGHT / BLUE.width)
    plate = plate_pictures.draw(STREET_TEXT, BLUE)
    seen = plate_pictures.lay(street, plate, (left + 0.45 * width, top + 0.75 * height), view, random)
    frame = to_frame(seen, "bt709")
    (out / "plate-street.i420").write_bytes(frame.to_bytes())
    return {"file": "plate-street.i420", "text": STREET_TEXT, **_picture(frame)}


def background(clips: Path, number: int) -> np.ndarray:
    """A frame of a street, uint8 BGR."""
    ((_, frame),) = frames.clip_frames(clips / "bikes.mp4", {number})
    planes = np.concatenate([plane.ravel() for plane in (frame.y, frame.u, frame.v)])
    return cv2.cvtColor(planes.reshape(frame.height * 3 // 2, frame.width), cv2.COLOR_YUV2BGR_I420)


def to_frame(picture: np.ndarray, matrix: str) -> frames.Frame:
    """A frame of a BGR picture with even sides, BT.601; `matrix` is what it declares: some cameras declare another."""
    height, width = picture.shape[:2]
    packed = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
    return frames.from_bytes(packed.tobytes(), width, height, matrix)


def _case(models: PlateReference, frame: frames.Frame, text: str) -> dict:
    found = models.find(frame, VEHICLE)
    plate = found and {
        "text": text,
        "confidence": found.confidence,
        "corners": found.corners.tolist(),
        "characters": models.read(frame, found.corners),
    }
    return {"vehicle": VEHICLE, "plate": plate, **_picture(frame)}


def _picture(frame: frames.Frame) -> dict:
    return {"width": frame.width, "height": frame.height, "matrix": frame.matrix, "full_range": frame.full_range}


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="vigil_models.plate_parity", description=__doc__)
    parser.add_argument("--clips", type=Path, default=manifest.cache_dir() / "clips")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args(argv)
    print(f"{arguments.out}: {write(arguments.clips, arguments.out)} cases")


if __name__ == "__main__":
    main()
