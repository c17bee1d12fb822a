import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS, Transformer

from geodamage.errors import OptionError, SceneError
from geodamage.scene.image import open_image
from geodamage.scene.lattice import Lattice
from geodamage.scene.stretch import ALONE
from geodamage.windows import Window
from tests.conftest import CORNER, UTM, make_pixels, make_raster

HALF_METRE = Lattice(CRS.from_user_input(UTM), 0.5, 0.0, 0.0)
PLACE = Window(-round(CORNER[1] / 0.5), round(CORNER[0] / 0.5), 64, 64)


def open_plain(source, **options):
    settings = {"bands": None, "channels": 3, "scale": None, "allow_remote": False} | options
    return open_image("pre", source, **settings)


def read(source, lattice=HALF_METRE, window=PLACE, **options):
    image = open_plain(source, **options)
    try:
        return image.read(lattice, window)
    finally:
        image.close()


def placed(column, row, size=0.5):
    return Affine(size, 0, CORNER[0] + column * 0.5, 0, -size, CORNER[1] - row * 0.5)


def test_read_on_its_own_lattice_is_the_file(raster):
    pixels = make_pixels(64, 64)
    patch = read(raster("a.tif", pixels))
    assert np.array_equal(patch.values, pixels)
    assert patch.valid.all()


def test_read_beyond_the_image_is_missing(raster):
    pixels = make_pixels(64, 64)
    patch = read(raster("a.tif", pixels), window=PLACE.shift(10, -5))
    assert np.array_equal(patch.values[:, :54, 5:], pixels[:, 10:, :59])
    assert patch.valid.sum() == 54 * 59
    assert not patch.values[:, ~patch.valid].any()


@pytest.mark.parametrize("lattice", [HALF_METRE, Lattice(HALF_METRE.crs, 0.5, 0.2, 0.13)])
def test_tiles_equal_one_file(raster, tmp_path, lattice):
    pixels = make_pixels(64, 64)
    whole = read(raster("whole.tif", pixels), lattice)
    for row, column in [(0, 0), (0, 40), (24, 0), (24, 40)]:
        part = pixels[:, row : row + 40, column : column + 40]
        raster(f"tiles/{row}-{column}.tif", part, transform=placed(column, row))
    tiles = read(tmp_path / "tiles", lattice)
    assert np.array_equal(tiles.values, whole.values)
    assert np.array_equal(tiles.valid, whole.valid)


def test_the_first_valid_tile_wins(raster):
    first, second = make_pixels(64, 64, seed=1), make_pixels(64, 64, seed=2)
    first[:, :20] = 0
    paths = [raster("a.tif", first, nodata=0), raster("b.tif", second, nodata=0)]
    patch = read(paths)
    assert np.array_equal(patch.values[:, 20:], first[:, 20:])
    assert np.array_equal(patch.values[:, :20], second[:, :20])
    assert np.array_equal(read(paths[::-1]).values, second)


def test_tiles_of_two_lattices_overlay(raster):
    first, second = np.full((3, 32, 64), 10, np.uint8), np.full((3, 64, 64), 20, np.uint8)
    first[0, 0, 0], second[:, 0, 0] = 11, 21
    patch = read([raster("a.tif", first), raster("b.tif", second, transform=placed(0.3, 0.3))])
    assert (patch.values[1, :32] == 10).all()
    assert (patch.values[1, 33:, 1:] == 20).all()


def test_finer_pixels_are_averaged(raster):
    pixels = make_pixels(128, 128)
    patch = read(raster("a.tif", pixels, transform=placed(0, 0, 0.25)))
    blocks = pixels.reshape(3, 64, 2, 64, 2).mean(axis=(2, 4))
    assert np.array_equal(patch.values, np.floor(blocks + 0.5).astype(np.uint8))


def test_average_ignores_what_is_not_valid(raster):
    pixels = np.full((3, 128, 128), 100, np.uint8)
    pixels[:, 0, 0], pixels[:, 9, 8:10], pixels[:, 20:22, 21] = 101, 0, 0
    pixels[:, 30:32, 30:32], pixels[:, 40, 40:42], pixels[:, 41, 40] = 0, 0, 0
    patch = read(raster("a.tif", pixels, transform=placed(0, 0, 0.25), nodata=0))
    assert np.argwhere(~patch.valid).tolist() == [[15, 15], [20, 20]]
    assert set(np.unique(patch.values[:, patch.valid])) == {100}


