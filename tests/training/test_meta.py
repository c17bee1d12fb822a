import copy
import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from geodamage.errors import OptionError
from tests.training.small_runs import Tiny
from training.meta import EpisodeSamples, MetaObjective, MetaOptions

OPTIONS = MetaOptions(support=1, query=1, inner_steps=1, inner_lr=0.1)
#: Support and query of two tasks: y = 2 x, and y = -x.
X = torch.tensor([[1.0], [3.0], [2.0], [1.0]])
Y = torch.tensor([[2.0], [6.0], [-2.0], [-1.0]])


def square(network, batch):
    return (network(batch["x"]) - batch["y"]).square().mean()


def slope_of(options, weight=0.7, x=X, y=Y):
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, weight)
    MetaObjective(square, options)(network, {"x": x, "y": y}).backward()
    return network.weight.grad.item()


def by_hand(options, weight=0.7):
    """Return the mean over tasks of dL/dw of (w' x - y)^2, w' the weight after the inner steps."""
    slopes = []
    tasks = (values[:, 0].view(2, 2).tolist() for values in (X, Y))
    for (x, xq), (y, yq) in zip(*tasks, strict=True):
        moved, factor = weight, 1.0
        for _ in range(options.inner_steps):
            moved -= options.inner_lr * 2 * x * (moved * x - y)
            factor *= 1 - options.inner_lr * 2 * x * x
        slopes.append(2 * xq * (moved * xq - yq) * (factor if options.second_order else 1))
    return sum(slopes) / 2


@pytest.mark.parametrize("second_order", [True, False])
@pytest.mark.parametrize("inner_steps", [1, 2, 5])
def test_the_gradient_that_arrives_is_the_one_by_hand(inner_steps, second_order):
    options = dataclasses.replace(OPTIONS, inner_steps=inner_steps, second_order=second_order)
    assert slope_of(options) == pytest.approx(by_hand(options), rel=1e-5)


def test_the_second_order_differs_from_the_first():
    assert abs(by_hand(OPTIONS) - by_hand(dataclasses.replace(OPTIONS, second_order=False))) > 1


def test_a_weight_that_a_step_moves_to_any_task_is_learnt():
    # Tasks y = a x with x = 1: the best start is the mean of the slopes a.
    torch.manual_seed(0)
    network = nn.Linear(1, 1, bias=False)
    optimiser = torch.optim.SGD(network.parameters(), 0.5)
    ones = torch.ones(4, 1)
    batch = {"x": ones, "y": torch.tensor([[1.0], [1.0], [5.0], [5.0]])}
    for _ in range(40):
        optimiser.zero_grad()
        MetaObjective(square, OPTIONS)(network, batch).backward()
        optimiser.step()
    assert network.weight.item() == pytest.approx(3, abs=1e-3)


def entropy(network, batch):
    return nn.functional.cross_entropy(network(batch["images"]), batch["codes"])


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return {"images": torch.randn(4, 6, 8, 8) + 3, "codes": torch.randint(0, 5, (4, 8, 8))}


def test_running_statistics_see_the_batch_once(batch):
    network, alone = Tiny("damage"), Tiny("damage")
    alone.load_state_dict(network.state_dict())
    MetaObjective(entropy, dataclasses.replace(OPTIONS, inner_steps=3))(network, batch).backward()
    alone(batch["images"])
    assert network.norm.num_batches_tracked == 1
    assert torch.allclose(network.norm.running_mean, alone.norm.running_mean)
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.res.parameters())


def test_frozen_statistics_stay(batch):
    network = Tiny("damage").eval()
    before = copy.deepcopy(dict(network.named_buffers()))
    MetaObjective(entropy, OPTIONS)(network, batch).backward()
    assert all(torch.equal(before[name], buffer) for name, buffer in network.named_buffers())


def test_without_gradients_it_is_the_plain_loss(batch):
    network = Tiny("damage").eval()
    one = {name: tensor[:1] for name, tensor in batch.items()}  # no whole task
    with torch.no_grad():
        assert torch.equal(MetaObjective(entropy, OPTIONS)(network, one), entropy(network, one))


def test_a_batch_that_is_no_whole_number_of_tasks_is_refused(batch):
    with pytest.raises(OptionError, match=r"a batch of 4 .* tasks of 3"):
        MetaObjective(entropy, MetaOptions(support=1, query=2))(Tiny("damage"), batch)


class Places:
    """Samples that say where they are from."""

    def __len__(self):
        return 12

    def at(self, place, rng):
        return {"place": np.array(place), "random": np.array(rng.integers(2**62))}


EVENTS = ["flood", "fire", "fire", "storm", "flood", "storm", "fire", "fire", "storm"]


def episodes(options, events=EVENTS, seed=1):
    return EpisodeSamples(Places(), events, options, seed)


def test_a_task_is_of_one_event_and_its_pairs_differ():
    samples = episodes(MetaOptions(support=1, query=2))
    seen = set()
    for task in range(40):
        places = [int(samples.draw(3 * task + n)["place"]) for n in range(3)]
        assert len({EVENTS[place] for place in places}) == 1
        if EVENTS[places[0]] != "flood":
            assert len(set(places)) == 3
        seen |= {EVENTS[place] for place in places}
    assert seen == set(EVENTS)


def test_a_task_is_decided_by_the_seed_and_its_number():
    one, other, elsewhere = (episodes(OPTIONS, seed=seed) for seed in (1, 1, 2))
    forwards = [one.draw(n)["random"] for n in range(20)]
    backwards = [other.draw(n)["random"] for n in reversed(range(20))]
    assert forwards == backwards[::-1]
    assert forwards != [elsewhere.draw(n)["random"] for n in range(20)]


def test_an_epoch_holds_whole_tasks():
    assert len(episodes(MetaOptions(support=2, query=3))) == 10


def test_fewer_than_two_events_are_refused():
    with pytest.raises(OptionError, match="two or more"):
        episodes(OPTIONS, ["fire", "fire"])


@pytest.mark.parametrize("change", [{"support": 0}, {"query": 0}, {"inner_steps": 0}])
def test_tasks_of_nothing_are_refused(change):
    with pytest.raises(OptionError, match="more than none"):
        dataclasses.replace(OPTIONS, **change)
    with pytest.raises(OptionError, match="more than none"):
        MetaOptions(inner_lr=0.0)
