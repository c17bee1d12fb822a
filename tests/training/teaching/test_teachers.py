import dataclasses

import numpy as np
import pytest
import torch

from geodamage.errors import InputError, OptionError
from geodamage.model.heads import Heads
from geodamage.model.loading import load_model
from geodamage.model.measuring import pattern_windows
from geodamage.networks import create_network, importing
from geodamage.networks.conventions import COMPACT, Exported, convention_of
from tests.conftest import make_model
from tests.run_folders import write_run
from training.teaching.answers import (
    Answer,
    TeacherError,
    average,
    decode,
    encode,
    read_heads,
    read_logits,
)
from training.teaching.panel import Panel
from training.teaching.soft_labels import DistilOptions
from training.teaching.teachers import (
    FileTeacher,
    NetworkTeacher,
    deepest,
    feature_width,
    find_teacher,
    watched,
)

SMALL = "efficientunet_b0"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    write_run(folder / "compact")
    write_run(folder / "other", seed=1)
    write_run(folder / "loc", SMALL, "localisation")
    return folder


@pytest.fixture(scope="module")
def images():
    windows = torch.from_numpy(pattern_windows(2, 64))
    return windows[:, 0].contiguous(), windows[:, 1].contiguous()


def logits(*shape, seed=0):
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def said(answer):
    """Return probabilities of a building and of the grades."""
    return answer.building.sigmoid(), answer.grades.exp()


# One form for all.


@pytest.mark.parametrize(
    ("family", "network", "task", "channels"),
    [
        ("first_place", "seresnext50_unet", "damage", 5),
        ("first_place", "res34_unet", "damage", 5),
        ("first_place", "res34_unet", "localisation", 1),
        ("siamese_resnet50", "siamese_resnet50", "assess", 8),
    ],
)
def test_logits_say_what_the_heads_of_the_model_file_say(family, network, task, channels):
    convention = convention_of(family, network, task)
    output = logits(2, channels, 8, 8)
    image = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
    heads = Exported(lambda images: output, convention)(*[image] * len(convention.inputs))
    answer = read_logits(output, convention)
    assert torch.allclose(answer.building.sigmoid(), heads[0], atol=1e-6)
    if task != "localisation":
        share = heads[1] / heads[1].sum(1, keepdim=True)
        assert torch.allclose(answer.grades.exp(), share, atol=1e-6)


def test_the_compact_network_answers_at_full_size():
    output = logits(1, 1, 8, 8), logits(1, 1, 8, 8), logits(1, 4, 4, 4)
    answer = read_logits(output, COMPACT)
    assert answer.building is output[0]
    assert torch.allclose(answer.grades[..., ::2, ::2], output[2].log_softmax(1))


def test_one_softmax_comes_back_as_it_was():
    output = logits(2, 5, 4, 4)
    answer = read_logits(output, convention_of("first_place", "seresnext50_unet", "damage"))
    assert torch.allclose(answer.channels(), output.log_softmax(1), atol=1e-5)


def test_heads_of_a_file_become_the_same_answer():
    localisation = np.full((1, 1, 2, 2), 0.8, np.float32)
    damage = np.float32([1, 2, 4, 1]).reshape(1, 4, 1, 1) * np.ones((1, 4, 2, 2), np.float32)
    building, grades = said(read_heads(Heads(localisation, damage)))
    assert building.flatten().tolist() == pytest.approx([0.8] * 4)
    assert grades[0, :, 0, 0].tolist() == pytest.approx([1 / 8, 2 / 8, 4 / 8, 1 / 8])
    assert read_heads(Heads(localisation, None)).grades is None
    with pytest.raises(TeacherError, match="gives grades without buildings"):
        read_heads(Heads(None, damage))


def test_certainty_has_a_finite_logarithm():
    sure = read_heads(Heads(np.ones((1, 1, 2, 2), np.float32), np.zeros((1, 4, 2, 2), np.float32)))
    assert torch.isfinite(sure.channels()).all()


def test_an_average_of_probabilities_and_one_of_logits_by_hand():
    sure, unsure = (torch.full((1, 1, 1, 1), p).logit() for p in (0.9, 0.5))
    grades = torch.tensor([0.7, 0.1, 0.1, 0.1]).log().reshape(1, 4, 1, 1)
    even = torch.full((1, 4, 1, 1), 0.25).log()
    answers = [Answer(sure, grades), Answer(unsure, even), Answer(unsure)]
    building, found = said(average(answers, "probabilities"))
    assert building.item() == pytest.approx((0.9 + 0.5 + 0.5) / 3)
    # Who gives no grades does not count among the grades.
    assert found.flatten().tolist() == pytest.approx([0.475, 0.175, 0.175, 0.175])
    building, found = said(average(answers, "logits"))
    odds = 9 ** (1 / 3)
    assert building.item() == pytest.approx(odds / (1 + odds))
    root = np.sqrt([0.7, 0.1, 0.1, 0.1])
    assert found.flatten().tolist() == pytest.approx((root / root.sum()).tolist())


