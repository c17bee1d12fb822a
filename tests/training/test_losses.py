from itertools import pairwise

import pytest
import torch

from training.losses import damage_loss, localisation_loss

ONES = torch.ones(4)


def test_a_sure_and_right_localisation_costs_nothing():
    target = (torch.arange(64).reshape(1, 8, 8) % 3 == 0).byte()
    logits = torch.where(target[:, None] > 0, 30.0, -30.0)
    weights = torch.ones(1, 8, 8)
    assert localisation_loss(logits, target, weights) == pytest.approx(0, abs=1e-4)
    assert localisation_loss(-logits, target, weights) > 10


def test_an_empty_chip_costs_nothing_when_nothing_is_found():
    nothing = torch.zeros(1, 8, 8).byte()
    loss = localisation_loss(torch.full((1, 1, 8, 8), -30.0), nothing, torch.ones(1, 8, 8))
    assert loss == pytest.approx(0, abs=1e-6)


def test_a_pixel_of_no_weight_does_not_count():
    logits = torch.zeros(1, 1, 4, 4)
    target = torch.zeros(1, 4, 4).byte()
    weights = torch.ones(1, 4, 4)
    weights[0, 0, 0] = 0
    loss = localisation_loss(logits, target, weights)
    logits[0, 0, 0, 0], target[0, 0, 0] = -50, 1
    assert localisation_loss(logits, target, weights) == pytest.approx(float(loss))


def damage(grade, *, where=(slice(None), slice(None)), votes=1.0, weights=ONES, sure=None):
    """Return the loss of one building of a grade; logits are flat or sure of another grade."""
    target = torch.zeros(1, 8, 8).byte()
    target[0][where] = grade
    logits = torch.zeros(1, 4, 4, 4)
    if sure is not None:
        logits[:, sure - 1] = 12
    return float(damage_loss(logits, target, torch.full((1, 8, 8), votes), weights))


def test_the_right_grade_costs_least_and_a_far_one_most():
    costs = [damage(1, sure=grade) for grade in (1, 2, 3, 4)]
    assert costs == sorted(costs)
    assert costs[0] < 0.6
    # Squared earth mover's distance: 1, 2, 3 steps away.
    assert [b - a for a, b in pairwise(costs[1:])] == pytest.approx([1, 1], abs=0.01)


def test_flat_grades_cost_as_worked_by_hand():
    # Cross-entropy of four even grades, and 0.75² + 0.5² + 0.25² of distance.
    expected = torch.log(torch.tensor(4.0)).item() + 0.875
    assert damage(1) == pytest.approx(expected, rel=1e-5)


def test_only_building_pixels_with_a_grade_count():
    assert damage(0) == 0
    assert damage(255) == 0
    assert damage(2, where=(slice(0, 2), slice(0, 2))) == pytest.approx(damage(2), rel=1e-3)


def test_a_chip_without_a_grade_still_has_a_gradient():
    logits = torch.zeros(1, 4, 4, 4, requires_grad=True)
    damage_loss(logits, torch.zeros(1, 8, 8).byte(), torch.ones(1, 8, 8), ONES).backward()
    assert (logits.grad == 0).all()


def test_votes_and_weights_move_the_mean():
    target = torch.ones(1, 8, 8).byte()
    target[:, :, 4:] = 4
    logits = torch.zeros(1, 4, 4, 4)
    logits[:, 0] = 12  # right on the left, wrong on the right
    even = damage_loss(logits, target, torch.ones(1, 8, 8), ONES)
    votes = torch.ones(1, 8, 8)
    votes[:, :, :4] = 9
    assert damage_loss(logits, target, votes, ONES) < even / 2
    assert damage_loss(logits, target, torch.ones(1, 8, 8), torch.tensor([9.0, 1, 1, 1])) < even / 2
