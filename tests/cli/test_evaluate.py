import json

import pytest

from tests.conftest import ROOFS, listing, run_command
from tests.labelled_pairs import FOUR, graded, shrunk, write_pair

FIRST = [
    "score", "localization_f1", "damage_f1", "damage_f1_no_damage", "damage_f1_minor_damage",
    "damage_f1_major_damage", "damage_f1_destroyed",
]  # fmt: skip


@pytest.fixture
def data(tmp_path):
    """Return two pairs of two events; on the second the model is wrong."""
    folder = write_pair(tmp_path / "data", "flood_00000001")
    return write_pair(folder, "storm_00000002", FOUR, [graded(roof, 2) for roof in FOUR])


def test_the_json_has_the_official_figures_first(data, model):
    result = run_command("evaluate", data, "--model", model, "--json")
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    keys = list(report)
    assert keys[:7] == FIRST
    places = [keys.index(name) for name in ("buildings", "calibration", "events")]
    assert places == sorted(places)
    assert {"footprints", "pairs", "model", "data", "date", "notes"} <= set(keys)
    assert report["model"]["name"] == "bright"
    assert report["model"]["licence"] == "CC0-1.0"
    assert len(report["model"]["sha256"]) == 64
    assert list(report["events"]["flood"])[:7] == FIRST
    assert report["events"]["flood"]["score"] == pytest.approx(1.0000007)
    assert report["score"] < 0.8
    assert report["pairs"] == 2


@pytest.mark.slow
def test_the_table_says_what_the_json_says(data, model):
    plain = run_command("evaluate", data, "--model", model)
    assert plain.exit_code == 0, plain.stderr
    assert "xView2 score" in plain.stdout
    assert "footprints given" in plain.stdout
    assert "flood" not in plain.stdout
    assert "flood" in run_command("evaluate", data, "--model", model, "--per-event").stdout


def test_the_masks_get_the_same_official_score(data, model, tmp_path):
    folder = tmp_path / "masks"
    options = "--model", model, "--json", "--predictions", folder
    report = json.loads(run_command("evaluate", data, *options).stdout)
    again = run_command("score", folder / "predictions", folder / "targets", "--json")
    assert again.exit_code == 0, again.stderr
    scored = json.loads(again.stdout)
    assert {name: scored[name] for name in FIRST} == {name: report[name] for name in FIRST}
    assert scored["counts"] == report["counts"]
    for event in ("flood", "storm"):
        assert scored["events"][event]["counts"] == report["events"][event]["counts"]


@pytest.mark.slow
def test_masks_are_not_replaced_unasked(data, model, tmp_path):
    command = "evaluate", data, "--model", model, "--predictions", tmp_path / "masks"
    assert run_command(*command).exit_code == 0
    refused = run_command(*command)
    assert refused.exit_code == 6
    assert "--overwrite" in refused.stderr
    assert run_command(*command, "--overwrite").exit_code == 0


def test_a_part_of_a_split_is_scored(data, model, tmp_path):
    split = tmp_path / "split.csv"
    split.write_text("pair,part\nflood_00000001,test\nstorm_00000002,train\n")
    options = "--model", model, "--split", split, "--part", "test", "--json"
    report = json.loads(run_command("evaluate", data, *options).stdout)
    assert list(report["events"]) == ["flood"]
    assert report["data"]["part"] == "test"


def test_notes_go_to_stderr_unless_quiet(data, model):
    (data / "labels" / "flood_00000001_pre_disaster.json").unlink()
    said = run_command("evaluate", data, "--model", model)
    assert "note: 1 of 2 pairs have no pre labels" in said.stderr
    assert run_command("evaluate", data, "--model", model, "-q").stderr == ""


@pytest.mark.slow
def test_flips_of_a_symmetric_model_change_nothing(data, model):
    once, four = (
        json.loads(run_command("evaluate", data, "--model", model, "--json", "--tta", tta).stdout)
        for tta in ("none", "flips")
    )
    assert four["counts"] == once["counts"]
    assert four["model"]["tta"] == "flips"


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (["--part", "test"], 2, "--split"),
        (["--memory", "much"], 2, "not a size"),
        (["--min-area", "-1"], 2, "not negative"),
        (["--split", "none.csv"], 4, "no such file"),
        (["--model", "none"], 5, "no model of that name"),
        (["--predictions", "no/such/masks"], 6, "cannot write"),
    ],
)
def test_wrong_options_are_one_line(data, options, code, why):
    result = run_command("evaluate", data, *options)
    assert result.exit_code == code
    assert why in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_an_empty_folder_is_refused(tmp_path, model):
    result = run_command("evaluate", tmp_path, "--model", model)
    assert result.exit_code == 4
    assert "give the folder of an xBD download" in result.stderr


def test_a_pair_that_fails_leaves_nothing(data, model, tmp_path):
    shrunk(write_pair(data, "storm_1", ROOFS))
    options = "--model", model, "--json", "--predictions", tmp_path / "masks"
    result = run_command("evaluate", data, *options)
    assert result.exit_code == 4
    assert "storm_1: pre has 128 x 160" in result.stderr
    assert result.stdout == ""
    assert listing(tmp_path) == ["data"]
