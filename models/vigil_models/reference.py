"""What a detector must answer, computed the plain way: the Rust pipeline is compared with this.

Run: python -m vigil_models.reference --model nanodet-g-416x544-int8 --video clip.avi --frames 0,100 --json out.json
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

from vigil_models import frames, heads, manifest, preprocess

_TYPES = {"nhwc_u8": "tensor(uint8)", "nchw_f32_255": "tensor(float)", "nchw_f32_unit": "tensor(float)"}


class ModelShapeError(Exception):
    """The model file does not agree with its manifest entry; the message says what was expected and found."""


class Detector:
    """One model of the manifest, loaded and checked."""

    def __init__(self, model: manifest.Model):
        manifest.check_fingerprint(model)
        self.model = model
        self._session = session(model.file)
        _check_interface(self._session, model)

    def detect(self, frame: frames.Frame, confidence: float | None = None) -> list[dict]:
        """Objects in frame pixels (left, top, width, height), most confident first."""
        tensor, fit = preprocess.to_tensor(frame, self.model)
        output = self.run(tensor)
        threshold = self.model.confidence if confidence is None else confidence
        found = heads.select(heads.decode(output, self.model, fit.canvas), threshold, self.model.nms_iou)
        return [
            {
                "class": int(index),
                "label": self.model.classes[index],
                "confidence": float(score),
                "box": [float(side) for side in box],
            }
            for index, score, box in zip(found.classes, found.confidences, fit.to_frame(found.ltwh), strict=True)
        ]

    def run(self, tensor: np.ndarray) -> np.ndarray:
        """The raw output for an input tensor."""
        return self._session.run(None, {self._session.get_inputs()[0].name: tensor})[0]


def session(path: Path) -> onnxruntime.InferenceSession:
    """A CPU session set up as the product does it: one thread, which does not spin while it waits."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's exceptions share no base class of their own
        raise ModelShapeError(f"{path}: ONNX Runtime cannot load it: {error}") from error


def _check_interface(loaded: onnxruntime.InferenceSession, model: manifest.Model) -> None:
    inputs, outputs = loaded.get_inputs(), loaded.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelShapeError(
            f"model {model.name}: expected one input and one output, found {len(inputs)} and {len(outputs)}"
        )
    size = (model.height, model.width)
    wanted = (*size, 3) if model.layout == "nhwc_u8" else (3, *size)
    _check(model, "input", inputs[0], _TYPES[model.layout], wanted)
    _check(model, "output", outputs[0], "tensor(float)", heads.expected_shape(model, (model.width, model.height)))


def _check(model: manifest.Model, which: str, found, dtype: str, shape: tuple[int, ...]) -> None:
    """Compares type and shape. An axis that the file leaves open fits; a fixed batch axis must be 1."""
    fits = len(found.shape) == len(shape) + 1 and all(
        have == want or not isinstance(have, int) for have, want in zip(found.shape, (1, *shape), strict=True)
    )
    if found.type != dtype or not fits:
        raise ModelShapeError(
            f"model {model.name}: {which} should be {dtype} [N, {', '.join(map(str, shape))}], "
            f"found {found.type} {found.shape}"
        )


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="vigil_models.reference", description="Detect objects on frames of a clip.")
    parser.add_argument("--manifest", type=Path, default=manifest.default_manifest())
    parser.add_argument("--model", help="name in the manifest; its default when left out")
    parser.add_argument("--video", type=Path, required=True, help="a clip, or raw packed I420 with --size")
    parser.add_argument("--size", metavar="WxH", help="the video is one raw I420 picture of this size")
    parser.add_argument("--matrix", choices=frames.MATRICES, help="colour matrix; by height when left out")
    parser.add_argument("--frames", default="0", help="comma-separated frame numbers, from 0")
    parser.add_argument("--confidence", type=float, help="instead of the manifest's threshold")
    parser.add_argument("--json", type=Path, help="write here instead of standard output")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    arguments = _arguments(argv)
    detector = Detector(manifest.load(arguments.manifest, arguments.model))
    if arguments.size:
        width, height = map(int, arguments.size.split("x"))
        matrix = arguments.matrix or frames.default_matrix(height)
        pictures = [(0, frames.from_bytes(arguments.video.read_bytes(), width, height, matrix))]
    else:
        wanted = {int(number) for number in arguments.frames.split(",")}
        pictures = frames.clip_frames(arguments.video, wanted, arguments.matrix)
    answer = {
        "model": detector.model.name,
        "fingerprint": detector.model.sha256,
        "frames": [
            {"frame": i, "width": f.width, "height": f.height, "detections": detector.detect(f, arguments.confidence)}
            for i, f in pictures
        ],
    }
    text = json.dumps(answer, indent=1) + "\n"
    if arguments.json:
        arguments.json.write_text(text)
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main()
