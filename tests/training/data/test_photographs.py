"""Images taken again: roofs lean, haze and coarse pixels take contrast away."""

import dataclasses

import numpy as np

from training.data.crops import ChipOptions
from training.data.photographs import lean, photographed

OPTIONS = ChipOptions(crop=64, shift=8)


def test_roofs_lean_and_the_ground_stays():
    image = np.full((40, 40, 3), 80, np.uint8)
    roofs = np.zeros((40, 40), bool)
    roofs[10:20, 10:20] = True
    image[roofs] = 200
    standing = roofs.astype(np.uint8)
    moved, seen = lean(image, standing, roofs, (4.0, 0.0))
    assert (moved[10:20, 14:24] == 200).all()
    assert (seen[10:20, 14:24] == 1).all()
    assert (seen[10:20, 10:14] == 255).all()  # a wall, or the edge of the roof
    elsewhere = np.ones((40, 40), bool)
    elsewhere[10:20, 10:24] = False
    assert np.array_equal(moved[elsewhere], image[elsewhere])
    assert np.array_equal(seen[elsewhere], standing[elsewhere])


def test_haze_and_coarse_pixels_take_contrast_away():
    noisy = np.random.default_rng(3).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    spread = {}
    for name, options in (
        ("plain", OPTIONS),
        ("haze", dataclasses.replace(OPTIONS, haze=1.0)),
        ("coarse", dataclasses.replace(OPTIONS, coarse=1.0)),
    ):
        images = [photographed(noisy, np.random.default_rng(n), options) for n in range(30)]
        spread[name] = np.mean([image[20:44, 20:44].std() for image in images])
    assert spread["haze"] < 0.9 * spread["plain"]
    assert spread["coarse"] < 0.8 * spread["plain"]


def test_a_pixel_without_data_stays_so():
    image = np.full((32, 32, 3), 120, np.uint8)
    image[:, :10] = 0
    for seed in range(20):
        taken = photographed(image, np.random.default_rng(seed), OPTIONS)
        assert not taken[:, :10].any()
        assert taken[:, 16:].any()
