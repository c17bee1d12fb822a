import pytest
import torch

from geodamage.errors import CheckpointError, OptionError
from geodamage.networks import create_network
from geodamage.networks.checkpoints import load_checkpoint, save_checkpoint
from tests.training.small_runs import (
    Tiny,
    equal,
    losses,
)
from training.state import take_weights


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a folder with a run whose best network locates buildings."""
    runs = tmp_path_factory.mktemp("runs")
    (runs / "located").mkdir()
    torch.manual_seed(3)
    network = create_network("res34_unet", task="localisation")
    save_checkpoint(network, runs / "located" / "best", epoch=1, best_score=0.5)
    return runs


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_each_optimiser_gets_its_numbers(begin, optimiser):
    work, state = begin(f'optimiser="{optimiser}"', "weight_decay=0.5", "momentum=0.7")
    group = state.optimiser.param_groups[0]
    assert group["weight_decay"] == 0.5
    assert group.get("momentum", 0.7) == 0.7
    assert len(losses(work, state)) == 2
    assert group["lr"] == 1e-2


@pytest.mark.slow
def test_damage_starts_from_localisation_but_for_its_head(runs):
    network = create_network("res34_unet", task="damage")
    head = network.res.weight.detach().clone()
    said = take_weights(network, "located", runs)
    count = len(network.state_dict())
    assert said == (
        f"{runs / 'located' / 'best'}: {count - 2} of {count} weights taken; "
        "new: res.bias, res.weight"
    )
    located = load_checkpoint(runs / "located" / "best").state_dict()
    for name, value in network.state_dict().items():
        assert name.startswith("res.") or torch.equal(value, located[name]), name
    assert torch.equal(network.res.weight, head)
    tuned = create_network("res34_unet", task="localisation")
    assert "new: none" in take_weights(tuned, str(runs / "located" / "best"), runs)
    assert "new: none" in take_weights(tuned, str(runs / "located"), runs / "elsewhere")
    assert torch.equal(tuned.res.weight, located["res.weight"])


@pytest.mark.slow
def test_weights_of_another_network_are_refused(runs):
    with torch.device("meta"):
        other = create_network("metadamagenet_resnet34_unet", task="damage")
    with pytest.raises(OptionError, match="weights beside the head do not fit"):
        take_weights(other, "located", runs)


def test_a_start_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OptionError, match=r"init = 'nobody': .* train that recipe first"):
        take_weights(Tiny("damage"), "nobody", tmp_path)
    (tmp_path / "some.pt").write_text("no weights")
    with pytest.raises(CheckpointError, match=r"some\.pt"):
        take_weights(Tiny("damage"), str(tmp_path / "some.pt"), tmp_path)


def test_a_seed_decides_the_weights(begin):
    one, other, elsewhere = (
        begin(f'name="{name}"', f"seed={seed}")[1].network.state_dict()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert equal(dict(one), dict(other))
    assert not equal(dict(one), dict(elsewhere))
