"""Familiarity of buildings: how similar their surroundings are to the training imagery."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from geodamage.adaptation.results import FeaturedResult, find_results, read_result
from geodamage.errors import OptionError
from geodamage.familiarity.looking import find_reference
from geodamage.familiarity.reference import Reference
from geodamage.model.catalogue import read_model
from geodamage.model.loading import find_model


def building_distances(results: Sequence[str | PathLike[str]]) -> dict[str, float]:
    """Return how far the surroundings of each building lie from the training imagery.

    The features of 128 pixels around a building stand for a block of the scene. They vary more
    than a whole block does, so that distances rank buildings, and no limit is known for them.

    Parameters
    ----------
    results
        Results of `geodamage assess --features`, or folders of `geodamage batch --features`.

    Returns
    -------
    dict
        Distance by `building_id`; only of buildings that have a grade.

    Raises
    ------
    AdaptationError
        If a result has no features, or was changed since.
    OptionError
        If nothing is kept of what its model learnt from.
    """
    found: dict[str, float] = {}
    for path in find_results([Path(result) for result in results]):
        result = read_result(path)
        graded = np.flatnonzero(np.isfinite(result.said).all(1))
        if len(graded):
            far = _reference(result).distances(surroundings(result.features[graded]))
            found |= zip((result.ids[row] for row in graded), far.tolist(), strict=True)
    return found


def surroundings(features: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return of the features of buildings those of the ground around them, as blocks have them.

    Parameters
    ----------
    features
        (n, 8 * channels): of each date mean and spread of a building, then of its surroundings.

    Returns
    -------
    float32 (n, 4 * channels)
        Mean and spread of the surroundings before, then after.
    """
    before, of_pre, after, of_post = np.split(features, 4, axis=1)
    del before, after
    return np.concatenate([of_pre, of_post], 1).astype(np.float32)


def _reference(result: FeaturedResult) -> Reference:
    """Return what is kept of what the model of a result learnt from."""
    path = find_model(str(result.kept.about.get("model")))
    card = read_model(path).card
    reference = None
    if card is not None and card.sha256 == result.kept.about.get("model_sha256"):
        reference = find_reference(path, card)
    if reference is None or reference.network_sha256 != result.kept.about.get("network_sha256"):
        raise OptionError(
            f"--familiarity: nothing is kept of what the model of {result.path} learnt from; leave"
            " it out"
        )
    return reference
