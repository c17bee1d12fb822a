import dataclasses
import hashlib
import importlib.util

import pytest
import torch
from torch import nn

from geodamage.errors import ModelError, ModelNotFoundError, OptionError
from geodamage.networks import create_network, lite
from geodamage.networks.lite import LITES, LiteEncoder, LiteSiamese, copy_published, read_published

#: What our symmetric padding moves an image by, pixels, as seen at each stride.
MOVED = (1, 3, 7, 15)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return LiteSiamese("lite0").eval()


def unlike(encoder):
    """Give batch normalisation numbers that are not those it starts with."""
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return encoder.eval()


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "columns"), [(32, 32), (48, 80)])
def test_heads_have_their_shapes(network, rows, columns):
    images = torch.rand(2, 3, rows, columns)
    with torch.no_grad():
        pre, post, damage = network(images, images)
    assert pre.shape == post.shape == (2, 1, rows, columns)
    assert damage.shape == (2, 4, rows // 2, columns // 2)


@pytest.mark.slow
@pytest.mark.parametrize("side", [24, 33, 40])
def test_a_size_that_is_no_multiple_of_the_stride_is_refused(network, side):
    images = torch.rand(1, 3, side, 32)
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"[Ss]ize"):
        network(images, images)


def test_nothing_in_it_sees_the_whole_window(network):
    allowed = {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.Identity}
    leaves = [module for module in network.modules() if not list(module.children())]
    assert {type(module) for module in leaves} <= allowed


@pytest.mark.slow
def test_a_shift_by_the_stride_shifts_the_answer(network):
    images = torch.rand(2, 1, 3, 512, 512)
    moved = torch.roll(images, (16, 32), (-2, -1))
    core = slice(240, 272)
    with torch.no_grad():
        whole, there = network(*images)[0], network(*moved)[0]
    there = torch.roll(there, (-16, -32), (-2, -1))
    assert torch.allclose(whole[..., core, core], there[..., core, core], atol=1e-5)
    assert not torch.allclose(whole, there, atol=1e-3)


@pytest.mark.slow
def test_localisation_looks_at_its_own_date_alone(network):
    a, b, c = torch.rand(3, 1, 3, 64, 64)
    with torch.no_grad():
        one, other = network(a, b), network(a, c)
    assert torch.allclose(one[0], other[0], atol=1e-5)
    assert not torch.allclose(one[1], other[1], atol=1e-3)
    assert not torch.allclose(one[2], other[2], atol=1e-3)


