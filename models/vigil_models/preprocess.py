"""From a frame to the model's input tensor: letterbox, colour, layout. models/README.md states the rules."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from vigil_models.frames import Frame
from vigil_models.manifest import SIDE_STEP, Model

_SHIFT = 20
_COLOUR = {
    # matrix, full range: black level, then luma, Cr to red, Cr to green, Cb to green, Cb to blue, times 2^20
    ("bt601", False): (16, 1220542, 1673527, -852492, -409993, 2116026),
    ("bt601", True): (0, 1048576, 1470104, -748826, -360853, 1858077),
    ("bt709", False): (16, 1220945, 1879825, -558796, -223607, 2215014),
    ("bt709", True): (0, 1048576, 1651297, -490864, -196424, 1945738),
}
"""From ITU-R BT.601-7 and BT.709-6. The first row has OpenCV's constants, so that its cvtColor gives the same bytes."""


@dataclass(frozen=True)
class Letterbox:
    """Where a frame's picture lies on the model's canvas; all in canvas pixels but `frame`."""

    frame: tuple[int, int]
    """Width and height of the frame, frame pixels."""
    content: tuple[int, int]
    """Width and height of the picture on the canvas; both even."""
    offset: tuple[int, int]
    """Its left and top."""
    canvas: tuple[int, int]
    """Width and height of the canvas: the model's, or what the picture needs of it where the model takes any size."""

    def to_frame(self, boxes: np.ndarray) -> np.ndarray:
        """[n, 4] left, top, width, height: from canvas pixels to frame pixels."""
        scale = np.array(self.frame) / np.array(self.content)
        shifted = boxes - np.array([*self.offset, 0, 0])
        return shifted * np.tile(scale, 2)


def letterbox(frame: Frame, model: Model) -> Letterbox:
    """Fits the frame into the model's canvas, keeping its shape."""
    scale = min(model.width / frame.width, model.height / frame.height)
    width, height = (
        min(canvas, max(2, 2 * math.floor(side * scale / 2 + 0.5)))
        for side, canvas in ((frame.width, model.width), (frame.height, model.height))
    )
    canvas = (_up(width), _up(height)) if model.any_size else (model.width, model.height)
    centred = model.anchor == "centre"
    offset = ((canvas[0] - width) // 2, (canvas[1] - height) // 2) if centred else (0, 0)
    return Letterbox((frame.width, frame.height), (width, height), offset, canvas)


def _up(side: int) -> int:
    return -(-side // SIDE_STEP) * SIDE_STEP


def to_tensor(frame: Frame, model: Model) -> tuple[np.ndarray, Letterbox]:
    """The model's input for one frame, batch axis included, and how to map boxes back."""
    fit = letterbox(frame, model)
    canvas = np.full((*fit.canvas[::-1], 3), model.pad, np.uint8)
    (width, height), (left, top) = fit.content, fit.offset
    canvas[top : top + height, left : left + width] = small_rgb(frame, width, height)
    if model.colour == "bgr":
        canvas = canvas[:, :, ::-1]
    if model.layout == "nhwc_u8":
        return np.ascontiguousarray(canvas[None]), fit
    chw = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32)
    return (chw / np.float32(255) if model.layout == "nchw_f32_unit" else chw), fit


def small_rgb(frame: Frame, width: int, height: int) -> np.ndarray:
    """Resizes the planes, then converts: uint8 [height, width, 3], R'G'B'. Both sides must be even."""
    luma = cv2.resize(frame.y, (width, height), interpolation=cv2.INTER_LINEAR)
    cb, cr = (
        cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_LINEAR).repeat(2, 0).repeat(2, 1)
        for plane in (frame.u, frame.v)
    )
    return yuv_to_rgb(luma, cb, cr, frame.matrix, frame.full_range)


def yuv_to_rgb(luma: np.ndarray, cb: np.ndarray, cr: np.ndarray, matrix: str, full_range: bool) -> np.ndarray:
    """Y'CbCr to R'G'B', element by element, in integers: the same bytes wherever it is computed."""
    black, gain, cr_red, cr_green, cb_green, cb_blue = _COLOUR[matrix, full_range]
    y = np.maximum(luma.astype(np.int32) - black, 0) * gain + (1 << (_SHIFT - 1))
    u, v = cb.astype(np.int32) - 128, cr.astype(np.int32) - 128
    rgb = np.stack([y + cr_red * v, y + cr_green * v + cb_green * u, y + cb_blue * u], axis=-1)
    return np.clip(rgb >> _SHIFT, 0, 255).astype(np.uint8)
