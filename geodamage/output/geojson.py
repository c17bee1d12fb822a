"""GeoJSON of buildings, and geometries as RFC 7946 wants them."""

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import IO, ClassVar

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import Transformer

from geodamage.grid import transformer
from geodamage.output.writer import VectorWriter

#: About a centimetre. Source: RFC 7946, section 11.2.
DECIMALS = 7
#: Degrees; what spans more than half the globe crosses the antimeridian in truth.
HALF_WAY = 180
#: Rows that become text at once.
_ROWS = 1_000


class GeoJsonWriter(VectorWriter):
    """GeoJSON as RFC 7946 has it: WGS 84, right-hand rule, at most seven decimals."""

    _opening: ClassVar[str] = '{"type":"FeatureCollection","features":[\n'
    _between: ClassVar[str] = ",\n"
    _closing: ClassVar[str] = "\n]}\n"

    def _open(self) -> None:
        self._to_wgs84 = transformer(self.crs, "OGC:CRS84")
        self._is_first = True
        self._file: IO[str] = self.path.open("w", encoding="utf-8", newline="\n")
        self._file.write(self._opening)

    def _write(self, frame: gpd.GeoDataFrame) -> None:
        for start in range(0, len(frame), _ROWS):  # the text of all of them would be held twice
            features = _features(frame.iloc[start : start + _ROWS], self._to_wgs84)
            self._file.write("" if self._is_first else self._between)
            self._file.write(self._between.join(features))
            self._is_first = False

    def _finish(self) -> None:
        self._file.write(self._closing)
        self._file.close()

    def _release(self) -> None:
        # What is still in the buffer goes to the disk here, and may not fit again.
        with suppress(OSError):
            self._file.close()


class GeoJsonLinesWriter(GeoJsonWriter):
    """One GeoJSON feature per line."""

    _opening = ""
    _between = "\n"

    def _finish(self) -> None:
        self._file.write("" if self._is_first else "\n")
        self._file.close()


def _features(frame: gpd.GeoDataFrame, to_wgs84: Transformer) -> Iterator[str]:
    """Yield the buildings of a conformed frame as GeoJSON text."""
    shapes = shapely.to_geojson(to_rfc7946(frame.geometry.to_numpy(), to_wgs84))
    names = [str(name) for name in frame.columns if name != "geometry"]
    values = [_texts(frame[name]) for name in names]
    properties = ",".join(_encode(name).replace("%", "%%") + ":%s" for name in names)
    pattern = f'{{"type":"Feature","id":%s,"geometry":%s,"properties":{{{properties}}}}}'
    for shape, *row in zip(shapes, *values, strict=True):
        yield pattern % (row[0], shape or "null", *row)


_encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def _texts(column: pd.Series) -> list[str]:
    """Return the values of a conformed column as JSON."""
    if column.dtype == "float64":
        numbers = column.to_numpy()
        texts = list(map(repr, numbers.tolist()))
        for row in np.flatnonzero(~np.isfinite(numbers)).tolist():
            texts[row] = "null"
        return texts
    values = column.to_numpy(object, na_value=None).tolist()  # type: ignore[call-overload]  # None, too
    known = {value: _encode(value) for value in set(values)}  # most columns have a few values
    return [known[value] for value in values]


def to_rfc7946(shapes: np.ndarray, to_wgs84: Transformer) -> np.ndarray:
    """Warp geometries to WGS 84 as RFC 7946 wants them.

    Rings follow the right-hand rule, what crosses the antimeridian is cut there, and coordinates
    have seven decimals. If rounding makes a valid geometry invalid, its coordinates are not
    rounded. This happens only to footprints of centimetres, and none may be lost or broken.

    Parameters
    ----------
    shapes
        Geometries or None.
    to_wgs84
        From the CRS of `shapes` to longitude and latitude.

    Returns
    -------
    object (n,)
        Geometries; None also where the CRS has no such place.
    """

    def warp(points: np.ndarray) -> np.ndarray:
        return np.column_stack(to_wgs84.transform(points[:, 0], points[:, 1]))

    def exact(shape: shapely.Geometry) -> shapely.Geometry | None:
        west, _, east, _ = shapely.bounds(warped := shapely.transform(shape, warp))
        return _cut_at_antimeridian(warped) if east - west > HALF_WAY else warped

    rounded = shapely.transform(shapes, lambda points: _rounded(warp(points)))
    rounded[~np.isfinite(shapely.bounds(rounded)).all(axis=1)] = None
    bounds = shapely.bounds(rounded)
    for index in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > HALF_WAY):
        rounded[index] = shapely.transform(exact(shapes[index]), _rounded)
    is_valid = shapely.is_valid(rounded)
    # Rings that have collapsed cannot lose points.
    rounded[is_valid] = shapely.remove_repeated_points(rounded[is_valid])
    for index in np.flatnonzero(~is_valid & ~shapely.is_missing(rounded)):
        if shapely.is_valid(whole := exact(shapes[index])):
            rounded[index] = whole
    return np.asarray(shapely.orient_polygons(rounded), dtype=object)


def _rounded(points: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.round(points, DECIMALS) + 0.0
    return rounded


def _cut_at_antimeridian(shape: shapely.Geometry | None) -> shapely.Geometry | None:
    """Cut what spans more than half the globe, so in truth crosses the antimeridian."""

    def unroll(points: np.ndarray) -> np.ndarray:
        return np.column_stack([points[:, 0] % 360, points[:, 1]])

    def roll(points: np.ndarray) -> np.ndarray:
        return points - [360, 0]

    whole = shapely.make_valid(shapely.transform(shape, unroll))
    west = shapely.intersection(whole, shapely.box(0, -90, 180, 90))
    east = shapely.transform(shapely.intersection(whole, shapely.box(180, -90, 360, 90)), roll)
    return shapely.union_all([west, east])
