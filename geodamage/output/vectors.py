"""Vector files of buildings, written batch by batch, in the format the extension names."""

import json
import os
import shutil
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Literal, Self

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyproj import CRS, Transformer

from geodamage._version import __version__
from geodamage.errors import OptionError, OutputError
from geodamage.fields import FIELDS, Field, conform, empty_frame
from geodamage.output.publication import (
    VECTOR_EXTENSIONS,
    Publication,
    check_output,
    final_path,
    output_errors,
)
from geodamage.words import counted

#: Rows and vertices that are gathered before they are written: tiny batches make slow files and
#: tiny row groups.
ROWS_AT_ONCE = 5_000
VERTICES_AT_ONCE = 500_000

#: About a centimetre. Source: RFC 7946, section 11.2.
DECIMALS = 7

GeometryType = Literal["Polygon", "MultiPolygon", "Unknown"]


def write_buildings(
    buildings: Iterable[gpd.GeoDataFrame],
    path: str | os.PathLike[str],
    crs: CRS,
    *,
    overwrite: bool = False,
) -> Path:
    """Write buildings and a short sidecar; all of them arrive, or there is no file.

    Parameters
    ----------
    buildings
        Frames that have every field.
    path
        Where to; the extension picks the format.
    crs
        CRS of the file; GeoJSON is always in WGS 84.
    overwrite
        Replace a file that is there already.

    Returns
    -------
    The path.

    Raises
    ------
    OptionError
        If no format has the extension.
    OutputError
        If the file cannot be written; `OutputExistsError` if it exists.
    """
    path = check_output(path, overwrite=overwrite)
    count = 0
    with Publication(overwrite=overwrite) as publication:
        with vector_writer(publication.partial(path), crs) as writer:
            for frame in buildings:
                writer.append(frame)
                count += len(frame)
        facts = {"software": "geodamage", "version": __version__, "buildings": count}
        publication.sidecar(path, facts)
    return path


def vector_writer(
    path: str | os.PathLike[str],
    crs: CRS,
    layer: str = "buildings",
    *,
    geometry_type: GeometryType = "Unknown",
    fields: tuple[Field, ...] = FIELDS,
) -> "VectorWriter":
    """Open a vector file for writing; its extension picks the format.

    Parameters
    ----------
    path
        A path, or a partial path of a `Publication`; what is there is overwritten.
    crs
        CRS of the file; GeoJSON is always in WGS 84.
    layer
        Name of the layer, where the format has one.
    geometry_type
        What the GeoPackage layer declares; `Unknown` takes any geometry.
    fields
        What is written of each building.

    Raises
    ------
    OptionError
        If no format has the extension.
    OutputError
        If the file cannot be created.
    """
    extension = final_path(path).suffix.lower()
    if extension not in WRITERS:
        raise OptionError(
            f"output {path}: no format has the extension '{extension}';"
            f" use {', '.join(VECTOR_EXTENSIONS)}"
        )
    with output_errors(path):
        return WRITERS[extension](Path(path), crs, layer, geometry_type, fields)


