import math

import pytest
import torch

from training.distillation import building_logit, feature, response, reverse_kl, two_classes


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
