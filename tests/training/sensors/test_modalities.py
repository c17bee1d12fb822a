"""Losses, phases and teachers of CMKD's methods."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from training.losses.distillation import forward_kl
from training.sensors.chip_recipe import ChipRecipe
from training.sensors.modalities import Mixing, divergence, inverse_counts, phases_of

#: Class counts and rounded weights. Source: CMKD, KD1 cell 25.
COUNTS = [234135, 28030, 15234, 10587, 1668, 782, 768, 562, 783, 573]
WEIGHTS = [0.0005, 0.0044, 0.0080, 0.0115, 0.0733, 0.1563, 0.1591, 0.2175, 0.1561, 0.2133]


def logits(seed, samples=5, classes=4):
    return torch.randn(samples, classes, generator=torch.Generator().manual_seed(seed))


def test_class_weights_are_the_published_ones():
    weights = inverse_counts(np.repeat(np.arange(10), COUNTS), 10)
    # Published to four digits of a count of its own; ours agree to 1 in the third.
    np.testing.assert_allclose(weights, WEIGHTS, atol=6e-4)
    assert float(weights.sum()) == pytest.approx(1)


def test_a_class_without_chips_weighs_nothing():
    assert inverse_counts(np.array([0, 0, 2]), 4).tolist() == pytest.approx([1 / 3, 0, 2 / 3, 0])


def test_the_divergence_is_the_published_line_of_code():
    student, teacher = logits(1), logits(2)
    said, taught = functional.log_softmax(student / 2, 1), functional.softmax(teacher / 2, 1)
    # What KLDivLoss does unless it is told otherwise, where it warns that this is no divergence.
    published = 4 * functional.kl_div(said, taught, reduction="none").mean()
    torch.testing.assert_close(divergence(student, teacher, temperature=2.0), published)


@given(st.integers(0, 10**6), st.floats(0.5, 8), st.integers(2, 10))
@settings(max_examples=30, deadline=None)
def test_over_chips_it_is_that_of_the_other_students(seed, temperature, classes):
    student, teacher = logits(seed, classes=classes), logits(seed + 1, classes=classes)
    ours = divergence(student, teacher, temperature=temperature, mean="chips")
    known = torch.ones(5, 1, 1)
    theirs = forward_kl(
        student[..., None, None], teacher[..., None, None], known, temperature=temperature
    )
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        divergence(student, teacher, temperature=temperature) * classes, ours
    )


def test_class_weights_of_the_divergence_are_the_published_method_2():
    student, teacher, weights = logits(1), logits(2), torch.tensor([0.1, 0.2, 0.3, 0.4])
    each = functional.kl_div(
        (student / 2).log_softmax(1), (teacher / 2).softmax(1), reduction="none"
    )
    ours = divergence(student, teacher, temperature=2.0, weights=weights)
    torch.testing.assert_close(ours, (each * 4 * weights).mean())


def test_no_gradient_reaches_a_teacher():
    student, teacher = logits(1).requires_grad_(), logits(2).requires_grad_()
    divergence(student, teacher, temperature=2.0).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


def test_images_and_labels_are_mixed_alike():
    mixing = Mixing(torch.tensor([1, 0]), 0.75)
    images = torch.tensor([0.0, 8.0]).reshape(2, 1, 1, 1)
    assert mixing.images(images).ravel().tolist() == [2, 6]
    said, labels = logits(3, samples=2), torch.tensor([0, 3])
    by_hand = -(
        0.75 * said.log_softmax(1)[[0, 1], [0, 3]] + 0.25 * said.log_softmax(1)[[0, 1], [3, 0]]
    )
    torch.testing.assert_close(mixing.cross_entropy(said, labels, None), by_hand.mean())


def test_without_mixup_chips_stay_what_they_are():
    mixing = Mixing.draw(3, 0.0, (1, 2))
    images = torch.randn(3, 1, 4, 4)
    torch.testing.assert_close(mixing.images(images), images)


def test_a_batch_is_mixed_the_same_again():
    first, second = Mixing.draw(9, 1.0, (1, 2)), Mixing.draw(9, 1.0, (1, 2))
    assert first.share == second.share
    assert (first.partners == second.partners).all()
    assert Mixing.draw(9, 1.0, (1, 3)).share != first.share


def test_method_2_swaps_sensors_and_halves_its_rate():
    recipe = ChipRecipe(name="x", method="iterative", teacher="t", iterations=3)
    phases = phases_of(recipe)
    assert [phase.student for phase in phases] == ["eo", "sar"] * 3
    assert [phase.iteration for phase in phases] == [1, 1, 2, 2, 3, 3]
    assert [phase.alpha for phase in phases] == [0.2, 0.8] * 3
    assert [phase.lr for phase in phases] == [0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025]
    assert all(phase.teacher != phase.student for phase in phases)


def test_the_other_methods_have_one_phase():
    (alone,) = phases_of(ChipRecipe(name="x", sensor="sar"))
    assert (alone.student, alone.taught) == ("sar", False)
    (taught,) = phases_of(ChipRecipe(name="x", method="teacher", teacher="t"))
    assert (taught.student, taught.teacher, taught.taught, taught.alpha) == ("eo", "sar", True, 0.2)
