"""Totals of administrative areas, and areas that cannot be used."""

from dataclasses import replace

import geopandas as gpd
import pytest
import shapely

from geodamage.errors import OptionError
from geodamage.event.merging import merge_event
from geodamage.event.rollups import TALLY_FIELDS
from tests.event_scenes import BARN, HOUSE, House, frame_of, layer, merge, write_scene


@pytest.mark.slow
def test_admin_areas_keep_their_name_and_count_by_point(tmp_path, output):
    areas = frame_of([House(0, 0, 150, 400), House(150, 0, 150, 400)])
    admin = gpd.GeoDataFrame({"NAME_2": ["West", "East"]}, geometry=areas.geometry, crs=areas.crs)
    admin.to_file(tmp_path / "admin.geojson")
    across = replace(House(144, 200, 10, 10), grade=3)  # its middle lies in the west
    look = write_scene(tmp_path, "a", [HOUSE, BARN, across, House(350, 20)])
    summary = merge([look], output, admin=tmp_path / "admin.geojson", admin_name="NAME_2")
    found = layer(output, "admin")
    assert found.columns.tolist() == ["NAME_2", *TALLY_FIELDS, "geometry"]
    assert found[["NAME_2", "buildings", "major_damage"]].values.tolist() == [
        ["West", 2, 1],
        ["East", 1, 0],
    ]
    assert summary.facts["admin"]["buildings_outside"] == 1


@pytest.mark.slow
def test_admin_areas_of_another_place_are_said(tmp_path, output):
    areas = gpd.GeoSeries([shapely.box(10, 10, 11, 11)], crs=4326)
    gpd.GeoDataFrame({"name": ["Far"]}, geometry=areas).to_file(tmp_path / "admin.geojson")
    look = write_scene(tmp_path, "a", [HOUSE])
    with merge_event([look], output, admin=tmp_path / "admin.geojson") as work:
        said = [step.message for step in work if step.warning]
    assert said == ["admin.geojson: no building lies in any of its areas; is it of this place?"]


@pytest.mark.slow
@pytest.mark.parametrize(("code", "doubted"), [(26716, True), (4326, False)])
def test_admin_areas_of_a_doubtful_datum_are_said(tmp_path, output, code, doubted):
    areas = frame_of([House(0, 0, 400, 400)]).geometry.to_crs(code)
    admin = tmp_path / "admin.gpkg"
    gpd.GeoDataFrame({"name": ["Here"]}, geometry=areas).to_file(admin)
    look = write_scene(tmp_path, "a", [HOUSE])
    with merge_event([look], output, admin=admin) as work:
        said = [step.message for step in work if step.warning]
    assert [text.startswith("admin.gpkg: from NAD27 to WGS 84") for text in said] == [
        True
    ] * doubted
    assert (work.result().facts["admin"]["doubt"] is not None) == doubted


@pytest.mark.slow
def test_an_admin_file_without_such_a_field_is_refused(tmp_path, output):
    frame_of([House(0, 0)]).to_file(tmp_path / "admin.geojson")
    look = write_scene(tmp_path, "a", [HOUSE])
    with pytest.raises(OptionError, match="no field called name; choose by --admin-name"):
        merge([look], output, admin=tmp_path / "admin.geojson")
    with pytest.raises(OptionError, match="no such field"):
        merge([look], output, admin=tmp_path / "admin.geojson", admin_name="state")
    with pytest.raises(OptionError, match="--cell 0"):
        merge([look], output, cell=0)
