"""ChangeOS: its vector, its keys, and its safetensors file to a model file."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from geodamage.cli.models import _line
from geodamage.errors import CheckpointError
from geodamage.model import published
from geodamage.model.measuring import pattern_windows
from geodamage.model.onnx import Model
from geodamage.model.published import list_published
from geodamage.networks import importing
from geodamage.networks.changeos import ChangeOS, relative_index
from geodamage.networks.checkpoints import read_checkpoint
from geodamage.networks.conventions import Exported, convention_of
from geodamage.networks.importing import import_checkpoints
from tests.networks.drawn_weights import drawn_image, drawn_state

#: Networks with random weights find nothing in a synthetic pair, or everything.
pytestmark = pytest.mark.filterwarnings("ignore:.* in a synthetic pair")

#: Made once with torchange 0.0.4 and ever-beta 0.6.1: probabilities at every 32nd pixel of 256.
VECTOR = json.loads(Path(__file__).with_name("changeos_vector.json").read_text())
CONVENTION = convention_of("changeos", "changeos_swint", "assess")


@pytest.fixture(scope="module")
def network():
    built = ChangeOS().eval()
    built.load_state_dict(drawn_state(built.state_dict()))
    return built


@pytest.fixture(scope="module")
def source(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.safetensors"
    safetensors.torch.save_file(network.state_dict(), path)
    return path


@pytest.mark.slow
def test_it_says_what_torchange_says(network):
    pre, post = drawn_image(256).to(torch.uint8).split(3, 1)
    with torch.no_grad():
        localisation, damage = Exported(network, CONVENTION)(pre, post)
    wanted = np.array(VECTOR["damage"])
    np.testing.assert_allclose(localisation[0, :, ::32, ::32], VECTOR["localisation"], atol=1e-4)
    np.testing.assert_allclose(damage[0, :, ::32, ::32], wanted[1:], atol=1e-4)


@pytest.mark.slow
def test_localisation_sees_the_image_before_alone(network):
    pre, post = drawn_image(256).to(torch.uint8).split(3, 1)
    with torch.no_grad():
        first, graded = Exported(network, CONVENTION)(pre, post)
        second, other = Exported(network, CONVENTION)(pre, 255 - post)
    assert torch.equal(first, second)
    assert not torch.allclose(graded, other, atol=1e-2)


@pytest.mark.slow
def test_the_file_of_the_authors_becomes_a_model(tmp_path, source, monkeypatch):
    assert source.stat().st_size == 166_117_752  # as published
    monkeypatch.setattr(importing, "measure_memory", lambda path, size: 99.0)
    (weights,) = [w for w in list_published() if w.name.startswith("ChangeOS")]
    # As if this were the file whose hash is published.
    own = dataclasses.replace(weights, sha256=(hashlib.sha256(source.read_bytes()).hexdigest(),))
    monkeypatch.setattr(published, "list_published", lambda: (own,))
    (imported,) = import_checkpoints([source], tmp_path / "changeos")
    assert imported.published == weights.name
    assert "the file as published (SHA-256)" in _line(imported)
    assert (imported.network, imported.family, imported.task) == (
        "changeos_swint", "changeos", "assess",
    )  # fmt: skip
    assert imported.difference < 1e-3
    model = Model(imported.path, device="cpu")
    card = model.card
    assert (card.context, card.tile, card.halo, card.stride) == ("global", 1024, 128, 32)
    assert (card.background_competes, card.scene_statistics) == (True, "none")
    assert "76.91" in str(card.scores)
    # Traced at 256 and right at another size, with other remainders of 7.
    windows = pattern_windows(1, 320, seed=3)
    state = read_checkpoint(source).state
    network = ChangeOS().eval()
    network.load_state_dict(dict(state))
    with torch.no_grad():
        wanted = Exported(network, CONVENTION)(*map(torch.from_numpy, windows.swapaxes(0, 1)))
    for ours, theirs in zip(model(windows[:, 0], windows[:, 1]), wanted, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.0001, 0.6])
def test_a_file_that_is_cut_off_is_refused(tmp_path, source, kept):
    path = tmp_path / "model.safetensors"
    path.write_bytes(source.read_bytes()[: int(source.stat().st_size * kept)])
    with pytest.raises(CheckpointError, match="cut off, or no safetensors"):
        read_checkpoint(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("head.loc_cls.0.bias"), "1 missing: head.loc_cls.0.bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (lambda s: s["encoder.swin.features.1.0.attn.relative_position_index"].zero_(),
         "does not fit a window of 7 x 7"),
        (lambda s: s["head.loc_cls.0.bias"].fill_(torch.nan), "is not finite"),
    ],
)  # fmt: skip
def test_half_a_network_and_wrong_numbers_are_refused(tmp_path, network, change, message):
    state = {key: value.clone() for key, value in network.state_dict().items()}
    change(state)
    path = tmp_path / "weights.bin"  # the extension does not count
    safetensors.torch.save_file(state, path)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_the_index_of_places_is_that_of_swin():
    index = relative_index().reshape(49, 49)
    assert index[0, 0] == 84  # no way apart: the middle of 13 x 13
    assert (index + index.T == 168).all()
    assert index[0, 48] == 0
