import numpy as np
import pytest

from geodamage.reviews.agreement import agreement, resolve, weighted_kappa
from geodamage.reviews.answers import read_answers


@pytest.fixture
def answers(tmp_path):
    def of(*rows):
        path = tmp_path / "a.csv"
        lines = ["building_id,damage,reviewer,reviewed_at", *(",".join(row) for row in rows)]
        path.write_text("\n".join(lines), encoding="utf-8")
        return read_answers(path)

    return of


THREE = (
    ("a", "minor", "Ada", "1"), ("a", "minor", "Ben", "3"), ("a", "destroyed", "Cem", "2"),
    ("b", "minor", "Ada", "2"), ("b", "major", "Ben", "1"), ("b", "unclear", "Cem", "3"),
    ("c", "x", "Ada", "1"), ("c", "none", "Ben", "2"),
    ("d", "u", "Ada", "1"), ("d", "u", "Ben", "1"),
    ("e", "none", "Ada", "1"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "a", "b", "c"),
    [
        ("majority", "minor-damage", "major-damage", "no-damage"),
        ("worst", "destroyed", "major-damage", "no-damage"),
        ("mildest", "minor-damage", "minor-damage", "no building"),
        ("latest", "minor-damage", "minor-damage", "no-damage"),
    ],
)
def test_one_answer_counts_for_each_building(answers, rule, a, b, c):
    resolved = resolve(answers(*THREE), rule)
    found = resolved.answers.set_index("building_id")["damage"].to_dict()
    assert found == {"a": a, "b": b, "c": c, "d": "unclear", "e": "no-damage"}
    assert [conflict["building_id"] for conflict in resolved.conflicts] == ["a", "b", "c"]
    assert resolved.conflicts[0] == {
        "building_id": "a",
        "answers": {"Ada": "minor-damage", "Ben": "minor-damage", "Cem": "destroyed"},
        "taken": a,
    }
    assert resolved.answers["reviewer"].to_list()[-1] == "Ada"
    assert resolved.answers["damage_class"].dtype == "Int64"


def test_reviewers_are_compared_two_by_two(answers):
    pairs = agreement(answers(*THREE))
    assert [pair["reviewers"] for pair in pairs] == [["Ada", "Ben"], ["Ada", "Cem"], ["Ben", "Cem"]]
    assert pairs[0]["buildings"] == 2
    assert pairs[0]["same"] == 0.5
    assert pairs[1]["linear_kappa"] == 0
    assert agreement(answers(*THREE[-1:])) == []


def test_kappa_counts_grades_that_nobody_gave():
    # The grades 1, 2 and 4: without grade 3 the table would say 0.625.
    table = np.zeros((4, 4))
    table[0, 0], table[1, 1], table[3, 3], table[0, 1] = 2, 1, 1, 1
    assert weighted_kappa(table, 1) == pytest.approx(1 - 1 / 5.8)
    squeezed = weighted_kappa(np.delete(np.delete(table, 2, 0), 2, 1), 1)
    assert squeezed == pytest.approx(1 - 1 / 4.2)
    assert weighted_kappa(np.diag([3.0, 0, 0, 0]), 2) is None
    assert weighted_kappa(np.zeros((4, 4)), 2) is None
    assert weighted_kappa(np.diag([3.0, 1, 0, 0]), 2) == 1
