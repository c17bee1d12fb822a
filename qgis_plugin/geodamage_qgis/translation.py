# SPDX-License-Identifier: GPL-2.0-or-later
"""Words of the windows in the language of QGIS; English is in the code.

A language is a file `i18n/de.json` with the English text and its translation: text, as the plugin
site wants it, and nothing is compiled. What a file leaves out stays English.
"""

from __future__ import annotations

import json
from pathlib import Path

FOLDER = Path(__file__).parent / "i18n"

_words: dict[str, str] = {}
_language: list[str] = []


def use(locale: str) -> None:
    """Take the words of a language from now on; windows that are open keep theirs.

    Parameters
    ----------
    locale
        As QGIS names it: `de`, `de_AT`, `en_US`.
    """
    _words.clear()
    _language.clear()
    for name in (locale.replace("-", "_"), locale[:2].lower()):
        path = FOLDER / f"{name}.json"
        if path.is_file():
            _words.update(json.loads(path.read_text(encoding="utf-8")))
            _language.append(name)
            return


def translated_file(folder: Path, name: str) -> Path:
    """Return a file in the language of QGIS; the English one where there is no other.

    Parameters
    ----------
    folder
        Has the English files, and a folder of files by the same names for each language.
    name
        Of the file.
    """
    places = [folder.joinpath(*_language, name), folder / name]
    return next((place for place in places if place.is_file()), folder / name)


def tr(text: str, /, **parts: object) -> str:
    """Return a text in the language of QGIS, with its parts in braces filled in, if any are given.

    Parameters
    ----------
    text
        In English, as it stands in the code.
    parts
        By the names in braces.
    """
    found = _words.get(text, text)
    return found.format(**parts) if parts else found
