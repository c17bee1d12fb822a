"""CSV with well-known text, or with longitude and latitude."""

import csv
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
from geodamage.words import counted

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
    table, lost = _rows(path)
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
    crs = CRS.from_user_input(LONLAT)
    return Content(table, shapes, crs, broken=broken, lost=lost, notes=(note,))


def _rows(path: Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the rows that have a cell for every column, and the lines that have fewer or more."""
    found: list[list[str]] = []
    lost: dict[str, str] = {}
    with _named(path), path.open(encoding="utf-8-sig", newline="") as file:
        head = file.readline(2**16)
        delimiter = max(",;\t|", key=head.count)
        require_few(path, head.count(delimiter))
        file.seek(0)
        rows = csv.reader(file, delimiter=delimiter, strict=True)
        names = next((row for row in rows if row), None)
        if names is None:
            raise ValueError("no line")
        for row in rows:
            if row[len(names) :] == [""]:  # a delimiter at the end
                row.pop()
            if len(row) == len(names):
                found.append(row)
            elif row:
                cells, columns = counted(len(row), "cell"), counted(len(names), "column")
                lost[f"line {rows.line_num}"] = f"{cells} for {columns}"
    return pd.DataFrame(found, columns=_different(names), dtype=object), lost


def _different(names: list[str]) -> list[str]:
    """Return names that differ, as columns have to."""
    found: dict[str, None] = {}
    for number, name in enumerate(names, 1):
        own = name or f"column {number}"
        times = 1
        while own in found:
            own, times = f"{name}.{times}", times + 1
        found[own] = None
    return list(found)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Name the file in what reading a table raises, and let cells hold an outline of any length."""
    longest = csv.field_size_limit(2**31 - 1)
    try:
        yield
    except SceneError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise SceneReadError(f"{path}: not readable as CSV ({one_line(error)})") from error
    finally:
        csv.field_size_limit(longest)


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
