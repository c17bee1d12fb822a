import numpy as np
import pytest

from geodamage.buildings import Grading
from geodamage.tallies import Drawing, MatchedVotes
from tests.labelled_pairs import FOUR, graded, write_pair
from training import calibrate
from training.calibrate import (
    Chosen,
    choose,
    choose_damaged,
    choose_drawing,
    choose_grading,
    collect_votes,
    detect,
    predict_part,
    score_part,
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


def test_thresholds_are_chosen_by_what_is_found(split, model):
    part = list(predict_part(str(model), split, split.parent, "validation"))
    assert detect(part[0], choose_drawing(part)) == (4, 0, 0)
    assert detect(part[0], Drawing(min_area=50)) == (3, 1, 0)
    assert list(collect_votes(part, Drawing()).grades) == [1, 2, 3, 4]
    chosen = choose(part)
    assert chosen.facts()["grade_weights"] == [1.0] * 4
    assert chosen.facts()["threshold"] == chosen.drawing.threshold


def test_scores_are_those_of_the_whole_and_of_each_event(split, model):
    pairs = calibrate.read_split(split, split.parent, "test")
    scores = score_part(str(model), pairs, Chosen(Drawing(), Grading(), 0.5))
    assert list(scores) == ["", "flood", "storm"]
    assert scores["storm"]["xview2_score"] == pytest.approx(1)
    assert scores["storm"]["quadratic_kappa"] == 1
    assert scores["flood"]["building_f1_per_grade"]["destroyed"] == 0.4
    assert scores[""]["buildings"] == scores[""]["graded_buildings_found"] == 8
    assert scores[""]["recall_iou50"] == 1
    low, high = scores[""]["quadratic_kappa_95"]
    assert low <= scores[""]["quadratic_kappa"] <= high


def test_the_command_writes_facts(split, model, tmp_path, monkeypatch):
    output = tmp_path / "facts.json"
    arguments = ["calibrate", model, split, "--data", split.parent, "-o", output]
    monkeypatch.setattr("sys.argv", list(map(str, arguments)))
    calibrate.main()
    facts = calibrate.json.loads(output.read_text())
    assert facts["scores"]["test"]["pairs"] == 2
    assert list(facts["scores"]["test_per_event"]) == ["flood", "storm"]
    assert facts["scores"]["validation"]["recall_iou50"] == 1
