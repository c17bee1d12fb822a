"""What hides the ground is found, what does not is left, and no window changes that."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geodamage.scene.cells import CELL, OWN, SHARED, Features, cells_of
from geodamage.scene.obscured import (
    GROWTH,
    MARGIN,
    RIM,
    Asked,
    Classifier,
    classified,
    hidden,
)
from tests.landscapes import landscape, later

SIDE = 512
PLACE = landscape(SIDE, SIDE)
LATER = later(PLACE)
SEEN = [np.zeros((SIDE, SIDE), bool)] * 2


def test_clear_ground_is_not_hidden():
    pre, post = hidden([PLACE, LATER], SEEN)
    assert not pre.any()
    assert not post.any()


@pytest.mark.slow
def test_a_cloud_is_hidden_on_its_own_date():
    rng = np.random.default_rng(3)
    post = LATER.copy()
    noise = cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), 30) * 200
    cloud = (228 + noise + rng.normal(0, 1.5, (SIDE, SIDE))).clip(0, 255)
    post[:, 100:400, 120:420] = cloud[100:400, 120:420].astype(np.uint8)
    one, two = hidden([PLACE, post], SEEN)
    assert two[160:340, 180:360].mean() > 0.95
    assert one.mean() < 0.01
    assert two[420:, :].mean() < 0.05


@pytest.mark.parametrize("value", [0, 128, 255])
def test_fill_of_any_value_is_hidden_to_the_pixel(value):
    post = LATER.copy()
    post[:, 203:251] = value
    _, found = hidden([PLACE, post], SEEN)
    assert found[203:251].all()
    assert not found[:200].any()
    assert not found[254:].any()


#: Sure of cells brighter than 211, and thinks those brighter than 196 likely.
BY_BRIGHTNESS = Classifier(
    np.array([200.0] + [0.0] * (2 * OWN + SHARED - 1), np.float32),
    np.full(2 * OWN + SHARED, 5, np.float32),
    (np.eye(2 * OWN + SHARED, 1, dtype=np.float32),),
    (np.zeros(1, np.float32),),
    0.9,
)


def found_in_cells(levels):
    """Return the cells that are hidden, of cells of these levels over both dates."""
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(levels, CELL, 0), CELL, 1) + rng.integers(-2, 3, (SIDE, SIDE))
    image = np.repeat(image[None].astype(np.uint8), 3, 0)
    dark = np.full_like(image, 90) + rng.integers(0, 5, image.shape, np.uint8)
    return hidden([dark, image], SEEN, BY_BRIGHTNESS)[1][::CELL, ::CELL]


def test_a_cloud_grows_into_likely_cells_and_has_a_rim():
    levels = np.full((SIDE // CELL,) * 2, 100)
    levels[10:30, 10:30] = 230
    levels[10:30, 30:40] = 203  # likely: as much of it as the cloud may grow by
    expected = np.zeros(levels.shape, bool)
    expected[10 - RIM : 30 + RIM, 10 - RIM : 30 + GROWTH + RIM] = True
    assert np.array_equal(found_in_cells(levels), expected)


def test_what_is_no_body_of_a_cloud_keeps_its_edge():
    levels = np.full((SIDE // CELL,) * 2, 100)
    levels[10:18, 10:18] = 230
    levels[10:18, 18:24] = 203
    assert np.array_equal(found_in_cells(levels), levels == 230)


def test_likely_cells_alone_are_not_hidden():
    levels = np.full((SIDE // CELL,) * 2, 100)
    levels[10:30, 10:30] = 203
    assert not found_in_cells(levels).any()


def test_a_white_roof_is_no_fill():
    pre, post = PLACE.copy(), LATER.copy()
    for image in (pre, post):
        image[:, 200:260, 200:280] = 255
    assert not any(found.any() for found in hidden([pre, post], SEEN))


def test_of_one_date_fill_alone_is_found():
    image = PLACE.copy()
    image[:, :, 300:360] = 77
    (found,) = hidden([image], SEEN[:1])
    assert found[:, 300:360].all()
    assert found.sum() == 60 * SIDE


def test_what_has_no_data_is_not_called_hidden():
    post = LATER.copy()
    post[:, :, :200] = 0
    missing = np.zeros((SIDE, SIDE), bool)
    missing[:, :200] = True
    _, found = hidden([PLACE, post], [SEEN[0], missing])
    assert not found.any()


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(st.integers(0, 20), st.integers(0, 20))
def test_no_window_changes_what_is_hidden(row, column):
    post = LATER.copy()
    post[:, 240:300] = 90
    post[:, 330:450, 100:330] = 225 + (landscape(120, 230, 4) // 50)
    whole = hidden([PLACE, post], SEEN)
    top, left = row * CELL, column * CELL
    images = [image[:, top:, left:] for image in (PLACE, post)]
    part = hidden(images, [mask[top:, left:] for mask in SEEN])
    for one, two in zip(whole, part, strict=True):
        inner = slice(MARGIN, None)
        assert np.array_equal(one[top:, left:][inner, inner], two[inner, inner])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.5, 4.0), st.integers(9, 40), st.integers(9, 40))
def test_cells_that_nobody_asked_about_would_not_have_changed_it(seed, size, rows, columns):
    rng = np.random.default_rng(seed)
    level = cv2.GaussianBlur(rng.normal(size=(rows, columns)), (0, 0), size)
    plane = 200 + 12 * level / level.std()
    features = Features([[plane] * OWN] * 2, [plane] * SHARED)
    seen = rng.random((rows, columns)) > 0.02
    few, all_of_them = (Asked(features, 0, seen, BY_BRIGHTNESS) for _ in range(2))
    all_of_them.ask(np.ones_like(seen))
    fill = np.zeros_like(seen)
    assert np.array_equal(classified(few, fill), classified(all_of_them, fill))
    assert (few.probability > 0).sum() <= (all_of_them.probability > 0).sum()


def test_of_clear_ground_few_cells_are_asked_about():
    plane = np.full((50, 50), 100.0)
    asked = Asked(Features([[plane] * OWN] * 2, [plane] * SHARED), 0, plane > 0, BY_BRIGHTNESS)
    assert not classified(asked, plane < 0).any()
    assert 0 < (asked.probability > 0).sum() <= 11 * 11


@pytest.mark.slow
def test_the_middle_of_a_cloud_may_be_white_to_the_end():
    rng = np.random.default_rng(3)
    post = LATER.copy()
    lit = 262 + cv2.GaussianBlur(rng.normal(size=(SIDE, SIDE)), (0, 0), 8) * 200
    post[:, 100:400, 120:420] = (
        (lit + rng.normal(0, 1.5, lit.shape)).clip(0, 255)[100:400, 120:420].astype(np.uint8)
    )
    white = cells_of(post).constant
    assert 0.1 < white[13:50, 15:52].mean() < 0.9
    _, found = hidden([PLACE, post], SEEN)
    assert found[160:340, 180:360].mean() > 0.95
