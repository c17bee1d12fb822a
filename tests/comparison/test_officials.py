import json

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from geodamage.comparison.officials import read_official
from geodamage.errors import InputError, OptionError
from geodamage.exports.exporting import ExportOptions, export
from geodamage.exports.schemas import SCHEMAS
from tests.exports.results import make_result

POINTS = [shapely.Point(85 + n / 1000, 28) for n in range(4)]


def write(path, shapes=None, **columns):
    """Write a layer as others publish it."""
    shapes = POINTS[: len(next(iter(columns.values())))] if shapes is None else shapes
    gpd.GeoDataFrame(columns, geometry=shapes, crs=4326).to_file(path)
    return path


def grades_of(official):
    return official.frame["grade"].fillna(0).tolist()


def test_copernicus_of_2026(tmp_path):
    path = write(
        tmp_path / "EMSR916_AOI02_GRA_PRODUCT_builtUpP_v1.json",
        obj_type=["11-Residential"] * 4,
        simplified=["Residential"] * 4,
        damage_gra=["Destroyed", "Damaged", "Possibly damaged", "Not Applicable"],
        det_method=["Photo-interpretation"] * 4,
    )
    official = read_official(path)
    assert (official.schema, official.field, official.has_grades) == ("cems", "damage_gra", True)
    assert grades_of(official) == [4, 3, 2, 0]
    assert official.frame["damaged"].isna().tolist() == [False, False, False, True]
    assert not official.lists_undamaged


@pytest.mark.parametrize(
    ("word", "grade"),
    [("Completely Destroyed", 4), ("Completed Destroyed", 4), ("Highly Damaged", 3),
     ("Moderately Damaged", 2), ("Negligible to slight damage", 2), ("Not Affected", 1),
     ("No visible damage", 1), ("  destroyed ", 4)],
)  # fmt: skip
def test_copernicus_of_2016_and_its_words(tmp_path, word, grade):
    official = read_official(write(tmp_path / "settlements.shp", grading=[word, "Highly Damaged"]))
    assert official.schema == "cems"
    assert grades_of(official) == [grade, 3]


def test_unosat_is_many_epochs_wide(tmp_path):
    path = write(
        tmp_path / "unosat.gpkg",
        SensorDate=pd.to_datetime(["2023-10-17"] * 4),
        Main_Damage_Site_Class=[6.0, None, 3.0, 1.0],
        SensorDate_2=pd.to_datetime(["2025-10-11"] * 4),
        Main_Damage_Site_Class_2=[1.0, 2.0, None, 11.0],
        Damage_Status_2=[0, 1, 3, 3],
        Grouped_Damage_Classes=[1, 1, 1, 1],
    )
    last = read_official(path)
    assert grades_of(last) == [4, 3, 2, 0]  # who is not looked at again stays as it was
    assert (last.field, last.epoch) == ("Main_Damage_Site_Class_2", "2 of 2, 2025-10-11")
    first = read_official(path, epoch=1)
    assert grades_of(first) == [1, 0, 2, 4]
    assert first.epoch == "1 of 2, 2023-10-17"
    with pytest.raises(OptionError, match=r"--epoch 3: .* has 1, 2"):
        read_official(path, epoch=3)


def test_unosat_has_words_and_sites_that_are_no_buildings(tmp_path):
    path = write(
        tmp_path / "unosat.geojson",
        Main_Damage_Site_Class=["Severe Damage", "Destroyed", "No Visible Damage"],
        Grouped_Damage_Classes=[1, 2, 1],
    )
    official = read_official(path)
    assert grades_of(official) == [3, 1]
    assert official.lists_undamaged
    assert any("1 sites are not buildings" in note for note in official.notes)


def test_unosat_as_a_shapefile_has_cut_names(tmp_path):
    columns = {"Main_Damag": [6, 6], "Main_Dam_1": [1, 2], "SensorDate": ["a", "b"]}
    official = read_official(write(tmp_path / "unosat.shp", **columns))
    assert grades_of(official) == [4, 3]
    assert official.epoch == "2 of 2"


def test_microsoft_knows_damaged_or_not(tmp_path):
    squares = [shapely.box(n, 0, n + 0.1, 0.1) for n in range(3)]
    path = write(
        tmp_path / "ms.geojson", squares, id=["a", "b", "c"], damage_pct_0m=[0.4, 0, 0.9],
        damaged=[1, 0, 1], unknown_pct=[0.0, 0.1, 0.8],
    )  # fmt: skip
    official = read_official(path)
    assert (official.schema, official.has_grades) == ("microsoft", False)
    assert official.frame["damaged"].tolist()[:2] == [True, False]
    assert official.frame["damaged"].isna().tolist() == [False, False, True]


def test_hot_and_others(tmp_path):
    hot = read_official(write(tmp_path / "hot.geojson", severity=["major", "destroyed"]))
    assert (hot.schema, grades_of(hot)) == ("hot", [3, 4])
    csv = tmp_path / "disha.csv"
    csv.write_text("lon,lat,damaged\n85,28,TRUE\n85.1,28,FALSE\n")
    binary = read_official(csv)
    assert (binary.schema, binary.frame["damaged"].tolist()) == ("binary", [True, False])


@pytest.mark.slow
@pytest.mark.parametrize("extension", [".gpkg", ".shp", ".geojson"])
@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_what_we_export_we_read(tmp_path, schema, labels, extension):
    result = make_result(tmp_path / "b.gpkg", (1, 2, 3, 4, 0))
    path = tmp_path / f"out{extension}"
    export(result, path, ExportOptions(schema=schema, labels=labels))
    official = read_official(path)
    assert official.schema == schema
    assert official.frame["damaged"].fillna(False).tolist() == [False, True, True, True, False]
    assert official.frame["damaged"].isna().tolist() == [False] * 4 + [True]
    if official.has_grades:
        assert grades_of(official) == [1, 2, 3, 4, 0]


def test_a_geojson_that_is_called_shp_is_read_by_its_content(tmp_path):
    path = write(tmp_path / "a.json", damage_gra=["Destroyed", "Damaged"])
    told = json.loads(path.read_text())
    told["features"][0]["properties"] |= {"damaged": [True], "building_id": {"a": 1}}
    (tmp_path / "a.shp").write_text(json.dumps(told))
    assert grades_of(read_official(tmp_path / "a.shp")) == [4, 3]


def test_what_says_no_damage_is_refused(tmp_path):
    path = write(tmp_path / "roads.geojson", name=["a"], length=[1.0])
    with pytest.raises(InputError, match=r"no field of a known schema .* it has name, length"):
        read_official(path)
    path = write(tmp_path / "cells.geojson", damaged=[0, 1, 5])
    with pytest.raises(InputError, match="says '5', which are not terms of binary"):
        read_official(path)
    path = write(tmp_path / "cems.geojson", damage_gra=["zerstört", "kaputt"])
    with pytest.raises(InputError, match=r"says 'zerstört', 'kaputt', .* not terms of cems"):
        read_official(path)
    with pytest.raises(OptionError, match="--epoch is for UNOSAT"):
        read_official(write(tmp_path / "hot.geojson", severity=["major"]), epoch=2)
    with pytest.raises(InputError, match="no field of cems"):
        read_official(tmp_path / "hot.geojson", "cems")


def test_single_unknown_words_are_named_and_left_out(tmp_path):
    official = read_official(write(tmp_path / "c.geojson", damage_gra=["Destroyed", "Burnt"]))
    assert grades_of(official) == [4, 0]
    assert any("'burnt' (1)" in note for note in official.notes)
