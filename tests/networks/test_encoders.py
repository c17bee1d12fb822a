import pytest
import timm
import torch
from torch import nn

from geodamage.errors import ModelNotFoundError
from geodamage.networks.encoders import ENCODERS, DualPaths, create_encoder


def run(stages, images):
    outputs = [images]
    for stage in stages:
        outputs.append(stage(outputs[-1]))
    return outputs[1:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_the_stages_give_what_timm_gives(name):
    torch.manual_seed(0)
    timm_name, cut = ENCODERS[name]
    network = timm.create_model(timm_name).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        stages = run(cut(network), images)
        features = network.forward_intermediates(images, intermediates_only=True)
        last = network.forward_features(images)
    for stage, feature in zip(stages[:4], features[:4], strict=True):
        assert torch.equal(stage, feature)
    assert torch.equal(stages[4], last)
    assert [64 // stage.shape[-1] for stage in stages] == [2, 4, 8, 16, 32]


@pytest.mark.slow
def test_the_dual_path_encoder_ends_with_its_normalisation():
    torch.manual_seed(0)
    timm_name, cut = ENCODERS["dpn92"]
    network = timm.create_model(timm_name).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        stages = run(cut(network), images)
        bare = network.forward_intermediates(images, intermediates_only=True)[4]
    assert stages[4].min() == 0 > bare.min()
    assert not torch.equal(stages[4], bare)
    assert cut(network)[4][3].bn.eps == 1e-3


def test_paths_in_a_tuple_are_joined_residual_first():
    class Split(nn.Module):
        def forward(self, x):
            return x, 2 * x

    x = torch.ones(1, 1, 2, 2)
    assert DualPaths(Split())(x)[0, :, 0, 0].tolist() == [1, 2]
    assert torch.equal(DualPaths(nn.Identity())(x), x)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("resnet34", (64, 64, 128, 256, 512)),
        ("seresnext50", (64, 256, 512, 1024, 2048)),
        ("dpn92", (64, 336, 704, 1552, 2688)),
        ("senet154", (128, 256, 512, 1024, 2048)),
    ],
)
def test_channels_are_those_the_decoders_were_made_for(name, channels):
    with torch.device("meta"):
        encoder = create_encoder(name)
        outputs = run(encoder.stages, torch.zeros(1, 3, 64, 64))
    assert encoder.channels == channels
    assert tuple(output.shape[1] for output in outputs) == channels


@pytest.mark.slow
@pytest.mark.parametrize("name", ["seresnext50", "senet154"])
def test_the_pool_of_the_squeeze_excitation_encoders_is_the_legacy_one(name):
    with torch.device("meta"):
        pool = create_encoder(name).stages[1][0]
    assert (pool.kernel_size, pool.stride, pool.padding, pool.ceil_mode) == (3, 2, 0, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("pretrained", [False, True])
def test_pretrained_reaches_timm(name, pretrained, monkeypatch):
    create, asked = timm.create_model, []

    def fake(timm_name, *, pretrained):
        asked.append((timm_name, pretrained))
        return create(timm_name)

    monkeypatch.setattr(timm, "create_model", fake)
    with torch.device("meta"):
        create_encoder(name, pretrained=pretrained)
    assert asked == [(ENCODERS[name][0], pretrained)]


@pytest.mark.parametrize("name", ENCODERS)
def test_timm_has_imagenet_weights_of_it(name):
    assert timm.is_model_pretrained(ENCODERS[name][0])


def test_weights_that_cannot_be_fetched_are_one_line(monkeypatch):
    def fake(name, *, pretrained):
        raise FileNotFoundError("no\nroute")

    monkeypatch.setattr(timm, "create_model", fake)
    with pytest.raises(ModelNotFoundError, match=r"resnet34.*no; connect") as caught:
        create_encoder("resnet34", pretrained=True)
    assert "\n" not in str(caught.value)
