"""What the detector of hidden ground learns from, and how its word is cleaned."""

import csv

import cv2
import numpy as np
import pytest

from geodamage.scene.cells import OWN, SHARED
from geodamage.scene.obscured import Classifier
from tests.landscapes import landscape, later
from training.obscured import CLEAR, CLOUDED, OBSCURED, SIDE, called, drawn, pairs, table

PAIR = tuple(np.ascontiguousarray(image.transpose(1, 2, 0))
             for image in (landscape(1024, 1024), later(landscape(1024, 1024))))  # fmt: skip


@pytest.mark.slow
def test_places_with_clouds_of_their_own_are_left_out(tmp_path):
    (tmp_path / "images").mkdir()
    names = ["town_00000001", min(CLOUDED)]
    for name in names:
        for date, image in zip(("pre", "post"), PAIR, strict=True):
            cv2.imwrite(str(tmp_path / "images" / f"{name}_{date}_disaster.png"), image)
    with (tmp_path / "split.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("pair", "part"), *((name, "train") for name in names)])
    assert len(list(pairs(tmp_path, tmp_path / "split.csv", "train"))) == 1


@pytest.mark.slow
def test_of_what_is_drawn_clear_and_hidden_cells_come():
    rng, covers = np.random.default_rng(0), []
    for _ in range(12):
        images, opacity = drawn(rng, PAIR)
        assert all(image.shape == (SIDE, SIDE, 3) for image in images)
        for features, covered in table(rng, images, opacity):
            assert features.shape[-1] == 2 * OWN + SHARED
            covers.append(covered)
    everything = np.concatenate([covered.ravel() for covered in covers])
    assert (everything >= OBSCURED).mean() > 0.05
    assert (everything <= CLEAR).mean() > 0.3
    assert np.isnan(everything).any()  # fill, which nobody is asked about


@pytest.mark.slow
def test_a_clear_drawing_is_the_place_itself():
    _, opacity = drawn(np.random.default_rng(1), PAIR, veiled=False)
    assert np.nanmax(opacity) == 0


def test_what_is_smaller_than_a_square_is_not_called():
    weights = np.zeros((2 * OWN + SHARED, 1), np.float32)
    weights[0] = 1
    classifier = Classifier(
        np.zeros(len(weights), np.float32), np.ones(len(weights), np.float32), (weights,),
        (np.zeros(1, np.float32),), 0.5,
    )  # fmt: skip
    features = np.full((20, 20, len(weights)), -1, np.float32)
    features[2:5, 2:5, 0] = 5
    features[8:14, 8:14, 0] = 5
    found = called(classifier, features, 0.9)
    assert found[8:14, 8:14].all()
    assert found.sum() == 36
