"""Every text that is translated is in every language, with the same parts to fill in."""

import ast
import json
import re

import pytest
from geodamage_qgis.translation import FOLDER, tr, use

PLUGIN = FOLDER.parent
LANGUAGES = sorted(path.stem for path in FOLDER.glob("*.json"))
#: Modules with windows, whose texts are translated.
WINDOWS = [PLUGIN / "plugin.py", *sorted((PLUGIN / "gui").glob("*.py"))]


def texts(path):
    """Yield what `tr` is given in a module, with the constants that it is given by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "tr":
            (given,) = node.args
            if isinstance(given, ast.Constant):
                yield given.value


@pytest.fixture(autouse=True)
def _english_again():
    yield
    use("en")


def test_there_is_a_language():
    assert "de" in LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_language_is_complete_and_has_nothing_else(language):
    words = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    wanted = {text for path in WINDOWS for text in texts(path)}
    assert len(wanted) > 80
    assert not wanted - words.keys()
    source = "".join(path.read_text(encoding="utf-8") for path in WINDOWS)
    plain = re.sub(r'"\s*\n\s*"', "", source)
    assert not [text for text in words if f'"{text}"' not in plain]
    for text, translated in words.items():
        assert sorted(re.findall(r"\{\w+\}", text)) == sorted(re.findall(r"\{\w+\}", translated))
        assert translated.strip()


def test_words_are_those_of_the_locale():
    use("de_AT")
    assert tr("Before") == "Vorher"
    assert tr("of no language") == "of no language"
    use("xx")
    assert tr("Before") == "Before"
