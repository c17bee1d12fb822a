"""JPEG in YCbCr: decoded alike whatever JPEG library the wheel of rasterio has."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import rasterio

from geodamage.errors import SceneReadError
from geodamage.scene import jpeg
from geodamage.scene.sampling import sample_of
from geodamage.scene.tiles import open_tile
from geodamage.windows import Window
from tests.conftest import make_raster

STORED = {
    "tiles": {"tiled": True, "blockxsize": 32, "blockysize": 16},
    "strips": {"blockysize": 16},
    "blocks complete in themselves": {"blockysize": 16, "JPEGTABLESMODE": 0},
}


def colours(rows=55, columns=70):
    """Strong colours, a pixel wide in places: where chroma is enlarged, it shows."""
    return np.random.default_rng(3).integers(0, 2, (3, rows, columns), np.uint8) * np.uint8(255)


def make_jpeg(path, pixels=None, **how):
    pixels = colours() if pixels is None else pixels
    return make_raster(path, pixels, compress="jpeg", **{"photometric": "ycbcr", **how})


def whole_blocks(path):
    """Decode each block of a file by OpenCV, apart from the code that is tested."""
    content = path.read_bytes()
    with rasterio.open(path) as dataset:
        result = np.zeros((dataset.count, *dataset.shape), np.uint8)
        tables = dataset.get_tag_item("JPEGTABLES", "TIFF", bidx=1)
        for (row, column), window in dataset.block_windows(1):
            offset, size = (
                int(dataset.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=1))
                for what in ("OFFSET", "SIZE")
            )
            stream = content[offset : offset + size]
            if tables:
                stream = bytes.fromhex(tables)[:-2] + stream[2:]
            block = cv2.imdecode(np.frombuffer(stream, np.uint8), cv2.IMREAD_COLOR)
            place = tuple(slice(s.start, s.stop) for s in window.toslices())
            result[:, *place] = block.transpose(2, 0, 1)[::-1, : window.height, : window.width]
    return result


def damage(path, row, column, content):
    with rasterio.open(path) as dataset:
        offset, size = (
            int(dataset.get_tag_item(f"BLOCK_{what}_{column}_{row}", "TIFF", bidx=1))
            for what in ("OFFSET", "SIZE")
        )
    data = bytearray(path.read_bytes())
    data[offset : offset + size] = content(bytes(data[offset : offset + size]))
    path.write_bytes(data)


@pytest.fixture(params=[True, False], ids=["as the wheel does", "by OpenCV"])
def either_way(request, monkeypatch):
    """Read by what the wheel asks for, and by OpenCV even where the wheel does not need it."""
    if not request.param:
        monkeypatch.setattr("geodamage.scene.tiles.gdal_decodes_alike", lambda: False)


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize("stored", STORED)
def test_pixels_are_those_of_libjpeg_turbo(stored, tmp_path):
    path = make_jpeg(tmp_path / "a.tif", **STORED[stored])
    expected = whole_blocks(path)
    tile = open_tile(str(path), None, 3)
    assert np.array_equal(tile.read(tile.window)[0], expected)
    part = Window(13, 29, 22, 37)  # across blocks, and whole ones nowhere
    assert np.array_equal(tile.read(part)[0], expected[:, *part.slices])


@pytest.mark.usefixtures("either_way")
def test_channels_are_those_that_were_asked_for(tmp_path):
    path = make_jpeg(tmp_path / "a.tif")
    tile = open_tile(str(path), (3, 1, 1), 3)
    assert np.array_equal(tile.read(tile.window)[0], whole_blocks(path)[[2, 0, 0]])


@pytest.mark.usefixtures("either_way")
def test_a_block_that_the_file_leaves_out_is_not_valid(tmp_path):
    pixels = colours(32, 32)
    pixels[:, 16:] = 0
    path = make_jpeg(tmp_path / "a.tif", pixels, blockysize=16, SPARSE_OK=True)
    values, valid = open_tile(str(path), None, 3).read(Window(0, 0, 32, 32))
    assert values[:, :16].any()
    assert not values[:, 16:].any()
    assert not valid[16:].any()


@pytest.mark.usefixtures("either_way")
def test_a_block_that_is_cut_is_the_same_each_time(tmp_path, capfd):
    """libjpeg goes on after such damage, and says so on stderr; rasterio reads it as before."""
    path = make_jpeg(tmp_path / "a.tif", blockysize=32)
    damage(path, 0, 0, lambda data: data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    reads = [open_tile(str(path), None, 3).read(Window(0, 0, 55, 70))[0] for _ in range(2)]
    assert np.array_equal(*reads)
    assert reads[0].any()


@pytest.mark.usefixtures("either_way")
@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda data: bytes(len(data)), id="zeros"),
        pytest.param(lambda data: data.replace(b"\xff\xc0", b"\xff\xc5"), id="no frame"),
        pytest.param(
            lambda data: (
                (i := data.index(b"\xff\xc0") + 5)
                and data[:i] + b"\x40\x00\x40\x00" + data[i + 4 :]
            ),
            id="says it is huge",
        ),
    ],
)
def test_a_damaged_block_is_named(content, tmp_path):
    path = make_jpeg(tmp_path / "a.tif", blockysize=32)
    damage(path, 1, 0, content)
    tile = open_tile(str(path), None, 3)
    tile.read(Window(0, 0, 10, 70))
    with pytest.raises(SceneReadError, match=r"a\.tif: rows 32-54, .*the file is damaged"):
        tile.read(Window(40, 0, 10, 70))


def test_what_opencv_does_not_decode_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("geodamage.scene.tiles.gdal_decodes_alike", lambda: False)
    tile = open_tile(str(make_jpeg(tmp_path / "a.tif", blockysize=32)), None, 3)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: None)
    with pytest.raises(SceneReadError, match=r"a\.tif: the block in row 1, column 0 .*DEFLATE"):
        tile.read(Window(40, 0, 10, 70))


def test_few_decoded_blocks_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("geodamage.scene.tiles.gdal_decodes_alike", lambda: False)
    monkeypatch.setattr(jpeg, "KEPT_BYTES", 2 * 16 * 70 * 3)
    monkeypatch.setattr(jpeg, "_kept", jpeg._Kept())
    path = make_jpeg(tmp_path / "a.tif", blockysize=16)
    tile = open_tile(str(path), None, 3)
    for row in (0, 40, 16, 30, 0):
        part = Window(row, 0, 15, 70)
        assert np.array_equal(tile.read(part)[0], whole_blocks(path)[:, *part.slices])
    assert [key[1] for key in jpeg._kept._blocks] == [0, 1]  # the last read is 8 rows wider


def test_the_sidecar_names_the_decoder_of_such_images_only(tmp_path):
    facts = open_tile(str(make_jpeg(tmp_path / "a.tif")), None, 3).facts["jpeg"]
    assert facts["colours"] == "YCbCr"
    assert f"OpenCV {cv2.__version__}" in facts["decoder"]
    assert "jpeg" in facts["decoder"]
    assert ("GDAL" in facts["decoder"]) == jpeg.gdal_decodes_alike()
    for name, how in (("rgb", {"photometric": "rgb"}), ("plain", {"compress": "deflate"})):
        path = make_raster(tmp_path / f"{name}.tif", colours(), **{"compress": "jpeg", **how})
        assert "jpeg" not in open_tile(str(path), None, 3).facts


class Recorder:
    """An open dataset that counts the pixels of a channel that are read of it."""

    def __init__(self, dataset):
        self.dataset, self.pixels = dataset, []

    def __getattr__(self, name):
        return getattr(self.dataset, name)

    def read(self, *given, **options):
        window = options["window"]
        self.pixels.append(window.height * window.width)
        return self.dataset.read(*given, **options)


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A tile of 4 x 3 blocks of 16 x 32 pixels that OpenCV decodes and keeps no block of."""
    monkeypatch.setattr("geodamage.scene.tiles.gdal_decodes_alike", lambda: False)
    monkeypatch.setattr(jpeg, "KEPT_BYTES", 0)
    tile = open_tile(str(make_jpeg(tmp_path / "a.tif", **STORED["tiles"])), None, 3)
    # With a value of no pixel as nodata nothing is read around a window.
    return replace(tile, dataset=Recorder(tile.dataset), nodata=(-1.0,) * 3)


