from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import LabelError, OptionError
from tests.fakes import SMALL
from tests.training.data.painted import (
    EVERYTHING,
    SHAPES,
    codes,
    make_sample,
    same,
)
from training.data.augmentation import augment, dilate_grades, ignore_borders, paste_rare
from training.data.augmentation_options import Augmentation


@pytest.mark.slow
@SMALL
@given(st.integers(0, 10**6), SHAPES)
def test_what_comes_out_has_the_size_of_the_crop_and_no_new_code(seed, shape):
    sample, donor = make_sample(*shape, seed=seed), make_sample(70, 90, seed=seed + 1)
    before = make_sample(*shape, seed=seed)
    made = augment(sample, EVERYTHING, np.random.default_rng(seed), donor=donor)
    assert made.pre.shape == made.post.shape == (48, 48, 3)
    assert made.grades.shape == made.buildings.shape == (48, 48)
    for array in (made.pre, made.post, made.grades, made.buildings):
        assert array.dtype == np.uint8
        assert array.flags.c_contiguous
    assert codes(made) <= codes(sample) | codes(donor) | {0, 255}
    assert set(np.unique(made.buildings)) <= {0, 1, 255}
    assert same(sample, before)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_sample():
    sample, donor = make_sample(), make_sample(seed=1)
    one, two, other = (
        augment(sample, EVERYTHING, np.random.default_rng(seed), donor=donor)
        for seed in ([7, 3], [7, 3], [7, 4])
    )
    assert same(one, two)
    assert not same(one, other)


def test_without_chances_a_sample_stays_what_it_is():
    sample = make_sample(64, 64)
    assert same(augment(sample, Augmentation(crop=64), np.random.default_rng(0)), sample)


def changed(sample, made):
    return (not np.array_equal(made.pre, sample.pre), not np.array_equal(made.post, sample.post))


def test_channels_of_pre_are_shifted_or_those_of_post_never_both():
    sample = make_sample(8 * 4, 8 * 4)
    options = Augmentation(crop=32, channel_shift=0.5)
    rng = np.random.default_rng(0)
    found = [changed(sample, augment(sample, options, rng)) for _ in range(400)]
    assert (True, True) not in found
    assert np.mean([pre for pre, _ in found]) == pytest.approx(0.5, abs=0.08)
    # An elif draws its own number: half of the other half.
    assert np.mean([post for _, post in found]) == pytest.approx(0.25, abs=0.07)


@pytest.mark.slow
def test_the_second_group_has_what_the_first_leaves():
    sample = make_sample(32, 32)
    options = Augmentation(
        crop=32, images="pre", first_group=0.5, clahe=0.5, blur=1.0, second_group=0.5, contrast=1.0
    )
    rng = np.random.default_rng(0)
    blurred = cv2.blur(sample.pre, (3, 3))
    made = [augment(sample, options, rng).pre for _ in range(600)]
    untouched = np.mean([np.array_equal(m, sample.pre) for m in made])
    assert untouched == pytest.approx(0.25, abs=0.06)
    assert np.mean([np.array_equal(m, blurred) for m in made]) == pytest.approx(0.25, abs=0.06)


def test_a_first_group_in_which_nothing_was_drawn_still_shuts_out_the_second():
    sample = make_sample(32, 32)
    options = Augmentation(crop=32, first_group=1.0, second_group=1.0, contrast=1.0)
    assert same(augment(sample, options, np.random.default_rng(0)), sample)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_empty_stays_black_whatever_happens_to_colours(seed):
    sample, donor = make_sample(64, 64), make_sample(64, 64, seed=1)
    for image in (sample.pre, sample.post):
        image[:, 40:] = 0
        image[5, 5] = 0  # a dark pixel is not empty
    options = Augmentation(
        crop=64, colour_style=1.0, fourier_style=1.0, haze=1.0, second_group=1.0, contrast=1.0,
        coarsen=1.0, jpeg=1.0, channel_shift=1.0,
    )  # fmt: skip
    made = augment(sample, options, np.random.default_rng(seed), donor=donor)
    for image in (made.pre, made.post):
        assert not image[:, 40:].any()
        assert image[5, 5].all()


