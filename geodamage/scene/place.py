"""The place of a raster on the Earth: its CRS and transform, checked."""

from typing import Any

import numpy as np
from affine import Affine
from pyproj import CRS
from pyproj.exceptions import CRSError
from rasterio.errors import CRSError as RasterioCRSError

from geodamage.errors import SceneError
from geodamage.grid import Grid
from geodamage.scene.opening import reason_of
from geodamage.scene.unread import where_crs, where_transform


def place_of(name: str, dataset: Any) -> Grid:
    """Return where the pixels of an open dataset of rasterio lie.

    Raises
    ------
    SceneError
        If it lies nowhere.
    """
    return Grid(_checked_crs(name, dataset), _checked_transform(name, dataset), dataset.shape)


def _checked_crs(name: str, dataset: Any) -> CRS:
    try:
        wkt = dataset.crs.to_wkt() if dataset.crs else None
        crs = CRS.from_wkt(wkt) if wkt else None
    except (CRSError, RasterioCRSError) as error:
        raise SceneError(f"{name}: its CRS is not known ({reason_of(error)})") from error
    hint = "assign the right one with gdal_edit.py -a_srs EPSG:nnnn"
    if crs is None:
        gcps, rpcs = dataset.gcps[0], dataset.rpcs
        if gcps or rpcs:
            what = "ground control points" if gcps else "RPCs"
            raise SceneError(f"{name}: placed by {what} only; warp it first with gdalwarp")
        raise SceneError(f"{name}: has no CRS; {where_crs(name) or hint}")
    if crs.type_name == "Engineering CRS":  # what GDAL makes of a code that is not in PROJ
        raise SceneError(
            f"{name}: PROJ does not know its CRS, {crs.name!r}: an unknown EPSG code, or local "
            f"to a site; {hint}"
        )
    if not (crs.is_projected or crs.is_geographic):
        raise SceneError(f"{name}: {crs.name!r} is not a CRS of the Earth's surface; {hint}")
    return crs


def _checked_transform(name: str, dataset: Any) -> Affine:
    transform: Affine = dataset.transform
    if not np.isfinite(transform[:6]).all() or abs(transform.determinant) < 1e-300:
        raise SceneError(f"{name}: its transform {tuple(transform)[:6]} is not one")
    if transform == Affine.identity():
        if dataset.gcps[0] or dataset.rpcs:
            raise SceneError(f"{name}: placed by control points only; warp it first with gdalwarp")
        hint = where_transform(name) or "georeference it in a GIS"
        raise SceneError(f"{name}: not georeferenced (no transform); {hint}")
    return transform
