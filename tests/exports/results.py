"""Results to export and to compare, made in code: squares in a row, with their sidecar."""

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import Transformer

from geodamage.damage import LABELS, DamageGrade
from geodamage.fields import FIELDS, NAMES
from geodamage.output.publication import Publication
from geodamage.output.vectors import vector_writer
from tests.conftest import CORNER, UTM

TO_LONLAT = Transformer.from_crs(UTM, "OGC:CRS84", always_xy=True)
SIDE, STEP = 10.0, 20.0


def square(number):
    x, y = CORNER[0] + STEP * (number % 100), CORNER[1] - STEP * (number // 100)
    return shapely.box(x, y - SIDE, x + SIDE, y)


def middle(number):
    """Return longitude and latitude of the middle of a square."""
    point = square(number).centroid
    return TO_LONLAT.transform(point.x, point.y)


def make_frame(grades):
    """Return buildings of some grades; 0 is not assessed."""
    rows = []
    for number, grade in enumerate(grades):
        p = np.full(4, 0.1)
        if grade:
            p[grade - 1] = 0.7
        lon, lat = middle(number)
        graded = {
            "status": "not_assessed",
            "status_reason": "obscured_post",
            "valid_fraction": 0.25,
        }
        if grade:
            graded = {
                "damage": LABELS[DamageGrade(grade)], "damage_class": grade, "p_none": p[0],
                "p_minor": p[1], "p_major": p[2], "p_destroyed": p[3], "confidence": 0.7,
                "damage_score": (grade - 1) / 3, "damaged": grade > 1, "status": "assessed",
                "status_reason": None, "valid_fraction": 1.0,
            }  # fmt: skip
        rows.append({"building_id": f"b{number}", **graded, "area_m2": SIDE**2, "lon": lon,
                     "lat": lat, "source": "model"})  # fmt: skip
    frame = pd.DataFrame(rows, columns=list(NAMES))
    types = {"damage_class": "Int32", "damaged": "boolean"}
    shapes = [square(number) for number in range(len(grades))]
    return gpd.GeoDataFrame(frame.astype(types), geometry=shapes, crs=UTM)


def area_of(count):
    """Return what the sidecar says of the ground of so many squares, well-known text."""
    bounds = [square(number).bounds for number in range(count)]
    left, bottom = np.min(bounds, axis=0)[:2] - 20
    right, top = np.max(bounds, axis=0)[2:] + 20
    ring = shapely.get_coordinates(shapely.box(left, bottom, right, top))
    return shapely.Polygon(np.column_stack(TO_LONLAT.transform(*ring.T))).wkt


def make_result(path, grades=(1, 2, 3, 4, 0), *, area=True, frame=None, extra=(), **facts):
    """Write a result as `geodamage assess` does; `extra` are attributes of its footprints."""
    frame = make_frame(grades) if frame is None else frame
    told = {
        "statement": "preliminary", "created": "2026-11-30T06:46:38+00:00", "warnings": [],
        "buildings": len(frame), "date": "2026-08-12", "assessed_km2": 0.1,
        "model": {"name": "fast", "version": "1", "licence": "CC0-1.0"}, **facts,
    }  # fmt: skip
    if area:
        told["assessed_area"] = {"wkt": area_of(max(len(frame), 1)), "cell_m": 8.0}
    with Publication(overwrite=True) as publication:
        partial, fields = publication.partial(path), (*FIELDS, *extra)
        with vector_writer(partial, UTM_CRS, geometry_type="Polygon", fields=fields) as writer:
            writer.append(frame)
        publication.sidecar(path, told)
    return path


UTM_CRS = gpd.GeoSeries([], crs=UTM).crs
