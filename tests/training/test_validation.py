import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from geodamage.errors import LabelError
from geodamage.networks.conventions import Exported, convention_of
from geodamage.scores.pixels import OfficialScore, official_score
from geodamage.xbd.folders import find_pairs
from sample_data.pairs import make_pairs
from tests.fakes import SMALL
from training.data.labelled import Sample
from training.validation import Validation, padded, predict, validate

CPU = torch.device("cpu")


def random_answer(rng):
    """Return a sample with masks of any size, and what a network might say of it."""
    shape = tuple(rng.integers(1, 20, 2))
    few = rng.choice([0, 1, 2, 3, 4, 5, 255], rng.integers(1, 8))
    grades = rng.choice(few, shape).astype(np.uint8)
    image = np.zeros((*shape, 3), np.uint8)
    buildings = rng.choice([0, 1], shape).astype(np.uint8)
    found = rng.random(shape) < rng.random()
    return Sample(image, image, grades, buildings), found, rng.integers(1, 5, shape, np.uint8)


@SMALL
@given(st.integers(0, 2**32), st.integers(1, 4))
def test_the_figures_are_those_of_the_official_metric(seed, images):
    rng = np.random.default_rng(seed)
    total, wanted = Validation(), OfficialScore.empty()
    for _ in range(images):
        sample, found, grades = random_answer(rng)
        truth = np.where(sample.grades > 4, 0, sample.grades)
        total.add(sample, found, grades)
        wanted = wanted.plus(official_score(found, grades, sample.buildings, truth))
    row = total.row(graded=True, with_loss=False)
    assert row["score"] == pytest.approx(wanted.score, abs=1e-12)
    assert row["f1_damage"] == pytest.approx(wanted.damage_f1, abs=1e-12)
    assert row["f1_building"] == wanted.localisation.f1
    names = ("f1_no_damage", "f1_minor", "f1_major", "f1_destroyed")
    assert [row[name] for name in names] == [counts.f1 for counts in wanted.damage]
    assert 0 <= row["dice"] <= 1


def test_dice_is_taken_image_by_image():
    image = np.zeros((1, 4, 3), np.uint8)

    def sample(*buildings):
        mask = np.array([buildings], np.uint8)
        return Sample(image, image, mask, mask)

    total = Validation()
    total.add(sample(0, 0, 0, 0), np.zeros((1, 4), bool), None)
    total.add(sample(1, 1, 0, 0), np.array([[False, True, True, True]]), None)
    row = total.row(graded=False, with_loss=False)
    assert row["dice"] == pytest.approx((1 + 2 / 5) / 2)
    assert row["f1_building"] == pytest.approx(2 / 5)
    assert row["jaccard"] == pytest.approx(1 / 4)
    assert set(row) == {"dice", "f1_building", "jaccard"}


def test_nothing_validated_gives_figures_without_a_fault():
    row = Validation().row(graded=True, with_loss=True)
    assert row["score"] == pytest.approx(0.7 * 1e-6)
    assert row["loss"] == 0


def pixelwise(task):
    inputs, outputs = {"localisation": (3, 1), "damage": (6, 5), "assess": (6, 8)}[task]
    family = "siamese_resnet50" if task == "assess" else "first_place"
    torch.manual_seed(0)
    network = nn.Conv2d(inputs, outputs, 1)
    return Exported(network, convention_of(family, "seresnext50_unet", task))


def random_pair(rows, columns):
    pre, post = np.random.default_rng(0).integers(0, 256, (2, rows, columns, 3), np.uint8)
    mask = np.zeros((rows, columns), np.uint8)
    return Sample(pre, post, mask, mask)


class Looking(nn.Module):
    """A network that notes the size it is given."""

    def forward(self, images):
        self.size = images.shape[2:]
        return images[:, :1]


@pytest.mark.parametrize(("rows", "columns"), [(32, 64), (33, 64), (50, 31), (20, 20)])
@pytest.mark.parametrize("task", ["localisation", "damage", "assess"])
def test_any_size_is_answered_pixel_by_pixel(task, rows, columns):
    model, pair = pixelwise(task), random_pair(rows, columns)
    heads = predict(model, pair, CPU, torch.float32)
    assert heads.shape == (1 if task == "localisation" else 5, rows, columns)
    dates = [pair.pre] if task == "localisation" else [pair.pre, pair.post]
    images = [torch.from_numpy(date.transpose(2, 0, 1)[None].copy()) for date in dates]
    with torch.no_grad():
        alone = torch.cat(model(*images), 1)[0]
    assert torch.allclose(heads, alone, atol=1e-6)


def test_a_network_sees_multiples_of_32_only():
    looking = Looking()
    model = Exported(looking, convention_of("first_place", "res34_unet", "localisation"))
    predict(model, random_pair(50, 31), CPU, torch.float32)
    assert looking.size == (64, 32)


def test_what_is_new_at_the_rim_is_unknown():
    images = torch.arange(2 * 3 * 20 * 40, dtype=torch.int64).view(2, 3, 20, 40).byte()
    made = padded({"pre": images, "grades": torch.ones(2, 20, 40, dtype=torch.uint8)})
    assert made["pre"].shape == (2, 3, 32, 64)
    assert torch.equal(made["pre"][:, :, :20, :40], images)
    assert torch.equal(made["pre"][:, :, 20, :40], images[:, :, 18])
    assert made["grades"].shape == (2, 32, 64)
    assert (made["grades"][:, :20, :40] == 1).all()
    assert (made["grades"].sum((1, 2)) == 800 + 255 * (32 * 64 - 800)).all()


def test_pairs_are_answered_in_order(tmp_path):
    make_pairs(tmp_path, 2, 70)
    model = pixelwise("damage")
    model.train()
    answers = list(validate(model, find_pairs(tmp_path), device=CPU))
    assert not model.training
    assert len(answers) == 2
    for sample, found, grades in answers:
        assert found.shape == grades.shape == sample.grades.shape == (70, 70)
        assert found.dtype == bool
        assert set(np.unique(grades)) <= {1, 2, 3, 4}
    plain = list(validate(pixelwise("localisation"), find_pairs(tmp_path), device=CPU))
    assert [grades for _, _, grades in plain] == [None, None]
    assert not np.array_equal(answers[0][0].pre, answers[1][0].pre)


def test_an_image_that_is_missing_is_named(tmp_path):
    name = make_pairs(tmp_path, 1, 64)[0]
    (tmp_path / "images" / f"{name}_post_disaster.png").unlink()
    with pytest.raises(LabelError, match=name):
        list(validate(pixelwise("damage"), find_pairs(tmp_path), device=CPU))