def test_grades_grow_by_two_pixels_and_minor_wins():
    grades = np.zeros((9, 20), np.uint8)
    grades[4, 4], grades[4, 7], grades[4, 15] = 1, 2, 255
    grown = dilate_grades(grades)
    assert (grown[2:7, 2:5] == 1).all()
    assert (grown[2:7, 5:10] == 2).all()
    assert (grown[[1, 7]] == 0).all()
    assert (grown == 255).sum() == 1


@SMALL
@given(st.integers(0, 10**6))
def test_dilation_as_the_published_masks_put_it(seed):
    grades = make_sample(40, 40, seed=seed).grades
    kernel = np.ones((5, 5), np.uint8)
    none, minor, major, gone = (
        cv2.dilate((grades == g).astype(np.uint8), kernel) > 0 for g in (1, 2, 3, 4)
    )
    none &= ~(minor | major | gone)
    major, gone = major & ~minor, gone & ~minor
    gone &= ~major
    expected = none + 2 * minor + 3 * major + 4 * gone
    known = grades != 255
    assert np.array_equal(dilate_grades(grades)[known], expected[known])


def test_the_higher_grade_wins_where_that_is_asked_for():
    grades = np.zeros((5, 8), np.uint8)
    grades[2, 2], grades[2, 5] = 1, 4
    assert dilate_grades(grades, (4, 3, 2, 1))[2].tolist() == [1, 1, 1, 4, 4, 4, 4, 4]
    assert dilate_grades(grades, (1, 2, 3, 4))[2].tolist() == [1, 1, 1, 1, 1, 4, 4, 4]


def test_borders_become_unknown_on_both_sides():
    grades = np.zeros((5, 9), np.uint8)
    grades[:, 4:] = 2
    assert ignore_borders(grades, 1)[2].tolist() == [0, 0, 0, 255, 255, 2, 2, 2, 2]
    assert ignore_borders(grades, 2)[2].tolist() == [0, 0, 255, 255, 255, 255, 2, 2, 2]


def test_a_rare_box_is_pasted_with_all_that_belongs_to_it():
    below, donor = make_sample(40, 40, seed=1), make_sample(40, 40, seed=2)
    below = below.mapped(lambda i: np.full_like(i, 7), np.zeros_like)
    donor.grades[20, 20] = 3
    options = Augmentation(cutmix_grades=(3,), cutmix_sides=(0.3, 0.5))
    made = paste_rare(below, donor, options, np.random.default_rng(0))
    pasted = (made.pre != 7).all(2)
    rows, columns = np.nonzero(pasted)
    box = np.s_[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert pasted[box].all()
    assert 12 <= pasted[box].shape[0] <= 20
    assert (donor.grades[box] == 3).any()
    for name in ("pre", "post", "grades", "buildings"):
        assert np.array_equal(getattr(made, name)[box], getattr(donor, name)[box])
        outside = ~pasted
        assert np.array_equal(getattr(made, name)[outside], getattr(below, name)[outside])


def test_a_donor_without_a_rare_grade_lends_nothing():
    sample, donor = make_sample(40, 40), make_sample(40, 40, seed=3)
    donor = replace(donor, grades=np.minimum(donor.grades, 1))
    options = Augmentation(crop=40, cutmix=1.0)
    assert same(augment(sample, options, np.random.default_rng(0), donor=donor), sample)


def test_styles_need_a_donor():
    options = Augmentation(crop=32, colour_style=0.1)
    with pytest.raises(OptionError, match="need a donor"):
        augment(make_sample(), options, np.random.default_rng(0))


def test_arrays_of_two_sizes_are_no_sample():
    sample = make_sample(32, 32)
    with pytest.raises(LabelError, match="of one size"):
        replace(sample, post=sample.post[:-1])
    with pytest.raises(LabelError, match="8-bit"):
        replace(sample, grades=sample.grades.astype(int))
