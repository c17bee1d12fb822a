import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import OptionError
from geodamage.networks.efficientnets import (
    EFFICIENTNETS,
    Block,
    BlockDesign,
    EfficientNet,
    block_designs,
    copy_from_timm,
    create_efficientnet,
    rounded,
    timm_key,
)


def run(stages, images):
    outputs = [images]
    for stage in stages:
        outputs.append(stage(outputs[-1]))
    return outputs[1:]


def shaken(network):
    """Give normalisations statistics and weights that are not 1 and 0."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.5, 1.5)
            for tensor in (module.running_mean, module.bias.data):
                tensor.uniform_(-0.5, 0.5)
    return network


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_b4"])
@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_the_stages_give_what_timm_gives(name, size):
    torch.manual_seed(0)
    theirs = shaken(timm.create_model(name, features_only=True, bn_eps=1e-3)).double().eval()
    ours = EfficientNet(EFFICIENTNETS[name]).double().eval()
    copy_from_timm(ours, theirs.state_dict())
    images = torch.randn(1, 3, *size, dtype=torch.float64)
    with torch.no_grad():
        stages, features = run(ours.encoder().stages, images), theirs(images)
    for stage, feature in zip(stages, features, strict=True):
        assert feature.abs().max() > 0.1
        assert (stage - feature).abs().max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_b4"])
def test_the_names_cover_all_of_timm_but_the_classifier(name):
    with torch.device("meta"):
        theirs = set(timm.create_model(name).state_dict())
        ours = [timm_key(key) for key in EfficientNet(EFFICIENTNETS[name]).state_dict()]
    assert len(ours) == len(set(ours))
    left = theirs - set(ours)
    assert set(ours) <= theirs
    assert {key.partition(".")[0] for key in left} == {"conv_head", "bn2", "classifier"}


@pytest.mark.slow
def test_pretrained_copies_the_weights_of_timm(monkeypatch):
    theirs, asked = shaken(timm.create_model("efficientnet_b0")), []

    def fake(name, *, pretrained):
        asked.append((name, pretrained))
        return theirs

    monkeypatch.setattr(timm, "create_model", fake)
    encoder = create_efficientnet("efficientnet_b0", pretrained=True)
    assert asked == [("efficientnet_b0", True)]
    assert torch.equal(encoder.stages[0][0].conv.weight, theirs.conv_stem.weight)
    ours, expanded = encoder.stages[4][1].block0.se.expand, theirs.blocks[6][0].se.conv_expand
    assert torch.equal(ours.weight, expanded.weight[:, :, 0, 0])
    assert torch.equal(
        encoder.stages[1].block1.proj.bn.running_var, theirs.blocks[1][1].bn3.running_var
    )


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_b4"])
def test_timm_has_imagenet_weights_of_it(name):
    assert timm.is_model_pretrained(EFFICIENTNETS[name].timm_name)


def test_there_are_no_imagenet_weights_of_the_wide_one():
    with torch.device("meta"), pytest.raises(OptionError, match="timm has no ImageNet weights"):
        create_efficientnet("efficientnet_widese_b0", pretrained=True)


@pytest.mark.slow
def test_the_wide_one_squeezes_the_expanded_channels():
    with torch.device("meta"):
        narrow = create_efficientnet("efficientnet_b0").stages[1].block1.se
        wide = create_efficientnet("efficientnet_widese_b0").stages[1].block1.se
    assert (narrow.squeeze.in_features, narrow.squeeze.out_features) == (144, 6)
    assert (wide.squeeze.in_features, wide.squeeze.out_features) == (144, 36)


@pytest.mark.slow
def test_normalisation_is_as_published():
    with torch.device("meta"):
        bn = create_efficientnet("efficientnet_b4").stages[0][0].bn
    assert (bn.eps, bn.momentum) == (1e-3, 0.01)


def test_blocks_of_b4_survive_less_the_later_they_come():
    designs = [
        block for layer in block_designs(EFFICIENTNETS["efficientnet_b4"]) for block in layer
    ]
    survival = [block.survival for block in designs]
    assert len(designs) == 32
    assert survival[0] == 1
    assert survival == sorted(survival, reverse=True)
    assert survival[-1] == pytest.approx(1 - 0.2 * 31 / 32)


def test_a_block_is_left_out_for_some_images_in_training_alone():
    torch.manual_seed(0)
    block, x = Block(BlockDesign(8, 8, 3, 1, 2, survival=0.5)), torch.rand(64, 8, 4, 4)
    with torch.no_grad():
        left_out = (block(x) == x).flatten(1).all(1).sum().item()
        assert 16 < left_out < 48
        assert not (block.eval()(x) == x).flatten(1).all(1).any()


@given(st.floats(1, 5000))
def test_rounding_gives_eights_and_takes_a_tenth_at_most(channels):
    assert rounded(channels) % 8 == 0
    assert rounded(channels) >= 0.9 * channels
    assert rounded(channels) < channels + 8
