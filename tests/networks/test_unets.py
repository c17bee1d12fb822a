import pytest
import torch
from torch import nn

from geodamage.networks.decoders import DecoderDesign
from geodamage.networks.unets import HeadedUnet, UnetDesign, WrappedUnet, create_unet

SMALL = DecoderDesign((8, 8, 16, 16, 16))
DESIGNS = {
    "headed": UnetDesign("resnet34", SMALL),
    "wrapped": UnetDesign("resnet34", SMALL, wrapped=True),
    "normalised": UnetDesign(
        "efficientnet_b0", DecoderDesign(SMALL.widths, True, "add"), wrapped=True
    ),
}


def create(kind, task):
    torch.manual_seed(0)
    return create_unet(DESIGNS[kind], task).eval()


def seen_by_head(network, images):
    seen = []
    handle = network.res.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        network(images)
    handle.remove()
    return seen[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", DESIGNS)
@pytest.mark.parametrize(("task", "bands", "classes"), [("localisation", 3, 1), ("damage", 6, 5)])
def test_logits_are_at_full_size(kind, task, bands, classes):
    with torch.no_grad():
        assert create(kind, task)(torch.rand(2, bands, 64, 96)).shape == (2, classes, 64, 96)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DESIGNS)
def test_swapping_the_dates_swaps_what_the_head_sees(kind):
    network = create(kind, "damage")
    pre, post = torch.rand(2, 1, 3, 64, 64)
    one = seen_by_head(network, torch.cat([pre, post], 1))
    other = seen_by_head(network, torch.cat([post, pre], 1))
    assert one.shape[1] == 16
    assert torch.equal(one, torch.cat([other[:, 8:], other[:, :8]], 1))
    assert not torch.allclose(one[:, :8], one[:, 8:])


@pytest.mark.slow
@pytest.mark.parametrize("kind", DESIGNS)
def test_each_date_is_seen_as_localisation_sees_it(kind):
    locate, grade = create(kind, "localisation"), create(kind, "damage")
    weights = {k: v for k, v in locate.state_dict().items() if not k.startswith("res.")}
    left_out = grade.load_state_dict(weights, strict=False)
    assert left_out.missing_keys == ["res.weight", "res.bias"]
    assert not left_out.unexpected_keys
    pre, post = torch.rand(2, 1, 3, 64, 64)
    both = seen_by_head(grade, torch.cat([pre, post], 1))
    assert torch.equal(both[:, :8], seen_by_head(locate, pre))
    assert torch.equal(both[:, 8:], seen_by_head(locate, post))


@pytest.mark.slow
@pytest.mark.parametrize("kind", DESIGNS)
def test_every_weight_learns(kind):
    network = create(kind, "damage").train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # timm starts residuals at zero: nothing learns yet
            nn.init.ones_(module.weight)
    network(torch.rand(2, 6, 64, 64)).square().mean().backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias before batch normalisation is subtracted again: nothing but rounding reaches it.
    assert not [name for name in idle if not name.endswith("layer.0.bias")]


@pytest.mark.slow
def test_the_wrapped_one_is_the_same_network_under_another_name():
    headed, wrapped = create("headed", "damage"), create("wrapped", "damage")
    assert isinstance(headed, HeadedUnet)
    assert isinstance(wrapped, WrappedUnet)
    weights = {
        key if key.startswith("res.") else f"unet.{key}": value
        for key, value in headed.state_dict().items()
    }
    wrapped.load_state_dict(weights)
    images = torch.rand(1, 6, 64, 64)
    with torch.no_grad():
        assert torch.equal(headed(images), wrapped(images))


@pytest.mark.slow
@pytest.mark.parametrize("kind", DESIGNS)
def test_a_size_that_is_no_multiple_of_the_stride_is_refused(kind):
    network = create(kind, "localisation")
    assert network.stride == 32
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"[Ss]ize"):
        network(torch.rand(1, 3, 64, 80))


def test_other_widths_make_another_decoder():
    with torch.device("meta"):
        network = create_unet(DESIGNS["headed"], "damage", widths=(4, 5, 6, 7, 8))
    assert network.conv6.layer[0].out_channels == 8
    assert network.res.in_channels == 8


@pytest.mark.slow
def test_the_head_starts_without_bias():
    assert not create("headed", "damage").res.bias.any()