class VectorWriter(ABC):
    """A vector file that takes buildings in batches.

    Leaving the context closes the file; leaving it by an exception leaves the file incomplete.
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
        self._waiting: list[gpd.GeoDataFrame] = []
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error_type is None:
            self.close()
        else:
            self.discard()

    def append(self, frame: gpd.GeoDataFrame) -> None:
        """Add the buildings of a frame that has every field; there may be none."""
        if frame.empty:
            return
        self._waiting.append(conform(frame, self.crs, self.fields))
        rows = sum(len(waiting) for waiting in self._waiting)
        vertices = sum(
            int(shapely.get_num_coordinates(waiting.geometry.to_numpy()).sum())
            for waiting in self._waiting
        )
        if rows >= ROWS_AT_ONCE or vertices >= VERTICES_AT_ONCE:
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
        """Let go of the file as it is; it may be incomplete."""
        self._waiting.clear()
        self._release()

    def _flush(self) -> None:
        if not self._waiting:
            return
        frame = pd.concat(self._waiting, ignore_index=True)
        self._waiting.clear()
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


class GeoJsonWriter(VectorWriter):
    """GeoJSON as RFC 7946 has it: WGS 84, right-hand rule, at most seven decimals."""

    _opening: ClassVar[str] = '{"type":"FeatureCollection","features":[\n'
    _between: ClassVar[str] = ",\n"
    _closing: ClassVar[str] = "\n]}\n"

    def _open(self) -> None:
        self._to_wgs84 = Transformer.from_crs(self.crs, "OGC:CRS84", always_xy=True)
        self._is_first = True
        self._file: IO[str] = self.path.open("w", encoding="utf-8", newline="\n")
        self._file.write(self._opening)

    def _write(self, frame: gpd.GeoDataFrame) -> None:
        features = self._between.join(_features(frame, self._to_wgs84))
        self._file.write(features if self._is_first else self._between + features)
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
    values = [_plain_values(frame[name]) for name in names]
    write = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
    for shape, *row in zip(shapes, *values, strict=True):
        identifier = write(row[0])
        properties = write(dict(zip(names, row, strict=True)))
        yield (
            f'{{"type":"Feature","id":{identifier},"geometry":{shape or "null"},'
            f'"properties":{properties}}}'
        )


def _plain_values(column: pd.Series) -> list[Any]:
    """Return Python values, None for null."""
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return values


def to_rfc7946(shapes: np.ndarray, to_wgs84: Transformer) -> np.ndarray:
    """Warp geometries to WGS 84 as RFC 7946 wants them.

    Rings follow the right-hand rule, what crosses the antimeridian is cut there, and coordinates
    have seven decimals. Where rounding makes a valid geometry invalid, its coordinates stay as
    they are: only footprints of centimetres come to that, and none may be lost or broken.

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

    exact = shapely.transform(shapes, warp)
    exact[~np.isfinite(shapely.bounds(exact)).all(axis=1)] = None
    bounds = shapely.bounds(exact)
    for index in np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180):
        exact[index] = _cut_at_antimeridian(exact[index])
    rounded = shapely.transform(exact, lambda points: np.round(points, DECIMALS) + 0.0)
    is_valid = shapely.is_valid(rounded)
    # Rings that have collapsed cannot lose points.
    rounded[is_valid] = shapely.remove_repeated_points(rounded[is_valid])
    broken = np.flatnonzero(~is_valid)
    broken = broken[shapely.is_valid(exact[broken])]
    rounded[broken] = exact[broken]
    return np.asarray(shapely.orient_polygons(rounded), dtype=object)


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


class GeoPackageWriter(VectorWriter):
    """GeoPackage, appended to batch by batch."""

    def _open(self) -> None:
        self.path.unlink(missing_ok=True)
        self._count = 0
        self._append(empty_frame(self.crs, self.fields), append=False)

    def _write(self, frame: gpd.GeoDataFrame) -> None:
        self._append(frame, append=True)

    def _append(self, frame: gpd.GeoDataFrame, *, append: bool) -> None:
        with _partial_names_allowed():
            pyogrio.write_dataframe(
                frame,
                self.path,
                layer=self.layer,
                driver="GPKG",
                append=append,
                geometry_type=self.geometry_type,
                promote_to_multi=self.geometry_type == "MultiPolygon",
            )
        self._count += len(frame)

    def _finish(self) -> None:
        _check_count(self.path, self.layer, self._count)

    def _release(self) -> None:
        """Nothing is open between batches."""


def _check_count(path: Path, layer: str, expected: int) -> None:
    """Check that a file holds every building; GDAL may close a file without saying what failed."""
    with _partial_names_allowed():
        count = int(pyogrio.read_info(path, layer=layer, force_feature_count=True)["features"])
    if count != expected:
        raise OutputError(
            f"cannot write {final_path(path)}: {count:,} of {counted(expected, 'building')} "
            f"arrived; check"
            f" the free space of {path.parent}"
        )


