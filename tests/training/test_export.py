import numpy as np
import pytest
import torch

from geodamage.card import Card, with_card
from geodamage.model import Model
from geodamage.networks.compact import CompactSiamese
from training.export import Exported, check_parity, measure_halo, to_onnx

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return CompactSiamese((8, 8, 8, 8), (8, 8, 8)).eval()


@pytest.fixture
def exported(network, tmp_path):
    card = Card(
        name="tiny", version="0", task="assess", gsd_native=0.5, gsd_min=0.3, gsd_max=0.8,
        stride=16, context="local", halo=112, tile=256, licence="none", training_data="none",
    )  # fmt: skip
    path = tmp_path / "tiny.onnx"
    path.write_bytes(with_card(to_onnx(network), card))
    return Model(path, device="cpu")


def test_the_file_says_what_the_network_says(network, exported):
    check_parity(network, exported)


def test_the_file_takes_any_batch_and_size(network, exported):
    rng = np.random.default_rng(0)
    pre, post = rng.integers(0, 256, (2, 3, 3, 96, 160), np.uint8)
    heads = exported(pre, post)
    with torch.no_grad():
        expected = Exported(network)(torch.from_numpy(pre), torch.from_numpy(post))
    assert np.abs(heads.localisation - expected[0].numpy()).max() < 1e-4
    assert np.abs(heads.damage - expected[1].numpy()).max() < 1e-4


def test_nothing_beyond_the_measured_halo_matters(network):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (1, 2, 3, 384, 384), np.uint8)
    halo = measure_halo(network, images)
    assert 0 < halo <= 160
    assert halo % network.stride == 0
    changed = rng.integers(0, 256, images.shape, np.uint8)
    kept = slice(160 - halo, 224 + halo)
    changed[..., kept, kept] = images[..., kept, kept]
    with torch.no_grad():
        whole, cut = (Exported(network)(*torch.from_numpy(i).unbind(1)) for i in (images, changed))
    for a, b in zip(whole, cut, strict=True):
        assert (a - b)[..., 160:224, 160:224].abs().max() < 3e-3