@pytest.mark.slow
def test_the_features_where_the_encoder_is_cut_can_be_asked_for(network):
    pre, post = torch.rand(2, 1, 3, 64, 96)
    with torch.no_grad():
        logits, (before, after) = network.with_cut(pre, post)
        plain = network(pre, post)
        assert torch.allclose(before, network.encoder(pre)[-1], atol=1e-3)
    assert before.shape == after.shape == (1, 112, 4, 6)
    assert not torch.allclose(before, after)
    for ours, theirs in zip(logits, plain, strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.slow
@pytest.mark.parametrize("name", LITES)
def test_the_encoder_is_that_of_timm(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    encoder = unlike(LiteEncoder(LITES[name]))
    theirs = timm.create_model(f"tf_efficientnet_{name}").eval()
    # Both hold their layers from the stem on, each in the order in which it is computed.
    tensors = encoder.state_dict().values()
    state = dict(zip(theirs.state_dict(), tensors, strict=False))
    theirs.load_state_dict(state, strict=False)
    images = torch.rand(1, 3, 512, 512) * 2 - 1
    features, expected = theirs.bn1(theirs.conv_stem(images)), []
    for stage in theirs.blocks[:5]:
        features = stage(features)
        expected.append(features)
    del expected[3]  # stride 16 has two stages
    # What timm pads as TensorFlow does is the same of an image that is moved.
    for place, moved in enumerate(MOVED):
        ours = encoder(torch.roll(images, (-moved, -moved), (-2, -1)))[place]
        core = slice(14, -14)
        assert torch.allclose(ours[..., core, core], expected[place][..., core, core], atol=1e-4)


@pytest.mark.parametrize(("blocks", "width"), [(6, 80), (9, 112), (11, 112)])
def test_blocks_at_the_end_of_the_encoder_can_be_left_out(blocks, width):
    encoder = LiteEncoder(LITES["lite0"], blocks)
    assert sum(len(layer) for layer in encoder.layers) == blocks
    assert encoder.widths == (16, 24, 40, width)


@pytest.mark.parametrize("blocks", [5, 12, 0, 9.0, "9"])
def test_an_encoder_that_does_not_end_at_stride_16_is_refused(blocks):
    with pytest.raises(OptionError, match="give 6 to 11"):
        create_network("lite0", task="assess", blocks=blocks)


def test_a_decoder_of_other_numbers_is_refused():
    with pytest.raises(OptionError, match="3 positive numbers"):
        create_network("lite0", task="assess", decoder=(48, 32))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with weights that differ from all others."""
    design = dataclasses.replace(LITES["lite0"], package="drawn-weights", file="models/a.pth")
    encoder = unlike(LiteEncoder(design))
    names = encoder.published_keys()
    state = {names[key]: tensor for key, tensor in encoder.state_dict().items()}
    state["_fc.bias"] = torch.zeros(1000)
    folder = tmp_path / "drawn_weights"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('nobody needs to run this')\n")
    monkeypatch.syspath_prepend(tmp_path)

    def write(content):
        path = folder / design.file
        torch.save(content, path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setitem(LITES, "lite0", dataclasses.replace(design, sha256=digest))
        return path

    write(state)
    return encoder, state, write


@pytest.mark.slow
def test_pretrained_takes_every_tensor_of_the_encoder(package):
    encoder, _, _ = package
    ours = create_network("lite0", task="assess", pretrained=True).encoder.state_dict()
    assert ours.keys() == encoder.state_dict().keys()
    assert all(torch.equal(ours[key], tensor) for key, tensor in encoder.state_dict().items())


@pytest.mark.slow
def test_fewer_blocks_take_the_same_tensors(package):
    encoder, _, _ = package
    network = create_network("lite0", task="assess", pretrained=True, blocks=7)
    full = encoder.state_dict()
    assert all(torch.equal(full[k], t) for k, t in network.encoder.state_dict().items())


@pytest.mark.slow
def test_a_file_that_is_not_the_published_one_is_refused(package):
    _, state, write = package
    path = write(state)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="SHA-256"):
        create_network("lite0", task="assess", pretrained=True)


def test_a_tensor_that_is_missing_or_of_another_shape_is_refused(package):
    encoder, state, _ = package
    key = "_blocks.3._depthwise_conv.weight"
    with pytest.raises(ModelError, match=rf"{key} is missing, not \(144, 1, 5, 5\)"):
        copy_published(encoder, {k: t for k, t in state.items() if k != key}, "a.pth")
    with pytest.raises(ModelError, match=rf"a.pth: {key} is \(144, 1, 3, 3\)"):
        copy_published(encoder, state | {key: torch.zeros(144, 1, 3, 3)}, "a.pth")


def test_a_package_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    away = dataclasses.replace(LITES["lite0"], package="nobody-has-this")
    monkeypatch.setitem(LITES, "lite0", away)
    with pytest.raises(ModelNotFoundError, match=r"install nobody-has-this .*\[pretrained\]"):
        create_network("lite0", task="assess", pretrained=True)


@pytest.mark.slow
def test_a_package_without_its_file_is_named(package):
    _, state, write = package
    write(state).unlink()
    with pytest.raises(ModelNotFoundError, match=r"a\.pth: cannot be read"):
        create_network("lite0", task="assess", pretrained=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", LITES)
def test_the_published_weights_are_those_that_are_named(name):
    design = LITES[name]
    if importlib.util.find_spec(design.package.replace("-", "_")) is None:
        pytest.skip(f"{design.package} is not installed")
    state, _ = read_published(design)
    encoder = lite.LiteEncoder(design)
    copy_published(encoder, state, name)
    # Of weights as they are drawn, the mean over a filter is nothing; of learnt ones it is not.
    assert float(encoder.stem[0].weight.detach().abs().max()) > 0.5
    assert set(encoder.published_keys().values()) < state.keys()
