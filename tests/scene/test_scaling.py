import warnings

import numpy as np
import pytest

from geodamage.scene.scaling import Scaling, from_samples


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_apply(dtype):
    pixels = np.array([[[90, 100, 150, 200, 300]], [[0, 0, 1, 2, 3]]], dtype)
    scaled = Scaling((100.0, 0.0), (200.0, 2.0)).apply(pixels)
    assert scaled.dtype == np.uint8
    assert scaled.tolist() == [[[0, 0, 128, 255, 255]], [[0, 0, 128, 255, 255]]]


def test_percentiles_are_of_all_samples():
    samples = [np.arange(0, 500)[None], np.arange(500, 1001)[None]]
    scaling = from_samples([sample.astype(np.uint16) for sample in samples])
    assert scaling == Scaling((20.0,), (980.0,), "guess")
    assert scaling.facts() == {"minimum": [20.0], "maximum": [980.0], "from": "guess"}


def test_a_channel_of_one_value_becomes_0():
    scaling = from_samples([np.full((1, 50), 7.0)])
    assert scaling.apply(np.full((1, 2, 2), 7.0)).max() == 0


def test_a_few_bright_pixels_keep_their_contrast():
    pixels = np.zeros((1, 1000), np.float32)
    pixels[0, 0] = 10
    assert from_samples([pixels]) == Scaling((0.0,), (10.0,), "guess")


def test_8_bits_are_scaled_where_that_is_asked_for():
    pixels = np.array([[[10, 20, 60, 110, 255]]], np.uint8)
    assert Scaling((10.0,), (110.0,)).apply(pixels).tolist() == [[[0, 26, 128, 255, 255]]]


def test_undone_is_what_was():
    scaling = Scaling((100.0, -4.0), (355.0, 251.0))
    assert scaling.undo(np.array([[0, 255], [4, 5]])).tolist() == [[100, 355], [0, 1]]


def test_what_is_beyond_all_numbers_is_black_or_white():
    pixels = np.array([[[-3e38, 3e38, 50]]], np.float32)
    with warnings.catch_warnings(action="error"):
        assert Scaling((0.0,), (100.0,)).apply(pixels).tolist() == [[[0, 255, 128]]]
