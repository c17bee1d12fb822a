"""`geodamage adapt` and `geodamage regrade`, from a result to a result."""

import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from geodamage.adaptation.adapting import FEWEST
from geodamage.adaptation.answers import read_reviewed
from geodamage.adaptation.event_model import read_event_model
from tests.adaptation.made_results import (
    MODEL,
    make_features,
    make_frame,
    make_said,
    make_truth,
    write_answers,
    write_result,
)
from tests.conftest import run_command

COUNT = 240
TRUTH = make_truth(COUNT)
ROWS = np.random.default_rng(5).permutation(COUNT)
#: A model that knows nothing, and features that tell; a model that knows, and features that do not.
UNKNOWN = make_said(TRUTH, 0.0), make_features(TRUTH, 3.0)
KNOWN = make_said(TRUTH, 3.0), make_features(TRUTH, 0.0)


def adapt(folder, *options, results=("buildings.gpkg",), answers="answers.csv"):
    paths = [folder / name for name in results]
    output = folder / "event-model.toml"
    return run_command("adapt", *paths, "--reviewed", folder / answers, "-o", output, *options)


def regrade(folder, *options, result="buildings.gpkg", output="better.geojson"):
    model = folder / "event-model.toml"
    paths = [folder / result, "--model", model, "-o", folder / output]
    return run_command("regrade", *paths, *options)


@pytest.fixture
def unknown(tmp_path):
    """Return a folder with a result of an event that the model does not know, and answers."""
    write_result(tmp_path, *UNKNOWN)
    write_answers(tmp_path / "answers.csv", TRUTH, ROWS[:60])
    return tmp_path


def refused(result, *words):
    assert result.exit_code != 0
    errors = [line for line in result.stderr.splitlines() if "error" in line]
    assert len(errors) == 1, result.stderr
    for word in words:
        assert word in errors[0]


@pytest.mark.slow
def test_answers_make_the_grades_better(unknown):
    result = adapt(unknown)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == ""
    assert "AUC of damaged" in result.stderr
    assert regrade(unknown).exit_code == 0
    better = gpd.read_file(unknown / "better.geojson").set_index("building_id")
    unseen = [f"b{row}" for row in ROWS[60:]]
    truth, before = TRUTH[ROWS[60:]] > 1, UNKNOWN[0][ROWS[60:]].argmax(1) > 0
    after = better.loc[unseen, "damaged"].to_numpy(bool)
    assert np.mean(after == truth) > 0.85 > 0.75 > np.mean(before == truth)


@pytest.mark.slow
@pytest.mark.parametrize("licence", [MODEL["licence"], "another"])
def test_it_starts_from_other_events_under_the_same_licence(unknown, monkeypatch, licence):
    facts = {"network_sha256": "b" * 64, "licence": licence, "weights": [1.0, *[0.0] * 11]}
    monkeypatch.setattr("geodamage.adaptation.transfer.read_transfer", lambda: facts)
    result = adapt(unknown)
    assert result.exit_code == 0, result.stderr
    card = read_event_model(unknown / "event-model.toml").card
    assert card["starts_from_other_events"] is (licence == MODEL["licence"])
    said = "it starts from the change that other events took for damage" in result.stderr
    assert said is card["starts_from_other_events"]


@pytest.mark.slow
def test_reviewed_buildings_keep_their_grade_and_say_so(unknown):
    assert adapt(unknown).exit_code == regrade(unknown).exit_code == 0
    better = gpd.read_file(unknown / "better.geojson").set_index("building_id")
    seen = [f"b{row}" for row in ROWS[:60]]
    assert better.loc[seen, "damage_class"].tolist() == TRUTH[ROWS[:60]].tolist()
    assert (better.loc[seen, "confidence"] == 1).all()
    assert (better.loc[seen, "source"] == "model, reviewed").all()
    assert better.loc[seen, "damaged"].tolist() == (TRUTH[ROWS[:60]] > 1).tolist()
    assert (better.drop(seen)["source"] == "model").all()
    sums = better[["p_none", "p_minor", "p_major", "p_destroyed"]].sum(axis=1)
    assert np.abs(sums - 1).max() < 1e-3


@pytest.mark.slow
def test_the_sidecar_says_what_became_of_the_result(unknown):
    assert adapt(unknown).exit_code == regrade(unknown).exit_code == 0
    facts = json.loads((unknown / "better.geojson.json").read_text())
    better = gpd.read_file(unknown / "better.geojson")
    model = read_event_model(unknown / "event-model.toml")
    assert facts["model"]["sha256"] == model.sha256
    assert facts["model"]["base"]["sha256"] == MODEL["sha256"]
    assert facts["model"]["licence"] == MODEL["licence"]
    assert facts["thresholds"]["damaged"] == model.damaged_threshold
    assert sum(facts["buildings_per_grade"].values()) == len(better) == COUNT
    assert facts["regraded"]["card"]["gain"]["log_loss"][1] > 0
    assert facts["statement"] == "drawn"
    assert "features" not in facts


