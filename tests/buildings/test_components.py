import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

import geodamage.buildings.components
from geodamage.buildings.components import Components
from geodamage.scene.pixels import MISSING_POST, MISSING_PRE, OUTSIDE_AOI
from geodamage.windows import Window
from tests.fakes import SMALL, cut_strips, strip_of

#: Where the fake strip lies in its scene.
ROW, COLUMN = 5, 7


def strip_with(mask, seed=0):
    """Return a strip at (ROW, COLUMN) whose localisation is above a half in the mask."""
    rng = np.random.default_rng(seed)
    values = np.where(mask, rng.uniform(0.6, 1, mask.shape), rng.uniform(0, 0.4, mask.shape))
    whole = strip_of(values.astype(np.float32), rng.integers(1, 5, mask.shape))
    return type(whole)(whole.window.shift(ROW, COLUMN), whole.probabilities, whole.missing)


def run(whole, rows=(), columns=(), cells=(0, 0)):
    """Send a strip through in pieces; return the parts as sets of pixels, and the components."""
    components = Components(whole.window, 0.5, cells)
    parts = []
    for strip in cut_strips(whole, rows, columns):
        for patch in components.add(strip):
            parts += check_patch(patch, whole)
    assert not components._pieces, "a component still waits after the last strip"
    return parts, components


def check_patch(patch, whole):
    """Check a patch against the strip it came from; return its parts."""
    assert patch.labels.shape == patch.window.shape
    assert patch.probabilities.shape == (5, *patch.window.shape)
    assert set(np.unique(patch.labels)) - {0} == set(range(1, patch.count + 1))
    here = patch.window.shift(-ROW, -COLUMN).slices
    inside = patch.labels > 0
    expected = whole.probabilities[:, *here]
    assert np.array_equal(patch.probabilities[:, inside], expected[:, inside])
    assert np.array_equal(patch.missing[inside], whole.missing[here][inside])
    parts = []
    for number in range(1, patch.count + 1):
        rows, columns = np.nonzero(patch.labels == number)
        pixels = zip(rows + here[0].start, columns + here[1].start, strict=True)
        parts.append(frozenset((int(r), int(c)) for r, c in pixels))
    return parts


def expected_parts(mask):
    labels, count = ndimage.label(mask)
    found = {number: set() for number in range(1, count + 1)}
    for row, column in np.argwhere(labels):
        found[labels[row, column]].add((int(row), int(column)))
    return sorted(map(sorted, found.values()))


def assert_same(parts, mask):
    assert sorted(map(sorted, parts)) == expected_parts(mask)


@st.composite
def masks(draw):
    rows, columns = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    noise = ndimage.gaussian_filter(
        rng.random((rows, columns)), draw(st.sampled_from([0, 0.7, 1.5]))
    )
    share = draw(st.floats(0.05, 0.95))
    return noise > np.quantile(noise, 1 - share)


CUTS = st.lists(st.integers(1, 39), max_size=8)


@pytest.mark.slow
@SMALL
@given(masks(), CUTS, CUTS)
def test_components_are_those_of_the_whole_mask_however_it_is_cut(mask, rows, columns):
    parts, components = run(strip_with(mask), rows, columns)
    assert_same(parts, mask)
    assert components.cut == 0


def spiral(size):
    mask = np.zeros((size, size), bool)
    row = column = 0
    step, turn = (0, 1), 0
    top, left, bottom, right = 0, 0, size - 1, size - 1
    mask[0, 0] = True
    while top <= bottom and left <= right:
        end = {0: (top, right), 1: (bottom, right), 2: (bottom, left), 3: (top, left)}[turn]
        while (row, column) != end:
            row, column = row + step[0], column + step[1]
            mask[row, column] = True
        if turn == 0:
            top += 2
        elif turn == 1:
            right -= 2
        elif turn == 2:
            bottom -= 2
        else:
            left += 2
        turn = (turn + 1) % 4
        step = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn]
    return mask


def comb(size):
    mask = np.zeros((size, size), bool)
    mask[:, ::2] = True
    mask[-1] = True
    return mask


def cup(size):
    mask = np.zeros((size, size), bool)
    mask[:, 0] = mask[:, -1] = mask[-1] = True
    return mask


