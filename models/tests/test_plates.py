"""Plates: the manifest's pairs, the drawings, and the reference on answers that are known."""

import cv2
import numpy as np
import pytest

from vigil_models import manifest, plate_manifest, plate_models, plate_parity, plate_pictures, plate_reference
from vigil_models.plate_pictures import BLUE, GREEN, View

RANDOM = np.random.default_rng(3)


def test_the_repositorys_pair_loads_and_has_every_character_that_is_drawn():
    pair = plate_manifest.load(manifest.default_manifest())
    assert pair.name == "clpr-cn"
    assert len(pair.reader.alphabet) == 72
    drawn = set(plate_pictures.PROVINCES + plate_pictures.LETTERS + plate_pictures.DIGITS)
    assert drawn <= set(pair.reader.alphabet)


def test_a_pair_with_an_unknown_key_is_refused(tmp_path):
    (tmp_path / "m.toml").write_text('schema = 1\n[[plates]]\nname = "x"\ndetector = {}\nreader = {}\nheat = 1\n')
    with pytest.raises(manifest.ManifestError, match="unknown keys"):
        plate_manifest.load_all(tmp_path / "m.toml")


@pytest.mark.parametrize("style", [BLUE, GREEN])
def test_plates_have_the_proportions_of_their_kind_and_their_characters_fit(style):
    plate = plate_pictures.draw(plate_pictures.random_text(RANDOM, style), style)
    assert plate.shape == (140, style.width, 3)
    count = len(style.cells)
    used = sum(style.cells) + style.parting + style.gap * (count - 2) + 2 * plate_pictures.MARGIN
    assert used == style.width
    with pytest.raises(ValueError, match="characters"):
        plate_pictures.draw("A" * (count + 1), style)


def test_a_plate_is_flattened_back_to_what_was_laid_in():
    plate = plate_pictures.draw("京A12345", BLUE)
    view = View(height=70, yaw=20, roll=3)
    picture = plate_pictures.lay(np.full((360, 640, 3), 90, np.uint8), plate, (320, 180), view, RANDOM)
    corners = plate_pictures.corners((440, 140), (320, 180), view)
    flat = plate_reference.flatten(plate_parity.to_frame(picture, "bt601"), corners, 220, 70)[:, :, ::-1]
    across, down = (round(m * side) for m, side in zip(plate_reference.QUAD_MARGIN, (440, 140), strict=True))
    whole = cv2.copyMakeBorder(plate, down, down, across, across, cv2.BORDER_REPLICATE)
    wanted = cv2.resize(whole, (220, 70), interpolation=cv2.INTER_AREA)
    luma = [picture.mean(axis=2)[8:62, 8:212].ravel() for picture in (flat, wanted.astype(float))]
    assert np.corrcoef(*luma)[0, 1] > 0.95


def test_priors_go_cell_by_cell_and_stride_by_stride():
    priors = plate_models._priors(64, 32)
    assert len(priors) == 2 * (8 * 4 + 4 * 2 + 2 * 1)
    assert priors[0].tolist() == [4, 4, 24, 24]
    assert priors[1].tolist() == [4, 4, 48, 48]
    assert priors[2 * 8].tolist() == [4, 12, 24, 24]
    assert priors[-1].tolist() == [48, 16, 768, 768]


@pytest.mark.parametrize(("blank", "shift"), [("first", 1), ("last", 0)])
def test_a_run_is_one_character_and_a_blank_parts_two(blank, shift):
    empty = 0 if blank == "first" else 2
    steps = [empty, shift, shift, empty, shift, 1 + shift]
    answer = np.full((len(steps), 3), 0.05)
    answer[np.arange(len(steps)), steps] = [0.9, 0.6, 0.8, 0.9, 0.7, 0.9]
    assert plate_reference.decode(answer, ("A", "B"), blank) == [("A", 0.8), ("A", 0.7), ("B", 0.9)]
