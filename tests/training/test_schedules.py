import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import SMALL
from training.recipe import Recipe
from training.schedules import learning_rate, one_cycle


def recipe_of(**values):
    return Recipe(name="a", network="res34_unet", task="damage", steps=100, **values)


def rates(recipe, steps, per_epoch):
    return [learning_rate(recipe, step, steps, per_epoch) for step in range(steps)]


def torchs(make, steps, between=1):
    """Return the rates of a scheduler of torch, stepped every so many steps."""
    optimiser = torch.optim.SGD([torch.zeros(1)], 0.3)
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, about steps without gradients
        scheduler = make(optimiser)
        for step in range(1, steps + 1):
            found.append(optimiser.param_groups[0]["lr"])
            if step % between == 0 and step < steps:
                optimiser.step()
                scheduler.step()
    return found


def test_a_constant_rate_stays():
    assert set(rates(recipe_of(lr=0.3), 9, 2)) == {0.3}


def test_a_milestone_acts_from_the_epoch_after_it():
    recipe = recipe_of(lr=8.0, schedule="multistep", milestones=(1, 3))
    assert rates(recipe, 12, 2) == [8, 8, 8, 8, 4, 4, 4, 4, 2, 2, 2, 2]


@SMALL
@given(st.lists(st.integers(1, 20), unique=True, max_size=4), st.integers(1, 4))
def test_milestones_are_those_of_torch_one_epoch_later(milestones, per_epoch):
    recipe = recipe_of(lr=0.3, schedule="multistep", milestones=tuple(milestones), gamma=0.5)
    steps = 24 * per_epoch
    later = [m + 1 for m in sorted(milestones)]
    wanted = torchs(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, later, 0.5), steps, per_epoch)
    assert rates(recipe, steps, per_epoch) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize(("length", "factor"), [(1, 1), (20, 1), (5, 2), (3, 3)])
def test_cosine_restarts_are_those_of_torch(length, factor):
    recipe = recipe_of(
        lr=0.3,
        schedule="cosine_restarts",
        restart_epochs=length,
        restart_factor=factor,
        lr_min=1e-3,
    )
    wanted = torchs(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, length, factor, 1e-3),
        180,
        3,
    )
    assert rates(recipe, 180, 3) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10, 97, 1000])
def test_one_cycle_is_that_of_torch(steps):
    recipe = recipe_of(lr=0.3, schedule="onecycle")
    wanted = torchs(lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.3, total_steps=steps), steps)
    assert rates(recipe, steps, 7) == pytest.approx(wanted, rel=1e-9, abs=1e-15)
    assert max(one_cycle(step, steps) for step in range(steps)) <= 1


def test_a_trapezoid_rises_stays_and_falls():
    recipe = recipe_of(lr=2.0, schedule="trapezoid", warmup=10, decay=0.4)
    found = rates(recipe, 100, 7)
    assert found[:10] == pytest.approx([0.2 * n for n in range(1, 11)])
    assert found[10:61] == [2.0] * 51
    assert found[60:] == pytest.approx([2 * (100 - step) / 40 for step in range(60, 100)])


def test_a_trapezoid_can_be_made_longer_while_it_is_high():
    recipe = recipe_of(lr=2.0, schedule="trapezoid", warmup=10, decay=0.4)
    assert rates(recipe, 200, 7)[:60] == rates(recipe, 100, 7)[:60]
