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
    assert 1 <= len(blocks) <= 25
    assert len(set(blocks)) == len(blocks)
    assert all(extent.contains(block) for block in blocks)
    assert {block.shape for block in blocks} == {(min(height, BLOCK), min(width, BLOCK))}


def test_a_large_scene_has_blocks_at_both_ends():
    blocks = spread(Window(0, 0, 10_000, 10_000))
    assert len(blocks) == 25
    assert min(block.row for block in blocks) == 0
    assert max(block.bottom for block in blocks) > 9_900
