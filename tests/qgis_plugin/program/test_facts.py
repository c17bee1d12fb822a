import json
import os
from pathlib import Path
from typing import Any

import pytest
from geodamage_qgis.errors import PluginError
from geodamage_qgis.program.facts import fact_rows, read_facts, sidecar_path, summary_html

from tests.conftest import Pair, run_command

CONTENT: dict[str, Any] = {
    "statement": "preliminary, automatic, not validated in the field",
    "created": "2026-11-21T09:40:42+00:00",
    "software": {"geodamage": "0.1.0"},
    "model": {"name": "fast", "version": "0.1.1", "licence": "CC BY-NC-SA 4.0"},
    "scene": {
        "pre": {"files": [{"path": f"/tiles/{i}.tif"} for i in range(5)]},
        "post": {"files": [{"path": "/post <2>.tif"}]},
        "crs": "EPSG:32616",
        "gsd": 0.500141,
    },
    "assessed_km2": 0.0959,
    "buildings": 5,
    "buildings_per_grade": {"no-damage": 3, "destroyed": 1},
    "area_m2_per_grade": {"no-damage": 300.4, "destroyed": 99.6},
    "buildings_per_status": {"assessed": 3, "partial": 1, "not_assessed": 1},
    "warnings": ["a < b"],
    "seconds": 1.99,
}


@pytest.fixture
def output(tmp_path: Path) -> Path:
    path = tmp_path / "buildings.gpkg"
    sidecar_path(path).write_text(json.dumps(CONTENT), encoding="utf-8")
    return path


def test_counts_name_every_grade_and_status(output: Path) -> None:
    facts = read_facts(output)
    grades = {"no-damage": 3, "minor-damage": 0, "major-damage": 0, "destroyed": 1}
    assert facts.grades == grades
    assert facts.statuses == {"assessed": 3, "partial": 1, "not_assessed": 1}
    assert facts.areas["destroyed"] == 99.6


def test_images_of_both_dates_are_found(output: Path) -> None:
    facts = read_facts(output)
    assert facts.images("post") == ["/post <2>.tif"]
    assert len(facts.images("pre")) == 5
    assert facts.crs == "EPSG:32616"


def test_rows_say_what_a_person_asks(output: Path) -> None:
    rows = dict(fact_rows(read_facts(output)))
    assert rows["Model"] == "fast 0.1.1"
    assert rows["Made"] == "2026-11-21 09:40:42 UTC"
    assert rows["Before"] == "/tiles/0.tif, /tiles/1.tif, /tiles/2.tif and 2 more"
    assert rows["Ground sample distance"] == "0.50 m"
    assert "Footprints" not in rows


def test_the_page_has_shares_of_the_graded_and_escapes_names(output: Path) -> None:
    page = summary_html(read_facts(output))
    assert "not validated in the field" in page
    assert "75.0 %" in page
    assert "25.0 %" in page
    assert "not assessed" in page
    assert "a &lt; b" in page
    assert "/post &lt;2&gt;.tif" in page


def test_a_short_sidecar_has_a_page_too(tmp_path: Path) -> None:
    sidecar_path(tmp_path / "a.gpkg").write_text('{"software": "geodamage", "version": "0.1.0"}')
    facts = read_facts(tmp_path / "a.gpkg")
    assert facts.images("pre") == []
    assert dict(fact_rows(facts))["Software"] == "geodamage 0.1.0"
    assert "a.gpkg" in summary_html(facts)


@pytest.mark.slow
def test_the_sidecar_of_a_real_run_is_understood(pair: Pair, model: Path, tmp_path: Path) -> None:
    output = tmp_path / "buildings.geojson"
    result = run_command("assess", pair.pre, pair.post, "-o", output, "--model", model, "-q")
    assert result.exit_code == 0, result.output
    facts = read_facts(output)
    assert sum(facts.grades.values()) == facts.content["buildings"] > 0
    assert [Path(path).name for path in facts.images("pre")] == [pair.pre.name]
    titles = {title for title, _ in fact_rows(facts)}
    assert {"Made", "Software", "Model", "Model licence", "CRS", "Assessed area"} <= titles


def test_buildings_without_grades_have_a_page_without_grades(output: Path) -> None:
    graded = {"buildings_per_grade", "area_m2_per_grade"}
    content = {name: value for name, value in CONTENT.items() if name not in graded}
    content |= {
        "result": "footprints",
        "area_m2": 1400.4,
        "scene": {"image": {"files": [{"path": "/town.tif"}]}},
    }
    sidecar_path(output).write_text(json.dumps(content), encoding="utf-8")
    facts = read_facts(output)
    rows = dict(fact_rows(facts))
    assert (rows["Image"], rows["Area of the buildings"]) == ("/town.tif", "1,400 m²")
    assert not {"Before", "After"} & set(rows)
    page = summary_html(facts)
    assert "1 of the buildings were seen in part only" in page
    assert "Destroyed" not in page
    assert "Grade" not in page


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_sidecar(tmp_path: Path) -> None:
    os.mkfifo(sidecar_path(tmp_path / "a.gpkg"))
    with pytest.raises(PluginError, match="not a sidecar"):
        read_facts(tmp_path / "a.gpkg")


def test_a_result_without_sidecar_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="not a finished result"):
        read_facts(tmp_path / "buildings.gpkg")


@pytest.mark.parametrize("text", ["", "[]", '"words"', "{", "[" * 100_000])
def test_what_is_no_sidecar_is_refused(tmp_path: Path, text: str) -> None:
    sidecar_path(tmp_path / "a.gpkg").write_text(text)
    with pytest.raises(PluginError, match="not a sidecar"):
        read_facts(tmp_path / "a.gpkg")