def test_a_crop_of_a_finer_file_has_the_same_averages(raster):
    pixels = make_pixels(150, 150)
    whole = read(raster("a.tif", pixels, transform=placed(0, 0, 0.2)))
    crop = read(raster("b.tif", pixels[:, 7:, 11:], transform=placed(11 * 0.4, 7 * 0.4, 0.2)))
    assert np.array_equal(whole.values[:, 8:50, 8:50], crop.values[:, 8:50, 8:50])


def smooth(rows, columns):
    return 127 + 60 * np.sin(rows / 9) + 60 * np.cos(columns / 11)


def test_half_a_pixel_off_is_half_way_between(raster):
    rows, columns = np.mgrid[:64, :64]
    pixels = np.broadcast_to(smooth(rows, columns), (3, 64, 64)).astype(np.uint8)
    patch = read(raster("a.tif", pixels, transform=placed(0.5, 0)))
    expected = (pixels[:, :, :-1].astype(float) + pixels[:, :, 1:]) / 2
    assert np.abs(patch.values[:, :, 1:].astype(float) - expected)[:, :, :60].max() <= 0.5


@pytest.mark.parametrize("south_up", [False, True])
@pytest.mark.parametrize("angle", [0, 30])
def test_rotated_and_south_up_images_lie_where_they_are(raster, south_up, angle):
    turn = placed(32, 32) @ Affine.rotation(angle) @ Affine.translation(-48, -48)
    if south_up:
        turn = turn @ Affine(1, 0, 0, 0, -1, 96)
    rows, columns = np.mgrid[:96, :96] + 0.5
    # what lies at each source pixel, told by its place on the lattice
    there = (~placed(0, 0)) @ turn
    x = there.a * columns + there.b * rows + there.c
    y = there.d * columns + there.e * rows + there.f
    pixels = np.stack([smooth(y, x)] * 3).round().astype(np.uint8)
    patch = read(raster("a.tif", pixels, transform=turn))
    rows, columns = np.mgrid[:64, :64] + 0.5
    close = np.abs(patch.values[0].astype(float) - smooth(rows, columns))
    assert patch.valid[20:44, 20:44].all()
    assert close[patch.valid].max() < 2.5


def windows():
    start, size = st.integers(-20, 70), st.integers(1, 70)
    return st.builds(Window, start, start, size, size)


@pytest.fixture(scope="module")
def odd_images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    pixels = make_pixels(200, 200)
    pixels[:, np.random.default_rng(3).random((200, 200)) < 0.02] = 0
    pixels[:, :15, :60] = 0
    rotated = placed(-10, 20, 0.43) @ Affine.rotation(17)
    fine = placed(0.3, 0.2, 0.21)
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(*CORNER)
    degrees = Affine(5e-6, 0, lon, 0, -4.6e-6, lat)
    images = [
        open_plain(make_raster(folder / "rotated.tif", pixels, transform=rotated, nodata=0)),
        open_plain(make_raster(folder / "fine.tif", pixels, transform=fine, nodata=0)),
        open_plain(make_raster(folder / "collar.tif", pixels, transform=rotated)),
        open_plain(make_raster(folder / "degrees.tif", pixels, crs="EPSG:4326", transform=degrees)),
    ]
    yield images
    for image in images:
        image.close()


@pytest.mark.slow
@pytest.mark.parametrize("index", range(4))
@pytest.mark.parametrize("most", [8_000_000, 5000])
def test_read_does_not_depend_on_the_window(odd_images, monkeypatch, index, most):
    image = odd_images[index]
    everywhere = Window(-20, -20, 160, 160)
    whole = image.read(HALF_METRE, everywhere.shift(PLACE.row, PLACE.column))
    assert whole.valid.any()
    assert not whole.valid.all()
    monkeypatch.setattr("geodamage.scene.image.MOST_PIXELS", most)

    @settings(max_examples=25)
    @given(windows())
    def check(window):
        patch = image.read(HALF_METRE, window.shift(PLACE.row, PLACE.column))
        cut = window.shift(20, 20).slices
        assert np.array_equal(patch.valid, whole.valid[cut])
        assert np.array_equal(patch.values, whole.values[:, *cut])

    check()


