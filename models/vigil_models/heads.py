"""Reads the output tensors of the supported heads, and thins the boxes out.

YOLOX: Ge et al., "YOLOX: Exceeding YOLO Series in 2021", https://arxiv.org/abs/2107.08430, section 2.
"""

from dataclasses import dataclass

import numpy as np

from vigil_models.manifest import Model

STRIDES = (8, 16, 32)


class OutputShapeError(Exception):
    """The model's output is not what its head and its classes ask for."""


@dataclass(frozen=True)
class Boxes:
    """n boxes in canvas pixels, each with its best class."""

    ltwh: np.ndarray
    """float [n, 4]: left, top, width, height."""
    classes: np.ndarray
    """int [n]"""
    confidences: np.ndarray
    """float [n], 0..1"""

    def take(self, chosen) -> "Boxes":
        return Boxes(self.ltwh[chosen], self.classes[chosen], self.confidences[chosen])


def expected_shape(model: Model, canvas: tuple[int, int]) -> tuple[int, int]:
    """The output's shape without its batch axis; `canvas` is the input's width and height."""
    anchors = sum((canvas[0] // s) * (canvas[1] // s) for s in STRIDES)
    count = len(model.classes)
    return (anchors, 5 + count) if model.head == "yolox" else (4 + count, anchors)


def decode(output: np.ndarray, model: Model, canvas: tuple[int, int]) -> Boxes:
    """All anchors of one image, each with its best class: `output` is [1, ...] as the model gave it for that canvas."""
    expected = (1, *expected_shape(model, canvas))
    if output.shape != expected:
        raise OutputShapeError(
            f"model {model.name}: head {model.head} with {len(model.classes)} classes at {canvas[0]}x{canvas[1]} "
            f"gives {expected}, found {output.shape}"
        )
    rows = _yolox_rows(output[0], canvas) if model.head == "yolox" else output[0]
    centre, size, scores = rows[:2].T, rows[2:4].T, rows[4:]
    best = scores.argmax(axis=0)
    return Boxes(np.hstack([centre - size / 2, size]), best, scores[best, np.arange(best.size)])


def _yolox_rows(output: np.ndarray, canvas: tuple[int, int]) -> np.ndarray:
    """[A, 5 + C] raw to [4 + C, A] decoded."""
    grid, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: canvas[1] // stride, : canvas[0] // stride]
        grid.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    grid, strides = np.concatenate(grid), np.concatenate(strides)
    centre = (output[:, :2] + grid) * strides
    size = np.exp(output[:, 2:4]) * strides
    return np.hstack([centre, size, output[:, 4:5] * output[:, 5:]]).T


def select(boxes: Boxes, confidence: float, nms_iou: float) -> Boxes:
    """Drops boxes below `confidence`, then, within each class, those that overlap a better one by more than `nms_iou`.

    The result is ordered by confidence, highest first; equal ones by anchor.
    """
    boxes = boxes.take(np.flatnonzero(boxes.confidences >= confidence))
    boxes = boxes.take(np.argsort(-boxes.confidences, kind="stable"))
    kept: list[int] = []
    for i in range(boxes.confidences.size):
        rivals = [k for k in kept if boxes.classes[k] == boxes.classes[i]]
        if not rivals or iou(boxes.ltwh[[i]], boxes.ltwh[rivals]).max() <= nms_iou:
            kept.append(i)
    return boxes.take(kept)


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of [n, 4] and [m, 4] boxes (left, top, width, height): [n, m]."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = first[:, 2:].prod(axis=1)[:, None] + second[:, 2:].prod(axis=1)[None]
    return shared / np.maximum(areas - shared, np.finfo(np.float32).tiny)
