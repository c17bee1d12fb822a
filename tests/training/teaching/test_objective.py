from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from geodamage.errors import OptionError
from geodamage.networks import create_network
from geodamage.networks.conventions import COMPACT, Exported, convention_of
from tests.conftest import make_model
from training.data.crops import ChipOptions, Chips, cut, draw_generated
from training.data.samples import stack
from training.losses.distillation import building_logit, feature, forward_kl, response, two_classes
from training.objectives import make_objective
from training.recipe import Recipe
from training.teaching.answers import Answer, TeacherError, decode, encode
from training.teaching.objective import (
    DistilObjective,
    add_answers,
    asked_of,
    choices,
    projection,
    projections_of,
    shares,
)
from training.teaching.panel import Panel
from training.teaching.semi_supervision import CollapseError, Guard, SoftOptions
from training.teaching.soft_labels import DistilOptions

RECIPES = Path(__file__).parents[3] / "training" / "recipes"
DAMAGE = Exported(nn.Identity(), convention_of("first_place", "seresnext50_unet", "damage"))
LOCALISATION = Exported(
    nn.Identity(), convention_of("first_place", "seresnext50_unet", "localisation")
)
NOTHING = {"own": 0.0}


def logits(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def batch_of(count=2, side=8):
    rng = torch.Generator().manual_seed(3)
    return {
        "pre": torch.randint(0, 256, (count, 3, side, side), generator=rng, dtype=torch.uint8),
        "post": torch.randint(0, 256, (count, 3, side, side), generator=rng, dtype=torch.uint8),
        "grades": torch.randint(0, 5, (count, side, side), generator=rng, dtype=torch.uint8),
        "buildings": torch.randint(0, 2, (count, side, side), generator=rng, dtype=torch.uint8),
    }


class Saying(nn.Module):
    """Teachers whose answers are given."""

    def __init__(self, *answers):
        super().__init__()
        self.given = [*answers]

    def forward(self, pre, post):
        return self.given


def graded(seed):
    return Answer(logits(2, 1, 8, 8, seed=seed), logits(2, 4, 8, 8, seed=seed + 50).log_softmax(1))


def loss_of(student, batch, *answers, scaling=DAMAGE, **options):
    def run_own(network, batch):
        network(torch.zeros(1))
        return torch.tensor(7.0)

    options = DistilOptions(teachers=("x",) * len(answers), **options)
    objective = DistilObjective(run_own, scaling, options, panel=Saying(*answers))
    return objective(lambda images: student, batch).item()


# Terms and shares.


def test_the_labels_keep_their_own_loss():
    teacher = graded(1)
    student, batch = logits(2, 5, 8, 8), batch_of()
    alone = loss_of(student, batch, teacher, kl=1.0, **NOTHING)
    assert alone > 0
    assert loss_of(student, batch, teacher, kl=1.0, own=1.0) == pytest.approx(7 + alone)


def test_one_damage_teacher_is_asked_about_background_and_grades():
    student, batch, teacher = logits(2, 5, 8, 8), batch_of(), graded(1)
    codes, known = batch["grades"].long(), torch.ones(2, 8, 8)
    options = {"response": 0.2, "kl": 0.5, "temperature": 2.0, **NOTHING}
    expected = 0.2 * response(student, teacher.channels(), codes, known)
    expected += 0.5 * forward_kl(student, teacher.channels(), known, temperature=2.0)
    found = loss_of(student, batch, teacher, **options)
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_a_building_teacher_is_asked_about_buildings():
    student, batch = logits(2, 1, 8, 8), batch_of()
    teacher = Answer(logits(2, 1, 8, 8, seed=1))
    expected = response(
        two_classes(student),
        two_classes(teacher.building),
        batch["buildings"].long(),
        torch.ones(2, 8, 8),
        temperature=2.0,
    )
    options = {"building_response": 1.0, "building_temperature": 2.0, **NOTHING}
    found = loss_of(student, batch, teacher, scaling=LOCALISATION, **options)
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_two_teachers_share_a_damage_student_by_m():
    student, batch = logits(2, 5, 8, 8), batch_of()
    building, damage = Answer(logits(2, 1, 8, 8, seed=1)), graded(2)
    codes, known = batch["grades"].long(), torch.ones(2, 8, 8)
    of_damage = response(student, damage.channels(), codes, known)
    of_building = response(
        two_classes(building_logit(student, temperature=2.0)),
        two_classes(building.building),
        (codes > 0).long(),
        known,
        temperature=2.0,
    )
    options = {"kind": "dual", "mix": 0.3, "response": 0.2, "building_response": 0.5, **NOTHING}
    found = loss_of(student, batch, building, damage, **options)
    expected = 0.7 * 0.2 * of_damage + 0.3 * 0.5 * of_building
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_the_published_q_of_a_damage_student_by_hand():
    # Source: building_damage_kd, train_student.py:532-555: e = exp(z / 2), q = sum over grades /
    # all.
    z = torch.tensor([0.3, 1.0, -0.5, 0.2, 0.8]).reshape(1, 5, 1, 1)
    e = torch.exp(z / 2).flatten()
    student = Answer(building_logit(z), z[:, 1:].log_softmax(1), joint=True)
    ours, _ = choices(student, Answer(torch.zeros(1, 1, 1, 1)), 2.0)
    q = (ours / 2).softmax(1)[0, 1].item()
    assert q == pytest.approx((e[1:].sum() / e.sum()).item())


def test_each_teacher_counts_for_its_own_task():
    dual = DistilOptions(kind="dual", mix=0.2)
    assert shares(dual, "localisation") == pytest.approx((0.8, 0.2))
    assert shares(dual, "damage") == shares(dual, "assess") == pytest.approx((0.2, 0.8))
    assert shares(DistilOptions(), "damage") == (1.0,)


@pytest.mark.parametrize("kind", ["single", "dual"])
def test_the_size_of_the_batch_does_not_change_what_a_sample_costs(kind):
    student, batch = logits(2, 5, 8, 8), batch_of()
    answers = [graded(1)] if kind == "single" else [Answer(logits(2, 1, 8, 8, seed=4)), graded(1)]
    options = {
        "kind": kind, "response": 0.2, "building_response": 0.5, "kl": 1.0,
        "building_weight": 1.0, **NOTHING,
    }  # fmt: skip

    def part(answer, i):
        grades = None if answer.grades is None else answer.grades[i : i + 1]
        return Answer(answer.building[i : i + 1], grades)

    apart = [
        loss_of(
            student[i : i + 1],
            {name: tensor[i : i + 1] for name, tensor in batch.items()},
            *(part(answer, i) for answer in answers),
            **options,
        )
        for i in range(2)
    ]
    assert loss_of(student, batch, *answers, **options) == pytest.approx(sum(apart) / 2, rel=1e-5)


def test_a_student_that_says_what_its_teacher_says_has_no_divergence():
    teacher = graded(1)
    found = loss_of(teacher.channels(), batch_of(), teacher, kl=1.0, temperature=3.0, **NOTHING)
    assert found == pytest.approx(0, abs=1e-5)
    other = loss_of(teacher.channels() + logits(2, 5, 8, 8), batch_of(), teacher, kl=1.0, **NOTHING)
    assert other > 0.01


def test_pixels_are_asked_where_they_are_known():
    batch = {
        "damage": torch.tensor([[[0, 1, 4, 255]]], dtype=torch.uint8),
        "weights": torch.tensor([[[1.0, 4.0, 0.0, 1.0]]]),
    }
    asked = asked_of(batch, "assess", building_weight=5.0)
    assert asked.codes.flatten().tolist() == [0, 1, 4, 0]
    assert asked.labelled.flatten().tolist() == [1, 5, 0, 0]
    # A teacher needs no label: only what lies beyond the pair is left out.
    assert asked.seen.flatten().tolist() == [1, 5, 0, 1]


# Features.


def test_a_projection_is_there_where_widths_differ():
    assert isinstance(projection(64, 64), nn.Identity)
    assert projection(64, 96).weight.shape == (96, 64, 1, 1)


def chips_of(count=2, side=64):
    pair = draw_generated(1)
    rng = np.random.default_rng(0)
    options = ChipOptions(crop=side)
    chips = [cut(pair, (256, 256), options, rng)._asdict() for _ in range(count)]
    return stack([{k: v for k, v in chip.items() if v is not None} for chip in chips])


@pytest.mark.slow
def test_the_distance_of_features_goes_through_the_projection(runs):
    options = DistilOptions(teachers=("teacher",), feature=1.0, **NOTHING)
    student = create_network("compact_small", task="assess").eval()
    panel = Panel(options, runs)
    objective = DistilObjective(
        lambda network, batch: network(*images)[0].sum() * 0,
        Exported(nn.Identity(), COMPACT),
        options,
        panel=panel,
        student=student,
    )
    batch = chips_of()
    images = [objective.scaling.scaled(batch[date]) for date in ("pre", "post")]
    found = objective(student, batch)
    layers = projections_of(objective)
    assert [tuple(weight.shape) for weight in layers.parameters()] == [(160, 80, 1, 1)]

    def deep(network):
        x16 = network.layer16(network.layer8(network.layer4(network.stem(torch.cat(images)))))
        return x16.chunk(2)

    with torch.no_grad():
        ours = torch.cat([layers[0](date) for date in deep(student)], 1)
        theirs = torch.cat(deep(panel.networks()[0]), 1)
        expected = feature(ours, theirs)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)
    found.backward()
    assert next(layers.parameters()).grad.abs().sum() > 0
    assert all(weight.grad is None for weight in panel.parameters())


