import math

import pytest
import torch
from torch import nn

from geodamage.networks.decoders import (
    ConvRelu,
    Decoder,
    DecoderDesign,
    Scse,
    double,
    initialise,
)

CHANNELS = (3, 5, 7, 9, 11)
WIDTHS = (16, 24, 32, 48, 64)
DESIGNS = [
    DecoderDesign(WIDTHS),
    DecoderDesign(WIDTHS, attention="concat"),
    DecoderDesign(WIDTHS, batch_norm=True),
    DecoderDesign(WIDTHS, batch_norm=True, attention="add"),
]


def features(side=32):
    return [torch.rand(1, c, side >> i, side >> i) for i, c in enumerate(CHANNELS, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("design", DESIGNS)
def test_five_stages_become_full_size(design):
    decoder = Decoder(CHANNELS, design).eval()
    with torch.no_grad():
        assert decoder.decode(features(64)).shape == (1, 16, 64, 64)


@pytest.mark.parametrize("design", DESIGNS)
def test_each_join_holds_the_decoder_first_and_the_encoder_of_its_size_after(design):
    decoder, given = Decoder(CHANNELS, design).eval(), features()
    joined = []
    for number in (6, 7, 8, 9):
        second = "conv2" if design.batch_norm else None
        layer = getattr(decoder, f"conv{number}" if second else f"conv{number}_2")
        layer = layer[second] if second else layer
        layer.register_forward_pre_hook(lambda _, inputs: joined.append(inputs[0]))
    with torch.no_grad():
        decoder.decode(given)
    for x, skip, width in zip(joined, given[3::-1], WIDTHS[:0:-1], strict=True):
        assert torch.equal(x[:, width:], skip)
        assert x.shape[1] == width + skip.shape[1]


def test_doubling_repeats_pixels():
    x = torch.tensor([[[[1.0, 2.0]]]])
    assert double(x).tolist() == [[[[1, 1, 2, 2], [1, 1, 2, 2]]]]


def test_attention_weighs_by_channel_and_by_pixel():
    x = torch.rand(1, 16, 2, 2)
    concat, add = Scse(16, concat=True), Scse(16, concat=False)
    for module in (concat, add):
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
        nn.init.constant_(module.fc2.bias, math.log(3))  # its sigmoid is 3 / 4
    assert torch.allclose(concat(x), torch.cat([0.75 * x, 0.5 * x], 1))
    assert torch.allclose(add(x), 1.25 * x)


def test_channel_attention_looks_at_the_mean_alone():
    torch.manual_seed(0)
    module, x = Scse(16, concat=True), torch.rand(1, 16, 2, 2)
    other = x.flip(3)
    with torch.no_grad():
        assert torch.allclose(module(x)[:, :16].flip(3), module(other)[:, :16])
    assert "spatial_se.0.bias" not in module.state_dict()


@pytest.mark.parametrize(("channels", "squeezed"), [(256, 16), (48, 3), (8, 1)])
def test_attention_squeezes_to_a_sixteenth(channels, squeezed):
    assert Scse(channels, concat=True).fc1.out_channels == squeezed


def test_a_convolution_ends_at_zero():
    x = torch.randn(1, 2, 8, 8)
    with torch.no_grad():
        assert ConvRelu(2, 4)(x).min() == 0


def test_the_layouts_have_their_names():
    plain, attended, normalised, both = (
        set(Decoder(CHANNELS, design).state_dict()) for design in DESIGNS
    )
    assert {"conv6.layer.0.bias", "conv6_2.layer.0.weight", "conv10.layer.0.bias"} <= plain
    assert {"conv6_2.0.layer.0.weight", "conv9_2.1.spatial_se.0.weight"} <= attended
    assert {"conv6.conv2.layer.1.running_var", "conv10.conv.layer.0.bias"} <= normalised
    assert {"conv9.conv2.0.layer.1.weight", "conv9.conv2.1.fc1.bias"} <= both


def test_weights_start_as_he_et_al_and_biases_at_zero():
    torch.manual_seed(0)
    conv = ConvRelu(64, 64, batch_norm=True)
    nn.init.constant_(conv.layer[1].weight, 3.0)
    initialise(conv)
    assert conv.layer[0].weight.std().item() == pytest.approx(math.sqrt(2 / (64 * 9)), rel=0.05)
    assert not conv.layer[0].bias.any()
    assert conv.layer[1].weight.eq(1).all()
    assert not conv.layer[1].bias.any()


def test_a_decoder_is_initialised():
    for name, parameter in Decoder(CHANNELS, DESIGNS[3]).named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