def test_gdal_reads_each_block_once(recorded):
    expected = whole_blocks(Path(recorded.name))
    part = Window(16, 0, 32, 64)  # 2 x 2 whole blocks
    assert np.array_equal(recorded.read(part)[0], expected[:, *part.slices])
    assert recorded.dataset.pixels == [part.size]
    inner = Window(20, 3, 20, 40)
    assert np.array_equal(recorded.read(inner)[0], expected[:, *inner.slices])
    assert recorded.dataset.pixels == [part.size]
    # Beside them: the blocks of the third column alone.
    wide = Window(16, 10, 32, 60)
    assert np.array_equal(recorded.read(wide)[0], expected[:, *wide.slices])
    assert recorded.dataset.pixels == [part.size, 32 * 6]
    assert np.array_equal(recorded.read(recorded.window)[0], expected)
    assert recorded.dataset.pixels[2:] == [recorded.window.size]


def test_a_sample_of_grey_levels_that_do_not_count_is_decoded_once(recorded, monkeypatch):
    plain, streams = replace(recorded, nodata=None), []
    with monkeypatch.context() as watched:
        watched.setattr(jpeg, "decode", lambda *given: streams.append(given))
        sample = sample_of([plain])
    assert not streams
    assert sample.pixels.shape[1] == plain.window.size
    looked_at = list(recorded.dataset.pixels)
    assert sum(looked_at) >= recorded.window.size
    # What is read later is OpenCV's all the same, and GDAL need not look again.
    assert np.array_equal(plain.read(plain.window)[0], whole_blocks(Path(plain.name)))
    assert recorded.dataset.pixels == looked_at


def test_a_sample_that_looks_for_nodata_has_the_pixels_of_results(recorded):
    expected = whole_blocks(Path(recorded.name))
    value = expected[:, 20, 30]
    hidden = (expected == value[:, None, None]).all(0)
    sample = sample_of([replace(recorded, nodata=tuple(map(float, value)))])
    assert sample.has_missing
    assert sample.pixels.shape[1] == hidden.size - hidden.sum()


def test_a_block_that_changes_after_the_sample_is_refused(recorded):
    plain = replace(recorded, nodata=None)
    sample_of([plain])
    damage(Path(plain.name), 1, 1, lambda data: data[:-8] + bytes(8))
    with pytest.raises(SceneReadError, match="was changed while it was read"):
        plain.read(plain.window)


def test_a_block_that_changes_between_two_reads_is_refused(recorded):
    recorded.read(recorded.window)
    damage(Path(recorded.name), 1, 1, lambda data: data[:-8] + bytes(8))
    with pytest.raises(SceneReadError, match="was changed while it was read"):
        recorded.read(recorded.window)
