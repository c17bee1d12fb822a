import json
import math
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Transformer
from scipy import ndimage

from geodamage.errors import (
    GsdWarning,
    ModelError,
    OptionError,
    SceneError,
    SceneReadError,
    SceneWarning,
)
from geodamage.grid import GsdRange
from geodamage.scene.image import Image
from geodamage.scene.options import SceneOptions
from geodamage.scene.pixels import MISSING_POST, MISSING_PRE, OUTSIDE, OUTSIDE_AOI
from geodamage.scene.scene import Scene
from geodamage.windows import Window, mirror
from tests.conftest import CORNER, UTM, make_pixels, make_raster
from tests.fakes import make_card

GSD = GsdRange(0.5, 0.3, 1.2)


def placed(column, row, size=0.5):
    return Affine(size, 0, CORNER[0] + column * 0.5, 0, -size, CORNER[1] - row * 0.5)


def open_pair(pre, post, gsd=GSD, **options):
    # What they show is for test_examination: here one image may stand for both.
    return Scene.open(pre, post, gsd=gsd, options=SceneOptions(**options), examined=False)


@pytest.fixture
def pair(raster):
    pre, post = make_pixels(100, 130, seed=1), make_pixels(100, 130, seed=2)
    return raster("pre.tif", pre), raster("post.tif", post), pre, post


def test_a_pair_on_one_grid_is_read_as_it_is(pair):
    with open_pair(*pair[:2]) as scene:
        assert scene.grid.shape == (128, 192)
        assert scene.grid.transform == placed(0, 0)
        assert scene.extent == scene.region == Window(0, 0, 100, 130)
        pixels = scene.read(scene.extent)
        assert scene.warnings == []
    assert np.array_equal(pixels.pre, pair[2])
    assert np.array_equal(pixels.post, pair[3])
    assert not pixels.missing.any()


@pytest.mark.slow
def test_the_grid_begins_at_a_multiple_of_snap(raster, pair):
    crop = raster("crop.tif", pair[2][:, 33:, 70:], transform=placed(70, 33))
    with open_pair(*pair[:2]) as whole, open_pair(crop, pair[1]) as scene:
        assert scene.grid.transform == placed(64, 0)
        assert scene.extent == Window(33, 6, 67, 60)
        expected = whole.read(Window(40, 80, 20, 20))
        found = scene.read(Window(40, 16, 20, 20))
    assert np.array_equal(found.pre, expected.pre)
    with open_pair(crop, pair[1], snap=10) as scene:
        assert (np.array(scene.grid.transform)[[2, 5]] - CORNER == (35, -15)).all()


def test_beyond_the_extent_pixels_are_mirrored(pair):
    with open_pair(*pair[:2]) as scene:
        window = Window(-30, -200, 300, 500)
        pixels = scene.read(window)
        corner = scene.read(Window(-8, -8, 8, 8))
    rows, columns = mirror(-30, 270, 100), mirror(-200, 300, 130)
    assert np.array_equal(pixels.pre, pair[2][:, rows][:, :, columns])
    inside = np.zeros(window.shape, bool)
    inside[30:130, 200:330] = True
    assert np.array_equal(pixels.missing == OUTSIDE, ~inside)
    assert np.array_equal(corner.pre, pixels.pre[:, 22:30, 192:200])


def test_missing_pixels_are_0_and_flagged(raster):
    pre, post = make_pixels(64, 64, seed=1), make_pixels(64, 64, seed=2)
    pre[:, 5, 6], post[:, 5:7, 6] = 0, 255
    paths = raster("pre.tif", pre, nodata=0), raster("post.tif", post.clip(1, 255), nodata=255)
    with open_pair(*paths) as scene:
        pixels = scene.read(Window(0, 0, 8, 8))
    assert pixels.missing[5, 6] == MISSING_PRE | MISSING_POST
    assert pixels.missing[6, 6] == MISSING_POST
    assert not pixels.post[:, pixels.missing & MISSING_POST > 0].any()


