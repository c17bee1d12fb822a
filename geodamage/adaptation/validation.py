"""Validation: what a head is worth on answers that it has not seen. Arithmetic alone.

The answers are cut into blocks of ground, so that no neighbour of a building says its grade
beforehand. A head that learnt from the other blocks grades each of them. What the model says of the
same buildings stands beside it, and intervals come from drawing the answers again.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geodamage.adaptation.head import Floats, Priors, fit

#: Blocks of ground, and fewest answers of one.
BLOCKS, LEAST_OF_BLOCK = 8, 3
RESAMPLINGS = 2000
#: Nobody is told to answer more than this many times as many.
_TIMES_AS_MANY = 10
#: Names of the figures: area under the curve and F1 of damaged or not, quadratic kappa of the
#: grades, mean negative logarithm of the probability of the grade that was answered.
FIGURES = ("auc", "damaged_f1", "kappa", "log_loss")

Grades = npt.NDArray[np.integer]


def blocks_of(place: Floats, count: int = BLOCKS) -> npt.NDArray[np.int64]:
    """Cut places into blocks of ground with about as many places each.

    The longer side is cut at the median, again and again.

    Parameters
    ----------
    place
        float64 (n, 2): longitude and latitude, degrees.
    count
        Number of blocks, a power of 2; there are fewer where one would have too few places.

    Returns
    -------
    int64 (n,)
        Number of the block of each place, from 0.
    """
    middle = float(np.deg2rad(place[:, 1].mean())) if len(place) else 0.0
    metric = place * np.array([np.cos(middle), 1.0])
    result = np.zeros(len(place), np.int64)
    whole = [np.arange(len(place))]
    while len(whole) < count and min(map(len, whole)) >= 2 * LEAST_OF_BLOCK:
        whole = [half for part in whole for half in _halves(metric, part)]
    for number, part in enumerate(whole):
        result[part] = number
    return result


def _halves(
    metric: Floats, part: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    axis = int(np.ptp(metric[part], axis=0).argmax())
    order = part[np.lexsort((metric[part, 1 - axis], metric[part, axis]))]
    return order[: len(order) // 2], order[len(order) // 2 :]


def out_of_block(
    said: Floats,
    components: Floats,
    grades: Grades,
    blocks: npt.NDArray[np.int64],
    priors: Priors,
    *,
    transferred: bool = False,
) -> Floats:
    """Return what heads say of answers that they have not seen, float64 (n, 4).

    Parameters
    ----------
    said, components, grades, priors, transferred
        The same as of `fit`.
    blocks
        int64 (n,): block of each answer; a head learns from all the others.
    """
    result = said.copy()
    for block in np.unique(blocks):
        out = blocks == block
        head = fit(said[~out], components[~out], grades[~out], priors, transferred=transferred)
        result[out] = head.probabilities(said[out], components[out])
    return result


@dataclass(frozen=True)
class Compared:
    """What a model is worth before and after, on the same answers.

    Attributes
    ----------
    before, after
        Figure by name, and its interval of 95 %: value, low, high; NaN where it is not defined.
    gain
        What is gained of each, likewise; of `log_loss` by how much it falls.
    """

    before: dict[str, tuple[float, float, float]]
    after: dict[str, tuple[float, float, float]]
    gain: dict[str, tuple[float, float, float]]


def compare(
    before: Floats,
    after: Floats,
    grades: Grades,
    thresholds: tuple[float, float],
    weights: Floats | None = None,
    *,
    called: tuple[Grades, Grades] | None = None,
    blocks: npt.NDArray[np.int64] | None = None,
    seed: int = 0,
) -> Compared:
    """Compare two statements on the same buildings, in pairs.

    Parameters
    ----------
    before, after
        float64 (n, 4): probabilities of the grades.
    grades
        int (n,): the answers.
    thresholds
        Probability of damage from which a building is damaged, before and after.
    weights
        float64 (n,): how many buildings each answer stands for; alike unless given.
    called
        Grades that were given, before and after; the likeliest unless given.
    blocks
        int64 (n,): block of each answer. Then blocks are drawn again, too, for what holds on one
        piece of ground may not hold on the next.
    seed
        Seed of the resamplings.
    """
    counted = np.ones(len(grades)) if weights is None else weights / weights.mean()
    drawn = _drawn(np.zeros(len(grades), np.int64) if blocks is None else blocks, seed)
    times = np.concatenate([np.ones((1, len(grades))), drawn]) * counted
    tables = [
        _figures(said, given, grades, threshold, times)
        for said, given, threshold in zip(
            (before, after), called or (None, None), thresholds, strict=True
        )
    ]
    gains = {name: tables[1][name] - tables[0][name] for name in FIGURES}
    gains["log_loss"] = -gains["log_loss"]
    first, second, gain = ({n: _interval(v) for n, v in t.items()} for t in (*tables, gains))
    return Compared(first, second, gain)


def answers_to_show(gain: tuple[float, float, float], answers: int) -> int | None:
    """Return how many answers would show a gain, if it is as large as it seems.

    An interval narrows with the square root of the number of answers.

    Parameters
    ----------
    gain
        Value, low and high, of so many answers.
    answers
        Their number.

    Returns
    -------
    int or None
        All answers together, in tens; None where nothing is gained, or ten times as many answers
        would not show it.
    """
    value, low, _ = gain
    if not value > 0:  # NaN is no gain, either
        return None
    needed = 10 * math.ceil(answers * ((value - low) / value) ** 2 / 10)
    return needed if answers < needed <= _TIMES_AS_MANY * answers else None


def _drawn(blocks: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.int64]:
    """Return how often each answer comes when blocks, and answers of them, are drawn again.

    Blocks are few, so that drawing them alone would make intervals too short.

    Returns
    -------
    int64 (`RESAMPLINGS`, n)
    """
    rng = np.random.default_rng(seed)
    names, own = np.unique(blocks, return_inverse=True)
    counts = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLINGS)
    result: npt.NDArray[np.int64] = counts[:, own] * rng.poisson(1, (RESAMPLINGS, len(blocks)))
    return result


def _interval(values: Floats) -> tuple[float, float, float]:
    drawn = values[1:][np.isfinite(values[1:])]
    if not np.isfinite(values[0]) or len(drawn) < RESAMPLINGS / 2:
        return float("nan"), float("nan"), float("nan")
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(values[0]), float(low), float(high)


def _figures(
    said: Floats, given: Grades | None, grades: Grades, threshold: float, times: Floats
) -> dict[str, Floats]:
    """Return each figure for each row of weights `times` (m, n), float64 (m,)."""
    score, damaged = said[:, 1:].sum(1), grades > 1
    called = said.argmax(1) + 1 if given is None else given
    lost = -np.log(np.maximum(said[np.arange(len(grades)), grades - 1], 1e-6))
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "auc": areas_under_curve(score, damaged, times),
            "damaged_f1": _f1(score >= threshold, damaged, times),
            "kappa": _kappas(called, grades, times),
            "log_loss": times @ lost / times.sum(1),
        }


def areas_under_curve(score: Floats, damaged: npt.NDArray[np.bool_], times: Floats) -> Floats:
    """Return the area under the curve for each row of weights; NaN where one class is empty.

    It is how often a damaged building has the higher score of two; a tie is a half.
    """
    above = score[damaged][:, None] - score[~damaged]
    wins = (above > 0) + (above == 0) / 2
    yes, no = times[:, damaged], times[:, ~damaged]
    both = yes.sum(1) * no.sum(1)
    result: Floats = ((yes @ wins) * no).sum(1) / np.where(both > 0, both, np.nan)
    return result


def _f1(called: npt.NDArray[np.bool_], damaged: npt.NDArray[np.bool_], times: Floats) -> Floats:
    hit = times @ (called & damaged)
    result: Floats = 2 * hit / (times @ called + times @ damaged)
    return result


def _kappas(called: Grades, grades: Grades, times: Floats) -> Floats:
    """Return quadratic kappa for each row of weights; all four grades are labels."""
    place = (called - 1) * 4 + grades - 1
    tables = np.stack([times[:, place == n].sum(1) for n in range(16)], 1).reshape(-1, 4, 4)
    apart = (np.arange(4)[:, None] - np.arange(4)) ** 2
    expected = (
        tables.sum(2)[:, :, None] * tables.sum(1)[:, None] / tables.sum((1, 2))[:, None, None]
    )
    chance = (apart * expected).sum((1, 2))
    result: Floats = 1 - (apart * tables).sum((1, 2)) / np.where(chance > 0, chance, np.nan)
    return result


def likeliest_threshold(damaged: Floats) -> float:
    """Return the probability of damage from which the expected F1 of damaged is highest.

    Of probabilities that hold, it needs no truth: a building of probability p is damaged p times.

    Parameters
    ----------
    damaged
        float64 (n,): probability of damage of all buildings.
    """
    falling = np.sort(damaged)[::-1]
    worth = 2 * falling.cumsum() / (np.arange(1, len(falling) + 1) + falling.sum())
    best = int(worth.argmax()) if len(worth) else 0
    return float(falling[best]) if len(falling) else 0.5
