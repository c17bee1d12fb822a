import numpy as np
import pytest
import torch

from geodamage.adaptation.network import FeatureNetwork
from geodamage.errors import ModelError, ModelNotFoundError
from geodamage.networks.lite import LITES
from geodamage.networks.lite_features import LiteFeatures, load_features
from training.features import write_features

IMAGE = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)


@pytest.fixture(scope="module")
def network():
    try:
        return load_features("lite0")
    except ModelNotFoundError:
        pytest.skip("the package with the weights is not installed")


@pytest.mark.slow
def test_the_bundled_file_says_what_the_published_weights_say(network):
    with torch.inference_mode():
        expected = network(torch.from_numpy(IMAGE)[None])[0].numpy()
    found = FeatureNetwork(device="cpu", threads=1)(IMAGE)
    assert np.abs(found - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.slow
def test_a_file_that_is_written_again_says_the_same(network, tmp_path):
    assert write_features("lite0", tmp_path / "again.onnx") < 100_000
    again = FeatureNetwork(tmp_path / "again.onnx", device="cpu", threads=1)
    bundled = FeatureNetwork(device="cpu", threads=1)
    np.testing.assert_allclose(again(IMAGE), bundled(IMAGE), atol=1e-4)


def test_weights_of_another_network_are_refused():
    network = LiteFeatures(LITES["lite0"])
    with pytest.raises(ModelError, match="does not fit"):
        network.copy_published({}, "weights.pth")
