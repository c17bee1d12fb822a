"""Real imagery, where it is at hand; the result must be there, not good."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import ColorInterp, Resampling

from tests.conftest import run_command
from tests.data_folder import DATA, needs

ROOT = Path(__file__).parents[1]
PRE = DATA / "xbd_geotiff" / "hurricane-michael_00000031_pre_disaster.tif"
POST = DATA / "xbd_geotiff" / "hurricane-michael_00000031_post_disaster.tif"

pytestmark = [
    pytest.mark.data,
    pytest.mark.slow,
    needs(),
]


def assess(folder: Path, pre: Path, post: Path, *options: object) -> tuple[gpd.GeoDataFrame, dict]:
    output = folder / "buildings.geojson"
    result = run_command("assess", pre, post, "-o", output, *options)
    assert result.exit_code == 0, result.stderr
    facts = json.loads((folder / "buildings.geojson.json").read_text())
    return gpd.read_file(output, layer=0), facts


def rewrite(source: Path, target: Path, change) -> Path:
    """Write a changed copy of an image; `change` gets dataset and profile, returns the pixels."""
    with rasterio.open(source) as dataset:
        profile = {**dataset.profile, "driver": "GTiff"}
        for key in ("photometric", "compress", "interleave"):
            profile.pop(key, None)
        pixels = change(dataset, profile)
    with rasterio.open(target, "w", **profile) as written:
        written.write(pixels)
        if profile["count"] == 4:
            rgba = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
            written.colorinterp = rgba
    return target


def resized(factor: float):
    def change(dataset, profile):
        rows, columns = round(dataset.height * factor), round(dataset.width * factor)
        profile.update(height=rows, width=columns)
        profile["transform"] = dataset.transform @ Affine.scale(1 / factor)
        return dataset.read(out_shape=(3, rows, columns), resampling=Resampling.average)

    return change


def as_uint16(dataset, profile):
    profile.update(dtype="uint16")
    return dataset.read().astype(np.uint16) * 8 + 100


def half_transparent(dataset, profile):
    profile.update(count=4)
    alpha = np.full((1, dataset.height, dataset.width), 255, np.uint8)
    alpha[:, :, dataset.width // 2 :] = 0
    return np.concatenate([dataset.read(), alpha])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return assess(tmp_path_factory.mktemp("plain"), PRE, POST)


def test_a_pair_of_geotiffs(plain):
    buildings, facts = plain
    assert len(buildings) > 20
    assert facts["assessed_km2"] == pytest.approx(0.22, abs=0.03)


@pytest.mark.parametrize(
    ("factor", "gsd"), [(0.5, 0.932), (2.0, 0.233)], ids=["twice the pixel size", "half of it"]
)
def test_a_post_image_of_another_pixel_size(plain, tmp_path, factor, gsd):
    post = rewrite(POST, tmp_path / "post.tif", resized(factor))
    buildings, facts = assess(tmp_path, PRE, post)
    # Localisation sees the pre image alone, so nearly the same buildings are found.
    assert len(buildings) == pytest.approx(len(plain[0]), rel=0.02)
    assert plain[1]["warnings"] == []
    (warning,) = facts["warnings"]
    assert "pre has 0.466 m" in warning
    assert f"post {gsd} m" in warning


def test_a_post_image_of_sixteen_bits(plain, tmp_path):
    post = rewrite(POST, tmp_path / "post.tif", as_uint16)
    buildings, facts = assess(tmp_path, PRE, post)
    assert len(buildings) == len(plain[0])
    assert facts["scene"]["post"]["scaling"] is not None


def test_a_post_image_with_a_transparent_half(plain, tmp_path):
    post = rewrite(POST, tmp_path / "post.tif", half_transparent)
    buildings, facts = assess(tmp_path, PRE, post)
    assert facts["assessed_km2"] == pytest.approx(plain[1]["assessed_km2"] / 2, rel=0.05)
    assert 0 < len(buildings) < len(plain[0])


def test_every_footprint_of_joplin_comes_out(tmp_path):
    footprints = gpd.read_file(DATA / "joplin" / "footprints.geojson")
    buildings, facts = assess(
        tmp_path,
        DATA / "joplin" / "pre",
        DATA / "joplin" / "post",
        "--footprints",
        DATA / "joplin" / "footprints.geojson",
    )
    assert len(buildings) == len(footprints) == 2823
    assert buildings["building_id"].is_unique
    hidden = buildings["status"] == "not_assessed"
    assert buildings.loc[hidden, "damage"].isna().all()
    assert buildings.loc[hidden, "status_reason"].notna().all()
    assert buildings.loc[~hidden, "damage"].notna().all()
    assert facts["footprints"]["count"] == 2823
