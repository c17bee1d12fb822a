"""The page of a report: one HTML file that opens offline and runs no script but its own.

Jinja escapes every text that comes from data. A Content Security Policy limits what a browser may
do. It names the scripts by their hashes, so nothing else runs, whatever a text contains.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

from geodamage._version import __version__
from geodamage.damage import (
    COLOUR_NOT_ASSESSED,
    COLOURS,
    COLOURS_SAFE,
    GRADES,
    LABELS,
    DamageGrade,
)
from geodamage.errors import MissingExtraError, install
from geodamage.grid import transformer
from geodamage.report.event_view import EventView, link_of, people_cards, trust_cards
from geodamage.report.findings import PROBABILITIES, Positions, numbers
from geodamage.report.form import Form, form_words
from geodamage.report.lists import image_rows, model_rows, run_rows
from geodamage.report.pictures import CHIP_SIDE, as_photograph, as_stencil, burn
from geodamage.report.texts import decimals_text, percent_text, plain_text, rounded, status_text
from geodamage.report.view import (
    View,
    assessed_km2,
    day,
    ground,
    image_name,
    is_post_only,
    noun,
    place_name,
    statement,
    warnings_of,
)
from geodamage.words import counted

#: Code of a building in a layer of pixels that has no grade; 0 is where there is none.
_UNGRADED = 5

LIMITS = (
    "Nobody checked these grades on the ground, and no rescue, aid or claim should rest on one"
    " building's grade alone. Check what matters in the images, and then on site.",
    "Images from above do not show walls, interiors, or damage under an intact roof. Minor damage"
    " is the least reliable grade; it is often taken for none.",
    "Buildings can be missed, joined or invented, most of all under trees, clouds, shadow and snow,"
    " and wherever the images differ in season, angle or sharpness from what the model has seen.",
    "A disaster unlike those in the training data (kind, region, style of building) makes grades"
    " worse, and probabilities too confident.",
    "The bundled models recognise damage by fire best. They often miss damage by wind or flooding,"
    " and hardly recognise that by ash or an earthquake: such buildings come out as not damaged."
    " They never saw damage by conflict.",
    "Shares are of buildings with a grade. Those that are not assessed are neither damaged nor"
    " safe.",
)


def require_report_extra() -> None:
    """Check that what pages and maps are made with is installed.

    Raises
    ------
    MissingExtraError
        If not.
    """
    missing = [name for name in ("bokeh", "jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"a report needs {' and '.join(missing)}; run {install('report')}")


def render(view: View, form: Form | None = None) -> str:
    """Return the page of an assessment, complete in itself; with a form it begins with that."""
    from jinja2 import Environment
    from markupsafe import Markup

    scripts = (*_bokeh(), _template("report.js"), *([_template("form.js")] if form else []))
    environment = Environment(autoescape=True)
    template = environment.from_string(_template("report.html"))
    # Scripts, style and the block of facts are ours or escaped here; all else Jinja escapes.
    return template.render(
        **_words(view),
        **_pictures(view),
        policy=_policy(scripts),
        colours=Markup(_colour_rules()),
        style=Markup(_template("report.css")),
        facts=Markup(_script_json(_map_facts(view))),
        form=form_words(form),
        form_facts=Markup(_script_json(form.facts)) if form else "",
        scripts=[Markup(script) for script in scripts],
        safe=view.words.safe_colours,
        version=__version__,
    )


@cache
def _template(name: str) -> str:
    return files("geodamage").joinpath("report", "templates", name).read_text(encoding="utf-8")


@cache
def _bokeh() -> tuple[str, ...]:
    """Return the scripts of BokehJS, from the installed package."""
    from bokeh.resources import Resources

    raw: list[str] = Resources(mode="inline", components=["bokeh", "bokeh-api"]).js_raw
    # The last sets how much the console is told; it would tell that.
    scripts = [script for script in raw if not script.startswith("Bokeh.set_log_level")]
    # A closing tag inside a script would end it; in JavaScript strings the slash may be escaped.
    return tuple(script.replace("</script", "<\\/script") for script in scripts)


def _policy(scripts: Iterable[str]) -> str:
    """Return what the page may do: show its own pictures, and run these scripts."""
    hashes = (
        base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
        for script in scripts
    )
    named = " ".join(f"'sha256-{value}'" for value in hashes)
    return (
        f"default-src 'none'; script-src {named}; style-src 'unsafe-inline'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _script_json(value: Any) -> str:
    """Return JSON that cannot end the element it stands in, nor begin another."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _palette(colours: Mapping[DamageGrade, str]) -> list[str]:
    return [COLOUR_NOT_ASSESSED, *(colours[grade] for grade in GRADES)]


