"""Files of footprints: polygons that a user gives, with their identities and attributes."""

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS

from geodamage.buildings.identities import Former
from geodamage.datums import datum_doubt
from geodamage.errors import FootprintError
from geodamage.fields import NAMES, Field, attribute_fields
from geodamage.grid import Grid, transformer
from geodamage.output.writer import GeometryType, common_type
from geodamage.scene.scene import Scene
from geodamage.scene.shift import Shift
from geodamage.vector.layer import VectorLayer, plain_column
from geodamage.vector.placing import densified
from geodamage.vector.reading import read_vector
from geodamage.words import counted

#: Columns that hold the footprint's own identity, looked for in this order.
ID_COLUMNS = ("building_id", "id", "uid", "osm_id", "fid")

#: Bytes of a footprint with two attributes, and of each vertex: 300,000 squares took 330 MB.
_FOOTPRINT_BYTES, _VERTEX_BYTES = 900, 40

#: Shapes that are moved to another CRS at once.
SHAPES_AT_ONCE = 20_000


@dataclass(frozen=True)
class Footprints:
    """Footprints of a scene.

    Attributes
    ----------
    frame
        `building_id` (unique), `geometry` (may be null) in the CRS of the scene's grid, and the
        attributes that are kept.
    source
        Name of the file, and of the layer where it was chosen.
    duplicates
        Number of identities that were given a suffix.
    repaired
        Number of geometries that crossed themselves and were made valid.
    kept
        The attributes that are kept.
    broken
        Number of features that could not be read.
    notes
        What a user should know.
    shift
        How far the geometries lie off the pre image, where they are graded elsewhere for it.
    """

    frame: gpd.GeoDataFrame
    source: str
    duplicates: int
    repaired: int
    kept: tuple[Field, ...] = ()
    broken: int = 0
    notes: tuple[str, ...] = ()
    shift: Shift | None = None

    @property
    def shapes(self) -> np.ndarray:
        """The geometries."""
        shapes: np.ndarray = self.frame.geometry.to_numpy()
        return shapes

    @property
    def resident_bytes(self) -> int:
        """Memory that stays taken while they are graded, about."""
        vertices = int(shapely.get_num_coordinates(self.shapes).sum())
        return _FOOTPRINT_BYTES * len(self.shapes) + _VERTEX_BYTES * vertices

    @property
    def geometry_type(self) -> GeometryType:
        """What all geometries are, for formats that declare it."""
        return common_type(self.frame.geometry)

    def placed(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the geometries where they are graded, and how far each was moved, CRS units."""
        shapes = self.shapes
        if self.shift is None:
            return shapes, np.zeros(len(shapes))
        centres = shapely.centroid(shapes)
        off = np.column_stack(self.shift(shapely.get_x(centres), shapely.get_y(centres)))
        by_vertex = np.repeat(off, shapely.get_num_coordinates(shapes), axis=0)
        moved: np.ndarray = shapely.transform(shapes, lambda points: points - by_vertex)
        is_somewhere = np.isfinite(shapely.get_x(centres))
        return moved, np.where(is_somewhere, np.hypot(*off.T), 0.0)

    def require_overlap(self, scene: Scene) -> None:
        """Raise `FootprintError` if no footprint lies in a scene."""
        region = scene.grid.window_bounds(scene.region)
        shapes = self.frame.geometry.to_numpy()
        if not shapely.intersects(shapes, shapely.box(*region)).any():
            if _is_met_exchanged(shapes, scene.grid, shapely.box(*region)):
                raise FootprintError(
                    f"{self.source}: latitude and longitude are exchanged; write longitude first"
                )
            own = [round(float(v), 1) for v in self.frame.total_bounds]
            raise FootprintError(
                f"{self.source}: no footprint lies in the scene; they cover {own}, the scene "
                f"{[round(v, 1) for v in region]} in {scene.grid.crs.to_string()}"
            )


def read_footprints(
    path: str | PathLike[str],
    grid: Grid,
    *,
    id_field: str | None = None,
    keep: str = "none",
    skip_broken: bool = False,
    may_be_empty: bool = False,
) -> Footprints:
    """Read footprints of a vector file in any CRS.

    Parameters
    ----------
    path
        A file, or `file:layer`.
    grid
        Grid of the scene.
    id_field
        Field that holds their identity.
    keep
        `all` attributes that are not called like a field of a result, `none`, or their names.
    skip_broken
        Go on where features are broken.
    may_be_empty
        Whether there may be no polygon.

    Raises
    ------
    FootprintError
        If the file cannot be read, has no CRS, no polygons or no such field, or features are
        broken.
    """
    path = Path(path)
    layer = _layer(path, skip_broken)
    identities, duplicates = _identities(layer, path, id_field)
    attributes = kept_attributes(layer, keep, path)
    source, own_crs, notes = layer.source, CRS(layer.frame.crs), layer.notes
    lost, shapes = layer.broken, layer.frame.geometry.to_numpy().copy()
    del layer  # its shapes and columns take as much again
    _place_in_plane(shapes, own_crs, grid, path)
    broken = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    if not may_be_empty:
        _require_polygons(shapes, path)
    own = gpd.GeoDataFrame(
        {"building_id": identities, **attributes},
        geometry=gpd.GeoSeries(shapes, crs=grid.crs),
        crs=grid.crs,
    )
    kept = attribute_fields(own)
    doubt = datum_doubt(str(path), own_crs, grid.crs, grid.bounds)
    notes = (*notes, *([doubt] if doubt else []))
    return Footprints(own, source, duplicates, int(broken.sum()), kept, lost, notes)


def check_footprints(
    path: Path, *, id_field: str | None = None, keep: str = "none", skip_broken: bool = False
) -> None:
    """Check what `read_footprints` would, as far as no scene is needed.

    Raises
    ------
    FootprintError
        If the file cannot be read, has no CRS, no polygons or no such field, or features are
        broken.
    """
    layer = _layer(path, skip_broken)
    _require_field(layer, path, id_field)
    kept_attributes(layer, keep, path)
    _require_polygons(layer.frame.geometry.to_numpy(), path)


def _layer(path: Path, skip_broken: bool) -> VectorLayer:
    remedy = "fix them, or give --skip-broken to go on without"
    return read_vector(path, skip_broken=skip_broken, remedy=remedy, refusal=FootprintError)


def _require_polygons(shapes: np.ndarray, path: Path) -> None:
    if not np.isin(shapely.get_type_id(shapes), (3, 6, 7)).any():
        raise FootprintError(f"{path}: holds no polygon; give building footprints")


def kept_attributes(layer: VectorLayer, keep: str, path: Path) -> dict[str, pd.Series]:
    """Return the attributes of footprints that come with the result, by name.

    Raises
    ------
    FootprintError
        If one is asked for that is not there, or is called like a field of the result.
    """
    ours = {*NAMES, "fid", "ogc_fid", "geom", "geometry"}
    if keep in ("all", "none"):
        wanted = layer.attributes if keep == "all" else []
    else:
        wanted = [name.strip() for name in keep.split(",")]
        for name in wanted:
            if name not in layer.attributes:
                listed = ", ".join(layer.attributes) or "none"
                raise FootprintError(f"--keep {name}: {path} has no such field; it has {listed}")
            if name.lower() in ours:
                raise FootprintError(
                    f"--keep {name}: a name of our own fields; rename it in {path}"
                )
    found: dict[str, pd.Series] = {}
    for name in wanted:
        if name.lower() not in {*ours, *map(str.lower, found)}:
            found[name] = plain_column(layer.frame[name])
    return found


def read_former(path: str | PathLike[str], scene: Scene) -> Former:
    """Read the buildings of an earlier result, for their identities.

    Raises
    ------
    FootprintError
        If it is no such result, or of another place.
    """
    found = read_footprints(path, scene.grid, id_field="building_id", may_be_empty=True)
    if len(found.frame):  # an earlier run may have found no building
        found.require_overlap(scene)
    return Former(found.frame["building_id"].tolist(), found.frame.geometry.to_numpy())


def _place_in_plane(shapes: np.ndarray, crs: CRS, grid: Grid, path: Path) -> None:
    """Move shapes to the CRS of a grid, in place and some at a time: each step makes new ones."""
    unplaced = 0
    for start in range(0, len(shapes), SHAPES_AT_ONCE):
        part = slice(start, start + SHAPES_AT_ONCE)
        dense = densified(shapely.force_2d(shapes[part]), crs)
        flat = gpd.GeoSeries(dense, crs=crs).to_crs(grid.crs).to_numpy()
        is_finite = np.isfinite(shapely.bounds(flat)).all(1)
        unplaced += int((~is_finite & ~shapely.is_missing(flat) & ~shapely.is_empty(flat)).sum())
        shapes[part] = flat
    if unplaced:
        raise FootprintError(
            f"{path}: {counted(unplaced, 'footprint has', 'footprints have')} no place in "
            f"{grid.crs.to_string()}; their CRS ({crs.to_string()}) is probably wrong"
        )


def _identities(layer: VectorLayer, path: Path, id_field: str | None) -> tuple[list[str], int]:
    _require_field(layer, path, id_field)
    column, others = _identity_columns(layer, id_field)
    given = [
        str(other) if value is None or value is pd.NA or value != value else _text(value)
        for value, other in zip(column, others, strict=True)
    ]
    taken = set(given)
    seen: dict[str, int] = {}
    unique, duplicates = [], 0
    for identity in given:
        times = seen[identity] = seen.get(identity, 0) + 1
        fresh = identity
        while times > 1 and fresh in taken:
            fresh = f"{identity}-{times}"
            times += 1
        duplicates += fresh != identity
        taken.add(fresh)
        unique.append(fresh)
    return unique, duplicates


def _require_field(layer: VectorLayer, path: Path, id_field: str | None) -> None:
    # A GeoJSON without features has no fields either.
    if id_field is not None and len(layer.frame) and id_field not in layer.attributes:
        names = ", ".join(layer.attributes)
        raise FootprintError(f"{path}: no field {id_field!r}; it has {names or 'none'}")


def _identity_columns(
    layer: VectorLayer, id_field: str | None
) -> tuple[Iterable[object], Iterable[object]]:
    """Return what the features are called, and what those are that have no name."""
    places: Iterable[object] = range(len(layer.frame))
    numbers = places if layer.numbers is None else layer.numbers
    if id_field is None and layer.identities is not None and "building_id" not in layer.attributes:
        return layer.identities, numbers
    name = id_field or next((c for c in ID_COLUMNS if c in layer.attributes), None)
    return layer.frame[name] if name in layer.attributes else numbers, numbers


def _text(value: object) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole and isinstance(value, float) else str(value)


def _is_met_exchanged(shapes: np.ndarray, grid: Grid, region: shapely.Polygon) -> bool:
    """Say whether footprints lie in a scene once longitude and latitude have changed places."""
    to_lonlat = transformer(grid.crs, "OGC:CRS84")

    def exchange(points: np.ndarray) -> np.ndarray:
        lon, lat = to_lonlat.transform(points[:, 0], points[:, 1])
        return np.column_stack(to_lonlat.transform(lat, lon, direction="INVERSE"))

    moved = shapely.transform(shapes, exchange)
    moved[~np.isfinite(shapely.bounds(moved)).all(axis=1)] = None
    return bool(shapely.intersects(moved, region).any())
