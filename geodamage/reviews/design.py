"""The design of a sample: strata, how many buildings of each are drawn, and which.

The strata are the predicted grade and, in it, how sure the model is. Buildings of one stratum
have one probability to be drawn, so weights are known, whatever the model is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from geodamage.damage import GRADES, LABELS

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]

#: Buildings that each stratum gets at least, so that a variance can be seen in it. Three, of 3, 5
#: and 8, kept coverage at equal width (`benchmarks.estimates`).
FLOOR = 3
#: Buildings that a grade has at least before it is cut by certainty.
LEAST_TO_CUT = 40
#: Share of all buildings from which a grade is cut twice: most misses hide in the largest grade.
LARGE = 0.3
#: Shares of a grade, the least certain first, after which a cut is tried.
CUTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
#: Variance that a stratum has beside what the model says: on a new kind of damage the model is
#: surer than right.
DOUBT = 0.1


@dataclass(frozen=True)
class Strata:
    """Strata of a population.

    Attributes
    ----------
    names
        What each is called.
    of
        Stratum of each building, int64 (n,).
    """

    names: tuple[str, ...]
    of: Numbers

    @property
    def sizes(self) -> Numbers:
        """Buildings of each stratum, int64 (strata,)."""
        return np.bincount(self.of, minlength=len(self.names)).astype(np.int64)


def one_stratum(buildings: int) -> Strata:
    """Return the one stratum of a simple random sample."""
    return Strata(("all",), np.zeros(buildings, np.int64))


def make_strata(
    grade: Numbers,
    probabilities: Floats,
    area: Sequence[str] | None = None,
    *,
    most: int | None = None,
) -> Strata:
    """Cut a population into strata by predicted grade and certainty.

    Parameters
    ----------
    grade
        Predicted grade, 1-4, (n,).
    probabilities
        Probabilities of the four grades, (n, 4).
    area
        Name of the area of each building, to have strata of each.
    most
        Strata at most: where more would come out, grades are not cut by certainty, and areas not
        by grade.
    """
    names = np.array([""] * len(grade) if area is None else list(area), object)
    for cut in (True, False):
        groups = [
            (_called(name, LABELS[g], part, len(parts)), rows)
            for name in sorted(set(names))
            for g in GRADES
            for parts in [_parts((names == name) & (grade == g), probabilities, cut=cut)]
            for part, rows in enumerate(parts)
        ]
        if most is None or len(groups) <= most:
            break
    else:
        groups = [(name or "all", np.flatnonzero(names == name)) for name in sorted(set(names))]
    of = np.zeros(len(grade), np.int64)
    for number, (_, rows) in enumerate(groups):
        of[rows] = number
    return Strata(tuple(name for name, _ in groups), of)


def _called(area: str, label: str, part: int, parts: int) -> str:
    sure = {1: "", 2: (" unsure", " sure")[part % 2]}.get(
        parts, (" unsure", " less sure", " sure")[part % 3]
    )
    return f"{area}: {label}{sure}" if area else f"{label}{sure}"


def _parts(chosen: npt.NDArray[np.bool_], probabilities: Floats, *, cut: bool) -> list[Numbers]:
    """Return a grade's buildings, cut where the variance that is expected gets least."""
    rows = np.flatnonzero(chosen).astype(np.int64)
    if not len(rows):
        return []
    if not cut or len(rows) < LEAST_TO_CUT:
        return [rows]
    rows = rows[np.argsort(probabilities[rows].max(1), kind="stable")]
    low, high = _best_cut(rows, probabilities)
    if len(high) < LARGE * len(chosen):
        return [low, high]
    return [low, *_best_cut(high, probabilities)]


def _best_cut(rows: Numbers, probabilities: Floats) -> tuple[Numbers, Numbers]:
    cuts = [(rows[: int(q * len(rows))], rows[int(q * len(rows)) :]) for q in CUTS]
    return min(
        cuts,
        key=lambda parts: sum(len(part) * expected_spread(probabilities[part]) for part in parts),
    )


