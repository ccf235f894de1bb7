"""Small objects in a picture much larger than the model's input: the whole against regions, and regions in detail.

The plaza lies pixel for pixel in the middle of a still 1080p picture, as a far part of a wide view would: its people are 25 to 45 pixels
wide, and 7 to 13 once the whole is shrunk to the model's input.
"""
import subprocess

import numpy as np

from .machine import cache, emit, tell, vigil
from .score import evaluate

PICTURE = (1920, 1080)
PLAZA = (768, 576)
RATE = 5
LOOKS = {"the whole picture": [], "regions, when and where something moves": ["--gates"],
         "regions in detail": ["--gates", "--detail"]}


def clip(folder):
    """The plaza within the larger picture, H.264."""
    out = folder / "wide.mkv"
    left, top = ((PICTURE[i] - PLAZA[i]) // 2 for i in (0, 1))
    box = ["videobox", f"left=-{left}", f"right=-{left}", f"top=-{top}", f"bottom=-{top}", "fill=green"]
    subprocess.run(["gst-launch-1.0", "-q", "filesrc", f"location={cache() / 'clips' / 'vtest.avi'}", "!", "decodebin", "!",
                    "videoconvert", "!", *box, "!", "video/x-raw,format=I420", "!", "x264enc", "speed-preset=veryfast", "pass=quant",
                    "quantizer=20", "!", "h264parse", "!", "matroskamux", "!", "filesink", f"location={out}"],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out


def moved(truth_path, folder):
    """The plaza's truth where it lies in the larger picture."""
    rows = np.loadtxt(truth_path, delimiter=",", ndmin=2)[:, :7]
    rows[:, 2:4] += [(PICTURE[i] - PLAZA[i]) / 2 for i in (0, 1)]
    out = folder / "wide-truth.txt"
    np.savetxt(out, rows, delimiter=",", fmt="%g")
    return out


def run(truth_path, folder):
    """Tracks of each way of looking."""
    tell("accuracy: small objects")
    video, truth = clip(folder), moved(truth_path, folder)
    for name, switches in LOOKS.items():
        out = folder / "wide-tracks.txt"
        subprocess.run([vigil(), "analyze", str(video), "--rate", str(RATE), "--mot", str(out), *switches], check=True,
                       stdout=subprocess.DEVNULL)
        (scores,), _ = evaluate([(truth, out)])
        emit(bench="accuracy", of=f"small objects, {name}", picture="{}x{}".format(*PICTURE), rate=RATE, **scores)
