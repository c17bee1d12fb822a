import json

import geopandas as gpd
import pyogrio
import pytest

from tests.conftest import run_command
from tests.event_scenes import layer
from tests.towns import LABELS, answer, town, write_districts, write_result

pytestmark = pytest.mark.slow


@pytest.fixture
def town_and_estimate(tmp_path):
    result = write_result(tmp_path / "in" / "town.gpkg", town(1))
    sample, written = tmp_path / "sample.gpkg", tmp_path / "e.json"
    assert run_command("sample", result, "-n", "40", "-o", sample, "-q").exit_code == 0
    reviewed = answer(sample, tmp_path / "reviewed.csv")
    districts = write_districts(tmp_path / "districts.gpkg")
    ran = run_command(
        "estimate", result, "--reviewed", reviewed, "--by", districts, "-o", written, "-q"
    )
    assert ran.exit_code == 0, ran.stderr
    return result, written, districts


def test_an_estimate_becomes_a_table_and_fields_of_the_areas(town_and_estimate, tmp_path):
    result, written, districts = town_and_estimate
    event = tmp_path / "event.gpkg"
    ran = run_command(
        "event", result, "-o", event, "--admin", districts, "--estimate", written, "-q"
    )
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(written.read_text())
    table = pyogrio.read_dataframe(event, layer="estimate")
    assert not isinstance(table, gpd.GeoDataFrame)
    whole = table[table["area"].isna()].set_index("of")
    for name in ("damaged", *LABELS, "no building"):
        assert whole.loc[name, "low"] == told[name]["low"]
        assert whole.loc[name, "total"] == told[name]["total"]
    areas = {area["name"]: area for area in told["areas"]}
    admin = layer(event, "admin").set_index("name")
    assert len(areas) == len(admin) == 2
    for name, area in areas.items():
        assert admin.loc[name, "damaged_estimate"] == area["damaged"]["total"]
        assert admin.loc[name, "damaged_high"] == area["damaged"]["high"]
        assert admin.loc[name, "looked_at"] == area["answered"]
    facts = json.loads((tmp_path / "event.gpkg.json").read_text())
    assert facts["estimate"]["damaged"] == told["damaged"]
    assert facts["estimate"]["file"] == "e.json"
    # The next day's update counts again, and a report shows the event still.
    assert run_command("event", result, "-o", event, "--update", "-q").exit_code == 0
    assert "estimate" not in set(pyogrio.list_layers(event)[:, 0])


def test_an_estimate_of_other_buildings_is_refused(town_and_estimate, tmp_path):
    _, written, _ = town_and_estimate
    other = write_result(tmp_path / "other" / "town.gpkg", town(2)[:50])
    ran = run_command("event", other, "-o", tmp_path / "event.gpkg", "--estimate", written)
    assert ran.exit_code == 4
    assert "is of 100 buildings and the layer has 50 with a grade" in ran.stderr
    assert not (tmp_path / "event.gpkg").exists()
