from xml.etree import ElementTree

import pytest

from geodamage.buildings.finding import _CAUSES as SEEN_CAUSES
from geodamage.buildings.footprints import _CAUSES as HIDDEN_CAUSES
from geodamage.damage import COLOUR_NOT_ASSESSED, COLOURS, COLOURS_SAFE, GRADES, rgb
from geodamage.event.merging import CUT
from geodamage.output.damage_style import PALETTES, STATUS_WORDS, Palette, damage_style, title

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


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.file)
def test_each_grade_has_a_rule_in_its_colour(palette: Palette) -> None:
    found = {title: symbol for title, _, symbol in rules(damage_style(palette))}
    for grade in GRADES:
        symbol = found[title(grade)]
        expected = ",".join(map(str, rgb(PALETTE_COLOURS[palette.file][grade])))
        assert options(symbol, "SimpleFill")[0]["color"].startswith(f"{expected},")
        assert options(symbol, "SimpleLine")[-1]["line_color"] == f"{expected},255"


@pytest.mark.parametrize("palette", PALETTES, ids=lambda palette: palette.file)
def test_what_was_not_assessed_is_hatched_in_grey(palette: Palette) -> None:
    symbol = {title: symbol for title, _, symbol in rules(damage_style(palette))}["not assessed"]
    hatch = symbol.find("layer[@class='LinePatternFill']/symbol")
    assert hatch is not None
    grey = ",".join(map(str, rgb(COLOUR_NOT_ASSESSED)))
    assert options(hatch, "SimpleLine")[0]["line_color"] == f"{grey},255"


def test_rules_come_in_the_order_of_the_scale() -> None:
    titles = [title for title, _, _ in rules(damage_style(PALETTES[0]))]
    assert titles[:5] == ["no damage", "minor damage", "major damage", "destroyed", "not assessed"]


def test_symbols_hold_nothing_that_old_and_new_versions_read_differently() -> None:
    text = damage_style(PALETTES[0])
    assert "<prop " not in text  # written until 3.22, not read for ever
    assert "@feature" not in text  # a variable since 3.29 only


def test_every_status_and_reason_has_words() -> None:
    causes = {name for _, name in (*SEEN_CAUSES, *HIDDEN_CAUSES)}
    assert {*causes, CUT, "assessed", "partial", "not_assessed"} <= STATUS_WORDS.keys()


def test_a_style_speaks_another_language() -> None:
    said: list[str] = []

    def say(text: str) -> str:
        said.append(text)
        return f"<{text}'>"

    text = damage_style(PALETTES[0], say)
    titles = [name for name, _, _ in rules(text)]
    assert titles[0] == "<no damage'>"
    style = ElementTree.fromstring(text)
    tip = style.findtext("mapTip") or ""
    # A quote in a word does not end the text of an expression.
    assert "'<not assessed''>'" in tip
    aliases = [alias.get("name") for alias in style.findall("aliases/alias")]
    assert "<damage'>" in aliases
    assert set(said) >= {"sure", "the model said", "seen in part", "Probabilities"}
