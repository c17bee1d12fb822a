"""GeoPackages of buildings, and FlatGeobuf, which is made of one."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType

import geopandas as gpd
import pandas as pd
import pyogrio

from geodamage.fields import empty_frame
from geodamage.output.publication import output_errors
from geodamage.output.styles import store_styles
from geodamage.output.writer import (
    ROWS_AT_ONCE,
    GeometryType,
    VectorWriter,
    check_count,
    common_type,
    partial_names_allowed,
)


def write_layer(
    frame: pd.DataFrame,
    package: Path,
    layer: str,
    kind: GeometryType | None = "MultiPolygon",
    *,
    append: bool = False,
) -> None:
    """Write rows into a layer of a GeoPackage, which may still have the name of a partial file.

    Parameters
    ----------
    frame
        The rows.
    package
        The GeoPackage; it is made if it is not there.
    layer
        Name of the layer.
    kind
        Geometry type that the layer declares; None makes a table.
    append
        Add the rows to a layer that is there.
    """
    with partial_names_allowed():
        pyogrio.write_dataframe(
            frame,
            package,
            layer=layer,
            driver="GPKG",
            append=append,
            geometry_type=kind,
            promote_to_multi=kind == "MultiPolygon",
        )


def write_layers(
    layers: Mapping[str, pd.DataFrame],
    package: Path,
    kinds: Mapping[str, GeometryType] = MappingProxyType({}),
) -> None:
    """Write the layers of a GeoPackage again, and check that every row has arrived.

    Parameters
    ----------
    layers
        Rows by the name of their layer; those without shapes become a table.
    package
        The GeoPackage, which may still have the name of a partial file.
    kinds
        Geometry types that layers declare; `MultiPolygon` unless said. For `Unknown`, what all
        shapes of the layer are is declared.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    with output_errors(package):
        package.unlink(missing_ok=True)
        for name, frame in layers.items():
            has_shapes = isinstance(frame, gpd.GeoDataFrame)
            kind = kinds.get(name, "MultiPolygon") if has_shapes else None
            if kind == "Unknown":
                kind = common_type(frame.geometry)
            write_layer(frame, package, name, kind)
            check_count(package, name, len(frame))
            if kind is not None:
                store_styles(package, name, list(frame.columns))


class GeoPackageWriter(VectorWriter):
    """GeoPackage, appended to batch by batch."""

    def _open(self) -> None:
        self.path.unlink(missing_ok=True)
        self._count = 0
        self._append(empty_frame(self.crs, self.fields), append=False)

    def _write(self, frame: gpd.GeoDataFrame) -> None:
        self._append(frame, append=True)

    def _append(self, frame: gpd.GeoDataFrame, *, append: bool) -> None:
        write_layer(frame, self.path, self.layer, self.geometry_type, append=append)
        self._count += len(frame)

    def _finish(self) -> None:
        check_count(self.path, self.layer, self._count)
        store_styles(self.path, self.layer, [field.name for field in self.fields])

    def _release(self) -> None:
        """Nothing is open between batches."""


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
            partial_names_allowed(),
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
        check_count(target, self.layer, self._count)
        target.replace(self.path)

    def _declared_type(self) -> str:
        """Return the type that all geometries have, if there is one."""
        return next(iter(self._types)) if len(self._types) == 1 else "Unknown"

    def _release(self) -> None:
        self._spool.discard()
        with suppress(OSError):
            self._spool_path.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)
