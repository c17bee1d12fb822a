# SPDX-License-Identifier: GPL-2.0-or-later
"""Write what the plugin knows of the damage scale, from `geodamage/damage.py`.

    python qgis_plugin/make_styles.py           write the files again
    python qgis_plugin/make_styles.py --check   exit 1 if one is not up to date

The files are `geodamage_qgis/scale.py` and the two styles, in each language. The plugin does not
import geodamage, so it needs a copy of the names, the colours and the styles that geodamage writes
into its results; it is made here and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

# The package is the folder beside this one, so its parent has to be importable.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from geodamage.damage import COLOUR_NOT_ASSESSED, COLOURS, GRADES, LABELS
from geodamage.output.damage_style import PALETTES, PROBABILITIES, damage_style, title

PLUGIN = Path(__file__).resolve().parent / "geodamage_qgis"


def make_scale() -> str:
    """Return the text of `scale.py`."""
    return "\n".join(
        [
            "# SPDX-License-Identifier: GPL-2.0-or-later",
            '"""The damage scale, by make_styles.py from geodamage/damage.py: do not edit."""',
            "",
            "from __future__ import annotations",
            "",
            "from collections.abc import Mapping",
            "",
            "#: Codes of the grades, from no damage to destroyed.",
            f"CLASSES: Mapping[str, int] = {_literal((LABELS[g], int(g)) for g in GRADES)}",
            "",
            "#: Names for people.",
            f"TITLES: Mapping[str, str] = {_literal((LABELS[g], title(g)) for g in GRADES)}",
            "",
            "#: Field of the probability of each grade.",
            "PROBABILITIES: Mapping[str, str] = "
            + _literal((LABELS[g], PROBABILITIES[g]) for g in GRADES),
            "",
            f"COLOURS: Mapping[str, str] = {_literal((LABELS[g], COLOURS[g]) for g in GRADES)}",
            f'COLOUR_NOT_ASSESSED = "{COLOUR_NOT_ASSESSED}"',
            "",
        ]
    )


def make_files() -> dict[Path, str]:
    """Return the text of every file that is made here."""
    files = {PLUGIN / "scale.py": make_scale()}
    languages = sorted((PLUGIN / "i18n").glob("*.json"))
    for palette in PALETTES:
        files[PLUGIN / "styles" / palette.file] = _licensed(damage_style(palette))
        for language in languages:
            words = json.loads(language.read_text(encoding="utf-8"))
            style = damage_style(palette, partial(_translated, words))
            files[PLUGIN / "styles" / language.stem / palette.file] = _licensed(style)
    return files


def _translated(words: dict[str, str], text: str) -> str:
    """Return a text of a style in a language; the test of the languages says what it lacks."""
    return words.get(text, text)


def _licensed(style: str) -> str:
    """Return a style with the licence of the plugin in it."""
    note = "  <!-- SPDX-License-Identifier: GPL-2.0-or-later; by make_styles.py -->"
    head, opening, rest = style.split("\n", 2)
    return f"{head}\n{opening}\n{note}\n{rest}"


def stale_files() -> list[Path]:
    """Return the files that differ from what would be written."""
    return [
        path
        for path, text in make_files().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def _literal(items: Iterable[tuple[str, object]]) -> str:
    lines = "".join(f'    "{key}": {_value(value)},\n' for key, value in items)
    return f"{{\n{lines}}}"


def _value(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def main() -> None:
    """Write the files, or say which are not up to date."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="write nothing")
    stale = stale_files()
    if parser.parse_args().check:
        if stale:
            names = ", ".join(path.name for path in stale)
            sys.exit(f"not up to date: {names}; run python qgis_plugin/make_styles.py")
        return
    for path, text in make_files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
