"""Blocks of a survey lie well spread, on an absolute lattice, within the extent."""

from hypothesis import given
from hypothesis import strategies as st

from geodamage.scene.survey import BLOCK, spread
from geodamage.windows import Window
from tests.fakes import SMALL


@SMALL
@given(st.integers(0, 63), st.integers(0, 63), st.integers(8, 60_000), st.integers(8, 60_000))
def test_blocks_lie_within_the_extent(row, column, height, width):
    extent = Window(row, column, height, width)
    blocks = spread(extent)
    assert 1 <= len(blocks) <= 36
    assert len(set(blocks)) == len(blocks)
    assert all(extent.contains(block) for block in blocks)
    assert {block.shape for block in blocks} == {(min(height, BLOCK), min(width, BLOCK))}


def test_a_large_scene_has_blocks_at_both_ends():
    blocks = spread(Window(0, 0, 10_000, 10_000))
    assert len(blocks) == 25
    assert min(block.row for block in blocks) == 0
    assert max(block.bottom for block in blocks) > 8_000


@SMALL
@given(st.integers(-5000, 5000), st.integers(-5000, 5000), st.integers(0, 60))
def test_a_crop_has_the_blocks_of_the_whole_that_lie_in_it(row, column, cut):
    whole = {(b.row, b.column) for b in spread(Window(0, 0, 1024, 1024), (64 * row, 64 * column))}
    crop = Window(cut, cut, 1024 - cut, 1024 - cut)
    kept = {(b.row, b.column) for b in spread(crop, (64 * row, 64 * column))}
    assert kept == {place for place in whole if min(place) >= cut}
