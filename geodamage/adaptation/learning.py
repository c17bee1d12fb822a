"""Learning: from answers and features to a head, and what it is worth. Arithmetic alone."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize

from geodamage.adaptation.head import DIRECTIONS, Basis, Floats, Head, Priors, fit, softmax
from geodamage.adaptation.validation import (
    FIGURES,
    Compared,
    Grades,
    blocks_of,
    compare,
    likeliest_threshold,
    out_of_block,
)
from geodamage.damage import GRADES, LABELS

#: Buildings whose features the components are found in, at most.
LOOKED_AT = 20_000
#: The figure whose gain decides. The mean logarithm of the probability of what was answered counts
#: order and certainty alike, and needs fewer answers than the area under the curve does.
DECIDES = "log_loss"
#: Standard deviations of the priors of a calibration: of the logarithm of its temperature, and of
#: its shift.
_CALIBRATION_SPREADS = np.array([0.5, 1.0])


@dataclass(frozen=True)
class Learnt:
    """A head, and what it is worth.

    Attributes
    ----------
    head
        Calibrated; of the components.
    basis
        What makes the components of features.
    threshold
        A building is damaged from this probability of damage.
    compared
        What it is worth on answers that it had not seen, beside the model.
    earned
        What features gain in log loss, against a head without them. Where that is nothing, the
        head has none: the model's own words are weighed again, and their order stays.
    blocks
        Blocks of ground that it was tried on.
    grades
        Answers of each grade.
    calibration
        What made it right as often as it says; it is in the head already.
    transferred
        Whether it started from what other events taught.
    """

    head: Head
    basis: Basis
    threshold: float
    compared: Compared
    earned: float
    blocks: int
    grades: tuple[int, ...]
    calibration: "Calibration"
    transferred: bool

    @property
    def helps(self) -> bool:
        """Whether the interval of the gain excludes a loss."""
        return self.compared.gain[DECIDES][1] > 0  # NaN is no gain, either

    def raw_weights(self) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
        """Return constants and weights of the features themselves, of each direction."""
        weights = self.head.weights @ self.basis.axes.T
        constants = -(self.head.weights @ self.basis.middle)
        return tuple(map(float, constants)), tuple(tuple(map(float, row)) for row in weights)

    def facts(self) -> dict[str, Any]:
        """Return what the card says."""
        return {
            "answers_per_grade": dict(zip(LABELS.values(), self.grades, strict=True)),
            "blocks": self.blocks,
            "temperature": round(self.calibration.temperature, 4),
            "shift": round(self.calibration.shift, 4),
            "decided_by": DECIDES,
            "uses_features": self.earned > 0,
            "earned_by_features": round(self.earned, 4),
            "starts_from_other_events": self.transferred,
            "helps": self.helps,
            **{
                name: {figure: _rounded(getattr(self.compared, name)[figure]) for figure in FIGURES}
                for name in ("before", "after", "gain")
            },
        }


def _rounded(values: tuple[float, float, float]) -> list[float | None]:
    return [round(value, 4) if np.isfinite(value) else None for value in values]


def learn(
    said: Floats,
    features: npt.NDArray[np.floating],
    place: Floats,
    called: Grades,
    threshold: float,
    rows: npt.NDArray[np.integer],
    grades: Grades,
    weights: Floats | None = None,
    priors: Priors | None = None,
    transfer: Floats | None = None,
) -> Learnt:
    """Learn a head from answers, and try it on ground that it has not seen.

    Parameters
    ----------
    said
        float64 (n, 4): what the model says of all buildings; NaN where nothing.
    features
        (n, d): of all buildings.
    place
        float64 (n, 2): longitude and latitude of all buildings.
    called
        int (n,): grades that the model gave all buildings.
    threshold
        Probability of damage from which the model calls a building damaged.
    rows, grades
        int (m,): which buildings were answered, and the answers, 1-4.
    weights
        float64 (m,): how many buildings each answer stands for; alike unless given.
    priors
        How far the head may leave the model.
    transfer
        float64 (d / 2,): the change that other events took for damage, if the head starts from it.
    """
    priors = priors or Priors()
    known = np.flatnonzero(np.isfinite(said).all(1))
    basis = Basis.of(features[_some(known)], transfer=transfer)
    components, own = basis.components(features[rows]), said[rows]
    blocks = blocks_of(place[rows])
    calibration, tried, earned = _tried(
        own, components, grades, blocks, priors, weights, basis.transferred
    )
    transferred = basis.transferred and earned > 0
    kept = components if earned > 0 else np.zeros_like(components)
    head = calibration.of_head(fit(own, kept, grades, priors, transferred=transferred))
    everybody = head.probabilities(said[known], basis.components(features[known]))
    fresh = likeliest_threshold(everybody[:, 1:].sum(1))
    compared = compare(
        own, tried, grades, (threshold, fresh), weights,
        called=(called[rows], tried.argmax(1) + 1), blocks=blocks,
    )  # fmt: skip
    counted = tuple(int((grades == grade).sum()) for grade in GRADES)
    parts = len(np.unique(blocks))
    return Learnt(
        head, basis, fresh, compared, earned, parts, counted, calibration, transferred
    )  # fmt: skip


def _tried(
    said: Floats,
    components: Floats,
    grades: Grades,
    blocks: npt.NDArray[np.int64],
    priors: Priors,
    weights: Floats | None,
    transferred: bool,
) -> tuple["Calibration", Floats, float]:
    """Try heads with and without features on blocks that they have not seen.

    Returns
    -------
    tuple
        Calibration and statements of the better one, and what the features earn in log loss.
    """
    counted = np.ones(len(grades)) if weights is None else weights / weights.mean()
    found = []
    for kept, starts in ((components, transferred), (components[:, :0], False)):
        unseen = out_of_block(said, kept, grades, blocks, priors, transferred=starts)
        calibration = calibrate(unseen, grades, weights)
        told = _calibrated_unseen(unseen, grades, blocks, weights)
        chosen = np.maximum(told[np.arange(len(grades)), grades - 1], 1e-12)
        found.append((calibration, told, float(counted @ -np.log(chosen)) / len(grades)))
    with_them, without = found
    calibration, told, _ = with_them if with_them[2] < without[2] else without
    return calibration, told, without[2] - with_them[2]


def _calibrated_unseen(
    said: Floats, grades: Grades, blocks: npt.NDArray[np.int64], weights: Floats | None
) -> Floats:
    """Return statements that are calibrated by the answers of the other blocks."""
    result = said.copy()
    for block in np.unique(blocks):
        out = blocks == block
        known = None if weights is None else weights[~out]
        result[out] = calibrate(said[~out], grades[~out], known).of_statements(said[out])
    return result


def _some(known: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """Return buildings enough to find the components in, spread over all of them."""
    return known[:: max(len(known) // LOOKED_AT, 1)]


@dataclass(frozen=True)
class Calibration:
    """What makes statements right as often as they say.

    Attributes
    ----------
    temperature
        What log odds are divided by.
    shift
        What is added to those of the three grades of damage.
    """

    temperature: float
    shift: float

    @property
    def added(self) -> Floats:
        """What is added to the log odds of each grade, float64 (4,)."""
        result: Floats = self.shift * DIRECTIONS[0]
        return result

    def of_head(self, head: Head) -> Head:
        """Return a head that is calibrated."""
        return Head(
            head.scale / self.temperature,
            head.offsets / self.temperature + self.added,
            head.weights / self.temperature,
        )

    def of_statements(self, said: Floats) -> Floats:
        """Return probabilities (n, 4) that are calibrated."""
        return softmax(np.log(np.maximum(said, 1e-12)) / self.temperature + self.added)


def calibrate(said: Floats, grades: Grades, weights: Floats | None = None) -> Calibration:
    """Return the likeliest calibration of statements that were made unseen.

    Parameters
    ----------
    said
        float64 (n, 4).
    grades
        int (n,): the answers.
    weights
        float64 (n,): how many buildings each answer stands for. A sample that holds more damage
        than the ground does would else make every building look worse than it is.
    """
    counted = np.ones(len(grades)) if weights is None else weights / weights.mean()
    rows = np.arange(len(grades))

    def lost(at: Floats) -> float:
        told = Calibration(float(np.exp(at[0])), float(at[1])).of_statements(said)
        chosen = np.log(np.maximum(told[rows, grades - 1], 1e-12))
        # A few answers say little of it: it is held near 1 and 0.
        return float(-counted @ chosen + ((at / _CALIBRATION_SPREADS) ** 2).sum() / 2)

    found = minimize(lost, np.zeros(2), method="Nelder-Mead").x
    return Calibration(float(np.exp(found[0])), float(found[1]))
