import ast
from pathlib import Path
from xml.etree import ElementTree

import pytest
from geodamage_qgis import scale

from geodamage.damage import COLOUR_NOT_ASSESSED, COLOURS, COLOURS_SAFE, GRADES, rgb
from qgis_plugin import make_styles
from qgis_plugin.make_styles import PALETTES, PLUGIN, make_files, make_style, stale_files

PALETTE_COLOURS = {"damage.qml": COLOURS, "damage_colour_blind.qml": COLOURS_SAFE}


def rules(text: str) -> list[tuple[str, str, ElementTree.Element]]:
    """Return title, filter and symbol of each rule of a style."""
    renderer = ElementTree.fromstring(text).find("renderer-v2")
    assert renderer is not None
    symbols = {s.get("name"): s for s in renderer.findall("symbols/symbol")}
    return [
        (rule.get("label", ""), rule.get("filter", ""), symbols[rule.get("symbol")])
        for rule in renderer.findall("rules/rule")
    ]


def options(symbol: ElementTree.Element, kind: str) -> list[dict[str, str]]:
    """Return the properties of the symbol layers of a kind."""
    return [
        {o.get("name", ""): o.get("value", "") for o in layer.findall("Option/Option")}
        for layer in symbol.findall("layer")
        if layer.get("class") == kind
    ]


def test_files_are_what_damage_py_makes_of_them() -> None:
    assert stale_files() == []


def test_a_changed_file_is_found_stale(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(make_styles, "PLUGIN", tmp_path)
    (tmp_path / "styles").mkdir()
    for path, text in make_files().items():
        path.write_text(text, encoding="utf-8")
    assert stale_files() == []
    (tmp_path / "scale.py").write_text("CLASSES = {}\n", encoding="utf-8")
    assert [path.name for path in stale_files()] == ["scale.py"]


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.file)
def test_each_grade_has_a_rule_in_its_colour(palette: make_styles.Palette) -> None:
    found = {title: symbol for title, _, symbol in rules(make_style(palette))}
    for grade in GRADES:
        symbol = found[make_styles.title(grade)]
        expected = ",".join(map(str, rgb(PALETTE_COLOURS[palette.file][grade])))
        assert options(symbol, "SimpleFill")[0]["color"].startswith(f"{expected},")
        assert options(symbol, "SimpleLine")[-1]["line_color"] == f"{expected},255"


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.file)
def test_what_was_not_assessed_is_hatched_in_grey(palette: make_styles.Palette) -> None:
    symbol = {title: symbol for title, _, symbol in rules(make_style(palette))}["not assessed"]
    hatch = symbol.find("layer[@class='LinePatternFill']/symbol")
    assert hatch is not None
    grey = ",".join(map(str, rgb(COLOUR_NOT_ASSESSED)))
    assert options(hatch, "SimpleLine")[0]["line_color"] == f"{grey},255"


def test_rules_come_in_the_order_of_the_scale() -> None:
    titles = [title for title, _, _ in rules(make_style(PALETTES[0]))]
    assert titles[:5] == ["no damage", "minor damage", "major damage", "destroyed", "not assessed"]


def test_symbols_hold_nothing_that_old_and_new_versions_read_differently() -> None:
    text = make_style(PALETTES[0])
    assert "<prop " not in text  # written until 3.22, not read for ever
    assert "@feature" not in text  # a variable since 3.29 only


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
