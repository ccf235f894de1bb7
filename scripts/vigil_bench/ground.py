"""Places and speeds on the ground, in metres, against ground truth that carries world coordinates.

PETS09-S2L1's gt.txt has, after its seven usual columns, x, y and z in metres: the ground plane of the PETS 2009 calibration, seen from
view 1 (x and y on the ground, z always 0). They are where its authors' calibration puts the middle of the lower edge of the box they
drew: one homography fits all of them to 3 cm (median). Four of its points from the first ten seconds stand for the marks that whoever
installs a camera would measure; everything after is held out.
"""
import numpy as np

from .machine import emit
from .score import matches

PICTURE = np.array([768, 576])
FPS = 10
CALIBRATION_FRAMES = 100
WINDOW = FPS  # speeds are taken over a second


def columns(path):
    """All columns of a MOTChallenge file."""
    return np.loadtxt(path, delimiter=",", ndmin=2)


def feet(rows):
    """Middle of the lower edge of each box, shares of the picture; pixels count from 1."""
    return (rows[:, 2:4] - 1 + rows[:, 4:6] * (0.5, 1)) / PICTURE


def chosen(truth):
    """The four outermost feet of the first frames, towards the picture's corners."""
    early = truth[truth[:, 0] <= CALIBRATION_FRAMES]
    across, down = feet(early).T
    corners = [np.argmin(across + down), np.argmax(across - down), np.argmax(across + down), np.argmin(across - down)]
    return early[corners]


def marks(truth_path, folder):
    """The calibration as `vigil analyze --ground` takes it."""
    rows = chosen(columns(truth_path))
    lines = [f"  {{ picture = [{x:.6f}, {y:.6f}], metres = [{right}, {ahead}] }},"
             for (x, y), (right, ahead) in zip(feet(rows), rows[:, 7:9], strict=True)]
    out = folder / "ground.toml"
    out.write_text("marks = [\n" + "\n".join(lines) + "\n]\n")
    return out


def followed(truth, tracks):
    """For each pair of identity and track: by frame, where it was told to be and where it was, metres."""
    pairs = {}
    for frame in np.unique(truth[truth[:, 0] > CALIBRATION_FRAMES, 0]):
        there = truth[(truth[:, 0] == frame) & (truth[:, 6] >= 1)]
        told = tracks[(tracks[:, 0] == frame) & (tracks[:, 9] == 0)]  # z is -1 where no place is told
        for i, j in matches(there[:, 2:6], told[:, 2:6]):
            pairs.setdefault((there[i, 1], told[j, 1]), {})[frame] = (told[j, 7:9], there[i, 7:9])
    return pairs


def summary(name, errors):
    """Median and 90th percentile."""
    return {f"{name}_median": round(float(np.median(errors)), 3), f"{name}_p90": round(float(np.percentile(errors, 90)), 3)}


def report(truth_path, tracks_path, of):
    """Errors of places (metres) and of speeds (metres a second) of tracks that overlap the truth by half."""
    truth, tracks = columns(truth_path), columns(tracks_path)
    pairs = followed(truth, tracks)
    places = [np.linalg.norm(told - there) for pair in pairs.values() for told, there in pair.values()]
    speeds = []
    for pair in pairs.values():
        for frame in pair.keys() & {frame - WINDOW for frame in pair}:
            (told, there), (told_next, there_next) = pair[frame], pair[frame + WINDOW]
            speeds.append([np.linalg.norm(b - a) * FPS / WINDOW for a, b in ((told, told_next), (there, there_next))])
    told, true = np.array(speeds).T
    emit(bench="accuracy", of=f"places on the ground, {of}", frame="PETS 2009 ground plane, metres, four marks from frames 1 to 100",
         boxes=len(places), **summary("error_m", places), speeds=len(told), true_speed_m_per_s_median=round(float(np.median(true)), 2),
         **summary("speed_error_m_per_s", np.abs(told - true)))
