"""The page of bad inputs names every row once, and tests that there are."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "bad-inputs.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (?:`(.+?)`)? ?\|$", PAGE, re.MULTILINE)


def test_all_92_rows_are_there_in_order():
    assert [int(number) for number, *_ in ROWS] == list(range(1, 93))


def test_every_test_that_is_named_is_there():
    for number, *_, test in ROWS:
        assert test, f"row {number} has no test"
        file, _, name = test.partition("::")
        assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8"), test


def test_what_has_tests_by_its_number_names_one():
    numbered = {
        number
        for path in TESTS.joinpath("bad_inputs").glob("test_*.py")
        for number in re.findall(r"row\((\d+),|test_row(\d+)_", path.read_text(encoding="utf-8"))
    }
    assert {first or second for first, second in numbered} <= {number for number, *_ in ROWS}
