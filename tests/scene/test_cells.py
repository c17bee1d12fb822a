"""Cells are exact, and what two windows share is known of both."""

import numpy as np
import pytest

from geodamage.scene.cells import CELL, FAR, OWN, SHARED, cells_of, features_of, seen_cells, shown
from tests.landscapes import landscape, later

PLACE = landscape(256, 256)
DATES = [PLACE, later(PLACE)]


def test_cells_are_exact():
    image = np.random.default_rng(0).integers(0, 256, (3, 32, 40)).astype(np.uint8)
    image[:, 8:16, 16:24] = 31
    cells = cells_of(image)
    blocks = image.reshape(3, 4, 8, 5, 8).astype(float)
    assert np.array_equal(cells.means, blocks.mean((2, 4)))
    assert cells.deviation == pytest.approx(blocks[1].std((1, 3)), abs=1e-6)
    assert cells.constant.sum() == 1
    assert cells.constant[1, 2]


def test_the_first_rows_may_be_known_already():
    missing = np.zeros((2, 256, 256), bool)
    missing[0, 100, 7] = missing[1, 200:, 30] = True
    upper = seen_cells([date[:, :160] for date in DATES], missing[:, :160])
    below = [date[:, 80:] for date in DATES]
    expected = seen_cells(below, missing[:, 80:])
    found = seen_cells(below, missing[:, 80:], upper.last(10))
    for one, two in zip(found.dates, expected.dates, strict=True):
        assert all(np.array_equal(*planes) for planes in zip(one, two, strict=True))
    assert np.array_equal(found.whole, expected.whole)
    assert (~found.whole[0]).sum() == 1
    assert (~found.whole[1]).sum() == 7


def test_features_are_those_of_the_cell_and_of_what_is_seen_around_it():
    dates = [cells_of(date) for date in DATES]
    seen = shown(dates[0]) & shown(dates[1])
    seen[3, 5] = False
    one = np.zeros_like(seen)
    one[10, 12] = True
    features = features_of(dates, seen)
    (found,) = features.at(1, one)
    assert len(found) == 2 * OWN + SHARED
    grey = dates[1].means.mean(0)
    assert found[0] == pytest.approx(grey[10, 12])
    around = np.s_[10 - FAR : 11 + FAR, 12 - FAR : 13 + FAR]
    assert found[7] == pytest.approx(grey[around][seen[around]].mean(), abs=1e-3)
    assert features.at(0, one)[0, OWN] == found[0]
    assert len(features.at(0, seen)) == (256 // CELL) ** 2 - 1
