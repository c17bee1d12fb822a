import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.scene.scaling import Scaling
from geodamage.scene.stretch import ALONE, PAIR, ends_of, fit, guess, widened

RNG = np.random.default_rng(5)


def scene_like(low=24, high=198, seed=0, channels=3):
    """Return pixels whose ends lie at `low` and `high`, float64 (channels, pixels)."""
    values = np.random.default_rng(seed).beta(2, 4, (channels, 4000))
    ends = np.percentile(values, (0.5, 99.5))
    return (values - ends[0]) / (ends[1] - ends[0]) * (high - low) + low


def placed(scaling, pixels):
    return scaling.apply(pixels[:, None].astype(np.float64))[:, 0]


@pytest.mark.slow
@given(
    gain=st.floats(1e-4, 1e4), offset=st.floats(-1e4, 1e4), low=st.floats(5, 60),
    high=st.floats(120, 250),
)  # fmt: skip
def test_whatever_the_units_a_scene_comes_to_the_same_place(gain, offset, low, high):
    plain = scene_like(low, high)
    scaling = fit([ends_of(plain * gain + offset)])[0]
    ends = np.percentile(placed(scaling, plain * gain + offset), (0.5, 99.5))
    assert ends == pytest.approx(ALONE.ends, abs=1.5)


def test_a_scene_as_the_models_know_it_stays():
    pixels = scene_like(*ALONE.ends)
    assert np.abs(placed(fit([ends_of(pixels)])[0], pixels) - pixels.clip(0, 255)).max() <= 1


def test_colours_stay_within_the_bounds_and_are_moved_to_them():
    tinted = scene_like()
    tinted[2] = tinted[2] * 0.85  # as blue as some of the training imagery
    kept = fit([ends_of(tinted)])[0]
    assert kept.low[0] == pytest.approx(kept.low[2])
    assert kept.high[0] == pytest.approx(kept.high[2])
    hazy = scene_like()
    hazy[2] += 150
    found = placed(fit([ends_of(hazy)])[0], hazy)
    way = ALONE.ends[1] - ALONE.ends[0]
    assert np.percentile(found[2], 0.5) <= ALONE.ends[0] + way * ALONE.low[2][1] + 1
    assert np.percentile(found[2], 99.5) <= ALONE.ends[0] + way * ALONE.high[2][1] + 1


def test_two_dates_share_one_stretch_where_they_may():
    pre, post = scene_like(seed=1) * 8, scene_like(40, 180, seed=2) * 8
    one, two = fit([ends_of(pre), ends_of(post)])
    assert one == two
    both = np.concatenate([placed(one, pre), placed(two, post)], axis=1)
    assert both.max() > PAIR.ends[1]
    assert np.percentile(placed(two, post), 99.5) < PAIR.ends[1] - 10


def test_dates_of_other_units_are_stretched_each_by_itself():
    pre, post = scene_like(seed=1), scene_like(seed=2)
    scalings = fit([ends_of(pre * 8), ends_of(post * 0.001)])
    assert scalings == [fit([ends_of(pre * 8)])[0], fit([ends_of(post * 0.001)])[0]]


@pytest.mark.parametrize("channels", [1, 4])
def test_channels_that_are_no_colours_are_placed_each_by_its_own_ends(channels):
    pixels = scene_like(channels=channels) * np.arange(1, channels + 1)[:, None]
    found = placed(fit([ends_of(pixels)])[0], pixels)
    ends = np.percentile(found, (0.5, 99.5), axis=1)
    assert ends[0] == pytest.approx(np.full(channels, ALONE.ends[0]), abs=1)
    assert ends[1] == pytest.approx(np.full(channels, ALONE.ends[1]), abs=1)


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
def test_one_value_is_stretched_to_nothing_odd(value):
    scaling = guess(np.full((3, 50), value))
    assert all(low < high for low, high in zip(scaling.low, scaling.high, strict=True))
    assert len(np.unique(placed(scaling, np.full((3, 50), value)))) == 1


def test_a_first_guess_leaves_fill_and_saturation_out():
    pixels = scene_like() * 8
    filled = np.concatenate([pixels, np.full((3, 2000), -9999.0), np.full((3, 900), 65535.0)], 1)
    assert guess(filled) == guess(pixels)


BYTES = RNG.integers(0, 250, (3, 800))


@pytest.mark.parametrize(
    ("dtype", "step"),
    [("uint16", 1), ("uint16", 256), ("uint16", 257), ("float32", 1), ("float32", 1 / 255),
     ("float64", 1 / 256)],
)  # fmt: skip
def test_8_bits_in_a_wider_type_are_taken_as_they_are(dtype, step):
    pixels = (BYTES * step).astype(dtype)
    scaling = guess(pixels)
    assert scaling.source == "8 bits"
    assert np.array_equal(scaling.apply(pixels[:, None])[:, 0], BYTES)


@pytest.mark.parametrize(
    "pixels",
    [
        BYTES.astype(np.uint16) * 2,
        (BYTES.astype(np.float32) + 0.25) / 255,
        -BYTES.astype(np.float32),
        (BYTES // 4).astype(np.uint16),  # dark, and of more bits
        BYTES.astype(np.float32) / 255 + 1,
    ],
)
def test_and_nothing_else_is(pixels):
    assert widened(pixels) is None


def test_a_guess_says_that_it_is_one():
    assert guess(scene_like()).facts()["from"] == "guess"
    assert Scaling((0.0,), (1.0,)).facts()["from"] == "option"
