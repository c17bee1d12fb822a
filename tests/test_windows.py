import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geodamage.windows import Window, cells, mirror, pieces, round_down, round_up, split
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


def cost(windows, margin):
    return sum((w.height + 2 * margin) * (w.width + 2 * margin) for w in windows)


@SMALL
@given(
    arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.booleans()),
    st.floats(0, 4),
)
def test_pieces_hold_all_that_is_needed_once_and_cost_no_more(needed, margin):
    times = np.zeros(needed.shape, int)
    found = pieces(needed, margin)
    for piece in found:
        assert needed[piece.slices].any()
        times[piece.slices] += 1
    assert times.max() <= 1
    assert not needed[times == 0].any()
    assert cost(found, margin) <= cost([Window(0, 0, *needed.shape)], margin)


def test_what_lies_far_apart_is_cut_and_what_lies_near_is_not():
    needed = np.zeros((9, 20), bool)
    needed[1:3, 2] = needed[7, 18] = True
    assert pieces(needed, 2) == [Window(1, 2, 2, 1), Window(7, 18, 1, 1)]
    assert pieces(needed, 50) == [Window(1, 2, 7, 17)]
    assert pieces(np.zeros((3, 3), bool), 1) == []


@SMALL
@given(
    arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.booleans()),
    st.integers(1, 7),
)
def test_a_cell_is_set_where_any_of_its_pixels_is(pixels, side):
    found = cells(pixels, side)
    rows, columns = np.nonzero(pixels)
    expected = np.zeros(found.shape, bool)
    expected[rows // side, columns // side] = True
    assert np.array_equal(found, expected)
    assert found.shape == tuple(-(-length // side) for length in pixels.shape)


def test_a_window_of_cells_is_told_in_pixels():
    assert Window(1, 2, 3, 4).times(16) == Window(16, 32, 48, 64)
    assert Window(1, 2, 3, 4).times(1) == Window(1, 2, 3, 4)
