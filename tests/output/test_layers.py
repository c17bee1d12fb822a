"""Layers of results, read back whatever the format."""

import json

import geopandas as gpd
import pytest
import shapely

from geodamage.errors import InputError
from geodamage.fields import FIELDS, conform
from geodamage.output.layers import is_empty_sequence, read_facts, read_layer
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
