"""Styles inside a GeoPackage: how QGIS draws its layers when it opens the file."""

import sqlite3
from collections.abc import Collection, Mapping
from contextlib import closing
from functools import cache
from pathlib import Path

from geodamage.damage import rgb
from geodamage.output.damage_style import PALETTES, damage_style
from geodamage.output.seen_ground import AREA_LAYER

_COLUMNS = """id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256), styleName TEXT(30),
styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))"""

#: Colours of what has no grade to show, and of the assessed area: a fill would hide the imagery.
OUTLINE, AREA_OUTLINE = "#00e5ff", "#111111"
#: Fields without which a style of grades has nothing to draw.
_GRADED = {"damage", "confidence", "status"}
#: Field of samples: the model's grade would lead whoever looks at one.
_SAMPLED = "sample_order"


def store_styles(package: Path, layer: str, fields: Collection[str]) -> None:
    """Put styles into a GeoPackage for a layer of it, by what the layer holds.

    Graded buildings get one style for each palette, by the names that the plugin calls them;
    samples and other layers are outlined.

    Parameters
    ----------
    package
        The GeoPackage, which may still have the name of a partial file.
    layer
        Name of a layer of it that has shapes.
    fields
        Names of its fields.

    Raises
    ------
    sqlite3.Error
        If the file cannot be written.
    """
    if set(fields) >= _GRADED and _SAMPLED not in fields:
        set_styles(package, layer, _graded_styles())
    else:
        colour = AREA_OUTLINE if layer == AREA_LAYER else OUTLINE
        set_styles(package, layer, {"outline": outlined(colour)})


@cache
def _graded_styles() -> Mapping[str, str]:
    return {palette.name: damage_style(palette) for palette in PALETTES}


def outlined(colour: str) -> str:
    """Return a style of QGIS that draws outlines alone."""
    line = ",".join(map(str, (*rgb(colour), 255)))
    properties = {"style": "no", "outline_color": line, "outline_width": "0.6"}
    return (
        '<!DOCTYPE qgis PUBLIC "http://mrcc.com/qgis.dtd" "SYSTEM">'
        '<qgis styleCategories="Symbology" version="3.22.0">'
        '<renderer-v2 type="singleSymbol" symbollevels="0" enableorderby="0" forceraster="0">'
        f'<symbols><symbol type="fill" name="0" alpha="1">{symbol_layer("SimpleFill", properties)}'
        "</symbol></symbols></renderer-v2></qgis>"
    )


def symbol_layer(kind: str, properties: Mapping[str, str]) -> str:
    """Return a layer of a symbol, of a kind of QGIS and with its properties."""
    listed = "".join(
        f'<Option name="{name}" value="{value}" type="QString"/>'
        for name, value in properties.items()
    )
    return (
        f'<layer class="{kind}" enabled="1" locked="0" pass="0">'
        f'<Option type="Map">{listed}</Option></layer>'
    )


def set_styles(package: Path, layer: str, styles: Mapping[str, str]) -> None:
    """Give a layer of a GeoPackage its styles, and no others; the first is what QGIS draws.

    GDAL leaves the styles of a layer where they are when it writes the layer anew, and QGIS takes
    whichever default it finds first.

    Parameters
    ----------
    package
        The GeoPackage.
    layer
        Name of a layer of it that has shapes.
    styles
        Texts of QML by name.

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
        base.executemany(
            "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, "
            "f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner) "
            "VALUES ('', '', ?, ?, ?, ?, '', ?, 'Building damage, by geodamage', '')",
            [
                (layer, column, name, style, number == 0)
                for number, (name, style) in enumerate(styles.items())
            ],
        )
