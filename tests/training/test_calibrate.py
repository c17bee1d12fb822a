from dataclasses import replace

import numpy as np
import pytest

from geodamage.buildings.finding import Grading
from geodamage.errors import ModelError
from geodamage.model.loading import load_model
from geodamage.scores.evaluation import EvaluationJob
from geodamage.scores.tallies import Drawing, MatchedVotes
from geodamage.xbd.folders import read_split
from tests.fakes import write_pointwise
from tests.labelled_pairs import FOUR, graded, write_pair
from training import calibrate
from training.calibrate import (
    Chosen,
    Trial,
    choose,
    choose_damaged,
    choose_drawing,
    choose_grading,
    predict_pairs,
    score_part,
    try_drawings,
    tuned,
)


def found(votes, grades):
    return MatchedVotes(np.array(votes, float), np.array(grades))


RIGHT = np.eye(4)[[0, 0, 1, 2, 3, 3]] * 8 + 1
GRADES = [1, 1, 2, 3, 4, 4]


def test_weights_stay_at_one_where_every_grade_is_right():
    assert choose_grading(found(RIGHT, GRADES)).weights == (1.0, 1.0, 1.0, 1.0)


def test_a_grade_that_is_voted_too_low_gets_more_weight():
    votes = np.array([[6, 1, 1, 1]] * 6 + [[4, 3, 1, 1]] * 6, float)
    grading = choose_grading(found(votes, [1] * 6 + [2] * 6))
    assert grading.weights[1] > 1
    assert list(grading.columns(votes)["damage_class"]) == [1] * 6 + [2] * 6


def test_votes_that_are_too_sure_are_cooled():
    unsure = choose_grading(found([[97, 1, 1, 1]] * 10, [1] * 6 + [2] * 4))
    assert unsure.temperature > 1


def test_the_damaged_threshold_parts_damaged_from_not():
    votes = [[8, 2, 0, 0], [7, 3, 0, 0], [3, 3, 3, 1], [1, 1, 1, 7]]
    assert 0.3 < choose_damaged(found(votes, [1, 1, 2, 4]), Grading()) <= 0.7


def test_where_thresholds_part_alike_it_is_one_half():
    sure = found([[99, 1, 0, 0], [1, 1, 1, 97]], [1, 4])
    assert choose_damaged(sure, Grading()) == 0.5


def test_weights_follow_how_often_a_grade_occurs_not_how_often_it_is_voted():
    votes = [[55, 45, 0, 0]] * 20 + [[1, 9, 0, 0]] * 5
    assert choose_grading(found(votes, [1] * 19 + [2] * 6)).weights[1] < 1


@pytest.fixture
def split(tmp_path, monkeypatch):
    """Return a split of three pairs of two events; of one the labels lie."""
    write_pair(tmp_path, "storm_1")
    write_pair(tmp_path, "storm_2")
    write_pair(tmp_path, "flood_3", FOUR, [graded(roof, 4) for roof in FOUR])
    monkeypatch.setattr(calibrate, "BOOTSTRAPS", 50)
    path = tmp_path / "split.csv"
    path.write_text("pair,part\nstorm_1,validation\nstorm_2,test\nflood_3,test\n")
    return path


def predicted(split, model, part):
    pairs = read_split(split, split.parent, part)
    return predict_pairs(load_model(model, device="cpu"), pairs)


def job(split, part):
    return EvaluationJob(folder=split.parent, split=split, part=part)


@pytest.mark.slow
def test_thresholds_are_chosen_by_what_is_found(split, model):
    trials = try_drawings(predicted(split, model, "validation"))
    assert len(trials) == 96
    best = choose_drawing(trials)
    assert trials[best].found == (4, 0, 0)
    assert list(trials[best].matched.grades) == [1, 2, 3, 4]
    # Whatever else finds as much comes later.
    assert best == Drawing(0.35)
    chosen = choose(predicted(split, model, "validation"))
    assert chosen.drawing == best
    assert chosen.facts()["grade_weights"] == [1.0] * 4
    assert chosen.facts()["threshold"] == chosen.drawing.threshold


