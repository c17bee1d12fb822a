from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from geodamage.errors import OptionError, ResourceError
from geodamage.plan import BASE_BYTES, BASE_MODEL_BYTES, READ_BYTES, STRIP_BYTES, make_plan
from geodamage.windows import Window
from tests.fakes import SMALL, make_card


def enough(card, batch, columns, tile=None):
    """Return bytes that suffice for so many columns of the largest windows."""
    window = (tile or card.tile) ** 2
    own = card.bytes_per_pixel * window * batch
    return BASE_BYTES + own + columns * window * (READ_BYTES + STRIP_BYTES)


@SMALL
@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(1, 200_000),
    st.integers(1, 200_000),
    st.sampled_from([1, 8, 32]),
    st.integers(0, 100),
    st.integers(1, 8),
    st.floats(4e8, 8e9),
    st.sampled_from(["local", "global"]),
)
def test_a_plan_keeps_within_its_memory(
    row, column, rows, columns, stride, halo, batch, memory, context
):
    card = make_card(stride=stride, halo=halo, tile=512, bytes_per_pixel=1500.0, context=context)
    region = Window(row, column, rows, columns)
    try:
        plan = make_plan(region, card, batch=batch, memory=memory)
    except ResourceError:
        # Cores of less than two margins are not halved.
        smallest = 2 * card.margin + 2 * max(card.margin, stride)
        if context == "global":
            smallest = card.tile
        assume(memory > enough(card, 1, 1, smallest + stride))
        raise
    window = plan.window[0] * plan.window[1]
    core = plan.core[0] * plan.core[1]
    width = plan.columns * plan.core[1] + 2 * plan.halo
    need = BASE_BYTES + card.bytes_per_pixel * window * plan.batch
    need += plan.window[0] * width * READ_BYTES + core * plan.columns * STRIP_BYTES
    assert need <= memory
    assert 1 <= plan.batch <= batch
    assert plan.halo >= halo
    for number in (*plan.origin, *plan.core, plan.halo):
        assert number % stride == 0
    assert row - stride < plan.origin[0] <= row
    assert column - stride < plan.origin[1] <= column
    assert max(plan.window) <= (card.tile if batch > 1 else 4 * card.tile)
    if context == "global":
        assert plan.window == (card.tile, card.tile)


@SMALL
@given(
    st.builds(
        Window, st.integers(0, 40), st.integers(0, 40), st.integers(1, 90), st.integers(1, 90)
    ),
    st.sampled_from([1, 4, 16]),
    st.integers(0, 9),
    st.integers(1, 4),
)
def test_strips_hold_whole_cores_and_tile_the_region(region, stride, halo, columns):
    card = make_card(stride=stride, halo=halo, tile=64)
    plan = make_plan(region, card, memory=enough(card, 1, columns))
    times = np.zeros((region.bottom + 128, region.right + 128), int)
    for strip in plan.strips():
        cores = list(plan.cores(strip))
        assert sum(core.size for core in cores) == strip.size
        for core in cores:
            assert core.row % stride == core.column % stride == 0
            times[core.slices] += 1
    assert (times[region.slices] == 1).all()
    assert times.max() == 1


def test_little_memory_makes_blocks_of_columns():
    card = make_card(stride=4, halo=4, tile=32)
    wide = Window(0, 0, 64, 1000)
    assert len(list(make_plan(wide, card).blocks())) == 1
    narrow = make_plan(wide, card, memory=enough(card, 1, 3))
    assert len(list(narrow.blocks())) > 5


def test_too_little_memory_is_refused_with_numbers():
    card = make_card(tile=512, halo=32, stride=16, bytes_per_pixel=2000.0)
    with pytest.raises(ResourceError, match=r"0\.40 GB .*'fake'.* 0\.\d\d GB"):
        make_plan(Window(0, 0, 1000, 1000), card, memory=4e8)


def test_what_is_said_to_be_needed_is_enough():
    card = make_card(tile=512, halo=32, stride=16, bytes_per_pixel=2000.0, context="global")
    region = Window(0, 0, 1000, 1000)
    with pytest.raises(ResourceError) as caught:
        make_plan(region, card, memory=4e8)
    needed = float(str(caught.value).split("needs ")[1].split(" GB")[0]) * 1e9
    make_plan(region, card, memory=needed + 1e7)
    with pytest.raises(ResourceError):
        make_plan(region, card, memory=needed - 1e7)


