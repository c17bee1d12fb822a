import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.nn import functional

from geodamage.errors import OptionError
from training.data.sampling import inverse_frequency
from training.losses.presets import LOSSES, loss_options
from training.losses.terms import (
    TERMS,
    LossOptions,
    OpenCitiesLoss,
    alpha_focal,
    bce,
    build_loss,
    cross_entropy,
    damage_loss,
    dice,
    focal,
    localisation_loss,
    log_cosh_dice,
    lovasz_hinge,
    lovasz_softmax,
    ordinal_emd,
    softmax_dice,
    softmax_focal,
    targets,
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


def sample(channels=5, *, seed=0, size=6, images=2):
    """Return logits, codes with some 255, truth, known (all double where they are float)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, channels, size, size, generator=generator, dtype=torch.double)
    codes = torch.randint(0, max(channels, 2), (images, size, size), generator=generator).byte()
    codes[torch.rand(codes.shape, generator=generator) < 0.2] = 255
    truth = targets(codes, channels=channels).double()
    return logits, codes, truth, (codes != 255).double()


def known_values(logits, truth, known, channel):
    """Return p and t of the pixels of one channel that are known, as Python floats."""
    keep = known.bool()
    p = torch.sigmoid(logits[:, channel])[keep].tolist()
    return p, truth[:, channel][keep].tolist()


def test_targets_of_the_two_readings_of_channel_0():
    codes = torch.tensor([[[0, 1, 2, 4, 255]]]).byte()
    background = targets(codes, channels=5)
    assert background.shape == (1, 5, 1, 5)
    assert background[0, 0, 0].tolist() == [1, 0, 0, 0, 0]
    building = targets(codes, channels=5, channel_0="building")
    assert building[0, 0, 0].tolist() == [0, 1, 1, 1, 0]
    assert torch.equal(building[:, 1:], background[:, 1:])
    assert background[0, 4, 0].tolist() == [0, 0, 0, 1, 0]
    assert targets(codes, channels=1)[0, 0, 0].tolist() == [0, 1, 1, 1, 0]


def test_dice_by_hand():
    # Channel 0: p = .5 everywhere, 2 of 4 are 1: 1 - 2 * 1 / (2 + 2). Channel 1: exactly right.
    logits = torch.tensor([[0.0, 0, 0, 0], [40, 40, -40, -40]]).reshape(1, 2, 2, 2)
    truth = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0]]).reshape(1, 2, 2, 2)
    loss = dice(logits, truth, torch.ones(1, 2, 2))
    assert loss.tolist() == pytest.approx([0.5, 0], abs=1e-6)


def test_dice_takes_its_sums_over_the_whole_batch():
    logits, _, truth, known = sample(2)
    p, t = known_values(logits, truth, known, 1)
    expected = 1 - (2 * sum(a * b for a, b in zip(p, t, strict=True)) + 1e-6) / (
        sum(p) + sum(t) + 1e-6
    )
    loss = dice(logits, truth, known)[1]
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    apart = [dice(*(x[i : i + 1] for x in (logits, truth, known)))[1].item() for i in range(2)]
    assert loss.item() != pytest.approx(sum(apart) / 2, rel=1e-6)


def test_an_empty_channel_found_empty_costs_nothing_in_dice():
    nothing = torch.zeros(1, 1, 4, 4)
    for smooth in (1e-6, 1e-8):
        loss = dice(torch.full_like(nothing, -60), nothing, torch.ones(1, 4, 4), smooth=smooth)
        assert loss.item() == pytest.approx(0, abs=1e-6)


def test_softmax_dice_by_a_loop():
    logits, _, truth, known = sample()
    p = logits.softmax(1)
    for channel in range(5):
        keep = known.bool()
        a, b = p[:, channel][keep], truth[:, channel][keep]
        expected = 1 - (2 * (a @ b) + 1e-8) / (a.sum() + b.sum() + 1e-8)
        loss = softmax_dice(logits, truth, known, smooth=1e-8)[channel]
        assert loss.item() == pytest.approx(expected.item(), rel=1e-9)


def test_log_cosh_dice_by_hand():
    logits = torch.zeros(1, 1, 2, 2)
    truth = torch.tensor([1.0, 1, 0, 0]).reshape(1, 1, 2, 2)
    loss = log_cosh_dice(logits, truth, torch.ones(1, 2, 2))
    assert loss.item() == pytest.approx(math.log(math.cosh(0.5)), rel=1e-6)


def test_focal_by_a_loop():
    logits, _, truth, known = sample(2)
    logits[0, 1, 0, 0] = 50  # clamped
    p, t = known_values(logits, truth, known, 1)
    total = 0.0
    for a, b in zip(p, t, strict=True):
        a, b = (min(max(x, 1e-6), 1 - 1e-6) for x in (a, b))
        right = b * a + (1 - b) * (1 - a)
        total += -((1 - right) ** 2) * math.log(right)
    assert focal(logits, truth, known)[1].item() == pytest.approx(total / len(p), rel=1e-9)


def test_alpha_focal_by_a_loop():
    logits, _, truth, known = sample(2)
    p, t = known_values(logits, truth, known, 1)
    each = [
        -0.7 * (1 - a) ** 2 * math.log(a) if b else -0.3 * a**2 * math.log(1 - a)
        for a, b in zip(p, t, strict=True)
    ]
    expected = sum(each) / len(each)
    assert alpha_focal(logits, truth, known)[1].item() == pytest.approx(expected, rel=1e-9)


def test_binary_and_weighted_cross_entropy_are_those_of_torch():
    logits, codes, truth, known = sample()
    keep = known.bool()
    for channel in range(5):
        expected = functional.binary_cross_entropy_with_logits(
            logits[:, channel][keep], truth[:, channel][keep]
        )
        assert bce(logits, truth, known)[channel].item() == pytest.approx(expected.item())
    weights = torch.tensor([0.1, 1, 3, 2, 0.5]).double()
    expected = functional.cross_entropy(logits, codes.long(), weights, ignore_index=255)
    choice = codes.masked_fill(codes == 255, 0).long()
    loss = cross_entropy(logits, choice, known, weights=weights)
    assert loss.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_softmax_focal_by_a_loop(gamma):
    logits, codes, _, known = sample(3)
    weights = torch.tensor([0.25, 0.75, 2.0]).double()
    each = []
    for n, y, x in torch.nonzero(known).tolist():
        grade = int(codes[n, y, x])
        p = logits[n, :, y, x].softmax(0)[grade].item()
        each.append(-weights[grade].item() * (1 - p) ** gamma * math.log(p))
    choice = codes.masked_fill(codes == 255, 0).long()
    loss = softmax_focal(logits, choice, known, weights=weights, gamma=gamma)
    assert loss.item() == pytest.approx(sum(each) / len(each), rel=1e-9)


def test_a_detached_factor_changes_the_gradient_and_not_the_value():
    logits, codes, _, known = sample(2)
    choice = codes.masked_fill(codes == 255, 0).long()
    values, gradients = [], []
    for detach in (False, True):
        free = logits.clone().requires_grad_()
        loss = softmax_focal(free, choice, known, detach=detach)
        values.append(loss.item())
        gradients.append(torch.autograd.grad(loss, free)[0])
    assert values[0] == pytest.approx(values[1])
    # With the factor constant, what remains is that factor times the gradient of cross-entropy.
    p = logits.softmax(1)
    right = p.gather(1, choice[:, None])
    expected = (1 - right) ** 2 * (p - functional.one_hot(choice, 2).movedim(-1, 1))
    expected = expected * known[:, None] / known.sum()
    assert torch.allclose(gradients[1], expected)
    assert not torch.allclose(gradients[0], expected)


def jaccard_loss(missed, truth):
    """Return 1 - IoU of class 1 when the pixels `missed` are wrong."""
    said = truth ^ missed
    union = int((said | truth).sum())
    return 1 - int((said & truth).sum()) / union if union else 0.0


def lovasz_extension(errors, truth):
    """Return the Lovász extension by its definition: a sum over the errors, largest first."""
    missed = torch.zeros_like(truth)
    value, before = 0.0, 0.0
    for i in torch.argsort(errors, descending=True).tolist():
        missed[i] = True
        now = jaccard_loss(missed, truth)
        value += errors[i].item() * (now - before)
        before = now
    return value


def test_lovasz_hinge_by_its_definition():
    logits, _, truth, known = sample(2, size=4)
    each = []
    for n in range(2):
        keep = known[n].bool()
        t = truth[n, 1][keep]
        errors = (1 - logits[n, 1][keep] * (2 * t - 1)).clamp(min=0)
        each.append(lovasz_extension(errors, t.bool()))
    assert lovasz_hinge(logits, truth, known)[1].item() == pytest.approx(sum(each) / 2, rel=1e-9)


def test_lovasz_softmax_by_its_definition_over_the_classes_present():
    logits, codes, truth, known = sample(4, size=4)
    codes[0][codes[0] == 3] = 255  # class 3 is absent from the first image
    truth, known = targets(codes, channels=4).double(), (codes != 255).double()
    images = []
    for n in range(2):
        keep = known[n].bool()
        classes = [
            lovasz_extension((truth[n, c][keep] - p).abs(), truth[n, c][keep].bool())
            for c, p in enumerate(logits[n].softmax(0)[:, keep])
            if truth[n, c].any()
        ]
        images.append(sum(classes) / len(classes))
    choice = codes.masked_fill(codes == 255, 0).long()
    loss = lovasz_softmax(logits, choice, known)
    assert loss.item() == pytest.approx(sum(images) / 2, rel=1e-9)


def test_lovasz_of_a_hard_answer_is_the_jaccard_loss():
    truth = torch.tensor([1, 1, 1, 0, 0, 0, 0, 0]).reshape(1, 1, 2, 4).float()
    said = torch.tensor([1, 1, 0, 1, 0, 0, 0, 0]).reshape(1, 2, 4)
    logits = 50.0 * torch.stack([1 - said, said], 1)  # one missed, one too many: IoU 2 / 4
    loss = lovasz_softmax(logits, truth[:, 0].long(), torch.ones(1, 2, 4))
    background = 1 - 4 / 6
    assert loss.item() == pytest.approx((0.5 + background) / 2, rel=1e-5)


def test_emd_by_hand_and_only_where_there_is_a_grade():
    logits = torch.zeros(1, 5, 1, 4)
    logits[:, 0] = 7  # channel 0 has no part in it
    codes = torch.tensor([[[1, 2, 0, 0]]])
    known = torch.tensor([[[1.0, 1, 1, 0]]])
    # Even grades, cumulated .25 .5 .75 1, against 1 1 1 1 and 0 1 1 1.
    expected = (0.75**2 + 0.5**2 + 0.25**2 + 0.25**2 + 0.5**2 + 0.25**2) / 2
    assert ordinal_emd(logits, codes, known).item() == pytest.approx(expected)
    assert ordinal_emd(logits[:, 1:], codes, known).item() == pytest.approx(expected)


def test_emd_of_a_sure_answer_counts_steps():
    for said in range(1, 5):
        logits = torch.zeros(1, 4, 1, 1)
        logits[0, said - 1] = 60
        loss = ordinal_emd(logits, torch.ones(1, 1, 1).long(), torch.ones(1, 1, 1))
        assert loss.item() == pytest.approx(said - 1, abs=1e-6)


ALL_TERMS = tuple(f"{name}:1" for name in TERMS)
NUMBERS = {"channel_weights": (0.1, 0.2, 0.3, 0.2, 0.2), "class_weights": (0.2, 1.0, 3.0, 2.0, 1.0)}


@pytest.mark.parametrize("term", ALL_TERMS)
def test_every_term_leaves_255_out(term):
    loss = build_loss(LossOptions(terms=(term,), **NUMBERS), task="damage")
    logits, codes, _, _ = sample()
    other = torch.where((codes == 255)[:, None], logits.flip(0) * 9 + 3, logits)
    assert loss(other, codes).item() == pytest.approx(loss(logits, codes).item(), rel=1e-9)
    nothing = torch.full_like(codes, 255)
    free = logits.clone().requires_grad_()
    value = loss(free, nothing)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-5)
    assert (free.grad == 0).all()


@pytest.mark.parametrize("term", ALL_TERMS)
def test_every_term_has_the_gradient_of_its_value(term):
    logits, codes, _, _ = sample(size=3)
    loss = build_loss(LossOptions(terms=(term,), **NUMBERS), task="damage").double()
    assert torch.autograd.gradcheck(lambda x: loss(x, codes), logits.requires_grad_())


@pytest.mark.parametrize("term", ALL_TERMS)
def test_every_term_falls_when_the_answer_gets_better(term):
    _, codes, truth, _ = sample()
    loss = build_loss(LossOptions(terms=(term,)), task="damage").double()
    costs = [loss(sure * (2 * truth - 1), codes).item() for sure in (-6, 0, 6)]
    assert costs[0] > costs[1] > costs[2]
    assert costs[2] < 0.1


def test_weights_of_pixels_count_as_often_as_they_say():
    logits, codes, _, _ = sample(images=1)
    weights = torch.ones(codes.shape).double()
    weights[:, :3] = 2
    terms = tuple(t for t in ALL_TERMS if "lovasz" not in t)
    loss = build_loss(LossOptions(terms=terms, **NUMBERS), task="damage").double()
    repeated = [torch.cat([x, x[..., :3, :]], -2) for x in (logits, codes)]
    assert loss(logits, codes, weights).item() == pytest.approx(loss(*repeated).item(), rel=1e-9)


def test_the_loss_of_first_place_as_written_out():
    logits, codes, truth, known = sample()
    weights = (0.1, 0.1, 0.3, 0.3, 0.2)
    expected = 11 * cross_entropy(logits, codes.masked_fill(codes == 255, 0).long(), known).item()
    for channel, weight in enumerate(weights):
        one = logits[:, channel : channel + 1], truth[:, channel : channel + 1], known
        expected += weight * (0.5 * dice(*one).item() + 2 * focal(*one).item())
    loss = build_loss(LOSSES["first_place_seresnext50_damage"], task="damage").double()
    assert loss(logits, codes).item() == pytest.approx(expected, rel=1e-6)


def test_the_res34_of_first_place_asks_channel_0_for_buildings():
    codes = torch.tensor([[[0, 1], [2, 4]]]).byte()
    loss = build_loss(LOSSES["first_place_res34_damage"], task="damage")
    right = 30 * (2 * targets(codes, channels=5, channel_0="building") - 1)
    assert loss(right, codes).item() == pytest.approx(0, abs=1e-4)
    right[:, 0] *= -1
    assert loss(right, codes).item() > 0.05


@pytest.mark.parametrize("name", LOSSES)
def test_every_published_loss_can_be_built_and_learnt_from(name):
    task = name.rpartition("_")[2]
    task = task if task in ("localisation", "damage") else "assess"
    codes = torch.randint(0, 5, (2, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
    counts = [[900, 100], [900, 60, 10, 10, 10, 0]] if LOSSES[name].balanced else []
    loss = build_loss(LOSSES[name], task=task, pixel_counts=counts)
    channels = {"localisation": 1, "damage": 5, "assess": 8}[task]
    logits = torch.zeros(2, channels, 8, 8, requires_grad=True)
    arguments = ((codes > 0).byte(), codes) if task == "assess" else (codes,)
    before = loss(logits, *arguments)
    before.backward()
    after = loss(logits - 5 * logits.grad, *arguments)
    assert after < before


def test_two_dates_share_the_loss_as_system_004_has_it():
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


def test_a_recipe_names_a_loss_and_changes_it():
    recipe = {
        "name": "mine",
        "loss": "first_place_dpn92_damage",
        "loss_terms": ["dice:1", "lovasz_softmax:2"],
        "loss_gamma": 1,
    }
    options = loss_options(recipe)
    assert options.terms == ("dice:1", "lovasz_softmax:2")
    assert options.gamma == 1.0
    assert options.channel_weights == LOSSES["first_place_dpn92_damage"].channel_weights
    assert loss_options({"name": "mine"}) == LossOptions()


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"loss": "first_place_res43_damage"}, "did you mean 'first_place_res34_damage'"),
        ({"loss_term": ["dice:1"]}, "unknown key 'loss_term'; did you mean 'loss_terms'"),
        ({"loss_terms": ["dise:1"]}, "unknown term 'dise'; did you mean 'dice'"),
        ({"loss_terms": ["dice"]}, "needs a positive weight"),
        ({"loss_terms": ["dice:-1"]}, "needs a positive weight"),
        ({"loss_terms": ["dice:nan"]}, "needs a positive weight"),
        ({"loss_terms": "dice:1"}, "loss_terms = 'dice:1' is not"),
        ({"loss_gamma": "2"}, "is not float"),
        ({"loss_channel_0": "roof"}, "loss_channel_0 = 'roof'"),
    ],
)
def test_what_a_recipe_gets_wrong_is_named(recipe, said):
    with pytest.raises(OptionError, match=said):
        loss_options(recipe)


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
