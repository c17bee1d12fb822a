import numpy as np

from training.sensors.chip_scores import ChipScores, table


def test_figures_are_those_counted_by_hand():
    scores = ChipScores.of(np.array([0, 0, 0, 1]), np.array([0, 0, 2, 1]), 3)
    assert scores.confusion.tolist() == [[2, 0, 1], [0, 1, 0], [0, 0, 0]]
    assert scores.top_1 == 0.75
    np.testing.assert_allclose(scores.per_class, [2 / 3, 1, np.nan])
    np.testing.assert_allclose(scores.class_mean, 5 / 6)
    assert sorted(scores.row()) == ["class_0", "class_1", "class_mean", "top_1"]


def test_a_table_has_a_line_for_every_class_and_a_dash_where_it_has_no_chips():
    scores = ChipScores.of(np.array([0, 1]), np.array([0, 0]), 3)
    lines = table([("likeliest", scores), ("by quota", scores)]).splitlines()
    assert len(lines) == 6
    assert lines[1].split() == ["top-1", "0.5000", "0.5000"]
    assert lines[-1].split() == ["class", "2", "-", "-"]
