import pytest
import torch
import torchvision

from geodamage.networks import resnet50_siamese
from geodamage.networks.resnet50_siamese import (
    resnet50_stages,
    siamese_resnet50,
    siamese_resnet50_skips,
)

FACTORIES = [siamese_resnet50, siamese_resnet50_skips]
PRE, POST = slice(0, 2), slice(2, 8)


@pytest.fixture(scope="module")
def twin():
    torch.manual_seed(0)
    return siamese_resnet50(False).eval()


@pytest.fixture(scope="module")
def shared():
    torch.manual_seed(0)
    return siamese_resnet50_skips(False).eval()


@pytest.mark.slow
@pytest.mark.parametrize("factory", FACTORIES)
@torch.no_grad()
def test_eight_logits_have_the_size_of_the_input(factory):
    with torch.device("meta"):
        assert factory(False).eval()(torch.empty(2, 6, 64, 96)).shape == (2, 8, 64, 96)


@pytest.mark.slow
def test_it_has_the_published_number_of_parameters_and_entries():
    with torch.device("meta"):
        network = siamese_resnet50(False)
    assert sum(parameter.numel() for parameter in network.parameters()) == 69_176_656
    assert len(network.state_dict()) == 660


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("unet_preDisaster.encoder.0.weight", (64, 3, 7, 7)),
        ("unet_preDisaster.encoder.1.running_var", (64,)),
        ("unet_preDisaster.encoder.4.0.downsample.1.bias", (256,)),
        ("unet_postDisaster.encoder.7.2.conv3.weight", (2048, 512, 1, 1)),
        ("unet_postDisaster.decoder.0.weight", (2048, 1024, 2, 2)),
        ("unet_postDisaster.decoder.6.bias", (64,)),
        ("unet_preDisaster.final_conv.weight", (2, 64, 1, 1)),
        ("unet_postDisaster.final_conv.weight", (6, 64, 1, 1)),
        ("fusion_layer.0.weight", (64, 8, 3, 3)),
        ("fusion_layer.2.bias", (8,)),
    ],
)
def test_entries_carry_the_published_names(twin, name, shape):
    assert twin.state_dict()[name].shape == shape


@pytest.mark.slow
@torch.no_grad()
def test_the_encoder_is_torchvisions_resnet50():
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50().eval()
    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    state = {}
    for name, value in theirs.state_dict().items():
        first, rest = name.split(".", 1)
        if first != "fc":
            state[f"{numbers[first]}.{rest}"] = value
    ours = resnet50_stages(False).eval()
    ours.load_state_dict(state)
    image = torch.rand(1, 3, 64, 64)
    expected = torch.nn.Sequential(*list(theirs.children())[:-2])(image)
    assert ours(image).shape == (1, 2048, 2, 2)
    torch.testing.assert_close(ours(image), expected)


@pytest.mark.slow
@torch.no_grad()
def test_the_branches_share_nothing(twin):
    with torch.no_grad():
        image = torch.rand(1, 3, 64, 64)
    stages = twin.unet_preDisaster.encoder(image), twin.unet_postDisaster.encoder(image)
    assert not torch.allclose(*stages)


@pytest.mark.slow
@torch.no_grad()
def test_each_branch_reads_its_own_date(twin):
    pair = torch.rand(1, 6, 64, 64)
    seen = {}
    hooks = [
        branch.register_forward_pre_hook(lambda _, given, date=date: seen.update({date: given[0]}))
        for date, branch in (("pre", twin.unet_preDisaster), ("post", twin.unet_postDisaster))
    ]
    twin(pair)
    for hook in hooks:
        hook.remove()
    assert torch.equal(seen["pre"], pair[:, :3])
    assert torch.equal(seen["post"], pair[:, 3:])


@pytest.mark.slow
@torch.no_grad()
def test_the_twin_takes_any_size(twin):
    assert twin(torch.rand(1, 6, 50, 70)).shape == (1, 8, 50, 70)


@pytest.mark.slow
@torch.no_grad()
def test_one_network_reads_both_dates(shared):
    pre, post = torch.rand(2, 1, 3, 64, 64)
    there, back = (shared(torch.cat(pair, 1)) for pair in ((pre, post), (post, pre)))
    only = shared(torch.cat([post, post], 1))
    # What is said of the pre image depends on that image alone, whichever date it had before.
    torch.testing.assert_close(back[:, PRE], only[:, PRE])
    assert not torch.allclose(there[:, PRE], back[:, PRE], atol=1e-5)


@pytest.mark.slow
@torch.no_grad()
def test_damage_compares_the_dates(shared):
    pre, post = torch.rand(2, 1, 3, 64, 64)
    damage = shared(torch.cat([pre, post], 1))[:, POST]
    other = shared(torch.cat([post, post], 1))[:, POST]
    assert not torch.allclose(damage, other, atol=1e-5)


def test_the_shared_network_is_about_half_of_the_twin():
    with torch.device("meta"):
        network = siamese_resnet50_skips(False)
    assert sum(parameter.numel() for parameter in network.parameters()) == 37_831_176


@pytest.mark.slow
@torch.no_grad()
def test_the_shared_network_refuses_a_size_that_is_no_multiple_of_its_stride(shared):
    with pytest.raises(RuntimeError, match=r"[Ss]ize"):
        shared(torch.rand(1, 6, 50, 64))


@pytest.mark.slow
@pytest.mark.parametrize("factory", FACTORIES)
def test_every_weight_learns(factory):
    network = factory(False)
    network(torch.rand(2, 6, 32, 32)).square().sum().backward()
    assert not [name for name, p in network.named_parameters() if p.grad is None]


@pytest.mark.slow
def test_skip_connections_carry_detail(shared):
    pair = torch.rand(1, 6, 64, 64)
    with torch.no_grad():
        whole = shared(pair)
        hook = shared.ups[-1].enlarge.register_forward_hook(lambda *given: 0 * given[2])
        fine = shared(pair)
        hook.remove()
    assert fine.std() > 0.01 * whole.std()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factory", "encoders"), [(siamese_resnet50, 2), (siamese_resnet50_skips, 1)]
)
def test_weights_are_asked_for_by_their_name(monkeypatch, factory, encoders):
    asked = []
    create = resnet50_siamese.timm.create_model

    def record(name, pretrained):
        asked.append((name, pretrained))
        return create(name, pretrained=False)

    monkeypatch.setattr(resnet50_siamese.timm, "create_model", record)
    with torch.device("meta"):
        factory(True)
    assert asked == [("resnet50.tv2_in1k", True)] * encoders
