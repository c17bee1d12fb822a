"""The estimate in the layers of an event: totals of a review, beside the counts."""

from collections.abc import Mapping
from typing import Any

import geopandas as gpd
import pandas as pd

from geodamage.report.estimates import TARGETS

#: Numbers of an estimate, as its layer has them.
_NUMBERS = ("predicted", "total", "low", "high", "share", "share_low", "share_high")
#: Fields that the areas of an event get.
AREA_FIELDS = ("damaged_estimate", "damaged_low", "damaged_high", "looked_at")


def estimate_rows(found: Mapping[str, Any]) -> pd.DataFrame:
    """Return an estimate as a table: a row for each thing that is estimated, whole and by area.

    Parameters
    ----------
    found
        What `geodamage.report.estimates.read_estimate` returns.

    Returns
    -------
    DataFrame
        `area` (null for the whole), `of` (`damaged`, a grade, `no building`), `buildings` and
        `answered`. The others are the count of the result, the total with its 95 % interval, and
        the shares.
    """
    parts = [{**found, "name": None}, *_areas(found)]
    rows = [
        {
            "area": part["name"],
            "of": name,
            "buildings": part.get("buildings"),
            "answered": part.get("answered"),
            **{number: part[name].get(number) for number in _NUMBERS},
        }
        for part in parts
        for name in TARGETS
        if isinstance(part.get(name), Mapping)
    ]
    table = pd.DataFrame(rows, columns=["area", "of", "buildings", "answered", *_NUMBERS])
    return table.astype(
        {"area": "string", "of": "string", "buildings": "Int64", "answered": "Int64"}
        | dict.fromkeys(_NUMBERS, "float64")
    )


def with_estimate(
    areas: gpd.GeoDataFrame, field: str, found: Mapping[str, Any]
) -> gpd.GeoDataFrame:
    """Return administrative areas with what is estimated of each; null where nothing is.

    Parameters
    ----------
    areas
        Areas of an event.
    field
        With their names.
    found
        The estimate.
    """
    known = {str(area["name"]): area for area in _areas(found)}
    own = [known.get(str(name), {}) for name in areas[field]]
    damaged = [area.get("damaged") or {} for area in own]  # null where nobody has looked
    columns = {
        name: pd.array([part.get(key) for part in damaged], dtype="Float64")
        for name, key in zip(AREA_FIELDS, ("total", "low", "high"), strict=False)
    }
    looked = pd.array([area.get("answered") for area in own], dtype="Int64")
    return areas.assign(**columns, **{AREA_FIELDS[-1]: looked})


def estimate_facts(found: Mapping[str, Any], file: str) -> dict[str, Any]:
    """Return what the sidecar of an event says of an estimate."""
    said = ("answered", "level", "population_sha256", "says")
    totals = {name: found[name] for name in TARGETS}
    return {"file": file, **totals, **{name: found.get(name) for name in said}}


def _areas(found: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    areas = found.get("areas")
    listed = areas if isinstance(areas, list) else []
    return [area for area in listed if isinstance(area, Mapping) and "name" in area]