def blobs(path, crs, transform, shape):
    """Write what lies at each place, told by its UTM coordinates."""
    rows, columns = np.mgrid[: shape[0], : shape[1]] + 0.5
    x = transform.a * columns + transform.b * rows + transform.c
    y = transform.d * columns + transform.e * rows + transform.f
    east, north = Transformer.from_crs(crs, UTM, always_xy=True).transform(x, y)
    ground = 127 + 60 * np.sin(east / 4) + 60 * np.cos(north / 5)
    return make_raster(path, np.stack([ground] * 3).astype(np.uint8), crs=crs, transform=transform)


@pytest.fixture(scope="module")
def warped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("warped")
    lon, lat = Transformer.from_crs(UTM, 4326, always_xy=True).transform(*CORNER)
    degrees = Affine(5.2e-6, 0, lon, 0, -4.5e-6, lat)
    pre = blobs(folder / "pre.tif", UTM, placed(0, 0), (150, 170))
    post = blobs(folder / "post.tif", "EPSG:4326", degrees, (160, 180))
    with open_pair(pre, post) as scene:
        yield scene


def assert_alike(pixels):
    """Assert that both images show one ground; half a pixel off would differ by 3 on average."""
    difference = pixels.pre.astype(int) - pixels.post
    inner = ndimage.binary_erosion(pixels.missing == 0, iterations=2)  # edges go on flat
    assert abs(difference[:, inner].mean()) < 0.1
    assert np.abs(difference[:, inner]).max() <= 3


def test_images_of_two_crs_line_up(warped):
    pixels = warped.read(warped.extent)
    both = pixels.missing == 0
    assert both.mean() > 0.95
    assert_alike(pixels)


@pytest.mark.slow
def test_read_does_not_depend_on_the_window(warped):
    whole = warped.read(warped.grid.window.buffer(40))
    start, size = st.integers(-40, 200), st.integers(1, 90)

    @settings(max_examples=40, deadline=None)
    @given(st.builds(Window, start, start, size, size))
    def check(window):
        window = window & warped.grid.window.buffer(40)
        pixels = warped.read(window)
        cut = window.shift(40, 40).slices
        assert np.array_equal(pixels.pre, whole.pre[:, *cut])
        assert np.array_equal(pixels.post, whole.post[:, *cut])
        assert np.array_equal(pixels.missing, whole.missing[cut])

    check()


def write_aoi(path, *shapes, crs=UTM):
    gpd.GeoDataFrame(geometry=list(shapes), crs=crs).to_file(path)
    return path


def box(column, row, right, bottom):
    left, top = CORNER[0] + column / 2, CORNER[1] - row / 2
    return shapely.box(left, top - (bottom - row) / 2, left + (right - column) / 2, top)


def test_aoi_limits_the_region_and_not_the_halo(pair, tmp_path):
    aoi = write_aoi(tmp_path / "aoi.gpkg", box(20, 30, 40, 50), box(60.2, 40, 70, 60))
    with open_pair(*pair[:2], aoi=aoi) as scene:
        assert scene.grid.shape == (128, 192)
        assert scene.extent == Window(0, 0, 100, 130)
        assert scene.region == Window(30, 20, 30, 50)
        pixels = scene.read(Window(25, 15, 40, 60))
    assert np.array_equal(pixels.pre, pair[2][:, 25:65, 15:75])
    inside = pixels.missing == 0
    assert inside.sum() == 20 * 20 + 10 * 20
    assert (pixels.missing[~inside] == OUTSIDE_AOI).all()