@pytest.mark.slow
def test_the_card_says_before_and_after(unknown):
    result = adapt(unknown, "--json", "-q")
    assert result.exit_code == 0, result.stderr
    card = json.loads(result.stdout)
    assert card["helps"] is True
    assert card["answers"] == 60 == sum(card["answers_per_grade"].values())
    for part in ("before", "after", "gain"):
        assert card[part]["auc"][1] <= card[part]["auc"][0] <= card[part]["auc"][2]
    kept = read_event_model(unknown / "event-model.toml").card
    assert {**kept, "output": card["output"]} == card


@pytest.mark.slow
def test_what_does_not_help_is_not_written_unless_forced(tmp_path):
    write_result(tmp_path, *KNOWN)
    write_answers(tmp_path / "answers.csv", TRUTH, ROWS[-60:])
    result = adapt(tmp_path)
    refused(result, "not written", "review", "more", "--force")
    assert "AUC of damaged" in result.stderr
    assert not (tmp_path / "event-model.toml").exists()
    assert adapt(tmp_path, "--force").exit_code == 0
    assert read_event_model(tmp_path / "event-model.toml").card["helps"] is False


@pytest.mark.slow
def test_a_forced_head_stays_near_a_model_that_knows(tmp_path):
    write_result(tmp_path, *KNOWN)
    write_answers(tmp_path / "answers.csv", TRUTH, ROWS[:60])
    assert adapt(tmp_path, "--force").exit_code == regrade(tmp_path).exit_code == 0
    better = gpd.read_file(tmp_path / "better.geojson").set_index("building_id")
    after = better.loc[[f"b{row}" for row in ROWS[60:]], "damage_class"]
    assert np.mean(after.to_numpy() == TRUTH[ROWS[60:]]) > 0.9


@pytest.mark.slow
def test_answers_without_a_grade_are_kept_but_teach_nothing(unknown):
    text = (unknown / "answers.csv").read_text()
    more = "\n".join([f"b{ROWS[60]},no building", f"b{ROWS[61]},unclear"])
    (unknown / "answers.csv").write_text(f"{text}{more}\n")
    assert adapt(unknown).exit_code == regrade(unknown).exit_code == 0
    model = read_event_model(unknown / "event-model.toml")
    assert sum(model.card["answers_per_grade"].values()) == 60
    better = gpd.read_file(unknown / "better.geojson").set_index("building_id")
    absent = better.loc[f"b{ROWS[60]}"]
    assert (absent["status"], absent["status_reason"]) == ("not_assessed", "reviewed_no_building")
    assert np.isnan(absent["damage_class"])
    assert better.loc[f"b{ROWS[61]}", "source"] == "model"


@pytest.mark.slow
def test_several_results_are_one_event(tmp_path):
    for name, part in (("one.gpkg", slice(0, 120)), ("two.gpkg", slice(120, 240))):
        ids = [f"b{row}" for row in range(COUNT)][part]
        write_result(tmp_path, UNKNOWN[0][part], UNKNOWN[1][part], name=name, ids=ids)
    write_answers(tmp_path / "answers.csv", TRUTH, ROWS[:60])
    assert adapt(tmp_path, results=("one.gpkg", "two.gpkg")).exit_code == 0
    for name in ("one.gpkg", "two.gpkg"):
        assert regrade(tmp_path, result=name, output=f"better-{name}").exit_code == 0


@pytest.mark.slow
def test_a_footprint_of_two_scenes_counts_once(unknown):
    # The second scene shows the first hundred buildings again, and says nothing of them.
    blank = np.full((100, 4), np.nan)
    ids = [f"b{row}" for row in range(100)]
    write_result(unknown, blank, np.zeros_like(UNKNOWN[1][:100]), name="again.gpkg", ids=ids)
    assert adapt(unknown).exit_code == 0
    alone = read_event_model(unknown / "event-model.toml")
    ran = adapt(unknown, "--overwrite", results=("again.gpkg", "buildings.gpkg"))
    assert ran.exit_code == 0, ran.stderr
    both = read_event_model(unknown / "event-model.toml")
    assert both.weights == pytest.approx(np.array(alone.weights), abs=1e-6)
    assert both.reviewed == alone.reviewed


