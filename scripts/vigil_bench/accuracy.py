"""Tracks against MOTChallenge ground truth, by the field's own scorer (trackeval)."""
import contextlib
import io
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from .machine import cache, emit, tell, vigil

PLAZA = "PETS09-S2L1"  # frame for frame the truth of vtest.avi
RATES = (10, 5)
SEEDS = 8  # 19 identities make single figures noisy
DROPPED = 0.02
JITTER_PX = 1.0


def metrics():
    for name, kind in (("float", float), ("int", int)):  # trackeval still names numpy's removed aliases
        if not hasattr(np, name):
            setattr(np, name, kind)
    from trackeval.metrics import CLEAR, HOTA, Identity

    with contextlib.redirect_stdout(io.StringIO()):
        return HOTA(), CLEAR({"PRINT_CONFIG": False}), Identity({"PRINT_CONFIG": False})


def overlap(a, b):
    """IoU of boxes as left, top, width, height: [n, 4] and [m, 4] to [n, m]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    return shared / (np.prod(a[:, 2:], axis=1)[:, None] + np.prod(b[:, 2:], axis=1)[None] - shared + 1e-9)


def rows(path):
    found = [[float(v) for v in line.split(",")[:7]] for line in Path(path).read_text().splitlines() if line.strip()]
    return np.array(found).reshape(-1, 7)


def sequence(truth_path, tracks_path):
    """What trackeval wants of one sequence: matches need IoU 0.5, truth rows with flag 0 do not count."""
    truth, tracks = rows(truth_path), rows(tracks_path)
    last = int(truth[:, 0].max())
    truth, tracks = truth[truth[:, 6] >= 1], tracks[tracks[:, 0] <= last]
    truth_ids, track_ids = ({v: i for i, v in enumerate(np.unique(r[:, 1]))} for r in (truth, tracks))
    data = {"num_timesteps": last, "num_gt_ids": len(truth_ids), "num_tracker_ids": len(track_ids),
            "num_gt_dets": len(truth), "num_tracker_dets": len(tracks),
            "gt_ids": [], "tracker_ids": [], "similarity_scores": []}
    for frame in range(1, last + 1):
        g, t = truth[truth[:, 0] == frame], tracks[tracks[:, 0] == frame]
        data["gt_ids"].append(np.array([truth_ids[v] for v in g[:, 1]], int))
        data["tracker_ids"].append(np.array([track_ids[v] for v in t[:, 1]], int))
        data["similarity_scores"].append(overlap(g[:, 2:6], t[:, 2:6]))
    return data


def row(results):
    hota, clear, identity = results
    return {"mota": round(100 * float(clear["MOTA"]), 1), "idf1": round(100 * float(identity["IDF1"]), 1),
            "hota": round(100 * float(np.mean(hota["HOTA"])), 1), "id_switches": int(clear["IDSW"])}


def evaluate(pairs):
    """A score for each (truth, tracks) pair, and one for all together."""
    scorers = metrics()
    with contextlib.redirect_stdout(io.StringIO()):
        each = [[scorer.eval_sequence(sequence(*pair)) for scorer in scorers] for pair in pairs]
        whole = [scorer.combine_sequences({i: r[k] for i, r in enumerate(each)}) for k, scorer in enumerate(scorers)]
    return [row(r) for r in each], row(whole)


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


def public(truth, names, folder):
    """`vigil track` on the sequences' public detections: each as given, all of them over the seeds."""
    wholes = []
    for seed in range(SEEDS + 1):
        pairs = []
        for name in names:
            detections = perturb(truth / name / "det.txt", seed, folder / "det.txt")
            out = folder / f"{name}.txt"
            subprocess.run([vigil(), "track", str(detections), "--out", str(out)], check=True)
            pairs.append((truth / name / "gt.txt", out))
        each, whole = evaluate(pairs)
        if seed:
            wholes.append(whole)
            continue
        for name, scores in zip(names, each, strict=True):
            emit(bench="accuracy", of="public detections", sequence=name, **scores)
        emit(bench="accuracy", of="public detections", sequence="all", **whole)
    emit(bench="accuracy", of="public detections", sequence="all", seeds=SEEDS, **spread(wholes),
         bar_mota=48, bar_idf1=53.5, bar_hota=40.5)


def run(options):
    if not options.truth:
        tell("accuracy: skipped, no --truth given")
        emit(bench="accuracy", skipped="no --truth given")
        return
    truth = Path(options.truth)
    names = sorted(p.parent.name for p in truth.glob("*/gt.txt"))
    with tempfile.TemporaryDirectory() as folder:
        public(truth, names, Path(folder))
        if PLAZA not in names:
            return
        for rate in RATES:
            out = Path(folder) / f"plaza-{rate}.txt"
            clip = cache() / "clips" / "vtest.avi"
            subprocess.run([vigil(), "analyze", str(clip), "--rate", str(rate), "--mot", str(out)],
                           check=True, stdout=subprocess.DEVNULL)
            scores, _ = evaluate([(truth / PLAZA / "gt.txt", out)])
            emit(bench="accuracy", of=f"vigil analyze at {rate} a second", sequence=PLAZA, **scores[0])
