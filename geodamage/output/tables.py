"""CSV of buildings: outlines as well-known text in WGS 84, for spreadsheets and for scripts."""

from contextlib import suppress
from typing import IO, ClassVar

import geopandas as gpd
import pandas as pd
import shapely

from geodamage.fields import empty_frame
from geodamage.grid import transformer
from geodamage.output.geojson import DECIMALS, to_rfc7946
from geodamage.output.writer import VectorWriter

#: Column of the outlines, the last one; every reader of CSV with geometry knows the name.
SHAPE_COLUMN = "wkt"


class CsvWriter(VectorWriter):
    """Commas, UTF-8, one row a building; what is null is empty, flags are true and false.

    Numbers keep the decimals of their field, and outlines have at most seven. There is no byte
    order mark: readers of CSV would take it for a part of the first name.
    """

    #: Whether the last column holds the outlines.
    with_shapes: ClassVar[bool] = True

    def _open(self) -> None:
        self._to_wgs84 = transformer(self.crs, "OGC:CRS84")
        self._file: IO[str] = self.path.open("w", encoding="utf-8", newline="")
        names = pd.DataFrame(empty_frame(self.crs, self.fields).drop(columns="geometry"))
        if self.with_shapes:
            names[SHAPE_COLUMN] = pd.Series(dtype=str)
        names.to_csv(self._file, index=False, lineterminator="\n")

    def _write(self, frame: gpd.GeoDataFrame) -> None:
        table = table_of(frame)
        if self.with_shapes:
            shapes = to_rfc7946(frame.geometry.to_numpy(), self._to_wgs84)
            table[SHAPE_COLUMN] = shapely.to_wkt(shapes, rounding_precision=DECIMALS)
        table.to_csv(self._file, index=False, header=False, lineterminator="\n")

    def _finish(self) -> None:
        self._file.close()

    def _release(self) -> None:
        # What is still in the buffer goes to the disk here, and may not fit again.
        with suppress(OSError):
            self._file.close()


class PlainCsvWriter(CsvWriter):
    """A CSV without outlines: `lon` and `lat` are the place of a building."""

    with_shapes = False


def table_of(frame: gpd.GeoDataFrame) -> pd.DataFrame:
    """Return the attributes of conformed buildings with flags as GDAL and databases write them."""
    table = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    for name in table.columns:
        if str(table[name].dtype) == "boolean":
            table[name] = table[name].map({True: "true", False: "false"})
    return table
