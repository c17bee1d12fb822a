import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import CRS

from geodamage.fields import DTYPES, FIELDS, NAMES, conform, empty_frame

UTM = CRS.from_epsg(32633)


def test_names_are_in_the_order_of_the_design():
    assert NAMES[:3] == ("building_id", "damage", "damage_class")
    assert NAMES[-4:] == ("area_m2", "lon", "lat", "source")
    assert len(set(NAMES)) == len(NAMES) == 17


def test_empty_frame_is_typed():
    frame = empty_frame(UTM)
    assert len(frame) == 0
    assert tuple(frame.columns) == (*NAMES, "geometry")
    assert frame.crs == UTM
    assert [str(frame[field.name].dtype) for field in FIELDS] == [DTYPES[f.kind] for f in FIELDS]


def test_conform_rounds_types_and_nulls():
    row = dict.fromkeys(NAMES)
    row |= {"building_id": "7", "damage_class": 3.0, "p_none": 0.123456, "area_m2": np.inf}
    row |= {"damaged": True, "extra": 1}
    point = shapely.from_wkt("POINT Z (1 2 3)")
    empty = shapely.Polygon()
    frame = gpd.GeoDataFrame([row, dict.fromkeys(NAMES)], geometry=[point, empty], crs=UTM)
    conformed = conform(frame, UTM)
    assert tuple(conformed.columns) == (*NAMES, "geometry")
    first = conformed.iloc[0]
    assert (first["building_id"], first["damage_class"], first["p_none"]) == ("7", 3, 0.1235)
    assert first["damaged"] is np.True_ or first["damaged"] is True
    assert np.isnan(first["area_m2"])
    assert conformed.iloc[1].drop("geometry").isna().all()
    assert not first.geometry.has_z
    assert conformed.geometry.iloc[1] is None


def test_conform_warps():
    row = dict.fromkeys(NAMES)
    frame = gpd.GeoDataFrame([row], geometry=[shapely.Point(15, 0)], crs=4326)
    assert conform(frame, UTM).geometry[0].x == pytest.approx(500_000)
    assert pd.isna(conform(frame, UTM)["damage"][0])
