"""The head: what a few answers add to what a model says of each building. Arithmetic alone.

The log odds of a building's grades are those of the model, scaled and moved, and a linear function
of its features. Two directions of features are learnt: one that tells damaged from not, one that
tells the degree of the damage. Normal priors around the model itself hold all of it back. Without
any answers, the model comes out unchanged. Where other events have taught which change is damage
(`geodamage.adaptation.transfer`), the prior of that change is not 0, but what they taught.

Source: the adjacent-categories logit, Agresti, "Analysis of Ordinal Categorical Data", 2010,
chapter 4; the maximum of the posterior is found by Newton's method.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: What each direction adds to the four grades' log odds.
DIRECTIONS = np.array([[0.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.5, 1.0]])
#: Least probability that a model is believed to mean.
LEAST = 1e-3
#: Components of the features that are kept, at most. Of 8, 12, 16 and 48 it had the best mean AUC
#: of the other events, whichever of five was left out but one.
COMPONENTS = 16
#: Parts of the features of a date: mean and spread of a building, then of its surroundings; and
#: those of them that are learnt from. Spreads, and how a building looks afterwards, tell more of
#: the place than of the damage, and a few answers do not tell these apart
#: (training/EXPERIMENTS.md).
PARTS, LEARNT_FROM = 4, (0, 2)
_STEPS, _CLOSE = 50, 1e-7


@dataclass(frozen=True)
class Priors:
    """How far a head may leave the model: standard deviations of the normal priors.

    Attributes
    ----------
    scale
        Deviation of the factor of the model's log odds from 1.
    offsets
        Size of what is added to the log odds of each grade.
    features
        Size of what the features of a typical building add in each direction. Of 0.25, 0.5, 1, 2
        and 4 this had the best mean AUC of the other events, whichever of five was left out.
    transferred
        Mean and deviation of what a change that is larger by one standard deviation adds to the log
        odds of damage, of the change that other events took for damage. Means of 0.7 and 1.2, and
        deviations of 0.5 and 1, gave the same gain within 0.01.
    """

    scale: float = 0.5
    offsets: float = 1.0
    features: float = 1.0
    transferred: tuple[float, float] = (1.0, 0.5)


@dataclass(frozen=True)
class Basis:
    """The main components of what changed at the buildings of an event.

    Attributes
    ----------
    axes
        float64 (d, k): what makes k components of features; together they have a mean square of 1.
        With a transfer, a last one has a mean square of 1 alone.
    middle
        float64 (k,): components of the mean of all features.
    transferred
        Whether the last component is what other events took for damage.
    """

    axes: Floats
    middle: Floats
    transferred: bool = False

    @classmethod
    def of(
        cls,
        features: npt.NDArray[np.floating],
        components: int = COMPONENTS,
        transfer: Floats | None = None,
    ) -> "Basis":
        """Find the components of features (n, d), the pre image first, in `PARTS` parts each.

        `transfer`, float64 (d / 2,), weighs the standardised changes as other events did.
        """
        scaled, mean, inverse = standardised_changes(features)
        variances, axes = np.linalg.eigh(scaled.T @ scaled / len(scaled))
        kept = variances.argsort()[::-1][:components]
        kept = kept[variances[kept] > 1e-9]
        total = float(variances[kept].sum()) or 1.0
        of_change = axes[:, kept] * inverse[:, None] / np.sqrt(total)
        spread = 0.0 if transfer is None else float((scaled @ transfer).std())
        if transfer is not None and spread > 1e-9:
            last = transfer * inverse / spread
            of_change = np.column_stack([of_change, last])
        middle: Floats = mean @ of_change
        return cls(np.concatenate([-of_change, of_change]), middle, spread > 1e-9)

    def components(self, features: npt.NDArray[np.floating]) -> Floats:
        """Return the components (n, k) of features (n, d)."""
        result: Floats = features.astype(np.float64) @ self.axes - self.middle
        return result


def standardised_changes(features: npt.NDArray[np.floating]) -> tuple[Floats, Floats, Floats]:
    """Return how each building changed among those of its event.

    Parameters
    ----------
    features
        (n, d): of all buildings of one event, the pre image first, in `PARTS` parts each.

    Returns
    -------
    tuple
        Changes, float64 (n, d / 2), of mean 0 and variance 1, or 0 where nothing is learnt from;
        then their means before and the inverse of their deviations, float64 (d / 2,).
    """
    pre, post = np.split(features.astype(np.float64), 2, axis=1)
    values = post - pre
    mean, spread = values.mean(0), values.std(0)
    inverse = np.where(spread > 1e-6, 1 / np.maximum(spread, 1e-6), 0.0)
    inverse[~_learnt_from(len(spread))] = 0.0
    return (values - mean) * inverse, mean, inverse


def _learnt_from(width: int) -> npt.NDArray[np.bool_]:
    """Return which features of a date are learnt from, bool (width,)."""
    part = np.arange(width) * PARTS // width
    return np.isin(part, LEARNT_FROM)


@dataclass(frozen=True)
class Head:
    """What is added to a model for one event.

    Attributes
    ----------
    scale
        Factor of the model's log odds.
    offsets
        float64 (4,): what is added to those of each grade.
    weights
        float64 (2, k): what each component adds in each of `DIRECTIONS`.
    """

    scale: float
    offsets: Floats
    weights: Floats

    def probabilities(self, said: Floats, components: Floats) -> Floats:
        """Return the probabilities (n, 4) of the grades.

        Parameters
        ----------
        said
            float64 (n, 4): the model's.
        components
            float64 (n, k).
        """
        odds = self.scale * log_odds(said) + self.offsets
        return softmax(odds + components @ self.weights.T @ DIRECTIONS)


def log_odds(said: Floats) -> Floats:
    """Return the logarithms of probabilities (n, 4), moved so that their mean is 0."""
    logs = np.log(np.maximum(said, LEAST))
    result: Floats = logs - logs.mean(1, keepdims=True)
    return result


def softmax(odds: Floats) -> Floats:
    """Return probabilities (n, 4) of log odds."""
    raised = np.exp(odds - odds.max(1, keepdims=True))
    result: Floats = raised / raised.sum(1, keepdims=True)
    return result


def fit(
    said: Floats,
    components: Floats,
    grades: npt.NDArray[np.integer],
    priors: Priors | None = None,
    weights: Floats | None = None,
    *,
    transferred: bool = False,
) -> Head:
    """Fit a head to answers.

    Parameters
    ----------
    said
        float64 (n, 4): what the model says of the buildings that were answered.
    components
        float64 (n, k): of their features.
    grades
        int (n,): the answers, 1-4.
    priors
        How far it may leave the model.
    weights
        float64 (n,): how much each answer counts; alike unless given.
    transferred
        Whether the last component is what other events took for damage.
    """
    priors = priors or Priors()
    count = components.shape[1]
    design = _design(said, components)
    wanted = np.eye(4)[np.asarray(grades) - 1]
    counted = np.ones(len(wanted)) if weights is None else weights
    start, precision = _prior(priors, count, transferred)
    found = start.copy()
    value = _loss(found, start, precision, design, wanted, counted)
    for _ in range(_STEPS):
        step = _newton(found, start, precision, design, wanted, counted)
        found, value, moved = _stepped(
            found, step, value, lambda at: _loss(at, start, precision, design, wanted, counted)
        )
        if moved < _CLOSE:
            break
    return Head(float(found[0]), found[1:5], found[5:].reshape(2, count))


def _prior(priors: Priors, count: int, transferred: bool) -> tuple[Floats, Floats]:
    """Return mean and precision of the parameters of a head of so many components."""
    start = np.zeros(5 + 2 * count)
    start[0] = 1.0
    precision = np.full(len(start), priors.features**-2)
    precision[0] = priors.scale**-2
    precision[1:5] = priors.offsets**-2
    if transferred:
        mean, deviation = priors.transferred
        start[4 + count] = mean
        precision[[4 + count, 4 + 2 * count]] = deviation**-2
    return start, precision


def _design(said: Floats, components: Floats) -> Floats:
    """Return (n, 4, p): what each parameter adds to the log odds of each grade."""
    n, count = components.shape
    design = np.zeros((n, 4, 5 + 2 * count))
    design[:, :, 0] = log_odds(said)
    design[:, :, 1:5] = np.eye(4)
    for place, direction in enumerate(DIRECTIONS):
        first = 5 + place * count
        design[:, :, first : first + count] = direction[None, :, None] * components[:, None, :]
    return design


def _loss(
    at: Floats, start: Floats, precision: Floats, design: Floats, wanted: Floats, counted: Floats
) -> float:
    odds = design @ at
    top = odds.max(1)
    spread = top + np.log(np.exp(odds - top[:, None]).sum(1))
    missed = counted @ (spread - (odds * wanted).sum(1))
    return float(missed + precision @ (at - start) ** 2 / 2)


def _newton(
    at: Floats, start: Floats, precision: Floats, design: Floats, wanted: Floats, counted: Floats
) -> Floats:
    """Return the step of Newton's method."""
    chances = softmax(design @ at)
    errors = (chances - wanted) * counted[:, None]
    slope = np.einsum("nk,nkp->p", errors, design) + precision * (at - start)
    middle = np.einsum("nk,nkp->np", chances, design)
    roots = np.sqrt(counted)[:, None]
    spread = (np.sqrt(chances) * roots)[:, :, None] * (design - middle[:, None])
    flat = spread.reshape(-1, len(at))
    step: Floats = np.linalg.solve(flat.T @ flat + np.diag(precision), slope)
    return step


def _stepped(
    at: Floats, step: Floats, value: float, loss: Callable[[Floats], float]
) -> tuple[Floats, float, float]:
    """Go a step, or as much of it as makes the loss smaller; return how far, too."""
    share = 1.0
    while share > 1e-4:
        there = at - share * step
        worth = loss(there)
        if worth <= value:
            return there, worth, share * float(np.abs(step).max())
        share /= 2
    return at, value, 0.0
