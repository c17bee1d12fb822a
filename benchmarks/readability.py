r"""Measure the sentences of the pages that users read, and print the ten longest.

    python -m benchmarks.readability
    python -m benchmarks.readability docs/batch.md

The exit code is 1 where the sentences of a page have more than 20 words on average. Headings,
tables and code are no sentences and are left out; each item of a list ends one.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
#: Words of a sentence on the average of a page.
MOST_WORDS = 20
LONGEST = 10

_FENCED = re.compile(r"^```.*?^```\n?", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_END = re.compile(r"(?<=[.!?])[)\"*']*\s+(?=[^a-z])")
_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")
#: Lines that are no prose: headings, tables, quotes of HTML, blocks by indentation, directives.
_NO_PROSE = re.compile(r"#|\||<|    \S|:::|!\[")


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
    parser.add_argument("pages", nargs="*", type=Path, help="Markdown files; all that users read")
    pages = parser.parse_args().pages or read_pages()
    found = {page: sentences(page) for page in pages}
    for page, each in found.items():
        print(f"{average(each):5.1f} words in {len(each):4d} sentences  {name(page)}")
    print(f"\nthe {LONGEST} longest:")
    for sentence in longest([one for each in found.values() for one in each]):
        print(f"{sentence.words:3d}  {sentence.page}: {sentence.text}")
    return int(any(average(each) > MOST_WORDS for each in found.values()))


def read_pages() -> list[Path]:
    """Return the pages that users read."""
    top = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    return [*top, *sorted((ROOT / "docs").glob("*.md")), ROOT / "qgis_plugin" / "README.md"]


def name(page: Path) -> str:
    """Return the path of a page below the repository."""
    path = page.resolve()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(page)


def sentences(page: Path) -> list[Sentence]:
    """Return the sentences of a page of Markdown."""
    return [
        Sentence(name(page), len(text.split(" ")), text)  # not at the blanks inside code
        for paragraph in paragraphs(page.read_text(encoding="utf-8"))
        for text in _END.split(paragraph)
        if re.search(r"\w", text)
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


def _plain(text: str) -> str:
    """Return a paragraph without marks: a link is its text, a piece of code one word."""
    plain = re.sub(r"`[^`]*`", lambda code: code[0].replace(" ", "\N{NO-BREAK SPACE}"), text)
    return _LINK.sub(r"\1", plain).replace("**", "")


def average(found: Sequence[Sentence]) -> float:
    """Return the mean number of words of sentences; 0 of none."""
    return sum(sentence.words for sentence in found) / len(found) if found else 0.0


def longest(found: Sequence[Sentence], count: int = LONGEST) -> list[Sentence]:
    """Return the longest sentences, the longest first."""
    return sorted(found, key=lambda sentence: -sentence.words)[:count]


if __name__ == "__main__":
    sys.exit(main())
