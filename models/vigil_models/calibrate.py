"""Measures the activation ranges that the quantiser uses. Needed only when the network or its input changes.

Run: python -m vigil_models.calibrate --tfjs nanodet.json --clips FOLDER --out models/calibration/nanodet-g.json
"""

import argparse
import json
from pathlib import Path

import numpy as np
from onnxruntime.quantization import CalibrationDataReader

from vigil_models import frames, nanodet, preprocess, tfjs
from vigil_models.manifest import Model, default_manifest, load
from vigil_models.quantise import quantise

FRAMES = {"vtest.avi": range(0, 795, 33), "bikes.mp4": range(0, 250, 10)}
"""Some 25 frames of each clip: people on a plaza, vehicles on a street."""


class _Reader(CalibrationDataReader):
    def __init__(self, tensors: list[np.ndarray]):
        self._remaining = iter(tensors)

    def get_next(self) -> dict | None:
        tensor = next(self._remaining, None)
        return None if tensor is None else {"image": tensor}


def inputs(clips: Path, model: Model) -> list[np.ndarray]:
    """The calibration frames as input tensors."""
    return [
        preprocess.to_tensor(frame, model)[0]
        for clip, indices in FRAMES.items()
        for _, frame in frames.clip_frames(clips / clip, set(indices))
    ]


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="vigil_models.calibrate", description=__doc__)
    parser.add_argument("--tfjs", type=Path, required=True, help="the source graph's JSON")
    parser.add_argument("--clips", type=Path, required=True, help="folder with the calibration clips")
    parser.add_argument("--out", type=Path, required=True, help="the calibration cache to write")
    arguments = parser.parse_args(argv)
    model = load(default_manifest())
    arguments.out.unlink(missing_ok=True)
    network = nanodet.build(tfjs.load(arguments.tfjs))
    quantise(network, arguments.out, _Reader(inputs(arguments.clips, model)))
    measured = json.loads(arguments.out.read_text())
    arguments.out.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
