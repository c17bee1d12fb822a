import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geodamage.buildings.splitting import MIN_SEED, split_touching
from tests.fakes import SMALL


def label(mask):
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    return labels, count - 1


def discs(*centres, radius=6, shape=(24, 44)):
    """Return localisation of round houses, highest in the middle, and the mask above a half."""
    rows, columns = np.indices(shape)
    heights = [1 - np.hypot(rows - r, columns - c) / (2 * radius) for r, c in centres]
    return np.clip(np.max(heights, 0), 0, 1).astype(np.float32)


def parts(labels):
    """Return the pixels of each part, in no order."""
    return {
        frozenset(map(tuple, np.argwhere(labels == n).tolist())) for n in np.unique(labels) if n > 0
    }


def check(labels, count, result, new_count):
    """Check that parts are connected, partition their components and are numbered 1..n."""
    assert np.array_equal(result > 0, labels > 0)
    assert set(np.unique(result)) - {0} == set(range(1, new_count + 1))
    assert new_count >= count
    for number in range(1, new_count + 1):
        own = result == number
        assert ndimage.label(own)[1] == 1
        assert len(np.unique(labels[own])) == 1


TWO = discs((12, 12), (12, 23))


def test_two_houses_with_a_neck_are_split_at_it():
    labels, count = label(TWO > 0.5)
    assert count == 1
    result, found = split_touching(labels, count, 1 - TWO, 0.8)
    assert found == 2
    check(labels, count, result, found)
    left, right = result[12, 12], result[12, 23]
    assert left != right
    columns = np.nonzero(result == left)[1]
    assert columns.max() == 17
    assert np.nonzero(result == right)[1].min() == 18


def test_without_a_seed_threshold_all_stays_joined():
    labels, count = label(TWO > 0.5)
    result, found = split_touching(labels, count, 1 - TWO, 0.0)
    assert found == count
    assert result is labels


def test_a_house_with_one_seed_or_none_stays_as_it_is():
    labels, count = label(TWO > 0.5)
    for threshold in (0.52, 0.999):
        result, found = split_touching(labels, count, 1 - TWO, threshold)
        assert found == count
        assert np.array_equal(result, labels)


def test_a_pixel_that_two_seeds_reach_together_goes_to_the_upper_or_left_one():
    p = np.full((3, 27), 0.6, np.float32)
    p[:, :7] = p[:, -7:] = 0.9
    for field in (p, p.T.copy()):
        labels, count = label(field > 0.5)
        result, found = split_touching(labels, count, 1 - field, 0.8)
        assert found == 2
        assert (result == result[0, 0]).sum() == 14 * 3


@pytest.mark.parametrize(("size", "found"), [(MIN_SEED - 1, 1), (MIN_SEED, 2)])
def test_tiny_seeds_are_ripples(size, found):
    p = np.zeros((10, 60), np.float32)
    p[2:8, 2:58] = 0.6
    p[3:7, 4:20] = 0.95
    p[4, 40 : 40 + size] = 0.95
    labels, count = label(p > 0.5)
    assert split_touching(labels, count, 1 - p, 0.9)[1] == found


def test_neighbours_are_left_alone():
    p = discs((12, 12), (12, 23), (12, 38), radius=6, shape=(24, 50))
    p[:, 30:32] = 0
    labels, count = label(p > 0.5)
    assert count == 2
    result, found = split_touching(labels, count, 1 - p, 0.8)
    assert found == 3
    check(labels, count, result, found)
    assert (labels == labels[12, 38]).sum() == (result == result[12, 38]).sum()


def test_no_component_is_nothing_to_split():
    labels = np.zeros((5, 5), np.int32)
    result, count = split_touching(labels, 0, np.ones((5, 5), np.float32), 0.5)
    assert count == 0
    assert not result.any()


def test_the_labels_given_are_not_changed():
    labels, count = label(TWO > 0.5)
    before = labels.copy()
    split_touching(labels, count, 1 - TWO, 0.8)
    assert np.array_equal(labels, before)


@st.composite
def towns(draw):
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    noise = ndimage.gaussian_filter(rng.random((40, 50)), draw(st.sampled_from([1.5, 2.5])))
    low, high = noise.min(), noise.max()
    return ((noise - low) / (high - low)).astype(np.float32)


@pytest.mark.slow
@SMALL
@given(towns(), st.floats(0.45, 0.6), st.floats(0.62, 0.8))
def test_parts_are_connected_and_the_same_on_any_raster(p, threshold, seed):
    labels, count = label(p > threshold)
    result, found = split_touching(labels, count, 1 - p, seed)
    check(labels, count, result, found)
    assert np.array_equal(split_touching(labels, count, 1 - p, seed)[0], result)
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        own = labels[box] == number
        alone, _ = split_touching(
            own.astype(np.int32), 1, np.where(own, 1 - p[box], np.float32(1)), seed
        )
        assert parts(alone) == parts(np.where(own, result[box], 0))


@pytest.mark.slow
@SMALL
@given(towns(), st.integers(0, 9), st.integers(0, 9))
def test_parts_do_not_depend_on_the_place_of_the_raster(p, top, left):
    labels, count = label(p > 0.5)
    result, found = split_touching(labels, count, 1 - p, 0.65)
    wide = np.pad(labels, [(top, 3), (left, 2)])
    moved, same = split_touching(
        wide, count, np.pad(1 - p, [(top, 3), (left, 2)], constant_values=1), 0.65
    )
    assert same == found
    assert np.array_equal(moved[top : top + 40, left : left + 50] > 0, result > 0)
    assert parts(moved[top : top + 40, left : left + 50]) == parts(result)
