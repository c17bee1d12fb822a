import pytest
import torch
from torch import nn

from geodamage.errors import OptionError
from geodamage.model.measuring import pattern_windows
from geodamage.networks import create_network
from geodamage.networks.conventions import COMPACT, Exported, convention_of
from geodamage.networks.export import check_parity, dates_of, to_onnx
from geodamage.networks.registry import find

NAME = "compact_two_sensors"
CONVENTION = convention_of(find(NAME).family, NAME, "assess")


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return create_network(NAME, task="assess").eval()


def images(rows=32, columns=48):
    torch.manual_seed(1)
    return torch.rand(2, 3, rows, columns), torch.rand(2, 1, rows, columns)


def test_heads_have_their_shapes(network):
    with torch.no_grad():
        located, standing, damage = network(*images())
    assert located.shape == standing.shape == (2, 1, 32, 48)
    assert damage.shape == (2, 4, 16, 24)


def test_buildings_are_found_in_the_optical_image_alone(network):
    pre, post = images()
    with torch.no_grad():
        located, _, damage = network(pre, post)
        again, _, other = network(pre, 1 - post)
    assert torch.equal(located, again)
    assert not torch.equal(damage, other)


def test_the_sensors_share_no_encoder(network):
    own = set(dict(network.radar.named_parameters()))
    assert {"stem.0.weight", "layer16.0.first.0.weight", "merge2.join.0.weight"} <= own
    assert network.stem[0].weight.shape[1] == 3
    assert network.radar.stem[0].weight.shape[1] == 1


def test_nothing_in_it_sees_the_whole_window(network):
    leaves = [module for module in network.modules() if not list(module.children())]
    assert {type(m) for m in leaves} <= {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Identity}


def test_its_card_says_what_the_images_are_of():
    assert CONVENTION.card_facts == {
        "pre_channels": ("red", "green", "blue"),
        "post_channels": ("intensity",),
        "post_sensor": "sar",
        "scene_statistics": "none",
        "background_competes": False,
    }
    assert CONVENTION.channels == (3, 1)
    assert COMPACT.card_facts["post_sensor"] == "optical"


def test_one_channel_stays_one_when_it_is_scaled(network):
    scaled = Exported(network, CONVENTION).scaled(torch.full((1, 1, 4, 4), 255, dtype=torch.uint8))
    assert scaled.shape == (1, 1, 4, 4)
    assert torch.allclose(scaled, torch.ones(1))


def test_a_window_of_patterns_is_cut_to_the_channels(network):
    pre, post = dates_of(Exported(network, CONVENTION), torch.zeros(1, 2, 3, 32, 32))
    assert (pre.shape[1], post.shape[1]) == (3, 1)


def test_there_are_no_weights_to_fetch():
    with pytest.raises(OptionError, match="leave out pretrained"):
        create_network(NAME, task="assess", pretrained=True)


@pytest.mark.slow
def test_the_model_file_says_what_the_network_says(network, tmp_path):
    from geodamage.model.card import Card, with_card
    from geodamage.model.onnx import Model

    exported = Exported(network, CONVENTION).eval()
    card = Card(
        name="two", version="1", task="assess", gsd_native=0.5, gsd_min=0.3, gsd_max=0.8,
        stride=16, context="local", halo=16, tile=64, licence="CC0-1.0", training_data="none",
        **CONVENTION.card_facts,
    )  # fmt: skip
    path = tmp_path / "two.onnx"
    path.write_bytes(with_card(to_onnx(exported), card))
    model = Model(path, device="cpu", threads=1)
    assert check_parity(exported, model, pattern_windows(1, 64)) < 1e-3
