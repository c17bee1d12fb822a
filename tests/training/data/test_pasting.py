"""Buildings of one chip in another: images and labels move together, and no half is asked about."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodamage.damage import NOT_ASSESSED
from training.data.crops import Chip, ChipOptions, Chips, assemble, cut
from training.data.pasting import MARGIN, pasted

SEEDS = range(20)
SIZE = 96


def chip_of(light, boxes):
    """Return a chip of one light; `boxes` has row, column, rows, columns, grade of buildings."""
    damage = np.zeros((SIZE, SIZE), np.uint8)
    pre, post = (np.full((SIZE, SIZE, 3), light + i, np.uint8) for i in (0, 10))
    for row, column, rows, columns, grade in boxes:
        part = np.s_[row : row + rows, column : column + columns]
        damage[part] = grade
        pre[part], post[part] = light + 40, light + 40 + 10 * (grade % 5)
    there = (damage > 0).astype(np.uint8)
    return Chip(
        pre, post, there, np.ones((SIZE, SIZE), np.float32), damage, there.astype(np.float32), there
    )


HOST = ((4, 4, 20, 20, 1), (60, 60, 24, 24, 2))
DONOR = ((50, 8, 20, 20, 3), (8, 50, 20, 24, 4), (40, 50, 30, 30, 255))


def test_buildings_come_with_their_grade_in_both_images():
    host, donor = chip_of(60, HOST), chip_of(120, DONOR)
    taken = 0
    for seed in SEEDS:
        made = pasted(host, donor, (0, 0), np.random.default_rng(seed))
        for row, column, rows, columns, grade in DONOR[:2]:
            part = np.s_[row + 4 : row + rows - 4, column + 4 : column + columns - 4]
            if (made.damage[part] == grade).all():
                taken += 1
                assert (made.buildings[part] == 1).all()
                assert not made.weights[part].any()  # where buildings are, a seam would tell
                # The change from pre to post is the donor's, whatever colour it takes on.
                change = made.post[part].astype(int) - made.pre[part]
                assert np.abs(change - 10 * (grade % 5)).max() <= 12
            else:
                assert np.array_equal(made.pre[part], host.pre[part])
                assert np.array_equal(made.damage[part], host.damage[part])
    assert 15 < taken < 40


def test_without_graded_buildings_nothing_is_pasted():
    host = chip_of(60, HOST)
    donor = chip_of(120, DONOR[2:])
    for seed in SEEDS:
        assert pasted(host, donor, (0, 0), np.random.default_rng(seed)) is host


def test_no_half_of_a_building_is_asked_about():
    host, donor = chip_of(60, ((10, 10, 40, 40, 2),)), chip_of(120, ((30, 40, 20, 20, 4),))
    halved = 0
    for seed in SEEDS:
        made = pasted(host, donor, (0, 0), np.random.default_rng(seed))
        if not (made.damage == 4).any():
            continue
        halved += 1
        left = (host.damage == 2) & (made.damage != 4)
        assert not (made.damage == 2).any()
        assert (made.vote[left] == 0).all()
        rest = left & (made.buildings != 0)
        assert (made.weights[rest] == 0).all()
        assert set(np.unique(made.buildings_post[rest])) <= {NOT_ASSESSED}
    assert halved > 5


def test_what_of_the_donor_was_not_taken_is_not_asked_about():
    host = chip_of(60, ())
    donor = chip_of(120, ((20, 20, 20, 20, 4), (20, 20 + 20 + MARGIN // 2, 20, 20, 255)))
    for seed in SEEDS:
        made = pasted(host, donor, (0, 0), np.random.default_rng(seed))
        beside = made.damage == NOT_ASSESSED
        assert (made.vote[beside] == 0).all()


def test_post_moves_with_the_shift():
    host, donor = chip_of(60, ()), chip_of(120, ())
    damage = donor.damage.copy()
    damage[30:50, 30:50] = 4
    post = donor.post.copy()
    post[33:53, 36:56] = 220
    donor = donor._replace(damage=damage, post=post)
    seen = 0
    for seed in SEEDS:
        made = pasted(host, donor, (6.0, 3.0), np.random.default_rng(seed))
        if (made.damage == 4).any():
            seen += 1
            bright = made.post[..., 0] > made.post[..., 0].max() - 20
            assert bright[36:50, 39:53].all()
            assert not bright[:33].any()
    assert seen > 5


def test_pixels_without_data_stay_so():
    host, donor = chip_of(60, ()), chip_of(120, DONOR)
    for image in (host.pre, host.post):
        image[:, :40] = 0
    for seed in SEEDS:
        made = pasted(host, donor, (0, 0), np.random.default_rng(seed))
        assert not made.pre[:, :40].any()
        assert not made.post[:, :40].any()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_a_chip_that_was_pasted_into_is_whole(seed):
    rng = np.random.default_rng(seed)
    pairs = []
    for grades in ((1, 2), (3, 4)):
        index = np.zeros((80, 80), np.int32)
        index[5:25, 5:25], index[40:60, 30:70] = 1, 2
        damage = np.array([0, *grades], np.uint8)[index]
        centres = [(15, 15, grades[0]), (50, 50, grades[1])]
        images = rng.integers(1, 255, (2, 80, 80, 3), np.uint8)
        pairs.append(assemble("a", *images, (index, index, damage, centres)))
    options = ChipOptions(crop=64, shift=4)
    plain = cut(pairs[0], (30, 30), options, np.random.default_rng(seed))
    chip = cut(pairs[0], (30, 30), options, np.random.default_rng(seed), (pairs[1], (45, 45)))
    for one, other in zip(plain[:-1], chip[:-1], strict=True):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
    assert set(np.unique(chip.damage)) <= {0, 1, 2, 3, 4, NOT_ASSESSED}
    assert (chip.vote[(chip.damage == 0) | (chip.damage == NOT_ASSESSED)] == 0).all()


@pytest.mark.parametrize(("share", "pasting"), [(0.0, False), (1.0, True)])
def test_as_often_as_asked(share, pasting):
    pairs = []
    for at, grade in ((10, 1), (90, 4)):
        index = np.zeros((128, 128), np.int32)
        index[at : at + 24, 52:76] = 1
        images = np.full((2, 128, 128, 3), 90, np.uint8)
        damage = (index * grade).astype(np.uint8)
        pairs.append(assemble("a", *images, (index, index, damage, [(at + 12, 64, grade)])))
    options = ChipOptions(crop=120, shift=0, paste=share)
    rng = np.random.default_rng(2)
    drawn = [Chips(pairs, [], options).draw(rng).damage for _ in range(40)]
    assert any({1, 4} <= set(np.unique(damage)) for damage in drawn) is pasting


def test_a_single_image_is_harmed_and_asked_about():
    index = np.zeros((128, 128), np.int32)
    index[20:60, 20:60], index[70:110, 40:100] = 1, 2
    image = np.random.default_rng(1).integers(90, 160, (128, 128, 3), np.uint8)
    image = cv2.GaussianBlur(image, (0, 0), 2)
    damage = np.where(index > 0, NOT_ASSESSED, 0).astype(np.uint8)
    single = assemble("a", image, image, (index, np.zeros_like(index), damage, []))
    options = ChipOptions(crop=96, shift=0, masked_graded=1.0)
    told = dict.fromkeys((1, 2, 3, 4), 0)
    for seed in range(40):
        chip = cut(single, (64, 64), options, np.random.default_rng(seed))
        for grade in np.unique(chip.damage[chip.vote > 0]):
            told[int(grade)] += 1
        assert (chip.vote[chip.damage == NOT_ASSESSED] == 0).all()
    assert min(told.values()) > 2
    never = dataclasses.replace(options, masked_graded=0.0)
    chip = cut(single, (64, 64), never, np.random.default_rng(0))
    assert set(np.unique(chip.damage)) == {0, NOT_ASSESSED}
    assert not chip.vote.any()
