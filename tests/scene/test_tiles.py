import os

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from geodamage.errors import OptionError, SceneError, SceneReadError
from geodamage.scene.channels import choose_channels
from geodamage.scene.opening import CACHE_BYTES
from geodamage.scene.tiles import LARGEST_BLOCK, open_tile
from geodamage.windows import Window
from tests.conftest import UTM, make_pixels

C = ColorInterp
RGB = (C.red, C.green, C.blue)


@pytest.mark.parametrize(
    ("tags", "asked", "wanted", "expected"),
    [
        (RGB, None, 3, ((1, 2, 3), None)),
        ((C.gray, C.undefined, C.undefined), None, 3, ((1, 2, 3), None)),
        ((*RGB, C.alpha), None, 3, ((1, 2, 3), 4)),
        ((C.alpha, *RGB), None, 3, ((2, 3, 4), 1)),
        ((*RGB, C.undefined), (1, 2, 3), 3, ((1, 2, 3), None)),
        ((*RGB, C.alpha), (3, 2, 1), 3, ((3, 2, 1), 4)),
        ((*RGB, C.alpha), (4, 4, 4), 3, ((4, 4, 4), None)),
        ((C.gray,), (1, 1, 1), 3, ((1, 1, 1), None)),
        ((C.gray,), None, 1, ((1,), None)),
    ],
)
def test_choose_channels(tags, asked, wanted, expected):
    assert choose_channels("x.tif", tags, asked, wanted) == expected


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ((C.gray,), r"1 channel, and the model takes 3.*--bands 1,1,1"),
        ((C.gray, C.alpha), r"2 channels with alpha.*--bands 1,1,1"),
        ((*RGB, C.undefined), r"4 channels, .*--bands 1,2,3"),
        ((C.undefined,) * 8, r"8 channels"),
        ((C.blue, C.green, C.red), "blue, green, red; give --bands 3,2,1"),
        ((C.alpha, C.blue, C.red, C.green), "give --bands 3,4,2"),
    ],
)
def test_choose_channels_asks_rather_than_guesses(tags, message):
    with pytest.raises(SceneError, match=message):
        choose_channels("x.tif", tags, None, 3)


@pytest.mark.parametrize("asked", [(1, 2), (0, 1, 2), (1, 2, 4), (-1, 1, 1)])
def test_choose_channels_refuses_wrong_numbers(asked):
    with pytest.raises(OptionError, match="--bands"):
        choose_channels("x.tif", RGB, asked, 3)


def open_and_read(path, asked=None):
    tile = open_tile(str(path), asked, 3)
    try:
        return tile.read(tile.window)
    finally:
        tile.dataset.close()


def test_read_plain(raster):
    pixels = make_pixels(20, 30)
    found, valid = open_and_read(raster("a.tif", pixels))
    assert np.array_equal(found, pixels)
    assert valid.all()


def test_read_chosen_channels(raster):
    pixels = make_pixels(20, 30, channels=5)
    found, _ = open_and_read(raster("a.tif", pixels), (4, 2, 4))
    assert np.array_equal(found, pixels[[3, 1, 3]])


def test_nodata_is_where_all_channels_have_it(raster):
    pixels = make_pixels(8, 8)
    pixels[:, 2, 3] = 255
    pixels[0, 4, 4] = 255
    _, valid = open_and_read(raster("a.tif", pixels.clip(1, 255), nodata=255))
    assert not valid[2, 3]
    assert valid[4, 4]


def test_mask(raster):
    mask = np.full((8, 8), 255, np.uint8)
    mask[1, 2] = 0
    found, valid = open_and_read(raster("a.tif", make_pixels(8, 8), mask=mask))
    assert np.argwhere(~valid).tolist() == [[1, 2]]
    assert not found[:, 1, 2].any()


def test_alpha(raster):
    pixels = make_pixels(8, 8, channels=4)
    pixels[3] = 255
    pixels[3, 5, 6] = 0
    path = raster("a.tif", pixels, photometric="RGB", alpha="YES")
    found, valid = open_and_read(path)
    assert len(found) == 3
    assert np.argwhere(~valid).tolist() == [[5, 6]]


def test_infinity_and_nan_are_not_valid(raster):
    pixels = make_pixels(8, 8).astype(np.float32)
    pixels[1, 2, 3], pixels[0, 4, 5] = np.nan, -np.inf
    found, valid = open_and_read(raster("a.tif", pixels))
    assert np.argwhere(~valid).tolist() == [[2, 3], [4, 5]]
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("fill", "tag"),
    [
        (-3.4028234663852886e38, -3.402823e38),  # a tag of fewer digits
        (-3.4028234663852886e38, None),
        (1e38, None),
        (-9999.0, -9999.0),
        (-32767.002, -32767.0),
    ],
)
def test_fill_of_floats_is_not_valid(raster, fill, tag):
    pixels = make_pixels(8, 8).astype(np.float32)
    pixels[:, 2, 3] = fill
    found, valid = open_and_read(raster("a.tif", pixels, nodata=tag))
    assert np.argwhere(~valid).tolist() == [[2, 3]]
    assert found[:, 2, 3].tolist() == [0, 0, 0]


