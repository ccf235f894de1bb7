"""Each operation on a small hand-made graph, against values worked out by hand or by a plain loop."""

import numpy as np
import pytest

from vigil_models.tfjs import ModelFormatError

TO_NHWC = [0, 2, 3, 1]
TO_NCHW = [0, 3, 1, 2]
ONE_AROUND = [[0, 0], [0, 0], [1, 1], [1, 1]]


def picture(channels=2, height=5, width=6):
    return np.random.default_rng(1).normal(size=(1, channels, height, width)).astype(np.float32)


def convolve(x, weights, stride):
    """NHWC convolution without padding; weights are [rows, columns, in, out]."""
    kh, kw = weights.shape[:2]
    rows, columns = (x.shape[1] - kh) // stride + 1, (x.shape[2] - kw) // stride + 1
    out = np.zeros((1, rows, columns, weights.shape[3]))
    for r in range(rows):
        for c in range(columns):
            patch = x[0, r * stride : r * stride + kh, c * stride : c * stride + kw]
            out[0, r, c] = np.tensordot(patch, weights, 3)
    return out


def test_transpositions_are_bookkeeping_and_cancel_out(hand_made):
    x = picture()
    hand_made.node("t", "Transpose", "x", TO_NHWC)
    hand_made.node("back", "Transpose", "t", TO_NCHW)
    np.testing.assert_array_equal(hand_made.run("t", x), x.transpose(TO_NHWC))
    np.testing.assert_array_equal(hand_made.run("back", x), x)


@pytest.mark.parametrize("stride", [1, 2])
def test_convolution_takes_in_padding_and_bias(hand_made, stride):
    x, weights = picture(), np.random.default_rng(2).normal(size=(3, 3, 2, 4)).astype(np.float32)
    bias = np.array([1, 2, 3, 4], np.float32)
    hand_made.node("p", "Pad", "x", ONE_AROUND)
    hand_made.node("t", "Transpose", "p", TO_NHWC)
    hand_made.node("c", "Conv2D", "t", weights, strides=[1, stride, stride, 1], padding="VALID", data_format="NHWC")
    hand_made.node("b", "Add", "c", bias)
    padded = np.pad(x, ONE_AROUND).transpose(TO_NHWC)
    np.testing.assert_allclose(hand_made.run("b", x), convolve(padded, weights, stride) + bias, rtol=1e-4, atol=1e-5)


def test_padding_differs_by_side(hand_made):
    x, weights = picture(1), np.ones((2, 2, 1, 1), np.float32)
    hand_made.node("t", "Transpose", "x", TO_NHWC)
    hand_made.node("p", "Pad", "t", [[0, 0], [0, 1], [2, 0], [0, 0]])
    hand_made.node("c", "Conv2D", "p", weights, strides=[1, 1, 1, 1], padding="VALID")
    padded = np.pad(x.transpose(TO_NHWC), [[0, 0], [0, 1], [2, 0], [0, 0]])
    np.testing.assert_allclose(hand_made.run("c", x), convolve(padded, weights, 1), rtol=1e-5, atol=1e-5)


def test_max_pooling_ignores_its_padding(hand_made):
    x = -1 - np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)
    hand_made.node("p", "PadV2", "x", ONE_AROUND, np.float32(-np.inf))
    hand_made.node("t", "Transpose", "p", TO_NHWC)
    hand_made.node("m", "MaxPool", "t", ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="VALID")
    hand_made.node("n", "Transpose", "m", TO_NCHW)
    np.testing.assert_array_equal(hand_made.run("n", x)[0, 0], [[-1, -2], [-5, -6]])


def test_a_zero_padded_maximum_is_refused(hand_made):
    hand_made.node("p", "Pad", "x", ONE_AROUND)
    hand_made.node("t", "Transpose", "p", TO_NHWC)
    hand_made.node("m", "MaxPool", "t", ksize=[1, 3, 3, 1], strides=[1, 2, 2, 1], padding="VALID")
    with pytest.raises(ModelFormatError, match=r"node m: MaxPool cannot take in a padding of 0\.0"):
        hand_made.run("m", picture())


def test_resize_samples_at_half_pixels(hand_made):
    x = np.array([[[[0, 4]]]], np.float32)
    hand_made.node("t", "Transpose", "x", TO_NHWC)
    hand_made.node("r", "ResizeBilinear", "t", np.array([1, 4]), half_pixel_centers=True, align_corners=False)
    # output centres 0.25, 0.75, 1.25, 1.75 pixels; input centres 0.5 and 1.5
    np.testing.assert_allclose(hand_made.run("r", x).ravel(), [0, 1, 3, 4])


def test_concatenation_split_and_elementwise_operations(hand_made):
    x = picture(2)
    hand_made.node("n", "LeakyRelu", "x", alpha=0.1)
    hand_made.node("s", "Sigmoid", "x")
    hand_made.node("both", "ConcatV2", "n", "s", np.int32(1))
    hand_made.node("parts", "SplitV", "both", np.array([1, 3]), np.int32(1))
    hand_made.node("sum", "Add", "n", "s")
    leaky, sigmoid = np.where(x < 0, x * 0.1, x), 1 / (1 + np.exp(-x))
    together = np.concatenate([leaky, sigmoid], axis=1)
    np.testing.assert_allclose(hand_made.run("parts:0", x), together[:, :1], rtol=1e-5)
    np.testing.assert_allclose(hand_made.run("parts:1", x), together[:, 1:], rtol=1e-5)
    np.testing.assert_allclose(hand_made.run("sum", x), leaky + sigmoid, rtol=1e-5)


def test_concatenation_axis_follows_the_layout(hand_made):
    x = picture(2)
    hand_made.node("t", "Transpose", "x", TO_NHWC)
    hand_made.node("both", "ConcatV2", "t", "t", np.int32(3))
    np.testing.assert_array_equal(hand_made.run("both", x), np.concatenate([x.transpose(TO_NHWC)] * 2, axis=3))


def test_adding_tensors_of_different_layout_is_refused(hand_made):
    hand_made.node("t", "Transpose", "x", TO_NHWC)
    hand_made.node("sum", "Add", "x", "t")
    with pytest.raises(ModelFormatError, match="node sum: Add of tensors laid out differently"):
        hand_made.run("sum", picture())


@pytest.mark.parametrize(
    ("op", "attrs", "message"),
    [
        ("Softplus", {}, "operation Softplus is not supported"),
        ("LeakyRelu", {"alpha": 0.1}, "LeakyRelu after a Pad is not supported"),
        ("Conv2D", {"strides": [1] * 4, "padding": "VALID"}, "Conv2D on a tensor that is not NHWC"),
    ],
)
def test_what_cannot_be_converted_is_named(hand_made, op, attrs, message):
    hand_made.node("p", "Pad", "x", ONE_AROUND)
    hand_made.node("bad", op, "p", np.ones((1, 1, 2, 2), np.float32), **attrs)
    with pytest.raises(ModelFormatError, match=f"node bad: {message}"):
        hand_made.run("bad", picture())


def test_tensorflows_own_padding_is_refused(hand_made):
    hand_made.node("t", "Transpose", "x", TO_NHWC)
    hand_made.node("c", "Conv2D", "t", np.ones((3, 3, 2, 1), np.float32), strides=[1, 2, 2, 1], padding="SAME")
    with pytest.raises(ModelFormatError, match="node c: padding SAME"):
        hand_made.run("c", picture())
