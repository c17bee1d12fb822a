import json

import geopandas as gpd
import pytest

from tests.conftest import listing, run_command
from tests.towns import LABELS, answer, town, write_districts, write_result


@pytest.fixture
def result(tmp_path):
    return write_result(tmp_path / "in" / "town.gpkg", town(1))


@pytest.fixture
def reviewed(result, tmp_path):
    sample = tmp_path / "sample.gpkg"
    assert run_command("sample", result, "-n", "40", "-o", sample, "-q").exit_code == 0
    return answer(sample, tmp_path / "reviewed.csv")


@pytest.mark.slow
def test_json_has_totals_with_their_ends(result, reviewed):
    ran = run_command("estimate", result, "--reviewed", reviewed, "--json")
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(ran.stdout)
    for name in ("damaged", *LABELS):
        assert 0 <= told[name]["low"] <= told[name]["total"] <= told[name]["high"] <= 100
    assert ran.stderr.endswith("preliminary, automatic, not validated in the field\n")


@pytest.mark.slow
def test_a_table_is_printed_for_people(result, reviewed, tmp_path):
    districts = write_districts(tmp_path / "districts.gpkg")
    ran = run_command("estimate", result, "--reviewed", reviewed, "--by", districts, "-q")
    assert ran.exit_code == 0, ran.stderr
    assert ran.stderr == ""
    lines = ran.stdout.splitlines()
    assert lines[0].split() == ["the", "result", "estimate", "from", "to", "share", "from", "to"]
    assert [line.split()[0] for line in lines[1:5]] == list(LABELS)
    assert any(line.startswith("quadratic kappa") for line in lines)
    assert any(line.startswith("West") for line in lines)
    assert lines[-1].startswith("The intervals cover that only 40 of 100 buildings were reviewed.")


@pytest.mark.slow
def test_the_estimate_is_written_once(result, reviewed, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    arguments = ("estimate", result, "--reviewed", reviewed, "-o", out / "e.json")
    assert run_command(*arguments).exit_code == 0
    assert listing(out) == ["e.json"]
    told = json.loads((out / "e.json").read_text("utf-8"))
    assert told["statement"] == "preliminary, automatic, not validated in the field"
    again = run_command(*arguments)
    assert again.exit_code == 6
    assert "e.json exists" in again.stderr
    assert run_command(*arguments, "--overwrite").exit_code == 0


@pytest.mark.slow
def test_missed_buildings_are_in_the_table(result, reviewed, tmp_path):
    cells = tmp_path / "cells.gpkg"
    ran = run_command("sample", result, "--areas", "-n", "8", "-o", cells)
    assert ran.exit_code == 0, ran.stderr
    assert ran.stderr == f"8 cells to look at in full; wrote {cells}\n"
    frame = gpd.read_file(cells, layer=0)
    frame["missed"] = 1
    frame.to_file(tmp_path / "looked.gpkg")
    ran = run_command(
        "estimate", result, "--reviewed", reviewed, "--areas", tmp_path / "looked.gpkg", "--json"
    )
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert told["missed"]["total"] == pytest.approx(16)
    assert "those that the result lacks" not in told["says"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["sample", "RESULT", "-n", "0", "-o", "s.gpkg"], 2, "--number 0: give a whole number"),
        (["sample", "RESULT", "-o", "s.txt"], 2, "no format has the extension '.txt'"),
        (["sample", "RESULT", "-o", "RESULT"], 2, "is also an input"),
        (["sample", "none.gpkg", "-o", "s.gpkg"], 4, "none.gpkg"),
        (["sample", "RESULT", "--design", "odd", "-o", "s.gpkg"], 2, "--design odd: unknown"),
        (["sample", "RESULT", "--areas", "--for", "adapt", "-o", "s.gpkg"], 2, "--for chooses"),
        (["sample", "RESULT", "--estimate-share", "1", "-o", "s.gpkg"], 2, "needs --for adapt"),
        (["estimate", "RESULT"], 2, "Missing option '--reviewed'"),
        (["estimate", "RESULT", "--reviewed", "none.gpkg"], 4, "none.gpkg: no such file"),
        (["estimate", "RESULT", "--reviewed", "RESULT"], 4, "is not a sample (no field stratum)"),
        (["estimate", "RESULT", "--reviewed", "REVIEWED", "--answers", "."], 4, "a folder"),
        (["estimate", "RESULT", "--reviewed", "REVIEWED", "-o", "REVIEWED"], 2, "no format"),
    ],
)  # fmt: skip
def test_errors_are_one_line(result, reviewed, tmp_path, monkeypatch, arguments, code, words):
    monkeypatch.chdir(tmp_path)
    before = listing(tmp_path)
    named = {"RESULT": result, "REVIEWED": reviewed}
    ran = run_command(*(named.get(argument, argument) for argument in arguments))
    assert ran.exit_code == code, ran.stderr
    assert len(ran.stderr.splitlines()) == 1
    assert words in ran.stderr
    assert listing(tmp_path) == before


@pytest.mark.slow
def test_a_sample_with_answers_is_not_replaced_unasked(result, tmp_path):
    sample = tmp_path / "s.geojson"
    assert run_command("sample", result, "-o", sample).exit_code == 0
    answer(sample, sample)
    again = run_command("sample", result, "-o", sample)
    assert again.exit_code == 6
    assert "s.geojson exists" in again.stderr
    assert gpd.read_file(sample, layer=0)["reviewed_damage"].notna().all()
