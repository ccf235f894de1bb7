"""The region's index and the gateway over many regions, each against its floor in the same run."""
import json
import os
import subprocess

from .machine import emit, tell

# Milliseconds at the 50th and 99th percentile over 20 million events.
BARS = {
    "newest_100_of_20_cameras_and_a_class": (3, 15),
    "a_page_far_back": (3, 15),
    "counts_by_hour_and_class_over_7_days": (None, 10),
    "a_part_of_a_plate": (None, 20),
    "one_event": (None, 1),
}
INGEST_BARS = {"sqlite": 20_000, "postgres": 30_000}
OF_BARE_BAR = 0.6
MEMORY_BAR_MB = 600
SUBSCRIBERS_BAR = 0.7


def figures(crate, example, *args):
    """Runs an example of a crate; gives its JSON lines as they come."""
    command = ["cargo", "run", "--release", "--locked", "--quiet", "-p", crate, "--example", example, "--", *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            yield json.loads(line)
    if process.returncode:
        raise RuntimeError(f"{example} ended with status {process.returncode}")


def index(options):
    """Both engines, or the one that is named: ingest, questions, memory."""
    for engine in [options.engine] if options.engine else ["sqlite", "postgres"]:
        tell(f"index: {options.events} events in {engine}")
        for figure in figures("vigil-region", "index_figures", str(options.events), engine):
            name = figure.pop("figure")
            if name.startswith("ingest"):
                figure |= {"bar_events_per_s": INGEST_BARS[engine], "bar_of_bare": OF_BARE_BAR}
            if name in BARS:
                p50, p99 = BARS[name]
                figure |= {"bar_p99_ms": p99} | ({"bar_p50_ms": p50} if p50 else {})
            if name == "memory":
                figure |= {"bar_mb": MEMORY_BAR_MB}
            emit(bench="index", engine=engine, figure=name, **figure)


def fan_out(_options):
    """A search over 2 to 500 real regions, and live streams."""
    tell("fan-out: a gateway over 2, 20, 100 and 500 regions")
    for figure in figures("vigil-gateway", "fan_out"):
        emit(bench="fan-out", **figure, **({"bar_added_p99_ms": 100} if "added_ms" in figure else {}))


def subscribers(_options):
    """One region to 100 subscribers."""
    tell("subscribers: one region to 100 of them, and a bare stream of the same messages")
    for figure in figures("vigil-region", "subscribers"):
        emit(bench="subscribers", **figure, bar_of_bare=SUBSCRIBERS_BAR)


def appearance(_options):
    """The most alike of half a million events, on one core."""
    tell("appearance: 500,000 events")
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for figure in figures("vigil-region", "appearance_scan", "500000"):
        emit(**figure)
