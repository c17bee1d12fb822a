"""The product: the part of a result that is exported, before a format writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geodamage.errors import InputError
from geodamage.exports.schemas import Schema, Shape, apply_schema, fields_of
from geodamage.fields import FIELDS, NAMES, Field, conform, empty_frame
from geodamage.grid import transformer
from geodamage.output.geojson import to_rfc7946
from geodamage.output.layers import pair_doubt, read_facts, read_layer
from geodamage.output.seen_ground import LONLAT, area_frame, read_assessed_area
from geodamage.output.writer import common_type
from geodamage.report.event_view import is_event
from geodamage.report.findings import STATEMENT


@dataclass(frozen=True)
class Result:
    """A result as it was read.

    Attributes
    ----------
    path
        Its file.
    frame
        Every field of ours, the attributes of footprints, and `geometry`.
    facts
        What its sidecar says.
    area
        Assessed area in longitude and latitude; None if unknown.
    doubt
        What is wrong with the pair of file and sidecar; None if nothing is.
    """

    path: Path
    frame: gpd.GeoDataFrame
    facts: Mapping[str, Any]
    area: BaseGeometry | None
    doubt: str | None = None

    @property
    def date(self) -> str | None:
        """Date of the post image, of an event the last one; None if unknown."""
        for key in ("date", "last_date"):
            if self.facts.get(key):
                return str(self.facts[key])
        found: Any = self.facts
        for key in ("scene", "looked_at", "post", "date"):
            found = found.get(key) if isinstance(found, Mapping) else None
        return None if found is None else str(found)


def read_export(path: Path) -> Result:
    """Read the result of an assessment or an event.

    Raises
    ------
    InputError
        If it cannot be read, or lacks the grades of an assessment.
    """
    facts = read_facts(path)
    event = is_event(facts)
    frame = read_layer(path, "buildings" if event else None)
    lacking = [name for name in NAMES if name not in frame.columns]
    if lacking and len(frame):
        raise InputError(f"{path}: has no field {lacking[0]}; give a result of geodamage assess")
    if lacking:
        frame = empty_frame(frame.crs)
    typed = conform(frame, frame.crs, FIELDS)
    others = [name for name in frame.columns if name not in {*NAMES, frame.geometry.name}]
    typed = typed.assign(**{name: frame[name].reset_index(drop=True) for name in others})
    area = read_assessed_area(dict(facts))
    if event:
        shapes = read_layer(path, "assessed_area").to_crs(LONLAT).geometry
        area = shapely.union_all(shapes.to_numpy()) if len(shapes) else None
    return Result(path, typed, facts, area, pair_doubt(path, facts, typed))


@dataclass(frozen=True)
class Product:
    """A result in a schema.

    Attributes
    ----------
    result
        What it is made of.
    schema
        The schema.
    labels
        Whether words stand for codes.
    shape
        What a building is drawn as.
    """

    result: Result
    schema: Schema
    labels: bool
    shape: Shape

    @property
    def fields(self) -> tuple[Field, ...]:
        """What is written of each building; the first is its identity."""
        return fields_of(self.schema, self.result.frame, self.labels)

    @cached_property
    def frame(self) -> gpd.GeoDataFrame:
        """Buildings in the CRS of the result, typed as the fields say."""
        found = apply_schema(
            self.schema, self.result.frame, date=self.result.date, labels=self.labels
        )
        if self.shape == "point":
            found = found.set_geometry(self._points())
        return conform(found, found.crs, self.fields)

    def _points(self) -> gpd.GeoSeries:
        """Return a point inside each building; where there is no outline, its lon and lat."""
        own = self.result.frame
        inside = shapely.point_on_surface(own.geometry.to_numpy())
        return gpd.GeoSeries(inside, index=own.index, crs=own.crs)

    @cached_property
    def lonlat(self) -> gpd.GeoDataFrame:
        """Buildings in longitude and latitude, as RFC 7946 wants them."""
        to_lonlat = transformer(self.frame.crs, LONLAT)
        shapes = to_rfc7946(self.frame.geometry.to_numpy(), to_lonlat)
        return gpd.GeoDataFrame(self.frame.drop(columns="geometry"), geometry=shapes, crs=LONLAT)

    @property
    def grades(self) -> np.ndarray:
        """Grade of each building, int64 (n,); 0 where it has none."""
        found: np.ndarray = self.result.frame["damage_class"].to_numpy(np.int64, na_value=0)
        return found

    @property
    def geometry_type(self) -> Any:
        """What all buildings are, for formats that declare it."""
        if self.shape == "point":
            return "Point"
        return common_type(self.frame.geometry)

    @property
    def statement(self) -> str:
        """The sentence that goes with every result."""
        return str(self.result.facts.get("statement") or STATEMENT)

    def area_frame(self) -> gpd.GeoDataFrame | None:
        """Return the assessed area as a layer of one polygon; None if unknown."""
        if self.result.area is None:
            return None
        return area_frame(self.result.area)
