import json
from dataclasses import replace

import pytest
import rasterio
from affine import Affine
from rasterio.windows import Window

from tests.conftest import listing, make_raster, run_command
from tests.data_folder import DATA, needs
from tests.event_scenes import House, layer, write_scene

HOUSE = House(100, 100)


@pytest.fixture
def batches(tmp_path):
    """Two output folders of a batch; in the first one scene failed."""
    write_scene(tmp_path / "monday", "a", [HOUSE, House(200, 50, 30)])
    (tmp_path / "monday" / "scenes" / "failed").mkdir()
    write_scene(tmp_path / "friday", "b", [replace(HOUSE, grade=4)], extension=".geojson")
    return tmp_path / "monday", tmp_path / "friday"


@pytest.mark.slow
def test_folders_of_batches_become_an_event(batches, tmp_path):
    dates = tmp_path / "dates.csv"
    dates.write_text("name,pre,date\na,x.tif,2018-10-11\nb,y.tif,2018-10-13\n")
    output = tmp_path / "event.gpkg"
    result = run_command("event", *batches, "-o", output, "--dates", dates)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.splitlines() == [
        "no-damage             1   50.0 %",
        "minor-damage          0    0.0 %",
        "major-damage          0    0.0 %",
        "destroyed             1   50.0 %",
        "not assessed          0",
        "2 buildings on 0.160 km² by 3 looks of 2 scenes (2 new, 0 redone, 0 known)",
        f"wrote {output} and {output}.json",
        "preliminary, automatic, not validated in the field",
    ]
    assert layer(output, "scenes")["date"].tolist() == ["2018-10-11", "2018-10-13"]


@pytest.mark.slow
def test_files_are_named_after_themselves(batches, tmp_path):
    source = batches[0] / "scenes" / "a"
    for name in ("buildings.gpkg", "buildings.gpkg.json"):
        (source / name).rename(tmp_path / name.replace("buildings", "tile_1"))
    output = tmp_path / "event.gpkg"
    result = run_command(
        "event", tmp_path / "tile_1.gpkg", batches[1], "-o", output, "--json", "-q"
    )
    assert (result.exit_code, result.stderr) == (0, "")
    facts = json.loads(result.stdout)
    assert (facts["output"], facts["scenes"], facts["buildings"]) == (str(output), 2, 2)
    assert layer(output, "scenes")["scene"].tolist() == ["b", "tile_1"]


@pytest.mark.slow
def test_an_event_grows_only_when_asked(batches, tmp_path):
    output = tmp_path / "event.gpkg"
    assert run_command("event", batches[0], "-o", output).exit_code == 0
    first = layer(output)["event_building_id"].tolist()
    refused = run_command("event", *batches, "-o", output)
    assert refused.exit_code == 6
    assert "--overwrite" in refused.stderr
    result = run_command("event", *batches, "-o", output, "--update")
    assert "2 scenes (1 new, 0 redone, 1 known)" in result.stderr
    assert layer(output)["event_building_id"].tolist() == first
    assert run_command("event", batches[1], "-o", output, "--overwrite").exit_code == 0
    assert len(layer(output)) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--update", "--overwrite"], 2, "give one"),
        (["--admin-name", "x"], 2, "--admin-name needs --admin"),
        (["--cell", "1"], 2, "--cell 1: give a number from 10 to 100,000"),
        (["--dates", "none.csv"], 4, "none.csv: no such file"),
    ],
)
def test_options_that_make_no_sense_are_refused(batches, tmp_path, arguments, code, words):
    result = run_command("event", *batches, "-o", tmp_path / "event.gpkg", *arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert "event.gpkg" not in listing(tmp_path)


@pytest.mark.slow
def test_sources_that_hold_no_result_are_refused_by_name(batches, tmp_path):
    output = tmp_path / "event.gpkg"
    (tmp_path / "empty").mkdir()
    result = run_command("event", tmp_path / "empty", "-o", output)
    assert result.exit_code == 4
    assert "no scenes/*/buildings.* in it" in result.stderr
    (batches[0] / "scenes" / "a" / "buildings.gpkg.json").unlink()
    result = run_command("event", *batches, "-o", output)
    assert result.exit_code == 4
    assert "a/buildings.gpkg has no sidecar" in result.stderr
    result = run_command("event", tmp_path / "none.gpkg", "-o", output)
    assert result.exit_code == 4
    assert "none.gpkg" in result.stderr
    result = run_command("event", batches[1], "-o", tmp_path / "event.geojson")
    assert result.exit_code == 2
    assert "use .gpkg" in result.stderr


@pytest.mark.slow
def test_a_wrong_date_and_a_wrong_csv_are_refused(batches, tmp_path):
    dates = tmp_path / "dates.csv"
    for text, words in (
        ("name,date\na,yesterday\n", "'yesterday' is not a date"),
        ("x\n1\n", "lacks"),
    ):
        dates.write_text(text)
        result = run_command("event", *batches, "-o", tmp_path / "e.gpkg", "--dates", dates)
        assert result.exit_code == 4
        assert words in result.stderr


@pytest.mark.slow
def test_what_is_assessed_becomes_an_event(pair, model, tmp_path):
    output = tmp_path / "tile.geojson"
    assert run_command("assess", *pair, "-o", output, "--model", model).exit_code == 0
    event = tmp_path / "event.gpkg"
    assert run_command("event", output, "-o", event).exit_code == 0
    assert len(layer(event)) == 5
    scenes = layer(event, "scenes")
    assert scenes["scene"].tolist() == ["tile"]
    assert scenes["post"][0].endswith("post.tif")
    assert layer(event, "assessed_area")["area_km2"][0] == pytest.approx(64 * 80 / 1e6, rel=1e-2)


@pytest.mark.data
@pytest.mark.slow
@needs("xbd_geotiff")
def test_two_halves_of_a_real_pair_overlap_in_one_event(tmp_path):
    """Columns 0-703 and 320-1023: houses in the common strip are seen twice and come out once.

    The strip is wider than two halos, so that both halves see its middle alike.
    """
    for name, first in (("west", 0), ("east", 320)):
        for date in ("pre", "post"):
            image = DATA / "xbd_geotiff" / f"hurricane-michael_00000031_{date}_disaster.tif"
            with rasterio.open(image) as source:
                pixels = source.read(window=Window(first, 0, 704, 1024))
                transform = source.transform @ Affine.translation(first, 0)
                make_raster(
                    tmp_path / f"{name}_{date}.tif", pixels, crs=source.crs, transform=transform
                )
        images = [tmp_path / f"{name}_{date}.tif" for date in ("pre", "post")]
        result = run_command("assess", *images, "-o", tmp_path / f"{name}.gpkg")
        assert result.exit_code == 0, result.stderr
    event = tmp_path / "event.gpkg"
    files = [tmp_path / "west.gpkg", tmp_path / "east.gpkg"]
    assert run_command("event", *files, "-o", event).exit_code == 0
    looks, buildings = layer(event, "looks"), layer(event)
    twice = int((buildings["looks"] == 2).sum())
    assert twice > 5
    assert len(looks) == len(buildings) + twice
    # No two buildings lie on one another.
    shapes = buildings.to_crs(32616).geometry
    assert shapes.union_all().area > 0.97 * shapes.area.sum()
