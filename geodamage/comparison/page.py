"""The page of a comparison: its figures, and a map that is drawn in the page itself."""

from collections.abc import Mapping
from html import escape
from string import Template
from typing import Any

import numpy as np
import shapely

from geodamage.comparison.comparing import Comparison

#: Words and colour of each verdict, in the order in which they are drawn. Blue and orange differ
#: for everybody's eyes.
VERDICTS: Mapping[str, tuple[str, str]] = {
    "not_compared": ("not compared", "#bdbdbd"),
    "both_undamaged": ("both: undamaged", "#dfe8dc"),
    "both_damaged": ("both: damaged", "#333333"),
    "only_result": ("damaged in the result alone", "#e66100"),
    "only_official": ("damaged in the official layer alone", "#2c7bb6"),
}

#: Shapes that a browser draws without effort; beyond that those on which both agree are left out.
MOST_SHAPES = 30_000
#: Side of the picture, in its own units.
SIDE = 1000.0

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>$title</title><style>
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1100px;padding:1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 1.2rem}td,th{padding:.2rem .7rem;text-align:right}
th:first-child,td:first-child{text-align:left}tr+tr{border-top:1px solid #ddd}
h1{overflow-wrap:anywhere}.scroll{overflow-x:auto}
svg{width:100%;max-height:70vh;aspect-ratio:$width/$height;border:1px solid #bbb;
background:#f7f7f5;touch-action:none;cursor:grab}
.key span{display:inline-block;margin-right:1.2rem}.key i{display:inline-block;width:.9em;
height:.9em;margin-right:.35em;border:1px solid #666;vertical-align:-.1em}
.note{background:#fff3cd;padding:.5rem .8rem;margin:.5rem 0}
</style></head><body><h1>$title</h1><p class="note">$statement</p>$notes
<p>$about</p>$figures<div class="key">$key</div>
<svg viewBox="0 0 $width $height" role="img" aria-label="map of the comparison">$shapes</svg>
<p>Turn the wheel to zoom, drag to move, hover over a building for what both say.$drawn</p>
<script>
const s=document.querySelector('svg');let v=[0,0,$width,$height],d=null;
const set=()=>s.setAttribute('viewBox',v.join(' '));
const at=e=>{const p=new DOMPoint(e.clientX,e.clientY).matrixTransform(s.getScreenCTM().inverse());
return [p.x,p.y]};
s.addEventListener('wheel',e=>{e.preventDefault();const [x,y]=at(e),k=e.deltaY<0?.8:1.25;
v=[x-(x-v[0])*k,y-(y-v[1])*k,v[2]*k,v[3]*k];set()},{passive:false});
s.addEventListener('pointerdown',e=>{d=at(e);s.setPointerCapture(e.pointerId)});
s.addEventListener('pointermove',e=>{if(d){const [x,y]=at(e);v[0]-=x-d[0];v[1]-=y-d[1];set()}});
s.addEventListener('pointerup',()=>{d=null});
</script></body></html>
""")


def render(comparison: Comparison) -> str:
    """Return the page, complete in itself: it asks for nothing from elsewhere."""
    facts = comparison.facts
    shapes, size, drawn = _shapes(comparison)
    return _PAGE.substitute(
        title=escape(f"{facts['result']} against {facts['official']}"),
        statement=escape(str(facts["statement"]).capitalize()),
        notes="".join(f'<p class="note">{escape(note)}</p>' for note in facts["warnings"]),
        about=escape(_about(facts)),
        figures=_tables(facts),
        key="".join(
            f'<span><i style="background:{colour}"></i>{escape(words)}</span>'
            for words, colour in VERDICTS.values()
        ),
        width=f"{size[0]:.0f}",
        height=f"{size[1]:.0f}",
        shapes=shapes,
        drawn=escape(drawn),
    )


def _about(facts: Mapping[str, Any]) -> str:
    epoch = f", epoch {facts['epoch']}" if facts["epoch"] else ""
    match = facts["match"]
    apart = (
        ""
        if match["median_m"] is None
        else f"; {match['inside']:,} of them lie on it, and nine of ten at most"
        f" {match['p90_m']:g} m away"
    )
    return (
        f"Schema {facts['schema']}, field {facts['field']}{epoch}; {facts['features']:,} features,"
        f" {facts['outside']:,} outside the assessed area. {match['matched']:,} match a building of"
        f" the result within {facts['tolerance_m']:g} m{apart}. Buildings that the layer does not"
        f" list count as {facts['unlisted']}."
    )


def _tables(facts: Mapping[str, Any]) -> str:
    tables = [_table("Damaged or not", facts["damaged"])]
    if facts["grades"] is not None:
        tables.append(_table("Grades", facts["grades"]))
    cells = facts["cells"]
    tables.append(
        f"<p>Cells of {cells['side_m']:g} m with damaged buildings: {cells['both']:,} in both, "
        f"{cells['only_result']:,} only in the result, {cells['only_official']:,} only in the "
        f"official layer. {facts['only_official_without_building']:,} damaged features match no "
        "building of the result.</p>"
    )
    return "".join(tables)


def _table(title: str, table: Mapping[str, Any]) -> str:
    names = [escape(name) for name in table["names"]]
    head = "".join(f"<th>{name}</th>" for name in names)
    rows = "".join(
        f"<tr><td>{name}</td>{''.join(f'<td>{n:,}</td>' for n in row)}</tr>"
        for name, row in zip(names, table["counts"], strict=True)
    )
    return (
        f'<h2>{title}</h2><p>{escape(said(table))}</p><div class="scroll"><table><tr><th>result, '
        f"down; official, across</th>{head}</tr>{rows}</table></div>"
    )


def said(table: Mapping[str, Any]) -> str:
    """Return agreement and kappa of a table in words."""
    same, kappa = table["same"], table["kappa"]
    parts = [f"{table['buildings']:,} buildings"]
    if same["value"] is not None:
        parts.append(
            f"the same for {100 * same['value']:.1f} % "
            f"({100 * same['low']:.1f} to {100 * same['high']:.1f})"
        )
    ends = kappa is not None and kappa["low"] is not None
    parts.append(
        f"kappa {kappa['value']:.2f} ({kappa['low']:.2f} to {kappa['high']:.2f})"
        if ends
        else "kappa not defined"
    )
    return ", ".join(parts)


def _shapes(comparison: Comparison) -> tuple[str, tuple[float, float], str]:
    """Return the shapes as SVG, the size of the picture, and what was left out of it."""
    buildings, official = comparison.buildings, comparison.official
    official = official[(official["building_id"].isna() & (official["verdict"] == "only_official"))]
    left, bottom, right, top = buildings.total_bounds
    scale = SIDE / max(right - left, top - bottom, 1.0)
    drawn, words = buildings, ""
    if len(buildings) > MOST_SHAPES:
        drawn = buildings[~buildings["verdict"].isin(["both_undamaged", "not_compared"])]
        words = f" {len(buildings) - len(drawn):,} buildings without a difference are left out."
    parts = []
    order = list(VERDICTS)
    for row in sorted(drawn.itertuples(index=False), key=lambda row: order.index(row.verdict)):
        title = f"{row.building_id}: {VERDICTS[row.verdict][0]}"
        path = _path(row.geometry, left, top, scale)
        parts.append(
            f'<path d="{path}" fill="{VERDICTS[row.verdict][1]}" stroke="#555" stroke-width=".3">'
            f"<title>{escape(title)}</title></path>"
        )
    for row in official.itertuples(index=False):
        x, y = shapely.get_coordinates(shapely.centroid(row.geometry))[0]
        parts.append(
            f'<circle cx="{(x - left) * scale:.1f}" cy="{(top - y) * scale:.1f}" r="4" fill="none"'
            f' stroke="{VERDICTS["only_official"][1]}" stroke-width="2"><title>'
            f"{escape(str(row.said))}: no building of the result</title></circle>"
        )
    size = ((right - left) * scale, (top - bottom) * scale)
    return "".join(parts), (max(size[0], 1.0), max(size[1], 1.0)), words


def _path(shape: shapely.Geometry, left: float, top: float, scale: float) -> str:
    found = []
    for part in shapely.get_parts(shape):
        if part.geom_type != "Polygon":
            continue
        for ring in (part.exterior, *part.interiors):
            points = (shapely.get_coordinates(ring)[:-1] - [left, top]) * [scale, -scale]
            found.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in np.round(points, 1)) + "Z")
    return "".join(found)
