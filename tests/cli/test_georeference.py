import json

import pytest
import rasterio

from tests.conftest import listing, run_command
from tests.fakes import write_xbd
from tests.xbd.label_files import edit, no_degrees


@pytest.fixture
def xbd(tmp_path):
    return write_xbd(tmp_path / "xbd", ["storm_1", "storm_2"])


def test_every_image_gets_a_line_with_its_residuals(xbd, tmp_path):
    (xbd / "labels" / "storm_2_pre_disaster.json").unlink()
    result = run_command("georeference", xbd, "-o", tmp_path / "tifs")
    assert (result.exit_code, result.stdout) == (0, "")
    fit = "rms 0.0000 m, max 0.0000 m, 20 vertices"
    assert result.stderr.splitlines() == [
        f"storm_1_pre_disaster.tif: {fit}",
        f"storm_1_post_disaster.tif: {fit}",
        f"storm_2_pre_disaster.tif: {fit}; by the labels of post",
        f"storm_2_post_disaster.tif: {fit}",
        f"wrote 4 GeoTIFFs of 2 pairs to {tmp_path / 'tifs'}; 0 pairs not georeferenced",
    ]
    assert len(listing(tmp_path / "tifs")) == 4


def test_refused_pairs_are_listed_at_the_end(xbd, tmp_path):
    for date in ("pre", "post"):
        edit(xbd, date, no_degrees)
    result = run_command("georeference", xbd, "-o", tmp_path / "tifs", "--json")
    assert result.exit_code == 3
    *_, refused, last = result.stderr.splitlines()
    assert refused.startswith("geodamage: not georeferenced: storm_1: neither label file")
    assert last.endswith("; 1 pair not georeferenced")
    facts = json.loads(result.stdout)
    assert [refusal["pair"] for refusal in facts["not_georeferenced"]] == ["storm_1"]
    assert [image["date"] for image in facts["written"]] == ["pre", "post"]
    with rasterio.open(facts["written"][0]["path"]) as dataset:
        assert list(dataset.transform[:6]) == pytest.approx(facts["written"][0]["transform"])
    assert facts["written"][0]["max_m"] < 1e-3


def test_no_pair_left_is_an_error(xbd, tmp_path):
    for path in (xbd / "labels").iterdir():
        path.unlink()
    result = run_command("georeference", xbd, "-o", tmp_path / "tifs", "-q")
    assert result.exit_code == 4
    first, second, last = result.stderr.splitlines()
    assert "storm_1" in first
    assert "storm_2" in second
    assert last.startswith("geodamage: error: ")
    assert "none of 2 pairs" in last
    assert listing(tmp_path / "tifs") == []


def test_quiet_says_nothing(xbd, tmp_path):
    result = run_command("georeference", xbd, "-o", tmp_path / "tifs", "-q")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


def test_geotiffs_are_replaced_only_when_asked(xbd, tmp_path):
    arguments = ["georeference", xbd, "-o", tmp_path / "tifs"]
    assert run_command(*arguments).exit_code == 0
    result = run_command(*arguments)
    assert result.exit_code == 6
    assert "--overwrite" in result.stderr
    assert run_command(*arguments, "--overwrite").exit_code == 0


def test_a_folder_without_images_is_refused(tmp_path):
    result = run_command("georeference", tmp_path, "-o", tmp_path / "tifs")
    assert result.exit_code == 4
    assert "give the folder of an xBD download" in result.stderr


@pytest.mark.slow
def test_what_is_written_can_be_assessed(xbd, model, tmp_path):
    """The pair of `write_xbd` has four houses, which the bright model finds."""
    assert run_command("georeference", xbd, "-o", tmp_path / "tifs").exit_code == 0
    output = tmp_path / "buildings.geojson"
    images = [tmp_path / "tifs" / f"storm_1_{date}_disaster.tif" for date in ("pre", "post")]
    result = run_command("assess", *images, "-o", output, "--model", model)
    assert result.exit_code == 0, result.stderr
    features = json.loads(output.read_text())["features"]
    assert len(features) == 4
    for feature in features:
        assert 0 < feature["properties"]["lon"] < 96 * 5e-6
        assert 30 - 96 * 5e-6 < feature["properties"]["lat"] < 30


def test_help_ends_its_words_with_an_example():
    lines = run_command("georeference", "--help").stdout.splitlines()
    assert (
        lines[lines.index("  Example:") + 1].strip()
        == "geodamage georeference xbd/test -o geotiffs"
    )
