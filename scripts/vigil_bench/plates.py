"""Number plates: how many are found and read, by their height in the picture, at one look and voted over a track.

Drawn plates (no real ones may be had) on vehicles cut out of a street clip, as a camera would see them: turned, moved, blurred,
noisy, in different light, compressed. What comes out says how the models and the vote behave, and is no promise for real plates.
"""
import json
import os
import subprocess
from pathlib import Path

import cv2
import numpy as np
from vigil_models import plate_pictures
from vigil_models.plate_pictures import BLUE, GREEN, View

from .machine import cache, cpu_seconds, emit, tell, vigil

HEIGHTS = (10, 12, 14, 18, 24, 32, 48)  # pixels, of the plate
TRACKS = 40  # of each height, half of each kind
LOOKS = 8  # at each
SHARE = 0.24  # of a vehicle's width that its plate takes: 0.44 m of 1.8 m
VEHICLES = ((30, (360, 7, 279, 265)), (150, (517, 104, 114, 63)), (180, (507, 100, 107, 61)))  # frame of the clip, box
SURE = 0.8  # what a rule asks for where it says nothing else
SEED = 11


def vehicles():
    """Pictures of vehicles, BGR."""
    clip = cv2.VideoCapture(str(cache() / "clips" / "bikes.mp4"))
    pictures = []
    for frame, (left, top, width, height) in VEHICLES:
        clip.set(cv2.CAP_PROP_POS_FRAMES, frame)
        there, picture = clip.read()
        if not there:
            raise RuntimeError(f"bikes.mp4 has no frame {frame}")
        pictures.append(picture[top:top + height, left:left + width])
    return pictures


class Reader:
    """The product's own models and vote."""

    def __init__(self):
        program = Path(vigil()).parent / "examples" / "read_plates"
        manifest = Path(os.environ["VIGIL_ROOT"]) / "models" / "manifest.toml"
        self.process = subprocess.Popen([program, manifest], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def look(self, track, picture, vehicle):
        """What one look at a BGR picture with even sides finds, and the vote so far."""
        height, width = picture.shape[:2]
        asked = {"track": track, "width": width, "height": height, "vehicle": vehicle}
        self.process.stdin.write(json.dumps(asked).encode() + b"\n")
        self.process.stdin.write(cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).tobytes())
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        if self.process.wait():
            raise RuntimeError("read_plates failed")


def scenes(vehicle, plate, height, random):
    """What a camera sees of one vehicle, look after look: pictures, the vehicle's box, and where the plate's middle is."""
    wide = plate.shape[1] / plate.shape[0] * height / SHARE
    high = wide * 0.8
    size = [int(2 * np.ceil(side * 1.5 / 2)) for side in (wide, high)]
    left, top = (size[0] - wide) / 2, (size[1] - high) / 2
    scene = cv2.resize(vehicle, size, interpolation=cv2.INTER_CUBIC)
    middle = (left + wide * random.uniform(0.4, 0.6), top + high * random.uniform(0.65, 0.8))
    yaw, roll, light = random.uniform(-35, 35), random.uniform(-5, 5), random.uniform(0.45, 1.1)
    blur, noise, speed = random.uniform(0.3, 0.9), random.uniform(1, 6), random.uniform(0, 0.08)
    for look in range(LOOKS):
        view = View(height=height * (1 + 0.02 * look), yaw=yaw + random.normal(0, 2), roll=roll + random.normal(0, 0.5),
                    blur=blur * random.uniform(0.7, 1.3), noise=noise, light=light * random.uniform(0.9, 1.1),
                    motion=speed * height * random.uniform(0.3, 1.7))
        centre = (middle[0] + random.normal(0, 1), middle[1] + random.normal(0, 1))
        seen = plate_pictures.lay(scene, plate, centre, view, random)
        packed = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, int(random.integers(55, 85))])[1]
        box = [left + random.normal(0, 0.02 * wide), top + random.normal(0, 0.02 * high), wide, high]
        yield cv2.imdecode(packed, cv2.IMREAD_COLOR), box, centre


def right_characters(read, drawn):
    """Share of the drawn characters that were read: one less the edit distance, of the length."""
    row = list(range(len(read) + 1))
    for i, wanted in enumerate(drawn):
        before, row[0] = row[0], i + 1
        for j, found in enumerate(read):
            before, row[j + 1] = row[j + 1], min(row[j + 1] + 1, row[j] + 1, before + (wanted != found))
    return max(0.0, 1 - row[-1] / len(drawn))


def is_there(corners, centre, height):
    """Whether what was found is the plate that was drawn."""
    return np.abs(np.mean(corners, axis=0) - centre).max() < height


def measure(reader, pictures, height, random, keep):
    """One row of figures. The first look at some of the tracks goes to the folder `keep`, to be looked at."""
    found, read, characters, voted, latin, sure, sure_right = [], [], [], [], [], 0, 0
    cpu = cpu_seconds(reader.process.pid)
    for track in range(TRACKS):
        style = (BLUE, GREEN)[track % 2]
        text = plate_pictures.random_text(random, style)
        vehicle, last = pictures[track % len(pictures)], None
        for number, (picture, box, centre) in enumerate(scenes(vehicle, plate_pictures.draw(text, style), height, random)):
            if keep and number == 0 and track < len(pictures):
                cv2.imwrite(str(keep / f"plate-{height}-{track}.png"), picture)
            last = reader.look(1000 * height + track, picture, box)
            found.append(last["found"] and is_there(last["corners"], centre, height))
            if found[-1] and last["text"]:
                read.append(last["text"] == text)
                characters.append(right_characters(last["text"], text))
        vote = last["voted"]
        voted.append(bool(vote) and vote["text"] == text)
        latin.append(bool(vote) and vote["text"][1:] == text[1:])
        if vote and vote["confidence"] >= SURE:
            sure += 1
            sure_right += vote["text"] == text
    cpu = cpu_seconds(reader.process.pid) - cpu
    share = lambda values: round(float(np.mean(values)), 3) if len(values) else None
    return {"plate_height": height, "vehicle_width": round(height * 3.29 / SHARE), "looks": len(found),
            "cpu_ms_per_look": round(1000 * cpu / len(found), 1), "found": share(found),
            "read": round(len(read) / len(found), 3), "characters_right_of_read": share(characters),
            "plate_right_of_read": share(read), "plate_right_at_one_look": round(sum(read) / len(found), 3), "tracks": TRACKS,
            f"plate_right_voted_over_{LOOKS}": share(voted), "voted_right_but_for_the_province": share(latin),
            "told_surely": round(sure / TRACKS, 3), "right_of_told_surely": round(sure_right / sure, 3) if sure else None}


def run(options):
    """One row a height."""
    random, pictures, reader = np.random.default_rng(SEED), vehicles(), Reader()
    keep = Path(options.keep) if options.keep else None
    if keep:
        keep.mkdir(parents=True, exist_ok=True)
    for height in HEIGHTS:
        tell(f"plates: {height} pixels high")
        emit(bench="plates", pictures="drawn plates, which promise nothing for real ones",
             **measure(reader, pictures, height, random, keep))
    reader.end()
