import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import LabelError
from geodamage.xbd.folders import Pair, read_split
from tests.fakes import SMALL, write_xbd
from training.data.crops import (
    Chip,
    ChipOptions,
    Chips,
    assemble,
    cut,
    draw_generated,
    load_pair,
)

OPTIONS = ChipOptions(crop=64, shift=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_xbd(tmp_path_factory.mktemp("data"), ["flood_00000001"])


@pytest.fixture(scope="module")
def pair(folder):
    return load_pair(Pair("flood_00000001", folder))


def drawn(chips, count, seed=0):
    rng = np.random.default_rng(seed)
    return [chips.draw(rng) for _ in range(count)]


def test_a_pair_has_its_masks(pair):
    assert pair.pre.shape == pair.post.shape == (96, 96, 3)
    assert pair.pre.dtype == np.uint8
    assert pair.damage[18, 18] == 1
    assert pair.damage[70, 70] == 4
    assert np.array_equal(pair.buildings, pair.damage > 0)
    assert sorted(pair.centres[:, 2]) == [1, 2, 3, 4]
    for row, column, grade in pair.centres:
        assert pair.damage[row, column] == grade
    assert ((pair.vote > 0) == (pair.damage > 0)).all()


def test_colours_are_red_green_blue(folder):
    image = np.zeros((96, 96, 3), np.uint8)
    image[..., 2] = 200  # OpenCV writes blue, green, red
    cv2.imwrite(str(folder / "images" / "red_00000000_pre_disaster.png"), image)
    for part, name in (("images", "post_disaster.png"), ("labels", "post_disaster.json")):
        source = folder / part / f"flood_00000001_{name}"
        (folder / part / f"red_00000000_{name}").write_bytes(source.read_bytes())
    red = load_pair(Pair("red_00000000", folder))
    assert red.pre[0, 0].tolist() == [200, 0, 0]
    # Without pre labels the outlines are those of post.
    assert np.array_equal(red.buildings, red.damage > 0)


def test_images_of_two_sizes_are_refused(tmp_path):
    write_xbd(tmp_path, ["flood_00000001"])
    path = tmp_path / "images" / "flood_00000001_post_disaster.png"
    assert cv2.imwrite(str(path), np.zeros((95, 96, 3), np.uint8))
    with pytest.raises(LabelError, match=r"pre is \(96, 96\), post \(95, 96\)"):
        load_pair(Pair("flood_00000001", tmp_path))


def index_of(*boxes):
    index = np.zeros((40, 40), np.int32)
    for number, (row, column, height, width) in enumerate(boxes, 1):
        index[row : row + height, column : column + width] = number
    return index


def test_touching_houses_are_parted_by_a_free_line_of_weight():
    index = index_of((5, 5, 10, 10), (5, 15, 10, 10))
    grade = np.where(index > 0, 1, 0).astype(np.uint8)
    made = assemble("a", *np.zeros((2, 40, 40, 3), np.uint8), (index, index, grade, []))
    assert made.buildings[5:15, 5:14].all()
    assert not made.buildings[5:15, 14:16].any()
    assert (made.weights[8:12, 14:16] > 1).all()
    assert made.weights[30, 30] == 1
    assert made.centres.shape == (0, 3)


def test_a_small_house_votes_with_more_weight_and_background_with_none():
    index = index_of((2, 2, 4, 4), (10, 10, 25, 25))
    grade = np.where(index > 0, 1, 0).astype(np.uint8)
    vote = assemble("a", *np.zeros((2, 40, 40, 3), np.uint8), (index, index, grade, [])).vote
    assert vote[3, 3] > vote[20, 20] > 0
    assert vote[0, 0] == 0
    assert vote[3, 3] * 16 < vote[20, 20] * 625


@pytest.mark.slow
@SMALL
@given(st.integers(0, 10**6))
def test_a_chip_keeps_its_arrays_together(seed):
    rng = np.random.default_rng(seed)
    index = index_of((5, 5, 10, 10), (20, 20, 12, 15))
    damage = np.where(index == 1, 2, np.where(index == 2, 4, 0)).astype(np.uint8)
    images = rng.integers(1, 255, (2, 40, 40, 3), np.uint8)
    made = assemble("a", *images, (index, index, damage, []))
    chip = cut(made, (int(rng.integers(40)), int(rng.integers(40))), OPTIONS, rng)
    assert isinstance(chip, Chip)
    for array in (chip.pre, chip.post):
        assert array.shape == (64, 64, 3)
        assert array.dtype == np.uint8
    assert chip.teacher is None  # nobody was asked
    for array in chip[2:-1]:
        assert array.shape == (64, 64)
    assert chip.weights.dtype == chip.vote.dtype == np.float32
    assert set(np.unique(chip.damage)) <= {0, 2, 4}
    assert set(np.unique(chip.buildings)) <= {0, 1}
    assert set(np.unique(chip.buildings_post)) <= {0, 1, 255}
    assert ((chip.vote > 0) == (chip.damage > 0)).all()
    # Beyond the image nothing is asked, and nothing is seen.
    beyond = chip.weights == 0
    assert not chip.buildings[beyond].any()
    inner = cv2.erode(beyond.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1) > 0
    assert not chip.pre[inner].any()


def test_what_fell_down_is_not_asked_for_in_post():
    index = index_of((5, 5, 10, 10), (20, 20, 12, 15))
    damage = np.where(index == 1, 3, np.where(index == 2, 1, 0)).astype(np.uint8)
    images = np.full((2, 40, 40, 3), 9, np.uint8)
    made = assemble("a", *images, (index, index, damage, []))
    options = dataclasses.replace(OPTIONS, crop=32, shift=0)
    for seed in range(20):
        chip = cut(made, (20, 20), options, np.random.default_rng(seed))
        assert (chip.buildings_post[chip.damage == 3] == 255).all()
        assert (chip.buildings_post[(chip.damage == 1) & (chip.buildings > 0)] == 1).all()


def test_chips_can_be_repeated(pair):
    chips = Chips([pair], [], OPTIONS)
    one, other = drawn(chips, 5, seed=3), drawn(chips, 5, seed=3)
    for a, b in zip(one, other, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert not np.array_equal(one[0].pre, one[1].pre)


def test_grades_come_as_often_as_asked(pair):
    options = dataclasses.replace(OPTIONS, crop=32, grade_shares=(0.0, 0.0, 0.0, 1.0))
    seen = [chip.damage for chip in drawn(Chips([pair], [], options), 60)]
    middle = [int(damage[8:24, 8:24].max()) for damage in seen]
    assert middle.count(4) > 30
    assert middle.count(1) < 15


@pytest.mark.slow
def test_a_generated_scene_is_a_pair_too():
    scene = draw_generated(3)
    assert scene.name == "generated_00000003"
    assert scene.pre.shape == (512, 512, 3)
    assert set(np.unique(scene.damage)) <= {0, 1, 2, 3, 4}
    assert len(scene.centres) > 3
    assert np.array_equal(scene.pre, draw_generated(3).pre)
    assert drawn(Chips([], [scene], OPTIONS), 1)[0].pre.shape == (64, 64, 3)


@pytest.mark.parametrize(("share", "least", "most"), [(0.0, 0, 0), (0.5, 25, 55), (1.0, 80, 80)])
def test_generated_scenes_come_as_often_as_asked(share, least, most):
    index = index_of((5, 5, 10, 10))
    grade = np.where(index > 0, 1, 0).astype(np.uint8)
    real, made = (
        assemble("a", *np.full((2, 40, 40, 3), value, np.uint8), (index, index, grade, []))
        for value in (0, 200)  # black is a collar and stays black
    )
    options = dataclasses.replace(OPTIONS, crop=16, generated_share=share)
    lit = [chip.pre.any() for chip in drawn(Chips([real], [made], options), 80)]
    assert least <= sum(lit) <= most


def test_a_set_without_graded_buildings_is_cut_anywhere():
    image = np.full((40, 40, 3), 9, np.uint8)
    empty = np.zeros((40, 40), np.uint8)
    bare = assemble("a", image, image, (empty.astype(np.int32), empty.astype(np.int32), empty, []))
    chip = drawn(Chips([bare], [], OPTIONS), 1)[0]
    assert not chip.damage.any()


def test_a_split_gives_the_pairs_of_a_part(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("pair,event,place,part\na_1,a,0,train\nb_1,b,1,test\nc_1,c,2,train\n")
    assert [pair.name for pair in read_split(path, tmp_path, "train")] == ["a_1", "c_1"]
    with pytest.raises(LabelError, match="no pair in part 'validation'"):
        read_split(path, tmp_path, "validation")


@pytest.mark.parametrize(("key", "value"), [("coarse", 1.0), ("haze", 1.0), ("lean", 8)])
def test_a_harder_picture_leaves_the_labels_where_they_are(pair, key, value):
    harder = dataclasses.replace(OPTIONS, **{key: value})
    images = "pre", "post", "buildings_post"
    for seed in range(6):
        plain, hard = (
            cut(pair, (48, 48), options, np.random.default_rng(seed))._asdict()
            for options in (OPTIONS, harder)
        )
        for name in plain.keys() - {*images}:
            assert np.array_equal(plain[name], hard[name]), name


def test_small_buildings_weigh_more_in_finding_them_where_asked():
    index = np.zeros((64, 64), np.int32)
    index[4:12, 4:12], index[20:60, 20:60] = 1, 2
    image = np.full((64, 64, 3), 90, np.uint8)
    damage = (index > 0).astype(np.uint8)
    pair = assemble("x", image, image, (index, index, damage, [(8, 8, 1)]))
    plain = dataclasses.replace(OPTIONS, shift=0)
    more = dataclasses.replace(plain, small_weight=1.6)
    seen = 0
    for seed in range(8):
        before, after = (cut(pair, (32, 32), o, np.random.default_rng(seed)) for o in (plain, more))
        weighs = after.weights > before.weights
        assert (after.vote[weighs] == pair.vote[8, 8]).all()  # the small one alone
        assert after.weights[weighs] == pytest.approx(1.6 * 2.5)
        seen += weighs.any()
    assert seen > 2
