"""What describes something says what it is: no description is the rest of a sentence."""

import ast
import inspect
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for room in ("geodamage", "training") for path in (ROOT / room).rglob("*.py"))

#: Beginnings of a description that lacks its noun.
FRAGMENT = re.compile(r"(Of|As|Likewise|Whose|By which)\b")
RULE = re.compile(r"-{3,}")
NAMED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def described(docstring: str) -> Iterator[str]:
    """Yield the first line of a docstring, and of each parameter, attribute, result and error."""
    lines = inspect.cleandoc(docstring).splitlines()
    yield lines[0]
    in_sections = False
    for before, line, after in zip(lines, lines[1:], [*lines[2:], ""], strict=False):
        in_sections |= RULE.fullmatch(after) is not None
        if in_sections and line.startswith("    ") and not before.startswith("    "):
            yield line.strip()


def descriptions(source: str) -> Iterator[str]:
    """Yield every description in a module: docstrings, texts under fields, helps of options."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, NAMED):
            docstring = ast.get_docstring(node)
            if docstring:
                yield from described(docstring)
            for field, text in itertools.pairwise(node.body):
                match field, text:
                    case ast.AnnAssign() | ast.Assign(), ast.Expr(ast.Constant(str() as value)):
                        yield value
        if isinstance(node, ast.keyword) and node.arg == "help":
            match node.value:
                case ast.Constant(str() as value):
                    yield value


def test_a_fragment_is_found_wherever_it_stands():
    source = '''
class Scene:
    """Of a place.

    Attributes
    ----------
    name
        Of the scene.
    crs
        Likewise.
    """

    date: str
    """As written."""

    def read(self):
        """Read it.

        Raises
        ------
        OSError
            As `open`.
        """

@option("--name", help="Of all.")
def command(): ...
'''
    found = [text for text in descriptions(source) if FRAGMENT.match(text)]
    assert sorted(found) == [
        "As `open`.", "As written.", "Likewise.", "Of a place.", "Of all.", "Of the scene.",
    ]  # fmt: skip


@pytest.mark.slow
def test_every_description_says_what_it_describes():
    found = [
        f"{path.relative_to(ROOT)}: {text}"
        for path in FILES
        for text in descriptions(path.read_text(encoding="utf-8"))
        if FRAGMENT.match(text)
    ]
    assert not found


@pytest.mark.slow
def test_systems_go_by_their_published_names():
    number = re.compile(r"[Ss]ystem[ _]00\d")
    written = [
        path
        for room in ("geodamage", "training", "docs", "benchmarks", "sample_data", "tests")
        for suffix in ("py", "toml", "md", "ipynb")
        for path in (ROOT / room).rglob(f"*.{suffix}")
    ]
    assert len(written) > 300
    found = [path.name for path in written if number.search(path.read_text(encoding="utf-8"))]
    assert not found
