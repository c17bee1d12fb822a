"""The synthetic scenes and the committed sample pair."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.warp import transform

# sample_data is not part of the installed package.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sample_data.make import DAMAGE_NAMES, SAMPLE_SEED, make_sample
from sample_data.scenes import TRAINING_SEEDS, draw_scene

SAMPLE = Path(__file__).resolve().parents[2] / "sample_data"
PRODUCTS = ("pre.tif", "post.tif", "buildings_true.geojson", "footprints.geojson")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder)
    return folder


def read_features(path: Path) -> list[dict[str, Any]]:
    collection = json.loads(path.read_text(encoding="utf-8"))
    assert set(collection) == {"type", "features"}  # RFC 7946 knows no crs member
    features: list[dict[str, Any]] = collection["features"]
    return features


@pytest.mark.slow
def test_a_seed_decides_the_scene() -> None:
    first, second, other = draw_scene(5, 128), draw_scene(5, 128), draw_scene(6, 128)
    np.testing.assert_array_equal(first.pre, second.pre)
    np.testing.assert_array_equal(first.post, second.post)
    assert first.grades == second.grades
    assert not np.array_equal(first.pre, other.pre)


def test_drawing_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global state is the point
    draw_scene(5, 96)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


@pytest.mark.slow
@pytest.mark.parametrize("size", [96, 250])
def test_scene_shapes(size: int) -> None:
    scene = draw_scene(8, size)
    for image in (scene.pre, scene.post):
        assert image.shape == (3, size, size)
        assert image.dtype == np.uint8
    assert len(scene.footprints) == len(scene.grades) > 0
    assert set(scene.grades) <= set(DAMAGE_NAMES)
    assert all(shapely.Polygon(corners).is_valid for corners in scene.footprints)
    assert np.hypot(*scene.post_offset) <= 12.5


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_footprints_are_valid_and_touch_at_most(seed: int) -> None:
    outlines = [shapely.Polygon(corners) for corners in draw_scene(seed, 192).footprints]
    assert all(outline.is_valid for outline in outlines)
    total = sum(outline.area for outline in outlines)
    assert total - shapely.union_all(outlines).area < 0.03 * total


@pytest.mark.slow
def test_post_content_moves_by_the_offset() -> None:
    """A calm stretch of a scene matches best where the offset says."""
    cv2 = pytest.importorskip("cv2")
    scene = draw_scene(9, 384)
    pre, post = (image.mean(axis=0).astype(np.float32) for image in (scene.pre, scene.post))
    edges = [cv2.Laplacian(cv2.GaussianBlur(image, (0, 0), 1.5), -1) for image in (pre, post)]
    window = cv2.createHanningWindow((384, 384), cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(*edges, window)
    assert (dx, dy) == pytest.approx(scene.post_offset, abs=1.5)


def test_no_model_has_seen_the_sample() -> None:
    assert SAMPLE_SEED >= TRAINING_SEEDS


@pytest.mark.slow
def test_making_it_twice_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    make_sample(tmp_path)
    for name in PRODUCTS:
        assert (made / name).read_bytes() == (tmp_path / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pre.tif", "post.tif"])
def test_committed_images_are_what_the_script_makes(made: Path, name: str) -> None:
    with rasterio.open(made / name) as new, rasterio.open(SAMPLE / name) as old:
        assert new.crs == old.crs
        assert new.shape == old.shape
        assert new.transform.almost_equals(old.transform, precision=1e-9)
        difference = np.abs(new.read().astype(int) - old.read())
    # Other processors and library builds round differently, and JPEG spreads that a little.
    assert difference.mean() < 1.0
    assert np.quantile(difference, 0.999) <= 24


@pytest.mark.slow
@pytest.mark.parametrize("name", ["buildings_true.geojson", "footprints.geojson"])
def test_committed_polygons_are_what_the_script_makes(made: Path, name: str) -> None:
    new, old = read_features(made / name), read_features(SAMPLE / name)
    assert [f["properties"] for f in new] == [f["properties"] for f in old]
    for one, other in zip(new, old, strict=True):
        shapes = [shapely.geometry.shape(f["geometry"]) for f in (one, other)]
        assert shapes[0].equals_exact(shapes[1], 3e-7)


def test_sample_is_small() -> None:
    assert sum((SAMPLE / name).stat().st_size for name in PRODUCTS) < 2_000_000


def test_every_grade_is_present() -> None:
    features = read_features(SAMPLE / "buildings_true.geojson")
    assert 60 <= len(features) <= 90
    properties = [f["properties"] for f in features]
    assert {p["damage"] for p in properties if p["seen_after"]} == set(DAMAGE_NAMES.values())
    assert all(DAMAGE_NAMES[p["damage_class"]] == p["damage"] for p in properties)


def test_footprints_are_the_same_buildings_without_grades() -> None:
    true, bare = (
        read_features(SAMPLE / name) for name in ("buildings_true.geojson", "footprints.geojson")
    )
    assert [f["geometry"] for f in true] == [f["geometry"] for f in bare]
    assert [f["properties"] for f in bare] == [{"building_id": i + 1} for i in range(len(bare))]


def test_polygons_follow_rfc_7946() -> None:
    for feature in read_features(SAMPLE / "buildings_true.geojson"):
        outline = shapely.geometry.shape(feature["geometry"])
        assert outline.is_valid
        assert outline.exterior.is_ccw
        for ordinate in np.ravel(feature["geometry"]["coordinates"]):
            assert round(float(ordinate), 7) == ordinate


def test_footprints_lie_on_the_pre_image() -> None:
    """They fall inside its bounds, and roofs stand out from the ground next to them."""
    with rasterio.open(SAMPLE / "pre.tif") as source:
        crs, grid, image = source.crs, source.transform, source.read().astype(float)
    spectral: list[float] = []
    for feature in read_features(SAMPLE / "footprints.geojson"):
        lon, lat = np.array(feature["geometry"]["coordinates"][0]).T
        east, north = np.array(transform("EPSG:4326", crs, lon, lat)[:2])
        x, y = (east - grid.c) / grid.a, (north - grid.f) / grid.e
        assert min(x.min(), y.min()) > -0.05
        assert x.max() < image.shape[2] + 0.05
        assert y.max() < image.shape[1] + 0.05
        column, row = int(x.mean()), int(y.mean())
        red, green, _ = image[:, row, column]
        spectral.append(green - red)
    lawn = np.median(image[1] - image[0])
    assert np.median(spectral) < lawn - 5  # roofs are less green than most of the image


def test_images_differ_in_grid_and_the_post_ends_in_an_untagged_collar() -> None:
    with rasterio.open(SAMPLE / "pre.tif") as pre, rasterio.open(SAMPLE / "post.tif") as post:
        assert (pre.crs.to_epsg(), post.crs.to_epsg()) == (32616, 4326)
        assert post.nodata is None
        assert pre.block_shapes[0] == post.block_shapes[0] == (256, 256)
        image = post.read()
    assert not image[:, :, -12:].any()
    assert image[:, :, :-32].any(axis=0).all()
