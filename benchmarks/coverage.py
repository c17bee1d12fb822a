r"""Compare the branch coverage of the fast tests with the figure that is kept.

    coverage run -m pytest -m "not slow" -n 0 -q --ignore=tests/qgis
    coverage json -q -o build/coverage.json
    python -m benchmarks.coverage build/coverage.json

The exit code is 1 where coverage has fallen by more than a point. `--write` keeps the new figure in
`benchmarks/coverage.toml`. The two commands before it, and this one, are `make coverage`.
"""

import argparse
import json
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

KEPT = Path(__file__).with_suffix(".toml")
#: Points by which coverage may fall.
ALLOWED = 1.0


def main() -> int:
    """Print both figures, and say whether the new one is too low."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="what `coverage json` wrote")
    parser.add_argument("--write", action="store_true", help="keep the new figure")
    options = parser.parse_args()
    percent = read_percent(options.report)
    kept = read_kept()
    print(compare(percent, kept))
    if options.write:
        KEPT.write_text(kept_text(percent), encoding="utf-8")
    return int(has_fallen(percent, kept) and not options.write)


def read_kept() -> float | None:
    """Return the figure that is kept, percent; None where none is."""
    if not KEPT.exists():
        return None
    return float(tomllib.loads(KEPT.read_text(encoding="utf-8"))["percent"])


def read_percent(report: Path) -> float:
    """Return the share of lines and branches that a report of `coverage json` counts, percent."""
    found = json.loads(report.read_text(encoding="utf-8"))
    if not found["meta"]["branch_coverage"]:
        raise SystemExit(f"{report} does not count branches; run `make coverage`")
    return float(found["totals"]["percent_covered"])


def has_fallen(percent: float, kept: float | None) -> bool:
    """Return whether coverage has fallen by more than it may."""
    return kept is not None and kept - percent > ALLOWED


def compare(percent: float, kept: float | None) -> str:
    """Return one line that says both figures and what they mean."""
    if kept is None:
        return f"branch coverage {percent:.1f} %; no figure is kept yet, --write keeps this one"
    verdict = f"fallen by more than {ALLOWED:g} point" if has_fallen(percent, kept) else "good"
    return f"branch coverage {percent:.1f} %, kept {kept:.1f} %: {verdict}"


def kept_text(percent: float) -> str:
    """Return the file that keeps a figure."""
    return (
        "# Branch coverage of the fast tests, percent. `make coverage` compares with it;\n"
        "# `python -m benchmarks.coverage build/coverage.json --write` keeps a new one.\n"
        f"percent = {percent:.1f}\n"
        f"date = {datetime.now(UTC).date().isoformat()}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
