"""Styles: how a GIS colours an export when it opens it."""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from geodamage.damage import COLOUR_NOT_ASSESSED, rgb

#: What becomes of a value that the categories do not have: a building without a grade.
_OTHERS = ("", "Not assessed", COLOUR_NOT_ASSESSED)

_COLUMNS = """id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30),
styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))"""


def categorised(field: str, categories: Iterable[tuple[Any, str, str]], *, is_point: bool) -> str:
    """Return a style of QGIS that colours features by the value of a field.

    Parameters
    ----------
    field
        Name of the field.
    categories
        Value, words and colour (`#rrggbb`) of each.
    is_point
        Whether the features are points.
    """
    rows = [*categories, _OTHERS]
    listed = "".join(
        f'<category render="true" symbol="{n}" value={quoteattr(str(value))}'
        f" label={quoteattr(words)}/>"
        for n, (value, words, _) in enumerate(rows)
    )
    symbols = "".join(_symbol(n, colour, is_point) for n, (_, _, colour) in enumerate(rows))
    return (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">'
        '<qgis styleCategories="Symbology" version="3.22.0">'
        f'<renderer-v2 type="categorizedSymbol" attr={quoteattr(field)} symbollevels="0"'
        f' enableorderby="0" forceraster="0"><categories>{listed}</categories>'
        f"<symbols>{symbols}</symbols></renderer-v2></qgis>"
    )


def outlined(colour: str) -> str:
    """Return a style of QGIS that draws outlines alone."""
    line = ",".join(map(str, (*rgb(colour), 255)))
    properties = {"style": "no", "outline_color": line, "outline_width": "0.6"}
    return (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">'
        '<qgis styleCategories="Symbology" version="3.22.0">'
        '<renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0" forceraster="0">'
        f'<symbols><symbol type="fill" name="0" alpha="1">{_layer("SimpleFill", properties)}'
        "</symbol></symbols></renderer-v2></qgis>"
    )


def _symbol(number: int, colour: str, is_point: bool) -> str:
    fill = ",".join(map(str, (*rgb(colour), 255)))
    properties = {"color": fill, "outline_color": "35,35,35,255", "outline_width": "0.1"}
    if is_point:
        properties |= {"name": "circle", "size": "2"}
    kind, layer = ("marker", "SimpleMarker") if is_point else ("fill", "SimpleFill")
    return f'<symbol type="{kind}" name="{number}" alpha="1">{_layer(layer, properties)}</symbol>'


def _layer(kind: str, properties: dict[str, str]) -> str:
    listed = "".join(f'<prop k="{key}" v="{value}"/>' for key, value in properties.items())
    return f'<layer class="{kind}" enabled="1" locked="0" pass="0">{listed}</layer>'


def set_style(package: Path, layer: str, style: str) -> None:
    """Make a style the default of a layer of a GeoPackage, and the only one of it.

    GDAL leaves the styles of a layer where they are when it writes the layer again, and QGIS takes
    whichever default it finds first.

    Raises
    ------
    sqlite3.Error
        If the file cannot be written.
    """
    with closing(sqlite3.connect(package)) as base, base:
        is_there = base.execute("SELECT 1 FROM sqlite_master WHERE name = 'layer_styles'")
        if is_there.fetchone() is None:
            base.execute(f"CREATE TABLE layer_styles ({_COLUMNS})")
            base.execute(
                "INSERT INTO gpkg_contents (table_name, data_type, identifier) "
                "VALUES ('layer_styles', 'attributes', 'layer_styles')"
            )
        base.execute("DELETE FROM layer_styles WHERE f_table_name = ?", (layer,))
        (column,) = base.execute(
            "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?", (layer,)
        ).fetchone()
        base.execute(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
            "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner) "
            "VALUES ('', '', ?, ?, 'geodamage', ?, '', 1, 'damage', '')",
            (layer, column, style),
        )
