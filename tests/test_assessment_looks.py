"""Assess with a second look at the image enlarged."""

import json
from pathlib import Path

import geopandas as gpd
import pytest

from tests.conftest import run_command

SAMPLE = Path(__file__).parents[1] / "sample_data"
PAIR = SAMPLE / "pre.tif", SAMPLE / "post.tif"


def assess(output, *options):
    ran = run_command("assess", *PAIR, "-o", output, "--engine", "onnxruntime", *options)
    assert ran.exit_code == 0, ran.stderr
    return ran, json.loads(Path(f"{output}.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_the_second_look_adds_and_does_not_depend_on_windows(tmp_path):
    once, facts = assess(tmp_path / "once.gpkg")
    assert facts["candidates_real"] is not None
    assert "of such candidates were buildings" in once.stderr
    twice, facts = assess(tmp_path / "twice.gpkg", "--tta", "enlarged")
    assert facts["model"]["tta"] == "enlarged"
    # The card was measured with one look.
    assert facts["candidates_real"] is None
    assert "of such candidates were buildings" not in twice.stderr
    small, _ = assess(tmp_path / "tiles.gpkg", "--tta", "enlarged", "--tile", "512")
    assert small.exit_code == 0
    first, more, tiles = (
        gpd.read_file(tmp_path / f"{name}.gpkg", layer="buildings")
        for name in ("once", "twice", "tiles")
    )
    assert more.area.sum() > first.area.sum()
    assert set(more.geometry.to_wkb()) == set(tiles.geometry.to_wkb())
    assert more["damage"].value_counts().to_dict() == tiles["damage"].value_counts().to_dict()


def test_footprints_need_no_second_look(tmp_path):
    ran = run_command(
        "assess", *PAIR, "-o", tmp_path / "b.gpkg", "--tta", "enlarged",
        "--footprints", SAMPLE / "footprints.geojson",
    )  # fmt: skip
    assert ran.exit_code == 2
    assert "--tta enlarged and --footprints: give one of the two" in ran.stderr
