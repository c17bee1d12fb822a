"""A result beside the sidecar of another run: whoever reads the sidecar says so, or refuses."""

import json
import shutil

import pytest

from geodamage.output.publication import read_sidecar, sidecar_path
from tests.conftest import run_command
from tests.exports.results import make_result
from tests.towns import answer, town, write_result

SAID = "is not the file that its sidecar was written with"


def counted(houses):
    """Return what a sidecar says of the grades of a town."""
    labels = ("no-damage", "minor-damage", "major-damage", "destroyed")
    grades = [house.grade for house in houses]
    return {label: grades.count(grade) for grade, label in enumerate(labels, 1)}


@pytest.fixture(params=["geojson", "gpkg"])
def pair(request, tmp_path):
    """Write a result with the sidecar of another, which has as many buildings."""
    path = write_result(tmp_path / f"town.{request.param}", town(1))
    other = write_result(tmp_path / f"other.{request.param}", town(2))
    facts = read_sidecar(other) | {"buildings_per_grade": counted(town(2))}
    sidecar_path(path).write_text(json.dumps(facts))
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "output"),
    [
        (["event"], "event.gpkg"),
        (["sample", "-n", "40"], "sample.gpkg"),
        (["sample", "-n", "8", "--areas", "--cell", "100"], "cells.gpkg"),
        (["report"], "report.html"),
        (["export"], "export.csv"),
    ],
)
def test_a_pair_of_two_runs_is_noticed(pair, tmp_path, words, output):
    ran = run_command(words[0], pair, *words[1:], "-o", tmp_path / output)
    assert ran.exit_code == 0, ran.stderr
    assert f"{pair}: {SAID}" in ran.stderr
    if words[0] == "report":
        assert SAID in (tmp_path / output).read_text("utf-8")
    elif words[0] != "event":
        assert SAID in read_sidecar(tmp_path / output)["warnings"][0]


@pytest.mark.slow
def test_an_estimate_of_a_pair_of_two_runs_says_so(pair, tmp_path):
    sample = tmp_path / "sample.gpkg"
    assert run_command("sample", pair, "-n", "40", "-o", sample, "-q").exit_code == 0
    reviewed = answer(sample, tmp_path / "reviewed.csv")
    ran = run_command("estimate", pair, "--reviewed", reviewed, "--json")
    assert SAID in json.loads(ran.stdout)["warnings"][0]
    assert SAID in ran.stderr


@pytest.mark.slow
def test_a_comparison_of_a_pair_of_two_runs_says_so(tmp_path):
    path = make_result(tmp_path / "b.geojson", (1, 2, 3, 4))
    other = make_result(tmp_path / "other.geojson", (1, 1, 3, 4))
    alike = run_command("compare", path, other, "--json")
    assert alike.exit_code == 0, alike.stderr
    assert SAID not in alike.stderr
    shutil.copy(sidecar_path(other), sidecar_path(path))
    ran = run_command("compare", path, other, "--json")
    assert SAID in json.loads(ran.stdout)["warnings"][0]
