import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodamage.scene.warp import average, locate, pieces, reduction, resample
from geodamage.windows import Window

EVERYTHING = Window(-100_000, -100_000, 200_000, 200_000)


def bent(columns, rows):
    return columns * 1.01 + rows * 0.002 + 3.3, rows * 0.97 - 7 + 1e-6 * columns**2


def windows(limit=300):
    number = st.integers(-limit, limit)
    size = st.integers(1, 200)
    return st.builds(Window, number, number, size, size)


@given(windows())
@settings(max_examples=30)
def test_positions_are_those_of_the_map_to_a_64th(window):
    rows, columns = np.mgrid[window.slices] + 0.5
    across, down = bent(columns, rows)
    found = locate(window, bent, EVERYTHING).maps(Window(0, 0, 0, 0))
    # 1e-6 c² bends by 1e-3 pixel at most between two nodes
    np.testing.assert_allclose(found[0], across - 0.5, atol=1 / 64 + 2e-3)
    np.testing.assert_allclose(found[1], down - 0.5, atol=1 / 64 + 2e-3)
    assert not np.any(found[0] * 32 % 1)


@pytest.mark.slow
@given(windows(), st.data())
@settings(max_examples=60)
def test_positions_do_not_depend_on_the_window(window, data):
    row = data.draw(st.integers(0, window.height - 1))
    column = data.draw(st.integers(0, window.width - 1))
    part = Window(
        window.row + row, window.column + column, window.height - row, window.width - column
    )
    whole = locate(window, bent, EVERYTHING)
    for small in (locate(part, bent, EVERYTHING), whole.crop(part)):
        here = small.maps(Window(-5, 9, 0, 0))
        for found, expected in zip(here, whole.maps(Window(-5, 9, 0, 0)), strict=True):
            assert np.array_equal(found, expected[row:, column:])


@pytest.mark.slow
@given(windows())
def test_hull_holds_every_neighbour(window):
    positions = locate(window, bent, EVERYTHING)
    columns, rows = positions.maps(Window(0, 0, 0, 0))
    hull = positions.hull
    assert np.floor(columns.min()) >= hull.column
    assert np.floor(columns.max()) + 1 < hull.right
    assert np.floor(rows.min()) >= hull.row
    assert np.floor(rows.max()) + 1 < hull.bottom


@pytest.mark.slow
@given(windows(), st.integers(-50, 50), st.integers(-50, 50))
def test_translation(window, down, across):
    positions = locate(window, lambda c, r: (c + across + 0.001, r + down), EVERYTHING)
    assert positions.translation == (down, across)
    assert locate(window, bent, EVERYTHING).translation is None


def test_infinite_positions_are_beyond_the_image():
    limits = Window(0, 0, 100, 100)
    positions = locate(Window(0, 0, 8, 8), lambda c, r: (c * np.inf, r), limits)
    assert not (positions.hull & limits).size


def test_pieces_leave_out_a_cell_that_spans_an_edge_of_the_projection():
    def torn(columns, rows):
        return np.where(columns < 64, columns, columns + 50_000), rows

    positions = locate(Window(0, 0, 64, 256), torn, EVERYTHING)
    found = [piece.window for piece in pieces(positions, EVERYTHING, 10_000)]
    assert found == [Window(0, 64, 64, 64), Window(0, 128, 64, 128)]


@pytest.mark.slow
@given(windows(), st.integers(5000, 20_000))
@settings(max_examples=30)
def test_pieces_tile_the_window_and_are_small(window, most):
    count = np.zeros(window.shape, int)
    for piece in pieces(locate(window, bent, EVERYTHING), EVERYTHING, most):
        assert (piece.hull & EVERYTHING).size <= most
        count[piece.window.shift(-window.row, -window.column).slices] += 1
    assert (count == 1).all()


def test_resample_is_bilinear_and_ends_half_a_pixel_out():
    values = np.array([[[0, 100], [50, 150]]], np.uint8)
    columns = np.array([[0.5, -0.5, -0.53125, 1.5, 1.53125]], np.float32)
    found, valid = resample(values, np.ones((2, 2), bool), columns, np.zeros_like(columns))
    assert found[0, 0].tolist() == [50, 0, 0, 100, 100]
    assert valid[0].tolist() == [True, True, False, True, False]


def test_resample_needs_every_pixel_it_draws_on():
    values = np.full((1, 1, 3), 9, np.uint8)
    valid = np.array([[True, True, False]])
    columns = np.array([[0.5, 1.0, 1.03125, 2.0]], np.float32)
    _, found = resample(values, valid, columns, np.zeros_like(columns))
    assert found[0].tolist() == [True, True, False, False]


def test_average():
    values = np.array([[[1, 2, 200, 0], [2, 2, 0, 0]]], np.uint8)
    valid = np.array([[True, True, True, False], [True, True, False, False]])
    found, good = average(values, valid, (2, 2))
    assert found.tolist() == [[[2, 200]]]
    assert good.tolist() == [[True, False]]
    whole, _ = average(values, np.ones_like(valid), (2, 2))
    assert whole.tolist() == [[[2, 50]]]
    halves, good = average(values, valid, (1, 2))
    assert halves.tolist() == [[[2, 200], [2, 0]]]
    assert good.tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize(
    ("factor", "expected"),
    [(0.3, 1), (1, 1), (1.5, 1), (1.99, 2), (2.0, 2), (2.03, 2), (2.9, 2), (2.98, 3), (9.95, 10)],
)
def test_reduction(factor, expected):
    assert reduction(factor) == expected
