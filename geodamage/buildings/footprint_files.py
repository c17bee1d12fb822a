"""Files of footprints: polygons that a user gives, with their identities and attributes."""

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Transformer

from geodamage.buildings.identities import Former
from geodamage.datums import datum_doubt
from geodamage.errors import FootprintError
from geodamage.fields import NAMES, Field, Kind
from geodamage.grid import Grid
from geodamage.output.writer import GeometryType
from geodamage.scene.scene import Scene
from geodamage.scene.shift import Shift
from geodamage.vector.layer import VectorLayer, plain_column
from geodamage.vector.placing import densified
from geodamage.vector.reading import read_vector
from geodamage.words import counted

#: Columns that hold the footprint's own identity, looked for in this order.
ID_COLUMNS = ("building_id", "id", "uid", "osm_id", "fid")


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
    def geometry_type(self) -> GeometryType:
        """What all geometries are, for formats that declare it."""
        kinds = set(self.frame.geometry.geom_type.dropna())
        if kinds <= {"Polygon"}:
            return "Polygon"
        return "MultiPolygon" if kinds <= {"Polygon", "MultiPolygon"} else "Unknown"

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
    remedy = "fix them, or give --skip-broken to go on without"
    layer = read_vector(path, skip_broken=skip_broken, remedy=remedy, refusal=FootprintError)
    frame = layer.frame
    identities, duplicates = _identities(layer, path, id_field)
    shapes = _in_plane(frame, grid, path)
    broken = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    shapes[broken] = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    kinds = set(np.unique(shapely.get_type_id(shapes)).tolist())
    if not (kinds & {3, 6, 7} or may_be_empty):
        raise FootprintError(f"{path}: holds no polygon; give building footprints")
    attributes = kept_attributes(layer, keep, path)
    own = gpd.GeoDataFrame(
        {"building_id": identities, **attributes},
        geometry=gpd.GeoSeries(shapes, crs=grid.crs),
        crs=grid.crs,
    )
    kept = tuple(_field_of(name, values) for name, values in attributes.items())
    doubt = datum_doubt(str(path), CRS(frame.crs), grid.crs, grid.bounds)
    notes = (*layer.notes, *([doubt] if doubt else []))
    return Footprints(own, layer.source, duplicates, int(broken.sum()), kept, layer.broken, notes)


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


def _field_of(name: str, values: pd.Series) -> Field:
    kinds: dict[str, Kind] = {"boolean": "flag", "Int64": "long", "float64": "number"}
    kind = kinds.get(str(values.dtype), "text")
    return Field(name, kind, "attribute of the footprint", nullable=True)


def read_former(path: str | PathLike[str], scene: Scene) -> Former:
    """Read the buildings of an earlier result, for their identities.

    Raises
    ------
    FootprintError
        If it is no such result, or of another place.
    """
    found = read_footprints(path, scene.grid, id_field="building_id")
    found.require_overlap(scene)
    return Former(found.frame["building_id"].tolist(), found.frame.geometry.to_numpy())


def _in_plane(frame: gpd.GeoDataFrame, grid: Grid, path: Path) -> np.ndarray:
    shapes = densified(shapely.force_2d(frame.geometry.to_numpy()), CRS(frame.crs))
    flat = gpd.GeoSeries(shapes, crs=frame.crs).to_crs(grid.crs).to_numpy().copy()
    bounds = shapely.bounds(flat)
    unplaced = ~np.isfinite(bounds).all(1) & ~shapely.is_missing(flat) & ~shapely.is_empty(flat)
    if unplaced.any():
        _refuse_exchanged(frame, path)
        raise FootprintError(
            f"{path}: {counted(int(unplaced.sum()), 'footprint has', 'footprints have')} no "
            f"place in {grid.crs.to_string()}; "
            f"their CRS ({frame.crs.to_string()}) is probably wrong"
        )
    placed: np.ndarray = flat
    return placed


def _identities(layer: VectorLayer, path: Path, id_field: str | None) -> tuple[list[str], int]:
    if id_field is not None and id_field not in layer.attributes:
        names = ", ".join(layer.attributes)
        raise FootprintError(f"{path}: no field {id_field!r}; it has {names or 'none'}")
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


def _identity_columns(
    layer: VectorLayer, id_field: str | None
) -> tuple[Iterable[object], Iterable[object]]:
    """Return what the features are called, and what those are that have no name."""
    places: Iterable[object] = range(len(layer.frame))
    numbers = places if layer.numbers is None else layer.numbers
    if id_field is None and layer.identities is not None and "building_id" not in layer.attributes:
        return layer.identities, numbers
    name = id_field or next((c for c in ID_COLUMNS if c in layer.attributes), None)
    return numbers if name is None else layer.frame[name], numbers


def _text(value: object) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole and isinstance(value, float) else str(value)


def _is_met_exchanged(shapes: np.ndarray, grid: Grid, region: shapely.Polygon) -> bool:
    """Say whether footprints lie in a scene once longitude and latitude have changed places."""
    to_lonlat = Transformer.from_crs(grid.crs, "OGC:CRS84", always_xy=True)

    def exchange(points: np.ndarray) -> np.ndarray:
        lon, lat = to_lonlat.transform(points[:, 0], points[:, 1])
        return np.column_stack(to_lonlat.transform(lat, lon, direction="INVERSE"))

    moved = shapely.transform(shapes, exchange)
    moved[~np.isfinite(shapely.bounds(moved)).all(axis=1)] = None
    return bool(shapely.intersects(moved, region).any())


def _refuse_exchanged(frame: gpd.GeoDataFrame, path: Path) -> None:
    """Refuse degrees of which the second go beyond 90 and the first do not."""
    if CRS(frame.crs).is_geographic:
        left, bottom, right, top = np.abs(frame.total_bounds)
        if max(bottom, top) > 90 and max(left, right) <= 90 and max(bottom, top) <= 180:
            raise FootprintError(
                f"{path}: latitude and longitude are exchanged; write longitude first"
            )