def test_a_model_file_shows_no_features(tmp_path):
    path = make_model(tmp_path / "bright.onnx")
    options = DistilOptions(teachers=(str(path),), feature=1.0)
    student = create_network("compact_small", task="assess")
    with pytest.raises(TeacherError, match="is a model file, which shows no features") as error:
        DistilObjective(
            lambda *_: None, Exported(nn.Identity(), COMPACT), options,
            panel=Panel(options, tmp_path), student=student,
        )  # fmt: skip
    assert "\n" not in str(error.value)


def test_a_localisation_student_takes_the_features_of_a_damage_teacher_or_nothing():
    options = DistilOptions(kind="dual", teachers=("a", "b"), kl=1.0)
    with pytest.raises(OptionError, match="takes the features of the damage teacher"):
        DistilObjective(lambda *_: None, LOCALISATION, options)


# Answers that are cut with the chips.


class Knowing:
    """A panel that answers with the labels of a pair, and 8 bits of place."""

    options = DistilOptions()

    def __init__(self, pair):
        damage = torch.from_numpy(pair.damage).long()
        planes = nn.functional.one_hot(damage, 5).permute(2, 0, 1)[None].float() * 4
        building = torch.where(damage > 0, 4.0, -4.0)[None, None]
        encoded = encode(Answer(building, planes[:, 1:]))
        self.said = encoded[0].permute(1, 2, 0).contiguous().numpy()

    def planes(self, pre, post):
        return self.said


