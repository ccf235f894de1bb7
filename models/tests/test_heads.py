"""Decoding and non-maximum suppression, against values worked out by hand."""

import dataclasses

import numpy as np
import pytest

from vigil_models import heads, manifest
from vigil_models.heads import Boxes

MODEL = dataclasses.replace(
    manifest.load(manifest.default_manifest()), head="yolov8", width=64, height=32, classes=("a", "b")
)
CANVAS = (64, 32)
ANCHORS = 8 * 4 + 4 * 2 + 2 * 1


def boxes(*rows):
    """Rows of left, top, width, height, class, confidence."""
    table = np.array(rows, float).reshape(-1, 6)
    return Boxes(table[:, :4], table[:, 4].astype(int), table[:, 5])


@pytest.mark.parametrize("head", ["yolov8", "nanodet_yolo"])
def test_centre_and_size_become_left_and_top_and_the_best_class_wins(head):
    output = np.zeros((1, 6, ANCHORS), np.float32)
    output[0, :, 3] = 10, 20, 4, 6, 0.25, 0.5
    found = heads.decode(output, dataclasses.replace(MODEL, head=head), CANVAS)
    assert found.ltwh[3].tolist() == [8, 17, 4, 6]
    assert (found.classes[3], found.confidences[3]) == (1, 0.5)
    assert found.ltwh.shape == (ANCHORS, 4)


@pytest.mark.parametrize(
    ("anchor", "column", "row", "stride"), [(0, 0, 0, 8), (9, 1, 1, 8), (32, 0, 0, 16), (37, 1, 1, 16), (41, 1, 0, 32)]
)
def test_yolox_offsets_count_from_the_cell_and_sizes_are_exponents(anchor, column, row, stride):
    output = np.zeros((1, ANCHORS, 7), np.float32)
    output[0, anchor] = 0.5, 0.25, np.log(2), 0, 0.5, 0.5, 0.25
    found = heads.decode(output, dataclasses.replace(MODEL, head="yolox"), CANVAS)
    centre_x, centre_y = (column + 0.5) * stride, (row + 0.25) * stride
    np.testing.assert_allclose(found.ltwh[anchor], [centre_x - stride, centre_y - stride / 2, 2 * stride, stride])
    assert (found.classes[anchor], found.confidences[anchor]) == (0, 0.25)


def test_a_wrong_shape_says_what_was_expected_and_found():
    with pytest.raises(heads.OutputShapeError, match=r"2 classes at 64x32 gives \(1, 6, 42\), found \(1, 84, 42\)"):
        heads.decode(np.zeros((1, 84, ANCHORS), np.float32), MODEL, CANVAS)
    with pytest.raises(heads.OutputShapeError, match=r"gives \(1, 42, 7\), found \(1, 7, 42\)"):
        heads.decode(np.zeros((1, 7, ANCHORS), np.float32), dataclasses.replace(MODEL, head="yolox"), CANVAS)


def test_suppression_is_by_class_and_keeps_the_confident():
    found = heads.select(
        boxes(
            (0, 0, 10, 10, 0, 0.6),
            (1, 0, 10, 10, 0, 0.9),
            (1, 0, 10, 10, 1, 0.7),
            (50, 50, 10, 10, 0, 0.3),
            (30, 0, 10, 10, 0, 0.5),
        ),
        confidence=0.5,
        nms_iou=0.5,
    )
    assert found.confidences.tolist() == [0.9, 0.7, 0.5]
    assert found.classes.tolist() == [0, 1, 0]


def test_an_overlap_of_just_the_limit_stays():
    pair = boxes((0, 0, 10, 10, 0, 0.9), (0, 0, 10, 5, 0, 0.8))  # IoU is 1/2
    assert len(heads.select(pair, 0, 0.5).confidences) == 2
    assert len(heads.select(pair, 0, 0.49).confidences) == 1


def test_a_suppressed_box_suppresses_nothing():
    chain = boxes((0, 0, 10, 10, 0, 0.9), (4, 0, 10, 10, 0, 0.8), (8, 0, 10, 10, 0, 0.7))
    assert heads.select(chain, 0, 0.4).confidences.tolist() == [0.9, 0.7]


def test_equal_confidences_keep_the_anchors_order():
    pair = boxes((0, 0, 10, 10, 0, 0.5), (1, 0, 10, 10, 0, 0.5))
    assert heads.select(pair, 0, 0.5).ltwh[0].tolist() == [0, 0, 10, 10]


def test_iou_of_known_boxes():
    a = np.array([[0, 0, 10, 10]])
    b = np.array([[0, 0, 10, 10], [5, 0, 10, 10], [10, 0, 10, 10], [0, 0, 0, 0]])
    np.testing.assert_allclose(heads.iou(a, b), [[1, 50 / 150, 0, 0]])
