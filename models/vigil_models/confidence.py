"""Measures what a detector's confidences are worth: `[model.confidence]` of a manifest, from boxes and drawn truth.

Run: vigil analyze clip.mp4 --detections found.txt, then
python -m vigil_models.confidence --pair found.txt gt.txt [--pair ...]

Both files are MOTChallenge text of one class: frame, id, left, top, width, height, confidence (of truth: 0 leaves a row
out). In each frame a box is right when it overlaps a drawn one, which no more confident box took, by half. The log-odds
of that are fitted to the logit of the confidence by logistic regression (Platt: Probabilistic Outputs for Support
Vector Machines, 1999), with his targets, which keep the fit finite where right and wrong do not mix.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

OVERLAP = 0.5
"""Intersection over union from which on a box counts as right."""
CERTAIN = 1e-6
LEAST = 30
"""Boxes that must be right, and wrong: fewer say nothing."""
STEPS = 100


def rows(path: Path) -> np.ndarray:
    """Frame, left, top, width, height, confidence; one row a box."""
    lines = [line.split(",")[:7] for line in path.read_text().splitlines() if line.strip()]
    return np.array(lines, float)[:, [0, 2, 3, 4, 5, 6]] if lines else np.zeros((0, 6))


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a left, top, width, height box with each of `others`."""
    corner = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    inner = np.clip(corner - np.maximum(box[:2], others[:, :2]), 0, None).prod(axis=1)
    return inner / (box[2:].prod() + others[:, 2:].prod(axis=1) - inner)


def judge(found: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The confidence of each box that was found, and whether it is right."""
    truth = truth[truth[:, 5] > 0]
    confidences, right = [], []
    for frame in np.unique(found[:, 0]):
        free = truth[truth[:, 0] == frame, 1:5]
        boxes = found[found[:, 0] == frame]
        for box in boxes[np.argsort(-boxes[:, 5], kind="stable")]:
            shares = overlaps(box[1:5], free)
            best = int(np.argmax(shares)) if len(shares) else 0
            matched = len(shares) > 0 and shares[best] >= OVERLAP
            if matched:
                free = np.delete(free, best, axis=0)
            confidences.append(box[5])
            right.append(matched)
    return np.array(confidences), np.array(right, bool)


def fit(confidences: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Even odds and slope; ValueError where the boxes do not tell them."""
    count = int(right.sum())
    if min(count, len(right) - count) < LEAST:
        raise ValueError(f"{count} boxes are right and {len(right) - count} wrong: it takes {LEAST} of each")
    clipped = np.clip(confidences, CERTAIN, 1 - CERTAIN)
    inputs = np.stack([np.log(clipped / (1 - clipped)), np.ones(len(clipped))], axis=1)
    targets = np.where(right, (count + 1) / (count + 2), 1 / (len(right) - count + 2))
    weights = np.zeros(2)
    for _ in range(STEPS):
        odds = 1 / (1 + np.exp(-inputs @ weights))
        curve = inputs.T @ (inputs * (odds * (1 - odds))[:, None])
        step = np.linalg.solve(curve, inputs.T @ (targets - odds))
        weights += step
        if np.abs(step).max() < 1e-9:
            break
    slope, offset = weights
    if slope <= 0:
        raise ValueError("more confident boxes are not more often right")
    return float(1 / (1 + np.exp(offset / slope))), float(slope)


def main(argv: list[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="vigil_models.confidence", description=__doc__)
    parser.add_argument("--pair", nargs=2, type=Path, action="append", required=True, metavar=("FOUND", "TRUTH"))
    judged = [judge(rows(found), rows(truth)) for found, truth in parser.parse_args(argv).pair]
    confidences, right = (np.concatenate(parts) for parts in zip(*judged, strict=True))
    try:
        even_odds, slope = fit(confidences, right)
    except ValueError as problem:
        sys.exit(f"confidence: {problem}")
    print(f"[model.confidence]  # {len(right)} boxes, {right.mean():.0%} of them right")
    print(f"even_odds = {even_odds:.3f}\nslope = {slope:.2f}")


if __name__ == "__main__":
    main()