def test_a_trial_adds_up_over_pairs(split, model):
    part = [*predicted(split, model, "test")]
    whole, large = Trial(), Trial()
    for one in part:
        whole.add(one, Drawing())
        large.add(one, Drawing(min_area=50))
    assert whole.found == (8, 0, 0)
    assert large.found == (6, 2, 0)
    assert sorted(whole.matched.grades) == [1, 2, 3, 4, 4, 4, 4, 4]
    assert whole.matched.votes.shape == (8, 4)


@pytest.mark.slow
def test_nothing_is_chosen_where_nothing_is_found(split, tmp_path):
    model = write_pointwise(tmp_path / "dark.onnx", gsd_native=0.5)
    pairs = read_split(split, split.parent, "validation")
    blind = tuned(load_model(model, device="cpu"), {"name": "blind"})
    black = replace(next(predict_pairs(blind, pairs)), probabilities=np.ones((5, 128, 160)))
    with pytest.raises(ModelError, match="nothing can be chosen there"):
        choose([black])


def test_a_tuned_model_draws_and_grades_by_what_was_chosen(model):
    loaded = load_model(model, device="cpu")
    facts = Chosen(Drawing(0.4, 0.7, 3), Grading(1.5, (1, 2, 1, 1)), 0.6).facts()
    better = tuned(loaded, facts)
    assert Drawing.of(better.card) == Drawing(0.4, 0.7, 3)
    assert Grading.of(better.card) == Grading(1.5, (1, 2, 1, 1), 0.6)
    assert better.rules.thresholds == (0.4,) * 4
    assert loaded.card.threshold == 0.5


def test_scores_are_those_of_the_whole_and_of_each_event(split, model):
    chosen = Chosen(Drawing(), Grading(), 0.5)
    scores = score_part(load_model(model, device="cpu"), job(split, "test"), chosen)
    assert list(scores) == ["", "flood", "storm"]
    assert scores["storm"]["xview2_score"] == pytest.approx(1)
    assert scores["storm"]["quadratic_kappa"] == 1
    assert scores["flood"]["building_f1_per_grade"]["destroyed"] == 0.4
    assert scores[""]["buildings"] == scores[""]["graded_buildings_found"] == 8
    assert scores[""]["recall_iou50"] == 1
    low, high = scores[""]["quadratic_kappa_95"]
    assert low <= scores[""]["quadratic_kappa"] <= high


@pytest.mark.slow
def test_the_command_writes_facts(split, model, tmp_path):
    output = tmp_path / "facts.json"
    arguments = [model, split, "--data", split.parent, "-o", output]
    calibrate.main(list(map(str, arguments)))
    facts = calibrate.json.loads(output.read_text())
    assert facts["scores"]["test"]["pairs"] == 2
    assert list(facts["scores"]["test_per_event"]) == ["flood", "storm"]
    assert facts["scores"]["validation"]["recall_iou50"] == 1


def test_a_split_without_the_parts_is_one_line(split, model, tmp_path, capsys):
    split.write_text("pair,part\nstorm_1,train\n")
    output = tmp_path / "facts.json"
    with pytest.raises(SystemExit) as caught:
        calibrate.main([str(model), str(split), "--data", str(tmp_path), "-o", str(output)])
    assert caught.value.code == 4
    assert "no pair in part 'validation'" in capsys.readouterr().err
    assert not output.exists()


def test_a_card_keeps_four_digits_of_figures_and_of_the_ends_of_their_intervals():
    figures = {"kappa": 0.123456, "ends": (0.111111, None), "of": {"f1": [2 / 3, 7]}}
    assert calibrate.rounded(figures) == {
        "kappa": 0.1235, "ends": [0.1111, None], "of": {"f1": [0.6667, 7]},
    }  # fmt: skip
