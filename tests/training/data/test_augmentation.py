from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import LabelError, OptionError
from tests.fakes import SMALL
from training.data.augmentation import (
    Augmentation,
    Sample,
    at_least,
    augment,
    cut,
    dilate_grades,
    ignore_borders,
    move,
    paste_rare,
    resized,
    translation,
    turn,
    warped,
)
from training.data.augmentation_presets import AUGMENTATIONS, augmentation_options

#: Brightness of each code in a painted image: far apart, so that a mask can be read off again.
PAINT = np.zeros(256, np.uint8)
PAINT[[0, 1, 2, 3, 4, 255]] = (20, 60, 100, 140, 180, 240)


def paint(grades):
    """Return an image that shows the mask."""
    return np.dstack([PAINT[grades]] * 3)


def make_sample(rows=96, columns=80, *, seed=0):
    """Return a sample of rectangles whose images show the grades."""
    rng = np.random.default_rng(seed)
    grades = np.zeros((rows, columns), np.uint8)
    for code in (1, 1, 1, 2, 3, 4, 255):
        y, x = rng.integers(0, rows - 16), rng.integers(0, columns - 16)
        grades[y : y + rng.integers(6, 16), x : x + rng.integers(6, 16)] = code
    return Sample(paint(grades), paint(grades), grades, (grades > 0).astype(np.uint8))


def codes(sample):
    return set(np.unique(sample.grades).tolist())


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("pre", "post", "grades", "buildings")
    )


def inner(grades):
    """Return where no other code is within four pixels: two samplings blur over that many."""
    kernel = np.ones((9, 9), np.uint8)
    return cv2.dilate(grades, kernel) == cv2.erode(grades, kernel)


GEOMETRY = Augmentation(
    crop=48, flip_vertical=0.5, flip_horizontal=0.5, quarter_turn=1.0, shift=0.5,
    shift_reach=(0, 40), rotate=0.7, rotate_centre=30, crop_jitter=0.7, crop_scale=(0.8, 1.25),
    gsd_jitter=0.3, crop_tries=(1, 4), crop_weights=(1, 5, 5, 2),
)  # fmt: skip
EVERYTHING = replace(
    GEOMETRY, post_instead=0.5, undamaged=0.0, misregistration=0.5, fourier_style=0.5,
    colour_style=0.5, cutmix=0.5, channel_shift=0.5, hsv_shift=0.5, haze=0.5, first_group=0.5,
    clahe=0.3, noise=0.5, blur=1.0, second_group=1.0, saturation=0.3, brightness=0.5, contrast=1.0,
    elastic=0.5, coarsen=0.5, jpeg=0.5, dilation=0.5, ignore_border=1,
)  # fmt: skip
SHAPES = st.tuples(st.integers(20, 130), st.integers(20, 130))


@SMALL
@given(st.integers(0, 10**6), SHAPES)
def test_images_and_masks_move_together(seed, shape):
    sample = make_sample(*shape, seed=seed)
    made = augment(sample, GEOMETRY, np.random.default_rng(seed))
    clear = inner(made.grades)
    for image in (made.pre, made.post):
        off = np.abs(image.astype(int) - paint(made.grades).astype(int)).max(2)
        # From 20 on the next code is nearer. A line one pixel wide may be blurred in the image and
        # missed by the mask: 6 % at most in 1500 samples, and a few pixels where few are clear;
        # with a mask upside down it is 14 % (median).
        assert np.sum(off[clear] >= 20) <= 0.1 * clear.sum() + 40
    assert np.array_equal(made.buildings, made.grades > 0)


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


def test_without_chances_a_crop_is_a_window():
    sample = make_sample(96, 80)
    made = augment(sample, Augmentation(crop=32), np.random.default_rng(0))
    windows = (
        Sample(*(a[y : y + 32, x : x + 32] for a in vars(sample).values()))
        for y in range(65)
        for x in range(49)
    )
    assert any(same(made, window) for window in windows)


@pytest.mark.parametrize("name", ["flip_vertical", "flip_horizontal"])
def test_a_flip_twice_is_none(name):
    sample = make_sample()
    flip = Augmentation(**{name: 1.0})
    once = turn(sample, flip, np.random.default_rng(0))
    assert not same(once, sample)
    assert same(turn(once, flip, np.random.default_rng(0)), sample)


def test_quarter_turns_are_as_likely_as_one_another():
    sample = make_sample(8 * 4, 8 * 4)
    rng = np.random.default_rng(0)
    turned = [turn(sample, Augmentation(quarter_turn=1.0), rng).grades for _ in range(400)]
    counts = [
        sum(np.array_equal(np.rot90(sample.grades, k), found) for found in turned) for k in range(4)
    ]
    assert sum(counts) == 400
    assert min(counts) > 70


