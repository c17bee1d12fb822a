"""What an assessment hands on: tables and Shapefiles, declared types, the ground that was seen."""

import geopandas as gpd
import pandas as pd
import pyogrio
import pytest
import rasterio
import shapely

import geodamage
from geodamage.output.layers import read_layer
from geodamage.output.publication import read_sidecar
from geodamage.output.seen_ground import read_assessed_area
from tests.assessments import in_pixels, write_footprints
from tests.conftest import ROOFS, run_command

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("extension", [".csv", ".shp"])
def test_tables_and_shapefiles_are_results(pair, model, tmp_path, extension):
    output, page = tmp_path / f"b{extension}", tmp_path / "b.html"
    done = run_command("assess", *pair, "-o", output, "--model", model, "--report", page)
    assert done.exit_code == 0, done.stderr
    assert in_pixels(read_layer(output)) == sorted(ROOFS)
    assert page.stat().st_size > 100_000
    assert read_sidecar(output)["buildings"] == len(ROOFS)
    again = run_command("assess", *pair, "-o", output, "--model", model)
    assert again.exit_code == 6


def test_python_gets_the_buildings_of_a_table(pair, model, tmp_path):
    found = geodamage.assess(*pair, model=model, output=tmp_path / "b.csv")
    whole = geodamage.assess(*pair, model=model)
    columns = ["building_id", "damage", "damage_class", "damaged", "status"]
    pd.testing.assert_frame_equal(found.buildings[columns], whole.buildings[columns])


def test_types_are_declared(found, pair, model, tmp_path):
    output = tmp_path / "b.gpkg"
    assert run_command("assess", *pair, "-o", output, "--model", model).exit_code == 0
    assert pyogrio.read_info(output, layer=0)["geometry_type"] == "Polygon"
    first, second, *_ = (roof.polygon for roof in ROOFS)
    shapes = [shapely.MultiPolygon([first, second]), ROOFS[2].polygon]
    footprints = write_footprints(tmp_path / "f.gpkg", ["a", "b"], shapes)
    options = ("--model", model, "--footprints", footprints, "--overwrite")
    assert run_command("assess", *pair, "-o", output, *options).exit_code == 0
    assert pyogrio.read_info(output, layer=0)["geometry_type"] == "MultiPolygon"
    assert gpd.read_file(output, layer=0).geometry.geom_type.tolist() == ["MultiPolygon"] * 2


def test_the_sidecar_has_the_assessed_area_and_the_raster_a_clear_background(pair, model, tmp_path):
    output, raster = tmp_path / "b.geojson", tmp_path / "g.tif"
    options = ("--model", model, "--raster", raster)
    assert run_command("assess", *pair, "-o", output, *options).exit_code == 0
    facts = read_sidecar(output)
    area = gpd.GeoSeries([read_assessed_area(facts)], crs="OGC:CRS84").to_crs(32616).area[0]
    assert area / 1e6 == pytest.approx(facts["assessed_km2"], rel=0.01)
    with rasterio.open(raster) as dataset:
        shown, codes = dataset.read_masks(1), dataset.read(1)
    assert ((shown == 0) == (codes == 0)).all()
    assert (codes == 0).mean() > 0.5
