"""Geometries as drivers hand them over, made into what GEOS knows.

City models are polyhedral surfaces and triangulated networks. Seen from above, each is the union
of its faces: the footprint of the building.
"""

import struct
from typing import Any

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

#: ISO numbers of what GEOS does not know, and of what has the same bytes and is known.
_KNOWN_AS = {15: 6, 16: 6, 17: 3}
#: Numbers of circular strings, compound curves, curve polygons, multicurves and multisurfaces.
_CURVES = range(8, 15)
_COLLECTION = 7
_POLYGON = 3
#: Of the extended form: flags of z, m and a CRS.
_EXTENDED = 0xE0000000

#: No CRS has larger numbers: the earth is 4e10 millimetres around.
MOST_COORDINATE = 1e12


def is_surface(wkb: bytes | None) -> bool:
    """Say whether a geometry is a polyhedral surface, a triangulated network or a triangle."""
    return _number_of(wkb) in _KNOWN_AS


def _number_of(wkb: bytes | None) -> int:
    """Return the ISO number of a geometry without its dimensions; -1 if there is none."""
    if not wkb or len(wkb) < 5:
        return -1
    number: int = struct.unpack_from("<I" if wkb[0] == 1 else ">I", wkb, 1)[0]
    return (number & ~_EXTENDED) % 1000


def footprint_of(wkb: bytes) -> shapely.Geometry:
    """Return the union of the faces of a surface, seen from above; walls have no area.

    Raises
    ------
    ValueError
        If the bytes are no such geometry.
    """
    content = bytearray(wkb)
    try:
        end = _rename(content, 0, levels=3)
    except (struct.error, IndexError) as error:
        raise ValueError("its bytes end too early") from error
    if end != len(content):
        raise ValueError("its bytes are not those of a surface")
    try:
        return merged(shapely.from_wkb(bytes(content)))
    except shapely.errors.GEOSException as error:
        raise ValueError(str(error)) from error


def merged(surface: shapely.Geometry) -> BaseGeometry:
    """Return the union of the parts of a geometry, seen from above; walls have no area."""
    faces = shapely.get_parts(shapely.force_2d(surface))
    solid = shapely.make_valid(faces[shapely.area(faces) > 0], method="structure")
    union: BaseGeometry = shapely.union_all(solid)
    return union


def _rename(content: bytearray, start: int, levels: int) -> int:
    """Give a geometry and its parts the numbers of what is known; return where it ends."""
    if not levels:
        raise ValueError("nested too deep")
    order = "<" if content[start] == 1 else ">"
    number = struct.unpack_from(f"{order}I", content, start + 1)[0]
    plain = number & ~_EXTENDED
    kind, place = plain % 1000, start + 5
    renamed = number - kind + _KNOWN_AS.get(kind, kind)
    struct.pack_into(f"{order}I", content, start + 1, renamed)
    if number & 0x20000000:
        place += 4
    count = struct.unpack_from(f"{order}I", content, place)[0]
    place += 4
    if kind in (_POLYGON, 17):
        flags = bool(number & 0x80000000) + bool(number & 0x40000000)
        size = 8 * (2 + flags + {0: 0, 1: 1, 2: 1, 3: 2}.get(plain // 1000, 0))
        for _ in range(count):
            points = struct.unpack_from(f"{order}I", content, place)[0]
            place += 4 + points * size
            if place > len(content):
                raise ValueError("its bytes end too early")
        return place
    if kind not in (6, 15, 16, _COLLECTION):
        raise ValueError(f"holds a geometry of number {kind}")
    for _ in range(count):
        place = _rename(content, place, levels - 1)
    return place


def read_geometries(wkb: np.ndarray) -> tuple[np.ndarray, dict[int, str]]:
    """Read geometries of well-known binary.

    Parameters
    ----------
    wkb
        object (n,): bytes or None.

    Returns
    -------
    object (n,)
        Geometries; None where there is none, and where it is broken.
    dict
        What is wrong with each that is broken.
    """
    content, broken = wkb.copy(), dict[int, str]()
    footprints: dict[int, shapely.Geometry] = {}
    for n in (n for n, one in enumerate(wkb) if _number_of(one) in _CURVES):
        content[n], broken[n] = None, "is a curve; save it with straight edges"
    for n in (n for n, one in enumerate(wkb) if is_surface(one)):
        content[n] = None
        try:
            footprints[n] = footprint_of(wkb[n])
        except ValueError as error:
            broken[n] = str(error)
    shapes = shapely.from_wkb(content, on_invalid="ignore")
    for n in np.flatnonzero(shapely.is_missing(shapes)).tolist():
        if content[n] is not None:
            broken[n] = why_broken(shapely.from_wkb, content[n])
    for n, shape in footprints.items():
        shapes[n] = shape
    return shapes, broken


def why_broken(read: Any, content: bytes) -> str:
    """Return what GEOS says of a geometry that it does not read."""
    try:
        read(content)
    except (shapely.errors.GEOSException, ValueError) as error:
        said = " ".join(str(error).split()).partition("Exception: ")
        return said[2] or said[0]
    return "it is not a geometry"


def without_numbers(shapes: np.ndarray) -> np.ndarray:
    """Return which geometries have an x or y that is no number, or none of a place on earth."""
    points, owner = shapely.get_coordinates(shapes, return_index=True)
    found = np.zeros(len(shapes), bool)
    found[owner[~(np.abs(points) <= MOST_COORDINATE).all(axis=1)]] = True
    return found
