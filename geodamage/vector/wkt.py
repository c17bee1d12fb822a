"""Well-known text, read by GEOS once it is known not to nest without end."""

import re

import shapely
from shapely.geometry.base import BaseGeometry

#: Parentheses within each other: a collection of collections of multipolygons has five.
DEEPEST = 8

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
    try:
        found: BaseGeometry = shapely.from_wkt(text)
        return found
    except shapely.errors.GEOSException as error:
        raise ValueError(" ".join(str(error).split())) from error