def _colour_rules() -> str:
    """Return the style of both palettes; `damage` is where colours are written."""
    return "\n".join(
        f'html[data-palette="{name}"] {{ '
        + " ".join(f"--g{code}: {colour};" for code, colour in enumerate(_palette(colours)))
        + " }"
        for name, colours in (("usual", COLOURS), ("safe", COLOURS_SAFE))
    )


def _words(view: View) -> dict[str, Any]:
    """Return all that the page says."""
    found, facts = view.findings, view.facts
    subtitle = f"{place_name(*view.place)} · {ground(view)} · {view.source} · made {day(facts)}"
    return {
        "title": view.words.title,
        "subtitle": subtitle,
        "statement": statement(facts),
        "made_of": "one image" if is_post_only(facts) else "two images",
        "made": day(facts),
        "cards": _cards(view),
        "warnings": warnings_of(view),
        "graded": f"{found.graded:,}",
        "total": f"{found.buildings:,}",
        "grades": _grades(view),
        "legend": [
            *({"code": int(grade), "label": LABELS[grade]} for grade in GRADES),
            *([{"code": 0, "label": "not assessed"}] if found.not_assessed else []),
        ],
        "not_assessed": f"{found.not_assessed:,}",
        "map_hint": _map_hint(view),
        "ratio": f"{_ratio(view):.3f}",
        "drawn_note": _drawn_note(view),
        "pre_date": view.words.pre_date,
        "post_date": view.words.post_date,
        "alt_before": image_name(facts, "pre"),
        "alt_after": image_name(facts, "post"),
        "galleries": _galleries(view),
        "cells": isinstance(view, EventView) and len(view.cells) > 0,
        "side": CHIP_SIDE,
        "tables": view.tables,
        "method": _method(view),
        "limits": LIMITS,
        "lists": _lists(view),
    }


def _lists(view: View) -> list[dict[str, Any]]:
    lists = [("Model", model_rows(view.facts))]
    if isinstance(view.facts.get("scene"), Mapping):
        dates = (("Pre image", "pre"), ("Post image", "post"))
        has_before = not is_post_only(view.facts)
        lists += [(t, image_rows(view, r)) for t, r in dates if r == "post" or has_before]
    lists.append(("This run", run_rows(view.facts)))
    return [{"title": title, "rows": rows} for title, rows in lists]


def _cards(view: View) -> list[dict[str, str]]:
    found = view.findings
    damaged = found.at_least(DamageGrade.MINOR)
    severe = found.at_least(DamageGrade.MAJOR)
    cards = [
        _card(found.graded, f"{noun(view.facts)} assessed", _with_parts(view)),
        _card(damaged, "damaged", f"{_share(damaged, found.graded)}; minor, major or destroyed"),
        _card(severe, "major damage or destroyed", _share(severe, found.graded)),
        _card(f"{found.area:,.0f} m²", "under roofs with a grade", ""),
    ]
    area = assessed_km2(view.facts)
    if area is not None:
        shown = (
            "where the image shows it" if is_post_only(view.facts) else "where both images show it"
        )
        cards.append(_card(f"{area:,.3g} km²", "of ground assessed", shown))
    return cards + [_card(*told) for told in (*trust_cards(view), *people_cards(view.facts))]


def _card(value: int | str, label: str, note: str) -> dict[str, str]:
    text = value if isinstance(value, str) else f"{value:,}"
    return {"value": text, "label": label, "note": note}


def _with_parts(view: View) -> str:
    found = view.findings
    hidden = found.not_assessed - found.outside
    notes = [
        f"{found.partial:,} seen in part" if found.partial else "",
        f"{hidden:,} not assessed" if hidden else "",
        f"{found.outside:,} outside the area" if found.outside else "",
    ]
    return ", ".join(note for note in notes if note)


def _share(count: int, of: int) -> str:
    return f"{count / max(of, 1):.1%}".replace("%", " %")


def _grades(view: View) -> list[dict[str, Any]]:
    most = max((total.share for total in view.findings.grades), default=0) or 1
    return [
        {
            "code": int(total.grade),
            "label": total.grade.label,
            "some": total.count > 0,
            "width": f"{100 * total.share / most:.1f}",
            "count": f"{total.count:,}",
            "share": _share(total.count, view.findings.graded),
            "area": f"{total.area:,.0f}",
        }
        for total in view.findings.grades
    ]


def _ratio(view: View) -> float:
    """Return width by height of the map; a strip of land gets a map that fits a screen."""
    left, bottom, right, top = view.region
    return min(max((right - left) / (top - bottom), 0.7), 2.2)


