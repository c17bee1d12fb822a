"""Roll-ups: buildings counted by cell of a grid, and by administrative area."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS

from geodamage.damage import GRADES
from geodamage.datums import datum_doubt
from geodamage.errors import OptionError, SceneError
from geodamage.event.looks import LONLAT
from geodamage.grid import transformer, utm_zone
from geodamage.output.geojson import to_rfc7946
from geodamage.vector.layer import plain_column
from geodamage.vector.placing import densified
from geodamage.vector.reading import read_vector

#: Field of each grade, as a part of a name.
GRADE_FIELDS = {grade: grade.label.replace("-", "_") for grade in GRADES}
#: Fields of every roll-up, in order.
TALLY_FIELDS = (
    "buildings",
    "assessed",
    "not_assessed",
    *GRADE_FIELDS.values(),
    *(f"share_{name}" for name in GRADE_FIELDS.values()),
    *(f"area_m2_{name}" for name in GRADE_FIELDS.values()),
    "damaged",
    "share_damaged",
)
#: Fields of a roll-up of buildings that have the field `people`, after those above.
PEOPLE_FIELDS = (
    "people",
    "people_assessed",
    "people_not_assessed",
    *(f"people_{name}" for name in GRADE_FIELDS.values()),
    "people_damaged",
)
#: Fields that administrative areas have besides, where people were counted.
AREA_FIELDS = (
    "people_of_area",
    "people_damaged_estimate",
    "people_damaged_low",
    "people_damaged_high",
)


@dataclass(frozen=True)
class Admin:
    """Administrative areas.

    Attributes
    ----------
    frame
        The name field and polygons, in longitude and latitude.
    field
        Name of the name field.
    source
        Name of the file.
    doubt
        What a user should know of the way of its places to longitude and latitude, or None.
    """

    frame: gpd.GeoDataFrame
    field: str
    source: str
    doubt: str | None = None


def tally(buildings: pd.DataFrame, unit: np.ndarray, units: int) -> pd.DataFrame:
    """Count buildings by unit.

    Counts, shares and areas by grade are of assessed buildings only, partial ones among them;
    those that were not assessed are counted apart. Shares are null where none was assessed.

    Parameters
    ----------
    buildings
        Every field of `geodamage.fields.FIELDS`, and `people` where people were shared out.
    unit
        int64 (n,): the unit that each building lies in, 0 to `units` - 1; -1 in none.
    units
        Number of units.

    Returns
    -------
    DataFrame
        `TALLY_FIELDS`, and `PEOPLE_FIELDS` where there are people; a row per unit.
    """
    grade = buildings["damage_class"].to_numpy(dtype="float64", na_value=0.0).astype(np.int64)
    damaged = buildings["damaged"].to_numpy(dtype=bool, na_value=False)
    area = buildings["area_m2"].to_numpy(dtype=np.float64, na_value=0.0)

    def count(chosen: np.ndarray) -> np.ndarray:
        return np.bincount(unit[chosen & (unit >= 0)], minlength=units).astype(np.int32)

    def measure(chosen: np.ndarray) -> np.ndarray:
        chosen = chosen & (unit >= 0)
        return np.round(np.bincount(unit[chosen], area[chosen], minlength=units), 2)

    assessed = count(grade > 0)
    counts = {name: count(grade == number) for number, name in GRADE_FIELDS.items()}
    counts["damaged"] = count((grade > 0) & damaged)
    values = {
        "buildings": count(np.ones(len(unit), bool)),
        "assessed": assessed,
        "not_assessed": count(grade == 0),
        **counts,
        **{f"share_{name}": _share(part, assessed) for name, part in counts.items()},
        **{f"area_m2_{name}": measure(grade == n) for n, name in GRADE_FIELDS.items()},
    }
    names = TALLY_FIELDS
    if "people" in buildings:
        values |= _people(buildings["people"].to_numpy(), grade, damaged, unit, units)
        names += PEOPLE_FIELDS
    return pd.DataFrame({name: values[name] for name in names})


def _people(
    people: np.ndarray, grade: np.ndarray, damaged: np.ndarray, unit: np.ndarray, units: int
) -> dict[str, np.ndarray]:
    """Return `PEOPLE_FIELDS`, float64 (units,) each; null where no building has a number."""
    known = np.isfinite(people) & (unit >= 0)
    numbered = np.bincount(unit[known], minlength=units) > 0

    def live(chosen: np.ndarray) -> np.ndarray:
        chosen = chosen & known
        total = np.bincount(unit[chosen], people[chosen], minlength=units)
        return np.where(numbered, np.round(total, 6), np.nan)

    return {
        "people": live(np.ones(len(unit), bool)),
        "people_assessed": live(grade > 0),
        "people_not_assessed": live(grade == 0),
        **{f"people_{name}": live(grade == number) for number, name in GRADE_FIELDS.items()},
        "people_damaged": live((grade > 0) & damaged),
    }


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    share: np.ndarray = np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 0)
    return share


def roll_up_by_grid(buildings: pd.DataFrame, cell: float) -> gpd.GeoDataFrame:
    """Count buildings by cell.

    Cells are squares of the UTM zone that a building lies in, and their corners are multiples of
    the cell size there. So a cell, and its name, do not depend on the event around it.

    Parameters
    ----------
    buildings
        Every field.
    cell
        Side, metres.

    Returns
    -------
    GeoDataFrame
        `cell_id` (EPSG code of the zone, easting and northing of the south-western corner) and
        `TALLY_FIELDS`; only cells with a building; in longitude and latitude.
    """
    lon, lat = (buildings[name].to_numpy(dtype=np.float64) for name in ("lon", "lat"))
    placed = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    cells = np.zeros((len(placed), 3), np.int64)
    cells[:, 0] = utm_zone(lon[placed], lat[placed])
    for zone in np.unique(cells[:, 0]):
        own = cells[:, 0] == zone
        to_utm = transformer(LONLAT, CRS.from_epsg(int(zone)))
        x, y = to_utm.transform(lon[placed][own], lat[placed][own])
        cells[own, 1] = np.floor(np.asarray(x) / cell)
        cells[own, 2] = np.floor(np.asarray(y) / cell)
    distinct, number = np.unique(cells, axis=0, return_inverse=True)
    unit = np.full(len(buildings), -1, np.int64)
    unit[placed] = number.ravel()
    names = [f"{zone}-{x * cell:.0f}-{y * cell:.0f}" for zone, x, y in distinct.tolist()]
    table = tally(buildings, unit, len(distinct))
    table.insert(0, "cell_id", pd.Series(names, dtype="string"))
    return gpd.GeoDataFrame(table, geometry=_squares(distinct, cell), crs=LONLAT)


def _squares(cells: np.ndarray, cell: float) -> np.ndarray:
    """Return the squares of cells in longitude and latitude."""
    squares = np.empty(len(cells), object)
    for zone in np.unique(cells[:, 0]):
        own = cells[:, 0] == zone
        x, y = cells[own, 1] * cell, cells[own, 2] * cell
        to_lonlat = transformer(CRS.from_epsg(int(zone)), LONLAT)
        squares[own] = to_rfc7946(shapely.box(x, y, x + cell, y + cell), to_lonlat)
    return squares


def read_admin(path: Path, field: str | None = None) -> Admin:
    """Read administrative areas.

    Parameters
    ----------
    path
        A vector file with a CRS.
    field
        The field with their names; `name`, however it is written, where None.

    Raises
    ------
    SceneReadError, SceneError
        If the file cannot be read, or has no CRS or no polygon.
    OptionError
        If it lacks the field, or the field is called like one of ours.
    """
    found = read_vector(path)
    frame = found.frame[found.frame.geom_type.isin(["Polygon", "MultiPolygon"])]
    if frame.empty:
        raise SceneError(f"{path}: no polygon in it; administrative areas are polygons")
    field = _name_field(frame.columns.drop(frame.geometry.name), path, field)
    crs = CRS.from_user_input(frame.crs)
    to_lonlat = transformer(crs, LONLAT)
    valid = shapely.make_valid(shapely.force_2d(frame.geometry.to_numpy()))
    shapes = densified(valid, crs)
    names = plain_column(frame[field].reset_index(drop=True)).astype("string")
    own = gpd.GeoDataFrame({field: names}, geometry=to_rfc7946(shapes, to_lonlat), crs=LONLAT)
    doubt = datum_doubt(found.source, crs, CRS.from_user_input(LONLAT), tuple(own.total_bounds))
    return Admin(own, field, found.source, doubt)


def _name_field(columns: Iterable[str], path: Path, field: str | None) -> str:
    names = [str(column) for column in columns]
    listed = ", ".join(names) or "none"
    if field is None:
        field = next((name for name in names if name.lower() == "name"), None)
    if field is None:
        raise OptionError(f"{path}: no field called name; choose by --admin-name: {listed}")
    if field not in names:
        raise OptionError(f"--admin-name {field}: {path} has no such field; it has {listed}")
    if field.lower() in {*TALLY_FIELDS, *PEOPLE_FIELDS, *AREA_FIELDS, "fid", "geom", "geometry"}:
        raise OptionError(f"--admin-name {field}: a name of our own fields; rename it in {path}")
    return field


def roll_up_by_admin(buildings: pd.DataFrame, admin: Admin) -> tuple[gpd.GeoDataFrame, int]:
    """Count buildings by administrative area.

    A building lies in the area that its representative point lies in, the first where several
    overlap.

    Returns
    -------
    areas
        The name field and `TALLY_FIELDS`; every area, in longitude and latitude.
    outside
        Number of buildings in none.
    """
    lon, lat = (buildings[name].to_numpy(dtype=np.float64) for name in ("lon", "lat"))
    unit = np.full(len(buildings), -1, np.int64)
    placed = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    shapes = admin.frame.geometry.to_numpy()
    point, area = shapely.STRtree(shapes).query(
        shapely.points(lon[placed], lat[placed]), predicate="intersects"
    )
    # From the last area to the first, so that the first stays.
    order = np.argsort(-area, kind="stable")
    unit[placed[point[order]]] = area[order]
    table = tally(buildings, unit, len(shapes))
    table.insert(0, admin.field, admin.frame[admin.field])
    return gpd.GeoDataFrame(table, geometry=shapes, crs=LONLAT), int((unit == -1).sum())
