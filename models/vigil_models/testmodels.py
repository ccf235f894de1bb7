"""Writes tiny ONNX models with known answers, and broken ones, for the tests of the detector's loader and decoders.

Run: python -m vigil_models.testmodels --out FOLDER

The folder gets a `manifest.toml` with one entry for each:

- `fixed-yolov8`, `fixed-nanodet-yolo`, `fixed-yolox`: 64x64, three classes; whatever the picture shows, the answer is
  `FIXED_BOXES`.
- `echo-*`: 64x64, one per input layout and colour order; the confidences of classes red, green and blue are the mean of
  that channel over the canvas, 0..1, on one box that covers the canvas. They show whether layout, colour and range are
  right.
- `odd-*`: 512x512, sound on a dark picture, where they find nothing, and not on a bright one (mean above 200):
  `odd-nan` then answers no numbers, `odd-flood` a box at every anchor.
- `bad-*`: load must fail. `bad-class-count` has 3 classes where the manifest says 4, `bad-rank` lacks the batch axis,
  `bad-anchors` has one anchor too few, `bad-type` takes float NCHW where the manifest says bytes NHWC, `bad-nan` knows
  no numbers, `bad-truncated` ends half-way, `bad-fingerprint` differs from the manifest, `bad-missing` is not there.
"""

import argparse
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from vigil_models.heads import STRIDES
from vigil_models.manifest import LAYOUTS
from vigil_models.nanodet import IR_VERSION, OPSET

