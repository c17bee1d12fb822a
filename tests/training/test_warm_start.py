import io

import onnx
import pytest
import torch
from torch import nn

from geodamage.errors import ModelError
from geodamage.networks import create_network, load_checkpoint
from geodamage.networks.conventions import Exported
from geodamage.networks.export import to_onnx
from sample_data.pairs import make_pairs
from training.recipe import Recipe
from training.warm_start import folded_weights, main, warm_start

KEYS = {
    "name": "warm", "network": "compact_small", "task": "assess", "sampling": "chips", "steps": 2,
    "batch": 2, "chips_crop": 64, "chips_generated": 0,
}  # fmt: skip


def trained(seed=0):
    """Return a network whose batch normalisation has seen something."""
    torch.manual_seed(seed)
    network = create_network("compact_small", task="assess")
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.2)
            nn.init.normal_(module.bias, 0, 0.2)
    network.train()
    with torch.no_grad():
        network(*images(1))
    return network.eval()


def images(seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, 64, 64, generator=generator) for _ in range(2)]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    path.write_bytes(to_onnx(Exported(trained())))
    return path


@pytest.mark.slow
def test_the_network_says_what_the_file_says(file):
    network = warm_start(str(file), Recipe.from_values(KEYS), [images(2), images(3)])
    with torch.no_grad():
        for mine, theirs in zip(network(*images(4)), trained()(*images(4)), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-3 * float(theirs.abs().max()))


@pytest.mark.slow
def test_in_training_it_says_nearly_the_same_of_what_the_statistics_are_of(file):
    seen = images(2)
    network = warm_start(str(file), Recipe.from_values(KEYS), [seen])
    with torch.no_grad():
        expected = network.eval()(*seen)[0]
        found = network.train()(*seen)[0]
    assert torch.allclose(found, expected, atol=2e-2 * float(expected.abs().max()))


@pytest.mark.slow
def test_every_convolution_of_the_file_comes_once(file):
    layers = [m for m in trained().modules() if isinstance(m, nn.Conv2d)]
    assert len(folded_weights(onnx.load(file))) == len(layers)


@pytest.mark.slow
def test_a_file_of_another_network_is_refused(file):
    with pytest.raises(ModelError, match="convolutions are not"):
        warm_start(str(file), Recipe.from_values(KEYS | {"network": "compact"}), [])


def test_a_convolution_without_a_bias_is_refused():
    buffer = io.BytesIO()
    plain = nn.Conv2d(3, 2, 1, bias=False)
    torch.onnx.export(plain, (torch.zeros(1, 3, 4, 4),), buffer, dynamo=False)  # type: ignore
    with pytest.raises(ModelError, match="without a bias"):
        folded_weights(onnx.load_from_string(buffer.getvalue()))


@pytest.mark.slow
def test_the_command_writes_a_checkpoint_that_a_recipe_can_start_from(file, tmp_path, capsys):
    names = make_pairs(tmp_path / "drawn", 2, 96)
    split = tmp_path / "split.csv"
    split.write_text(f"pair,part\n{names[0]},train\n{names[1]},validation\n")
    recipe = tmp_path / "warm.toml"
    recipe.write_text("".join(f"{k} = {v!r}\n".replace("'", '"') for k, v in KEYS.items()))
    output = tmp_path / "start"
    command = [str(file), str(recipe), "--data", str(tmp_path / "drawn"), "--split", str(split)]
    main([*command, "-o", str(output)])
    assert "compact_small" in capsys.readouterr().out
    network = load_checkpoint(output)
    with torch.no_grad():
        for mine, theirs in zip(network(*images(4)), trained()(*images(4)), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-3 * float(theirs.abs().max()))
    with pytest.raises(SystemExit) as stop:
        main([*command, "-o", str(output)])
    assert stop.value.code == 6
    assert "is there" in capsys.readouterr().err
