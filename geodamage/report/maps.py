"""A printed map of an assessment: one sheet, as PNG or as PDF.

Drawn on canvases of its own, never through pyplot: no global state, no window.
"""

import math
import os
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import shapely

from geodamage._version import __version__
from geodamage.damage import COLOUR_NOT_ASSESSED, COLOURS, COLOURS_SAFE, GRADES, DamageGrade
from geodamage.output.publication import output_errors
from geodamage.report.estimates import estimate_line
from geodamage.report.findings import codes
from geodamage.report.lists import hidden_ground, model_rows, real_share
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAP_EXTENSIONS = (".png",)
PDF_EXTENSIONS = (".pdf",)

#: A4, landscape, inches; and dots per inch of the PNG and of what is drawn as pixels in the PDF.
SHEET = 11.69, 8.27
DPI = 200
#: Letters of a line that holds a name; longer ones lose their middle.
LONGEST = 70
#: Buildings that are drawn as shapes in the PDF; more become pixels, and the file stays small.
MOST_SHAPES = 5_000
#: Points a side of a usual building, below which it becomes a dot.
SMALLEST = 1.2
#: Lengths that a scale bar may have: these times a power of ten.
STEPS = (5, 2, 1)


def draw_sheet(view: View) -> "Figure":
    """Draw an assessment on one sheet: maps, legend, totals, sources and the statement."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SHEET, facecolor="white")
    _head(figure, view)
    _maps(figure, view)
    _legend(figure, view)
    _totals(figure, view)
    _sources(figure, view)
    return figure


def write_sheet(view: View, path: str | os.PathLike[str], extension: str) -> Path:
    """Write the sheet of an assessment; the same view makes the same bytes.

    Parameters
    ----------
    view
        What is shown.
    path
        Where to; a partial path of a `Publication` will do.
    extension
        `.png` or `.pdf`.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    target = BytesIO()
    kind = extension.removeprefix(".")
    # Matplotlib would write the time, and its own name twice.
    about: dict[str, Any] = {"Title": view.words.title}
    about |= {"CreationDate": None} if kind == "pdf" else {"Software": None}
    with warnings.catch_warnings():
        # The fonts at hand lack some scripts; boxes in a heading are no reason to stop.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        draw_sheet(view).savefig(target, format=kind, dpi=DPI, metadata=about)
    with output_errors(path):
        Path(path).write_bytes(target.getvalue())
    return Path(path)


