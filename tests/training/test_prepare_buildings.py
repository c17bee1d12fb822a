import collections

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import LabelError
from tests.training.building_folders import picture, write_masks, write_open_cities, write_tif
from training.data.building_images import TEST, in_folds, read_building_index
from training.data.building_tiles import Tile
from training.prepare_buildings import CropOptions, group_tiles, main, survey, windows_of


def prepare(capsys, *arguments):
    """Run the command; return its exit code and what it said."""
    try:
        main([str(argument) for argument in arguments])
        code = 0
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.slow
def test_a_download_becomes_crops_at_three_scales_in_folds_by_place(tmp_path, capsys):
    download = write_open_cities(tmp_path / "tier_1", tiles=("aaa", "bbb", "ccc"))
    code, said = prepare(capsys, download, "-o", tmp_path / "out", "--folds", 3)
    assert code == 0, said
    images = read_building_index(tmp_path / "out")
    assert collections.Counter(image.scale for image in images) == {0.5: 3, 1.0: 3, 2.0: 3}
    for image in images:
        pixels, mask = image.load()
        assert pixels.shape == (96 * image.scale, 96 * image.scale, 3)
        assert image.gsd == pytest.approx(1 / image.scale, rel=0.01)
        assert image.buildings == mask.any()
    by_tile = collections.defaultdict(set)
    for image in images:
        by_tile[image.tile].add(image.fold)
    assert sorted(map(len, by_tile.values())) == [1, 1, 1]
    assert set().union(*by_tile.values()) == {0, 1, 2}


def test_negatives_are_kept_and_strips_of_a_scene_stay_together(tmp_path, capsys):
    names = ["a_0", "a_1", "a_2", "b_0", "c_empty"]
    write_masks(tmp_path / "set", names)
    code, said = prepare(capsys, tmp_path / "set", "-o", tmp_path / "out", "--folds", 3)
    assert code == 0, said
    images = read_building_index(tmp_path / "out")
    assert sum(not image.buildings for image in images) == 3
    assert len({image.fold for image in images if image.tile.startswith("a_")}) == 1
    assert "15 images, 3 of them without a building" in said


def test_what_is_tested_on_is_in_no_fold_nor_is_its_scene(tmp_path, capsys):
    write_masks(tmp_path / "set", ["a_0", "a_1", "b", "c"])
    out = tmp_path / "out"
    code, said = prepare(capsys, tmp_path / "set", "-o", out, "--folds", 2, "--test", "a_0")
    assert code == 0, said
    images = read_building_index(out)
    assert {image.tile for image in images if image.fold == TEST} == {"a_0", "a_1"}
    learnt, held_out = in_folds(images, 0)
    assert not {image.place for image in learnt} & {image.place for image in held_out}
    with pytest.raises(LabelError, match=r"fold 7: .* the index has the folds"):
        in_folds(images, 7)


def tiles_at(tmp_path, places):
    for number, (x, y) in enumerate(places):
        write_tif(tmp_path / f"t{number}.tif", picture(40, 40), x, y)
    return [
        Tile(tmp_path / f"t{n}.tif", None, f"t{n}", "s", f"place {n}") for n in range(len(places))
    ]


@pytest.mark.parametrize(
    ("options", "groups"),
    [({}, [[0, 1], [2], [3]]), ({"buffer": 30.0}, [[0, 1, 2], [3]]), ({"overlap": 0.6}, 4)],
)
def test_tiles_that_share_ground_or_lie_close_are_one_place(tmp_path, options, groups):
    # 20 m overlap, 10 m between, far away.
    tiles = tiles_at(tmp_path, [(0, 0), (20, 0), (70, 0), (900, 0)])
    found = group_tiles(survey(tiles, CropOptions()), **options)
    named = sorted(sorted(int(each.tile.name[1:]) for each in place) for place in found)
    assert named == groups if isinstance(groups, list) else len(named) == groups


def test_names_group_georeferenced_tiles_unless_the_ground_is_asked(tmp_path):
    tiles = tiles_at(tmp_path, [(0, 0), (900, 0)])
    alike = [Tile(t.image, None, t.name, "s", "one name") for t in tiles]
    surveyed = survey(alike, CropOptions())
    assert len(group_tiles(surveyed)) == 1
    assert len(group_tiles(surveyed, by_ground=True)) == 2


@pytest.mark.slow
@given(st.integers(1, 300), st.integers(1, 300), st.integers(30, 120))
def test_windows_cover_every_pixel_and_none_beyond(rows, columns, side):
    seen = np.zeros((rows, columns), bool)
    for window in windows_of((rows, columns), side):
        assert min(window.row, window.column) >= 0
        assert (window.bottom <= rows) & (window.right <= columns)
        assert max(window.shape) <= side
        seen[window.slices] = True
    assert seen.all()


def test_a_tile_is_brought_to_a_gsd_before_the_scales_count(tmp_path, capsys):
    download = write_open_cities(tmp_path / "tier_1", tiles=("aaa",))
    out = tmp_path / "out"
    code, said = prepare(capsys, download, "-o", out, "--folds", 1, "--to-gsd", 2, "--scales", 1)
    assert code == 0, said
    (image,) = read_building_index(out)
    assert image.load()[1].shape == (48, 48)
    assert image.gsd == pytest.approx(2)


def test_an_index_is_replaced_or_added_to_only_where_it_is_asked_for(tmp_path, capsys):
    write_masks(tmp_path / "set", ["a", "b"])
    write_masks(tmp_path / "more", ["d"])
    out = tmp_path / "out"
    assert prepare(capsys, tmp_path / "set", "-o", out, "--folds", 2)[0] == 0
    code, said = prepare(capsys, tmp_path / "set", "-o", out, "--folds", 2)
    assert code == 6
    assert "is there; give --add or --overwrite" in said
    assert prepare(capsys, tmp_path / "more", "-o", out, "--folds", 1, "--add")[0] == 0
    assert {image.source for image in read_building_index(out)} == {"set", "more"}
    code, said = prepare(capsys, tmp_path / "more", "-o", out, "--folds", 1, "--add")
    assert code == 4
    assert "has more/d already" in said


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--folds", "9"], 2, "places to share out: 2"),
        (["--folds", "2", "--test", "nothing"], 2, "--test nothing: no tile of that name"),
        (["--size", "3"], 2, "--size is 64 or more"),
        (["--bands", "1,2,9"], 2, "three numbers from 1 to 3"),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line(tmp_path, capsys, arguments, code, words):
    write_masks(tmp_path / "set", ["a", "b"])
    found, said = prepare(capsys, tmp_path / "set", "-o", tmp_path / "out", *arguments)
    assert found == code
    assert words in said
    assert said.strip().count("\n") == 0
    assert not (tmp_path / "out" / "index.csv").exists()


def test_a_broken_index_is_refused_by_its_line(tmp_path, capsys):
    write_masks(tmp_path / "set", ["a", "b"])
    prepare(capsys, tmp_path / "set", "-o", tmp_path / "out", "--folds", 2)
    index = tmp_path / "out" / "index.csv"
    index.write_text(index.read_text().replace(",0.5,", ",half,", 1))
    with pytest.raises(LabelError, match="line 2 is no prepared image"):
        read_building_index(tmp_path / "out")
    with pytest.raises(LabelError, match=r"make it by training\.prepare_buildings"):
        read_building_index(tmp_path)
