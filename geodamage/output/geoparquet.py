"""GeoParquet of buildings."""

import json
from contextlib import suppress
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geodamage.fields import empty_frame
from geodamage.output.writer import VectorWriter

#: Sides of a box. Source: GeoParquet 1.1.0 specification, bbox covering.
BOX = ("xmin", "ymin", "xmax", "ymax")


class GeoParquetWriter(VectorWriter):
    """GeoParquet 1.1, a row group per batch, each building with the box that it lies in.

    Readers skip row groups by the boxes. 2.0 waits until it is final and readers of 1.1 are few:
    they cannot read its geometries.
    """

    def _open(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._types: set[str] = set()
        self._bounds: list[np.ndarray] = []
        columns = pd.DataFrame(empty_frame(self.crs, self.fields).drop(columns="geometry"))
        plain = pa.Schema.from_pandas(columns, preserve_index=False)
        box = pa.struct([pa.field(name, pa.float64()) for name in BOX])
        self._schema = plain.append(pa.field("geometry", pa.binary())).append(pa.field("bbox", box))
        self._writer = pq.ParquetWriter(self.path, self._schema, compression="zstd")

    def _write(self, frame: gpd.GeoDataFrame) -> None:
        import pyarrow as pa

        present = frame.geometry.dropna()
        self._types.update(present.geom_type)
        if len(present):
            self._bounds.append(present.total_bounds)
        table = pd.DataFrame(frame.drop(columns="geometry"))
        table["geometry"] = shapely.to_wkb(frame.geometry.to_numpy(), flavor="iso")
        columns = pa.Table.from_pandas(
            table, self._schema.remove(len(self._schema) - 1), preserve_index=False
        )
        self._writer.write_table(columns.append_column(self._schema.field("bbox"), _boxes(frame)))

    def _finish(self) -> None:
        self._writer.add_key_value_metadata({"geo": json.dumps(self._metadata())})
        self._writer.close()

    def _metadata(self) -> dict[str, Any]:
        """Return the `geo` metadata. Source: GeoParquet 1.1.0 specification."""
        column: dict[str, Any] = {
            "encoding": "WKB",
            "geometry_types": sorted(self._types),
            "crs": self.crs.to_json_dict(),
            "covering": {"bbox": {name: ["bbox", name] for name in BOX}},
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


def _boxes(frame: gpd.GeoDataFrame) -> Any:
    """Return the boxes of buildings; null where there is no geometry."""
    import pyarrow as pa

    bounds = shapely.bounds(frame.geometry.to_numpy())
    parts = [pa.array(column) for column in bounds.T]
    return pa.StructArray.from_arrays(parts, BOX, mask=pa.array(np.isnan(bounds[:, 0])))