def expected_spread(probabilities: Floats) -> float:
    """Return the standard deviation that a stratum's grades are expected to have.

    It is that of all four grades together, by the mean of the model's probabilities, with some
    doubt added.

    Parameters
    ----------
    probabilities
        Probabilities of the four grades, (buildings, 4).
    """
    mean = probabilities.mean(0)
    return float(np.sqrt((mean * (1 - mean)).sum() + DOUBT))


def allocate(sizes: Numbers, spreads: Floats, n: int) -> Numbers:
    """Return how many buildings of each stratum are drawn.

    Neyman's allocation with a floor: as the stratum's size times its spread, at least `FLOOR`, and
    never more than there are.

    Parameters
    ----------
    sizes
        Buildings of each stratum, (strata,); at least one.
    spreads
        Standard deviation that is expected in each, (strata,).
    n
        Buildings to draw, at least one a stratum.

    Returns
    -------
    int64 (strata,)
        They sum to `n`, or to all buildings where there are fewer.

    Source: Neyman 1934, "On the two different aspects of the representative method".
    """
    n = min(n, int(sizes.sum()))
    least = np.minimum(sizes, max(1, min(FLOOR, n // len(sizes)))).astype(np.float64)
    share, fixed = least.copy(), np.zeros(len(sizes), bool)
    weight = sizes * spreads
    while not fixed.all():
        rest = n - share[fixed].sum()
        wanted = rest * weight[~fixed] / weight[~fixed].sum()
        held = np.clip(wanted, least[~fixed], sizes[~fixed])
        share[~fixed] = held
        moved = held != wanted
        if not moved.any():
            break
        # Fixing only the floors first, where both happen, keeps the sum within reach.
        low = held > wanted
        fixed[np.flatnonzero(~fixed)[low if low.any() else moved]] = True
    return _rounded(share, sizes, n)


def _rounded(share: Floats, sizes: Numbers, n: int) -> Numbers:
    """Return whole numbers that sum to n: the largest remainders are rounded up."""
    drawn = np.minimum(np.floor(share + 1e-9).astype(np.int64), sizes)
    for place in np.argsort(drawn - share, kind="stable"):
        drawn[place] += int(drawn.sum() < n and drawn[place] < sizes[place])
    while drawn.sum() < n:  # floors that were met by others
        drawn[np.argmax(sizes - drawn)] += 1
    while drawn.sum() > n:
        drawn[np.argmax(drawn)] -= 1
    return drawn


def draw(
    strata: Strata, drawn: Numbers, lon: Floats, lat: Floats, generator: np.random.Generator
) -> Numbers:
    """Draw buildings at random, spread over the ground.

    In each stratum the buildings stand along a space-filling curve, and a systematic sample of
    them is taken from a random start. Each has the same probability, drawn / size.

    Parameters
    ----------
    strata
        Strata of the population.
    drawn
        From `allocate`.
    lon, lat
        Place of each building, degrees.
    generator
        Where chance comes from.

    Returns
    -------
    int64
        Rows of the population, in random order.
    """
    curve = along_curve(lon, lat)
    chosen = []
    for stratum, count in enumerate(drawn):
        rows = np.flatnonzero(strata.of == stratum)
        rows = rows[np.argsort(curve[rows], kind="stable")]
        chosen.append(rows[systematic(len(rows), int(count), generator)])
    return generator.permutation(np.concatenate(chosen)).astype(np.int64)


def systematic(size: int, count: int, generator: np.random.Generator) -> Numbers:
    """Return the places of a systematic sample: each of `size` with probability count / size."""
    if not count:
        return np.zeros(0, np.int64)
    step = size / count
    places = np.floor((generator.random() + np.arange(count)) * step).astype(np.int64)
    return np.asarray(np.minimum(places, size - 1), np.int64)


def along_curve(lon: Floats, lat: Floats) -> Numbers:
    """Return the place of points along a Hilbert curve through their box, int64 (n,)."""
    # GeoPandas has the curve; it wants a series of points.
    from geopandas import GeoSeries

    points = GeoSeries(shapely.points(np.nan_to_num(lon), np.nan_to_num(lat)))
    if len(points) < 2 or np.ptp(points.total_bounds.reshape(2, 2), axis=0).max() == 0:
        return np.zeros(len(points), np.int64)
    return np.asarray(points.hilbert_distance(), np.int64)