def test_a_float_near_the_nodata_value_is_valid(raster):
    pixels = make_pixels(8, 8).astype(np.float32)
    pixels[:, 2, 3], pixels[:, 4, 5] = -9998.9, 1e-6
    for tag in (-9999.0, 0.0):
        assert open_and_read(raster("a.tif", pixels, nodata=tag))[1].all()


def collared(size=64):
    pixels = make_pixels(size, size)
    pixels[:, :12] = 0
    pixels[:, 30:36, 30:36] = 0  # a dark roof
    pixels[0, :, :20] = 0  # dark in one channel
    return pixels


def test_a_black_collar_is_not_valid_and_a_dark_roof_is(raster):
    _, valid = open_and_read(raster("a.tif", collared()))
    assert not valid[:12].any()
    assert valid[12:].all()


def test_black_is_valid_where_the_file_says_what_is_not(raster):
    _, valid = open_and_read(raster("a.tif", collared(), nodata=255))
    assert valid[:12].all()


def test_collar_does_not_depend_on_the_window(raster):
    pixels = make_pixels(60, 60)
    pixels[:, np.random.default_rng(1).random((60, 60)) < 0.97] = 0
    pixels[:, 5:22, 30:45] = 0
    tile = open_tile(str(raster("a.tif", pixels)), None, 3)
    _, whole = tile.read(tile.window)
    assert 0 < (~whole).sum() < whole.size
    for row in range(0, 60, 7):
        for column in range(0, 60, 11):
            window = Window(row, column, 7, 11) & tile.window
            assert np.array_equal(tile.read(window)[1], whole[window.slices])
    tile.dataset.close()


def test_a_vrt_named_tif_is_refused(raster, tmp_path):
    inner = raster("inner.tif", make_pixels(8, 8))
    path = tmp_path / "evil.tif"
    path.write_text(
        f'<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{inner}</SourceFilename></SimpleSource>"
        "</VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(SceneReadError, match="not a GeoTIFF"):
        open_tile(str(path), None, 3)


@pytest.mark.parametrize("content", [b"II*\0", b"II*\0\x08\0\0\0", b"\x89PNG\r\n\x1a\n", b"{}"])
def test_what_is_no_geotiff_is_refused(tmp_path, content):
    path = tmp_path / "a.tif"
    path.write_bytes(content)
    with pytest.raises(SceneReadError, match="not a GeoTIFF"):
        open_tile(str(path), None, 3)


def test_a_truncated_file_is_refused_where_it_is_read(raster):
    path = raster("a.tif", make_pixels(256, 256), tiled=True, blockxsize=64, blockysize=64)
    os.truncate(path, path.stat().st_size // 2)
    tile = open_tile(str(path), None, 3)
    with pytest.raises(SceneReadError, match=r"a\.tif: rows 0-255, columns 0-255 .*damaged"):
        tile.read(tile.window)
    tile.dataset.close()


def test_a_sidecar_cannot_name_other_files(raster, tmp_path):
    path = raster("a.tif", make_pixels(64, 64))
    (tmp_path / "a.tif.aux.xml").write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/vsicurl/http://'
        "127.0.0.1:9/x</MDI></Metadata><GeoTransform>0,1,0,0,0,-1</GeoTransform></PAMDataset>"
    )
    tile = open_tile(str(path), None, 3)
    assert tile.grid.transform.a == 0.5
    assert tile.overview(10_000) is None
    tile.dataset.close()


def test_a_tag_cannot_name_other_files(raster):
    path = raster("a.tif", make_pixels(64, 64))
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/etc/passwd")
    with pytest.raises(SceneReadError, match="names another file"):
        open_tile(str(path), None, 3)


LOCAL = 'LOCAL_CS["site",UNIT["metre",1],AXIS["E",EAST],AXIS["N",NORTH]]'


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crs": None}, "has no CRS"),
        ({"crs": LOCAL}, "PROJ does not know its CRS, 'site'"),
        ({"crs": "EPSG:4978"}, "not a CRS of the Earth"),
        ({"transform": Affine.identity()}, "not georeferenced"),
        ({"transform": Affine(0, 0, 5, 0, 0, 6)}, "is not one"),
        ({"transform": Affine(np.nan, 0, 5, 0, 1, 6)}, "is not one"),
        ({"transform": Affine(np.inf, 0, 5, 0, 1, 6)}, "is not one"),
    ],
)
def test_what_lies_nowhere_is_refused(raster, options, message):
    path = raster("a.tif", make_pixels(8, 8), **options)
    with pytest.raises(SceneError, match=message):
        open_tile(str(path), None, 3)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_control_points_only_is_refused_with_a_hint(raster):
    path = raster("a.tif", make_pixels(8, 8), crs=None, transform=Affine.identity())
    with rasterio.open(path, "r+") as dataset:
        points = [GroundControlPoint(r, c, 10 + c, 20 - r) for r in (0, 8) for c in (0, 8)]
        dataset.gcps = points, rasterio.crs.CRS.from_epsg(4326)
    with pytest.raises(SceneError, match="gdalwarp"):
        open_tile(str(path), None, 3)


