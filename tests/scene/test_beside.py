"""What stands beside an image: what is let near it, and what is named instead of read."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import rasterio

from geodamage.errors import SceneError, SceneReadError
from geodamage.scene.beside import require_unchanged
from geodamage.scene.tiles import open_tile
from geodamage.windows import Window
from tests.conftest import UTM, make_pixels, make_raster, run_command

WHOLE = Window(0, 0, 40, 50)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tif.ovr", b"<VRTDataset/>"),
        ("a.TIF.MSK", b"hello"),
        ("a.tif.msk.ovr", b""),
        ("a.aux", b"EHFA_HEADER_TAG\0"),
    ],
)
def test_only_a_tiff_is_let_near_an_image(raster, tmp_path, name, content):
    path = raster("a.tif", make_pixels(40, 50))
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SceneReadError, match=f"{name} beside it .* no TIFF; move it away"):
        open_tile(str(path), None, 3)


def overviews_naming(path, other, shape):
    """Write overviews beside an image that name a file as overviews of their own."""
    with rasterio.open(
        path, "w", driver="GTiff", count=3, height=shape[0], width=shape[1], dtype="uint8", crs=UTM
    ) as dataset:
        dataset.write(np.full((3, *shape), 77, np.uint8))
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=str(other))


@pytest.mark.parametrize("name", ["a.tif.ovr", "a.tif.msk", "a.tif.msk.ovr"])
def test_a_tiff_beside_an_image_names_no_further_file(raster, tmp_path, name):
    """GDAL would take overviews from there, whatever it is: the file named here is harmless."""
    path = raster("a.tif", make_pixels(40, 60))
    named = raster("named.tif", np.full((3, 10, 15), 99, np.uint8))
    overviews_naming(tmp_path / name, named, (20, 30))
    with pytest.raises(SceneReadError, match=rf"{name}: names another file as its overviews"):
        open_tile(str(path), None, 3)
    with rasterio.open(tmp_path / name, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="")
    with rasterio.open(path, driver="GTiff") as dataset:
        assert str(named) not in dataset.files


@pytest.mark.parametrize("name", ["a.tif.ovr", "a.tif.msk"])
def test_a_tiff_beside_an_image_that_is_damaged_is_refused(raster, tmp_path, name):
    path = raster("a.tif", make_pixels(40, 50))
    (tmp_path / name).write_bytes(path.read_bytes()[:100])
    with pytest.raises(SceneReadError, match=rf"a\.tif: {name} beside it is damaged .*; make it"):
        open_tile(str(path), None, 3)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["assess", "buildings", "batch", "batch --dry-run"])
def test_every_command_looks_at_what_lies_beside_an_image(pair, model, tmp_path, command):
    """What is named would be noticed: it shows other pixels, and nothing may be written to it."""
    folder = tmp_path / "in"
    folder.mkdir()
    copies = [Path(shutil.copy(path, folder)) for path in pair]
    named = make_raster(tmp_path / "named.tif", make_pixels(32, 40))
    before = named.read_bytes()
    overviews_naming(folder / f"{copies[0].name}.ovr", named, (64, 80))
    listed = tmp_path / "list.csv"
    listed.write_text(f"name,pre,post\na,{copies[0]},{copies[1]}\n")
    verb, *options = command.split()
    inputs = {"assess": copies, "buildings": copies[:1], "batch": [listed]}[verb]
    output = tmp_path / ("out" if verb == "batch" else "out.geojson")
    result = run_command(verb, *inputs, "-o", output, "--model", model, *options)
    assert result.exit_code != 0 or options == ["--dry-run"]
    assert "names another file as its overviews; remove that tag" in result.stderr + result.stdout
    assert named.read_bytes() == before
    assert not list(folder.glob("*.aux.xml"))


@pytest.mark.parametrize("name", ["b.tif.ovr", "a.tif.txt", "a.aux", "a.tif.ovr.txt"])
def test_what_is_called_otherwise_does_not_matter(raster, tmp_path, name):
    path = raster("a.tif", make_pixels(40, 50))
    (tmp_path / name).write_text("hello")
    assert open_tile(str(path), None, 3).notes == ()


def test_overviews_beside_an_image_are_used(raster):
    path = raster("a.tif", make_pixels(600, 600))
    raster("half.tif", make_pixels(300, 300)).rename(path.with_name("a.tif.ovr"))
    pixels, _ = open_tile(str(path), None, 3).overview(300 * 300)
    assert pixels.shape == (3, 300, 300)


def test_a_mask_for_each_channel_counts(raster, tmp_path):
    path = raster("a.tif", make_pixels(40, 50))
    masks = np.full((3, 40, 50), 255, np.uint8)
    masks[0, :, 40:], masks[2, :5] = 0, 0
    with rasterio.open(
        tmp_path / "a.tif.msk", "w", driver="GTiff", count=3, height=40, width=50, dtype="uint8",
        crs=UTM,
    ) as dataset:  # fmt: skip
        dataset.write(masks)
        dataset.update_tags(**{f"INTERNAL_MASK_FLAGS_{index}": 0 for index in (1, 2, 3)})
    tile = open_tile(str(path), None, 3)
    _, valid = tile.read(WHOLE)
    assert np.array_equal(valid, masks.all(axis=0))
    green, _ = open_tile(str(path), (2, 2, 2), 3).read(WHOLE)
    assert green.any(axis=0).all()


def write_mask(path, shape, **options):
    with rasterio.open(
        path, "w", driver="GTiff", count=1, height=shape[0], width=shape[1], dtype="uint8", crs=UTM,
        **options,
    ) as dataset:  # fmt: skip
        dataset.write(np.full((1, *shape), 255, np.uint8))
        dataset.update_tags(INTERNAL_MASK_FLAGS_1=2)


def test_a_mask_of_another_size_is_refused_by_its_name(raster, tmp_path):
    path = raster("a.tif", make_pixels(40, 50))
    write_mask(tmp_path / "a.tif.msk", (20, 25))
    with pytest.raises(SceneError, match=r"a\.tif\.msk beside it has 20 x 25 .* 40 x 50; make"):
        open_tile(str(path), None, 3)


def test_a_mask_has_the_limits_of_an_image(raster, tmp_path, monkeypatch):
    path = raster("a.tif", make_pixels(40, 50))
    write_mask(tmp_path / "a.tif.msk", (40, 50), tiled=True, blockxsize=512, blockysize=512)
    open_tile(str(path), None, 3).dataset.close()
    monkeypatch.setattr("geodamage.scene.tiles.LARGEST_BLOCK", 512 * 512 - 1)
    with pytest.raises(SceneError, match=r"a\.tif\.msk: blocks of 512 x 512 pixels"):
        open_tile(str(path), None, 3)


def test_a_mask_that_changes_is_noticed(raster, tmp_path):
    path = raster("a.tif", make_pixels(40, 50))
    write_mask(tmp_path / "a.tif.msk", (40, 50))
    seen = open_tile(str(path), None, 3).seen
    require_unchanged(seen)
    os.utime(tmp_path / "a.tif.msk", ns=(0, 0))
    with pytest.raises(SceneReadError, match=r"a\.tif\.msk: was changed while it was read"):
        require_unchanged(seen)


def test_several_that_say_where_an_image_is_valid_are_named(raster):
    mask = np.full((40, 50), 255, np.uint8)
    path = raster("a.tif", make_pixels(40, 50), nodata=0, mask=mask)
    (note,) = open_tile(str(path), None, 3).notes
    assert "a mask and a nodata value" in note


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\x89PNG\r\n\x1a\n", "a PNG that nothing places"),
        (b"\xff\xd8\xff\xe0", "a JPEG that nothing places"),
        (b"<VRTDataset/>", "a virtual file"),
        (b"PK\3\4", "a ZIP"),
        (b"<html></html>", "an error saved"),
    ],
)
def test_what_is_no_geotiff_is_called_by_its_name(tmp_path, content, told):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(SceneReadError, match=f"not a GeoTIFF.*it is .*{told}|{told}"):
        open_tile(str(path), None, 3)


@pytest.mark.parametrize(
    ("name", "world"),
    [
        ("a.png", "a.pgw"),
        ("a.png", "a.PGW"),
        ("a.png", "a.pngw"),
        ("a.jpg", "a.jgw"),
        ("a.jpeg", "a.wld"),
        ("a.png", "a.png.aux.xml"),
    ],
)
def test_what_places_a_picture_is_named_with_the_command(tmp_path, name, world):
    head = b"\x89PNG" if name.endswith("png") else b"\xff\xd8\xff"
    (tmp_path / name).write_bytes(head)
    (tmp_path / world).write_text("<PAMDataset><GeoTransform>0</GeoTransform></PAMDataset>")
    command = f"gdal_translate -a_srs EPSG:nnnn -of COG {name} new.tif"
    with pytest.raises(SceneReadError, match=f"placed by {world}; write it out with {command}"):
        open_tile(str(tmp_path / name), None, 3)
