"""Layers of results, read back whatever the format."""

import json

import geopandas as gpd
import pytest
import shapely

from geodamage.errors import InputError
from geodamage.fields import FIELDS, conform
from geodamage.output.layers import is_empty_sequence, pair_doubt, read_facts, read_layer
from geodamage.output.vectors import write_buildings
from tests.conftest import UTM


@pytest.mark.parametrize("extension", ["geojsonl", "ndjson"])
def test_a_sequence_without_a_building_is_a_result(tmp_path, extension):
    path = write_buildings([], tmp_path / f"b.{extension}", UTM)
    assert path.stat().st_size == 0
    assert is_empty_sequence(path)
    assert read_layer(path).empty
    assert read_facts(path)["buildings"] == 0
    assert not is_empty_sequence(tmp_path / "other.geojsonl")
    (tmp_path / "b.geojson").touch()
    with pytest.raises(InputError, match="empty"):
        read_layer(tmp_path / "b.geojson")


@pytest.mark.parametrize(("extension", "is_met"), [("geojson", True), ("gpkg", False)])
def test_a_result_that_is_not_that_of_its_sidecar_is_noticed(tmp_path, extension, is_met):
    path = write_buildings([], tmp_path / f"b.{extension}", UTM)
    facts, frame = read_facts(path), read_layer(path)
    assert pair_doubt(path, facts, frame) is None
    with path.open("ab") as file:
        file.write(b"\n")
    assert (pair_doubt(path, facts, frame) is not None) is is_met
    assert pair_doubt(path, {}, frame) is None  # of an earlier version


@pytest.mark.parametrize(
    ("said", "is_met"),
    [
        ({"buildings": 2}, False),
        ({"buildings": 3}, True),
        ({"buildings_per_grade": {"destroyed": 1, "no-damage": 1, "minor-damage": 0}}, False),
        ({"buildings_per_grade": {"destroyed": 2}}, True),
        ({"buildings_per_status": {"assessed": 2, "partial": 0}}, False),
        ({"buildings_per_status": {"assessed": 1, "partial": 1}}, True),
        ({"buildings_per_status": 3, "result_sha256": "00"}, False),
    ],
)
def test_a_geopackage_is_known_by_its_counts(tmp_path, said, is_met):
    frame = gpd.GeoDataFrame({"damage": ["destroyed", "no-damage"], "status": ["assessed"] * 2})
    assert (pair_doubt(tmp_path / "b.gpkg", said, frame) is not None) is is_met


def write(path, **properties):
    square = shapely.geometry.mapping(shapely.box(1, 2, 3, 4))
    rows = [{name: values[n] for name, values in properties.items()} for n in range(2)]
    features = [{"type": "Feature", "geometry": square, "properties": row} for row in rows]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    return path


def test_columns_of_json_are_of_the_types_that_a_table_has(tmp_path):
    path = write(
        tmp_path / "a.geojson",
        damage_class=[1, None], number=[1, 2], damaged=[True, False], name=["a", None], p=[1, 0.5],
    )  # fmt: skip
    frame = read_layer(path)
    assert frame[["damage_class", "number", "damaged", "p"]].dtypes.astype(str).to_list() == [
        "float64", "int64", "bool", "float64",
    ]  # fmt: skip
    assert frame["name"].isna().to_list() == [False, True]
    assert frame["name"].iloc[0] == "a"


def test_a_field_of_another_kind_is_an_input_that_is_refused():
    values = {field.name: ["many"] for field in FIELDS}
    frame = gpd.GeoDataFrame(values, geometry=[None], crs=UTM)
    with pytest.raises(InputError, match="no integer; give a file that geodamage assess wrote"):
        conform(frame, frame.crs)
