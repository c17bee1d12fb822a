"""Files of footprints: identities and attributes as they stand there."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from geodamage.buildings.footprint_files import read_footprints
from geodamage.errors import FootprintError
from geodamage.grid import Grid
from tests.fakes import TRANSFORM, UTM, pixel_box, scene_of, strip_of

GRID = Grid(UTM, TRANSFORM, (40, 60))
BOX = pixel_box(4, 4, 10, 10)


def write(path, count=2, **columns):
    gpd.GeoDataFrame(columns, geometry=[BOX] * count, crs=UTM).to_file(path)
    return path


@pytest.mark.parametrize(
    ("identities", "expected"),
    [
        ([1, 1, 2, 3], ["1", "1-2", "2", "3"]),
        (["way/77", 5, None, 2**53 + 1], ["way/77", "5", "2", str(2**53 + 1)]),
    ],
)
def test_every_house_has_the_id_of_the_json(tmp_path, identities, expected):
    lonlat = gpd.GeoSeries([BOX], crs=UTM).to_crs(4326)[0]
    features = [
        {"type": "Feature", "id": identity, "properties": {"uid": 9}, "geometry": lonlat}
        for identity in identities
    ]
    path = tmp_path / "f.geojson"
    document = {"type": "FeatureCollection", "features": features}
    path.write_text(json.dumps(document, default=shapely.geometry.mapping))
    assert read_footprints(path, GRID).frame["building_id"].to_list() == expected
    own = read_footprints(path, GRID, id_field="uid").frame["building_id"]
    assert own.to_list() == ["9", "9-2", "9-3", "9-4"]


def test_ids_of_64_bits_beside_a_null_are_not_rounded(tmp_path):
    values = pd.array([2**53 + 1, None], "Int64")
    found = read_footprints(write(tmp_path / "f.gpkg", osm_id=values), GRID)
    assert found.frame["building_id"].to_list() == [str(2**53 + 1), "2"]


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("all", ["floors", "Use"]),
        ("none", []),
        ("Use", ["Use"]),
        ("Use, floors", ["Use", "floors"]),
    ],
)
def test_attributes_are_kept_unless_they_are_called_like_ours(tmp_path, keep, kept):
    path = write(tmp_path / "f.fgb", floors=[1, 2], Damage=["x", "y"], Use=["home", None])
    found = read_footprints(path, GRID, keep=keep)
    assert [field.name for field in found.kept] == kept
    if keep == "all":
        uses = found.frame.set_index("floors")["Use"]
        assert uses[1] == "home"
        assert uses.isna()[2]


@pytest.mark.parametrize(("keep", "words"), [("no", "no such field"), ("Damage", "our own")])
def test_attributes_that_cannot_be_kept_are_refused(tmp_path, keep, words):
    path = write(tmp_path / "f.fgb", Damage=["x", "y"])
    with pytest.raises(FootprintError, match=words):
        read_footprints(path, GRID, keep=keep)


def test_latitude_before_longitude_is_said(tmp_path):
    path = tmp_path / "f.gpkg"
    lonlat = gpd.GeoSeries([BOX], crs=UTM).to_crs(4326)
    swapped = shapely.transform(lonlat.to_numpy(), lambda xy: xy[:, ::-1])
    gpd.GeoDataFrame(geometry=swapped, crs=4326).to_file(path)
    scene = scene_of(strip_of(np.ones((40, 60), np.float32)))
    found = read_footprints(path, GRID)
    with pytest.raises(FootprintError, match="exchanged"):
        found.require_overlap(scene)
    far = shapely.box(10, 100, 11, 101)  # no latitude goes beyond 90 degrees
    gpd.GeoDataFrame(geometry=[far], crs=4326).to_file(path)
    with pytest.raises(FootprintError, match="exchanged"):
        read_footprints(path, GRID)
