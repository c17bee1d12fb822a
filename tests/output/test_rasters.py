import subprocess
import sys

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import CRS

from geodamage.damage import COLOUR_NOT_ASSESSED, COLOURS, DamageGrade, rgb
from geodamage.grid import Grid
from geodamage.output.publication import Publication
from geodamage.output.rasters import GradeRaster, ProbabilityRaster, raster_bytes
from geodamage.windows import Window

GRID = Grid(CRS.from_epsg(32633), Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000), (64, 64))
WHOLE = GRID.window


def box(window):
    """Return the outline of a window."""
    return shapely.box(*GRID.window_bounds(window))


def buildings(*pairs):
    grades, windows = zip(*pairs, strict=True)
    geometry = [None if window is None else box(window) for window in windows]
    return gpd.GeoDataFrame({"damage_class": grades}, geometry=geometry, crs=GRID.crs)


def grades_of(path, region, *frames, valid=None):
    assessed = np.ones(region.shape, bool) if valid is None else valid
    with GradeRaster(path, GRID, region) as raster:
        raster.write_valid(region, assessed)
        for frame in frames:
            raster.burn(frame)
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def test_grades_are_counted_by_hand(tmp_path):
    valid = np.ones((64, 64), bool)
    valid[:, 60:] = False
    frame = buildings(
        (1, Window(0, 0, 4, 5)), (4, Window(10, 10, 2, 3)), (None, Window(20, 20, 2, 2)), (2, None)
    )
    grades = grades_of(tmp_path / "a.tif", WHOLE, frame, valid=valid)
    values, counts = np.unique(grades, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        0: 64 * 60 - 20 - 6 - 4,
        1: 20,
        4: 6,
        255: 64 * 4 + 4,
    }
    assert (grades[10:12, 10:13] == 4).all()


def test_grades_of_pixels_are_written_as_they_are(tmp_path):
    path, region = tmp_path / "a.tif", Window(8, 16, 20, 30)
    codes = np.random.default_rng(0).integers(0, 5, (64, 64)).astype(np.uint8)
    valid = np.ones((64, 64), bool)
    valid[10, 20] = False
    with GradeRaster(path, GRID, region) as raster:
        raster.write(WHOLE, codes, valid)
    with rasterio.open(path) as dataset:
        found = dataset.read(1)
    expected = np.where(valid, codes, 255)[region.slices]
    assert np.array_equal(found, expected)


def test_the_worse_grade_wins_whatever_the_order(tmp_path):
    one = buildings((2, Window(0, 0, 8, 8)))
    two = buildings((None, Window(0, 2, 8, 2)), (4, Window(0, 4, 8, 8)), (1, Window(4, 0, 8, 8)))
    first = grades_of(tmp_path / "a.tif", WHOLE, one, two)
    second = grades_of(tmp_path / "b.tif", WHOLE, two, one)
    np.testing.assert_array_equal(first, second)
    assert first[0, :13].tolist() == [2] * 4 + [4] * 8 + [0]


def test_pixel_centres_decide(tmp_path):
    # Half a pixel wide and more; the centre of one pixel of four lies inside.
    x, y, *_ = GRID.window_bounds(Window(10, 10, 1, 1))
    shape = shapely.box(x + 0.2, y + 0.2, x + 0.7, y + 0.7)
    frame = gpd.GeoDataFrame({"damage_class": [3]}, geometry=[shape], crs=GRID.crs)
    grades = grades_of(tmp_path / "a.tif", WHOLE, frame)
    assert np.argwhere(grades == 3).tolist() == [[10, 10]]


def test_holes_stay_empty(tmp_path):
    ring = box(Window(0, 0, 6, 6)).difference(box(Window(2, 2, 2, 2)))
    frame = gpd.GeoDataFrame({"damage_class": [3]}, geometry=[ring], crs=GRID.crs)
    assert (grades_of(tmp_path / "a.tif", WHOLE, frame) == 3).sum() == 32


def test_a_region_cuts_and_shifts(tmp_path):
    region = Window(8, 16, 20, 30)
    path = tmp_path / "a.tif"
    with GradeRaster(path, GRID, region) as raster:
        raster.write_valid(Window(0, 0, 18, 64), np.ones((18, 64), bool))
        raster.write_valid(Window(40, 0, 8, 64), np.ones((8, 64), bool))
        raster.burn(buildings((3, Window(6, 14, 4, 4)), (4, Window(50, 50, 4, 4))))
        raster.burn(buildings((4, Window(50, 50, 4, 4))).iloc[:0])
    with rasterio.open(path) as dataset:
        grades = dataset.read(1)
        assert dataset.transform == GRID.crop(region).transform
        assert dataset.crs.to_epsg() == 32633
    assert (grades[:2, :2] == 3).all()
    assert (grades == 3).sum() == 4
    # No window has covered these rows.
    assert (grades[10:] == 255).all()
    assert (grades[2:10] == 0).all()


