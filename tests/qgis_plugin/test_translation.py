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

SOURCES = {path: ast.parse(path.read_text("utf-8")) for path in FOLDER.parent.rglob("*.py")}
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
    assert not wanted - words.keys()
    assert not words.keys() - set(constants())
    for text, translated in words.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", translated))
        assert sorted(re.findall(r"</?\w+>", text)) == sorted(re.findall(r"</?\w+>", translated))
        assert translated.strip()


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
