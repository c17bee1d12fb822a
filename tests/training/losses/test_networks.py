import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn

from geodamage.errors import OptionError
from tests.training.losses.drawn import ALL_TERMS, NUMBERS, sample
from training.data.sampling import inverse_frequency
from training.losses.networks import OpenCitiesLoss, build_loss, damage_loss, localisation_loss
from training.losses.options import LossOptions
from training.losses.presets import LOSSES
from training.losses.terms import (
    softmax_focal,
)

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


def test_two_dates_share_the_loss_as_xview2siameseunet_has_it():
    logits, codes, _, _ = sample(8)
    codes = torch.where(codes == 255, codes, codes % 6)
    buildings = torch.where(codes == 255, codes, (codes > 0).byte())
    counts = [[750, 250], [500, 200, 100, 100, 50, 50]]
    loss = build_loss(LOSSES["siamese_resnet50"], task="assess", pixel_counts=counts).double()
    known = (codes != 255).double()
    expected = 0.0
    for share, part, truth, count in (
        (0.4, logits[:, :2], buildings, counts[0]),
        (0.6, logits[:, 2:], codes, counts[1]),
    ):
        weights = torch.tensor(inverse_frequency(np.array(count)))
        choice = truth.masked_fill(truth == 255, 0).long()
        expected += share * softmax_focal(part, choice, known, weights=weights).item()
    assert loss(logits, buildings, codes).item() == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_open_cities_by_hand():
    buildings = torch.tensor([[[1, 0], [0, 255]]]).byte()
    loss = OpenCitiesLoss()(
        torch.zeros(1, 2, 2, 2), torch.zeros(1, 1, 2, 2), torch.zeros(1, 2), buildings
    )
    flat = 0.25 * math.log(2)  # (1 - 1/2)² of cross-entropy
    masks = (0.75 + 0.25 + 0.25) / 3 * flat
    overlap = 1 - (2 * 0.5 + 1) / (1.5 + 1 + 1)
    assert loss.item() == pytest.approx(masks + 0.1 * overlap + 0.75 * flat, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "task", "said"),
    [
        ({}, "segmentation", "no loss for task 'segmentation'"),
        ({"terms": ("cross_entropy:1",)}, "localisation", "there is one"),
        ({"channel_weights": (1.0, 1.0)}, "damage", "has 2 numbers; the network has 5"),
        ({"terms": ("lovasz_softmax:1",), "channel_0": "building"}, "damage", "in two channels"),
        ({"balanced": True}, "damage", "counted before training"),
    ],
)
def test_what_does_not_go_together_is_refused(options, task, said):
    with pytest.raises(OptionError, match=said):
        build_loss(LossOptions(**options), task=task)


def test_a_loss_in_half_precision_is_worked_out_in_single():
    logits, codes, _, _ = sample()
    loss = build_loss(LOSSES["first_place_seresnext50_damage"], task="damage")
    value = loss(logits.bfloat16(), codes)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(logits.bfloat16().float(), codes).item())


def uneven_batch():
    """Return images and codes; the two halves differ in what is known and in their grades."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(4, 3, 8, 8, generator=generator)
    codes = torch.randint(0, 5, (4, 8, 8), generator=generator).byte()
    codes[0, :7] = 255
    codes[3] = 0
    return images, codes


def gradients_of(network, loss, images, codes):
    value = loss(network(images), codes)
    value.backward()
    return value.item(), [p.grad.clone() for p in network.parameters()]


def train_half(rank, folder):
    """Take one half of the batch in a process of its own, as a training on two devices would."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    loss = build_loss(LossOptions(terms=ALL_TERMS, **NUMBERS), task="damage", all_reduce=True)
    images, codes = (x[2 * rank : 2 * rank + 2] for x in uneven_batch())
    found = gradients_of(nn.Conv2d(3, 5, 3, padding=1), loss, images, codes)
    torch.save(found, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_loss_and_gradients_of_one(tmp_path):
    multiprocessing.spawn(train_half, (str(tmp_path),), nprocs=2)
    torch.manual_seed(0)
    loss = build_loss(LossOptions(terms=ALL_TERMS, **NUMBERS), task="damage")
    value, gradients = gradients_of(nn.Conv2d(3, 5, 3, padding=1), loss, *uneven_batch())
    (one, first), (other, second) = (
        torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)
    )
    assert one == other == pytest.approx(value, rel=1e-6)
    for a, b, whole in zip(first, second, gradients, strict=True):
        # DistributedDataParallel takes this mean.
        assert torch.allclose((a + b) / 2, whole, rtol=0, atol=1e-6)
