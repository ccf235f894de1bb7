"""The field's own scorer (trackeval) over MOTChallenge files: MOTA, IDF1, HOTA, identity switches."""
import contextlib
import io
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment


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


def matches(a, b, least=0.5):
    """Pairs of boxes that overlap by at least so much, the best assignment of all."""
    alike = overlap(a, b)
    return [(i, j) for i, j in zip(*linear_sum_assignment(-alike), strict=True) if alike[i, j] >= least]


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