@pytest.mark.slow
def test_two_buildings_of_one_name_are_refused(unknown):
    ids = [f"b{row}" for row in range(COUNT)][::-1]
    write_result(unknown, *UNKNOWN, name="again.gpkg", ids=ids)
    refused(adapt(unknown, results=("buildings.gpkg", "again.gpkg")), "different places")


@pytest.mark.slow
def test_the_sample_says_how_its_buildings_were_drawn(unknown):
    answers = (unknown / "answers.csv").read_text().splitlines()[1:]
    chance = ["0.1" if line.endswith("no-damage") else "0.9" for line in answers]
    names = [line.split(",")[0] for line in answers]
    rows = [f"{name},{p}" for name, p in zip(names, chance, strict=True)]
    (unknown / "sample.csv").write_text("\n".join(["building_id,inclusion_probability", *rows]))
    both = [f"{line},{p}" for line, p in zip(answers, chance, strict=True)]
    (unknown / "both.csv").write_text(
        "\n".join(["building_id,damage,inclusion_probability", *both])
    )
    shifts = {}
    for name, reviewed, *options in (
        ("alone", "answers.csv"), ("in one", "both.csv"),
        ("apart", "sample.csv", "--answers", unknown / "answers.csv"),
    ):  # fmt: skip
        ran = adapt(unknown, "--force", "--overwrite", *options, answers=reviewed)
        assert ran.exit_code == 0, ran.stderr
        shifts[name] = read_event_model(unknown / "event-model.toml").card["shift"]
    assert shifts["apart"] == shifts["in one"]
    # Undamaged buildings stand for nine times as many, so that damage is rarer than in the sample.
    assert shifts["apart"] < shifts["alone"] - 0.3


@pytest.mark.slow
def test_attributes_of_footprints_are_kept_where_results_are_regraded(unknown):
    assert adapt(unknown).exit_code == 0
    frame = gpd.read_file(unknown / "buildings.gpkg", layer="buildings")
    more = {"osm_id": range(2**53, 2**53 + COUNT), "height": 2.5, "name": "Hütte", "flat": True}
    frame.assign(**more).to_file(unknown / "buildings.gpkg", layer="buildings")
    ran = regrade(unknown, output="better.gpkg")
    assert ran.exit_code == 0, ran.stderr
    better = gpd.read_file(unknown / "better.gpkg", layer="buildings")
    assert list(better.columns[-5:]) == [*more, "geometry"]
    assert better["osm_id"].to_list() == frame.assign(**more)["osm_id"].to_list()
    assert (better[["height", "name", "flat"]] == [2.5, "Hütte", True]).all(axis=None)


@pytest.fixture
def scenes(unknown):
    """Return a folder with the event in two scenes, as a batch has it, and an event model."""
    for name, rows in (("north", slice(0, 120)), ("south", slice(120, None))):
        folder = unknown / "batch" / "scenes" / name
        folder.mkdir(parents=True)
        ids = [f"b{n}" for n in range(COUNT)][rows]
        write_result(folder, UNKNOWN[0][rows], UNKNOWN[1][rows], ids=ids)
    assert adapt(unknown).exit_code == 0
    return unknown


@pytest.mark.slow
def test_a_folder_of_scenes_is_regraded_as_its_results_are(scenes):
    result = regrade(scenes, result="batch", output="better")
    assert result.exit_code == 0, result.stderr
    assert regrade(scenes).exit_code == 0
    parts = [
        gpd.read_file(scenes / "better" / "scenes" / name / "buildings.gpkg", layer=0)
        for name in ("north", "south")
    ]
    whole = gpd.read_file(scenes / "better.geojson").set_index("building_id")["damage"]
    found = pd.concat(parts).set_index("building_id")["damage"]
    assert found.to_dict() == whole.to_dict()
    drawn = run_command("sample", scenes / "better", "-n", 20, "-o", scenes / "sample.gpkg")
    assert drawn.exit_code == 0, drawn.stderr


@pytest.mark.slow
def test_several_results_are_regraded_all_or_none(scenes):
    south = scenes / "batch" / "scenes" / "south" / "buildings.gpkg"
    sidecar = south.with_name("buildings.gpkg.json")
    facts = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**facts, "model": {**MODEL, "sha256": "c" * 64}}))
    refused(regrade(scenes, result="batch", output="better"), "of another model")
    assert not (scenes / "better").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "output", "words"),
    [
        (["--features", "f.npz"], "better", ["--features", "one result"]),
        ([], "batch", ["is also an input"]),
        (["buildings.gpkg"], "better", ["two scenes are called"]),
    ],
)
def test_scenes_that_cannot_be_regraded_are_refused(scenes, options, output, words):
    more = []
    if options == ["buildings.gpkg"]:
        other = scenes / "other" / "north"
        other.mkdir(parents=True)
        options, more = [], [write_result(other, *UNKNOWN)]
    paths = [scenes / "batch", *more, "--model", scenes / "event-model.toml"]
    refused(run_command("regrade", *paths, "-o", scenes / output, *options), *words)


