"""Open water is wide and smooth; land is not, and neither is a roof."""

import numpy as np

from geodamage.scene.cells import CELL
from geodamage.scene.water import SQUARE, water
from tests.landscapes import landscape, later

PLACE = landscape(256, 256)


def wet(image, columns, level=40, waves=1.5, seed=0):
    """Return an image with water from a column on."""
    result = image.copy()
    shape = result[:, :, columns:].shape
    drawn = level + waves * np.random.default_rng(seed).normal(size=shape)
    result[:, :, columns:] = drawn.clip(1, 254).astype(np.uint8)
    return result


def test_land_is_not_water():
    assert not water([PLACE, later(PLACE)]).any()


def test_water_is_found_to_its_shore():
    found = water([wet(PLACE, 128), wet(later(PLACE), 128, level=70)])
    assert found[:, 128:].all()
    assert not found[:, :120].any()


def test_what_is_smooth_on_one_date_alone_is_no_water():
    assert not water([PLACE, wet(PLACE, 128)]).any()


def test_a_smooth_roof_is_too_small():
    side = (SQUARE - 1) * CELL
    image = PLACE.copy()
    image[:, 64 : 64 + side, 64 : 64 + side] = 200
    assert not water([image, image]).any()


def test_rougher_water_of_the_same_colour_belongs_to_it():
    image = wet(PLACE, 128)
    image[:, :, 192:] = wet(PLACE, 128, waves=6, seed=1)[:, :, 192:]
    assert water([image])[:, 128:].mean() > 0.9
