"""Letterbox, colours and tensor layouts."""

import dataclasses

import cv2
import numpy as np
import pytest

from vigil_models import frames, manifest, preprocess

MODEL = dataclasses.replace(
    manifest.load(manifest.default_manifest()), width=64, height=64, anchor="top_left", any_size=False
)
RED_601, RED_709 = (81, 90, 240), (63, 102, 240)


def uniform(width, height, yuv, **kind):
    half = (-(-height // 2), -(-width // 2))
    planes = (np.full(shape, value, np.uint8) for shape, value in zip(((height, width), half, half), yuv, strict=True))
    return frames.Frame(*planes, **kind)


@pytest.mark.parametrize(
    ("frame", "canvas", "content", "centred_offset"),
    [
        ((768, 576), (544, 416), (544, 408), (0, 4)),
        ((1920, 1080), (544, 416), (544, 306), (0, 55)),
        ((1920, 1080), (544, 320), (544, 306), (0, 7)),
        ((1080, 1920), (544, 416), (234, 416), (155, 0)),
        ((640, 272), (544, 416), (544, 232), (0, 92)),
        ((5, 3), (64, 64), (64, 38), (0, 13)),
        ((4000, 2), (64, 64), (64, 2), (0, 31)),
    ],
)
def test_content_is_even_and_keeps_the_pictures_shape(frame, canvas, content, centred_offset):
    model = dataclasses.replace(MODEL, width=canvas[0], height=canvas[1])
    picture = uniform(*frame, RED_601)
    assert preprocess.letterbox(picture, model) == preprocess.Letterbox(frame, content, (0, 0), canvas)
    centred = dataclasses.replace(model, anchor="centre")
    assert preprocess.letterbox(picture, centred).offset == centred_offset


def test_a_model_of_any_size_gets_the_smallest_canvas_that_holds_the_picture():
    model = dataclasses.replace(MODEL, width=544, height=416, any_size=True)
    for frame, canvas in (((768, 576), (544, 416)), ((1920, 1080), (544, 320)), ((1080, 1920), (256, 416))):
        tensor, fit = preprocess.to_tensor(uniform(*frame, RED_601), model)
        assert fit.canvas == canvas
        assert tensor.shape == (1, canvas[1], canvas[0], 3)


def test_boxes_come_back_to_frame_pixels():
    model = dataclasses.replace(MODEL, width=544, height=416, anchor="centre")
    fit = preprocess.letterbox(uniform(768, 576, RED_601), model)
    whole = np.array([[0, 4, 544, 408]])
    np.testing.assert_allclose(fit.to_frame(whole), [[0, 0, 768, 576]])


@pytest.mark.parametrize(
    ("yuv", "kind", "rgb"),
    [
        ((235, 128, 128), {}, (255, 255, 255)),
        ((16, 128, 128), {}, (0, 0, 0)),
        ((255, 128, 128), {"full_range": True}, (255, 255, 255)),
        (RED_601, {}, (254, 0, 0)),
        (RED_709, {"matrix": "bt709"}, (255, 1, 0)),
        ((76, 85, 255), {"full_range": True}, (254, 0, 0)),
        ((54, 99, 255), {"matrix": "bt709", "full_range": True}, (254, 0, 0)),
    ],
)
def test_known_colours_of_each_matrix_and_range(yuv, kind, rgb):
    small = preprocess.small_rgb(uniform(8, 8, yuv, **kind), 4, 4)
    assert np.abs(small.astype(int) - rgb).max() <= 1


def test_bt601_equals_opencvs_conversion_byte_for_byte():
    rng = np.random.default_rng(6)
    luma = rng.integers(0, 256, (32, 48), np.uint8)
    cb, cr = rng.integers(0, 256, (2, 16, 24), np.uint8)
    planar = np.concatenate([luma.ravel(), cb.ravel(), cr.ravel()]).reshape(48, 48)
    full = (plane.repeat(2, 0).repeat(2, 1) for plane in (cb, cr))
    np.testing.assert_array_equal(
        preprocess.yuv_to_rgb(luma, *full, "bt601", False), cv2.cvtColor(planar, cv2.COLOR_YUV2RGB_I420)
    )


@pytest.mark.parametrize("matrix", frames.MATRICES)
@pytest.mark.parametrize("full_range", [False, True])
def test_integer_colours_are_within_one_level_of_the_standards_formula(matrix, full_range):
    kr, kb = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}[matrix]
    rng = np.random.default_rng(7)
    lows, highs = ((0, 0), (256, 256)) if full_range else ((16, 16), (236, 241))
    y = rng.integers(lows[0], highs[0], 20_000)
    u, v = rng.integers(lows[1], highs[1], (2, 20_000))
    black, luma, chroma = (0, 1, 1) if full_range else (16, 255 / 219, 255 / 224)
    yf, uf, vf = (y - black) * luma, (u - 128) * chroma, (v - 128) * chroma
    red, blue = yf + 2 * (1 - kr) * vf, yf + 2 * (1 - kb) * uf
    green = (yf - kr * red - kb * blue) / (1 - kr - kb)
    expected = np.clip(np.stack([red, green, blue], axis=-1), 0, 255)
    found = preprocess.yuv_to_rgb(*(p.astype(np.uint8) for p in (y, u, v)), matrix, full_range)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(("colour", "first"), [("rgb", 254), ("bgr", 0)])
@pytest.mark.parametrize(
    ("layout", "scale", "pixel"),
    [("nhwc_u8", 1, np.s_[0, 0, 0]), ("nchw_f32_255", 1, np.s_[0, :, 0, 0]), ("nchw_f32_unit", 255, np.s_[0, :, 0, 0])],
)
def test_layouts_and_colour_order(layout, colour, first, scale, pixel):
    model = dataclasses.replace(MODEL, layout=layout, colour=colour)
    tensor, _ = preprocess.to_tensor(uniform(64, 64, RED_601), model)
    assert tensor.shape == ((1, 64, 64, 3) if layout == "nhwc_u8" else (1, 3, 64, 64))
    assert tensor.dtype == (np.uint8 if layout == "nhwc_u8" else np.float32)
    assert tensor[pixel][0] == pytest.approx(first / scale)


def test_the_rest_of_the_canvas_is_padding():
    tensor, _ = preprocess.to_tensor(uniform(64, 32, RED_601), MODEL)
    assert (tensor[0, 32:] == 114).all()
    assert (tensor[0, :32, :, 0] == 254).all()
