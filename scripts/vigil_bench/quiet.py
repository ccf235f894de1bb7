"""A quiet camera: what its gates find of what full decoding finds, and what it costs."""
import subprocess
import tempfile
import time
from pathlib import Path

from . import scene
from .cost import LARGE, RATE, camera
from .floors import Inference, decode_ms, record
from .machine import cache, cpu_seconds, emit, tell, vigil
from .rig import Rig

SECONDS = 600
BEGIN_BAR_SECONDS = 0.5
COST_BAR = 0.12
LAST_SECONDS = 10
APART_SECONDS = 1.0  # events of one walk lie nearer together
OUTLASTS_SECONDS = 5.0  # an event that ends later is of something else
STILL_SECONDS = 20
SETTLE_SECONDS = 40


def run(options):
    """Recall for each way of coding, then the cost of a camera on which nothing goes on."""
    recall()
    price(options)


def recall():
    """Two looks at each clip, with gates and without, side by side."""
    with tempfile.TemporaryDirectory() as folder:
        tracks = Path(folder) / "tracks.txt"
        subprocess.run([vigil(), "analyze", str(cache() / "clips" / "vtest.avi"), "--rate", "10", "--mot", str(tracks)],
                       check=True, stdout=subprocess.DEVNULL)
        clip = scene.quiet(SECONDS, tracks)
    cameras = []
    for coding, options in scene.CODING.items():
        shared = {"size": "768x576", "fps": scene.WALK_FPS, "clip": clip, "options": options}
        cameras += [{"name": f"{coding}-gated", **shared}, {"name": f"{coding}-full", "mount": f"{coding}-gated", "full": True}]
    tell(f"quiet: {SECONDS} s of {', '.join(scene.CODING)}, with gates and without")
    with Rig(cameras, RATE, gates=True) as rig:
        time.sleep(SECONDS)
        until = time.time() - LAST_SECONDS
        found = {c["name"]: rig.events(c["name"]) for c in cameras}
        gated = {coding: rig.labelled("vigil_packets_gated_total", f"{coding}-gated") for coding in scene.CODING}
        # A machine that drops frames tells nothing about gates.
        dropped = {c["name"]: rig.dropped(c["name"]) for c in cameras}
    for coding in scene.CODING:
        emit(bench="quiet", coding=coding, seconds=SECONDS, packets_not_decoded=gated[coding],
             frames_dropped=[dropped[f"{coding}-full"], dropped[f"{coding}-gated"]],
             **compare(found[f"{coding}-full"], found[f"{coding}-gated"], until))


def compare(full, gated, until):
    """Events as (begin, end) in seconds: which of the walks that full decoding finds are found, and what else is. An event belongs
    to a walk that it begins and ends with, or within. A walk that began later than `until` may still be waiting for its
    keyframe, and does not count."""
    walks = []
    for begin, end in sorted(full):
        if walks and begin <= walks[-1][1] + APART_SECONDS:
            walks[-1][1] = max(walks[-1][1], end)
        else:
            walks.append([begin, end])
    of_walks = [[event for event in gated if begin - APART_SECONDS <= event[0] <= end and event[1] <= end + OUTLASTS_SECONDS]
                for begin, end in walks]
    known = {event for events in of_walks for event in events}
    late = [min(begin for begin, _ in events) - walk[0]
            for walk, events in zip(walks, of_walks, strict=True) if walk[0] < until and events]
    missed = [round(walk[0] - walks[0][0]) for walk, events in zip(walks, of_walks, strict=True) if walk[0] < until and not events]
    return {"walks": sum(walk[0] < until for walk in walks), "found": len(late), "missed_at_s": missed,
            "begins_off_s": [round(value, 2) for value in late], "bar_begin_s": BEGIN_BAR_SECONDS,
            "else": len(set(gated) - known), "bar_else": 0}


def price(options):
    """CPU of a camera with noise and nothing else, against the floors of one that is decoded and looked at."""
    tell("quiet: what a still 1080p25 camera costs")
    size, fps = LARGE
    clip = scene.still(size, fps, STILL_SECONDS)
    with Rig([camera("still", LARGE, clip=clip)], RATE, gates=True) as rig:
        floor_clip = rig.path("floor.mkv")
        recorder = record(rig.address("still"), fps * STILL_SECONDS, floor_clip)
        time.sleep(SETTLE_SECONDS)
        if recorder.wait(SETTLE_SECONDS):
            raise RuntimeError("the camera could not be recorded")
        before, cpu = rig.counters(), cpu_seconds(rig.edge_pid())
        begun = time.monotonic()
        with Inference(RATE, size) as inference:
            decode = decode_ms(floor_clip, STILL_SECONDS, max(1, options.seconds // STILL_SECONDS))
        lasted, cpu, after = time.monotonic() - begun, cpu_seconds(rig.edge_pid()) - cpu, rig.counters()
    floor, edge = decode + RATE * inference.ms, 1000 * cpu / lasted
    decoded = (after["vigil_frames_decoded_total"] - before["vigil_frames_decoded_total"]) / lasted
    emit(bench="quiet", picture=f"{size} at {fps} fps", decoded_per_second=round(decoded, 2), floor_ms_per_s=round(floor, 1),
         edge_ms_per_s=round(edge, 1), ratio=round(edge / floor, 3), bar=COST_BAR)