def test_aoi_of_another_crs(pair, tmp_path):
    area = gpd.GeoSeries([box(20, 30, 40, 50)], crs=UTM).to_crs(4326).iloc[0]
    aoi = write_aoi(tmp_path / "aoi.geojson", area, crs=4326)
    with open_pair(*pair[:2], aoi=aoi) as scene:
        assert (scene.read(scene.extent).missing == 0).sum() == 400


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("code", "doubted"), [(26716, True), (4326, False), (32617, False)])
def test_an_aoi_whose_datum_is_known_to_metres_is_told(pair, tmp_path, code, doubted):
    area = gpd.GeoSeries([box(20, 30, 60, 70)], crs=UTM).to_crs(code)
    aoi = write_aoi(tmp_path / "aoi.gpkg", *area, crs=code)
    with open_pair(*pair[:2], aoi=aoi) as scene:
        told = [text for text in scene.warnings if "aoi.gpkg: from NAD27 to WGS 84" in text]
    assert len(told) == doubted


def test_aoi_refused(pair, tmp_path):
    def refused(path, message, kind=SceneError):
        with pytest.raises(kind, match=message):
            open_pair(*pair[:2], aoi=path)

    refused(write_aoi(tmp_path / "far.gpkg", box(500, 500, 600, 600)), "does not meet")
    refused(write_aoi(tmp_path / "no_crs.gpkg", box(0, 0, 9, 9), crs=None), "has no CRS")
    refused(write_aoi(tmp_path / "point.gpkg", shapely.Point(*CORNER)), "no polygon")
    refused(tmp_path / "missing.gpkg", "no such file", SceneReadError)
    (tmp_path / "text.gpkg").write_text("hello")
    refused(tmp_path / "text.gpkg", "not a vector file")
    (tmp_path / "other.shp").write_text("<OGRVRTDataSource></OGRVRTDataSource>")
    refused(tmp_path / "other.shp", "names others")
    refused(tmp_path, "a folder, not a file", SceneReadError)


def test_no_overlap_is_refused_with_both_places(raster, pair):
    far = raster("far.tif", pair[3], transform=placed(5000, 0))
    with pytest.raises(SceneError, match=r"pre covers -85\.65\d+ 30\.09.*post covers -85\.62"):
        open_pair(pair[0], far)
    other = raster("other.tif", pair[3], crs="EPSG:32756")
    with pytest.raises(SceneError, match="do not overlap"):
        open_pair(pair[0], other)


def test_a_sliver_of_overlap_is_refused(raster, pair):
    sliver = raster("sliver.tif", pair[3], transform=placed(123, 0))
    with pytest.raises(SceneError, match="100 x 7 pixels only"):
        open_pair(pair[0], sliver)


def test_a_small_overlap_warns(raster, pair):
    post = raster("part.tif", pair[3], transform=placed(91, 0))
    with pytest.warns(SceneWarning, match="30% of the smaller") as caught:
        scene = open_pair(pair[0], post)
    scene.close()
    assert scene.warnings == [str(caught[0].message)]
    assert caught[0].filename == __file__


def with_gsd(raster, pre, post, size=60):  # metres
    paths = []
    for name, gsd in (("pre", pre), ("post", post)):
        side = round(size / gsd)
        paths.append(
            raster(f"{name}{gsd}.tif", make_pixels(side, side), transform=placed(0, 0, gsd))
        )
    return paths


@pytest.mark.parametrize(
    ("gsd", "expected"), [(0.1, 0.5), (0.25, 0.5), (0.3, 0.3), (0.6, 0.6), (1.2, 0.5)]
)
def test_gsd_near_the_model_s_own_is_kept(raster, gsd, expected):
    with open_pair(*with_gsd(raster, gsd, gsd)) as scene:
        assert scene.grid.transform.a == expected
        assert scene.facts()["gsd"] == pytest.approx(expected, rel=1e-3)
        assert not scene.read(scene.extent).missing.any()


def test_gsd_a_little_too_coarse_is_resampled_with_a_warning(raster):
    with pytest.warns(GsdWarning, match=r"1\.5 m per pixel, coarser .*0\.3 to 1\.2 m"):
        scene = open_pair(*with_gsd(raster, 1.5, 1.2))
    with scene:
        assert scene.grid.transform.a == 0.5
        assert not scene.read(scene.extent).missing.any()


