import json

import geopandas as gpd
import pyogrio
import pytest
import shapely

from geodamage.comparison.comparing import CompareOptions, compare
from geodamage.comparison.page import render
from geodamage.errors import InputError, OptionError, OutputExistsError
from geodamage.output.publication import read_sidecar
from tests.conftest import listing, run_command
from tests.exports.results import make_frame, make_result, middle

GRADES = (1, 2, 3, 4, 0, 1, 4, 2)
WORDS = {2: "Possibly damaged", 3: "Damaged", 4: "Destroyed"}


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return make_result(tmp_path_factory.mktemp("compared") / "buildings.gpkg", GRADES)


def write_cems(path, said, extra=()):
    """Write points as the service does: of damaged buildings alone."""
    points = [*(shapely.Point(*middle(number)) for number in said), *extra]
    words = [*said.values(), *["Destroyed"] * len(extra)]
    gpd.GeoDataFrame({"damage_gra": words}, geometry=points, crs=4326).to_file(path)
    return path


def test_a_result_agrees_with_itself(result, tmp_path):
    found = compare(result, result)
    facts = found.facts
    assert facts["scale"] == "four grades"
    assert facts["damaged"]["same"]["value"] == facts["grades"]["same"]["value"] == 1
    assert facts["grades"]["kappa"]["value"] == 1
    assert facts["compared"] == 7
    assert facts["only_result"] == facts["only_official"] == 0
    assert facts["without_opinion"] == 1
    assert set(found.buildings["verdict"]) == {"both_damaged", "both_undamaged", "not_compared"}


def test_points_of_damaged_buildings(result, tmp_path):
    # b1 is not in the layer, b0 is and we say undamaged, one point means no building of ours.
    said = {0: "Possibly damaged", 2: "Damaged", 3: "Destroyed", 4: "Destroyed", 6: "Damaged",
            7: "Possibly damaged"}  # fmt: skip
    aside = shapely.Point(middle(1)[0], middle(1)[1] - 0.00018)
    path = write_cems(tmp_path / "builtUpP.json", said, [aside])
    found = compare(result, path)
    facts = found.facts
    verdicts = dict(zip(found.buildings["building_id"], found.buildings["verdict"], strict=True))
    assert verdicts == {
        "b0": "only_official", "b1": "only_result", "b2": "both_damaged", "b3": "both_damaged",
        "b4": "not_compared", "b5": "both_undamaged", "b6": "both_damaged", "b7": "both_damaged",
    }  # fmt: skip
    assert facts["unlisted"] == "undamaged"
    assert facts["not_assessed_here"] == 1
    assert facts["damaged"]["counts"] == [[1, 1], [1, 4]]
    assert (facts["only_official"], facts["only_official_without_building"]) == (2, 1)
    assert facts["grades"]["counts"][3] == [0, 0, 1, 1]
    assert any("--within" in warning for warning in facts["warnings"])
    unknown = compare(result, path, CompareOptions(unlisted="unknown")).facts
    assert unknown["compared"] == 5
    assert unknown["damaged"]["counts"] == [[0, 1], [0, 4]]


def test_ground_that_the_layer_does_not_cover_is_left_out(result, tmp_path):
    path = write_cems(tmp_path / "c.json", {2: "Damaged", 3: "Destroyed"})
    area = gpd.GeoSeries([shapely.box(*make_frame(GRADES).iloc[1:4].total_bounds)], crs=32616)
    area.to_file(tmp_path / "area.gpkg")
    facts = compare(result, path, CompareOptions(within=tmp_path / "area.gpkg")).facts
    assert facts["compared"] == 3
    assert facts["warnings"] == []


