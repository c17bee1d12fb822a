"""The commands of docs/new-event.md, one after the other, on the synthetic pair."""

import json
import re
import shutil
from pathlib import Path

import geopandas as gpd
import pytest

from tests.conftest import run_command

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "new-event.md").read_text(encoding="utf-8")
#: A building of the truth that a sample's building lies on, metres of the plane between them.
NEAR = 5.0
COMMANDS = {"assess", "sample", "estimate", "report", "event", "adapt", "regrade"}


def commands():
    """Return the commands that stand on lines of their own."""
    joined = re.sub(r"\\\n\s*", " ", PAGE)
    return [line.split()[1:] for line in re.findall(r"^    (geodamage .*)$", joined, re.MULTILINE)]


def answers_for(layer):
    """Return what is true of the buildings of a layer: the drawn town knows its damage."""
    truth = gpd.read_file(ROOT / "sample_data" / "buildings_true.geojson").to_crs(32616)
    buildings = gpd.read_file(layer, layer=0)
    buildings = buildings[buildings["damage"].notna()].to_crs(32616)
    nearest = buildings.sjoin_nearest(
        truth[["damage", "geometry"]], max_distance=NEAR, how="left"
    ).drop_duplicates("building_id")
    return nearest[["building_id"]].assign(damage=nearest["damage_right"].fillna("no building"))


def count_missed(folder):
    cells = gpd.read_file(folder / "cells.gpkg", layer=0)
    cells["missed"] = 0
    cells.to_file(folder / "cells.gpkg", layer="areas")


def make_batch(folder):
    """Put the result where a batch would have put it."""
    scene = folder / "results" / "scenes" / "town"
    scene.mkdir(parents=True)
    for name in ("buildings.gpkg", "buildings.gpkg.json", "buildings.npz"):
        shutil.copy(folder / name, scene)


@pytest.mark.slow
def test_a_reader_gets_from_two_images_to_a_table_with_intervals(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pre.tif", "post.tif"):
        shutil.copy(ROOT / "sample_data" / name, tmp_path)
    called = commands()
    assert [line[0] for line in called][:2] == ["assess", "sample"]
    assert {line[0] for line in called} == COMMANDS
    for line in called:
        if "results" in line:
            make_batch(tmp_path)
        # A town as small as this one teaches too little to be shown.
        ran = run_command(*line, *(["--force"] if line[0] == "adapt" else []))
        assert ran.exit_code == 0, (line, ran.stderr)
        if line[0] == "sample":
            if "--areas" in line:
                count_missed(tmp_path)
            else:
                answers_for("sample.gpkg").to_csv("answers.csv", index=False)
    told = json.loads((tmp_path / "estimate.json").read_text("utf-8"))
    true = answers_for("buildings.gpkg")["damage"]
    damaged = int((~true.isin(["no-damage", "no building"])).sum())
    # One interval in twenty lacks the truth; another processor may find other buildings.
    assert told["damaged"]["low"] - 4 <= damaged <= told["damaged"]["high"] + 4
    better = gpd.read_file(tmp_path / "better.gpkg", layer=0)
    assert better["source"].str.contains("reviewed").any()
    again = gpd.read_file(tmp_path / "better" / "scenes" / "town" / "buildings.gpkg", layer=0)
    assert again["damage"].tolist() == better["damage"].tolist()
    assert "Totals from a reviewed sample" in (tmp_path / "report.html").read_text("utf-8")
