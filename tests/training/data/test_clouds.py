"""Chips under clouds."""

import dataclasses

import numpy as np
import pytest

from training.data.clouds import clouded
from training.data.crops import ChipOptions, assemble, cut

OPTIONS = ChipOptions(crop=96, generated=0, generated_share=0)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    image = rng.integers(40, 120, (128, 128, 3)).astype(np.uint8)
    index = np.zeros((128, 128), np.int32)
    for number, corner in enumerate(range(8, 112, 16), 1):
        index[corner : corner + 12, :] = number
    damage = np.where(index > 0, 1, 0).astype(np.uint8)
    made = assemble("x", image, image, (index, index, damage, [(64, 64, 1)]))
    return dataclasses.replace(made, teacher=np.full((128, 128, 5), 100, np.uint8))


def test_a_cloud_hides_ground_and_leaves_pixels_without_data():
    image = np.full((96, 96, 3), 90, np.uint8)
    image[:, :10] = 0
    hidden = []
    for seed in range(20):
        seen, where = clouded(image, np.random.default_rng(seed))
        assert not seen[:, :10].any()
        assert seen.dtype == np.uint8
        hidden.append(where[:, 10:].mean())
    assert min(hidden) < 0.1
    assert 0.4 < max(hidden) < 0.7


def test_ground_under_a_thick_cloud_is_not_asked_about(pair):
    cloudy = dataclasses.replace(OPTIONS, cloud=1.0)
    lost = 0
    for seed in range(20):
        plain, under = (
            cut(pair, (64, 64), o, np.random.default_rng(seed)) for o in (OPTIONS, cloudy)
        )
        for name in ("buildings", "weights"):  # of pre, which no cloud hides
            assert np.array_equal(getattr(plain, name), getattr(under, name))
        inside = (plain.teacher > 0).all(2)
        hidden = (under.teacher == 0).all(2) & inside
        shown = ~hidden & inside
        assert (under.vote[hidden] == 0).all()
        assert set(np.unique(under.damage[hidden])) <= {0, 255}
        assert (under.buildings_post[hidden] == 255).all()
        for name in ("vote", "damage", "buildings_post", "teacher"):
            assert np.array_equal(getattr(plain, name)[shown], getattr(under, name)[shown])
        lost += hidden.any()
    assert lost > 3


def test_hard_edges_are_a_choice():
    image = np.full((256, 256, 3), 90, np.uint8)
    steps: dict[float, list[float]] = {0.0: [], 1.0: []}
    for seed in range(20):
        for sharp, found in steps.items():
            seen, hidden = clouded(image, np.random.default_rng(seed), sharp)
            if hidden.mean() > 0.1:
                grey = seen.mean(2)
                # The edge of the shadow, which lies beside the cloud: light falls within a pixel.
                found.append(float(np.abs(np.diff(grey, axis=1))[~hidden[:, 1:]].max()))
        plain = clouded(image, np.random.default_rng(seed))[0]
        assert np.array_equal(plain, clouded(image, np.random.default_rng(seed), 0.0)[0])
    assert np.median(steps[1.0]) > 2 * np.median(steps[0.0])


def test_chips_ask_for_hard_edges(pair):
    soft, sharp = (dataclasses.replace(OPTIONS, cloud=1.0, cloud_sharp=c) for c in (0.0, 1.0))
    differ = [
        not np.array_equal(*(cut(pair, (64, 64), o, np.random.default_rng(seed)).post
                             for o in (soft, sharp)))
        for seed in range(8)
    ]  # fmt: skip
    assert any(differ)


def test_no_cloud_lies_over_a_radar(pair):
    radar = dataclasses.replace(pair, post=pair.post[..., :1], teacher=None)
    cloudy = dataclasses.replace(OPTIONS, cloud=1.0)
    plain, under = (cut(radar, (64, 64), o, np.random.default_rng(1)) for o in (OPTIONS, cloudy))
    assert np.array_equal(plain.vote, under.vote)
    assert np.array_equal(plain.post, under.post)