def _map_hint(view: View) -> str:
    is_pair = view.dates is not None and view.dates.pre is not None
    swipe = "Move the slider to swipe between before and after. " if is_pair else ""
    dashed = "A dashed outline is a building seen in part. " if view.findings.partial else ""
    hatched = "Hatched ones were not assessed. " if view.findings.not_assessed else ""
    return (
        f"{swipe}Drag to move, Ctrl and the wheel (or two fingers) to zoom, click a building for"
        f" its probabilities. {dashed}{hatched}"
    ).strip()


def _drawn_note(view: View) -> str:
    drawn, total = len(view.drawn), view.findings.buildings
    if drawn == total:
        return ""
    return (
        f"{drawn:,} of {total:,} buildings, the worst first, are shapes that can be clicked."
        " The others are part of the picture of the map. Totals count all of them."
    )


def _method(view: View) -> list[str]:
    by_footprints = isinstance(view.facts.get("footprints"), Mapping)
    where = (
        "Building outlines were given."
        if by_footprints
        else "A neural network found the buildings in the pre image."
    )
    if isinstance(view.facts.get("scenes"), int):
        where = (
            f"{counted(view.facts['scenes'], 'scene was', 'scenes were')} assessed one by one. "
            "Outlines of different scenes that overlap by half or more are one building. It has the"
            " grade of its best look: the one that shows most of it, or the latest."
        )
    imagery = "" if view.dates is None else " Pictures here are averaged down to fit a page."
    seen = (
        "The network saw the post image alone, and grey in place of a pre image."
        if is_post_only(view.facts)
        else "The network compared both images."
    )
    return [
        f"{where} {seen} Each building has one grade of the Joint Damage Scale (no damage, minor"
        " damage, major damage, destroyed). It comes from the summed probabilities of its pixels.",
        "The probabilities are those of the network, calibrated on held-out data. Confidence is the"
        " highest of the four. Outlines on this page are simplified by less than a pixel of the"
        f" map.{imagery} The layer itself, {view.source}, holds the exact ones.",
    ]


def _pictures(view: View) -> dict[str, Any]:
    """Return the pictures of the map."""
    dates = view.dates and {
        "pre": None if view.dates.pre is None else as_photograph(view.dates.pre),
        "post": as_photograph(view.dates.post),
    }
    return {"dates": dates, "stencils": _stencils(view)}


def _stencils(view: View) -> list[dict[str, Any]]:
    """Return the buildings that are not drawn as shapes, a mask a grade: colours are the page's."""
    rest = np.setdiff1d(np.arange(len(view.buildings)), view.drawn)
    if not len(rest):
        return []
    values = np.where(view.codes == 0, np.uint8(_UNGRADED), view.codes)[rest]
    burnt = burn(view.buildings.geometry.to_numpy()[rest], values, view.grid)
    return [
        {"code": value % _UNGRADED, "uri": as_stencil(burnt == value)}
        for value in (1, 2, 3, 4, _UNGRADED)
        if (burnt == value).any()
    ]


def _galleries(view: View) -> list[dict[str, Any]]:
    rows = {int(position): row for row, position in enumerate(view.drawn)}
    parts = (
        ("worst", "The worst", view.worst, "No building has damage.",
         "These have the highest grades and the highest expected damage. They show first whether"
         " the grades make sense here."),
        ("uncertain", "The least certain", view.uncertain, "No building has a confidence.",
         "The network hesitates most between their grades. The bar shows the four probabilities."),
    )  # fmt: skip
    pictured = (
        " Each pair shows before, then after." if view.dates and view.dates.pre is not None else ""
    )
    return [
        {
            "name": name,
            "title": title,
            "none": none,
            "hint": hint + pictured,
            "picked": [_picked(view, int(i), rows.get(int(i), -1)) for i in positions],
        }
        for name, title, positions, none, hint in parts
    ]


def _picked(view: View, position: int, row: int) -> dict[str, Any]:
    code, chip = int(view.codes[position]), view.chips.get(position)
    building = view.buildings.iloc[[position]]
    (place,) = _places(view, np.array([position]))
    shares = [float(np.nan_to_num(numbers(building, name)[0])) for name in PROBABILITIES]
    return {
        "row": row,
        "id": plain_text(building["building_id"].iloc[0]),
        "code": code,
        "label": LABELS[DamageGrade(code)],
        "sure": f"{percent_text(float(numbers(building, 'confidence')[0]))} sure",
        "area": f"{float(np.nan_to_num(numbers(building, 'area_m2')[0])):,.0f} m²",
        "place": place,
        "link": link_of(view, place),
        "mix": [{"code": i + 1, "share": f"{share:.4f}"} for i, share in enumerate(shares)],
        "pre": None if chip is None or chip.pre is None else as_photograph(chip.pre),
        "post": chip and as_photograph(chip.post),
    }


