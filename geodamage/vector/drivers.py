"""Layers that GDAL reads: with the one driver that the content of the file calls for."""

import sqlite3
import warnings
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyogrio
from pyogrio import raw
from pyproj import CRS
from pyproj.exceptions import CRSError

from geodamage.errors import InputError, SceneError, SceneReadError, without_advice
from geodamage.sources import VECTOR_ERRORS
from geodamage.vector.formats import KNOWN, Format, open_database
from geodamage.vector.layer import Content, require_few
from geodamage.vector.surfaces import read_geometries

#: Whole numbers up to this one survive in a column of floats.
_EXACT = 2**53

#: The layer that stands beside the buildings of a result; it is read only where it is named.
BESIDE = "assessed_area"

#: Warnings of pyogrio of what is no loss here: measures, and names of files.
_NO_LOSS = ("Measured (M)", "extension")


def read_driver(path: Path, form: Format, layer: str | None) -> Content:
    """Read a layer by its driver of GDAL.

    Raises
    ------
    SceneReadError
        If it cannot be read.
    SceneError
        If the layer is not there, or several are and none is chosen.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            chosen = _chosen(path, form, layer)
            meta, fids, wkb, columns = raw.read(
                form.path,
                layer=chosen,
                return_fids=True,
                datetime_as_string=True,
                **dict(form.options),
            )
            values = _columns(form, chosen, meta, fids, columns)
        except InputError:
            raise
        # pyogrio 0.13 trips over its own variable where the name of a CRS is no UTF-8.
        except (*VECTOR_ERRORS, UnboundLocalError) as error:
            is_crs = isinstance(error, UnboundLocalError)
            why = "its CRS is no text in UTF-8" if is_crs else without_advice(error)
            raise SceneReadError(f"{path}: not a readable vector file ({why})") from error
    notes = {str(w.message) for w in said if not any(n in str(w.message) for n in _NO_LOSS)}
    if wkb is None:
        raise SceneError(f"{path}: a table without geometry; give polygons")
    shapes, broken = read_geometries(wkb)
    if form.name == "GPKG":
        broken |= dict.fromkeys(_damaged(form, chosen, wkb, fids), "its geometry is damaged")
    numbers = None if fids is None else [int(fid) for fid in fids]
    crs = _crs(path, meta["crs"])
    if form.name == "ESRI Shapefile" and not len(meta["fields"]):
        notes.add("has no .dbf beside it, so it comes without attributes")
    told = tuple(f"{path}: {note}" for note in sorted(notes))
    return Content(values, shapes, crs, None, numbers, broken, notes=told)


def _chosen(path: Path, form: Format, layer: str | None) -> str:
    """Return the layer to read, and check that the driver is the one it should be."""
    layers = form.layers
    if layers is None:
        layers = tuple(str(name) for name, kind in pyogrio.list_layers(form.path) if kind)
    listed = ", ".join(layers) or "none"
    if layer is not None and layer not in layers:
        raise SceneError(f"{path}: no layer {layer!r}; it has {listed}")
    if not layers:
        raise SceneError(f"{path}: a table without geometry; give polygons")
    # A result of ours has its assessed area beside its buildings.
    meant = [name for name in layers if name != BESIDE] or layers
    if layer is None and len(meant) > 1:
        raise SceneError(f"{path}: several layers ({listed}); choose one as {path.name}:LAYER")
    chosen = layer or meant[0]
    about = pyogrio.read_info(form.path, layer=chosen, **dict(form.options))
    if about["driver"] != form.name:
        raise SceneError(
            f"{path}: opened as {about['driver']} instead of {form.name}; give {KNOWN}"
        )
    require_few(path, len(about["fields"]))
    return chosen


def _damaged(form: Format, layer: str, wkb: np.ndarray, fids: Any) -> list[int]:
    """Return the features of a GeoPackage that have a geometry, of which GDAL made none."""
    lacking = {int(fid): n for n, fid in enumerate(fids) if wkb[n] is None}
    if not lacking:
        return []
    try:
        with closing(open_database(Path(form.path))) as base:
            known = "SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?"
            (column,) = base.execute(known, (layer,)).fetchone()
            table, name = (text.replace('"', '""') for text in (layer, str(column)))
            rows = base.execute(f'SELECT rowid FROM "{table}" WHERE length("{name}") > 0')
            return sorted(lacking[row] for (row,) in rows if row in lacking)
    except (sqlite3.Error, TypeError):  # a view has no such rows
        return []


def _crs(path: Path, told: str | None) -> CRS | None:
    if not told:
        return None
    try:
        return CRS.from_user_input(told)
    except CRSError as error:
        raise SceneError(f"{path}: its CRS is not known; assign one (ogr2ogr -a_srs)") from error


def _columns(
    form: Format, layer: str | None, meta: dict[str, Any], fids: Any, columns: Any
) -> pd.DataFrame:
    """Return attributes; whole numbers beside a null are read again, as floats round them."""
    names = [str(name) for name in meta["fields"]]
    found: dict[str, Any] = {}
    for name, values in zip(names, columns, strict=True):
        found[name] = values
        if values.dtype.kind == "f" and (np.abs(values[np.isfinite(values)]) >= _EXACT).any():
            found[name] = _exact(form, layer, name, fids, values)
    return pd.DataFrame(found, index=range(len(fids)))


def _exact(form: Format, layer: str | None, name: str, fids: Any, values: Any) -> Any:
    quoted = name.replace('"', '""')
    _, own, _, (column,) = raw.read(
        form.path,
        layer=layer,
        columns=[name],
        read_geometry=False,
        return_fids=True,
        where=f'"{quoted}" IS NOT NULL',
        **dict(form.options),
    )
    if column.dtype.kind not in "iu":
        return values
    known = dict(zip(own.tolist(), column.tolist(), strict=True))
    exact = np.empty(len(values), object)
    exact[:] = [known.get(fid) for fid in fids.tolist()]
    return exact