@pytest.mark.parametrize(
    ("area", "crs", "compared"),
    [
        (shapely.box(-170, -80, 170, 80), 4326, 7),  # no plane of a scene has all of it
        (shapely.box(5e9, 5e9, 6e9, 6e9), 32616, 5),
    ],
)
def test_an_area_as_large_as_the_world_or_without_a_place(result, tmp_path, area, crs, compared):
    said = {0: "Damaged", 2: "Damaged", 3: "Destroyed", 6: "Damaged", 7: "Damaged"}
    far = [shapely.Point(100, -60)]
    path = write_cems(tmp_path / "c.json", said, far)
    gpd.GeoSeries([area], crs=crs).to_file(tmp_path / "area.gpkg")
    options = CompareOptions(within=tmp_path / "area.gpkg")
    assert compare(result, path, options).facts["compared"] == compared


def test_scales_that_differ_are_compared_as_damaged_or_not(result, tmp_path):
    squares = make_frame(GRADES).to_crs(4326).geometry
    flags = [0, 1, 1, 1, 1, 0, 0, 0]
    frame = gpd.GeoDataFrame({"damaged": flags, "unknown_pct": 0.0}, geometry=squares, crs=4326)
    frame.to_file(tmp_path / "ms.gpkg")
    facts = compare(result, tmp_path / "ms.gpkg").facts
    assert (facts["scale"], facts["grades"]) == ("damaged or not", None)
    assert facts["unlisted"] == "unknown"
    assert facts["damaged"]["counts"] == [[2, 0], [2, 3]]


def test_the_offset_of_the_layers_is_measured(result, tmp_path):
    frame = make_frame(GRADES)
    moved = frame.geometry.centroid.translate(3, -2).to_crs(4326)
    gpd.GeoDataFrame({"damage_gra": "Damaged"}, index=frame.index, geometry=moved).to_file(
        tmp_path / "c.json"
    )
    facts = compare(result, tmp_path / "c.json").facts["match"]
    assert (facts["east_m"], facts["north_m"]) == pytest.approx((-3, 2), abs=0.05)
    assert facts["matched"] == facts["inside"] == 8


def test_layers_of_other_places_are_refused(result, tmp_path):
    path = tmp_path / "far.json"
    gpd.GeoDataFrame(
        {"damage_gra": ["Destroyed"]}, geometry=[shapely.Point(10, 50)], crs=4326
    ).to_file(path)
    with pytest.raises(InputError, match="none of its 1 feature lies in the assessed area"):
        compare(result, path)


def test_the_page_asks_for_nothing_and_says_all(result, tmp_path):
    path = write_cems(tmp_path / "<b>.json", {2: "Damaged", 3: "Destroyed"})
    page = render(compare(result, path))
    assert "<b>.json" not in page
    assert "&lt;b&gt;.json" in page
    assert page.count("<path ") == len(GRADES)
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src 'none'" in page


def test_many_buildings_are_not_all_drawn(result, tmp_path, monkeypatch):
    monkeypatch.setattr("geodamage.comparison.page.MOST_SHAPES", 3)
    page = render(compare(result, result))
    assert page.count("<path ") == 5
    assert "3 buildings without a difference are left out" in page


@pytest.mark.slow
def test_the_command(result, tmp_path):
    path = write_cems(tmp_path / "c.json", {0: "Damaged", 2: "Damaged", 3: "Destroyed"})
    output, page = tmp_path / "out.gpkg", tmp_path / "out.html"
    done = run_command("compare", result, path, "-o", output, "--page", page)
    assert done.exit_code == 0, done.stderr
    assert "kappa" in done.stdout
    assert "warning: the hull" in done.stderr
    names = [name for name, kind in pyogrio.list_layers(output) if kind is not None]
    assert names == ["buildings", "official", "cells"]
    assert len(gpd.read_file(output, layer="buildings")) == len(GRADES)
    assert read_sidecar(output)["schema"] == read_sidecar(page)["schema"] == "cems"
    done = run_command("compare", result, path, "--json", "-q", "--cell", 20)
    facts = json.loads(done.stdout)
    assert facts["cells"]["side_m"] == 20
    assert done.stderr == ""
    done = run_command("compare", result, path, "-o", output)
    assert done.exit_code == OutputExistsError.exit_code
    done = run_command("compare", result, path, "-o", tmp_path / "out.csv")
    assert done.exit_code == OptionError.exit_code
    assert sorted(name for name in listing(tmp_path) if "partial" in name) == []
