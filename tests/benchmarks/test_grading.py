import numpy as np
import pytest

from benchmarks.grading import WAYS, by_agreement, main
from geodamage.scores.tallies import MatchedVotes
from tests.labelled_pairs import write_pair, write_split
from tests.run_folders import write_run


@pytest.mark.slow
def test_a_rare_grade_is_called_more_often_by_agreement_than_by_likelihood():
    votes = np.array([[9, 1, 0, 0]] * 50 + [[55, 45, 0, 0]] * 10 + [[1, 9, 0, 0]] * 3, float)
    # Of the ten that are in doubt four are damaged: to call all of them so is worth it to F1 alone.
    grades = np.array([1] * 56 + [2] * 4 + [2] * 3)
    found = MatchedVotes(votes, grades)
    agreeing, likely = (WAYS[way](found) for way in ("kappa and F1", "likelihood"))
    assert by_agreement(found) == agreeing
    assert WAYS["none"](found).weights == (1, 1, 1, 1)
    assert likely.weights[1] < agreeing.weights[1]


@pytest.mark.slow
def test_the_table_has_each_way_of_each_model(tmp_path, model, capsys):
    split = write_split(tmp_path, storm_1="validation", storm_2="test")
    main([str(split), str(model), "--data", str(tmp_path)])
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line][2:]
    assert [row[2].strip() for row in rows] == [*WAYS]
    assert all(float(row[5]) == float(row[6]) == 1 for row in rows)


@pytest.mark.slow
def test_a_run_is_split_as_it_was_trained_and_has_to_find_something(tmp_path):
    for name in ("storm_1", "storm_2", "flood_3"):
        write_pair(tmp_path, name)
    run = write_run(tmp_path / "untrained", "compact_small", sampling="chips")
    with pytest.raises(SystemExit, match="untrained: finds no graded building"):
        main(["not-there.csv", str(run), "--data", str(tmp_path)])


def test_what_is_not_there_is_named(tmp_path, model):
    split = write_split(tmp_path, storm_1="test")
    with pytest.raises(SystemExit, match="validation"):
        main([str(split), str(model), "--data", str(tmp_path)])
