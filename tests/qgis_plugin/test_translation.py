"""Every text that is translated is in every language, with the same parts to fill in."""

import ast
import json
import re
from pathlib import Path

import pytest
from geodamage_qgis.program.exchange import compare_html
from geodamage_qgis.program.executable import ORIGINS
from geodamage_qgis.program.facts import NOT_ASSESSED, Facts, fact_rows, summary_html
from geodamage_qgis.results.journal import NO_BUILDING, UNCLEAR
from geodamage_qgis.scale import TITLES
from geodamage_qgis.translation import FOLDER, tr, use

from geodamage.output.damage_style import PALETTES, damage_style

SOURCES = {path: ast.parse(path.read_text("utf-8")) for path in FOLDER.parent.rglob("*.py")}
#: Two words, one after the other.
PROSE = re.compile(r"[A-Za-z]{2,}[,;:.]? [A-Za-z]{2,}")
#: What reads as words and is none: marks, styles of widgets, programs, patterns and settings.
NO_WORDS = re.compile(
    r"^(<|[(]|import |\nimport |Q[A-Z]\w+[ :]|background: |; (border|font|color)[-:])"
    r"|\(\?P<|\|getaddrinfo|\|Errno|Hash mismatch|407 Proxy"
)
#: Words that nobody sees in a window, by why.
NOT_SHOWN = {
    "Installing collected": "what pip says",
    "no venv": "what a Python answers",
    ", or give --force": "what the program says",
    "log loss": "the name of a figure, in any language",
    "building damage": "a keyword of the metadata",
    "this run has been started before; make a new one": "a mistake in the code",
    "the program is still running": "a mistake in the code",
    "the program has not been started": "a mistake in the code",
    "not the current building: ": "a mistake in the code",
    "not known": "the version of a plugin without metadata",
}
#: A result of which everything is known.
FACTS = Facts(
    Path("b.gpkg"),
    {
        "statement": "preliminary", "created": "2026", "software": {"geodamage": "0"},
        "model": {"name": "m", "licence": "l", "sha256": "0", "provider": "cpu"},
        "scene": {
            "crs": "EPSG:32616", "gsd": 0.5,
            **{date: {"files": [{"path": date}]} for date in ("image", "pre", "post")},
        },
        "footprints": None, "assessed_km2": 1.0, "buildings": 2, "area_m2": 3.0, "seconds": 4.0,
        "buildings_per_status": {"partial": 1},
    },
)  # fmt: skip
LANGUAGES = sorted(path.stem for path in FOLDER.glob("*.json"))


def words_of(language):
    return json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))


def given_texts():
    """Yield each text that `tr` is given as it stands."""
    for tree in SOURCES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tr":
                given = node.args[0]
                if isinstance(given, ast.Constant):
                    yield given.value


def calls():
    """Yield file, line, text and names of parts of each call of `tr` with a text as it stands."""
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tr":
                given = node.args[0]
                if isinstance(given, ast.Constant):
                    yield path.name, node.lineno, given.value, {word.arg for word in node.keywords}


def prose_of(tree):
    """Yield line and text of all words of a file that no reader's language reaches.

    Left out are docstrings, and what `tr` is given as it stands. Parts of a text that is put
    together are words all the same: they should be one text with parts in braces.
    """
    hidden = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            hidden.add(id(body[0].value))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tr":
            hidden.add(id(node.args[0]))
    for node in ast.walk(tree):
        text = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in hidden and PROSE.search(text):
            yield node.lineno, text


def constants():
    """Yield each text of the code."""
    for tree in SOURCES.values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


@pytest.fixture(autouse=True)
def _english_again():
    yield
    use("en")


def test_there_is_a_language():
    assert "de" in LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_complete_and_has_nothing_else(language):
    words = words_of(language)
    wanted = set(given_texts())
    assert len(wanted) > 180
    assert sorted(wanted - words.keys()) == []
    styled = set()
    damage_style(PALETTES[0], lambda text: styled.add(text) or text)
    assert not words.keys() - set(constants()) - styled
    for text, translated in words.items():
        assert sorted(re.findall(r"\{[^}]+\}", text)) == sorted(
            re.findall(r"\{[^}]+\}", translated)
        )
        assert sorted(re.findall(r"</?\w+>", text)) == sorted(re.findall(r"</?\w+>", translated))
        assert translated.strip()


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_what_a_window_may_show_can_be_in_the_language_of_qgis(language, path):
    words = words_of(language)
    left = {
        (line, text)
        for line, text in prose_of(SOURCES[path])
        if text not in words and text not in NOT_SHOWN and not NO_WORDS.search(text)
    }
    assert sorted(left) == []


def test_words_outside_of_a_translation_are_found():
    tree = ast.parse('"""A file."""\nshow(f"{path}: no such file")\nshow(tr("not so"))\n')
    assert list(prose_of(tree)) == [(2, ": no such file")]


def test_every_part_of_a_text_is_filled_in():
    for name, line, text, parts in calls():
        wanted = set(re.findall(r"\{(\w+)", text))
        # Without parts the text is filled in by its caller, or has none.
        assert parts in (wanted, set()), (name, line)


@pytest.mark.parametrize("language", LANGUAGES)
def test_styles_are_in_every_language(language):
    said = set()
    for palette in PALETTES:
        damage_style(palette, lambda text: said.add(text) or text)
    assert len(said) > 40
    said |= {palette.name for palette in PALETTES}
    assert sorted(said - words_of(language).keys()) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_words_that_are_given_by_name_are_translated_too(language):
    titles = [title for title, _ in fact_rows(FACTS)]
    assert {"Model licence", "Assessed area"} <= set(titles)
    answers = [NO_BUILDING, UNCLEAR, NOT_ASSESSED, *ORIGINS.values()]
    assert not {*titles, *TITLES.values(), *answers} - words_of(language).keys()


def test_a_summary_is_in_the_language_of_qgis():
    use("de")
    page = summary_html(FACTS, {"Bericht": "b.html"})
    for text in ("leichter Schaden", "Fläche, m²", "Lizenz des Modells", "1 der Gebäude waren nur"):
        assert text in page
    use("en")
    assert "Model licence" in summary_html(FACTS)


def test_a_comparison_is_in_the_language_of_qgis():
    use("de")
    assert "gleiche Antwort" in compare_html({})


def test_words_are_those_of_the_locale():
    use("de_AT")
    assert tr("Before") == "Vorher"
    assert tr("Look at {count} buildings", count=60) == "60 Gebäude ansehen"
    assert tr("of no language") == "of no language"
    use("xx")
    assert tr("Before") == "Before"