SHAPES = {
    "spiral": spiral(25),
    "comb": comb(25),
    "comb upside down": comb(25)[::-1],
    "comb on its side": comb(25).T,
    "comb on its other side": comb(25).T[:, ::-1],
    "cup": cup(25),
    "arch": cup(25)[::-1],
    "bracket": cup(25).T,
    "all": np.ones((25, 25), bool),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", [1, 3, 7, 24])
def test_what_reaches_over_many_strips_and_blocks_is_one(shape, step):
    mask = SHAPES[shape]
    assert ndimage.label(mask)[1] == 1
    cuts = range(step, 25, step)
    for rows, columns in ((cuts, ()), ((), cuts), (cuts, cuts)):
        parts, _ = run(strip_with(mask), rows, columns)
        assert_same(parts, mask)


def test_corners_do_not_join():
    mask = np.eye(8, dtype=bool)
    parts, _ = run(strip_with(mask), [3, 4], [2, 5])
    assert len(parts) == 8


def test_pixels_that_were_not_seen_are_in_no_component():
    whole = strip_with(np.ones((6, 6), bool))
    whole.missing[2, :] = MISSING_PRE
    whole.missing[0, 0] = MISSING_POST  # the pre image shows it
    whole.missing[:, 3] = OUTSIDE_AOI
    parts, _ = run(whole, [2], [3])
    assert_same(parts, (whole.missing & (MISSING_PRE | OUTSIDE_AOI)) == 0)
    assert len(parts) == 4


def test_the_threshold_itself_is_not_a_building():
    parts, _ = run(strip_of_half := strip_with(np.zeros((4, 4), bool)))
    assert parts == []
    strip_of_half.probabilities[0] = 0.5
    assert run(strip_of_half)[0] == []
    strip_of_half.probabilities[0] = 0.499
    assert len(run(strip_of_half)[0]) == 1


def test_a_component_leaves_when_its_last_row_has_passed():
    mask = np.zeros((12, 12), bool)
    mask[1:5, 2:4] = True
    components = Components(Window(0, 0, 12, 12), 0.5, (0, 0))
    whole = strip_of(np.where(mask, 0.9, 0.1).astype(np.float32))
    finished = [
        sum(patch.count for patch in components.add(strip))
        for strip in cut_strips(whole, [3, 6, 9], [])
    ]
    assert finished == [0, 1, 0, 0]


def test_a_waiting_component_holds_its_pixels_and_no_more():
    mask = np.zeros((30, 30), bool)
    mask[4:7, 4:7] = mask[10:20, 10:20] = True
    components = Components(Window(0, 0, 30, 30), 0.5, (0, 0))
    whole = strip_of(np.where(mask, 0.9, 0.1).astype(np.float32))
    for strip in cut_strips(whole, [15], []):
        list(components.add(strip))
        if strip.window.row == 0:
            held = [piece for pieces in components._pieces.values() for piece in pieces]
            assert [len(piece.rows) for piece in held] == [50]
    assert not components._pieces
    assert not components._parent


# components too large for a building


@pytest.fixture
def _small_limits(monkeypatch):
    monkeypatch.setattr(geodamage.buildings.components, "LARGEST_COMPONENT", 50)
    monkeypatch.setattr(geodamage.buildings.components, "CELL", 7)


def cut_parts(mask, cells):
    """Return what a huge component must become: its parts within each cell of the fixed grid."""
    labels, _ = ndimage.label(mask)
    boxes = ndimage.find_objects(labels)
    expected, cut = [], 0
    rows, columns = np.indices(mask.shape)
    cell = (rows + ROW + cells[0]) // 7 * 1000 + (columns + COLUMN + cells[1]) // 7
    for number, box in enumerate(boxes, 1):
        own = labels == number
        size = own.sum()
        extent = (box[0].stop - box[0].start) * (box[1].stop - box[1].start)
        if size <= 50 and extent <= 200:
            expected += expected_parts(own)
            continue
        cut += 1
        for value in np.unique(cell[own]):
            expected += expected_parts(own & (cell == value))
    return sorted(expected), cut


@pytest.mark.slow
@pytest.mark.usefixtures("_small_limits")
@SMALL
@given(masks(), CUTS, CUTS, st.tuples(st.integers(-20, 20), st.integers(-20, 20)))
def test_what_is_too_large_is_cut_on_a_fixed_grid(mask, rows, columns, cells):
    parts, components = run(strip_with(mask), rows, columns, cells)
    expected, cut = cut_parts(mask, cells)
    assert sorted(map(sorted, parts)) == expected
    assert components.cut == cut


@pytest.mark.slow
@pytest.mark.usefixtures("_small_limits")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("step", [1, 2, 5, 7])
def test_a_huge_shape_is_cut_alike_however_it_comes(shape, step):
    mask = SHAPES[shape]
    expected, _ = cut_parts(mask, (0, 0))
    for first in (1, 4):
        cuts = range(first, 25, step)
        for rows, columns in (((), ()), (cuts, ()), ((), cuts), (cuts, cuts)):
            parts, components = run(strip_with(mask), rows, columns)
            assert sorted(map(sorted, parts)) == expected
            assert components.cut == 1


@pytest.mark.usefixtures("_small_limits")
def test_a_sparse_component_over_a_large_box_is_cut_in_one_strip_as_in_many():
    mask = np.zeros((20, 20), bool)
    mask[2:18, 2] = mask[17, 2:18] = True
    expected, cut = cut_parts(mask, (0, 0))
    assert cut == 1
    for rows in ((), (9,)):
        parts, components = run(strip_with(mask), rows)
        assert sorted(map(sorted, parts)) == expected
        assert components.cut == 1


@pytest.mark.usefixtures("_small_limits")
def test_what_joins_a_huge_component_late_is_cut_as_well():
    mask = np.zeros((24, 14), bool)
    mask[:18, 1] = True  # comes first, and alone would be a building
    mask[:16, 3:] = True  # has left but for its rim when the two meet below
    mask[16:18, 3] = mask[17, 1:4] = True
    expected, _ = cut_parts(mask, (0, 0))
    parts, components = run(strip_with(mask), [4, 8, 12, 16, 20])
    assert sorted(map(sorted, parts)) == expected
    assert components.cut == 1


@pytest.mark.usefixtures("_small_limits")
def test_a_huge_component_that_ends_with_a_cell_and_a_strip():
    mask = np.ones((40, 14), bool)
    mask[16:] = False
    # Rows 9 and 16 begin both a strip and a cell: with the strip above row 16 every pixel has left.
    parts, components = run(strip_with(mask), [2, 9, 16, 23])
    assert sum(map(len, parts)) == mask.sum()
    assert components.cut == 1


@pytest.mark.usefixtures("_small_limits")
def test_a_huge_component_is_sent_on_while_it_grows():
    mask = np.ones((200, 10), bool)
    components = Components(Window(0, 0, 200, 10), 0.5, (0, 0))
    whole = strip_of(np.where(mask, 0.9, 0.1).astype(np.float32))
    for strip in cut_strips(whole, range(4, 200, 4), []):
        list(components.add(strip))
        held = sum(len(piece.rows) for pieces in components._pieces.values() for piece in pieces)
        assert held <= 50 + (4 + 7) * 10
