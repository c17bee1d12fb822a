import math

import pytest
import torch
from torch.nn import functional

from tests.training.losses.drawn import ALL_TERMS, NUMBERS, sample
from training.losses.networks import build_loss
from training.losses.options import LossOptions
from training.losses.terms import (
    alpha_focal,
    bce,
    cross_entropy,
    dice,
    focal,
    log_cosh_dice,
    lovasz_hinge,
    lovasz_softmax,
    ordinal_emd,
    softmax_dice,
    softmax_focal,
    targets,
)


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
