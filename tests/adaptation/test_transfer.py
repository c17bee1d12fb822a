"""What other events taught, as it is bundled."""

import numpy as np

from geodamage.adaptation.network import FeatureNetwork
from geodamage.adaptation.transfer import bundled_transfer, read_transfer
from geodamage.model.loading import load_model


def test_the_bundled_weights_are_of_the_bundled_network_and_model():
    network, licence = FeatureNetwork(threads=1), load_model("fast", threads=1).card.licence
    weights = bundled_transfer(network.sha256, licence)
    assert weights.shape == (4 * network.channels,)
    assert np.isfinite(weights).all()
    assert weights.any()


def test_other_networks_and_licences_start_from_nothing():
    facts = read_transfer()
    own = facts["network_sha256"], facts["licence"]
    assert bundled_transfer(*own) is not None
    assert bundled_transfer("0" * 64, own[1]) is None
    assert bundled_transfer(own[0], "Apache-2.0") is None
