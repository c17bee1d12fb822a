"""How QGIS draws graded buildings: a style for the file of a result, and for the plugin.

A style holds only elements that QGIS 3.22 reads and later ones still do: symbol properties as
`Option` maps, no version's own defaults.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from geodamage.damage import (
    COLOUR_NOT_ASSESSED,
    COLOURS,
    COLOURS_SAFE,
    GRADES,
    LABELS,
    DamageGrade,
    rgb,
)
from geodamage.fields import FIELDS

#: Oldest QGIS that the styles are for; it also tells later ones how to read them.
VERSION = "3.22.0-Białowieża"

#: What a person said where there is one, else what the model said. `attribute` gives null where a
#: layer has not got the field yet; a plain reference would be an error. Who finds a building
#: unclear leaves it as it is.
GRADE = (
    "coalesce(nullif(nullif(attribute($currentfeature, 'reviewed_damage'), ''), 'unclear'),"
    ' "damage")'
)
REVIEWED = "nullif(attribute($currentfeature, 'reviewed_damage'), '') IS NOT NULL"

#: What else a person may say of a building.
OTHER_ANSWERS = ("no building", "unclear")

#: Labels appear from this scale on: below it a building is narrower than its label.
LABEL_SCALE = 2000

#: Length of a bar of the map tip that stands for 100 %. With a name of a grade beside it, it fits
#: into the box of builds without a browser, which breaks longer lines within a word.
BAR_BLOCKS = 12

#: Words for what stands in `status` and `status_reason`.
STATUS_WORDS: Mapping[str, str] = {
    "assessed": "assessed",
    "partial": "seen in part",
    "not_assessed": "not assessed",
    "cut_by_edge_or_nodata": "cut by the edge or by missing data",
    "nodata_pre": "no data in the image before",
    "nodata_post": "no data in the image after",
    "outside_pre": "outside the image before",
    "outside_post": "outside the image after",
    "outside_aoi": "outside the area",
    "obscured_pre": "hidden in the image before",
    "obscured_post": "hidden in the image after",
    "no_geometry": "no outline",
    "too_small": "too small",
    "reviewed_no_building": "no building, by the review",
}

#: Puts words into the language of a reader.
Say = Callable[[str], str]

PROBABILITIES: Mapping[DamageGrade, str] = {
    DamageGrade.NO_DAMAGE: "p_none",
    DamageGrade.MINOR: "p_minor",
    DamageGrade.MAJOR: "p_major",
    DamageGrade.DESTROYED: "p_destroyed",
}

#: Fields of the review, and what they hold.
REVIEW_FIELDS: Mapping[str, str] = {
    "reviewed_damage": "reviewed grade",
    "reviewer": "reviewed by",
    "reviewed_at": "reviewed at",
}

#: Groups of the attribute form, in order.
FORM: Mapping[str, tuple[str, ...]] = {
    "Grade": ("damage", "confidence", "damaged", "damage_score", "status", "status_reason"),
    "Probabilities": tuple(PROBABILITIES.values()),
    "Review": tuple(REVIEW_FIELDS),
    "Building": ("building_id", "area_m2", "valid_fraction", "lon", "lat", "source"),
}


@dataclass(frozen=True)
class Palette:
    """Colours of a style.

    Attributes
    ----------
    name
        What the style is called in the menu of a layer.
    file
        Name of the QML file.
    colours
        `#rrggbb` of each grade.
    fill_opacity
        How opaque the surface of a building is, 0-1: the grade is read over any layer.
    """

    name: str
    file: str
    colours: Mapping[DamageGrade, str]
    fill_opacity: float


PALETTES = (
    Palette("damage", "damage.qml", COLOURS, 0.75),
    Palette("colour-blind safe", "damage_colour_blind.qml", COLOURS_SAFE, 0.75),
)


@dataclass(frozen=True)
class Rule:
    """One line of the legend: which buildings, by what name, drawn by which symbol layers."""

    title: str
    filter: str
    layers: tuple[Element, ...]


def title(grade: DamageGrade) -> str:
    """Return the name of a grade for people: `no damage`."""
    return LABELS[grade].replace("-", " ")


def damage_style(palette: Palette, say: Say = str) -> str:
    """Return the text of a QML file.

    Parameters
    ----------
    palette
        Its colours.
    say
        Puts what people read into their language; English unless given.
    """
    style = Element(
        "qgis",
        version=VERSION,
        styleCategories="Symbology|Labeling|MapTips|Fields|Forms|AttributeTable",
        labelsEnabled="1",
    )
    style.append(_renderer(_rules(palette, say)))
    style.append(_labeling(say))
    _add_form(style, say)
    SubElement(style, "previewExpression").text = '"building_id"'
    SubElement(style, "mapTip").text = _map_tip(palette, say)
    SubElement(style, "layerGeometryType").text = "2"
    indent(style)
    doctype = "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n"
    return doctype + tostring(style, encoding="unicode") + "\n"


# Symbols -------------------------------------------------------------------------------------


def _rules(palette: Palette, say: Say) -> list[Rule]:
    graded = [
        Rule(say(title(grade)), f"{GRADE} = '{LABELS[grade]}'", _grade_layers(palette, grade))
        for grade in GRADES
    ]
    return [
        *graded,
        Rule(say("not assessed"), f"{GRADE} IS NULL", _hatched_layers(palette)),
        Rule(say("seen in part"), "\"status\" = 'partial'", _dashed_layers()),
        Rule(say("reviewed"), REVIEWED, (_dot(),)),
    ]


def _grade_layers(palette: Palette, grade: DamageGrade) -> tuple[Element, ...]:
    colour = palette.colours[grade]
    # A dark line under the coloured one: yellow shows on a pale roof, and green on a lawn.
    return (
        _fill(colour, palette.fill_opacity),
        _line("#1a1a1a", 1.0, opacity=0.75),
        _line(colour, 0.55),
    )


def _hatched_layers(palette: Palette) -> tuple[Element, ...]:
    hatch = _layer("LinePatternFill", {"angle": "45", "distance": "1.6", "distance_unit": "MM"})
    stroke = SubElement(hatch, "symbol", type="line", name="@0@0", alpha="1")
    stroke.append(_line(COLOUR_NOT_ASSESSED, 0.5))
    return (
        _fill("#ffffff", 0.25),
        hatch,
        _line("#1a1a1a", 1.0, opacity=0.75),
        _line(COLOUR_NOT_ASSESSED, 0.55),
    )


def _dashed_layers() -> tuple[Element, ...]:
    # The thin dark line is for the legend, where white dashes alone are not seen.
    return (_line("#1a1a1a", 0.2), _line("#ffffff", 0.55, dash="1.8;1.8"))


def _fill(colour: str, opacity: float) -> Element:
    return _layer("SimpleFill", {"color": _rgba(colour, opacity), "outline_style": "no"})


def _line(colour: str, width: float, *, opacity: float = 1.0, dash: str = "") -> Element:
    return _layer(
        "SimpleLine",
        {
            "line_color": _rgba(colour, opacity),
            "line_width": str(width),
            "line_width_unit": "MM",
            "joinstyle": "miter",
            "capstyle": "flat",
            "use_custom_dash": "1" if dash else "0",
            "customdash": dash or "5;2",
            "customdash_unit": "MM",
        },
    )


def _dot() -> Element:
    """Return the mark of a reviewed building: a white dot inside it."""
    centroid = _layer("CentroidFill", {"point_on_surface": "1", "point_on_all_parts": "0"})
    symbol = SubElement(centroid, "symbol", type="marker", name="@0@0", alpha="1")
    symbol.append(
        _layer(
            "SimpleMarker",
            {
                "name": "circle",
                "color": _rgba("#ffffff", 1.0),
                "outline_color": _rgba("#1a1a1a", 1.0),
                "outline_width": "0.4",
                "outline_width_unit": "MM",
                "size": "2.2",
                "size_unit": "MM",
            },
        )
    )
    return centroid


def _layer(kind: str, properties: Mapping[str, str]) -> Element:
    layer = Element("layer", {"class": kind, "enabled": "1", "locked": "0", "pass": "0"})
    layer.append(_options(properties))
    return layer


def _options(properties: Mapping[str, str]) -> Element:
    options = Element("Option", type="Map")
    for name, value in properties.items():
        SubElement(options, "Option", name=name, value=value, type="QString")
    return options


def _rgba(colour: str, opacity: float) -> str:
    return ",".join(str(part) for part in (*rgb(colour), round(255 * opacity)))


def _renderer(rules: list[Rule]) -> Element:
    renderer = Element("renderer-v2", type="RuleRenderer", symbollevels="0", enableorderby="0")
    tree = SubElement(renderer, "rules", key="geodamage")
    symbols = SubElement(renderer, "symbols")
    for index, rule in enumerate(rules):
        SubElement(
            tree,
            "rule",
            key=f"geodamage-{index}",
            label=rule.title,
            filter=rule.filter,
            symbol=str(index),
        )
        symbol = SubElement(
            symbols, "symbol", type="fill", name=str(index), alpha="1", clip_to_extent="1"
        )
        symbol.extend(rule.layers)
        _name_inner_symbols(symbol, index)
    return renderer


def _name_inner_symbols(symbol: Element, index: int) -> None:
    """Name symbols inside layers as QGIS does, by symbol and layer."""
    for position, layer in enumerate(symbol.findall("layer")):
        for inner in layer.findall("symbol"):
            inner.set("name", f"@{index}@{position}")


# Labels, map tip and form --------------------------------------------------------------------


def _labeling(say: Say) -> Element:
    labeling = Element("labeling", type="simple")
    settings = SubElement(labeling, "settings", calloutType="simple")
    text = SubElement(
        settings,
        "text-style",
        fieldName=_label(say),
        isExpression="1",
        fontSize="8",
        fontSizeUnit="Point",
        fontWeight="75",
        namedStyle="Bold",
        textColor="26,26,26,255",
        textOpacity="1",
        multilineHeight="1",
    )
    SubElement(
        text,
        "text-buffer",
        bufferDraw="1",
        bufferColor="255,255,255,255",
        bufferOpacity="0.9",
        bufferSize="0.8",
        bufferSizeUnits="MM",
        bufferNoFill="0",
        bufferJoinStyle="128",
    )
    # Placement 8 is outside of polygons: a label beside a small building leaves it to be seen.
    SubElement(settings, "placement", placement="8", dist="0.5", distUnits="MM", priority="5")
    SubElement(
        settings,
        "rendering",
        drawLabels="1",
        scaleVisibility="1",
        scaleMin="0",
        scaleMax=str(LABEL_SCALE),
        obstacle="1",
        obstacleFactor="2",
        obstacleType="1",
        maxNumLabels="2000",
    )
    return labeling


def _label(say: Say) -> str:
    """Return the expression of a label: `sure 98 %`."""
    return (
        f"CASE WHEN {REVIEWED} THEN '' "
        "WHEN \"confidence\" IS NULL THEN '' "
        f"ELSE {_quoted(say('sure') + ' ')} || to_string(round(100 * \"confidence\")) || ' %' END"
    )


def _map_tip(palette: Palette, say: Say) -> str:
    """Return HTML with expressions: grade, bars of the probabilities, status.

    Lines of text only: builds of QGIS without a browser draw no tables as wide as they are said.
    """
    answers = {LABELS[grade]: title(grade) for grade in GRADES} | {a: a for a in OTHER_ANSWERS}
    nothing = _quoted(say("not assessed"))
    answer, model = (
        f"coalesce({_worded(field, answers, say)}, {nothing})" for field in (GRADE, '"damage"')
    )
    status, reason = (
        _worded(field, STATUS_WORDS, say) for field in ('"status"', '"status_reason"')
    )
    reviewer = "coalesce(attribute($currentfeature, 'reviewer'), '?')"
    by, said = _quoted(f", {say('reviewed by')} "), _quoted(f"; {say('the model said')} ")
    bars = "".join(_bar(grade, palette.colours[grade], say) for grade in GRADES)
    return (
        # In a dark theme QGIS 3.22 writes black on black unless both are said.
        '<div style="background:#ffffff; color:#1a1a1a">'
        f"<b>[% {answer} %]</b>"
        f"[% CASE WHEN {REVIEWED} THEN {by} || {reviewer} || {said} || {model} ELSE '' END %]<br>"
        f"{bars}"
        f"[% CASE WHEN \"status\" = 'assessed' THEN '' ELSE {status} || "
        f"coalesce(': ' || {reason}, '') || '<br>' END %]"
        '[% format_number("area_m2", 0) %]&nbsp;m², '
        f'{say("building")}&nbsp;[% "building_id" %]</div>'
    )


def _worded(expression: str, words: Mapping[str, str], say: Say) -> str:
    """Return an expression that puts a value into words; a value without words stays as it is."""
    pairs = ", ".join(f"{_quoted(value)}, {_quoted(say(text))}" for value, text in words.items())
    return f"coalesce(map_get(map({pairs}), {expression}), {expression})"


def _quoted(text: str) -> str:
    """Return a text as an expression of QGIS has it."""
    return "'" + text.replace("'", "''") + "'"


def _bar(grade: DamageGrade, colour: str, say: Say) -> str:
    """Return a line: a bar of blocks, the rest of it pale, the probability and the grade.

    It is empty where there is no probability.
    """
    field = f'"{PROBABILITIES[grade]}"'
    full = f"lpad('', round({BAR_BLOCKS} * {field}), '█')"
    rest = f"lpad('', {BAR_BLOCKS} - round({BAR_BLOCKS} * {field}), '█')"
    name = say(title(grade)).replace(" ", "&nbsp;")
    return (
        f"[% CASE WHEN {field} IS NULL THEN '' ELSE "
        f"'<span style=\"font-size:6px; color:{colour}\">' || {full} || '</span>"
        f"<span style=\"font-size:6px; color:#dddddd\">' || {rest} || '</span>&nbsp;' || "
        f"to_string(round(100 * {field})) || '&nbsp;%&nbsp;{name}<br>' END %]"
    )


def _add_form(style: Element, say: Say) -> None:
    """Add titles of the fields and the form in groups.

    Nothing is edited in it: what the model said stands, and a correction belongs into the journal,
    too, where only the review writes.
    """
    widgets = SubElement(style, "fieldConfiguration")
    aliases = SubElement(style, "aliases")
    editable = SubElement(style, "editable")
    for name, alias in _titles(say).items():
        field = SubElement(widgets, "field", name=name)
        field.append(_widget(name, say))
        SubElement(aliases, "alias", field=name, name=alias)
        SubElement(editable, "field", name=name, editable="0")
    SubElement(style, "editorlayout").text = "tablayout"
    form = SubElement(style, "attributeEditorForm")
    for group, fields in FORM.items():
        container = SubElement(
            form,
            "attributeEditorContainer",
            name=say(group),
            groupBox="1",
            columnCount="2" if group == "Probabilities" else "1",
            showLabel="1",
            visibilityExpressionEnabled="0",
            visibilityExpression="",
        )
        for name in fields:
            SubElement(container, "attributeEditorField", name=name, index="-1", showLabel="1")


def _titles(say: Say) -> dict[str, str]:
    """Return a title of each field of a result, and of the review."""
    words = {field.name: field.name.replace("_", " ") for field in FIELDS} | {
        "building_id": "building", "area_m2": "area, m²", "valid_fraction": "share seen",
        **REVIEW_FIELDS,
    }  # fmt: skip
    chances = {name: f"p({say(title(grade))})" for grade, name in PROBABILITIES.items()}
    return {name: chances.get(name) or say(text) for name, text in words.items()}


def _widget(name: str, say: Say) -> Element:
    kind = {"damage": "ValueMap", "reviewed_damage": "ValueMap"}.get(name, "")
    widget = Element("editWidget", type=kind)
    config = SubElement(widget, "config")
    if kind:
        options = SubElement(config, "Option", type="Map")
        entries = SubElement(options, "Option", type="List", name="map")
        for grade in GRADES:
            entries.append(_options({say(title(grade)): LABELS[grade]}))
        for answer in OTHER_ANSWERS if name == "reviewed_damage" else ():
            entries.append(_options({say(answer): answer}))
    return widget
