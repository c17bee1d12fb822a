import numpy as np
import pytest

from benchmarks.conditions import Shot
from benchmarks.stretch import BANDS, CLOUDED, CONDITIONS, PLAIN, Found, Row
from tests.landscapes import landscape

SHOT = Shot(landscape(64, 64), {"dtype": "uint8", "count": 3})


def changed(name):
    return CONDITIONS[name].post(SHOT, np.random.default_rng(0))


@pytest.mark.parametrize("name", sorted(set(CONDITIONS) - {PLAIN, CLOUDED, "8 bits, percentiles"}))
def test_an_image_is_of_the_type_that_its_name_says(name):
    found = changed(name)
    assert found.pixels.dtype == ("float32" if name.startswith("float") else "uint16")
    assert found.profile["dtype"] == found.pixels.dtype


def test_values_are_multiplied_before_they_are_cut():
    assert np.array_equal(changed("16 bits, times 8").pixels, SHOT.pixels.astype(int) * 8)
    assert changed("16 bits, times 3 plus 500").pixels.min() >= 503


def test_eight_channels_hold_the_three():
    pixels = changed("8 channels").pixels[[band - 1 for band in BANDS]]
    assert np.abs(pixels / 8 - SHOT.pixels).max() <= 0.6


def test_16_bits_under_cloud_are_held_against_8_bits_under_the_same():
    wide = changed("16 bits, cloud over 30 % of post").pixels / 8
    assert np.abs(wide - changed(CLOUDED).pixels).max() <= 0.6


def test_a_row_counts_grades_that_both_have():
    row = Row("a")
    row.add(Found(9, {"a": 1, "b": 2, "c": 0}), Found(10, {"a": 1, "b": 3, "c": 1}))
    assert row.text() == "| a | 1 | 9 | 90.0% | 2 | 50.0% |"