@pytest.mark.slow
def test_answers_are_cut_just_as_the_labels_are():
    pair = draw_generated(1)
    options = ChipOptions(crop=64, generated_share=0.0, half_share=0.2, masked_share=0.2)
    chips = Chips([pair], [], options, half=[pair], masked=[pair])
    add_answers(chips, Knowing(pair))
    (answered, _), _, (half, _), (masked, _), _ = chips.pools
    assert answered[0].teacher.shape == (512, 512, 5)
    for seed in range(20):
        chip = cut(answered[0], (60 * seed % 512, 10), options, np.random.default_rng(seed))
        plain = cut(pair, (60 * seed % 512, 10), options, np.random.default_rng(seed))
        assert np.array_equal(chip.pre, plain.pre)  # and nothing else has changed
        inside = chip.weights > 0
        answer = decode(torch.from_numpy(chip.teacher).permute(2, 0, 1)[None])
        assert np.array_equal(answer.known[0].numpy() > 0, inside)
        grades = answer.grades[0].argmax(0).numpy() + 1
        building = inside & (chip.damage > 0)
        assert np.array_equal(grades[building], chip.damage[building])
    # Of other kinds of images the teachers know nothing.
    assert not half[0].teacher.any()
    assert not masked[0].teacher.any()
    assert half[0].teacher.shape == (512, 512, 5)