def test_shift_moves_what_is_read(raster):
    pixels = make_pixels(64, 64)
    image = open_plain(raster("a.tif", pixels))
    patch = image.read(HALF_METRE, PLACE, lambda x, y: (0 * x + 1.5, 0 * y - 1.0))
    image.close()
    assert np.array_equal(patch.values[:, :62, :61], pixels[:, 2:, 3:])
    assert not patch.valid[62:].any()


def test_16_bits_are_first_scaled_by_all_tiles(raster):
    generator = np.random.default_rng(0)
    pixels = generator.integers(100, 1100, (3, 64, 64)).astype(np.uint16)
    pixels[:, :8] = 0
    paths = [
        raster("a.tif", pixels[:, :, :32], nodata=0),
        raster("b.tif", pixels[:, :, 32:], nodata=0, transform=placed(32, 0)),
    ]
    image = open_plain(paths)
    patch = image.read(HALF_METRE, PLACE)
    image.close()
    ends = np.percentile(patch.values[:, 8:], (0.5, 99.5))
    assert ends == pytest.approx(ALONE.ends, abs=1)
    assert not patch.values[:, :8].any()
    scaling = image.facts()["scaling"]
    assert scaling["minimum"] == list(image.scaling.low)
    assert scaling["from"] == "guess"


def test_no_scaling_trusts_overviews(raster):
    pixels = np.random.default_rng(0).integers(100, 1100, (3, 256, 256)).astype(np.uint16)
    path = raster("a.tif", pixels)
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([4], rasterio.enums.Resampling.nearest)
        dataset.write(pixels * 8)  # the overviews stay as they were
        assert dataset.read(out_shape=(3, 64, 64)).max() < 1100
    image, whole = open_plain(path), open_plain(raster("b.tif", pixels * 8))
    image.close()
    whole.close()
    assert image.scaling == whole.scaling


def test_a_radar_is_scaled_by_percentiles(raster):
    pixels = np.random.default_rng(0).integers(100, 1100, (1, 64, 64)).astype(np.uint16)
    image = open_plain(raster("a.tif", pixels), channels=1, speckled=True)
    image.close()
    low, high = np.percentile(pixels, (2, 98))
    assert (image.scaling.low, image.scaling.high) == ((low,), (high,))


def test_a_scale_counts_for_8_bits_too(raster):
    pixels = make_pixels(64, 64)
    image = open_plain(raster("a.tif", pixels), scale=(0.0, 127.5))
    patch = image.read(HALF_METRE, PLACE)
    image.close()
    assert np.array_equal(patch.values, np.minimum(pixels.astype(int) * 2, 255))
    plain = open_plain(raster("b.tif", pixels), scale=(0, 255))
    plain.close()
    assert plain.scaling is None


@pytest.mark.parametrize(("role", "option"), [("pre", "--scale"), ("post", "--post-scale")])
def test_a_scale_beyond_8_bits_is_refused_of_them(raster, role, option):
    path = raster("a.tif", make_pixels(64, 64))
    with pytest.raises(OptionError, match=rf"{option} 0,2047: .*a\.tif has 8 bits"):
        open_image(role, path, bands=None, channels=3, scale=(0, 2047), allow_remote=False)


def test_scale_is_taken_as_given(raster):
    pixels = make_pixels(64, 64).astype(np.float32)
    image = open_plain(raster("a.tif", pixels), scale=(0.0, 510.0))
    patch = image.read(HALF_METRE, PLACE)
    image.close()
    assert np.array_equal(patch.values, np.rint(pixels / 2).astype(np.uint8))


def test_an_image_of_nodata_is_refused(raster):
    with pytest.raises(SceneError, match=r"a\.tif: no valid pixel"):
        open_plain(raster("a.tif", np.zeros((3, 64, 64), np.uint8)))
    with pytest.raises(SceneError, match="no valid pixel"):
        open_plain(raster("b.tif", np.full((3, 64, 64), np.nan, np.float32)))