@SMALL
@given(st.integers(-300, 300), st.integers(-300, 300))
def test_a_shift_is_exactly_that_and_mirrors_what_is_missing(down, across):
    sample = make_sample(40, 56)
    noisy = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    made = warped(replace(sample, pre=noisy), translation(down, across))
    rows, columns = (
        # Reflect-101 by its definition: forth, and back without the edge twice.
        np.abs((np.arange(n) - d + n - 1) % (2 * n - 2) - (n - 1))
        for n, d in ((40, down), (56, across))
    )
    assert np.array_equal(made.grades, sample.grades[rows][:, columns])
    assert np.array_equal(made.pre, noisy[rows][:, columns])


def test_shifts_stay_within_reach_and_go_either_way():
    sample = make_sample(60, 60)
    only = np.zeros((60, 60), np.uint8)
    only[30, 30] = 1
    sample = replace(sample, grades=only)
    options = Augmentation(shift=1.0, shift_reach=(3, 9))
    rng = np.random.default_rng(0)
    places = [np.argwhere(move(sample, options, rng).grades)[0] - 30 for _ in range(200)]
    distances = np.abs(places)
    assert distances.min() == 3
    assert distances.max() == 9
    assert {tuple(np.sign(p)) for p in places} == {(-1, -1), (-1, 1), (1, -1), (1, 1)}


def test_misregistration_moves_post_alone():
    sample = make_sample(90, 90)
    options = Augmentation(misregistration=1.0, misregistration_reach=6)
    moved = 0
    for seed in range(10):
        made = move(sample, options, np.random.default_rng(seed))
        assert np.array_equal(made.pre, sample.pre)
        assert np.array_equal(made.grades, sample.grades)
        found = [
            (down, across)
            for down in range(-6, 7)
            for across in range(-6, 7)
            if np.array_equal(
                made.post[6:-6, 6:-6],
                sample.post[6 - down : 84 - down, 6 - across : 84 - across],
            )
        ]
        assert found
        moved += (0, 0) not in found
    assert moved > 5


def test_a_sample_too_small_is_mirrored_not_enlarged():
    sample = make_sample(30, 30)
    made = at_least(sample, 50)
    assert made.grades.shape == (50, 50)
    assert np.array_equal(made.grades[10:40, 10:40], sample.grades)
    assert np.array_equal(made.grades[9], made.grades[11])


def test_the_best_of_many_crops_has_the_rare_grades():
    grades = np.zeros((200, 200), np.uint8)
    grades[:100] = 1
    grades[150:190, 150:190] = 3
    sample = Sample(paint(grades), None, grades, (grades > 0).astype(np.uint8))

    def rare(**options):
        rng = np.random.default_rng(0)
        made = (cut(sample, Augmentation(crop=40, **options), rng) for _ in range(30))
        return sum((m.grades == 3).mean() for m in made)

    assert rare(crop_tries=(50, 50), crop_weights=(0, 1, 1, 1)) > 15
    assert rare(crop_tries=(50, 50), crop_weights=(1, 0, 0, 0)) == 0
    assert rare() < 5


def test_a_smaller_window_is_brought_to_the_size_of_the_crop():
    sample = make_sample(60, 60)
    made = resized(sample, 30)
    assert made.grades.shape == (30, 30)
    options = Augmentation(crop=20, crop_jitter=1.0, crop_scale=(0.5, 0.5))
    made = cut(sample, options, np.random.default_rng(0))
    assert made.grades.shape == (20, 20)
    # Twice as large: every pixel is there four times.
    assert np.array_equal(made.grades[::2, ::2], made.grades[1::2, 1::2])


@pytest.mark.parametrize("side", [30, 48, 75, 120])
def test_images_and_masks_are_resized_about_the_same_centre(side):
    y, x = np.mgrid[:60, :60]
    disc = ((y - 29.5) ** 2 + (x - 29.5) ** 2 < 20**2).astype(np.uint8)
    made = resized(Sample(paint(disc), None, disc, disc), side)
    seen = made.pre[..., 0] > 40  # halfway between the two
    assert np.mean(seen != (made.grades > 0)) < 0.02
    # At one half no pixel is the nearest: one of the two beside the middle is taken.
    slack = 0.26 if side == 30 else 0.1
    centre = np.argwhere(made.grades).mean(0)
    assert centre == pytest.approx(np.full(2, (side - 1) / 2), abs=slack)


