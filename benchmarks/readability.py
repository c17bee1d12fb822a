r"""Measure the sentences that users read, and print the ten longest.

    python -m benchmarks.readability
    python -m benchmarks.readability docs/batch.md geodamage/plan.py

Pages are Markdown files. The docstrings of modules and of public things count as a page for each
room. The exit code is 1 where the sentences of a page have more than 20 words on average, or where
one sentence has more than 36. Headings, tables and code are not sentences. Each item of a list ends
a sentence.
"""

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
#: Words of a sentence, on the average of a page and at most.
MOST_WORDS, MOST_IN_ONE = 20, 36
LONGEST = 10

#: Folders whose docstrings are read.
ROOMS = ("geodamage", "training", "benchmarks", "qgis_plugin", "sample_data")

_FENCED = re.compile(r"^```.*?^```\n?", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_END = re.compile(r"(?<=[.!?])[)\"*']*\s+(?=[^a-z])")
_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")
#: Lines that are no prose: headings, tables, quotes of HTML, blocks by indentation, directives.
_NO_PROSE = re.compile(r"#|\||<| {4,}\S|:::|!\[")
#: Lines of a docstring that are columns, rules or trees.
_COLUMNS = re.compile(r"\S {2,}\S|[=-]{3,}$|[│├└]")

_Public = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Sentence(NamedTuple):
    """A sentence of a page.

    Attributes
    ----------
    page
        Path below the repository.
    words
        Number of words; a piece of code is one.
    text
        The sentence.
    """

    page: str
    words: int
    text: str


def main() -> int:
    """Measure the pages, and say whether their sentences are short enough."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path, help="Markdown and Python files; all")
    pages = parser.parse_args().pages
    found = {name(page): sentences(page) for page in pages} or read_all()
    for page, each in found.items():
        print(f"{average(each):5.1f} words in {len(each):4d} sentences  {page}")
    worst = longest([one for each in found.values() for one in each])
    print(f"\nthe {LONGEST} longest:")
    for sentence in worst:
        print(f"{sentence.words:3d}  {sentence.page}: {sentence.text}")
    too_long = bool(worst) and worst[0].words > MOST_IN_ONE
    return int(too_long or any(average(each) > MOST_WORDS for each in found.values()))


def read_all() -> dict[str, list[Sentence]]:
    """Return the sentences of every page, and of the docstrings of every room."""
    found = {name(page): sentences(page) for page in read_pages()}
    for room in ROOMS:
        modules = sorted((ROOT / room).rglob("*.py"))
        found[f"{room}/ (docstrings)"] = [one for path in modules for one in sentences(path)]
    return found


def read_pages() -> list[Path]:
    """Return the pages that users read."""
    top = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "qgis_plugin/README.md")
    folders = (ROOT / "docs", ROOT / "training", ROOT / "training" / "weights")
    pages = [page for folder in folders for page in sorted(folder.glob("*.md"))]
    return [*(ROOT / page for page in top), *pages]


def name(page: Path) -> str:
    """Return the path of a page below the repository."""
    path = page.resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(page)


def sentences(page: Path) -> list[Sentence]:
    """Return the sentences of a page of Markdown, or of the docstrings of a module."""
    text = page.read_text(encoding="utf-8")
    found = docstring_paragraphs(text) if page.suffix == ".py" else paragraphs(text)
    return [
        Sentence(name(page), len(sentence.split(" ")), sentence)  # not at the blanks inside code
        for paragraph in found
        for sentence in _END.split(paragraph)
        if re.search(r"\w", sentence)
    ]


def paragraphs(text: str) -> Iterator[str]:
    """Yield the prose of a page, an item of a list or a paragraph at a time, in one line each."""
    lines: list[str] = []
    for line in [*_FENCED.sub("\n", text).splitlines(), ""]:
        prose = line.strip() != "" and not _NO_PROSE.match(line)
        if lines and (not prose or _ITEM.match(line)):
            yield _plain(" ".join(lines))
            lines = []
        if prose:
            lines.append(_ITEM.sub("", line).strip())


def docstring_paragraphs(source: str) -> Iterator[str]:
    """Yield the prose of the docstrings of a module and of its public things."""
    for docstring in public_docstrings(ast.parse(source)):
        body, *sections = re.split(r"\n(?=\w[^\n]*\n-{3,}\n)", inspect.cleandoc(docstring))
        yield from paragraphs(_without_columns(body))
        for section in sections:
            # The names of a section begin their lines; what describes them is indented.
            described = re.sub(r"(?m)^\S.*$", "", section)
            yield from paragraphs(_without_columns(inspect.cleandoc("\n" + described)))


def public_docstrings(tree: ast.Module | ast.ClassDef) -> Iterator[str]:
    """Yield the docstring of a module or class, and those of what is public in it."""
    docstring = ast.get_docstring(tree)
    if docstring:
        yield docstring
    for node in tree.body:
        if isinstance(node, _Public) and not node.name.startswith("_"):
            if isinstance(node, ast.ClassDef):
                yield from public_docstrings(node)
            elif ast.get_docstring(node):
                yield ast.get_docstring(node) or ""


def _without_columns(text: str) -> str:
    return "\n".join("" if _COLUMNS.search(line.strip()) else line for line in text.splitlines())


def _plain(text: str) -> str:
    """Return a paragraph without marks: a link is its text, a piece of code one word."""
    plain = re.sub(r"`+[^`]*`+", lambda code: code[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
    return _LINK.sub(r"\1", plain).replace("**", "")


def average(found: Sequence[Sentence]) -> float:
    """Return the mean number of words of sentences; 0 of none."""
    return sum(sentence.words for sentence in found) / len(found) if found else 0.0


def longest(found: Sequence[Sentence], count: int = LONGEST) -> list[Sentence]:
    """Return the longest sentences, the longest first."""
    return sorted(found, key=lambda sentence: -sentence.words)[:count]


if __name__ == "__main__":
    sys.exit(main())
