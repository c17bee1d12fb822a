"""Pairs of two sensors: both layouts, their chips, and teachers that are shown the optical pair."""

import shutil

import numpy as np
import pytest
import rasterio
from affine import Affine

from geodamage.damage import NOT_ASSESSED
from geodamage.errors import LabelError, OptionError, SceneReadError
from sample_data.pairs import make_pairs
from training.data.crops import ChipOptions, Chips, cut
from training.data.two_sensors import (
    BrightPair,
    RadarPair,
    bright_grades,
    draw_two_sensors,
    find_bright_pairs,
    read_radar,
)
from training.recipe import Recipe
from training.teaching.objective import add_answers

OPTIONS = ChipOptions(crop=64, shift=8)
VALUES = {
    "name": "x", "network": "compact_two_sensors", "task": "assess", "data": "two_sensors",
    "sampling": "chips", "steps": 1,
}  # fmt: skip


def write_tif(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    array = array if array.ndim == 3 else array[None]
    with rasterio.open(
        path, "w", driver="GTiff", count=len(array), height=array.shape[1], width=array.shape[2],
        dtype=array.dtype, crs="EPSG:32628", transform=Affine(0.3, 0, 215847, 0, -0.3, 3171332),
    ) as dataset:  # fmt: skip
        dataset.write(array)


def write_bright(folder, name="bata-explosion_00000000"):
    """Write a pair as BRIGHT is given away: three buildings, one of each level."""
    rng = np.random.default_rng(0)
    target = np.zeros((96, 96), np.uint8)
    target[8:24, 8:30], target[40:60, 10:26], target[60:80, 50:80] = 1, 2, 3
    write_tif(folder / "pre-event" / f"{name}_pre_disaster.tif",
              rng.integers(1, 255, (3, 96, 96)).astype(np.uint8))  # fmt: skip
    write_tif(folder / "post-event" / f"{name}_post_disaster.tif",
              rng.integers(1, 255, (1, 96, 96)).astype(np.uint8))  # fmt: skip
    write_tif(folder / "target" / f"{name}_building_damage.tif", target)
    return folder


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    return folder, make_pairs(folder, 2, 128, sar=True)


@pytest.fixture
def bright(tmp_path):
    return write_bright(tmp_path)


@pytest.mark.slow
def test_a_drawn_pair_has_both_images_after(drawn):
    folder, (name, _) = drawn
    pair = RadarPair(name, folder).labelled()
    assert pair.pre.shape == pair.shown.shape == (128, 128, 3)
    assert pair.post.shape == (128, 128, 1)
    sample = RadarPair(name, folder).sample()
    assert np.array_equal(sample.buildings, sample.grades > 0)
    assert sample.post.shape == (128, 128, 1)


def test_a_set_without_radar_images_says_how_to_draw_them(tmp_path):
    (name,) = make_pairs(tmp_path, 1, 64)
    with pytest.raises(LabelError, match=r"make\.py --xbd DIR --sar"):
        RadarPair(name, tmp_path).labelled()


def test_bright_has_three_levels(bright):
    (found,) = find_bright_pairs(bright)
    assert found == BrightPair("bata-explosion_00000000", bright)
    assert found.event == "bata-explosion"
    pair = found.labelled()
    assert pair.damage[10, 10] == 1
    assert pair.damage[50, 20] == 3
    assert pair.damage[70, 60] == 4
    assert sorted(pair.centres[:, 2]) == [1, 3, 4]
    assert pair.shown is None
    assert (pair.vote > 0).sum() == (pair.damage > 0).sum()


def test_a_folder_that_is_no_bright_is_refused(tmp_path):
    with pytest.raises(LabelError, match="give the folder of a BRIGHT download"):
        find_bright_pairs(tmp_path)


def test_an_unknown_code_is_refused():
    with pytest.raises(LabelError, match=r"t\.tif: code 7 is not one of 0, 1, 2, 3"):
        bright_grades(np.array([[0, 7]], np.uint8), "t.tif")


def test_a_target_of_another_size_is_refused(bright):
    path = bright / "target" / "bata-explosion_00000000_building_damage.tif"
    write_tif(path, np.zeros((90, 96), np.uint8))
    with pytest.raises(LabelError, match="another file"):
        find_bright_pairs(bright)[0].labelled()


def test_an_optical_image_is_no_radar_image(bright):
    with pytest.raises(SceneReadError, match="3 channels of uint8"):
        read_radar(bright / "pre-event" / "bata-explosion_00000000_pre_disaster.tif")


def test_a_damaged_image_is_refused(tmp_path):
    (tmp_path / "x.tif").write_bytes(b"II*\0nothing")
    with pytest.raises(SceneReadError, match="cannot be read"):
        read_radar(tmp_path / "x.tif")


@pytest.mark.slow
def test_chips_have_the_channels_of_each_sensor(drawn):
    folder, names = drawn
    pairs = [RadarPair(name, folder).labelled() for name in names]
    rng = np.random.default_rng(0)
    chips = [Chips(pairs, [], OPTIONS).draw(rng) for _ in range(6)]
    assert {chip.pre.shape for chip in chips} == {(64, 64, 3)}
    assert {chip.post.shape for chip in chips} == {(64, 64, 1)}
    assert {chip.post.dtype for chip in chips} == {np.dtype(np.uint8)}
    assert all(chip.buildings_post.max() <= NOT_ASSESSED for chip in chips)


@pytest.mark.slow
def test_a_generated_scene_has_a_radar_image():
    pair = draw_two_sensors(11)
    assert pair.post.shape == (512, 512, 1)
    assert cut(pair, (256, 256), OPTIONS, np.random.default_rng(0)).post.shape == (64, 64, 1)


class Panel:
    """Answers with the red of what it is shown."""

    def __init__(self):
        self.seen = []

    def planes(self, pre, post):
        self.seen.append(post)
        return np.repeat(post[..., :1], 5, 2)


def test_a_teacher_is_shown_the_optical_image_after(drawn):
    folder, (name, _) = drawn
    pair = RadarPair(name, folder).labelled()
    chips, panel = Chips([pair], [], OPTIONS), Panel()
    add_answers(chips, panel)
    assert np.array_equal(panel.seen[0], pair.shown)
    (kept,) = chips.pools[0][0]
    assert kept.shown is None
    assert np.array_equal(kept.teacher[..., 0], pair.shown[..., 0])


def test_where_there_is_no_optical_image_the_answer_is_unknown(bright):
    pair = find_bright_pairs(bright)[0].labelled()
    chips, panel = Chips([pair], [], OPTIONS), Panel()
    add_answers(chips, panel)
    assert panel.seen == []
    assert not chips.pools[0][0][0].teacher.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "pairs"}, "belong together"),
        ({"network": "compact"}, "belong together"),
        ({"distil_teachers": ["fast"], "distil_kl": 1.0}, "give distil_cache"),
        ({"chips_half_share": 0.2}, "no image of a radar"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(changes, message):
    with pytest.raises(OptionError, match=message):
        Recipe.from_values(VALUES | changes)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["two_sensors", "bright"])
def test_a_recipe_trains_on_either_layout(layout, drawn, tmp_path):
    from tests.training.small_runs import options_of
    from training.steps import train
    from training.train import set_up

    names = drawn[1]
    folder = tmp_path / "set"
    if layout == "bright":
        names = ["a-quake_1", "a-quake_2"]
        for name in names:
            write_bright(folder / "xbd", name)
    else:
        shutil.copytree(drawn[0], folder / "xbd")
    (folder / "split.csv").write_text(f"pair,part\n{names[0]},train\n{names[1]},validation\n")
    values = VALUES | {"data": layout, "chips_crop": 64, "chips_generated": 0, "batch": 2}
    text = "\n".join(f"{k} = {v!r}" for k, v in values.items())
    work, state = set_up(options_of(folder, tmp_path / "runs", "validate_every=1", text=text))
    (report,) = train(work, state)
    assert np.isfinite(report.loss)
    assert 0 <= report.row["score"] <= 1
