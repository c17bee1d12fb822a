from pathlib import Path

import numpy as np
import pytest
import torch

from geodamage.errors import OptionError
from training.sensors.chip_folders import ChipFile, ChipPairs
from training.sensors.chip_samples import ChipSamples, LoadedChips, augmented, split_pairs

WAYS = ["none", "turns", "auto", "crops"]


def chips(count=6):
    rng = np.random.default_rng(0)
    eo = rng.integers(0, 256, (count, 30, 30)).astype(np.uint8)
    sar = np.repeat(np.arange(count, dtype=np.uint8), 20 * 20).reshape(count, 20, 20)
    return LoadedChips(eo, sar, np.arange(count))


@pytest.mark.parametrize("way", WAYS)
def test_a_sample_is_the_same_whatever_was_drawn_before(way):
    first, second = (ChipSamples(chips(), "eo", way, seed=(1, 2)) for _ in range(2))
    ahead = [first.draw(number) for number in range(15)]
    torch.manual_seed(99)
    for number in (14, 3, 7):
        again = second.draw(number)
        assert all((again[name] == ahead[number][name]).all() for name in again)


@pytest.mark.parametrize("way", WAYS)
def test_chips_keep_size_and_type_and_change_between_draws(way):
    chip = chips().eo[0]
    drawn = [augmented(chip, way, np.random.default_rng(n)) for n in range(8)]
    assert all(each.shape == (30, 30) and each.dtype == np.uint8 for each in drawn)
    assert any((each != chip).any() for each in drawn) == (way != "none")


def test_augmentation_leaves_torch_s_generator_alone():
    torch.manual_seed(5)
    augmented(chips().eo[0], "auto", np.random.default_rng(1))
    after = torch.rand(3)
    torch.manual_seed(5)
    assert (torch.rand(3) == after).all()


def test_a_teacher_sees_the_same_vehicle_as_it_is():
    samples = ChipSamples(chips(), "eo", "auto", seed=(1,))
    for number in range(12):
        drawn = samples.draw(number)
        assert (drawn["teacher"] == drawn["label"]).all()
        assert drawn["student"].shape == (30, 30)
    assert ChipSamples(chips(), "sar", "none", seed=(1,)).draw(0)["teacher"].shape == (30, 30)


def test_an_epoch_shows_every_pair_once():
    samples = ChipSamples(chips(), "sar", "none", seed=(1,))
    orders = [[int(samples.draw(6 * e + n)["label"]) for n in range(6)] for e in range(3)]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert orders[0] != orders[1]


def test_a_crop_of_a_plain_chip_has_a_middle_as_bright():
    chip = np.full((48, 48), 200, np.uint8)
    for seed in range(20):
        assert augmented(chip, "crops", np.random.default_rng(seed))[24, 24] == 200


def pairs_of(labels):
    files = tuple(ChipFile(Path(f"{n}.png"), str(n), label) for n, label in enumerate(labels))
    return ChipPairs(files, files)


def test_every_class_is_held_out_and_learnt():
    learnt, held_out = split_pairs(pairs_of([0] * 20 + [1] * 2), 0.1, 3)
    assert [sum(chip.label == c for chip in held_out.eo) for c in (0, 1)] == [2, 1]
    assert len(learnt) + len(held_out) == 22
    assert not {chip.name for chip in learnt.sar} & {chip.name for chip in held_out.eo}


def test_a_class_of_one_pair_cannot_be_split():
    with pytest.raises(OptionError, match="class 1 has a single pair"):
        split_pairs(pairs_of([0, 0, 1]), 0.1, 3)
