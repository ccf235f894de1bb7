"""The measurements, by name. See scripts/bench --help."""
import argparse
import json
import subprocess
import time

from . import accuracy, cost, index, many, plates, quiet, soak
from .machine import describe, emit, resident_mb, tell, vigil
from .rig import Rig


def memory(options):
    """Four 1080p cameras: resident memory at first, after a while, and after forced reconnects."""
    tell("memory: four 1080p cameras")
    cameras = [{"name": f"cam-{i}", "size": "1920x1080", "fps": 25} for i in range(4)]
    with Rig(cameras, 2.0, gates=True) as rig:
        time.sleep(30)
        first = resident_mb(rig.edge_pid())
        time.sleep(3600 if options.hour else options.seconds)
        later = resident_mb(rig.edge_pid())
        peak, sessions = later, rig.counter("vigil_camera_sessions_total")
        forced = options.reconnects if options.reconnects else 40
        while (done := rig.counter("vigil_camera_sessions_total") - sessions) < forced:
            before = rig.counter("vigil_camera_sessions_total")
            rig.command("close all")
            rig.wait(lambda now=before: rig.counter("vigil_camera_sessions_total") >= now + len(cameras))
            peak = max(peak, resident_mb(rig.edge_pid()))
        time.sleep(10)
        after = resident_mb(rig.edge_pid())
    emit(bench="memory", cameras=4, picture="1920x1080", seconds=3600 if options.hour else options.seconds,
         first_mb=round(first), later_mb=round(later), reconnects=int(done), after_reconnects_mb=round(after),
         peak_mb=round(peak), bar_mb=700)


def latency(options):
    """The demo's own figures."""
    tell("latency: vigil demo")
    command = [vigil(), "demo", "--json", "--duration", f"{max(options.seconds, 60)}s"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1) or not done.stdout.strip():
        raise RuntimeError(f"vigil demo failed: {done.stderr[-2000:]}")
    emit(bench="latency", bar_p50_ms=1000, bar_p99_ms=2000, exit_status=done.returncode,
         **json.loads(done.stdout.splitlines()[-1]))


BENCHES = {"cost": cost.cost, "gates": cost.gates, "many": many.run, "quiet": quiet.run, "plates": plates.run,
           "memory": memory,
           "latency": latency, "accuracy": accuracy.run, "soak": soak.run,
           "index": index.index, "fan-out": index.fan_out, "subscribers": index.subscribers,
           "appearance": index.appearance}


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME")
    parser.add_argument("--truth", help="folder of MOTChallenge sequences with gt.txt and det.txt")
    parser.add_argument("--keep", help="plates: folder for some of the pictures")
    parser.add_argument("--seconds", type=int, default=60, help="length of each measurement")
    parser.add_argument("--reconnects", type=int, default=200, help="forced reconnects in memory")
    parser.add_argument("--hour", action="store_true", help="memory: an hour of loops")
    parser.add_argument("--hours", type=float, default=1 / 12, help="length of the soak; five minutes when absent")
    parser.add_argument("--events", type=int, default=1_000_000, help="index: how many events it holds")
    parser.add_argument("--engine", choices=["sqlite", "postgres"], help="index: this one alone")
    options = parser.parse_args()
    emit(**describe())
    for name in options.names or ["cost", "memory", "latency"]:
        BENCHES[name](options)


main()
