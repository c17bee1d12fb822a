"""Well-known text, read by GEOS once it is known not to nest without end."""

import re

import shapely
from shapely.geometry.base import BaseGeometry

from geodamage.vector.surfaces import merged

#: Parentheses within each other: a collection of collections of multipolygons has five.
DEEPEST = 8

#: City models are written like several polygons.
_SURFACE = re.compile(r"\s*(POLYHEDRALSURFACE|TIN)\b", re.IGNORECASE)

_OTHERS = re.compile(r"[^()]+")


def from_wkt(text: str) -> BaseGeometry:
    """Read a geometry of well-known text.

    Raises
    ------
    ValueError
        If it is none, or nests deeper than any geometry has reason to.
    """
    depth = deepest = 0
    for mark in _OTHERS.sub("", text):
        depth += 1 if mark == "(" else -1
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise ValueError(f"nested {deepest} deep")
    surface = _SURFACE.match(text)
    try:
        if surface is not None:
            return merged(shapely.from_wkt(f"MULTIPOLYGON{text[surface.end() :]}"))
        found: BaseGeometry = shapely.from_wkt(text)
        return found
    except (shapely.errors.GEOSException, NotImplementedError) as error:
        raise ValueError(" ".join(str(error).split())) from error
