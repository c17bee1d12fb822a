"""The pages of the docs, and the blocks of code on them."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *DOCS,
    ROOT / "training" / "README.md",
    ROOT / "qgis_plugin" / "README.md",
]


def blocks(text: str) -> list[tuple[str, str]]:
    """Return the blocks of code of a page: language and text; indented ones have none."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    rest = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"(?<=\n\n)((?:    \S.*\n|     +\S.*\n)+)", rest)
    return [*fenced, *(("", re.sub(r"(?m)^    ", "", block)) for block in indented)]
