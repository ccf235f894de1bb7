"""Many cameras on one machine: twenty quiet and six busy ones, their simulator beside them."""
import time

from . import scene
from .machine import cpu_seconds, emit, resident_mb, tell
from .rig import Rig

QUIET, BUSY = 20, 6
SETTLE_SECONDS = 40  # a camera rests at the earliest after the first keyframes that show nothing
CLIP_SECONDS = 20


def run(options):
    """Frames dropped for load must be none."""
    tell(f"many: {QUIET} quiet and {BUSY} busy 1080p25 cameras")
    clip = scene.still("1920x1080", 25, CLIP_SECONDS)
    cameras = [{"name": f"quiet-{i}", "size": "1920x1080", "fps": 25, "clip": clip} for i in range(QUIET)]
    cameras += [{"name": f"busy-{i}", "size": "1920x1080", "fps": 25} for i in range(BUSY)]
    with Rig(cameras, gates=True) as rig:
        time.sleep(SETTLE_SECONDS)
        edge, simulator = rig.edge_pid(), rig.processes["camsim"].pid
        before, begun = rig.counters(), time.monotonic()
        cpu = [cpu_seconds(pid) for pid in (edge, simulator)]
        time.sleep(options.seconds)
        lasted, after = time.monotonic() - begun, rig.counters()
        cores = [(cpu_seconds(pid) - was) / lasted for pid, was in zip((edge, simulator), cpu, strict=True)]
        resident = resident_mb(edge)
    counted = {name.removeprefix("vigil_"): after[name] - before[name] for name in before}
    emit(bench="many", quiet=QUIET, busy=BUSY, seconds=round(lasted), edge_cores=round(cores[0], 2),
         simulator_cores=round(cores[1], 2), resident_mb=round(resident), frames_decoded=counted["frames_decoded_total"],
         frames_analysed=counted["frames_analysed_total"], frames_dropped=counted["frames_dropped_total"], bar_dropped=0)
