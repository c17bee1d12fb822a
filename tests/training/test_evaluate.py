import json

import numpy as np
import pytest

from geodamage.errors import LabelError, OptionError
from geodamage.model.card import with_card
from geodamage.model.ensemble import Ensemble, Member
from geodamage.model.onnx import Model
from geodamage.networks.export import to_onnx
from geodamage.scores.evaluation import EvaluationJob
from geodamage.scores.evaluation import evaluate as evaluate_file
from tests.labelled_pairs import FOUR, graded, write_pair
from tests.run_folders import SPLIT, write_run
from training import calibrate, evaluate
from training.calibrate import follow, silent
from training.evaluate import Request
from training.predictor import plain_card, read_trained

LIES = [graded(roof, 4) for roof in FOUR]


def write_data(folder, *, test=FOUR):
    """Write one pair to learn, one to choose on, and two to score, of two events."""
    for name in ("flood_9", "storm_1"):
        write_pair(folder, name)
    for name in ("storm_2", "flood_3"):
        write_pair(folder, name, FOUR, test)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "compact")


@pytest.fixture
def bright(monkeypatch, model):
    """Put a model that finds what is bright in the place of the network."""

    def load(trained, *, device, tta):
        loaded = Model(model, device="cpu")
        return Ensemble(loaded.card, [Member(loaded)])

    monkeypatch.setattr(evaluate, "load_predictor", load)


@pytest.fixture
def read_names(monkeypatch):
    """Return the names of the pairs that are read for choosing."""
    names = []
    read_truth = calibrate.read_truth

    def noted(pair):
        names.append(pair.name)
        return read_truth(pair)

    monkeypatch.setattr(calibrate, "read_truth", noted)
    return names


@pytest.mark.slow
def test_a_run_scores_as_its_model_file_does(data, run, tmp_path):
    trained = read_trained(run)
    path = tmp_path / "compact.onnx"
    path.write_bytes(with_card(to_onnx(trained.exported()), plain_card(trained)))
    job = EvaluationJob(folder=data, model=path, split=run / "split.csv", part="test", device="cpu")
    expected = follow(evaluate_file(job), silent).report()
    found = evaluate.evaluate(Request(sources=(run,), data=data, device="cpu")).report()
    assert found["pairs"] == expected["pairs"] == 2
    assert found["counts"] == expected["counts"]
    assert found["buildings"] == expected["buildings"]
    assert found["calibration"]["brier"] == pytest.approx(expected["calibration"]["brier"])
    assert found["data"] == expected["data"]


@pytest.mark.slow
def test_thresholds_are_chosen_without_the_part_that_is_scored(
    data, run, tmp_path, bright, read_names
):
    lying = write_data(tmp_path / "lying", test=LIES)
    right, wrong = (
        evaluate.evaluate(Request(sources=(run,), data=folder, tune=True))
        for folder in (data, lying)
    )
    assert read_names == ["storm_1", "storm_1"]
    assert right.facts["chosen"] == wrong.facts["chosen"]
    assert right.facts["chosen"]["part"] == "validation"
    assert right.facts["chosen"]["pairs"] == 1
    assert right.report()["score"] == pytest.approx(1)
    assert wrong.report()["score"] < 0.5
    assert {pair.name for pair in right.tallies} == {"storm_2", "flood_3"}


@pytest.mark.slow
def test_what_is_chosen_is_what_is_scored(data, run, bright, monkeypatch):
    monkeypatch.setattr(calibrate.Chosen, "facts", lambda _: {"grade_weights": [1, 1, 1, 1e6]})
    evaluation = evaluate.evaluate(Request(sources=(run,), data=data, tune=True))
    assert evaluation.total.buildings.confusion[:, 3].sum() == 8
    assert evaluation.report()["score"] == pytest.approx(1)  # weights are for buildings alone


@pytest.mark.slow
def test_the_part_that_was_chosen_on_is_not_scored(data, run):
    with pytest.raises(OptionError, match="--part validation: --tune chooses on it"):
        evaluate.evaluate(Request(sources=(run,), data=data, part="validation", tune=True))


@pytest.mark.slow
def test_a_pair_of_two_parts_is_refused(data, run, tmp_path):
    split = tmp_path / "split.csv"
    split.write_text(SPLIT + "storm_1,test\n")
    with pytest.raises(LabelError, match="storm_1 is in validation and in test"):
        evaluate.evaluate(Request(sources=(run,), data=data, split=split, tune=True))


@pytest.mark.slow
def test_who_scores_on_the_training_part_is_told(data, run, bright):
    evaluation = evaluate.evaluate(Request(sources=(run,), data=data, part="train"))
    assert evaluation.notes[-1] == f"1 of 1 pairs scored are of the training part of {run}"
    held_out = evaluate.evaluate(Request(sources=(run,), data=data))
    assert not [note for note in held_out.notes if "training part" in note]


@pytest.mark.slow
def test_who_chooses_on_what_another_member_learnt_is_told(data, run, tmp_path, bright):
    other = write_run(tmp_path / "other")
    (other / "split.csv").write_text(SPLIT.replace("validation", "train"))
    evaluation = evaluate.evaluate(Request(sources=(run, other), data=data, tune=True))
    assert evaluation.notes[-1] == (f"1 of 1 pairs chosen on are of the training part of {other}")


@pytest.mark.slow
def test_a_fold_was_trained_on_the_others(tmp_path):
    run = write_run(tmp_path / "folded", fold=1)
    (run / "split.csv").write_text("pair,part\na_1,0\na_2,1\na_3,2\n")
    assert [pair.name for pair in evaluate.learnt_pairs(read_trained(run))] == ["a_1", "a_3"]


@pytest.mark.slow
def test_localisation_alone_has_no_score(data, tmp_path, capsys):
    run = write_run(tmp_path / "loc", "efficientunet_b0", "localisation")
    with pytest.raises(SystemExit) as caught:
        evaluate.main([str(run), "--data", str(data)])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "finds buildings and gives no grades; name a damage run, too" in error
    assert error.count("\n") == 1


def test_a_checkpoint_has_no_part_to_choose_on(data, run):
    with pytest.raises(OptionError, match="give --split"):
        evaluate.evaluate(Request(sources=(run / "best",), data=data, tune=True))


@pytest.mark.slow
def test_the_command_prints_one_json_object(data, run, bright, capsys):
    evaluate.main([str(run), "--data", str(data), "--tune", "--json", "--bootstrap", "20"])
    report = json.loads(capsys.readouterr().out)
    assert report["score"] == pytest.approx(1)
    assert list(report["events"]) == ["flood", "storm"]
    assert report["members"][0]["network"] == "compact"
    assert report["chosen"]["temperature"] > 0
    assert np.isfinite(report["interval_95"]["score"]).all()


@pytest.mark.slow
def test_the_command_prints_tables(data, run, bright, capsys):
    evaluate.main([str(run), "--data", str(data), "--per-event"])
    output = capsys.readouterr()
    assert "xView2 score" in output.out
    assert "storm" in output.out
    assert "chosen" not in output.out
    assert "not 1024 x 1024" in output.out
    evaluate.main([str(run), "--data", str(data), "--tune"])
    output = capsys.readouterr()
    assert "storm" not in output.out
    assert '"part": "validation"' in output.out


def test_no_run_is_one_line(data, tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        evaluate.main([str(tmp_path / "absent"), "--data", str(data)])
    assert caught.value.code == 5
    assert capsys.readouterr().err.count("\n") == 1