def test_eight_bits_hold_an_answer_to_half_a_step():
    answer = Answer(logits(1, 1, 8, 8), logits(1, 4, 8, 8, seed=1).log_softmax(1))
    back = decode(encode(answer))
    inside = answer.building.abs() < 7.9
    assert (back.building - answer.building)[inside].abs().max() <= 1 / 32 + 1e-6
    assert (back.grades.exp() - answer.grades.exp()).abs().max() < 0.02
    assert back.known.min() == 1
    assert decode(encode(Answer(torch.full((1, 1, 1, 1), -1e9)))).building.item() == -127 / 16
    assert decode(torch.zeros(1, 5, 2, 2, dtype=torch.uint8)).known.max() == 0


# Who is asked.


@pytest.mark.slow
def test_teachers_are_found_as_runs_checkpoints_files_and_names(runs, tmp_path):
    assert isinstance(find_teacher("compact", runs), NetworkTeacher)
    assert isinstance(find_teacher(str(runs / "compact" / "best"), tmp_path), NetworkTeacher)
    assert isinstance(find_teacher("fast", runs), FileTeacher)
    path = make_model(tmp_path / "bright.onnx")
    assert isinstance(find_teacher(str(path), runs), FileTeacher)
    with pytest.raises(OptionError, match="'nobody' is no run with a best checkpoint in") as error:
        find_teacher("nobody", runs)
    assert "\n" not in str(error.value)


@pytest.mark.slow
def test_a_teacher_is_frozen_and_never_trains(runs, images):
    teacher = find_teacher("compact", runs)
    teacher.train()
    assert not any(module.training for module in teacher.modules())
    assert not any(weight.requires_grad for weight in teacher.parameters())
    before = {key: value.clone() for key, value in teacher.state_dict().items()}
    assert not teacher(*images).building.requires_grad
    assert all(torch.equal(before[key], value) for key, value in teacher.state_dict().items())


@pytest.mark.slow
def test_a_network_and_its_heads_say_the_same(runs, images):
    teacher = find_teacher("compact", runs)
    heads = teacher.exported(*images)
    building, grades = said(teacher(*images))
    assert torch.allclose(building, heads[0], atol=1e-6)
    assert torch.allclose(grades, heads[1], atol=1e-6)


@pytest.mark.slow
def test_a_teacher_answers_in_32_bits(runs, images):
    teacher = find_teacher("compact", runs)
    with torch.autocast("cpu", torch.bfloat16):
        found = teacher(*images)
    assert torch.equal(found.building, teacher(*images).building)


def test_a_model_file_answers_to_a_batch(tmp_path, images):
    path = make_model(tmp_path / "bright.onnx")
    heads = load_model(path)(*(image.numpy() for image in images))
    building, grades = said(find_teacher(str(path), tmp_path)(*images))
    assert np.allclose(building.numpy(), heads.localisation.clip(1e-6, 1 - 1e-6), atol=1e-6)
    assert np.allclose(grades.numpy(), heads.damage / heads.damage.sum(1, keepdims=True), atol=1e-5)


# Features.


@pytest.mark.slow
def test_features_are_kept_date_by_date_and_the_encoder_runs_once(images):
    compact = create_network("compact", task="assess")
    with watched(compact) as seen:
        compact(*(image.float() for image in images))
    assert [tuple(date.shape) for date in seen] == [(2, 160, 4, 4)] * 2
    unet = create_network(SMALL, task="damage")
    with watched(unet) as seen:
        unet(torch.cat([image.float() for image in images], 1))
    assert [tuple(date.shape) for date in seen] == [(2, 320, 2, 2)] * 2
    unet(torch.cat([image.float() for image in images], 1))
    assert len(seen) == 2  # nobody looks any more


def test_the_width_of_features_is_found_without_a_trace():
    network = create_network("compact", task="assess").train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    assert feature_width(network, Exported(network)) == 160
    assert network.training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_an_encoder_that_is_not_known_is_refused():
    with pytest.raises(TeacherError, match="encoder of Conv2d has no known last stage"):
        deepest(torch.nn.Conv2d(3, 1, 1))


