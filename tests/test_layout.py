"""Tests mirror modules, and stand on their own."""

from pathlib import Path

import pytest

from tests.python_files import imports

TESTS = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", sorted(TESTS.rglob("*.py")), ids=lambda p: str(p.relative_to(TESTS))
)
def test_nothing_is_taken_from_a_test_module(path):
    taken = [full for full in imports(path) if full.startswith("tests.")]
    assert not [full for full in taken if full.split(".")[-2].startswith("test_")]
