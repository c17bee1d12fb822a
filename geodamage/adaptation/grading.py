"""Grading: buildings with the grades that an event model gives them."""

from typing import Any

import geopandas as gpd
import numpy as np
import numpy.typing as npt

from geodamage.adaptation.event_model import NO_BUILDING, EventModel, Floats
from geodamage.buildings.finding import Grading, hide
from geodamage.fields import REVIEWED

PROBABILITIES = ("p_none", "p_minor", "p_major", "p_destroyed")
#: Why a building is not graded that was answered to be none.
NO_BUILDING_REASON = "reviewed_no_building"
_STATEMENTS = (
    "damage", "damage_class", *PROBABILITIES, "confidence", "damage_score", "damaged",
)  # fmt: skip


def probabilities_of(frame: gpd.GeoDataFrame) -> Floats:
    """Return what is said of the grades of buildings, float64 (n, 4); NaN where nothing is."""
    columns = [frame[name].to_numpy(dtype="float64", na_value=np.nan) for name in PROBABILITIES]
    return np.stack(columns, 1)


def regraded(
    frame: gpd.GeoDataFrame,
    said: Floats,
    features: npt.NDArray[np.floating],
    model: EventModel,
) -> gpd.GeoDataFrame:
    """Return buildings with the grades of an event model.

    A building that was reviewed has the grade that it was given, with certainty. One that was
    answered to be none has no grade. What has no grade otherwise gets none, unless reviewed.

    Parameters
    ----------
    frame
        Buildings with all fields.
    said
        float64 (n, 4): what the model said that the event model starts from; NaN where nothing.
    features
        (n, d): of the same buildings.
    model
        The event model.
    """
    known = np.isfinite(said).all(1)
    told = np.full((len(frame), 4), np.nan)
    told[known] = model.probabilities(said[known], features[known])
    answers = np.array([model.reviewed.get(str(i), -1) for i in frame["building_id"]], int)
    given = answers > NO_BUILDING
    told[given] = np.eye(4)[answers[given] - 1]
    graded = (known | given) & (answers != NO_BUILDING)
    columns = Grading(damaged_threshold=model.damaged_threshold).columns(
        np.where(np.isfinite(told), told, 0.25)
    )
    result = frame.copy()
    for name in _STATEMENTS:
        result[name] = hide(_certain(name, columns[name], given, answers), graded)
    source = frame["source"].astype(object)
    result["source"] = source.where(answers < NO_BUILDING, source + REVIEWED)
    return _with_status(result, given & ~known, answers == NO_BUILDING)


def _certain(name: str, values: Any, given: Any, answers: Any) -> npt.NDArray[Any]:
    """Return a field with what was answered in the place of what a threshold would make of it."""
    result: npt.NDArray[Any] = values if name != "damaged" else np.where(given, answers > 1, values)
    return result


def _with_status(frame: gpd.GeoDataFrame, seen: Any, absent: Any) -> gpd.GeoDataFrame:
    """Say which buildings are assessed only because somebody looked, and which are none."""
    status, reason = frame["status"].astype(object), frame["status_reason"].astype(object)
    status = status.mask(seen, "partial").mask(absent, "not_assessed")
    return frame.assign(status=status, status_reason=reason.mask(absent, NO_BUILDING_REASON))
