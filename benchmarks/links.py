r"""Check the links of the pages, and the addresses in all files of the repository.

    python -m benchmarks.links
    python -m benchmarks.links --online

Without `--online` nothing is fetched. Links inside the repository must lead to a file and to one of
its headings. Addresses must be well formed, and they are listed. With `--online` each is asked for
once. The exit code is 1 where a link is wrong or an address does not answer.
"""

import argparse
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
#: Folders that are searched, and what is searched in them.
FOLDERS = ("docs", "geodamage", "qgis_plugin", "training", "sample_data", "benchmarks", "packaging")
KINDS = {".md", ".toml", ".py", ".pyt", ".yml", ".yaml", ".cff", ".ipynb"}
SECONDS = 20.0
#: What a server answers that wants no program to read the page; the page is there.
SHY = {401, 403, 405, 406, 429}

_FENCED = re.compile(r"^```.*?^```\n?", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_ADDRESS = re.compile(r"https?://[^\s<>()\[\]\"'`,;|]+|(?<=[`\"])github\.com/[\w./-]+")
#: Names of XML and hosts of examples (RFC 2606) are no pages; nor is what a program completes.
_NO_PAGE = re.compile(
    r"[{}]|://(mrcc\.com|www\.opengis\.net)/|://[\w.]*\b(example|localhost)\b"
    r"|windows\.net/global-buildings$|appspot\.com/public$"
)


class Link(NamedTuple):
    """A link or an address, and where it stands.

    Attributes
    ----------
    file
        The file that has it.
    target
        A path, with or without an anchor, or an address.
    """

    file: Path
    target: str


def main() -> int:
    """Check all links, and say which are wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--online", action="store_true", help="ask for each address")
    options = parser.parse_args()
    faults = [fault for page in pages() for fault in broken_links(page)]
    found = addresses(files())
    faults += [f"{_name(at[0])}: malformed {where}" for where, at in found.items() if bad(where)]
    answers = ask_all(found) if options.online else dict.fromkeys(found, "not asked")
    for where, at in found.items():
        print(f"{answers[where]}: {where} ({', '.join(map(_name, at))})")
    faults += [f"{_name(found[where][0])}: dead {where}" for where in dead(answers)]
    print(*faults, f"{len(found)} addresses, {len(faults)} faults", sep="\n")
    return int(bool(faults))


def pages() -> list[Path]:
    """Return the pages of Markdown of the repository."""
    return [path for path in files() if path.suffix == ".md"]


def files() -> list[Path]:
    """Return the files that may hold addresses."""
    top = [path for path in ROOT.iterdir() if path.is_file()]
    deep = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    return sorted(path for path in [*top, *deep] if path.suffix in KINDS)


def broken_links(page: Path) -> Iterator[str]:
    """Yield a line for each link of a page that leads nowhere in the repository."""
    for target in _LINK.findall(_FENCED.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists():
            yield f"{_name(page)}: no file {target}"
        elif anchor and anchor not in anchors(there):
            yield f"{_name(page)}: no heading {target}"


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings of a page, as forges and mkdocs make them."""
    headings = _HEADING.findall(_FENCED.sub("", page.read_text(encoding="utf-8")))
    kept = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"\s+", "-", text) for text in kept}


def addresses(paths: Sequence[Path]) -> dict[str, list[Path]]:
    """Return each address of files and the files that have it."""
    found: dict[str, list[Path]] = {}
    for path in paths:
        for match in dict.fromkeys(_ADDRESS.findall(path.read_text(encoding="utf-8"))):
            where = match if "://" in match else f"https://{match}"
            if not _NO_PAGE.search(where):
                found.setdefault(where.rstrip(".:*\\/"), []).append(path)
    return dict(sorted(found.items()))


def bad(where: str) -> bool:
    """Return whether an address cannot be one of the public web."""
    try:
        parts = urlsplit(where)
        port = parts.port
    except ValueError:
        return True
    host = parts.hostname or ""
    return (
        parts.scheme != "https" or port is not None or not re.fullmatch(r"[\w-]+(\.[\w-]+)+", host)
    )


def ask(where: str) -> str:
    """Return what a server answers to an address: a status, or why there is none."""
    request = urllib.request.Request(where, headers={"User-Agent": "geodamage-links"})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except OSError as error:
        return f"no answer ({error})"


def ask_all(
    found: Iterable[str], asking: Callable[[str], str] = ask, threads: int = 8
) -> dict[str, str]:
    """Return the answer to each address."""
    with ThreadPoolExecutor(threads) as pool:
        return dict(zip(found, pool.map(asking, found), strict=True))


def dead(answers: Mapping[str, str]) -> list[str]:
    """Return the addresses that were asked for and lead to no page."""
    there = {"not asked", *map(str, SHY)}
    return [where for where, said in answers.items() if said not in there and said[0] not in "23"]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