def test_an_image_of_one_value_is_refused_and_a_channel_noted(raster):
    pixels = np.full((3, 64, 64), 7, np.uint8)
    with pytest.raises(SceneError, match="every pixel has the value 7"):
        open_plain(raster("a.tif", pixels))
    pixels[1:] = make_pixels(64, 64)[1:]
    image = open_plain(raster("b.tif", pixels))
    image.close()
    assert image.notes == (f"{image.first.name}: channel 1 has one value only",)


def test_an_almost_empty_image_is_looked_at_closely(raster):
    pixels = np.zeros((3, 2048, 64), np.uint8)
    pixels[:, 1001:1003] = make_pixels(2, 64)
    open_plain(raster("a.tif", pixels, blockysize=2, nodata=0)).close()


def test_a_strip_is_looked_at_over_its_whole_width(raster):
    pixels = np.full((3, 40, 6000), 20, np.uint8)
    pixels[:, 3:5, 40:45] = 250
    image = open_plain(raster("a.tif", pixels, blockysize=1))
    image.close()
    assert image.notes == ()
    scaled = np.full((3, 40, 6000), 500, np.uint16)
    scaled[:, :, :300], scaled[:, :, -300:] = 100, 900
    image = open_plain(raster("b.tif", scaled, blockysize=1))
    image.close()
    ends = image.scaling.apply(np.array([100, 900], np.uint16).reshape(1, 1, 2).repeat(3, 0))
    assert ends.tolist() == [[[24, 198]]] * 3


@pytest.fixture
def sparse(tmp_path):
    """Write a large file that holds next to nothing."""

    def write(dtype, array, row=9000, column=17_000):
        path = tmp_path / "sparse.tif"
        with rasterio.open(
            path, "w", driver="GTiff", count=3, dtype=dtype, width=60_000, height=60_000,
            crs=UTM, transform=placed(0, 0), SPARSE_OK=True, BIGTIFF="YES", tiled=True,
            blockxsize=512, blockysize=512, nodata=0, compress="deflate",
        ) as dataset:  # fmt: skip
            dataset.write(array, window=rasterio.windows.Window(column, row, *array.shape[:0:-1]))
        return path

    return write


def test_a_large_image_that_seems_empty_is_noted_and_not_refused(sparse):
    path = sparse("uint8", make_pixels(16, 16))
    image = open_plain(path)
    patch = image.read(HALF_METRE, PLACE.shift(8990, 16_990))
    image.close()
    assert image.notes == (f"{path}: no valid pixel in a sample of it; is it empty?",)
    assert patch.valid.sum() == 256


def test_a_large_image_that_seems_empty_is_not_scaled_by_itself(sparse):
    path = sparse("uint16", make_pixels(16, 16).astype(np.uint16))
    with pytest.raises(SceneError, match=r"uint16 .*give --scale MIN,MAX"):
        open_plain(path)
    open_plain(path, scale=(0, 100)).close()


def test_a_large_image_that_seems_constant_is_noted_and_not_refused(raster, monkeypatch):
    monkeypatch.setattr("geodamage.scene.sampling.SAMPLE_BLOCKS", 4)
    monkeypatch.setattr("geodamage.scene.tiles.PART", 16)
    pixels = np.full((3, 1024, 1024), 20, np.uint8)
    pixels[:, 0, 0] = 21
    layout = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    image = open_plain(raster("a.tif", pixels, **layout))
    image.close()
    name = image.first.name
    expected = f"{name}: every pixel of a sample has the value 20; is it damaged?"
    assert image.notes == (expected,)
    pixels[1:] = make_pixels(1024, 1024)[1:]
    image = open_plain(raster("a.tif", pixels, **layout))
    image.close()
    assert image.notes == (f"{name}: channel 1 has one value only in a sample",)


