"""CPU of a whole edge with one busy camera against its floors, all measured side by side."""
import math
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from .floors import Inference, canvas, decode_ms, record
from .machine import cache, cpu_seconds, emit, tell, vigil
from .rig import Rig
from .score import evaluate

LARGE, SMALL = ("1920x1080", 25), ("768x576", 10)
RATE = 5.0
FRAMES = 795  # of the clip, which a camera shows again and again
PLAZA = "PETS09-S2L1"
QUALITIES = (18, 21, 24, 27)  # x264's quantizer
PHASES = ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.1Z")  # the pictures looked at are those at whole fifths of a second
FULL_BAR, GATES_BAR, SMALL_BAR, LOSS_BAR = 1.10, 0.80, 0.45, 1.0


def camera(name, picture, **options):
    return {"name": name, "size": picture[0], "fps": picture[1], **options}


def measure(cameras, picture, seconds, **analysis):
    """The edge's CPU per second of video, and the floors of a camera with that picture.

    The camera is recorded first; then the edge, the recording's decoder and inference alone run side by side, each at the
    pace of the camera: caches are equally cold for all, and all feel the machine's other work. Whole loops of the clip are
    measured, so that edge and recording show the same.
    """
    size, fps = picture
    loop = FRAMES / fps
    loops = math.ceil(seconds / loop)
    with Rig(cameras, RATE, **analysis) as rig:
        clip = rig.path("floor.mkv")
        recorder = record(rig.address(cameras[0]["name"]), round(fps * loop), clip)
        if recorder.wait(2 * loop + 60):
            raise RuntimeError("the camera could not be recorded")
        before, cpu = rig.counters(), cpu_seconds(rig.edge_pid())
        with Inference(RATE, size) as inference:
            decode = decode_ms(clip, loop, loops)
        cpu, after = cpu_seconds(rig.edge_pid()) - cpu, rig.counters()
    counted = {name.removeprefix("vigil_"): after[name] - before[name] for name in before}
    analysed_fps = cameras[0].get("analysed_fps", fps)
    # What the gate before the decoder passes over would be no second of video: it is off, or busy cameras keep it awake.
    video = counted["frames_decoded_total"] / analysed_fps
    floor = decode + RATE * inference.ms
    return {"picture": f"{size} at {fps} fps", "video_seconds": round(video, 1),
            "looks_per_second": round(counted["frames_analysed_total"] / video, 2),
            "frames_dropped": counted["frames_dropped_total"], "decode_ms": round(decode, 1),
            "canvas": "{}x{}".format(*canvas(size)), "inference_ms": round(inference.ms, 2), "floor_ms_per_s": round(floor, 1),
            "edge_ms_per_s": round(1000 * cpu / video, 1), "ratio": round(1000 * cpu / video / floor, 3)}


def cost(options):
    """Everything decoded, all of every picture looked at, five times a second."""
    for picture in (SMALL, LARGE):
        tell(f"cost: {picture[0]} at {picture[1]} fps")
        emit(bench="cost", **measure([camera("busy", picture)], picture, options.seconds), bar=FULL_BAR)


def gates(options):
    """All gates on: first on the large picture, then on the camera's second stream, both against the large one's floors."""
    tell("gates: 1920x1080 at 25 fps")
    emit(bench="gates", **measure([camera("busy", LARGE)], LARGE, options.seconds, gates=True), bar=GATES_BAR)
    tell("gates: the second stream, 768x576 at 10 fps")
    both = [camera("busy", LARGE, analysis="small", analysed_fps=SMALL[1]), camera("small", SMALL, served_only=True)]
    emit(bench="gates", analysed=f"{SMALL[0]} at {SMALL[1]} fps", **measure(both, LARGE, options.seconds, gates=True),
         bar=SMALL_BAR)
    loss(options)


def loss(options):
    """What the gates cost in accuracy: the same files, with and without. One run says little, with nineteen people: the clip is
    coded in several qualities, as cameras do, and of each every other picture is looked at, the even ones and the odd."""
    if not options.truth:
        return tell("gates: the loss is not measured, no --truth given")
    truth = Path(options.truth) / PLAZA / "gt.txt"
    losses, scores = [], {"whole": [], "gates": []}
    with tempfile.TemporaryDirectory() as folder:
        for quality in QUALITIES:
            clip = coded(quality, Path(folder) / f"{quality}.mkv")
            for phase in PHASES:
                for name, switches in (("whole", []), ("gates", ["--gates"])):
                    out = Path(folder) / f"{name}.txt"
                    subprocess.run([vigil(), "analyze", str(clip), "--rate", str(RATE), "--start", phase, "--mot", str(out),
                                    *switches], check=True, stdout=subprocess.DEVNULL)
                    (row,), _ = evaluate([(truth, out)])
                    scores[name].append(row["hota"])
                losses.append(scores["whole"][-1] - scores["gates"][-1])
    mean = {f"hota_{name}": round(float(np.mean(values)), 1) for name, values in scores.items()}
    emit(bench="gates", of="loss", runs=len(losses), **mean, hota_loss=round(float(np.mean(losses)), 2),
         loss_sd=round(float(np.std(losses)), 2), standard_error=round(float(np.std(losses, ddof=1) / len(losses) ** 0.5), 2),
         bar=LOSS_BAR)
    return None


def coded(quality, out):
    """The plaza as a camera codes it."""
    subprocess.run(["gst-launch-1.0", "-q", "filesrc", f"location={cache() / 'clips' / 'vtest.avi'}", "!", "decodebin", "!",
                    "videoconvert", "!", "video/x-raw,format=I420", "!", "x264enc", "speed-preset=veryfast", "tune=zerolatency",
                    "pass=quant", f"quantizer={quality}", "!", "h264parse", "!", "matroskamux", "!", "filesink",
                    f"location={out}"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return out
