"""Decoded pictures: planar YUV 4:2:0, from raw files or from clips by the product's own decoder (GStreamer)."""

import math
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

MATRICES = ("bt601", "bt709")
SD_MAX_HEIGHT = 576
"""Streams that do not say are taken as BT.601 up to this height, as BT.709 above; GStreamer does the same."""


class VideoError(Exception):
    """A clip or raw frame cannot be read; the message names it."""


@dataclass(frozen=True)
class Frame:
    """One picture. Planes are uint8 [rows, columns]; chroma has half the size, rounded up."""

    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    matrix: str = "bt601"
    full_range: bool = False

    @property
    def width(self) -> int:
        return self.y.shape[1]

    @property
    def height(self) -> int:
        return self.y.shape[0]

    def to_bytes(self) -> bytes:
        """The three planes one after the other, rows packed."""
        return b"".join(np.ascontiguousarray(plane).tobytes() for plane in (self.y, self.u, self.v))


def default_matrix(height: int) -> str:
    """The matrix of a stream that does not name one."""
    return "bt601" if height <= SD_MAX_HEIGHT else "bt709"


def from_bytes(data: bytes, width: int, height: int, matrix: str, full_range: bool = False) -> Frame:
    """A frame from packed planes, as `Frame.to_bytes` writes them."""
    half = (_half(height), _half(width))
    sizes = [(height, width), half, half]
    expected = sum(rows * columns for rows, columns in sizes)
    if len(data) != expected:
        raise VideoError(f"{len(data)} bytes are not one I420 picture of {width}x{height} ({expected} bytes)")
    if matrix not in MATRICES:
        raise VideoError(f"unknown colour matrix {matrix!r}, expected one of {MATRICES}")
    planes, offset = [], 0
    for rows, columns in sizes:
        planes.append(np.frombuffer(data, np.uint8, rows * columns, offset).reshape(rows, columns))
        offset += rows * columns
    return Frame(*planes, matrix=matrix, full_range=full_range)


def clip_size(path: Path) -> tuple[int, int]:
    """Width and height of a clip."""
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise VideoError(f"{path}: no video found in it")
    return int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))


def clip_frames(path: Path, wanted: set[int], matrix: str | None = None) -> Iterator[tuple[int, Frame]]:
    """Decodes `path` and yields the wanted frames with their index, from 0; an index beyond the end is an error."""
    width, height = clip_size(path)
    matrix = matrix or default_matrix(height)
    missing = set(wanted)
    with _decoder(path) as process:
        index = 0
        while missing:
            frame = _read_frame(process.stdout, width, height, matrix)
            if frame is None:
                raise VideoError(f"{path}: ends at frame {index}, wanted frames {sorted(missing)}")
            if index in missing:
                missing.remove(index)
                yield index, frame
            index += 1
        process.kill()


def _decoder(path: Path) -> subprocess.Popen:
    chain = "decodebin ! videoconvert ! video/x-raw,format=I420 ! fdsink fd=1"
    command = ["gst-launch-1.0", "-q", "filesrc", f"location={path.resolve()}", "!", *chain.split()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _read_frame(stream, width: int, height: int, matrix: str) -> Frame | None:
    """The next picture in GStreamer's default I420 layout: rows padded to 4 bytes, an even number of luma rows."""
    luma_shape = (2 * _half(height), _up_to_4(width))
    chroma_shape = (2, _half(height), _up_to_4(_half(width)))
    luma_size, chroma_size = math.prod(luma_shape), math.prod(chroma_shape)
    data = stream.read(luma_size + chroma_size)
    if len(data) < luma_size + chroma_size:
        return None
    luma = np.frombuffer(data, np.uint8, luma_size).reshape(luma_shape)
    cb, cr = np.frombuffer(data, np.uint8, chroma_size, luma_size).reshape(chroma_shape)[:, :, : _half(width)]
    return Frame(luma[:height, :width], cb, cr, matrix)


def _half(side: int) -> int:
    """A chroma side: half of luma's, rounded up."""
    return (side + 1) // 2


def _up_to_4(side: int) -> int:
    return (side + 3) // 4 * 4
