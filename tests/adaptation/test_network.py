import numpy as np
import pytest

from geodamage.adaptation.network import STRIDE, FeatureNetwork, bundled_network
from geodamage.errors import ModelError

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 64, 96), np.uint8)


@pytest.fixture(scope="module")
def network():
    return FeatureNetwork(device="cpu", threads=1)


def test_the_network_is_bundled_with_its_licence():
    assert bundled_network().stat().st_size < 100_000
    text = bundled_network().with_name("LICENSE.md").read_text(encoding="utf-8")
    assert bundled_network().name in text
    assert "Apache License 2.0" in text


def test_a_map_has_a_place_for_each_stride(network):
    found = network(IMAGE)
    assert found.shape == (network.channels, 64 // STRIDE, 96 // STRIDE)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()


def test_what_is_far_away_says_nothing(network):
    other = IMAGE.copy()
    other[:, :, 64:] = 0
    near = slice(0, 32 // STRIDE)
    np.testing.assert_allclose(network(other)[..., near], network(IMAGE)[..., near], atol=1e-4)


def test_an_image_of_other_channels_is_refused_in_one_line(network):
    with pytest.raises(ModelError, match="does not run on") as caught:
        network(IMAGE[:2])
    assert "\n" not in str(caught.value)
