import pytest
import torch
from torch import nn

from geodamage.errors import OptionError
from tests.training.small_runs import CHANNELS, create_tiny, options_of
from training.steps import train
from training.train import set_up

SGD = ('optimiser="sgd"', "momentum=0.0", "weight_decay=0.0", "steps=1", "lr=0.1")


class WithEncoder(nn.Module):
    """As `Tiny`, but with an encoder of its own."""

    stride = 1

    def __init__(self, task):
        super().__init__()
        inputs, outputs = CHANNELS[task]
        self.encoder = nn.Sequential(nn.Conv2d(inputs, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.res = nn.Conv2d(4, outputs, 1)

    def forward(self, images):
        return self.res(torch.relu(self.encoder(images)))


def create(name, *, task, pretrained=False):
    return WithEncoder(task)


@pytest.fixture
def begin(small_set, tmp_path, monkeypatch):
    """Return what starts a small training of a network with an encoder."""
    monkeypatch.setattr("training.state.create_network", create)
    runs = iter(range(9))
    return lambda *changes: set_up(options_of(small_set, tmp_path / f"{next(runs)}", *changes))


def moves(work, state):
    """Train, and return how far every parameter and statistic has moved."""
    before = {name: value.clone() for name, value in state.network.state_dict().items()}
    for _ in train(work, state):
        pass
    return {name: value - before[name] for name, value in state.network.state_dict().items()}


@pytest.mark.slow
def test_the_encoder_moves_by_its_share(begin):
    whole, part = moves(*begin(*SGD)), moves(*begin(*SGD, "encoder_rate=0.25"))
    for name in ("encoder.0.weight", "encoder.1.bias"):
        assert whole[name].abs().max() > 0
        assert torch.allclose(part[name], 0.25 * whole[name], atol=1e-6)
    assert torch.allclose(part["res.weight"], whole["res.weight"], atol=1e-6)
    assert whole["res.weight"].abs().max() > 0


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["adamw", "lookahead_radam"])
def test_other_optimisers_have_the_encoder_apart(begin, optimiser):
    _, state = begin(f'optimiser="{optimiser}"', "encoder_rate=0.5")
    shares = [group.get("share", 1.0) for group in state.optimiser.param_groups]
    assert shares.count(0.5) == 1
    apart = next(g for g in state.optimiser.param_groups if g.get("share") == 0.5)
    assert sum(p.numel() for p in apart["params"]) == sum(
        p.numel() for p in state.network.encoder.parameters()
    )


def test_what_is_frozen_stays_with_its_statistics(begin):
    moved = moves(*begin('frozen=["encoder"]'))
    assert all(not value.any() for name, value in moved.items() if name.startswith("encoder"))
    assert moved["res.weight"].abs().max() > 0


def test_a_module_that_is_not_there_cannot_be_frozen(begin):
    with pytest.raises(OptionError, match=r"frozen = 'stem': .* it has encoder, res"):
        begin('frozen=["stem"]')


def test_a_rate_of_an_encoder_that_is_not_there_or_frozen_is_refused(begin, monkeypatch):
    with pytest.raises(OptionError, match="nothing below `encoder`"):
        begin('frozen=["encoder"]', "encoder_rate=0.5")
    monkeypatch.setattr("training.state.create_network", create_tiny)
    with pytest.raises(OptionError, match=r"encoder_rate = 0\.5"):
        begin("encoder_rate=0.5")
