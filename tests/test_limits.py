"""No module is long, and no function."""

import ast
from pathlib import Path

import pytest

from tests.python_files import body_of

ROOT = Path(__file__).parents[1]
LONGEST_MODULE, LONGEST_FUNCTION = 500, 50
PARTS = ("geodamage", "training", "benchmarks", "sample_data", "qgis_plugin", "docs", "tests")


def files(part):
    return sorted((ROOT / part).rglob("*.py"))


@pytest.mark.parametrize("part", PARTS)
def test_there_is_something_to_look_at(part):
    assert files(part)


@pytest.mark.parametrize("part", PARTS)
def test_no_module_is_long(part):
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in files(part)}
    assert not {str(path): n for path, n in lines.items() if n > LONGEST_MODULE}


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_no_function_is_long(part):
    functions = [
        (path.name, node.name, body_of(node))
        for path in files(part)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert functions
    assert not [found for found in functions if found[2] > LONGEST_FUNCTION]


def test_a_docstring_does_not_count_and_all_else_does():
    text = (
        'def f(\n    a,\n):\n    """One\n\n    Two.\n    """\n    b = a\n    # why\n    return b\n'
    )
    function = ast.parse(text).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert body_of(function) == 3