@contextmanager
def _partial_names_allowed() -> Iterator[None]:
    """Silence GDAL's wish that a GeoPackage be called `*.gpkg` while it is a partial file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*extension", category=RuntimeWarning)
        yield


class FlatGeobufWriter(VectorWriter):
    """FlatGeobuf; it cannot grow, so buildings wait in a GeoPackage beside it."""

    def _open(self) -> None:
        self._spool_path = Path(f"{self.path}.spool")
        # The driver insists on `.fgb`; inside a folder the name is out of reach of `*.fgb`.
        self._folder = Path(f"{self.path}.folder")
        self._types: set[str] = set()
        self._has_null = False
        self._count = 0
        self._spool = GeoPackageWriter(
            self._spool_path, self.crs, self.layer, "Unknown", self.fields
        )

    def _write(self, frame: gpd.GeoDataFrame) -> None:
        self._types.update(frame.geometry.geom_type.dropna())
        self._has_null |= bool(frame.geometry.isna().any())
        self._count += len(frame)
        self._spool._write(frame)

    def _finish(self) -> None:
        self._spool.close()
        self._folder.mkdir()
        target = self._folder / "buildings.fgb"
        with (
            _partial_names_allowed(),
            pyogrio.open_arrow(
                self._spool_path, layer=self.layer, use_pyarrow=False, batch_size=ROWS_AT_ONCE
            ) as (source, stream),
        ):
            pyogrio.write_arrow(
                stream,
                target,
                driver="FlatGeobuf",
                layer=self.layer,
                geometry_name=source["geometry_name"],
                geometry_type=self._declared_type(),
                crs=self.crs.to_wkt(),
                # An index has no place for a building without geometry.
                SPATIAL_INDEX="NO" if self._has_null else "YES",
            )
        _check_count(target, self.layer, self._count)
        target.replace(self.path)

    def _declared_type(self) -> str:
        """Return the type that all geometries have, if there is one."""
        return next(iter(self._types)) if len(self._types) == 1 else "Unknown"

    def _release(self) -> None:
        self._spool.discard()
        with suppress(OSError):
            self._spool_path.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)


class GeoParquetWriter(VectorWriter):
    """GeoParquet 1.1, a row group per batch."""

    def _open(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._types: set[str] = set()
        self._bounds: list[np.ndarray] = []
        columns = pd.DataFrame(empty_frame(self.crs, self.fields).drop(columns="geometry"))
        plain = pa.Schema.from_pandas(columns, preserve_index=False)
        self._schema = plain.append(pa.field("geometry", pa.binary()))
        self._writer = pq.ParquetWriter(self.path, self._schema, compression="zstd")

    def _write(self, frame: gpd.GeoDataFrame) -> None:
        import pyarrow as pa

        present = frame.geometry.dropna()
        self._types.update(present.geom_type)
        if len(present):
            self._bounds.append(present.total_bounds)
        table = pd.DataFrame(frame.drop(columns="geometry"))
        table["geometry"] = shapely.to_wkb(frame.geometry.to_numpy(), flavor="iso")
        self._writer.write_table(pa.Table.from_pandas(table, self._schema, preserve_index=False))

    def _finish(self) -> None:
        self._writer.add_key_value_metadata({"geo": json.dumps(self._metadata())})
        self._writer.close()

    def _metadata(self) -> dict[str, Any]:
        """Return the `geo` metadata. Source: GeoParquet 1.1.0 specification."""
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": sorted(self._types),
            "crs": self.crs.to_json_dict(),
        }
        if self._bounds:
            bounds = np.array(self._bounds)
            column["bbox"] = [
                *bounds[:, :2].min(axis=0).tolist(),
                *bounds[:, 2:].max(axis=0).tolist(),
            ]
        return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}

    def _release(self) -> None:
        with suppress(OSError):
            self._writer.close()


WRITERS: dict[str, type[VectorWriter]] = {
    ".geojson": GeoJsonWriter,
    ".geojsonl": GeoJsonLinesWriter,
    ".ndjson": GeoJsonLinesWriter,
    ".gpkg": GeoPackageWriter,
    ".fgb": FlatGeobufWriter,
    ".parquet": GeoParquetWriter,
}