def _map_facts(view: View) -> dict[str, Any]:
    """Return what the script needs; places are counted from the corner of the region."""
    left, bottom, right, top = view.region
    return {
        "bounds": [0, 0, round(right - left, 3), round(top - bottom, 3)],
        "metres": view.metres,
        "size": view.size,
        "complete": len(view.drawn) == view.findings.buildings,
        "cells": _cells(view) if isinstance(view, EventView) else None,
        "pixel": abs(view.grid.transform.a),
        "pictures": view.dates is not None,
        "labels": ["not assessed", *(LABELS[grade] for grade in GRADES)],
        "palettes": {"usual": _palette(COLOURS), "safe": _palette(COLOURS_SAFE)},
        "buildings": _drawn(view, view.drawn),
    }


def _cells(view: EventView) -> dict[str, Any]:
    """Return the cells of an event, a list a field; in words how many buildings are damaged."""
    corner = np.array(view.region[:2])
    shapes = view.cells.geometry.to_numpy()
    xs, ys = _coordinates(shapes, corner)
    counts = [np.nan_to_num(numbers(view.cells, name)) for name in ("damaged", "assessed")]
    return {
        "xs": xs,
        "ys": ys,
        "middles": np.round(
            shapely.get_coordinates(shapely.centroid(shapes)) - corner, 2
        ).T.tolist(),
        "side": float(np.sqrt(np.median(shapely.area(shapes)))) if len(shapes) else 0.0,
        "share": np.round(counts[0] / np.maximum(counts[1], 1), 4).tolist(),
        "words": [
            f"{damaged:.0f}/{of:.0f}" if of else "" for damaged, of in zip(*counts, strict=True)
        ],
    }


def _drawn(view: View, positions: Positions) -> dict[str, Any]:
    """Return the buildings that are drawn as shapes, a list a field."""
    chosen = view.buildings.iloc[positions]
    corner = np.array(view.region[:2])
    xs, ys = _coordinates(view.shapes[positions], corner)
    middles = shapely.get_coordinates(shapely.centroid(view.shapes[positions])) - corner
    shares = np.column_stack([numbers(chosen, name) for name in PROBABILITIES])
    return {
        "xs": xs,
        "ys": ys,
        "middles": np.round(middles, 2).T.tolist(),
        "grade": view.codes[positions].tolist(),
        "partial": [int(text == "partial") for text in map(plain_text, chosen["status"])],
        "probabilities": [[rounded(value, 4) for value in row] for row in shares],
        "details": _details(view, positions),
    }


def _coordinates(shapes: npt.NDArray[np.object_], corner: npt.NDArray[np.float64]) -> Any:
    """Return x and y of each building: parts, rings of each, numbers of each."""
    xs, ys = [], []
    for shape in shapes:
        parts = [
            [
                np.round(shapely.get_coordinates(ring) - corner, 2)
                for ring in (p.exterior, *p.interiors)
            ]
            for p in shapely.get_parts(shape)
        ]
        xs.append([[ring[:-1, 0].tolist() for ring in part] for part in parts])
        ys.append([[ring[:-1, 1].tolist() for ring in part] for part in parts])
    return xs, ys


def _details(view: View, positions: Positions) -> list[list[tuple[str, str]]]:
    """Return what is said of each drawn building, in words."""
    chosen = view.buildings.iloc[positions]
    places = _places(view, positions)
    fields = {
        "Identity": map(plain_text, chosen["building_id"]),
        "Confidence": map(percent_text, numbers(chosen, "confidence")),
        "Damage score": (decimals_text(value, 2) for value in numbers(chosen, "damage_score")),
        "Status": map(status_text, chosen["status"], _column(view, positions, "status_reason")),
        "Seen in both": map(percent_text, numbers(chosen, "valid_fraction")),
        "Area": (f"{value} m²" for value in map(decimals_text, numbers(chosen, "area_m2"))),
        "Place": places,
        "Outline from": map(plain_text, _column(view, positions, "source")),
    }
    extra = {
        name: map(plain_text, chosen[field])
        for field, name in (("scene", "Scene"), ("date", "Date of the image"), ("looks", "Looks"))
        if field in chosen
    }
    columns = fields | extra
    return [
        [(name, value) for name, value in zip(columns, row, strict=True) if value not in ("", "–")]
        for row in zip(*columns.values(), strict=True)
    ]


def _column(view: View, positions: Positions, name: str) -> list[Any]:
    chosen = view.buildings.iloc[positions]
    return chosen[name].tolist() if name in chosen else [None] * len(chosen)


def _places(view: View, positions: Positions) -> list[str]:
    points = shapely.centroid(view.shapes[positions])
    to_lonlat = transformer(view.crs, "EPSG:4326")
    lon, lat = to_lonlat.transform(shapely.get_x(points), shapely.get_y(points))
    return [f"{y:.6f}, {x:.6f}" for x, y in zip(lon, lat, strict=True)]
