r"""Print the table of runs.

    python -m training.results
    python -m training.results --runs runs --group 'first_place_*' --markdown > results.md

A run belongs to the group that its recipe names by the key `group`. Without the key, the group is
the recipe's name, so the folds of a recipe are together. What a folder lacks is empty, and what is
wrong with it stands under `status`.
"""

import argparse
import csv
import io
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from geodamage.errors import GeodamageError, OptionError
from training.runs.records import RecordError, Status

#: Files of which a run has at least one.
SIGNS = ("recipe.toml", "status.json", "steps.csv", "last.pt")
#: Seconds without a step after which a run that says it is running may well have been killed.
SILENT = 3600.0
COLUMNS = (
    "run", "group", "network", "task", "status", "steps", "metric", "best", "at step", "hours",
    "date", "commit", "split",
)  # fmt: skip
NUMBERS = ("steps", "best", "at step", "hours")


@dataclass(frozen=True)
class Result:
    """A run as its folder tells it; what the folder lacks is empty."""

    name: str
    recipe: dict[str, Any]
    status: Status
    state: str
    """How it stands, or what is wrong with the folder."""
    split: str
    """SHA-256 of the split file."""

    @property
    def group(self) -> str:
        """Group of the recipe, or its name."""
        return str(self.recipe.get("group") or self.recipe.get("name") or self.name)

    def row(self) -> dict[str, str]:
        """Return the texts of the columns."""
        status = self.status
        return {
            "run": self.name,
            "group": self.group,
            "network": str(self.recipe.get("network", "")),
            "task": str(self.recipe.get("task", "")),
            "status": self.state,
            "steps": f"{status.steps}/{status.total}" if status.total else "",
            "metric": status.metric,
            "best": "" if status.best is None else f"{status.best:.4f}",
            "at step": "" if status.best_step is None else str(status.best_step),
            "hours": f"{status.seconds / 3600:.2f}" if status.started else "",
            "date": (status.ended or status.started)[:10],
            "commit": status.commit[:7],
            "split": self.split[:7],
        }


def find_results(runs: Path, group: str = "*") -> list[Result]:
    """Return the runs in a folder, by group and name.

    Parameters
    ----------
    group
        Name of a group, or a pattern of them such as `first_place_*`.

    Raises
    ------
    OptionError
        If there is no such folder, or no run of that group.
    """
    if not runs.is_dir():
        raise OptionError(f"{runs}: no such folder; name that of the runs by --runs")
    found = [
        read_result(folder)
        for folder in sorted(runs.iterdir())
        if any((folder / sign).is_file() for sign in SIGNS)
    ]
    chosen = [result for result in found if fnmatchcase(result.group, group)]
    if not chosen:
        there = ", ".join(sorted({result.group for result in found})) or "none"
        raise OptionError(f"{runs}: no runs of group {group!r}; there: {there}")
    return sorted(chosen, key=lambda result: (result.group, result.name))


def read_result(folder: Path) -> Result:
    """Return what the folder of a run tells; a damaged one says so in `state`."""
    complaints: list[str] = []
    recipe: dict[str, Any] = {}
    try:
        recipe = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        complaints.append("no recipe.toml")
    except (OSError, ValueError):
        complaints.append("recipe.toml cannot be read")
    status, state = Status(folder.name), "unknown"
    try:
        status = Status.read(folder / "status.json")
        state = _state(folder, status)
    except RecordError:
        there = (folder / "status.json").exists()
        complaints.append("status.json cannot be read" if there else "no status.json")
    if complaints:
        state = f"{state} ({', '.join(complaints)})"
    return Result(folder.name, recipe, status, state, _first_line(folder / "split.sha256"))


def _state(folder: Path, status: Status) -> str:
    """Return how a run stands; one that was killed could not say so."""
    if status.status != "running":
        return status.status
    seen = max(path.stat().st_mtime for path in _signs_of_life(folder))
    silent = time.time() - seen
    return "running" if silent < SILENT else f"silent for {silent / 3600:.0f} h"


def _signs_of_life(folder: Path) -> Iterator[Path]:
    for name in ("status.json", "steps.csv"):
        if (folder / name).exists():
            yield folder / name


def _first_line(path: Path) -> str:
    try:
        return (path.read_text(encoding="utf-8").splitlines() or [""])[0]
    except (OSError, UnicodeDecodeError):
        return ""


def as_csv(results: Sequence[Result]) -> str:
    """Return the table as CSV."""
    text = io.StringIO()
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(result.row() for result in results)
    return text.getvalue()


def as_markdown(results: Sequence[Result]) -> str:
    """Return the table in Markdown."""
    lines = [COLUMNS, tuple("--:" if name in NUMBERS else "---" for name in COLUMNS)]
    lines += [
        tuple(result.row()[name].replace("|", r"\|") for name in COLUMNS) for result in results
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def as_text(results: Sequence[Result]) -> str:
    """Return the table in columns of spaces."""
    lines = [dict(zip(COLUMNS, COLUMNS, strict=True)), *(result.row() for result in results)]
    widths = {name: max(len(line[name]) for line in lines) for name in COLUMNS}

    def cell(line: dict[str, str], name: str) -> str:
        width = widths[name]
        return line[name].rjust(width) if name in NUMBERS else line[name].ljust(width)

    return "".join("  ".join(cell(line, n) for n in COLUMNS).rstrip() + "\n" for line in lines)


def print_results(arguments: Sequence[str] | None = None) -> None:
    """Print the table that the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of the runs")
    parser.add_argument("--group", default="*", help="only these runs; * and ? stand for any")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", dest="form", action="store_const", const=as_csv, default=as_text)
    form.add_argument("--markdown", dest="form", action="store_const", const=as_markdown)
    options = parser.parse_args(arguments)
    print(options.form(find_results(options.runs, options.group)), end="")


def main() -> int:
    """Run the command; an error is one line."""
    try:
        print_results()
    except GeodamageError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