# Together, and only once.


def panel(runs, *teachers, **options):
    return Panel(DistilOptions(teachers=teachers, kl=1.0, **options), runs)


@pytest.mark.slow
def test_a_pair_is_a_building_teacher_and_a_damage_teacher(runs, images):
    building, damage = panel(runs, "loc", "compact", kind="dual")(*images)
    assert building.grades is None
    assert torch.equal(damage.building, find_teacher("compact", runs)(*images).building)


@pytest.mark.slow
def test_an_ensemble_answers_as_one(runs, images):
    (joined,) = panel(runs, "compact", "other", kind="ensemble")(*images)
    apart = [find_teacher(name, runs)(*images).building.sigmoid() for name in ("compact", "other")]
    assert torch.allclose(joined.building.sigmoid(), sum(apart) / 2, atol=1e-6)


@pytest.mark.slow
def test_a_localisation_teacher_has_one_plane_and_a_dual_pair_six(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "TILE", 320)  # a window of 1,024 pixels takes its time
    pre, post = pattern_windows(1, 64)[0].transpose(0, 2, 3, 1)
    options = {"cache": str(tmp_path)}
    assert panel(runs, "loc", **options).planes(pre, post).shape == (64, 64, 1)
    assert panel(runs, "compact", **options).planes(pre, post).shape == (64, 64, 5)
    both = panel(runs, "loc", "compact", kind="dual", **options).planes(pre, post)
    assert both.shape == (64, 64, 6)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["single", "ensemble"])
def test_whole_pairs_are_answered_as_batches_are(runs, tmp_path, images, kind):
    names = ("compact", "other")[: 1 if kind == "single" else 2]
    asked = panel(runs, *names, kind=kind, cache=str(tmp_path))
    (live,) = asked(*images)
    pre, post = (image[0].permute(1, 2, 0).numpy() for image in images)
    planes = asked.planes(pre, post)
    kept = decode(torch.from_numpy(planes).permute(2, 0, 1)[None])
    assert torch.allclose(kept.building.sigmoid(), live.building[:1].sigmoid(), atol=0.02)
    assert torch.allclose(kept.grades.exp(), live.grades[:1].exp(), atol=0.03)


@pytest.mark.slow
def test_a_question_is_asked_once(runs, tmp_path, images, monkeypatch):
    asked = panel(runs, "compact", cache=str(tmp_path))
    (first,) = asked.cached(*images)
    pair = [image[0].permute(1, 2, 0).numpy() for image in images]
    planes = asked.planes(*pair)
    assert len([*tmp_path.rglob("*.npz")]) == 3

    def refuse(*_):
        raise AssertionError("asked again")

    again = panel(runs, "compact", cache=str(tmp_path))
    monkeypatch.setattr(NetworkTeacher, "forward", refuse)
    monkeypatch.setattr("training.teaching.panel.predict_pair", refuse)
    assert torch.equal(again.cached(*images)[0].building, first.building)
    assert np.array_equal(again.planes(*pair), planes)
    # Another teacher, another image, another way to ask: another question.
    for other in (
        panel(runs, "other", cache=str(tmp_path)),
        dataclasses.replace(again.options, tta="flips"),
    ):
        changed = other if isinstance(other, Panel) else Panel(other, runs)
        with pytest.raises(AssertionError, match="asked again"):
            changed.planes(*pair)
    with pytest.raises(AssertionError, match="asked again"):
        again.planes(pair[1], pair[0])


@pytest.mark.slow
def test_mirror_images_are_asked_for_whole_pairs(runs, tmp_path):
    pre, post = pattern_windows(1, 64)[0].transpose(0, 2, 3, 1)
    plain, mirrored = (
        panel(runs, "compact", cache=str(tmp_path), tta=tta).planes(pre, post)
        for tta in ("none", "flips")
    )
    assert plain.shape == mirrored.shape
    assert not np.array_equal(plain, mirrored)


@pytest.mark.slow
def test_a_damaged_answer_is_named(runs, tmp_path):
    pre, post = pattern_windows(1, 64)[0].transpose(0, 2, 3, 1)
    asked = panel(runs, "compact", cache=str(tmp_path))
    asked.planes(pre, post)
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match=r"\.npz: no kept answer .*; remove it"):
        asked.planes(pre, post)
    np.savez(file, planes=np.zeros((3, 3, 5), np.uint8))
    with pytest.raises(InputError, match="not an answer; remove it"):
        asked.planes(pre, post)
