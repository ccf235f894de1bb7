"""Draws Chinese number plates, and lays them into pictures as a camera would see them.

Plate models are tried on them where no real plates may be had. They are drawings: what is read on them is no promise
for real ones. Proportions are those of GA 36-2018: blue plates of 440 x 140 mm with seven characters of 45 x 90 mm,
green ones of 480 x 140 mm with eight. The font is OpenCV's own, its glyphs stretched to the cells; real plates have a
font of their own.
"""

from dataclasses import dataclass

import cv2
import numpy as np

PROVINCES = "京津冀晋蒙辽吉黑沪苏浙皖闽赣鲁豫鄂湘粤桂琼渝川贵云藏陕甘青宁新"
LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
"""I and O are not used on plates."""
DIGITS = "0123456789"
HEIGHT = 140
"""Of every plate, millimetres; drawn at one pixel a millimetre."""
MARGIN = 15.5
"""Left of the first character, millimetres."""
CELL_TOP, CELL_HEIGHT = 25, 90
"""Of every character, millimetres."""


@dataclass(frozen=True)
class Style:
    """One kind of plate; millimetres."""

    width: int
    cells: tuple[int, ...]
    """Widths of the characters."""
    gap: float
    """Between characters."""
    parting: float
    """Between the second and the third."""
    paper: tuple[tuple[int, int, int], tuple[int, int, int]]
    """BGR at the top and at the bottom."""
    ink: tuple[int, int, int]
    """BGR."""


BLUE = Style(440, (45,) * 7, 12, 34, ((170, 70, 10), (150, 55, 5)), (245, 245, 245))
GREEN = Style(480, (45,) + (43,) * 7, 9, 49, ((225, 240, 225), (90, 190, 60)), (20, 20, 20))


@dataclass(frozen=True)
class View:
    """How a camera sees a plate."""

    height: float = 32.0
    """Of the plate in the picture, pixels."""
    yaw: float = 0.0
    """Degrees that the plate is turned away to the side."""
    roll: float = 0.0
    """Degrees that it is turned in the picture."""
    blur: float = 0.0
    """Standard deviation of the lens' blur, pixels of the picture."""
    motion: float = 0.0
    """Way of the plate during the exposure, pixels to the side."""
    light: float = 1.0
    """Factor on brightness."""
    noise: float = 0.0
    """Standard deviation of the sensor's noise, levels."""


def random_text(random: np.random.Generator, style: Style) -> str:
    """A plate's text: province, office, and a serial with at most two letters; green ones have an energy letter."""
    serial = [*random.choice(list(DIGITS), 5)]
    for place in random.choice(5, random.integers(0, 3), replace=False):
        serial[place] = random.choice(list(LETTERS))
    head = random.choice(list(PROVINCES)) + random.choice(list(LETTERS))
    energy = random.choice(list("DF")) if style is GREEN else ""
    return head + energy + "".join(serial)


def draw(text: str, style: Style) -> np.ndarray:
    """uint8 [140, width, 3], BGR."""
    if len(text) != len(style.cells):
        raise ValueError(f"{text!r} has {len(text)} characters, this kind of plate has {len(style.cells)}")
    share = np.linspace(0, 1, HEIGHT)[:, None, None]
    top, bottom = (np.array(colour, float) for colour in style.paper)
    plate = np.broadcast_to(top + (bottom - top) * share, (HEIGHT, style.width, 3)).astype(np.uint8).copy()
    cv2.rectangle(plate, (4, 4), (style.width - 5, HEIGHT - 5), style.ink, 2)
    left = MARGIN
    for index, (character, width) in enumerate(zip(text, style.cells, strict=True)):
        _ink(plate, _glyph(character, width), round(left), style.ink)
        if index == 1 and style is BLUE:
            cv2.circle(plate, (round(left + width + style.parting / 2), HEIGHT // 2), 5, style.ink, -1, cv2.LINE_AA)
        left += width + (style.parting if index == 1 else style.gap)
    return plate


def _glyph(character: str, width: int) -> np.ndarray:
    """How much ink, 0..255, [90, width]; the glyph fills the cell, as on plates, but a 1 stays narrow."""
    page = np.zeros((200, 200), np.uint8)
    cv2.putText(page, character, (40, 150), 255, cv2.FontFace("sans"), 110, 500)
    left, top, wide, high = cv2.boundingRect(page)
    ink = page[top : top + high, left : left + wide]
    inner = round(width * 0.4) if character == "1" else width
    cell = np.zeros((CELL_HEIGHT, width), np.uint8)
    begin = (width - inner) // 2
    cell[:, begin : begin + inner] = cv2.resize(ink, (inner, CELL_HEIGHT), interpolation=cv2.INTER_AREA)
    return cell


def _ink(plate: np.ndarray, cell: np.ndarray, left: int, ink: tuple[int, int, int]) -> None:
    place = plate[CELL_TOP : CELL_TOP + CELL_HEIGHT, left : left + cell.shape[1]]
    share = cell[:, :, None] / 255
    place[:] = (place * (1 - share) + np.array(ink) * share).astype(np.uint8)


def corners(size: tuple[int, int], centre: tuple[float, float], view: View) -> np.ndarray:
    """float32 [4, 2]: the corners of a plate of `size` (width, height) in the picture, from the top left clockwise."""
    scale = view.height / size[1]
    half = np.array(size) * scale / 2
    flat = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    yaw, roll = np.deg2rad([view.yaw, view.roll])
    # Seen from eight plate widths away: what is nearer is larger.
    depth = 1 + flat[:, 0] * np.sin(yaw) / (16 * half[0])
    seen = np.stack([flat[:, 0] * np.cos(yaw), flat[:, 1]], axis=1) / depth[:, None]
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    return (seen @ turn.T + np.array(centre)).astype(np.float32)


def lay(
    picture: np.ndarray, plate: np.ndarray, centre: tuple[float, float], view: View, random: np.random.Generator
) -> np.ndarray:
    """The picture (uint8 BGR) with the plate in it; blur, light and noise are the whole picture's."""
    size = plate.shape[1::-1]
    scale = max(1, round(size[1] / view.height))
    small = cv2.resize(plate, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)
    high, wide = small.shape[:2]
    source = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], np.float32)
    warp = cv2.getPerspectiveTransform(source, corners(size, centre, view))
    across = picture.shape[1::-1]
    ink = cv2.warpPerspective(small, warp, across, flags=cv2.INTER_LINEAR)
    share = cv2.warpPerspective(np.ones((high, wide), np.float32), warp, across, flags=cv2.INTER_LINEAR)[:, :, None]
    return exposed(picture * (1 - share) + ink * share, view, random)


def exposed(picture: np.ndarray, view: View, random: np.random.Generator) -> np.ndarray:
    """What lens and sensor make of a picture: uint8."""
    seen = picture.astype(np.float32)
    if view.motion >= 1:
        seen = cv2.blur(seen, (max(1, round(view.motion)), 1))
    if view.blur > 0:
        seen = cv2.GaussianBlur(seen, (0, 0), view.blur)
    seen = seen * view.light + random.normal(0, view.noise, seen.shape) if view.noise > 0 else seen * view.light
    return np.clip(seen, 0, 255).astype(np.uint8)
