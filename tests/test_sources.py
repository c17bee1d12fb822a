import os
import socket
import time

import numpy as np
import pytest
import rasterio
from affine import Affine
from conftest import make_pixels
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

from geodamage.errors import OptionError, SceneError, SceneReadError
from geodamage.sources import choose_channels, find, open_tile
from geodamage.windows import Window

C = ColorInterp
RGB = (C.red, C.green, C.blue)


def names(found):
    return [os.path.basename(name) for name in found]


@pytest.fixture
def folder(raster, tmp_path):
    for name in ("b.tif", "a.TIFF", "c.TIF"):
        raster(f"tiles/{name}", make_pixels(8, 8))
    (tmp_path / "tiles/deep.tif.d").mkdir()
    (tmp_path / "tiles/notes.txt").write_text("x")
    return tmp_path / "tiles"


def test_find_one_file(folder):
    assert find(folder / "b.tif") == [str(folder / "b.tif")]


def test_find_in_a_folder(folder):
    assert names(find(folder)) == ["a.TIFF", "b.tif", "c.TIF"]


def test_find_by_glob(folder):
    assert names(find(f"{folder}/[bc].*")) == ["b.tif", "c.TIF"]
    with pytest.raises(SceneReadError, match="no file matches"):
        find(f"{folder}/z*.tif")


def test_find_prefers_a_file_to_a_glob(raster):
    path = raster("odd [1]*.tif", make_pixels(8, 8))
    assert find(path) == [str(path)]


def test_find_by_list(folder):
    (folder / "list.txt").write_text("# tiles\n\nc.TIF\n../tiles/b.tif\n")
    assert names(find(f"@{folder / 'list.txt'}")) == ["c.TIF", "b.tif"]
    (folder / "list.txt").write_text("# none\n")
    with pytest.raises(SceneReadError, match="names no file"):
        find(f"@{folder / 'list.txt'}")
    with pytest.raises(SceneReadError, match="not a list of files"):
        (folder / "list.txt").write_bytes(b"\xff\xfe\x80")
        find(f"@{folder / 'list.txt'}")


def test_find_in_a_sequence(folder):
    assert names(find([folder / "c.TIF", str(folder / "b.tif")])) == ["c.TIF", "b.tif"]
    with pytest.raises(SceneReadError, match="no image given"):
        find([])


def test_find_remote_only_when_allowed():
    url = "https://example.org/pre.tif?x=1"
    with pytest.raises(SceneReadError, match="--allow-remote"):
        find(url)
    assert find(url, allow_remote=True) == ["/vsicurl/https://example.org/pre.tif?x=1"]
    assert find("s3://bucket/pre.tif", allow_remote=True) == ["/vsis3/bucket/pre.tif"]
    with pytest.raises(SceneReadError, match="ftp:// is not read"):
        find("ftp://example.org/pre.tif", allow_remote=True)


@pytest.mark.parametrize(
    "name",
    [
        "/vsicurl/http://127.0.0.1:9/x.tif",
        "/vsizip/x.zip/x.tif",
        "/VSIMEM/x.tif",
        "GTIFF_DIR:1:/etc/passwd",
        "MEM:::DATAPOINTER=1",
        "<VRTDataset/>",
        "a\0b.tif",
        "missing.tif",
        "zip://x.zip!x.tif",
    ],
)
@pytest.mark.parametrize("allow_remote", [False, True])
def test_find_refuses_what_is_not_a_path(name, allow_remote):
    with pytest.raises(SceneReadError) as error:
        find(name, allow_remote=allow_remote)
    assert "\n" not in str(error.value)


def test_find_refuses_what_is_not_a_file_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.tif")
    (tmp_path / "folder.tif").mkdir()
    (tmp_path / "dangling.tif").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.tif").symlink_to(tmp_path / "loop.tif")
    (tmp_path / "empty.tif").touch()
    start = time.monotonic()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.tif"))
        for name, why in [
            ("pipe.tif", "a pipe"),
            ("folder.tif", "no .tif"),
            ("dangling.tif", "leads nowhere"),
            ("loop.tif", "leads nowhere"),
            ("empty.tif", "empty"),
            ("s.tif", "a socket"),
            ("/dev/zero", "a device"),
        ]:
            with pytest.raises(SceneReadError, match=why):
                find(str(tmp_path / name))
    assert time.monotonic() - start < 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_find_refuses_an_unreadable_file(raster):
    path = raster("secret.tif", make_pixels(8, 8))
    path.chmod(0)
    with pytest.raises(SceneReadError, match="permission denied"):
        find(path)


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
        ((C.gray,), r"1 channel\(s\), and the model takes 3.*--bands 1,1,1"),
        ((C.gray, C.alpha), r"2 channel\(s\) with alpha.*--bands 1,2,2"),
        ((*RGB, C.undefined), r"4 channel\(s\), .*--bands 1,2,3"),
        ((C.undefined,) * 8, r"8 channel\(s\)"),
        ((C.blue, C.green, C.red), "blue, green, red; give --bands 3,2,1"),
        ((C.alpha, C.blue, C.red, C.green), "give --bands 3,4,2"),
        ((C.palette,), "palette.*-expand rgb"),
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
        ({"crs": LOCAL}, "not a CRS of the Earth"),
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
    monkeypatch.setattr("geodamage.sources.LARGEST_BLOCK", 64 * 64 * 3 - 1)
    path = raster(
        "a.tif", make_pixels(64, 64), tiled=True, blockxsize=64, blockysize=64, interleave="pixel"
    )
    with pytest.raises(SceneError, match="blocks of 64 x 64 pixels"):
        open_tile(str(path), None, 3)


def test_blocks_are_spread_and_small(raster):
    path = raster("a.tif", make_pixels(700, 300), tiled=True, blockxsize=1024, blockysize=1024)
    tile = open_tile(str(path), None, 3)
    (block,) = tile.blocks(64)
    assert block == Window(94, 0, 512, 300)
    tile.dataset.close()
    tile = open_tile(str(raster("b.tif", make_pixels(64, 16), blockysize=1)), None, 3)
    assert [block.row for block in tile.blocks(4)] == [0, 21, 42, 63]
    tile.dataset.close()
