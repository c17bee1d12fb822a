"""Veils are drawn as light makes them: what is opaque is the cloud, what is clear is the ground."""

import numpy as np
import pytest

from sample_data.clouds import veil
from tests.landscapes import landscape

GROUND = np.ascontiguousarray(landscape(256, 256).transpose(1, 2, 0))


def veils(kind, count=24):
    rng = np.random.default_rng(0)
    return [veil(rng, GROUND, kind) for _ in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["cloud", "smoke"])
def test_under_an_opaque_veil_nothing_is_left_of_the_ground(kind):
    found = 0
    for image, opacity in veils(kind):
        assert image.dtype == np.uint8
        assert opacity.min() >= 0
        opaque = opacity > 0.98
        if opaque.mean() > 0.1:
            grey, ground = (plane.mean(-1)[opaque] for plane in (image, GROUND))
            assert abs(np.corrcoef(grey, ground)[0, 1]) < 0.3
            found += 1
    assert found


@pytest.mark.slow
def test_skies_are_broken_and_overcast():
    shares = [(opacity > 0.9).mean() for _, opacity in veils("cloud")]
    assert max(shares) > 0.95
    assert min(shares) < 0.2


@pytest.mark.slow
def test_clouds_are_warm_and_cold():
    warmth = [
        float((image[..., 0].astype(int) - image[..., 2])[opacity > 0.98].mean())
        for image, opacity in veils("cloud")
        if (opacity > 0.98).any()
    ]
    assert max(warmth) > 5
    assert min(warmth) < -5
