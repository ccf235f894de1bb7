"""What confidences are worth is found again where it is known."""

import numpy as np
import pytest

from vigil_models import confidence


def boxes(even_odds, slope, count=4000, seed=1):
    """Boxes of which as many are right as their confidence is worth, and the truth, a frame each."""
    random = np.random.default_rng(seed)
    confidences = random.uniform(0.1, 0.95, count)
    logit = lambda p: np.log(p / (1 - p))  # noqa: E731
    right = random.uniform(size=count) < 1 / (1 + np.exp(-slope * (logit(confidences) - logit(even_odds))))
    frames = np.arange(1, count + 1)
    box = np.tile([100.0, 100.0, 40.0, 80.0], (count, 1))
    found = np.column_stack([frames, box, confidences])
    truth = np.column_stack([frames, box + np.array([5.0, 3.0, 0.0, 0.0]), np.ones(count)])[right]
    return found, truth


@pytest.mark.parametrize(("even_odds", "slope"), [(0.6, 3.0), (0.5, 1.0), (0.3, 1.7)])
def test_the_scale_that_boxes_were_drawn_from_is_found(even_odds, slope):
    found_odds, found_slope = confidence.fit(*confidence.judge(*boxes(even_odds, slope)))
    assert abs(found_odds - even_odds) < 0.03
    assert abs(found_slope / slope - 1) < 0.12


def test_an_object_makes_one_box_right_and_rows_marked_zero_none():
    found = np.array([[1, 0, 0, 10, 20, 0.9], [1, 1, 0, 10, 20, 0.8], [1, 50, 0, 10, 20, 0.7], [2, 0, 0, 10, 20, 0.6]])
    truth = np.array([[1, 0, 0, 10, 20, 1], [1, 50, 0, 10, 20, 0]])
    confidences, right = confidence.judge(found, truth)
    assert confidences.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert right.tolist() == [True, False, False, False]


def test_boxes_that_say_nothing_are_refused():
    found, truth = boxes(0.6, 3.0, count=40)
    with pytest.raises(ValueError, match="it takes 30 of each"):
        confidence.fit(*confidence.judge(found, truth))
    found, truth = boxes(0.6, 3.0)
    found[:, 5] = 1 - found[:, 5]
    with pytest.raises(ValueError, match="not more often right"):
        confidence.fit(*confidence.judge(found, truth))


def test_the_command_prints_what_a_manifest_says(tmp_path, capsys):
    found, truth = boxes(0.6, 3.0)
    for name, table in (("found.txt", found), ("truth.txt", truth)):
        lines = [f"{int(r[0])},-1,{r[1]},{r[2]},{r[3]},{r[4]},{r[5]},-1,-1,-1\n" for r in table]
        (tmp_path / name).write_text("".join(lines))
    confidence.main(["--pair", str(tmp_path / "found.txt"), str(tmp_path / "truth.txt")])
    said = capsys.readouterr().out
    assert said.startswith("[model.confidence]  # 4000 boxes")
    assert "\neven_odds = 0.6" in said or "\neven_odds = 0.59" in said
