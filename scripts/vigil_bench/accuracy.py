"""Tracks against MOTChallenge ground truth, by the field's own scorer (trackeval).

What the bars are: seed means, set from what the best of the public trackers reach with the same boxes.
"""
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from . import ground, small
from .machine import cache, emit, free_ports, tell, vigil
from .score import evaluate

PLAZA = "PETS09-S2L1"  # frame for frame the truth of vtest.avi
PLAZA_SECONDS = 79.5
PLAZA_FPS = 10
# Analyses a second, and what the whole chain over RTSP must reach at least: MOTA, IDF1, HOTA.
CHAIN_BARS = {10: (84, 86, 61), 5: (82, 80, 58)}
PUBLIC_BARS = (48, 53.5, 40.5)
SEEDS = 8  # 19 identities make single figures noisy
DROPPED = 0.02
JITTER_PX = 1.0


def perturb(source, seed, out):
    """Detections with 2% of the boxes left out and the rest moved by about a pixel; seed 0 leaves them as they are."""
    lines = [line for line in Path(source).read_text().splitlines() if line.strip()]
    if seed:
        rng = np.random.default_rng(seed)
        kept = []
        for line in lines:
            fields = line.split(",")
            if rng.random() < DROPPED:
                continue
            fields[2:6] = [f"{float(v) + rng.normal(0, JITTER_PX):.2f}" for v in fields[2:6]]
            kept.append(",".join(fields))
        lines = kept
    out.write_text("\n".join(lines) + "\n")
    return out


def spread(rows_):
    """Mean and standard deviation of each score over the seeds."""
    return {f"{name}_{what}": round(float(reckon([row_[name] for row_ in rows_])), 1)
            for name in ("mota", "idf1", "hota") for what, reckon in (("mean", np.mean), ("sd", np.std))}


def bars(least):
    """Printed beside the figures they are for."""
    return dict(zip(("bar_mota", "bar_idf1", "bar_hota"), least, strict=True))


def track(detections, out, *options):
    """`vigil track`, with the tracker as it comes."""
    subprocess.run([vigil(), "track", str(detections), "--out", str(out), *options], check=True)


def public(truth, names, folder):
    """`vigil track` on the sequences' public detections: each as given, all of them over the seeds."""
    wholes = []
    for seed in range(SEEDS + 1):
        pairs = []
        for name in names:
            out = folder / f"{name}.txt"
            track(perturb(truth / name / "det.txt", seed, folder / "det.txt"), out)
            pairs.append((truth / name / "gt.txt", out))
        each, whole = evaluate(pairs)
        if seed:
            wholes.append(whole)
            continue
        for name, scores in zip(names, each, strict=True):
            emit(bench="accuracy", of="public detections", sequence=name, **scores)
        emit(bench="accuracy", of="public detections", sequence="all", **whole)
    emit(bench="accuracy", of="public detections", sequence="all", seeds=SEEDS, **spread(wholes), **bars(PUBLIC_BARS))


class Plaza:
    """The plaza as an H.264 camera over RTSP, which begins with the clip's first picture whenever somebody comes."""

    def __enter__(self):
        port = free_ports(1)[0]
        clip = cache() / "clips" / "vtest.avi"
        self.process = subprocess.Popen([vigil(), "camsim", f"--mount=plaza={clip},start=play", f"--listen=127.0.0.1:{port}"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.process.stdout.readline().strip()
        if not self.address:
            raise RuntimeError("the camera simulator ended before it served anything")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(20)

    def analyse(self, rate, out, *options):
        """The whole chain up to the tracks, at so many analyses a second: the tracks' file and the detections'."""
        tracks, detections = out / f"plaza-{rate}.txt", out / f"plaza-{rate}-detections.txt"
        subprocess.run([vigil(), "analyze", self.address, "--duration", f"{PLAZA_SECONDS * 1000:.0f}ms", "--rate", str(rate),
                        "--mot", str(tracks), "--detections", str(detections), *options],
                       check=True, stdout=subprocess.DEVNULL)
        return tracks, detections


def chain(truth, folder):
    """The whole chain over RTSP with one configuration: as it is, and its detections over the seeds."""
    with Plaza() as plaza:
        for rate, least in CHAIN_BARS.items():
            tell(f"accuracy: {PLAZA_SECONDS} s of RTSP at {rate} analyses a second")
            tracks, detections = plaza.analyse(rate, folder, "--ground", str(ground.marks(truth, folder)))
            analysed = len({line.split(",")[0] for line in detections.read_text().splitlines()})
            of = f"whole chain over RTSP (H.264) at {rate} analyses a second"
            (scores,), _ = evaluate([(truth, tracks)])
            emit(bench="accuracy", of=of, sequence=PLAZA, frames_with_detections=analysed, **scores)
            ground.report(truth, tracks, of)
            seeds = []
            for seed in range(1, SEEDS + 1):
                out = folder / "seed.txt"
                track(perturb(detections, seed, folder / "det.txt"), out, "--confidence", "nanodet",
                      "--fps", str(PLAZA_FPS), "--every", str(PLAZA_FPS // rate))
                (scores,), _ = evaluate([(truth, out)])
                seeds.append(scores)
            emit(bench="accuracy", of=of, sequence=PLAZA, seeds=SEEDS, **spread(seeds), **bars(least))


def run(options):
    if not options.truth:
        tell("accuracy: skipped, no --truth given")
        emit(bench="accuracy", skipped="no --truth given")
        return
    truth = Path(options.truth)
    names = sorted(p.parent.name for p in truth.glob("*/gt.txt"))
    with tempfile.TemporaryDirectory() as folder:
        public(truth, names, Path(folder))
        if PLAZA in names:
            chain(truth / PLAZA / "gt.txt", Path(folder))
            small.run(truth / PLAZA / "gt.txt", Path(folder))