@pytest.mark.parametrize("angle", [-10, 3, 10])
def test_images_and_masks_are_turned_about_the_same_centre(angle):
    y, x = np.mgrid[:80, :80]
    disc = ((y - 30) ** 2 + (x - 45) ** 2 < 20**2).astype(np.uint8)
    matrix = cv2.getRotationMatrix2D((20.0, 50.0), angle, 1.07)
    made = warped(Sample(paint(disc), None, disc, disc), matrix)
    seen = made.pre[..., 0] > 40
    assert np.mean(seen != (made.grades > 0)) < 0.01
    assert np.argwhere(seen).mean(0) == pytest.approx(np.argwhere(made.grades).mean(0), abs=0.15)


def test_localisation_looks_at_one_image():
    grades = np.zeros((32, 32), np.uint8)
    sample = Sample(*(np.full((32, 32, 3), v, np.uint8) for v in (9, 200)), grades, grades)
    options = Augmentation(crop=32, images="pre", post_instead=0.25)
    rng = np.random.default_rng(0)
    made = [augment(sample, options, rng) for _ in range(400)]
    assert all(m.post is None for m in made)
    share = np.mean([m.pre[0, 0, 0] == 200 for m in made])
    assert share == pytest.approx(0.25, abs=0.06)


def test_an_undamaged_negative_shows_pre_twice_and_no_damage():
    sample = make_sample(64, 64)
    sample = replace(sample, post=255 - sample.post)
    made = augment(sample, Augmentation(crop=64, undamaged=1.0), np.random.default_rng(0))
    assert np.array_equal(made.post, sample.pre)
    assert codes(made) == {0, 1, 255}
    assert np.array_equal(made.grades > 0, sample.grades > 0)


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


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_every_preset_gives_its_crop(name):
    options = replace(AUGMENTATIONS[name], crop=64)
    sample, donor = make_sample(150, 150), make_sample(150, 150, seed=1)
    made = augment(sample, options, np.random.default_rng(5), donor=donor)
    assert made.grades.shape == (64, 64)
    assert (made.post is None) == ("localisation" in name)


def test_numbers_of_the_tables():
    res34 = AUGMENTATIONS["first_place_res34_localisation"]
    # Source: train34_loc.py: randint(int(736 / 1.2), int(736 / 0.8)).
    assert [round(736 * scale) for scale in res34.crop_scale] == [613, 920]
    assert (res34.first_group, res34.clahe, res34.blur) == (0.07, 0.03, 0.03)
    assert res34.hsv_otherwise
    assert res34.dilation == 0
    senet154 = AUGMENTATIONS["first_place_senet154_damage"]
    assert (senet154.crop, senet154.quarter_turn, senet154.elastic) == (448, 0.9999, 0.1)
    assert senet154.crop_weights == (1, 5, 5, 2)
    assert AUGMENTATIONS["first_place_res34_damage_tuning"].crop == 608
    assert not AUGMENTATIONS["first_place_dpn92_localisation_tuning"].post_instead
    other = AUGMENTATIONS["metadamagenet_resnet34_damage"]
    assert [round(other.crop * scale / 1024, 2) for scale in other.crop_scale] == [0.65, 0.85]
    assert (other.first_group, other.blur, other.second_group) == (0.015, 0.1, 0.02)
    assert AUGMENTATIONS["siamese_resnet50"].flip_horizontal == 0.5


def test_a_recipe_names_an_augmentation_and_changes_it():
    recipe = {
        "name": "mine",
        "augmentation": "first_place_res34_damage",
        "augmentation_crop": 320,
        "augmentation_misregistration": 0.5,
    }
    made = augmentation_options(recipe)
    named = AUGMENTATIONS["first_place_res34_damage"]
    assert made == replace(named, crop=320, misregistration=0.5)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"augmentation": "first_place_res34_damages"}, "did you mean 'first_place_res34_damage'"),
        (
            {"augmentation_flip": 0.5},
            "did you mean 'augmentation_flip_horizontal' or 'augmentation_flip_vertical'",
        ),
        ({"augmentation_rotate": 1.5}, "augmentation_rotate = 1.5 is no probability"),
        ({"augmentation_crop": 0}, "is no size"),
        ({"augmentation_misregistration_reach": -1}, "less than none"),
        ({"augmentation_gsd_range": [2, 1]}, "the least is first"),
        ({"augmentation_images": "post"}, "it is 'both' or 'pre'"),
        ({"augmentation_crop_weights": [1, 2]}, "one for each of four grades"),
        ({"augmentation_precedence": [1, 2, 3]}, "each of the grades 1 to 4, once"),
    ],
)
def test_what_a_recipe_gets_wrong_is_named(recipe, said):
    with pytest.raises(OptionError, match=said):
        augmentation_options(recipe)
