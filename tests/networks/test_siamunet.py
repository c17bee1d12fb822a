"""Microsoft's siamese network, from a file as its training writes it to a model file."""

import numpy as np
import pytest
import torch

from geodamage.errors import GeodamageWarning
from geodamage.model.card import STANDARD_RANGE
from geodamage.model.onnx import Model
from geodamage.networks import importing
from geodamage.networks.conventions import Exported, convention_of
from geodamage.networks.importing import import_checkpoints
from geodamage.networks.siamunet import SiamUnet
from tests.networks.drawn_weights import drawn_state

#: Networks with random weights find nothing in a synthetic pair, or everything.
pytestmark = pytest.mark.filterwarnings("ignore:.* in a synthetic pair")

CONVENTION = convention_of("microsoft", "siamunet", "assess")


@pytest.fixture(scope="module")
def network():
    built = SiamUnet().eval()
    built.load_state_dict(drawn_state(built.state_dict()))
    return built


def test_the_same_image_twice_has_no_changes(network):
    image = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        same = network(torch.cat([image, image], 1))[:, 2:]
        other = network(torch.cat([1 - image, 1 - image], 1))[:, 2:]
    # Differences of features alone reach the damage.
    torch.testing.assert_close(same, other)


def test_what_the_engine_hands_over_is_standardised(network):
    exported = Exported(network, CONVENTION)
    low, high = STANDARD_RANGE
    codes = torch.tensor([0, 102, 255], dtype=torch.uint8).repeat(1, 3, 1, 1)
    wanted = torch.tensor([low, low + 102 / 255 * (high - low), high])
    torch.testing.assert_close(exported.scaled(codes)[0, 0, 0], wanted)


@pytest.mark.slow
def test_a_file_of_its_training_becomes_a_model(tmp_path, network, monkeypatch):
    monkeypatch.setattr(importing, "measure_memory", lambda path, size: 99.0)
    monkeypatch.setattr(importing, "HALO_WINDOW", 192)
    monkeypatch.setattr(importing, "TILE", 256)
    monkeypatch.setattr(importing, "GLOBAL_HALO", 32)
    path = tmp_path / "model_best.pth.tar"
    content = {
        "epoch": 9, "state_dict": network.state_dict(), "optimizer": {"state": {}},
        "val_f1_avg": np.float64(0.7), "best_f1": np.float64(0.7),
    }  # fmt: skip
    torch.save(content, path)
    with pytest.warns(GeodamageWarning, match="its windows are fixed at 256 pixels"):
        (imported,) = import_checkpoints([path], tmp_path / "microsoft")
    assert (imported.network, imported.family, imported.epoch) == ("siamunet", "microsoft", 9)
    card = Model(imported.path, device="cpu").card
    assert (card.scene_statistics, card.background_competes) == ("standardise", True)
    assert card.stride == 16
    assert card.licence.startswith("MIT")
