import csv

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional

from geodamage.errors import LabelError, OptionError
from training.data.augmentation_options import Augmentation
from training.data.building_images import LEARNT, BuildingImage, write_building_index
from training.teaching.semi_supervision import (
    CollapseError,
    SoftBatches,
    SoftObjective,
    SoftOptions,
    divergence,
    read_soft,
)


def write_soft(folder, places=("a", "b", "c", "d"), grey=170):
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    images = []
    for place in places:
        files = folder / "images" / f"{place}.jpg", folder / "masks" / f"{place}.png"
        cv2.imwrite(str(files[0]), np.full((64, 64, 3), 90, np.uint8))
        cv2.imwrite(str(files[1]), np.full((64, 64), grey, np.uint8))
        images.append(BuildingImage(*files, place, "soft", 1.0, 0.5, LEARNT, True, place))
    write_building_index(folder, images)
    return folder


def batches_of(folder, **options):
    chosen = SoftOptions(folder=folder.name, **options)
    images = read_soft(chosen, [folder.parent], [])
    return SoftBatches(images, Augmentation(images="pre", crop=32), chosen, size=2, seed=1)


def test_every_nth_step_has_soft_labels_and_they_are_the_same_after_a_stop(tmp_path):
    soft = batches_of(write_soft(tmp_path / "soft"), every=3)
    labelled = [{"pre": torch.zeros(2)} for _ in range(7)]
    whole = list(soft.added_to(labelled, 0))
    assert ["soft" in batch for batch in whole] == [True, False, False] * 2 + [True]
    again = list(soft.added_to(labelled[4:], 4))
    for before, after in zip(whole[4:], again, strict=True):
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    assert whole[0]["soft_pre"].shape == (2, 3, 32, 32)
    assert set(whole[0]["soft"].unique().tolist()) == {170}


def test_processes_draw_other_samples(tmp_path):
    write_soft(tmp_path / "soft")
    options = SoftOptions(folder="soft")
    images = read_soft(options, [tmp_path], [])
    drawn = []
    for rank in (0, 1):
        soft = SoftBatches(
            images, Augmentation(images="pre", crop=32), options, size=2, seed=1, first=rank,
            stride=2,
        )  # fmt: skip
        draw = soft.samples.draw
        soft.samples.draw = lambda number, draw=draw: drawn.append(number) or draw(number)
        soft.of(0)
        soft.of(5)
    assert sorted(drawn) == list(range(8))


def test_the_divergence_is_that_of_published_kl_over_both_channels():
    logits, soft = torch.randn(2, 2, 5, 5), torch.rand(2, 5, 5)
    truth = torch.stack([1 - soft, soft], 1)
    published = functional.kl_div(logits.log_softmax(1), truth, reduction="sum") / truth.numel()
    found = SoftOptions().weight * divergence(logits, soft, SoftOptions())
    assert found.item() == pytest.approx(published.item(), rel=1e-5)


def test_it_is_nothing_where_the_student_says_what_the_teachers_say():
    soft = torch.rand(1, 4, 4).clamp(0.05, 0.95)
    logits = torch.stack([(1 - soft).log(), soft.log()], 1)
    assert divergence(logits, soft, SoftOptions()).item() == pytest.approx(0, abs=1e-6)


def test_hardening_asks_only_what_is_sure():
    options = SoftOptions(harden=True)
    logits = torch.zeros(1, 2, 1, 3)
    soft = torch.tensor([[[0.9, 0.5, 0.1]]])
    moved = logits.clone()
    moved[0, :, 0, 1] = torch.tensor([3.0, -3.0])  # what is unsure may say anything
    assert divergence(logits, soft, options).item() == pytest.approx(np.log(2))
    assert torch.equal(divergence(moved, soft, options), divergence(logits, soft, options))


def logits_of(share):
    logits = torch.zeros(1, 2, 10, 10)
    logits[:, 1] = -1
    logits[:, 1].view(-1)[: round(100 * share)] = 1
    return logits


@pytest.mark.parametrize("share", [0.0, 0.9])
def test_a_student_that_leaves_its_teachers_is_stopped_and_it_says_so(share):
    guard = SoftObjective(SoftOptions(guard_over=3, guard_after=5))
    soft = (logits_of(0.4)[:, 1] > 0).to(torch.uint8) * 255
    for _ in range(4):
        guard(logits_of(share), soft)  # too early to judge
    with pytest.raises(CollapseError, match=rf"student finds buildings on {share:.1%} .* 40.0%"):
        guard(logits_of(share), soft)


def test_a_student_that_keeps_to_its_teachers_goes_on():
    guard = SoftObjective(SoftOptions(guard_over=3, guard_after=3))
    soft = (logits_of(0.4)[:, 1] > 0).to(torch.uint8) * 255
    for share in (0.5, 0.3, 0.45, 0.35, 0.55):
        assert guard(logits_of(share), soft).isfinite()
    assert [share for share, _ in guard.guard.shares] == pytest.approx([0.45, 0.35, 0.55])


def test_soft_labels_of_a_place_that_is_held_out_are_refused(tmp_path):
    write_soft(tmp_path / "soft")
    with pytest.raises(LabelError, match=r"shows b, which this training is validated on"):
        read_soft(SoftOptions(folder="soft"), [tmp_path], ["b"])
    with pytest.raises(LabelError, match=r"soft_folder = 'none': not there"):
        read_soft(SoftOptions(folder="none"), [tmp_path], [])


@pytest.mark.parametrize("options", [{"every": 0}, {"guard": 0.0}, {"harden_below": 0.7}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(OptionError):
        SoftOptions(**options)


def test_the_index_says_that_every_fold_learns_them(tmp_path):
    folder = write_soft(tmp_path / "soft")
    with (folder / "index.csv").open() as file:
        assert {row["fold"] for row in csv.DictReader(file)} == {"-2"}