@pytest.mark.slow
def test_planes_are_as_good_as_the_teacher_itself(runs):
    batch = chips_of()
    options = DistilOptions(teachers=("teacher",), kl=1.0, **NOTHING)
    panel = Panel(options, runs)
    student = [logits(2, 1, 64, 64), logits(2, 1, 64, 64), logits(2, 4, 32, 32)]

    def loss(panel, batch):
        def own(network, batch):
            network(None, None)
            return torch.zeros(())

        objective = DistilObjective(own, Exported(nn.Identity(), COMPACT), options, panel=panel)
        return objective(lambda pre, post: student, batch).item()

    (answer,) = panel(batch["pre"], batch["post"])
    planes = batch | {"teacher": encode(answer)}
    assert loss(None, planes) == pytest.approx(loss(panel, batch), rel=0.01)


# Chips without labels.


def unlabelled_pair(pair):
    unknown, none = np.full_like(pair.damage, 255), np.zeros_like(pair.weights)
    nothing = {"buildings": unknown, "damage": unknown, "weights": none, "vote": none}
    return replace(pair, centres=np.zeros((0, 3), int), **nothing)


def unlabelled_batch():
    pair = draw_generated(1)
    options = ChipOptions(crop=64, generated_share=0.0, unlabelled_share=1.0)
    chips = Chips([pair], [], options, unlabelled=[unlabelled_pair(pair)])
    add_answers(chips, Knowing(pair))
    drawn = [chips.draw(np.random.default_rng(seed)) for seed in range(8)]
    return pair, chips, stack([chip._asdict() for chip in drawn])


@pytest.mark.slow
def test_chips_without_labels_are_cut_around_what_the_teacher_takes_for_buildings():
    pair, chips, batch = unlabelled_batch()
    (seen,), places = chips.pools[-1]
    grades = pair.damage[seen.centres[:, 0], seen.centres[:, 1]]
    inside = grades > 0  # the middle of an L lies outside of it
    assert inside.mean() > 0.9
    assert np.array_equal(seen.centres[inside, 2], grades[inside])
    assert sum(map(len, places)) == len(seen.centres) > 10
    assert (decode(batch["teacher"]).building > 0).any()


@pytest.mark.slow
def test_chips_without_labels_have_no_loss_of_their_own():
    batch = unlabelled_batch()[2]
    own = make_objective(Recipe.read(RECIPES / "compact.toml"), np.ones(6))
    shapes = ((8, 1, 64, 64), (8, 1, 64, 64), (8, 4, 32, 32))
    outputs = [logits(*shape).requires_grad_() for shape in shapes]
    value = own(lambda pre, post: outputs, batch)
    value.backward()
    assert value.item() == 0
    assert all(not output.grad.any() for output in outputs)


@pytest.mark.slow
def test_what_the_teacher_takes_for_a_building_weighs_as_one():
    batch = unlabelled_batch()[2]
    answer = decode(batch["teacher"])
    asked = asked_of(batch, "assess", 5.0, answer)
    assert not asked.labelled[answer.known > 0].any()
    weights = asked.seen[answer.known > 0]
    assert torch.equal(weights == 5, (answer.building[:, 0] > 0)[answer.known > 0])


@pytest.mark.slow
def test_a_student_that_leaves_its_teacher_is_stopped():
    batch = unlabelled_batch()[2]
    guard = Guard(SoftOptions(guard_over=2, guard_after=3))
    objective = DistilObjective(
        lambda network, batch: torch.zeros(()) if network(None, None) else None,
        Exported(nn.Identity(), COMPACT),
        DistilOptions(teachers=("teacher",), kl=1.0, **NOTHING),
        guard=guard,
    )
    faithful = decode(batch["teacher"])
    grades = torch.zeros(8, 4, 32, 32)

    def run(building):
        return objective(lambda pre, post: (building, building, grades), batch)

    for _ in range(5):
        run(faithful.building)
    with pytest.raises(CollapseError, match="chips_unlabelled_share"):
        run(torch.full_like(faithful.building, 1.0))
