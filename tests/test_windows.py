import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.windows import Window, mirror, round_down, round_up, split
from tests.fakes import SMALL

WINDOWS = st.builds(
    Window, st.integers(-9, 9), st.integers(-9, 9), st.integers(0, 12), st.integers(0, 12)
)


def pixels(window):
    rows, columns = range(window.row, window.bottom), range(window.column, window.right)
    return {(row, column) for row in rows for column in columns}


def test_a_window_knows_its_sides():
    window = Window(2, 3, 4, 5)
    assert (window.bottom, window.right, window.shape, window.size) == (6, 8, (4, 5), 20)
    assert np.zeros((9, 9))[window.slices].shape == (4, 5)


@SMALL
@given(WINDOWS, WINDOWS)
def test_what_two_windows_share_are_the_pixels_of_both(a, b):
    assert pixels(a & b) == pixels(a) & pixels(b)
    assert pixels(b & a) == pixels(a & b)


@SMALL
@given(WINDOWS, WINDOWS)
def test_a_window_contains_what_has_no_pixel_outside(a, b):
    assert a.contains(b) == (pixels(b) <= pixels(a))


@SMALL
@given(WINDOWS, st.integers(0, 5))
def test_a_buffer_grows_on_each_side(window, amount):
    grown = window.buffer(amount)
    assert grown.contains(window)
    assert grown.shape == (window.height + 2 * amount, window.width + 2 * amount)
    assert grown.buffer(-amount) == window


@SMALL
@given(WINDOWS, st.integers(-5, 5), st.integers(-5, 5))
def test_a_shift_moves_every_pixel(window, rows, columns):
    moved = {(row + rows, column + columns) for row, column in pixels(window)}
    assert pixels(window.shift(rows, columns)) == moved


@SMALL
@given(st.integers(-1000, 1000), st.integers(1, 70))
def test_rounding_gives_the_nearest_multiples(value, step):
    low, high = round_down(value, step), round_up(value, step)
    assert low % step == high % step == 0
    assert value - step < low <= value <= high < value + step


@SMALL
@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 20))
def test_split_tiles_the_range_at_multiples(start, stop, step):
    pieces = list(split(start, stop, step))
    assert [i for a, b in pieces for i in range(a, b)] == list(range(start, stop))
    assert all(a % step == 0 for a, _ in pieces[1:])
    assert all(0 < b - a <= step for a, b in pieces)


@SMALL
@given(st.integers(-60, 60), st.integers(0, 60), st.integers(2, 20))
def test_mirror_is_that_of_numpy(start, length, size):
    reach = 130
    expected = np.pad(np.arange(size), reach, "reflect")[reach + start : reach + start + length]
    assert np.array_equal(mirror(start, start + length, size), expected)


def test_mirror_does_not_repeat_the_outermost_pixel():
    assert mirror(-2, 6, 4).tolist() == [2, 1, 0, 1, 2, 3, 2, 1]
    assert mirror(-2, 3, 1).tolist() == [0] * 5


def test_an_axis_without_pixels_cannot_be_mirrored():
    with pytest.raises(ValueError, match="0 pixels"):
        mirror(0, 1, 0)
