"""A vector file that takes buildings in batches, whatever its format."""

import warnings
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import geopandas as gpd
import pandas as pd
import pyogrio
import shapely
from pyproj import CRS

from geodamage.errors import OutputError
from geodamage.fields import FIELDS, Field, conform
from geodamage.output.ending import Completed
from geodamage.output.publication import final_path, output_errors
from geodamage.words import counted

#: Rows and vertices that are gathered before they are written: tiny batches make slow files and
#: tiny row groups.
ROWS_AT_ONCE = 5_000
VERTICES_AT_ONCE = 500_000

GeometryType = Literal["Point", "Polygon", "MultiPolygon", "Unknown"]


class VectorWriter(Completed):
    """A vector file that takes buildings in batches.

    Leaving the context closes the file; leaving it by an exception leaves the file incomplete.

    Attributes
    ----------
    notes
        What the format could not hold, a line each; complete when the file is closed.
    """

    def __init__(
        self,
        path: Path,
        crs: CRS,
        layer: str,
        geometry_type: GeometryType,
        fields: tuple[Field, ...] = FIELDS,
    ) -> None:
        self.path = path
        self.crs = crs
        self.layer = layer
        self.geometry_type = geometry_type
        self.fields = fields
        self.notes: list[str] = []
        self._waiting: list[gpd.GeoDataFrame] = []
        self._rows = self._vertices = 0
        self._open()

    def append(self, frame: gpd.GeoDataFrame) -> None:
        """Add the buildings of a frame that has every field; there may be none."""
        if frame.empty:
            return
        self._waiting.append(frame)
        self._rows += len(frame)
        self._vertices += int(shapely.get_num_coordinates(frame.geometry.to_numpy()).sum())
        if self._rows >= ROWS_AT_ONCE or self._vertices >= VERTICES_AT_ONCE:
            self._flush()

    def close(self) -> None:
        """Complete the file."""
        try:
            self._flush()
            with output_errors(self.path):
                self._finish()
        finally:
            self.discard()

    def discard(self) -> None:
        """Release the file unchanged; it may be incomplete."""
        self._waiting.clear()
        self._release()

    def _flush(self) -> None:
        if not self._waiting:
            return
        frame = _conformed(self._waiting, self.crs, self.fields)
        self._waiting.clear()
        self._rows = self._vertices = 0
        with output_errors(self.path):
            self._write(frame)

    @abstractmethod
    def _open(self) -> None:
        """Create the file."""

    @abstractmethod
    def _write(self, frame: gpd.GeoDataFrame) -> None:
        """Write conformed buildings, at least one."""

    @abstractmethod
    def _finish(self) -> None:
        """Write what comes after the last building."""

    @abstractmethod
    def _release(self) -> None:
        """Close handles and remove working files; may be called twice."""


def _conformed(
    frames: Sequence[gpd.GeoDataFrame], crs: CRS, fields: tuple[Field, ...]
) -> gpd.GeoDataFrame:
    """Return the buildings of some frames as one, conformed."""
    kinds = [_kinds(frame, fields) for frame in frames]
    if all(other == kinds[0] for other in kinds[1:]):
        # A few hundred buildings take longer to be typed than to be drawn; thousands do not.
        return conform(pd.concat(frames, ignore_index=True), crs, fields)
    return pd.concat([conform(frame, crs, fields) for frame in frames], ignore_index=True)


def _kinds(frame: gpd.GeoDataFrame, fields: tuple[Field, ...]) -> tuple[object, ...]:
    """Return what must be alike of frames that are joined before they are typed.

    Texts are typed one by one, so that the type of their column says nothing.
    """
    types = frame.dtypes
    numbers = [types[field.name] for field in fields if field.kind != "text"]
    return frame.geometry.name, frame.crs, tuple(frame.columns), *numbers


def common_type(shapes: gpd.GeoSeries) -> GeometryType:
    """Return what all shapes are, for formats that declare it; some may be missing."""
    kinds = set(shapes.geom_type.dropna())
    if kinds <= {"Polygon"}:
        return "Polygon"
    return "MultiPolygon" if kinds <= {"Polygon", "MultiPolygon"} else "Unknown"


def check_count(path: Path, layer: str, expected: int) -> None:
    """Check that a layer holds every row; GDAL may close a file without saying what failed."""
    with partial_names_allowed():
        count = int(pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"])
    if count != expected:
        raise OutputError(
            f"cannot write {final_path(path)}: {count:,} of {counted(expected, 'row')} of "
            f"{layer!r} arrived; check the free space of {path.parent}"
        )


@contextmanager
def partial_names_allowed() -> Iterator[None]:
    """Silence GDAL's wish that a GeoPackage be called `*.gpkg` while it is a partial file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*extension", category=RuntimeWarning)
        yield
