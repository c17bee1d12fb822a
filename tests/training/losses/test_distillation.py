import math

import pytest
import torch

from training.losses.distillation import (
    building_logit,
    feature,
    forward_kl,
    response,
    reverse_kl,
    two_classes,
)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def test_two_classes_say_what_the_sigmoid_says():
    logits = draw(2, 1, 3, 3)
    both = two_classes(logits).softmax(1)
    assert torch.allclose(both[:, 1:], logits.sigmoid())


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_logit_of_any_building_gathers_the_grades(temperature):
    logits = draw(2, 5, 3, 3)
    grades = (logits / temperature).softmax(1)[:, 1:].sum(1, keepdim=True)
    joined = building_logit(logits, temperature=temperature)
    assert torch.allclose((joined / temperature).sigmoid(), grades)


def test_the_response_of_localisation_by_a_loop():
    student, teacher = draw(2, 1, 3, 3), draw(2, 1, 3, 3, seed=1)
    truth = torch.randint(0, 2, (2, 3, 3), generator=torch.Generator().manual_seed(2))
    known = torch.ones(2, 3, 3).double()
    known[0, 0] = 0
    each = []
    for n, y, x in torch.nonzero(known).tolist():
        m = truth[n, y, x].item()
        p_s, p_t = (torch.sigmoid(z[n, 0, y, x] / 2).item() for z in (student, teacher))
        each.append(-(p_t * m + (1 - p_t) * (1 - m)) * math.log(p_s * m + (1 - p_s) * (1 - m)))
    loss = response(two_classes(student), two_classes(teacher), truth, known, temperature=2.0)
    assert loss.item() == pytest.approx(sum(each) / len(each), rel=1e-9)


def test_a_sample_is_held_against_its_own_mask_only():
    student, teacher = draw(2, 5, 3, 3), draw(2, 5, 3, 3, seed=1)
    codes = torch.randint(0, 5, (2, 3, 3), generator=torch.Generator().manual_seed(2))
    known = torch.ones(2, 3, 3).double()
    apart = [
        response(*(x[i : i + 1] for x in (student, teacher, codes, known))).item() for i in range(2)
    ]
    assert response(student, teacher, codes, known).item() == pytest.approx(sum(apart) / 2)


def test_the_reverse_divergence_is_none_between_equals_and_right_by_hand():
    known = torch.ones(1, 1, 1).double()
    even, sure = torch.tensor([0.0, 0]), torch.tensor([math.log(3), 0])
    even, sure = (z.double().reshape(1, 2, 1, 1) for z in (even, sure))
    assert reverse_kl(sure, sure, known).item() == pytest.approx(0)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert reverse_kl(sure, even, known).item() == pytest.approx(expected)
    assert reverse_kl(even, sure, known).item() != pytest.approx(expected)


def test_the_distance_of_features_by_hand():
    teacher = torch.tensor([[3.0, 4.0], [0.0, 0.0]]).reshape(2, 2, 1, 1)
    student = torch.zeros(2, 2, 1, 1)
    assert feature(student, teacher).item() == pytest.approx((5 + 0) / 2)
    assert feature(student, teacher, over="batch").item() == pytest.approx((3 + 4) / 2)


def test_a_teacher_learns_nothing():
    student, teacher = draw(1, 5, 2, 2).requires_grad_(), draw(1, 5, 2, 2, seed=1).requires_grad_()
    codes, known = torch.ones(1, 2, 2).long(), torch.ones(1, 2, 2).double()
    loss = response(student, teacher, codes, known) + reverse_kl(student, teacher, known)
    (loss + feature(student, teacher)).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_the_divergences_by_hand_with_the_square_of_the_temperature(temperature):
    known = torch.ones(1, 1, 1).double()
    even, sure = torch.tensor([0.0, 0]), torch.tensor([math.log(3) * temperature, 0])
    even, sure = (z.double().reshape(1, 2, 1, 1) for z in (even, sure))
    # Divided by the temperature, the sure one is (3/4, 1/4).
    from_sure = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    from_even = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    options = {"temperature": temperature}
    square = temperature**2
    assert forward_kl(even, sure, known, **options).item() == pytest.approx(square * from_sure)
    assert forward_kl(sure, even, known, **options).item() == pytest.approx(square * from_even)
    assert reverse_kl(sure, even, known, **options).item() == pytest.approx(square * from_sure)
    assert forward_kl(sure, sure, known, **options).item() == pytest.approx(0)


def test_the_gradient_of_the_divergence_is_as_strong_at_any_temperature():
    # Hinton et al. 2015: that is what T squared is for; near zero logits the two are alike.
    student, teacher = draw(1, 5, 4, 4) / 100, draw(1, 5, 4, 4, seed=1) / 100
    known = torch.ones(1, 4, 4).double()
    slopes = []
    for temperature in (1.0, 4.0):
        leaf = student.clone().requires_grad_()
        forward_kl(leaf, teacher, known, temperature=temperature).backward()
        slopes.append(leaf.grad)
    assert torch.allclose(slopes[0], slopes[1], rtol=0.1, atol=1e-6)


@pytest.mark.parametrize("size", [2, 3, 6])
def test_the_size_of_the_batch_does_not_change_what_a_sample_costs(size):
    student, teacher = draw(6, 5, 3, 3), draw(6, 5, 3, 3, seed=1)
    codes = torch.randint(0, 5, (6, 3, 3), generator=torch.Generator().manual_seed(2))
    known = torch.ones(6, 3, 3).double()
    terms = (
        lambda s, t, c, k: response(s, t, c, k, temperature=2.0),
        lambda s, t, c, k: forward_kl(s, t, k, temperature=2.0),
        lambda s, t, c, k: reverse_kl(s, t, k),
        lambda s, t, c, k: feature(s, t),
    )
    for term in terms:

        def mean(count, term=term):
            batches = zip(*(x.split(count) for x in (student, teacher, codes, known)), strict=True)
            return torch.stack([term(*batch) for batch in batches]).mean().item()

        assert mean(size) == pytest.approx(mean(1))


def test_the_published_shapes_hold_every_sample_against_every_mask():
    # Source: building_damage_kd, train_student_building.py:394-407: p (n, h, w) meets a mask (n, 1,
    # h, w).
    student, teacher = draw(3, 1, 4, 4), draw(3, 1, 4, 4, seed=1)
    truth = torch.randint(0, 2, (3, 4, 4), generator=torch.Generator().manual_seed(2))
    known = torch.ones(3, 4, 4).double()

    def published(student, teacher, truth):
        mask = truth[:, None].double()
        p_s, p_t = (torch.sigmoid(z[:, 0] / 2) for z in (student, teacher))
        right = p_t * mask + (1 - p_t) * (1 - mask)
        return -right * torch.log(p_s * mask + (1 - p_s) * (1 - mask))

    assert published(student, teacher, truth).shape == (3, 3, 4, 4)
    options = {"temperature": 2.0}
    ours = response(two_classes(student), two_classes(teacher), truth, known, **options).item()
    alone = [
        published(*(x[i : i + 1] for x in (student, teacher, truth))).mean().item()
        for i in range(3)
    ]
    assert ours == pytest.approx(sum(alone) / 3)
    assert published(student, teacher, truth).mean().item() != pytest.approx(ours, rel=1e-3)