def test_cells_do_not_show(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    frame = buildings(
        *(
            (int(generator.integers(1, 5)), Window(*generator.integers(0, 60, 2).tolist(), 7, 5))
            for _ in range(60)
        )
    )
    whole = grades_of(tmp_path / "a.tif", WHOLE, frame)
    monkeypatch.setattr("geodamage.output.rasters.CELL", 8)
    np.testing.assert_array_equal(grades_of(tmp_path / "b.tif", WHOLE, frame), whole)


def test_layout_colours_and_tags(tmp_path):
    grid = Grid(GRID.crs, GRID.transform, (1100, 1200))
    path = tmp_path / "a.tif"
    with GradeRaster(path, grid, grid.window) as raster:
        raster.write_valid(grid.window, np.ones(grid.shape, bool))
    with rasterio.open(path) as dataset:
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert dataset.overviews(1) == [2, 4]
        assert dataset.nodata == 0
        assert dataset.block_shapes == [(512, 512)]
        # A colour table of TIFF knows no transparency; what is nodata a GIS leaves out.
        assert not dataset.read_masks(1).any()
        colours = dataset.colormap(1)
        tags = dataset.tags()
    for grade in DamageGrade:
        assert colours[grade][:3] == rgb(COLOURS[grade])
    assert colours[255][:3] == rgb(COLOUR_NOT_ASSESSED)
    assert tags["software"] == "geodamage"
    assert tags["legend"].startswith("0 background, 1 no-damage, 2 minor-damage")
    assert sorted(tmp_path.iterdir()) == [path]


def test_probabilities_keep_their_scale(tmp_path):
    probabilities = np.random.default_rng(0).dirichlet([1] * 5, (64, 64))
    probabilities = probabilities.transpose(2, 0, 1).astype(np.float32)
    probabilities[:, 5, 5] = np.nan
    assessed = np.ones((64, 64), bool)
    assessed[0, 0] = False
    path = tmp_path / "a.tif"
    with ProbabilityRaster(path, GRID, WHOLE) as raster:
        raster.write(Window(-3, 0, 67, 64), np.pad(probabilities, ((0, 0), (3, 0), (0, 0))),
                     np.pad(assessed, ((3, 0), (0, 0))))  # fmt: skip
    with rasterio.open(path) as dataset:
        values = dataset.read()
        assert dataset.scales == pytest.approx([1 / 250] * 5)
        assert dataset.descriptions == (
            "background", "no-damage", "minor-damage", "major-damage", "destroyed"
        )  # fmt: skip
        assert dataset.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert set(dataset.nodatavals) == {255}
    known = values[0] != 255
    assert np.argwhere(~known).tolist() == [[0, 0], [5, 5]]
    assert np.abs(values[:, known] / 250 - probabilities[:, known]).max() <= 0.5 / 250 + 1e-6


@pytest.mark.slow
def test_overviews_average_only_what_is_known(tmp_path):
    grid = Grid(GRID.crs, GRID.transform, (1024, 1024))
    probabilities = np.zeros((5, 1024, 1024), np.float32)
    probabilities[0] = 1
    probabilities[:, 0, 0] = [0, 0, 0, 0, 1]
    assessed = np.ones((1024, 1024), bool)
    assessed[0, 1] = assessed[1, 0] = False
    assessed[2:4, 2:4] = False
    path = tmp_path / "a.tif"
    with ProbabilityRaster(path, grid, grid.window) as raster:
        raster.write(grid.window, probabilities, assessed)
    with rasterio.open(path, overview_level=0) as dataset:
        values = dataset.read(window=((0, 2), (0, 2)))
    assert values[:, 0, 0].tolist() == [125, 0, 0, 0, 125]
    assert values[:, 1, 1].tolist() == [255] * 5
    assert values[:, 0, 1].tolist() == [250, 0, 0, 0, 0]


@pytest.mark.parametrize("kind", [GradeRaster, ProbabilityRaster])
def test_an_error_leaves_nothing(tmp_path, kind):
    with (
        pytest.raises(KeyboardInterrupt),
        Publication() as publication,
        kind(publication.partial(tmp_path / "a.tif"), GRID, WHOLE),
    ):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_raster_bytes_covers_whole_tiles():
    assert raster_bytes(Window(0, 0, 1, 1), 1) == 512 * 512 + 512 * 512 * 4 // 3


FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, {tests!r})
from test_rasters import *
from geodamage.errors import OutputError

grid = Grid(GRID.crs, GRID.transform, (1024, 1024))
values = np.random.default_rng(0).random((5, 1024, 1024), dtype=np.float32)
known = np.ones(grid.shape, bool)
path = Path({folder!r}) / "a.tif"
# The working file of five channels has 5.2 MB; of noise the result is larger.
for limit in (0, 1000, 100_000, 4_000_000, 5_300_000, 5_800_000, 6_300_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        with Publication() as publication:
            with ProbabilityRaster(publication.partial(path), grid, grid.window) as raster:
                raster.write(grid.window, values, known)
    except OutputError as error:
        assert len(str(error).splitlines()) == 1 and str(error).startswith(f"cannot write {{path}}")
    else:
        raise SystemExit(f"no error at {{limit}}")
    assert not list(path.parent.iterdir()), (limit, list(path.parent.iterdir()))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs limits on file size")
def test_a_full_disk_leaves_nothing(tmp_path, request):
    script = FULL_DISK.format(tests=str(request.path.parent), folder=str(tmp_path))
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
