"""Clips of a quiet place: the plaza's own background, a sensor's noise, changing light, rain, and real walks laid into it."""
import hashlib
import subprocess
from pathlib import Path

import cv2
import numpy as np

from .machine import cache, tell

NOISE = 3.0  # standard deviation of a sensor's noise at dusk, grey levels, on blocks of 2x2 pixels
PATTERNS = 16
SHIFT = 64  # each pattern is laid elsewhere, by up to so many pixels
KEYFRAMES_SECONDS = 2
SOURCE = ["pass=quant", "quantizer=12"]  # all keyframes alike, also where it begins anew; the camera simulator codes it again
CODING = {"crf": "", "vbr": ",mean-kbps=1500", "cbr": ",kbps=1500"}  # constant quality, mean and constant bit rate


def plaza():
    """All pictures of the plaza, and what stays of it when nobody is there: the median of each pixel."""
    reader, pictures = cv2.VideoCapture(str(cache() / "clips" / "vtest.avi")), []
    while True:
        good, picture = reader.read()
        if not good:
            break
        pictures.append(picture)
    return pictures, np.median(np.stack(pictures[::12]), axis=0).astype(np.uint8)


class Writer:
    """Pictures (BGR) to an H.264 file. Use as a context manager."""

    def __init__(self, path, size, fps):
        width, height = size
        line = ["gst-launch-1.0", "-q", "fdsrc", "fd=0", "!", "rawvideoparse", "format=bgr", f"width={width}",
                f"height={height}", f"framerate={fps}/1", "!", "videoconvert", "!", "x264enc", "speed-preset=veryfast",
                "tune=zerolatency", f"key-int-max={KEYFRAMES_SECONDS * fps}", *SOURCE, "!", "h264parse", "!",
                "mp4mux", "!", "filesink", f"location={path}"]
        self.process = subprocess.Popen(line, stdin=subprocess.PIPE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        if self.process.wait(300):
            raise RuntimeError("the clip could not be coded")

    def write(self, picture):
        self.process.stdin.write(picture.tobytes())


class Sensor:
    """Noise that differs in every picture."""

    def __init__(self, size, seed):
        self.size, self.random = size, np.random.default_rng(seed)
        width, height = (side + SHIFT for side in size)
        small = self.random.normal(0, NOISE, (PATTERNS, height // 2, width // 2)).astype(np.float32)
        large = (cv2.resize(p, (width, height), interpolation=cv2.INTER_NEAREST) for p in small)
        self.patterns = [cv2.merge([np.rint(p).astype(np.int16)] * 3) for p in large]

    def shoot(self, scene, gain=1.0):
        """The scene under a light, as the sensor gives it."""
        lit = cv2.LUT(scene, np.clip(np.arange(256) * gain, 0, 255).astype(np.uint8)) if gain != 1.0 else scene
        left, top = (2 * int(v) for v in self.random.integers(SHIFT // 2, size=2))
        width, height = self.size
        noise = self.patterns[self.random.integers(PATTERNS)][top : top + height, left : left + width]
        return cv2.add(lit, noise, dtype=cv2.CV_8U)


def made(name, make):
    """A file made once; its name holds what it is made by."""
    folder = cache() / "bench"
    folder.mkdir(exist_ok=True)
    mark = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    path = folder / f"{name}-{mark}.mp4"
    if not path.exists():
        tell(f"making {path.name}")
        partial = path.with_suffix(".partial")
        make(partial)
        partial.rename(path)
    return path


def still(size, fps, seconds):
    """Nothing but noise."""
    width, height = map(int, size.split("x"))

    def make(path):
        scene = cv2.resize(plaza()[1], (width, height), interpolation=cv2.INTER_CUBIC)
        sensor = Sensor((width, height), 1)
        with Writer(path, (width, height), fps) as writer:
            for _ in range(seconds * fps):
                writer.write(sensor.shoot(scene))

    return made(f"still-{size}-{fps}-{seconds}", make)


WALK_FPS = 10
WALK_EVERY_SECONDS = 50
LIGHT = (0.8, 1.15)  # darkest and brightest, as shares of the plaza's own light
RAIN_SECONDS = (240, 400)
DROPS = 60


def walks(tracks, least=6, most=20):
    """Walks of the plaza that last so many seconds, each as its boxes by frame, of what `vigil analyze --mot` wrote."""
    found = {}
    for line in Path(tracks).read_text().splitlines():
        frame, track, left, top, width, height = (float(v) for v in line.split(",")[:6])
        found.setdefault(int(track), {})[int(frame) - 1] = (left, top, width, height)
    lasting = ((max(boxes) - min(boxes)) / WALK_FPS for boxes in found.values())
    return [boxes for boxes, seconds in zip(found.values(), lasting, strict=True) if least <= seconds <= most]


def lay(scene, picture, background, box):
    """Puts what differs from the background within a box of the picture into the scene."""
    left, top, width, height = box
    margin = 0.15 * height
    x0, y0 = (max(0, int(v - margin)) for v in (left, top))
    x1, y1 = int(left + width + margin), int(top + height + margin)
    part, empty = picture[y0:y1, x0:x1], background[y0:y1, x0:x1]
    if part.size == 0:
        return
    differs = (np.abs(part.astype(np.int16) - empty).max(axis=2) > 18).astype(np.float32)
    share = cv2.GaussianBlur(cv2.dilate(differs, np.ones((3, 3))), (5, 5), 0)[..., None]
    scene[y0:y1, x0:x1] = (share * part + (1 - share) * scene[y0:y1, x0:x1]).astype(np.uint8)


def rain(scene, random):
    """Bright streaks that are elsewhere in every picture."""
    height, width = scene.shape[:2]
    for x, y in zip(random.integers(width, size=DROPS), random.integers(height, size=DROPS), strict=True):
        cv2.line(scene, (int(x), int(y)), (int(x) - 2, int(y) + 14), (190, 190, 190), 1)


def quiet(seconds, tracks):
    """A quiet place with a walk now and then, under changing light, in rain for a while."""
    size = (768, 576)

    def make(path):
        pictures, background = plaza()
        sensor, random = Sensor(size, 2), np.random.default_rng(3)
        laid = walks(tracks)
        with Writer(path, size, WALK_FPS) as writer:
            for number in range(seconds * WALK_FPS):
                now, scene = number / WALK_FPS, background.copy()
                turn, since = divmod(number, WALK_EVERY_SECONDS * WALK_FPS)
                since -= WALK_EVERY_SECONDS * WALK_FPS // 2  # each walk begins in the middle of its turn
                walk = laid[turn % len(laid)]
                frame = min(walk) + since
                if since >= 0 and frame in walk:
                    lay(scene, pictures[frame], background, walk[frame])
                if RAIN_SECONDS[0] <= now < RAIN_SECONDS[1]:
                    rain(scene, random)
                dark, bright = LIGHT
                gain = dark + (bright - dark) * (0.5 - 0.5 * np.cos(2 * np.pi * now / 300))
                writer.write(sensor.shoot(scene, gain))

    return made(f"quiet-{seconds}", make)
