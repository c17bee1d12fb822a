"""CSV with well-known text, or with longitude and latitude."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from pyproj import CRS

from geodamage.errors import SceneError, SceneReadError, one_line
from geodamage.vector.geojson import LONLAT
from geodamage.vector.layer import Content, require_few
from geodamage.vector.wkt import from_wkt

_SHAPES = ("wkt", "geometry", "geom", "the_geom")
_EASTS = ("lon", "longitude", "lng", "long", "x")
_NORTHS = ("lat", "latitude", "y")


def read_csv(path: Path) -> Content:
    """Read a table with a column of well-known text, or columns of longitude and latitude.

    Raises
    ------
    SceneReadError
        If it is no CSV in UTF-8.
    SceneError
        If it has no such columns, or its places are not degrees.
    """
    with _named(path):
        with path.open(encoding="utf-8-sig") as file:
            head = file.readline(2**16)
        delimiter = max(",;\t|", key=head.count)
    require_few(path, head.count(delimiter))
    with _named(path):
        table = pd.read_csv(
            path, dtype=str, sep=delimiter, keep_default_na=False, encoding="utf-8-sig"
        )
    known = {str(name).strip().lower(): name for name in reversed(table.columns)}
    text = next((known[name] for name in _SHAPES if name in known), None)
    east, north = (
        next((known[name] for name in names if name in known), None) for names in (_EASTS, _NORTHS)
    )
    broken: dict[int, str] = {}
    if text is not None:
        shapes = _shapes(table[text], broken)
        table = table.drop(columns=text)
    elif east is not None and north is not None:
        x, y = (pd.to_numeric(table[name], errors="coerce") for name in (east, north))
        shapes = np.asarray(shapely.points(x.to_numpy(float), y.to_numpy(float)), object)
    else:
        raise SceneError(f"{path}: no column called wkt or geometry, nor lon and lat; name one so")
    if (np.abs(shapely.get_coordinates(shapes)) > [180.5, 90.5]).any():
        raise SceneError(
            f"{path}: a CSV has no CRS, and its places are not longitude and latitude; "
            "save it as GeoPackage"
        )
    note = f"{path}: a CSV has no CRS; its places are taken for longitude and latitude"
    return Content(table, shapes, CRS.from_user_input(LONLAT), broken=broken, notes=(note,))


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in what reading a table raises."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise SceneReadError(f"{path}: not readable as CSV ({one_line(error)})") from error


def _shapes(texts: pd.Series, broken: dict[int, str]) -> np.ndarray:
    shapes = np.full(len(texts), None, object)
    for n, text in enumerate(texts):
        if not text.strip():
            continue
        try:
            shapes[n] = from_wkt(text)
        except ValueError as error:
            broken[n] = str(error)
    return shapes