def test_large_models_are_part_of_the_plan():
    card = make_card(tile=512, halo=32, stride=16, bytes_per_pixel=2000.0)
    region = Window(0, 0, 5000, 5000)
    plain = make_plan(region, card, memory=1.5e9)
    assert make_plan(region, card, memory=1.5e9, resident=7_013_575) == plain
    heavy = make_plan(region, card, memory=1.8e9, resident=300_000_000 + BASE_MODEL_BYTES)
    assert heavy == plain
    with pytest.raises(ResourceError) as caught:
        make_plan(region, card, memory=1.5e9, resident=5_600_000_000)
    needed = str(caught.value).split("raise --memory to ")[1].split("GB or more")[0]
    assert 6.2 < float(needed) < 6.5
    make_plan(region, card, memory=float(needed) * 1e9, resident=5_600_000_000)


def test_the_window_of_a_global_model_comes_from_its_card():
    card = make_card(context="global", tile=96, stride=16, halo=10)
    plan = make_plan(Window(5, 7, 300, 400), card, memory=1e10)
    assert plan.window == (96, 96)
    assert plan.core == (64, 64)  # the overlap is the halo in whole strides
    assert plan.halo == 16


@pytest.mark.parametrize("tile", [-32, 0, 16, 30, 33])
def test_a_tile_that_does_not_fit_is_refused(tile):
    card = make_card(stride=4, halo=7, tile=32)
    with pytest.raises(OptionError, match=f"--tile {tile}: .*multiple of 4 .*16"):
        make_plan(Window(0, 0, 100, 100), card, tile=tile)


def test_the_tile_of_a_global_model_is_fixed():
    card = make_card(context="global", tile=32)
    assert make_plan(Window(0, 0, 100, 100), card, tile=32).window == (32, 32)
    with pytest.raises(OptionError, match=r"leave the option out \(32"):
        make_plan(Window(0, 0, 100, 100), card, tile=64)


@pytest.mark.parametrize("batch", [0, -1])
def test_a_batch_without_windows_is_refused(batch):
    with pytest.raises(OptionError, match="--batch-size"):
        make_plan(Window(0, 0, 100, 100), make_card(), batch=batch)


def test_a_plan_says_how_it_cuts():
    plan = make_plan(Window(0, 0, 100, 100), make_card(), batch=2)
    rows, columns = plan.window
    assert repr(plan) == (
        f"<Plan: 100 x 100 pixels in windows of {rows} x {columns}, halo {plan.halo}, "
        f"{plan.columns} side by side, {plan.batch} a call>"
    )


def work(plan):
    """Return the pixels that a model is asked of."""
    return sum(len(list(plan.cores(strip))) for strip in plan.strips()) * np.prod(plan.window)


@SMALL
@given(st.integers(1, 9000), st.integers(1, 9000), st.floats(7e8, 4e9))
def test_no_smaller_window_asks_for_less(rows, columns, memory):
    card = make_card(stride=16, halo=128, tile=1024, bytes_per_pixel=350.0)
    region = Window(5, 40, rows, columns)
    try:
        of_card = make_plan(region, card, memory=memory, tile=1024)
    except ResourceError:
        assume(False)
    assert work(make_plan(region, card, memory=memory)) <= work(of_card)


def test_more_memory_makes_wider_windows():
    card = make_card(stride=16, halo=128, tile=1024, bytes_per_pixel=350.0)
    region = Window(0, 0, 20_000, 20_000)
    little, some, much = (make_plan(region, card, memory=m) for m in (1.1e9, 1.5e9, 4e9))
    assert work(much) < work(some) < work(little)
    assert max(make_plan(region, card, memory=1e12).window) <= 4096


def test_a_batch_is_of_windows_of_the_card():
    card = make_card(stride=16, halo=128, tile=1024)
    assert max(make_plan(Window(0, 0, 9000, 9000), card, batch=2, memory=1e12).window) <= 1024


