import ast
from pathlib import Path

import pytest
from geodamage_qgis import scale
from geodamage_qgis.translation import FOLDER, translated_file, use

from geodamage.damage import COLOUR_NOT_ASSESSED, COLOURS, COLOURS_SAFE, GRADES
from qgis_plugin import make_styles
from qgis_plugin.make_styles import PLUGIN, make_files, stale_files


def test_files_are_what_damage_py_makes_of_them() -> None:
    assert stale_files() == []


def test_a_changed_file_is_found_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(make_styles, "PLUGIN", tmp_path)
    (tmp_path / "styles").mkdir()
    for path, text in make_files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert stale_files() == []
    (tmp_path / "scale.py").write_text("CLASSES = {}\n", encoding="utf-8")
    assert [path.name for path in stale_files()] == ["scale.py"]


def test_a_style_is_taken_in_the_language_of_qgis() -> None:
    styles = FOLDER.parent / "styles"
    try:
        use("de_AT")
        assert translated_file(styles, "damage.qml") == styles / "de" / "damage.qml"
        assert translated_file(styles, "other.qml") == styles / "other.qml"
        use("fr")
        assert translated_file(styles, "damage.qml") == styles / "damage.qml"
    finally:
        use("en")


def test_the_plugin_knows_the_colours_and_codes_of_damage_py() -> None:
    assert list(scale.CLASSES.values()) == [int(grade) for grade in GRADES]
    assert list(scale.COLOURS.values()) == [COLOURS[grade] for grade in GRADES]
    assert scale.COLOUR_NOT_ASSESSED == COLOUR_NOT_ASSESSED


@pytest.mark.slow
def test_colours_are_written_nowhere_else_in_the_plugin() -> None:
    known = {colour.lower() for colour in (*COLOURS.values(), *COLOURS_SAFE.values())}
    for path in PLUGIN.rglob("*.py"):
        if path.name == "scale.py":
            continue
        strings = {
            node.value.lower()
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not known & strings, path.name