@pytest.mark.parametrize(("pre", "post"), [(10, 10), (0.5, 2)])
def test_gsd_much_too_coarse_is_refused(raster, pre, post):
    with pytest.raises(SceneError, match=r"(10|2) m per pixel.* 1\.8 m"):
        open_pair(*with_gsd(raster, pre, post))


@pytest.mark.slow
def test_gsd_of_the_two_images(raster):
    with pytest.warns(SceneWarning, match=r"pre has 0\.5 m per pixel and post 1 m"):
        open_pair(*with_gsd(raster, 0.5, 1.0)).close()
    for pre, post in ((0.2, 1.0), (0.5, 0.1)):  # finer pixels are averaged
        with pytest.warns(SceneWarning, match="the finer image loses detail"):
            open_pair(*with_gsd(raster, pre, post)).close()
    told = r"more than 32 times apart; average .* -r average -outsize 2% 2% post0\.01\.tif new\.tif"
    with pytest.raises(SceneError, match=told):
        open_pair(*with_gsd(raster, 0.5, 0.01, size=10))


def test_a_pre_image_in_degrees_is_worked_on_in_utm(warped, tmp_path):
    with open_pair(warped.facts()["post"]["files"][0]["path"], _path(warped, "pre")) as scene:
        assert scene.grid.crs.to_epsg() == 32616
        assert scene.grid.transform.a == pytest.approx(0.5, abs=0.002)
        pixels = scene.read(scene.extent)
        assert_alike(pixels)


def _path(scene, role):
    return scene.facts()[role]["files"][0]["path"]


def test_web_mercator_is_not_metric_away_from_the_equator(tmp_path):
    x, y = Transformer.from_crs(UTM, 3857, always_xy=True).transform(*CORNER)
    path = blobs(tmp_path / "a.tif", "EPSG:3857", Affine(0.6, 0, x, 0, -0.6, y), (100, 100))
    with open_pair(path, path) as scene:
        assert scene.grid.crs.to_epsg() == 32616
        assert scene.grid.transform.a == 0.518  # 0.6 cos 30.1°, rounded to three digits


@pytest.mark.parametrize(
    ("lon", "lat", "epsg"),
    [(-180.0003, 10, None), (179.9997, -10, None), (20, 85, 3413), (20, -85, 3031)],
)
def test_across_the_antimeridian_and_at_the_poles(raster, lon, lat, epsg):
    across = 4.5e-6 / np.cos(np.radians(lat))
    pre = raster(
        "pre.tif",
        make_pixels(128, 128),
        crs="EPSG:4326",
        transform=Affine(across, 0, lon, 0, -4.5e-6, lat),
    )
    post = raster(
        "post.tif",
        make_pixels(128, 128),
        crs="EPSG:4326",
        transform=Affine(across, 0, lon - 360 * np.sign(lon), 0, -4.5e-6, lat),
    )
    if abs(lon) < 90:
        post = pre
    with open_pair(pre, post) as scene:
        if epsg:
            assert scene.grid.crs.to_epsg() == epsg
        pixels = scene.read(scene.extent)
        assert (pixels.missing == 0).mean() > 0.4
        assert np.array_equal(pixels.pre, pixels.post)


def test_too_many_pixels_are_refused(pair, monkeypatch):
    monkeypatch.setattr("geodamage.scene.scene.LARGEST_REGION", 12_999)
    with pytest.raises(SceneError, match=r"100 x 130 pixels to assess.*--aoi"):
        open_pair(*pair[:2])