def test_cells_matter_where_a_place_meets_them():
    plan = make_plan(Window(0, 0, 512, 512), make_card(tile=512, halo=0), memory=1e12)
    core = Window(100, 200, 130, 256)
    assert plan.matters(core, 64).all()
    places = [(90, 190, 101, 201), (164, 264, 165, 400), (230, 0, 240, 500), (0, 0, 0, 0)]
    found = replace(plan, only=np.array(places)).matters(core, 64)
    assert found.shape == (3, 4)
    assert np.argwhere(found).tolist() == [[0, 0], [1, 1], [1, 2], [1, 3]]


def test_where_the_window_of_the_card_does_not_fit_the_next_best_is_taken():
    # As `fast` in single precision with OpenVINO.
    card = make_card(stride=16, tile=1024, halo=176, bytes_per_pixel=855.0)
    for size in (4096, 8192, 40_960):
        plan = make_plan(Window(0, 0, size, size), card)
        count = sum(1 for strip in plan.strips() for _ in plan.cores(strip))
        # In halved windows it would be 4.4 pixels for each that is kept.
        assert count * plan.window[0] * plan.window[1] / size**2 < 2.7
        assert plan.core[0] >= card.halo


class Stages(NamedTuple):
    """What planning knows of a model in stages: as of `fast`."""

    halo: int = 224
    margin: int = 32
    first: int = 40
    bytes_kept: float = 29.5
    bytes_given: float = 23.0
    more_memory: float = 1.0


FAST = make_card(stride=16, tile=1024, halo=176, bytes_per_pixel=470.0)


@SMALL
@given(st.integers(0, 99_999), st.integers(1, 60_000), st.integers(1, 60_000), st.floats(7e8, 6e9))
def test_features_roll_within_the_memory(row, rows, columns, memory):
    region = Window(row, 7, rows, columns)
    try:
        plan = make_plan(region, FAST, memory=memory, rolling=Stages())
    except ResourceError:
        assume(False)
    assume(plan.rolled)
    (height, width), stages = plan.core, Stages()
    width *= plan.columns
    area = (height + 2 * plan.halo) * (width + 2 * plan.halo)
    need = BASE_BYTES + plan.rolled * FAST.bytes_per_pixel
    need += area * (READ_BYTES + 2 * stages.bytes_kept)
    need += height * width * (STRIP_BYTES + stages.bytes_given)
    # A core is a whole number of strides, so the last may stand out.
    assert need <= memory * (1 + 16 * plan.columns / width)
    assert (plan.halo, plan.margin, plan.near) == (224, 32, 32)
    assert np.prod([side + 2 * plan.margin for side in plan.core]) <= plan.rolled
    assert all(number % 16 == 0 for number in (*plan.core, *plan.origin))
    strips = list(plan.strips())
    # Progress is written as JSON, which knows no number of numpy.
    numbers = [*plan.core, plan.columns, plan.rolled, *(side for s in strips for side in s.shape)]
    assert {type(number) for number in numbers} == {int}
    assert strips[0].row <= row
    assert max(strip.bottom for strip in strips) >= region.bottom
    assert max(strip.right for strip in strips) >= region.right


@pytest.mark.parametrize("memory", [0.9e9, 1.5e9, 4e9])
@pytest.mark.parametrize("size", [2048, 4096, 40_960])
def test_features_roll_where_less_is_computed_than_in_windows(size, memory):
    region = Window(0, 0, size, size)
    plan = make_plan(region, FAST, memory=memory, rolling=Stages())
    windows = make_plan(region, FAST, memory=memory)
    assert (windows.rolled, windows.near) == (0, 176)
    assert plan.rolled
    assert "features roll" in repr(plan)
    # Of one window most is read for its rim, in either way.
    small = make_plan(Window(0, 0, 640, 640), FAST, memory=1.5e9, rolling=Stages())
    assert not small.rolled
    # A model that sees further in its stages than as a whole is asked window by window.
    far = Stages(halo=1024, margin=480, first=480)
    assert make_plan(region, FAST, memory=memory, rolling=far) == windows


def test_no_features_roll_in_tiles_batches_or_too_little_memory():
    region = Window(0, 0, 4096, 4096)
    for how in ({"tile": 512}, {"batch": 2}):
        assert not make_plan(region, FAST, rolling=Stages(), **how).rolled
    heavy = Stages(bytes_kept=4000.0)
    assert not make_plan(region, FAST, rolling=heavy).rolled
