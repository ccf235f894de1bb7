"""What plate models must answer, computed the plain way: the Rust pipeline is compared with this.

models/README.md states the rules.
"""

import math
import re
from dataclasses import dataclass

import cv2
import numpy as np

from vigil_models import manifest, preprocess
from vigil_models.frames import Frame
from vigil_models.plate_manifest import Pair
from vigil_models.reference import session

MARGIN = 0.05
"""What is added to a vehicle's box on each side, as a share of it: detectors cut bumpers off."""
LOWER = 0.75
"""The share of a vehicle's box, from below, that is looked at: plates are not at the windscreen."""
QUAD_MARGIN = (0.015, 0.03)
"""What is added to a plate on each side, as a share of its width and height: so that no stroke at its edge is cut."""
MAX_SAMPLES = 4
"""Samples of one pixel of the reader's input, each way, at the most."""


@dataclass(frozen=True)
class Found:
    """A plate in a picture."""

    confidence: float
    corners: np.ndarray
    """float64 [4, 2]: frame pixels, from the top left clockwise."""


class PlateReference:
    """One pair of plate models."""

    def __init__(self, pair: Pair):
        for part in (pair.detector, pair.reader):
            manifest.check_fingerprint(part)
        self._pair = pair
        self._detector = session(pair.detector.file)
        self._reader = session(pair.reader.file)

    def find(self, frame: Frame, vehicle: tuple[float, float, float, float]) -> Found | None:
        """The most likely plate in a vehicle's box (left, top, width, height in frame pixels)."""
        left, top, crop = cut(frame, vehicle)
        tensor, fit = preprocess.to_tensor(crop, self._pair.detector)
        answer = self._detector.run(None, {self._detector.get_inputs()[0].name: tensor})[0][0]
        best = int(answer[4].argmax())
        if answer[4, best] < self._pair.detector.confidence:
            return None
        scale = np.array(fit.frame) / np.array(fit.content)
        corners = (answer[5:13, best].reshape(4, 2) - np.array(fit.offset)) * scale + (left, top)
        return Found(float(answer[4, best]), corners)

    def read(self, frame: Frame, corners: np.ndarray) -> list[tuple[str, float]]:
        """Characters and their confidences; none where they are no plate by the pair's format."""
        reader = self._pair.reader
        picture = flatten(frame, corners, reader.width, reader.height)
        if reader.colour == "bgr":
            picture = picture[:, :, ::-1]
        if reader.layout == "nhwc_u8":
            tensor = np.round(picture).astype(np.uint8)[None]
        else:
            tensor = np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)
            tensor = tensor / np.float32(255) if reader.layout == "nchw_f32_unit" else tensor
        answer = self._reader.run(None, {self._reader.get_inputs()[0].name: tensor})[0][0]
        read = decode(answer, reader.alphabet, reader.blank)
        fits = not reader.format or re.fullmatch(reader.format, "".join(character for character, _ in read))
        return read if fits else []


def cut(frame: Frame, vehicle: tuple[float, float, float, float]) -> tuple[int, int, Frame]:
    """Left and top (even) of the part of the frame that is looked at, and that part."""
    left, top, width, height = vehicle
    top, height = top + height * (1 - LOWER), height * LOWER
    x0, y0 = (max(0, 2 * math.floor((at - MARGIN * side) / 2)) for at, side in ((left, width), (top, height)))
    x1 = min(frame.width, math.ceil(left + width * (1 + MARGIN)))
    y1 = min(frame.height, math.ceil(top + height * (1 + MARGIN)))
    half = (slice(y0 // 2, (y1 + 1) // 2), slice(x0 // 2, (x1 + 1) // 2))
    return x0, y0, Frame(frame.y[y0:y1, x0:x1], frame.u[half], frame.v[half], frame.matrix, frame.full_range)


def flatten(frame: Frame, corners: np.ndarray, width: int, height: int) -> np.ndarray:
    """The plate as seen from the front: float [height, width, 3], R'G'B' 0..255."""
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)
    warp = cv2.getPerspectiveTransform(unit, np.asarray(corners, np.float32))
    tall = max(np.linalg.norm(corners[3] - corners[0]), np.linalg.norm(corners[2] - corners[1]))
    samples = int(np.clip(math.ceil(tall / height), 1, MAX_SAMPLES))
    u, v = (
        (np.arange(n * samples) + 0.5) / (n * samples) * (1 + 2 * margin) - margin
        for n, margin in zip((width, height), QUAD_MARGIN, strict=True)
    )
    grid = np.stack([*np.meshgrid(u, v), np.ones((v.size, u.size))])
    x, y, w = np.tensordot(warp, grid, 1)
    x, y = x / w, y / w

    def mean(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        sampled = _bilinear(plane, x - 0.5, y - 0.5)
        return sampled.reshape(height, samples, width, samples).mean(axis=(1, 3))

    luma, cb, cr = mean(frame.y, x, y), mean(frame.u, x / 2, y / 2), mean(frame.v, x / 2, y / 2)
    return _rgb(luma, cb, cr, frame.matrix, frame.full_range)


def _bilinear(plane: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Samples a plane; beyond it the nearest sample counts."""
    rows, columns = plane.shape
    x, y = np.clip(x, 0, columns - 1), np.clip(y, 0, rows - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, columns - 1), np.minimum(y0 + 1, rows - 1)
    across, down = x - x0, y - y0
    above = plane[y0, x0] * (1 - across) + plane[y0, x1] * across
    below = plane[y1, x0] * (1 - across) + plane[y1, x1] * across
    return above * (1 - down) + below * down


def _rgb(luma: np.ndarray, cb: np.ndarray, cr: np.ndarray, matrix: str, full_range: bool) -> np.ndarray:
    """By the constants of ITU-R BT.601-7 and BT.709-6."""
    black, gain, chroma = (0, 1, 1) if full_range else (16, 255 / 219, 255 / 224)
    kr, kb = (0.299, 0.114) if matrix == "bt601" else (0.2126, 0.0722)
    y, u, v = (luma - black) * gain, (cb - 128) * chroma, (cr - 128) * chroma
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.stack([red, green, blue], axis=-1), 0, 255)


def decode(answer: np.ndarray, alphabet: tuple[str, ...], blank: str) -> list[tuple[str, float]]:
    """Best path of a CTC answer [T, 1 + alphabet]: a run of one symbol is a character, as sure as its surest step."""
    empty = 0 if blank == "first" else len(alphabet)
    read: list[tuple[str, float]] = []
    before = empty
    for symbol, sure in zip(answer.argmax(axis=1).tolist(), answer.max(axis=1).tolist(), strict=True):
        if symbol != empty and symbol == before:
            read[-1] = (read[-1][0], max(read[-1][1], sure))
        elif symbol != empty:
            read.append((alphabet[symbol - (blank == "first")], sure))
        before = symbol
    return read