def test_a_damaged_file_is_refused_where_it_is_read(raster):
    pixels = make_pixels(256, 256)
    layout = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    pre, post = raster("pre.tif", pixels, **layout), raster("post.tif", pixels)
    content = bytearray(pre.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = bytes(4096)
    pre.write_bytes(content)
    message = r"pre\.tif: rows .*columns .*damaged"
    with pytest.raises(SceneReadError, match=message), open_pair(pre, post) as scene:
        scene.read(scene.extent)


@pytest.mark.parametrize("options", [{"scale": (5, 5)}, {"scale": (0, np.inf)}, {"snap": 0}])
def test_options_that_make_no_sense(options):
    with pytest.raises(OptionError):
        SceneOptions(**options)


def test_channels_of_each_image(raster):
    pre, post = make_pixels(64, 64, channels=4), make_pixels(64, 64, channels=1)
    paths = raster("pre.tif", pre), raster("post.tif", post)
    with open_pair(*paths, pre_bands=(3, 2, 1), post_channels=1) as scene:
        pixels = scene.read(scene.extent)
    assert np.array_equal(pixels.pre, pre[[2, 1, 0]])
    assert np.array_equal(pixels.post, post)


def test_files_are_closed_when_a_pair_is_refused(raster, pair):
    far = raster("far.tif", pair[3], transform=placed(5000, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(SceneError):
            open_pair(pair[0], far)


def test_facts_can_be_json(warped):
    facts = json.loads(json.dumps(warped.facts(), allow_nan=False))
    assert facts["crs"] == UTM
    assert facts["overlap_km2"] == pytest.approx(0.0064, rel=0.02)
    assert facts["pre"]["files"][0]["path"].endswith("pre.tif")


def test_outlines(pair):
    with open_pair(*pair[:2]) as scene:
        assert scene.pre_outline.area == pytest.approx(100 * 130 / 4)
        assert scene.post_outline.bounds == scene.pre_outline.bounds


def test_a_closed_scene_is_not_read(pair):
    with open_pair(*pair[:2]) as scene:
        scene.read(Window(0, 0, 8, 8))
    with pytest.raises(ValueError, match="the scene is closed"):
        scene.read(Window(0, 0, 8, 8))
    scene.close()


def test_close_waits_for_a_read(pair, monkeypatch):
    begun, go_on, closed = threading.Event(), threading.Event(), threading.Event()
    read = Image.read

    def slow(*arguments):
        begun.set()
        assert go_on.wait(10)
        assert not closed.is_set()
        return read(*arguments)

    monkeypatch.setattr(Image, "read", slow)
    scene = open_pair(*pair[:2])
    with ThreadPoolExecutor(2) as pool:
        reading = pool.submit(scene.read, Window(0, 0, 8, 8))
        assert begun.wait(10)
        closing = pool.submit(lambda: (scene.close(), closed.set()))
        assert not closed.wait(0.1)
        go_on.set()
        assert reading.result(10).pre.shape == (3, 8, 8)
        closing.result(10)


def test_a_model_says_how_a_scene_is_opened(pair):
    card = make_card(stride=48, tile=192)
    with Scene.open(*pair[:2], model=SimpleNamespace(card=card)) as scene:
        assert scene.grid.shape[0] % 48 == 0
        assert repr(scene) == f"<Scene pre.tif + post.tif: {scene.grid.summary}>"
    assert repr(scene).endswith(", closed>")
    with open_pair(*pair[:2], gsd=card.gsd, snap=math.lcm(48, 64)) as same:
        assert same.grid == scene.grid


def test_a_scene_needs_a_model_or_a_distance(pair):
    with pytest.raises(TypeError, match="give model="):
        Scene.open(*pair[:2])


def test_a_pair_of_other_sensors_than_the_model_takes_is_refused(pair):
    radar = SimpleNamespace(card=make_card(post_sensor="sar", post_channels=("vv",)))
    with pytest.raises(ModelError, match="--post-sensor sar"):
        Scene.open(*pair[:2], model=radar)
    optical = SimpleNamespace(card=make_card())
    with pytest.raises(SceneError, match="--post-sensor sar"):
        Scene.open(*pair[:2], model=optical, options=SceneOptions(post_sensor="sar"))
