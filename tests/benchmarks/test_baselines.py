from dataclasses import replace

import numpy as np
import pytest

from benchmarks.baselines import (
    choose_thresholds,
    differences,
    graded,
    macro_f1,
    main,
)
from geodamage.scores.buildings import grading_score
from geodamage.scores.evaluation import read_truth
from geodamage.xbd.folders import Pair
from tests.labelled_pairs import write_pair, write_split


def test_what_did_not_change_differs_by_nothing(tmp_path):
    write_pair(tmp_path, "storm_1")
    truth = read_truth(Pair("storm_1", tmp_path))
    same = replace(truth, post=truth.pre)
    assert graded(truth) == [1, 2, 3, 4]
    assert differences(same) == pytest.approx(np.zeros(4))
    # Brighter all over is no damage, either.
    bright = replace(truth, post=(truth.pre // 2 + 30).astype(np.uint8))
    assert differences(bright).max() < 2
    assert differences(truth).max() > 10


def test_thresholds_part_what_can_be_parted():
    changed = np.repeat([1.0, 20, 40, 80], [40, 12, 12, 12])
    grades = np.repeat([1, 2, 3, 4], [40, 12, 12, 12])
    thresholds = choose_thresholds(changed, grades)
    assert list(thresholds) == sorted(thresholds)
    assert macro_f1(grading_score(grades, np.digitize(changed, thresholds) + 1)) == 1


def test_a_grade_that_does_not_occur_is_not_in_the_mean():
    assert macro_f1(grading_score([1, 1, 4, 4], [1, 1, 4, 1])) == pytest.approx((0.8 + 2 / 3) / 2)


@pytest.mark.slow
def test_the_table_has_the_model_beside_both(tmp_path, model, capsys):
    split = write_split(tmp_path, storm_1="train", storm_2="test", storm_3="test")
    main([str(model), str(split), "--data", str(tmp_path)])
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if "|" in line][2:]
    assert [row[0] for row in rows] == [
        "| every building no-damage", "| difference of pixels", "| bright 1",
    ]  # fmt: skip
    assert float(rows[2][2]) == 1
    assert float(rows[0][3]) == 0