SIDE = 64
WIDE = 512  # a canvas with more anchors than boxes are taken
CLASSES = ("red", "green", "blue")
ANCHORS = sum((SIDE // s) ** 2 for s in STRIDES)
BRIGHT = 200.0

FIXED_BOXES = (
    # anchor, class, confidence, centre x, centre y, width, height; canvas pixels
    (9, 0, 0.9, 16.0, 12.0, 8.0, 8.0),
    (10, 0, 0.8, 17.0, 12.0, 8.0, 8.0),  # overlaps the first by 7/9: NMS drops it
    (11, 1, 0.7, 17.0, 12.0, 8.0, 8.0),  # another class: stays
    (70, 2, 0.6, 40.0, 44.0, 16.0, 24.0),  # stride 16
    (81, 0, 0.5, 32.0, 32.0, 40.0, 20.0),  # stride 32
    (80, 1, 0.2, 50.0, 20.0, 10.0, 10.0),  # below the threshold of 0.45
)


@dataclass(frozen=True)
class Spec:
    """One model to write, and its manifest entry."""

    name: str
    model: onnx.ModelProto | None = None
    head: str = "yolov8"
    layout: str = "nhwc_u8"
    colour: str = "rgb"
    classes: tuple[str, ...] = CLASSES
    side: int = SIDE


def yolov8_output() -> np.ndarray:
    """float32 [1, 7, A] with the fixed boxes."""
    output = np.zeros((1, 4 + len(CLASSES), ANCHORS), np.float32)
    for anchor, index, confidence, *box in FIXED_BOXES:
        output[0, :4, anchor] = box
        output[0, 4 + index, anchor] = confidence
    return output


def yolox_output() -> np.ndarray:
    """float32 [1, A, 8]: the same boxes before decoding; objectness 0.95."""
    output = np.zeros((1, ANCHORS, 5 + len(CLASSES)), np.float32)
    cells = [(c, r, s) for s in STRIDES for r in range(SIDE // s) for c in range(SIDE // s)]
    for anchor, index, confidence, x, y, width, height in FIXED_BOXES:
        column, row, stride = cells[anchor]
        output[0, anchor, :4] = x / stride - column, y / stride - row, np.log(width / stride), np.log(height / stride)
        output[0, anchor, 4] = 0.95
        output[0, anchor, 5 + index] = confidence / 0.95
    return output


def fixed(output: np.ndarray, layout: str = "nhwc_u8") -> onnx.ModelProto:
    """A model that looks at a picture and answers `output` ([1, ...] for any batch) all the same."""
    every_axis = [1, 2, 3]
    constants = {
        "fixed": output,
        "zero": np.zeros(1, np.float32),
        "shape": np.array([-1] + [1] * (output.ndim - 1), np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["mean"], axes=every_axis, keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Reshape", ["nothing", "shape"], ["per_image"]),
        helper.make_node("Add", ["fixed", "per_image"], ["detections"]),
    ]
    return _model(nodes, constants, layout, output.shape)


def odd(on_bright: str) -> onnx.ModelProto:
    """Finds nothing, until the picture is bright: then `nan`, or `flood`: a box of its own at every anchor."""
    anchors = sum((WIDE // s) ** 2 for s in STRIDES)
    flood = np.zeros((1, 4 + len(CLASSES), anchors), np.float32)
    flood[0, 0] = np.arange(anchors) % WIDE
    flood[0, 1] = np.arange(anchors) // WIDE * 8 + 4
    flood[0, 2:4] = 6.0
    flood[0, 4] = 0.8
    constants = {
        "flood": flood,
        "bright": np.array([BRIGHT], np.float32),
        "zero": np.zeros(1, np.float32),
        "least": np.array(0, np.float32),
        "most": np.array(1, np.float32),
        "shape": np.array([-1, 1, 1], np.int64),
    }
    # The square root of a negative number is none; so is its product with 0.
    excess = {
        "nan": [
            helper.make_node("Sub", ["bright", "mean"], ["room"]),
            helper.make_node("Sqrt", ["room"], ["root"]),
            helper.make_node("Mul", ["root", "zero"], ["excess"]),
        ],
        "flood": [
            helper.make_node("Sub", ["mean", "bright"], ["above"]),
            helper.make_node("Clip", ["above", "least", "most"], ["excess"]),
        ],
    }[on_bright]
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["mean"], axes=[1, 2, 3], keepdims=0),
        *excess,
        helper.make_node("Reshape", ["excess", "shape"], ["per_image"]),
        helper.make_node("Mul", ["flood", "per_image"], ["detections"]),
    ]
    inputs = {name for node in nodes for name in node.input}
    used = {name: values for name, values in constants.items() if name in inputs}
    return _model(nodes, used, "nhwc_u8", flood.shape, WIDE)


def echo(layout: str, colour: str) -> onnx.ModelProto:
    """Anchor 0 covers the canvas; its three class probabilities are the channels' means, red first."""
    boxes = np.zeros((1, 4 + len(CLASSES), ANCHORS), np.float32)
    boxes[0, :4, 0] = SIDE / 2, SIDE / 2, SIDE, SIDE
    first_anchor = np.zeros((1, ANCHORS), np.float32)
    first_anchor[0, 0] = 1 if layout == "nchw_f32_unit" else 1 / 255
    constants = {
        "boxes": boxes,
        "first_anchor": first_anchor,
        "red_first": np.array([0, 1, 2] if colour == "rgb" else [2, 1, 0], np.int64),
        "as_rows": np.array([-1, len(CLASSES), 1], np.int64),
        "below_the_box": np.array([0, 4, 0, 0, 0, 0], np.int64),
    }
    nodes = [
        helper.make_node("Cast", ["image"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["means"], axes=[1, 2] if layout == "nhwc_u8" else [2, 3], keepdims=0),
        helper.make_node("Gather", ["means", "red_first"], ["rgb"], axis=1),
        helper.make_node("Reshape", ["rgb", "as_rows"], ["rows"]),
        helper.make_node("MatMul", ["rows", "first_anchor"], ["scores"]),
        helper.make_node("Pad", ["scores", "below_the_box"], ["placed"]),
        helper.make_node("Add", ["placed", "boxes"], ["detections"]),
    ]
    return _model(nodes, constants, layout, boxes.shape)


def _model(
    nodes: list, constants: dict, layout: str, output_shape: tuple[int, ...], side: int = SIDE
) -> onnx.ModelProto:
    image = ("N", side, side, 3) if layout == "nhwc_u8" else ("N", 3, side, side)
    dtype = TensorProto.UINT8 if layout == "nhwc_u8" else TensorProto.FLOAT
    batched = ("N", *output_shape[1:]) if len(output_shape) == 3 else output_shape
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("image", dtype, image)],
        [helper.make_tensor_value_info("detections", TensorProto.FLOAT, batched)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="vigil")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model


def specs() -> list[Spec]:
    """Every test model that is a whole ONNX file."""
    v8 = fixed(yolov8_output())
    echoes = [
        Spec(f"echo-{layout.replace('_', '-')}-{colour}", echo(layout, colour), "yolov8", layout, colour)
        for layout in LAYOUTS
        for colour in ("rgb", "bgr")
    ]
    return [
        Spec("fixed-yolov8", v8),
        Spec("fixed-nanodet-yolo", v8, "nanodet_yolo"),
        Spec("fixed-yolox", fixed(yolox_output(), "nchw_f32_255"), "yolox", "nchw_f32_255", "bgr"),
        *echoes,
        Spec("odd-nan", odd("nan"), side=WIDE),
        Spec("odd-flood", odd("flood"), side=WIDE),
        Spec("bad-nan", fixed(yolov8_output() * np.float32("nan"))),
        Spec("bad-class-count", v8, classes=(*CLASSES, "white")),
        Spec("bad-rank", fixed(yolov8_output()[0])),
        Spec("bad-anchors", fixed(yolov8_output()[:, :, 1:])),
        Spec("bad-type", fixed(yolov8_output(), "nchw_f32_255")),
    ]


def write(out: Path) -> int:
    """Writes all models and their manifest into `out`; returns how many the manifest names."""
    out.mkdir(parents=True, exist_ok=True)
    entries = []
    for spec in specs():
        data = spec.model.SerializeToString(deterministic=True)
        entries.append(_write_one(out, spec, data, hashlib.sha256(data).hexdigest()))
    whole = fixed(yolov8_output()).SerializeToString(deterministic=True)
    half = whole[: len(whole) // 2]
    entries.append(_write_one(out, Spec("bad-truncated"), half, hashlib.sha256(half).hexdigest()))
    entries.append(_write_one(out, Spec("bad-fingerprint"), whole, hashlib.sha256(half).hexdigest()))
    entries.append(_entry(Spec("bad-missing"), hashlib.sha256(whole).hexdigest()))
    (out / "manifest.toml").write_text("\n".join(["schema = 1\n", *entries]))
    return len(entries)


def _write_one(out: Path, spec: Spec, data: bytes, sha256: str) -> str:
    (out / f"{spec.name}.onnx").write_bytes(data)
    return _entry(spec, sha256)


def _entry(spec: Spec, sha256: str) -> str:
    return f"""[[model]]
name = "{spec.name}"
file = "{spec.name}.onnx"
sha256 = "{sha256}"
head = "{spec.head}"
classes = {json.dumps(spec.classes)}

[model.input]
width = {spec.side}
height = {spec.side}
layout = "{spec.layout}"
colour = "{spec.colour}"

[model.letterbox]
anchor = "centre"
pad = 0

[model.thresholds]
confidence = 0.45
nms_iou = 0.5
"""


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="vigil_models.testmodels", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args(argv).out
    print(f"{out}: {write(out)} models")


if __name__ == "__main__":
    main()