@pytest.mark.parametrize("dtype", ["int16", "uint32", "int32", "complex64", "int8"])
def test_other_types_are_refused(raster, dtype):
    path = raster("a.tif", make_pixels(8, 8).astype(dtype))
    with pytest.raises(SceneError, match=rf"{dtype} pixels are not read.*gdal_translate"):
        open_tile(str(path), None, 3)


def test_a_block_too_large_to_unpack_is_refused(raster, monkeypatch):
    monkeypatch.setattr("geodamage.scene.tiles.LARGEST_BLOCK", 64 * 64 * 3 - 1)
    path = raster(
        "a.tif", make_pixels(64, 64), tiled=True, blockxsize=64, blockysize=64, interleave="pixel"
    )
    with pytest.raises(SceneError, match="blocks of 64 x 64 pixels"):
        open_tile(str(path), None, 3)


def test_a_block_of_each_date_fits_into_the_cache(raster):
    assert 2 * LARGEST_BLOCK <= CACHE_BYTES
    path = raster(
        "a.tif", np.zeros((3, 16, 16), np.uint8), tiled=True, compress="deflate",
        blockxsize=4736, blockysize=4736, interleave="pixel",
    )  # fmt: skip
    with pytest.raises(SceneError, match=r"each 64 MB unpacked and over 64 MB; .* TILED=YES"):
        open_tile(str(path), None, 3)


@pytest.mark.parametrize("reversible", ["YES", "NO"])
def test_jpeg_2000_is_read_by_its_content(raster, reversible):
    pixels = make_pixels(300, 200)
    path = raster("a.tif", pixels)
    with rasterio.open(path) as source:
        profile = {**source.profile, "driver": "JP2OpenJPEG", "REVERSIBLE": reversible}
        profile |= {"QUALITY": 100 if reversible == "YES" else 25, "BLOCKXSIZE": 128}
    for key in ("tiled", "interleave", "blockxsize", "blockysize", "photometric", "nodata"):
        profile.pop(key, None)
    with rasterio.open(path.with_name("b.jp2"), "w", **profile) as target:
        target.write(pixels)
    path.with_name("b.jp2").rename(path)
    tile = open_tile(str(path), None, 3)
    assert tile.dataset.driver == "JP2OpenJPEG"
    whole, valid = tile.read(tile.window)
    assert valid.all()
    assert np.array_equal(whole, pixels) == (reversible == "YES")
    part, _ = tile.read(Window(90, 70, 100, 60))
    assert np.array_equal(part, whole[:, 90:190, 70:130])
    windows, is_whole = tile.parts(4)
    assert is_whole
    assert windows
    tile.dataset.close()


@pytest.mark.parametrize(
    ("layout", "largest"),
    [
        ({"blockysize": 1}, (87, 3000)),
        ({"blockysize": 100}, (100, 2621)),
        ({"blockysize": 690}, (512, 512)),
        ({"tiled": True, "blockxsize": 256, "blockysize": 256}, (512, 512)),
        ({"tiled": True, "blockxsize": 1024, "blockysize": 1024}, (512, 512)),
    ],
)
def test_parts_of_a_small_image_are_all_of_it(raster, layout, largest):
    path = raster("a.tif", make_pixels(700, 3000), **layout)
    tile = open_tile(str(path), None, 3)
    windows, is_whole = tile.parts(64)
    tile.dataset.close()
    assert is_whole
    seen = np.zeros((700, 3000), np.uint8)
    for window in windows:
        seen[window.slices] += 1
    assert (seen == 1).all()
    assert windows[0].shape == largest


def test_few_parts_are_spread_over_rows_and_columns(raster):
    path = raster("a.tif", make_pixels(640, 960), tiled=True, blockxsize=16, blockysize=16)
    tile = open_tile(str(path), None, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geodamage.scene.tiles.PART", 16)
        windows, is_whole = tile.parts(64)
    tile.dataset.close()
    assert not is_whole
    assert 60 < len(windows) <= 64
    assert {window.shape for window in windows} == {(16, 16)}
    for eighth in range(8):
        assert 6 <= sum(80 * eighth <= window.row < 80 * (eighth + 1) for window in windows) <= 10
        found = sum(120 * eighth <= window.column < 120 * (eighth + 1) for window in windows)
        assert 6 <= found <= 10


def test_parts_that_the_file_does_not_hold_are_left_out(tmp_path):
    with rasterio.open(
        tmp_path / "a.tif", "w", driver="GTiff", count=3, dtype="uint8", width=1024, height=1024,
        crs=UTM, transform=Affine(0.5, 0, 0, 0, -0.5, 0), SPARSE_OK=True, tiled=True,
        blockxsize=256, blockysize=256, photometric="RGB",
    ) as dataset:  # fmt: skip
        dataset.write(make_pixels(8, 8), window=rasterio.windows.Window(600, 100, 8, 8))
    tile = open_tile(str(tmp_path / "a.tif"), None, 3)
    found = tile.parts(64)
    tile.dataset.close()
    assert found == ([Window(0, 512, 512, 512)], True)