def shorten(text: str, most: int = LONGEST) -> str:
    """Return a text of so many letters at most, without line breaks; the middle goes first."""
    text = " ".join(text.split())
    if len(text) <= most:
        return text
    head = (most - 1) // 2
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def scale_length(most: float) -> float:
    """Return the longest round length up to `most`: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in STEPS if step * power <= most * (1 + 1e-9))


def _colours(view: View) -> Mapping[DamageGrade, str]:
    return COLOURS_SAFE if view.words.safe_colours else COLOURS


def _write(figure: "Figure", x: float, y: float, text: str, **options: Any) -> Any:
    """Write text that comes from data: a dollar sign is no formula."""
    return figure.text(x, y, text, parse_math=False, **options)


def _head(figure: "Figure", view: View) -> None:
    from matplotlib.patches import Rectangle

    _write(figure, 0.035, 0.945, shorten(view.words.title), fontsize=17, weight="bold")
    line = f"{place_name(*view.place)}   ·   {ground(view)}   ·   made {day(view.facts)}"
    _write(figure, 0.035, 0.915, line, fontsize=9, color="#444444")
    figure.add_artist(
        Rectangle((0.0, 0.0), 1.0, 0.042, facecolor="#fff3cd", edgecolor="none", zorder=0)
    )
    sentence = f"{statement(view.facts).capitalize()}."
    advice = "Use it to decide where to look first; check before acting on one building."
    _write(figure, 0.035, 0.014, sentence, fontsize=10.5, weight="bold", color="#4a3600")
    _write(figure, 0.965, 0.014, advice, fontsize=9, color="#4a3600", ha="right")


def _maps(figure: "Figure", view: View) -> None:
    """Draw both dates side by side, or one map of the buildings where there is no imagery."""
    if view.dates is None:
        axis = _map_axis(figure, view, (0.035, 0.245, 0.93, 0.655))
        axis.set_facecolor("#eef0f2")
        _buildings(axis, view, is_over_picture=False)
        _furniture(axis, view)
        return
    boxes = (0.035, 0.245, 0.46, 0.62), (0.505, 0.245, 0.46, 0.62)
    names = _date("Before", view.words.pre_date), _date("After, graded", view.words.post_date)
    if view.dates.pre is None:
        boxes = (0.035, 0.245, 0.0, 0.62), (0.035, 0.245, 0.93, 0.62)
    for box, picture, name in zip(boxes, view.dates[:2], names, strict=True):
        if picture is None:
            continue
        axis = _map_axis(figure, view, box)
        left, bottom, right, top = view.region
        axis.imshow(picture, extent=(left, right, bottom, top), interpolation="antialiased")
        axis.set_title(name, fontsize=10.5, loc="left", pad=4, parse_math=False)
        is_after = picture is view.dates.post
        if is_after:
            _buildings(axis, view, is_over_picture=True)
            _furniture(axis, view)


def _date(name: str, date: str | None) -> str:
    return f"{name} · {shorten(date, 40)}" if date else name


def _map_axis(figure: "Figure", view: View, box: tuple[float, float, float, float]) -> "Axes":
    left, bottom, right, top = view.region
    is_pair = view.dates is not None and view.dates.pre is not None
    side: Literal["NW", "N"] = "NW" if box[0] < 0.4 and is_pair else "N"
    axis = figure.add_axes(box, anchor=side)
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
    axis.set_aspect("equal")
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_color("#666666")
    return axis


def _buildings(axis: "Axes", view: View, *, is_over_picture: bool) -> None:
    """Draw the buildings grade by grade, the worst on top."""
    from matplotlib.collections import PathCollection

    grades, shapes = codes(view.buildings), view.shapes
    are_pixels = len(shapes) > MOST_SHAPES
    # Many small buildings would be all outline.
    width = 0.2 if are_pixels else 0.6
    for code in (0, *GRADES):
        paths = [_path(shape) for shape in shapes[grades == code] if shape is not None]
        if not paths:
            continue
        colour = _colours(view)[DamageGrade(code)] if code else COLOUR_NOT_ASSESSED
        axis.add_collection(
            PathCollection(
                paths,
                facecolors=colour,
                edgecolors=colour if are_pixels else "black",
                linewidths=width,
                alpha=0.65 if is_over_picture and code else 1.0,
                hatch=None if code else "/////",
                rasterized=are_pixels,
                zorder=3 + code,
            ),
            autolim=False,
        )
    _dots(axis, view)


def _dots(axis: "Axes", view: View) -> None:
    """Draw a dot on each building, where the buildings themselves are too small to be seen."""
    left, _, right, _ = view.region
    points = axis.get_position().width * SHEET[0] * 72 / (right - left)
    if view.size * points >= SMALLEST:
        return
    is_placed = ~shapely.is_missing(view.shapes)
    codes_shown, middles = view.codes[is_placed], shapely.centroid(view.shapes[is_placed])
    for code in (0, *GRADES):
        x, y = shapely.get_coordinates(middles[codes_shown == code]).T
        colour = _colours(view)[DamageGrade(code)] if code else COLOUR_NOT_ASSESSED
        axis.scatter(x, y, s=7, color=colour, edgecolors="black", linewidths=0.2, zorder=3 + code,
                     rasterized=len(view.shapes) > MOST_SHAPES)  # fmt: skip


def _path(shape: shapely.Geometry) -> Any:
    """Return a building as one path; holes stay holes, for their rings turn the other way."""
    from matplotlib.path import Path as Outline

    turned = shapely.orient_polygons(shape)
    rings = [
        shapely.get_coordinates(ring)
        for part in shapely.get_parts(turned)
        for ring in (part.exterior, *part.interiors)
    ]
    return Outline(np.concatenate(rings), np.concatenate([_steps(ring) for ring in rings]))


def _steps(ring: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    from matplotlib.path import Path as Outline

    steps = np.full(len(ring), Outline.LINETO, np.uint8)
    steps[0], steps[-1] = Outline.MOVETO, Outline.CLOSEPOLY
    return steps


def _furniture(axis: "Axes", view: View) -> None:
    """Draw the scale bar and the north arrow."""
    from matplotlib.patheffects import withStroke

    halo = [withStroke(linewidth=3, foreground="white")]
    left, _, right, _ = view.region
    metres = scale_length((right - left) * view.metres * 0.3)
    share = metres / view.metres / (right - left)
    place: dict[str, Any] = {"transform": axis.transAxes, "zorder": 9, "path_effects": halo}
    x, y = 0.03, 0.035
    axis.plot([x, x, x + share, x + share], [y + 0.015, y, y, y + 0.015], color="black", lw=1.6,
              solid_joinstyle="miter", scalex=False, scaley=False, **place)  # fmt: skip
    name = f"{metres / 1000:g} km" if metres >= 1000 else f"{metres:g} m"
    axis.text(x + share / 2, y + 0.02, name, ha="center", va="bottom", fontsize=8, **place)
    arrow = {"arrowstyle": "-|>,head_width=0.35,head_length=0.7", "color": "black", "lw": 1.4}
    axis.annotate("", (0.955, 0.975), (0.955, 0.89), xycoords="axes fraction", zorder=9,
                  arrowprops={**arrow, "path_effects": halo})  # fmt: skip
    axis.text(0.955, 0.885, "N", ha="center", va="top", fontsize=9, weight="bold", **place)


def _legend(figure: "Figure", view: View) -> None:
    from matplotlib.patches import Patch

    handles = [
        Patch(facecolor=_colours(view)[grade], edgecolor="black", lw=0.6, label=grade.label)
        for grade in GRADES
    ]
    if view.findings.not_assessed:
        handles.append(
            Patch(facecolor=COLOUR_NOT_ASSESSED, edgecolor="black", lw=0.6, hatch="/////",
                  label="not assessed")
        )  # fmt: skip
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=(0.027, 0.218), frameon=False,
                  ncols=len(handles), fontsize=9, handlelength=1.4, columnspacing=1.6)  # fmt: skip


def _totals(figure: "Figure", view: View) -> None:
    """Write the table of counts."""
    found = view.findings
    rows = [
        (f"{t.grade.label}", f"{t.count:,}", f"{100 * t.share:.1f} %", f"{t.area:,.0f}")
        for t in found.grades
    ]
    rows.append(("with a grade", f"{found.graded:,}", "", f"{found.area:,.0f}"))
    rows.append(("not assessed", f"{found.not_assessed - found.outside:,}", "", ""))
    if found.outside:
        rows.append(("outside the area", f"{found.outside:,}", "", ""))
    columns = (0.035, 0.19, 0.25, 0.33)
    top, step = 0.185, 0.0195
    heads = ("Grade", noun(view.facts).capitalize(), "Share", "Area, m²")
    for x, name in zip(columns, heads, strict=True):
        _write(figure, x, top, name, fontsize=8.5, weight="bold", ha=_side(x, columns))
    for n, row in enumerate(rows, 1):
        for x, text in zip(columns, row, strict=True):
            weight = "bold" if n == len(GRADES) + 1 else "normal"
            _write(figure, x, top - n * step, text, fontsize=8.5, weight=weight,
                   ha=_side(x, columns))  # fmt: skip


def _side(x: float, columns: tuple[float, ...]) -> str:
    return "left" if x == columns[0] else "right"


def _sources(figure: "Figure", view: View) -> None:
    """Write what the sheet was made from."""
    facts = view.facts
    model = dict(model_rows(facts))
    area = assessed_km2(facts)
    alone = is_post_only(facts)
    shown_by = "the image shows" if alone else "both images show"
    before = "no image: post-only" if alone else _source(facts, "pre", view.words.pre_date)
    lines = [
        ("Checked", "" if view.estimate is None else estimate_line(view.estimate)),
        ("Assessed", f"{area:,.3g} km² that {shown_by}" if area is not None else ""),
        ("Hidden", _hidden(facts)),
        ("Candidates", real_share(facts) or ""),
        ("Scenes", _scenes(facts)),
        ("Before", before),
        ("After", _source(facts, "post", view.words.post_date)),
        ("Model", " · ".join(model[k] for k in ("Name", "Licence of the weights") if k in model)),
        ("Layer", f"{view.source}, {view.crs.name}"),
        ("Software", f"geodamage {__version__}"),
        ("Note", "; ".join(warnings_of(view))),
    ]
    shown = [(name, text) for name, text in lines if text]
    step = min(0.0195, 0.14 / len(shown))
    for n, (name, text) in enumerate(shown):
        y = 0.185 - n * step
        _write(figure, 0.39, y, name, fontsize=8.5, weight="bold")
        _write(figure, 0.463, y, shorten(text, 96), fontsize=8.5)


def _hidden(facts: Mapping[str, Any]) -> str:
    """Return what hides the ground; nothing if it was not examined."""
    told = hidden_ground(facts)
    return f"cloud, smoke or fill over {told}" if told else ""


def _scenes(facts: Mapping[str, Any]) -> str:
    """Return what an event is made of; nothing of a single scene."""
    if not isinstance(facts.get("scenes"), int):
        return ""
    dates = [str(facts[key]) for key in ("first_date", "last_date") if facts.get(key)]
    return f"{facts['scenes']:,}, {' to '.join(dict.fromkeys(dates)) or 'dates not recorded'}"


def _source(facts: Mapping[str, Any], role: str, date: str | None) -> str:
    name = image_name(facts, role)
    return f"{name}, {date or 'date not recorded'}" if "scene" in facts else ""
