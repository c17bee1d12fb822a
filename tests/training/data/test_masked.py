"""Pairs and images whose labels are masks."""

import cv2
import numpy as np
import pytest

from geodamage.errors import LabelError, OptionError
from training.data.crops import ChipOptions, Chips
from training.data.masked import (
    More,
    find_half_pairs,
    load_half_pair,
    load_masked,
    load_unlabelled,
    masked_pair,
    parts,
)

NAME = "mexico-earthquake_00000001"


@pytest.fixture
def half(tmp_path):
    """A pair of 64 pixels with three buildings, of which the second is destroyed."""
    before = np.zeros((64, 64), np.uint8)
    before[4:14, 4:14] = before[4:14, 30:40] = before[40:52, 20:40] = 1
    after = before.copy()
    after[4:14, 30:40] = 4
    for folder in ("images", "targets"):
        (tmp_path / folder).mkdir()
    image = np.full((64, 64, 3), 90, np.uint8)
    for date, target in (("pre", before), ("post", after)):
        cv2.imwrite(str(tmp_path / f"images/{NAME}_{date}_disaster.png"), image)
        cv2.imwrite(str(tmp_path / f"targets/{NAME}_{date}_disaster_target.png"), target)
    return tmp_path


@pytest.fixture
def masked(tmp_path):
    """One image with one building, two folders deep."""
    folder = tmp_path / "place"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    mask = np.zeros((48, 48), np.uint8)
    mask[10:20, 10:30] = 255
    cv2.imwrite(str(folder / "images/a.png"), np.full((48, 48, 3), 60, np.uint8))
    cv2.imwrite(str(folder / "masks/a.png"), mask)
    return tmp_path


def test_pieces_of_one_grade_are_one_building_each():
    codes = np.zeros((20, 20), np.uint8)
    codes[2:6, 2:6], codes[2:6, 10:14], codes[2:6, 14:18] = 1, 1, 3
    index, centres = parts(codes)
    assert sorted(grade for _, _, grade in centres) == [1, 1, 3]
    assert len(np.unique(index[index > 0])) == 3
    assert ((index > 0) == (codes > 0)).all()


def test_a_crumb_is_drawn_but_no_chip_is_cut_around_it():
    codes = np.zeros((9, 9), np.uint8)
    codes[4, 4] = 2
    index, centres = parts(codes)
    assert index[4, 4] == 1
    assert centres == []


def test_a_half_size_pair_is_read_with_its_grades(half):
    pair = load_half_pair(half, find_half_pairs(half)[0])
    assert sorted(pair.centres[:, 2].tolist()) == [1, 1, 4]
    assert pair.damage[8, 34] == 4
    assert pair.buildings[8, 34] == 1
    assert pair.vote[8, 34] > 0
    assert pair.zoom > 1


def test_a_half_size_pair_fills_a_chip_at_its_zoom(half):
    pair = load_half_pair(half, NAME)
    options = ChipOptions(crop=64, half_share=1.0, grade_shares=(0.0, 0.0, 0.0, 1.0))
    chips = Chips([], [], options, half=[pair])
    areas = [(chips.draw(np.random.default_rng(seed)).damage == 4).sum() for seed in range(30)]
    # 100 pixels become 225 at zoom 1.5, give or take the random scale.
    assert 150 < np.median([area for area in areas if area]) < 340


def test_a_masked_image_asks_for_buildings_and_for_no_grade(masked):
    (pair,) = load_masked(masked)
    assert pair.buildings.sum() == 200
    assert set(np.unique(pair.damage)) == {0, 255}
    assert not pair.vote.any()
    assert (pair.pre == pair.post).all()


@pytest.mark.slow
def test_shares_decide_how_often_each_kind_comes(masked, half):
    mask = np.zeros((40, 40), bool)
    mask[5:35, 5:35] = True
    dark, light = (masked_pair("x", np.full((40, 40, 3), v, np.uint8), mask) for v in (1, 250))
    options = ChipOptions(crop=16, generated_share=0.0, masked_share=0.25)
    chips = Chips([dark], [], options, masked=[light])
    seen = [chips.draw(np.random.default_rng(seed)).pre.max() > 150 for seed in range(200)]
    assert 30 < sum(seen) < 70


def test_a_share_and_its_folder_come_together(half):
    with pytest.raises(OptionError, match="--half belong together"):
        More().load(ChipOptions(half_share=0.2))
    with pytest.raises(OptionError, match="--half belong together"):
        More(half=half).load(ChipOptions())
    (pairs,) = More(half=half).load(ChipOptions(half_share=0.2)).values()
    assert len(pairs) == 1


def test_pairs_without_targets_ask_for_nothing_and_are_enlarged(half):
    for date in ("pre", "post"):
        image = np.full((64, 64, 3), 30, np.uint8)
        cv2.imwrite(str(half / f"images/midwest-flooding_00000002_{date}_disaster.jpg"), image)
    found = More(unlabelled=half).load(ChipOptions(unlabelled_share=0.1))
    (pair,) = found["unlabelled"]
    assert pair.name.startswith("midwest")
    assert pair.pre.shape == (128, 128, 3)
    chip = Chips([], [], ChipOptions(crop=64), unlabelled=[pair]).draw(np.random.default_rng(0))
    assert not chip.weights.any()
    assert not chip.vote.any()
    assert (chip.buildings_post == 255).all()


def test_an_unlabelled_pair_that_is_not_whole_is_named(half, tmp_path):
    with pytest.raises(LabelError, match="without a target"):
        More(unlabelled=half).load(ChipOptions(unlabelled_share=0.1))
    image = np.full((64, 64, 3), 30, np.uint8)
    cv2.imwrite(str(half / "images/b_pre_disaster.jpg"), image)
    with pytest.raises(LabelError, match="no images/b_post"):
        load_unlabelled(half)
    cv2.imwrite(str(half / "images/b_post_disaster.jpg"), image[:32])
    with pytest.raises(LabelError, match="images of b differ"):
        load_unlabelled(half)


def test_what_is_missing_is_named(half, masked, tmp_path):
    (half / f"targets/{NAME}_pre_disaster_target.png").unlink()
    with pytest.raises(Exception, match=r"pre_disaster_target\.png"):
        load_half_pair(half, NAME)
    (half / f"images/{NAME}_post_disaster.png").unlink()
    with pytest.raises(LabelError, match=f"no images/{NAME}_post"):
        load_half_pair(half, NAME)
    (masked / "place/masks/a.png").unlink()
    with pytest.raises(LabelError, match="no mask"):
        load_masked(masked / "place")
    with pytest.raises(LabelError, match="no images"):
        load_masked(masked / "place/masks")
    with pytest.raises(LabelError, match="no targets"):
        find_half_pairs(masked / "place")