def test_of_each_kind_of_note_on_tiles_one_is_told(raster, tmp_path):
    paths = []
    for number in range(4):
        paths.append(raster(f"{number}.tif", make_pixels(16, 16), nodata=7))
        value = 9 if number < 3 else 8
        text = f"<PAMDataset><NoDataValue>{value}</NoDataValue></PAMDataset>"
        (tmp_path / f"{number}.tif.aux.xml").write_text(text)
    image = open_plain(paths)
    image.close()
    first, other = (note for note in image.notes if "aux.xml" in note)
    assert "0.tif.aux.xml says that 9 is no data" in first
    assert first.endswith("(2 more tiles likewise)")
    assert "3.tif.aux.xml says that 8 is no data" in other


def test_tiles_must_be_alike(raster):
    first = raster("a.tif", make_pixels(8, 8))
    second = raster("b.tif", make_pixels(8, 8).astype(np.uint16))
    with pytest.raises(SceneError, match=r"b\.tif: .*uint16.* must be alike"):
        open_plain([first, second])


def test_an_image_off_the_earth_is_refused(raster):
    path = raster("a.tif", make_pixels(8, 8), crs="EPSG:4326", transform=placed(0, 0))
    with pytest.raises(SceneError, match="lies outside the Earth"):
        open_plain(path)


def test_facts_can_be_json(raster):
    image = open_plain(raster("a.tif", make_pixels(64, 64), nodata=0))
    image.close()
    facts = json.loads(json.dumps(image.facts(), allow_nan=False))
    assert facts["crs"] == UTM
    assert facts["gsd"] == pytest.approx(0.5, rel=1e-3)
    assert facts["nodata"] == [0, 0, 0]
    assert facts["files"][0]["shape"] == [64, 64]
    assert facts["files"][0]["size"] > 0


def collared(value, dtype="uint8"):
    pixels = make_pixels(64, 64).astype(dtype)
    pixels[:, :, :20] = value
    return pixels


@pytest.mark.parametrize(("value", "dtype"), [(255, "uint8"), (7, "uint16"), (-9999, "float32")])
def test_a_value_that_the_user_calls_nodata_is(raster, value, dtype):
    path = raster("a.tif", collared(value, dtype))
    image = open_plain(path, nodata=value, scale=(0, 255))
    patch = image.read(HALF_METRE, PLACE)
    image.close()
    assert not patch.valid[:, :20].any()
    assert patch.valid[:, 20:].all()
    assert image.notes == ()
    assert image.facts()["nodata"] == [value] * 3


def test_the_users_nodata_goes_before_the_tag(raster):
    pixels = collared(255)
    pixels[:, 40, 40] = 9
    path = raster("a.tif", pixels, nodata=9)
    image = open_plain(path, nodata=255)
    patch = image.read(HALF_METRE, PLACE)
    image.close()
    assert patch.valid.sum() == 44 * 64


@pytest.mark.parametrize(("value", "dtype"), [(-9999, "uint8"), (256, "uint8"), (0.5, "uint16")])
def test_nodata_that_no_pixel_can_have_is_refused(raster, value, dtype):
    path = raster("a.tif", make_pixels(64, 64).astype(dtype))
    with pytest.raises(OptionError, match=rf"--nodata {value:g}: .*a\.tif holds {dtype}"):
        open_plain(path, nodata=value)


def test_nodata_that_no_pixel_has_is_noted(raster):
    pixels = make_pixels(64, 64, high=200)
    image = open_plain(raster("a.tif", pixels), nodata=222)
    image.close()
    assert image.notes == (
        f"--nodata 222: no pixel of a sample of {image.first.name} has that value; is it the right "
        "one?",
    )


@pytest.mark.parametrize(("tag", "is_fill"), [(None, True), (99, True), (0, True), (210, False)])
def test_black_around_an_image_is_fill_where_the_tag_fits_no_pixel(raster, tag, is_fill):
    pixels = collared(0)
    pixels[:, :, 20:] = make_pixels(64, 44, low=100, high=200)
    pixels[:, 5, 60] = 210
    image = open_plain(raster("a.tif", pixels, nodata=tag))
    patch = image.read(HALF_METRE, PLACE)
    image.close()
    assert patch.valid[:, :20].any() != is_fill
    assert patch.valid[:, 20:].sum() == 44 * 64 - (tag == 210)
