"""Hooks of mkdocs: the site shows pages that live outside `docs/`, and their links hold.

A link of a page goes to a file of the repository, so that it works wherever the repository is
read. In the site it goes to the page made of that file; of a file without a page, its path is
shown.
"""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
#: Files outside `docs/` that the site has, and their names there.
OUTSIDE = {
    "README.md": "index.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "SECURITY.md": "SECURITY.md",
    "qgis_plugin/README.md": "qgis_plugin/index.md",
    "training/README.md": "training/index.md",
    "training/EXPERIMENTS.md": "training/EXPERIMENTS.md",
    "training/open_cities.md": "training/open_cities.md",
    **{
        str(path.relative_to(ROOT)): str(path.relative_to(ROOT))
        for path in sorted((ROOT / "qgis_plugin" / "images").glob("*.png"))
    },
}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s#]*)(#[^)\s]*)?\)")
_CODE = re.compile(r"<code>([^<\n]+)</code>")
_OPTION = re.compile(r"(?<![\w-])--?[a-z][\w-]*")
_BLOCK = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and pictures that live outside `docs/`."""
    for path, name in OUTSIDE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Let links go to the pages of the site."""
    there = page.file.src_uri
    here = {name: path for path, name in OUTSIDE.items()}.get(there, f"docs/{there}")
    names = {file.src_uri for file in files}
    parts = _BLOCK.split(markdown)  # blocks of code at odd places
    parts[::2] = [
        _LINK.sub(lambda link: _site_link(link, here, there, names), part) for part in parts[::2]
    ]
    return "".join(parts)


def _site_link(link: re.Match[str], here: str, there: str, names: set[str]) -> str:
    mark, text, target, anchor = link[1], link[2], link[3], link[4] or ""
    if not target or "://" in target or target.startswith("mailto:"):
        return link[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(here), target))
    name = OUTSIDE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
    if name in names:
        return f"{mark}[{text}]({posixpath.relpath(name, posixpath.dirname(there) or '.')}{anchor})"
    return text if text.strip("`") == path else f"{text} (`{path}`)"


def on_page_content(html: str, **_: Any) -> str:
    """Let long names of tests break in a table, and no option at its hyphens."""
    return _CODE.sub(lambda code: f"<code>{_breakable(code[1])}</code>", html)


def _breakable(code: str) -> str:
    if "::test_" in code:
        return re.sub(r"(/|::|_)", r"\1<wbr>", code)
    return _OPTION.sub(r'<span class="option">\g<0></span>', code)
