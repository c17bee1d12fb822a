"""Teaching: the buildings from whose answers a model learns most.

They are uncertain, unlike each other and unlike what was chosen before. The choice is a farthest
traversal. Each step takes the building that is farthest from all that were taken. The distance is
weighted by the uncertainty of the model.
"""

import numpy as np

from geodamage.reviews.design import Floats, Numbers, along_curve

#: Least weight of a building of whose grade the model is sure: it may be surely wrong.
LEAST_WEIGHT = 0.2
#: Least probability whose logarithm is compared.
LEAST_PROBABILITY = 1e-3


def choose_to_teach(
    probabilities: Floats, lon: Floats, lat: Floats, *, without: Numbers, number: int
) -> Numbers:
    """Return buildings to ask for, the most telling first.

    Parameters
    ----------
    probabilities
        Probabilities of the four grades, (n, 4).
    lon, lat
        Place, degrees, (n,).
    without
        Rows that are asked for anyway; what is near them tells little.
    number
        Buildings to choose.

    Returns
    -------
    int64 (number,)
        Rows; none twice, none of `without`. Fewer where there are no more.
    """
    places = _places(probabilities, lon, lat)
    weight = LEAST_WEIGHT + _uncertainty(probabilities)
    distance = np.full(len(places), np.inf)
    for row in without:
        distance = np.minimum(distance, _distances(places, int(row)))
    chosen: list[int] = []
    taken = np.zeros(len(places), bool)
    taken[without] = True
    for _ in range(min(number, int((~taken).sum()))):
        # Before anything is taken, all distances are infinite, and uncertainty alone decides.
        worth = weight * (distance if np.isfinite(distance[0]) else 1.0)
        row = int(np.argmax(np.where(taken, -1.0, worth)))
        chosen.append(row)
        taken[row] = True
        distance = np.minimum(distance, _distances(places, row))
    return np.array(chosen, np.int64)


def _uncertainty(probabilities: Floats) -> Floats:
    """Return the entropy of each row as a share of the highest there can be, 0-1."""
    safe = np.clip(probabilities, LEAST_PROBABILITY, 1.0)
    entropy = -(safe * np.log(safe)).sum(1) / np.log(probabilities.shape[1])
    return np.asarray(np.clip(entropy, 0.0, 1.0), np.float64)


def _places(probabilities: Floats, lon: Floats, lat: Floats) -> Floats:
    """Return where each building stands among the others: what was said of it, and its ground.

    Its size stays out: the smallest and largest outlines are often no building.
    """
    logits = np.log(np.clip(probabilities, LEAST_PROBABILITY, 1.0))
    columns = np.hstack([logits, along_curve(lon, lat)[:, None].astype(np.float64)])
    spread = columns.std(0)
    return np.asarray((columns - columns.mean(0)) / np.where(spread > 0, spread, 1.0), np.float64)


def _distances(places: Floats, row: int) -> Floats:
    return np.asarray(np.linalg.norm(places - places[row], axis=1), np.float64)
