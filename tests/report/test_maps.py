"""The printed sheet says what the page says."""

import geopandas as gpd
import pytest
import shapely

from geodamage.report.lists import image_rows, run_rows
from geodamage.report.maps import draw_sheet
from geodamage.report.view import make_view
from tests.conftest import CORNER, UTM

pytest.importorskip("matplotlib")

FACTS = {
    "assessed_km2": 0.25,
    "scene": {"pre": {"scaling": {"minimum": [12.5] * 3, "maximum": [1, 2, 3], "from": "guess"}}},
}


def view(**facts):
    place = shapely.box(CORNER[0], CORNER[1], CORNER[0] + 20, CORNER[1] + 20)
    rows = [
        {"building_id": "a", "damage_class": 2, "status": "assessed", "area_m2": 400.0},
        {"building_id": "b", "status": "not_assessed", "status_reason": "obscured_post"},
        {"building_id": "c", "status": "not_assessed", "status_reason": "outside_aoi"},
    ]
    frame = gpd.GeoDataFrame(rows, geometry=[place] * 3, crs=UTM)
    return make_view(frame, FACTS | facts, source="b.gpkg")


def words(seen):
    return [text.get_text() for text in draw_sheet(seen).texts]


@pytest.mark.slow
def test_a_sheet_says_what_was_hidden_and_that_candidates_are_no_buildings():
    found = words(
        view(candidates=True, candidates_real=0.78,
             obscured={"ground_pre": 0.0, "ground_post": 0.31})
    )  # fmt: skip
    assert "cloud, smoke or fill over 0% of the ground before, 31% after" in found
    assert "78% of such candidates were buildings in tests" in found
    assert "Candidates" in found
    assert "Buildings" not in found
    assert found[found.index("with a grade") + 1] == "1"
    assert found[found.index("not assessed") + 1] == "1"
    assert found[found.index("outside the area") + 1] == "1"


@pytest.mark.slow
def test_a_sheet_of_footprints_speaks_of_buildings():
    found = words(view(candidates=False, candidates_real=None))
    assert "Buildings" in found
    assert "Candidates" not in found
    assert not any("cloud" in text for text in found)


def test_the_page_has_the_same_lines():
    seen = view(candidates=True, candidates_real=0.78)
    said = "78% of such candidates were buildings in tests"
    assert ("Candidates", said) in run_rows(seen.facts)
    assert ("Scaled from", "12.5 (black) to 1, 2, 3 (white), a guess") in image_rows(seen, "pre")
