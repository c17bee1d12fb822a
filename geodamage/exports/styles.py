"""Styles of exports: how a GIS colours one by the values of its schema."""

from collections.abc import Iterable
from typing import Any
from xml.sax.saxutils import quoteattr

from geodamage.damage import COLOUR_NOT_ASSESSED, rgb
from geodamage.output.styles import symbol_layer

#: What becomes of a value that the categories do not have: a building without a grade.
_OTHERS = ("", "Not assessed", COLOUR_NOT_ASSESSED)


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


def _symbol(number: int, colour: str, is_point: bool) -> str:
    fill = ",".join(map(str, (*rgb(colour), 255)))
    properties = {"color": fill, "outline_color": "35,35,35,255", "outline_width": "0.1"}
    if is_point:
        properties |= {"name": "circle", "size": "2"}
    kind, layer = ("marker", "SimpleMarker") if is_point else ("fill", "SimpleFill")
    drawn = symbol_layer(layer, properties)
    return f'<symbol type="{kind}" name="{number}" alpha="1">{drawn}</symbol>'