@pytest.mark.slow
def test_answers_need_the_sample_that_they_answer(unknown):
    ran = adapt(unknown, "--answers", unknown / "answers.csv", answers="answers.csv")
    refused(ran, "answers.csv", "is not a sample")


def test_the_journal_of_a_sample_knows_the_sample(tmp_path):
    sample = tmp_path / "sample.geojson"
    frame = make_frame(UNKNOWN[0])[["building_id", "geometry"]].to_crs(4326)
    frame.assign(inclusion_probability=0.25).to_file(sample)
    journal = sample.with_name(f"{sample.name}.reviews.jsonl")
    review = {"building_id": "b3", "reviewed_damage": "destroyed", "reviewer": "Ada"}
    journal.write_text(json.dumps(review) + "\n")
    assert read_reviewed(journal)["inclusion_probability"].tolist() == [0.25]
    sample.unlink()
    assert read_reviewed(journal)["inclusion_probability"].isna().all()


@pytest.mark.slow
def test_answers_to_unknown_buildings_are_refused(unknown):
    with (unknown / "answers.csv").open("a") as file:
        file.write("stranger,destroyed\n")
    refused(adapt(unknown), "1 of 61 answers", "stranger")


@pytest.mark.slow
def test_two_answers_to_one_building_are_refused(unknown):
    with (unknown / "answers.csv").open("a") as file:
        file.write(f"b{ROWS[0]},destroyed\n")
    refused(adapt(unknown), "two answers", f"b{ROWS[0]}")


def test_few_answers_are_refused(unknown):
    write_answers(unknown / "answers.csv", TRUTH, ROWS[: FEWEST - 1])
    refused(adapt(unknown), "9 answers", "10 are needed at least")


@pytest.mark.slow
def test_answers_that_are_all_alike_are_refused(unknown):
    write_answers(unknown / "answers.csv", TRUTH, np.flatnonzero(TRUTH == 1)[:30])
    refused(adapt(unknown), "all 30 answers are no-damage")


@pytest.mark.slow
def test_a_changed_result_is_refused(unknown):
    path = unknown / "buildings.gpkg"
    frame = gpd.read_file(path, layer=0)
    frame.loc[3, "p_none"] += 0.01
    frame.to_file(path, layer="buildings")
    refused(adapt(unknown), "changed since")


@pytest.mark.slow
def test_a_result_with_more_columns_is_the_same_result(unknown):
    path = unknown / "buildings.gpkg"
    gpd.read_file(path, layer=0).assign(note="seen").to_file(path, layer="buildings")
    assert adapt(unknown).exit_code == 0


@pytest.mark.slow
def test_a_result_without_features_is_refused(unknown):
    sidecar = unknown / "buildings.gpkg.json"
    facts = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**facts, "features": None}))
    refused(adapt(unknown), "--features")
    assert adapt(unknown, "--features", unknown / "buildings.npz").exit_code == 0


@pytest.mark.slow
def test_a_result_of_another_model_is_refused(unknown):
    assert adapt(unknown).exit_code == 0
    sidecar = unknown / "buildings.gpkg.json"
    facts = json.loads(sidecar.read_text())
    sidecar.write_text(json.dumps({**facts, "model": {**MODEL, "sha256": "c" * 64}}))
    refused(regrade(unknown), "of another model")
    refused(adapt(unknown, "--overwrite"), "of another model")


@pytest.mark.slow
def test_a_result_that_was_graded_anew_is_refused(unknown):
    assert adapt(unknown).exit_code == regrade(unknown).exit_code == 0
    refused(regrade(unknown, result="better.geojson", output="b.gpkg"), "was graded again")


@pytest.mark.slow
def test_nothing_is_replaced_unasked(unknown):
    assert adapt(unknown).exit_code == regrade(unknown).exit_code == 0
    refused(adapt(unknown), "exists")
    refused(regrade(unknown), "exists")
    assert adapt(unknown, "--overwrite").exit_code == 0
    assert regrade(unknown, "--overwrite").exit_code == 0


@pytest.mark.slow
def test_the_same_answers_make_the_same_model(unknown):
    assert adapt(unknown).exit_code == 0
    first = read_event_model(unknown / "event-model.toml")
    assert adapt(unknown, "--overwrite").exit_code == 0
    again = read_event_model(unknown / "event-model.toml")
    assert (first.weights, first.offsets) == (again.weights, again.offsets)
