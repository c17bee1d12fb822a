import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st

from geodamage.batch.manifest import (
    LONGEST_NAME,
    BatchScene,
    plan_scenes,
    read_manifest,
    safe_name,
    unique_names,
)
from geodamage.errors import ManifestError, OptionError
from geodamage.grid import GsdRange
from geodamage.scene.options import SceneOptions
from geodamage.scene.scene import Scene
from tests.batch.tiles import names, tile
from tests.conftest import CORNER, make_pixels, make_raster
from tests.data_folder import DATA, needs

GSD = GsdRange(0.5, 0.3, 1.0)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two pre images side by side; after: one on each, one on both, one elsewhere."""
    tile(tmp_path / "pre" / "west.tif", 0)
    tile(tmp_path / "pre" / "east.tiff", 32)
    tile(tmp_path / "post" / "on_west.tif", 0)
    tile(tmp_path / "post" / "on_east.TIF", 36)
    tile(tmp_path / "post" / "on_both.tif", 20)
    tile(tmp_path / "post" / "elsewhere.tif", 5000)
    return tmp_path


def write_list(folder: Path, text: str, name: str = "list.csv") -> Path:
    tile(folder / "a.tif", 0)
    tile(folder / "b.tif", 8)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


# Folders


def test_a_folder_gives_a_scene_for_each_image_after(folder):
    manifest = read_manifest(folder)
    assert {scene.name: names(scene.pre) for scene in manifest} == {
        "on_both": ["east.tiff", "west.tif"],
        "on_east": ["east.tiff"],
        "on_west": ["west.tif"],
    }
    assert names(manifest[0].post) == ["on_both.tif"]
    assert all(Path(path).is_absolute() for scene in manifest for path in scene.pre + scene.post)
    assert all(scene.date is None and not scene.options for scene in manifest)
    (note,) = manifest.notes
    assert note.endswith("elsewhere.tif: overlaps no pre image, so it is in no scene")


@pytest.mark.slow
def test_files_that_cannot_be_placed_do_not_stop_the_others(folder):
    """A bad post image is a scene, so that it fails; a bad pre image is noted."""
    (folder / "post" / "bad.tif").write_text("no image")
    (folder / "post" / "empty.tif").touch()
    (folder / "pre" / "bad.tif").write_text("no image")
    os.mkfifo(folder / "pre" / "pipe.tif")
    (folder / "post" / "notes.txt").write_text("nothing of ours")
    make_raster(folder / "post" / "unplaced.tif", make_pixels(16, 16), crs=None)
    manifest = read_manifest(folder)
    assert [scene.name for scene in manifest] == [
        "bad", "empty", "on_both", "on_east", "on_west", "unplaced",
    ]  # fmt: skip
    assert sorted(re.findall(r"(\w+)\.tif: (\w+ \w+)", " ".join(manifest.notes))) == [
        ("bad", "not a"), ("elsewhere", "overlaps no"), ("pipe", "a pipe"),
    ]  # fmt: skip
    plans = {plan.scene.name: plan for plan in plan_scenes(manifest, gsd=GSD)}
    assert [name for name, plan in plans.items() if not plan.is_usable] == [
        "bad", "empty", "unplaced",
    ]  # fmt: skip
    assert "not a GeoTIFF" in plans["bad"].notes[0]
    assert "the file is empty" in plans["empty"].notes[0]
    assert "no CRS" in plans["unplaced"].notes[0]


def test_a_virtual_file_in_a_folder_is_not_followed(folder):
    secret = tile(folder / "secret.tif", 0)
    (folder / "pre" / "virtual.tif").write_text(
        f'<VRTDataset rasterXSize="64" rasterYSize="64"><VRTRasterBand><SimpleSource>'
        f"<SourceFilename>{secret}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    manifest = read_manifest(folder)
    assert all("virtual.tif" not in names(scene.pre) for scene in manifest)
    assert any("virtual.tif: not a GeoTIFF" in note for note in manifest.notes)


def test_images_in_other_crs_are_paired(folder):
    from rasterio.warp import transform

    lon, lat = transform("EPSG:32616", "EPSG:4326", [CORNER[0]], [CORNER[1]])
    degrees = Affine(5e-6, 0, lon[0], 0, -5e-6, lat[0])
    make_raster(
        folder / "post" / "degrees.tif", make_pixels(64, 64), crs="EPSG:4326", transform=degrees
    )
    scenes = {scene.name: scene for scene in read_manifest(folder)}
    assert names(scenes["degrees"].pre) == ["west.tif"]


def test_folders_without_a_pair_are_refused(tmp_path):
    with pytest.raises(ManifestError, match="no folders pre and post in it"):
        read_manifest(tmp_path)
    (tmp_path / "pre").mkdir()
    (tmp_path / "post").mkdir()
    with pytest.raises(ManifestError, match=r"pre: no .tif"):
        read_manifest(tmp_path)
    tile(tmp_path / "pre" / "a.tif", 0)
    tile(tmp_path / "post" / "b.tif", 900)
    with pytest.raises(ManifestError, match="no post image overlaps a pre image"):
        read_manifest(tmp_path)
    (tmp_path / "pre" / "a.tif").write_text("x")
    with pytest.raises(ManifestError, match=r"pre: no usable image .*not a GeoTIFF"):
        read_manifest(tmp_path)


def test_a_scene_keeps_its_name_when_images_are_added(folder):
    shutil.copy(folder / "post" / "on_west.tif", folder / "post" / "on_west.tiff")
    before = {scene.post: scene.name for scene in read_manifest(folder)}
    assert len(set(before.values())) == 4
    tile(folder / "post" / "a_new_one.tif", 3)
    after = {scene.post: scene.name for scene in read_manifest(folder)}
    assert before.items() < after.items()


# Lists


def test_a_list_gives_its_scenes(tmp_path):
    path = write_list(
        tmp_path, "name,pre,post,date,tile\nnorth,a.tif,b.tif,2026-02-07,128\n,a.tif,b.tif,,\n"
    )
    first, second = read_manifest(path)
    pre, post = (str(tmp_path / "a.tif"),), (str(tmp_path / "b.tif"),)
    assert first == BatchScene("north", pre, post, "2026-02-07", {"tile": 128})
    assert second == BatchScene("b", pre, post)


def test_toml_and_geojson_are_known_by_their_names(tmp_path):
    toml = write_list(tmp_path, "[[scene]]\npre = 'a.tif'\npost = 'b.tif'\n", "list.toml")
    feature = {"type": "Feature", "geometry": None, "properties": {"pre": "a.tif", "post": "b.tif"}}
    text = json.dumps({"type": "FeatureCollection", "features": [feature]})
    geojson = write_list(tmp_path, text, "list.geojson")
    assert read_manifest(toml) == read_manifest(str(geojson))
    assert read_manifest(toml)[0].name == "b"


@pytest.mark.parametrize(
    ("post", "name"),
    [
        ("days/7/*.tif", "7"),
        ("/far/post/", "post"),
        ("@tiles.txt", "tiles"),
        ("https://example.org/x/img.tif?token=1", "img"),
        ("b.tif|c.tif", "b"),
        ("*.tif", "{folder}"),
    ],
)
def test_a_scene_without_a_name_is_called_after_its_image(tmp_path, post, name):
    path = write_list(tmp_path, f"pre,post\na.tif,{post}\n")
    (scene,) = read_manifest(path, allow_remote=True)
    assert scene.name == safe_name(name.format(folder=tmp_path.name))


def test_names_that_lead_elsewhere_are_made_safe(tmp_path):
    path = write_list(
        tmp_path, 'name,pre,post\n../../etc/x,a.tif,b.tif\n"a\nb",a.tif,b.tif\nCON,a.tif,b.tif\n'
    )
    assert [scene.name for scene in read_manifest(path)] == ["etc_x", "a_b", "scene_CON"]


def test_scenes_that_cannot_be_told_apart_are_refused(tmp_path):
    path = write_list(tmp_path, "name,pre,post\nx,a.tif,b.tif\nx,a.tif,b.tif\n")
    with pytest.raises(ManifestError, match=r"line 3: .*'x'.* line 2"):
        read_manifest(path)
    path = write_list(tmp_path, "pre,post\na.tif,b.tif\na.tif,b.tif\n")
    with pytest.raises(ManifestError, match="twice, with the same images"):
        read_manifest(path)


def test_scenes_of_one_name_but_for_its_case_are_told_apart(tmp_path):
    path = write_list(tmp_path, "name,pre,post\nx/1,a.tif,b.tif\nX_1,a.tif,b.tif\n")
    first, second = (scene.name for scene in read_manifest(path))
    assert first == "x_1"
    assert re.fullmatch(r"X_1-[0-9a-f]{8}", second)


def test_missing_images_fail_later_unless_all_are_missing(tmp_path):
    text = "pre,post\nnone.tif,no*.tif\nb.tif,none.tif\n"
    assert len(read_manifest(write_list(tmp_path, text))) == 2
    with pytest.raises(ManifestError, match=r"none of its images.*none.tif: no such file"):
        read_manifest(write_list(tmp_path, "pre,post\nnone.tif,no*.tif\n"))


def test_what_is_no_list_is_refused(tmp_path):
    cases = {
        "a.csv": ("pre,post\n", "no scene in it"),
        "a.xlsx": ("x", "not a list of scenes"),
        "a.json": ("[1]", "not a JSON object"),
        "b.json": ('{"type": "Topology"}', "no GeoJSON FeatureCollection"),
        "c.json": ("{", "not JSON"),
        "d.json": ("[" * 100_000, "not JSON"),
        "e.json": ('{"type": "FeatureCollection", "features": []}', "no scene in it"),
    }
    for name, (text, message) in cases.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(ManifestError, match=message):
            read_manifest(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ManifestError, match="a pipe, not a file"):
        read_manifest(tmp_path / "pipe.csv")
    with pytest.raises(ManifestError, match="no such file"):
        read_manifest(tmp_path / "none")


def test_the_date_of_an_event_is_for_catalogues(folder):
    with pytest.raises(OptionError, match="--event-date"):
        read_manifest(folder, event_date="2026-02-06")
    with pytest.raises(OptionError, match="--asset"):
        read_manifest(folder, asset="visual")


# Names

ODD = st.one_of(st.text(), st.text(alphabet="./\\ aAéß-_\0\n", max_size=5), st.just("x" * 300))


@pytest.mark.slow
@given(ODD)
def test_any_text_becomes_a_safe_name(text):
    name = safe_name(text)
    assert re.fullmatch(r"[\w.\-]+", name)
    assert len(name.encode()) <= LONGEST_NAME
    assert name[0] not in ".-"
    assert name[-1] != "."
    assert safe_name(name) == name


@pytest.mark.slow
@given(st.text(alphabet="abcXYZ0189_", min_size=1, max_size=50))
def test_a_plain_name_stays_as_it_is(text):
    assert safe_name(f"a{text}z") == f"a{text}z"


@pytest.mark.slow
@given(st.lists(st.tuples(ODD, st.text(max_size=3)), unique=True, max_size=8))
def test_names_are_unique_whatever_their_case(wanted):
    found = unique_names(wanted)
    assert len(found) == len(wanted)
    assert len({name.casefold() for name in found}) == len(wanted)
    assert all(len(name.encode()) <= LONGEST_NAME for name in found)


# The plan


@pytest.mark.slow
def test_a_plan_says_what_assessing_takes(folder):
    manifest = read_manifest(folder)
    plans = list(plan_scenes(manifest, gsd=GSD, speed=0.001))
    for scene, plan in zip(manifest, plans, strict=True):
        assert plan.scene == scene
        with Scene.open(scene.pre, scene.post, gsd=GSD, examined=False) as opened:
            assert plan.megapixels == opened.region.size / 1e6
            assert plan.area_km2 == pytest.approx(opened.facts()["overlap_km2"], rel=1e-3)
        assert plan.seconds == pytest.approx(plan.megapixels * 1000)
        assert plan.notes == ()
    both, east, west = plans
    assert (both.overlap, west.overlap) == pytest.approx((1, 1))
    assert east.overlap == pytest.approx(28 / 32, rel=1e-3)
    assert west.megapixels == 64 * 64 / 1e6
    assert west.area_km2 == pytest.approx(32 * 32 / 1e6, rel=2e-3)


@pytest.mark.slow
def test_a_plan_tells_what_tiles_are_odd_and_what_scale_does_not_fit(tmp_path):
    path = write_list(tmp_path, "name,pre,post\na,a.tif,b.tif\n")
    (tmp_path / "b.tif.aux.xml").write_text("<PAMDataset><NoDataValue>9</NoDataValue>")
    (row,) = plan_scenes(read_manifest(path), gsd=GSD)
    assert row.is_usable
    assert any("b.tif.aux.xml says that 9 is no data" in note for note in row.notes)
    (row,) = plan_scenes(read_manifest(path), gsd=GSD, options=SceneOptions(scale=(0, 2047)))
    assert not row.is_usable
    assert "a.tif has 8 bits" in row.notes[0]


def test_a_plan_has_the_limit_of_open_files_that_assessing_has(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("geodamage.scene.image.allow_open_files", asked.append)
    path = write_list(tmp_path, "name,pre,post\na,a.tif|b.tif,b.tif\n")
    list(plan_scenes(read_manifest(path), gsd=GSD))
    assert asked == [2, 1]


def test_images_before_of_one_ground_are_named(tmp_path):
    for name in ("b", "a"):
        tile(tmp_path / "pre" / f"{name}.tif", 0)
    tile(tmp_path / "pre" / "c.tif", 30)  # an edge of it lies below
    tile(tmp_path / "post" / "a.tif", 0)
    (note,) = read_manifest(tmp_path).notes
    pre = tmp_path / "pre"
    assert note.startswith(f"{pre / 'a.tif'} and {pre / 'b.tif'} show the same ground, and both")
    assert f"pair with {tmp_path / 'post' / 'a.tif'}; the first is on top" in note


def test_a_plan_has_no_time_without_a_speed(folder):
    assert next(plan_scenes(read_manifest(folder), gsd=GSD)).seconds is None


@pytest.mark.slow
def test_a_plan_reads_no_pixels(folder, monkeypatch):
    from geodamage.scene.tiles import Tile

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("pixels were read")

    monkeypatch.setattr(Tile, "_read", refuse)
    assert len(list(plan_scenes(read_manifest(folder), gsd=GSD))) == 3


@pytest.mark.slow
def test_a_plan_knows_the_options_of_a_scene(tmp_path):
    area = {
        "type": "Polygon",
        "coordinates": [[[-85, 30], [-84, 30], [-84, 31], [-85, 31], [-85, 30]]],
    }
    (tmp_path / "far.geojson").write_text(json.dumps(area))
    make_raster(tmp_path / "five.tif", make_pixels(64, 64, channels=5))
    text = (
        "name,pre,post,bands,aoi,footprints\nplain,five.tif,five.tif,,,\n"
        'banded,five.tif,five.tif,"1,2,3",,\naway,a.tif,b.tif,,far.geojson,\n'
        "footless,a.tif,b.tif,,,none.gpkg\n"
    )
    manifest = read_manifest(write_list(tmp_path, text))
    plans = {plan.scene.name: plan for plan in plan_scenes(manifest, gsd=GSD)}
    assert "--bands" in plans["plain"].notes[0]
    assert plans["banded"].is_usable
    assert "area of interest does not meet" in plans["away"].notes[0]
    assert "none.gpkg: no such file" in plans["footless"].notes[0]


def test_the_options_of_all_hold_where_a_scene_has_none(tmp_path):
    make_raster(tmp_path / "five.tif", make_pixels(64, 64, channels=5))
    path = write_list(tmp_path, "pre,post\nfive.tif,five.tif\n")
    options = SceneOptions(pre_bands=(1, 2, 3), post_bands=(1, 2, 3))
    (plan,) = plan_scenes(read_manifest(path), gsd=GSD, options=options)
    assert plan.is_usable


def test_a_plan_warns_as_assessing_would(tmp_path):
    tile(tmp_path / "far.tif", 28)
    manifest = read_manifest(write_list(tmp_path, "pre,post\na.tif,far.tif\n"))
    (plan,) = plan_scenes(manifest, gsd=GSD)
    assert plan.overlap == pytest.approx(4 / 32, rel=1e-2)
    assert "are they of one place?" in plan.notes[0]


# Real images


@pytest.mark.slow
@pytest.mark.data
@needs()
def test_joplin_as_delivered_pairs_each_tile_after():
    """Four tiles before, EPSG:26915 at 0.6 m; six after, EPSG:4326, reaching beyond them."""
    manifest = read_manifest(DATA / "joplin")
    assert manifest.notes == ()
    assert {scene.name: len(scene.pre) for scene in manifest} == {
        "tile_31500-5137": 2,
        "tile_31500-6161": 1,
        "tile_32524-5137": 4,
        "tile_32524-6161": 2,
        "tile_33548-5137": 2,
        "tile_33548-6161": 1,
    }
    plans = list(plan_scenes(manifest, gsd=GSD, speed=1.0))
    assert all(plan.is_usable for plan in plans)
    assert sum(plan.area_km2 for plan in plans) == pytest.approx(1.14, rel=0.01)


@pytest.mark.data
@needs()
def test_an_xbd_pair_sorted_into_folders_is_a_scene(tmp_path):
    for date in ("pre", "post"):
        (tmp_path / date).mkdir()
        name = f"hurricane-michael_00000031_{date}_disaster.tif"
        (tmp_path / date / name).symlink_to(DATA / "xbd_geotiff" / name)
    (scene,) = read_manifest(tmp_path)
    assert scene.name == "hurricane-michael_00000031_post_disaster"
    (plan,) = plan_scenes([scene], gsd=GSD)
    assert plan.megapixels == pytest.approx(1, rel=0.1)
    assert np.isclose(plan.area_km2, 0.22, atol=0.03)
