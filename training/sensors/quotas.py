"""Quotas: how many samples a class may take, where the shares of a test set are known.

A network that was trained on a long tail says the common classes too often. Of a class beyond its
quota the surest stay, and the others go to the class that is next for them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from geodamage.errors import OptionError

Floats = npt.NDArray[np.floating]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Assignment:
    """Classes of samples under quotas."""

    classes: Numbers
    """int64 (n,)."""
    moved: Mapping[int, int]
    """How many samples left each class that has a quota."""
    cut_offs: Mapping[int, float]
    """Least probability that stayed in each class that some left."""


def assign_by_quota(probabilities: Floats, quotas: Mapping[int, int]) -> Assignment:
    """Give every sample its likeliest class that has room.

    Classes with a quota are handled in rising order. Each keeps as many of its surest samples as
    its quota says. Every other sample goes to its next class, surest first. A class whose turn is
    over takes samples only up to its quota.

    Parameters
    ----------
    probabilities
        float (n, classes).
    quotas
        Most samples of a class; classes that are not named take any number.

    Raises
    ------
    OptionError
        If a class does not exist, a quota is negative, or all quotas together are too few.
    """
    # Source: CMKD, KD1-pp cells 38-48: 85 for each of classes 0 to 3 of 826 samples. There
    # all four were full when their turn was over, so that nothing ever went back to one.
    _check(probabilities, quotas)
    classes = probabilities.argmax(1).astype(np.int64)
    moved: dict[int, int] = {}
    cut_offs: dict[int, float] = {}
    over: list[int] = []
    for turn in sorted(quotas):
        over.append(turn)
        ranked = _surest_first(probabilities, np.flatnonzero(classes == turn), turn)
        kept, leaving = ranked[: quotas[turn]], ranked[quotas[turn] :]
        moved[turn] = len(leaving)
        if len(leaving) and len(kept):
            cut_offs[turn] = float(probabilities[kept[-1], turn])
        room = {c: quotas[c] - int((classes == c).sum()) for c in over[:-1]} | {turn: 0}
        for sample in leaving:
            classes[sample] = _next_class(probabilities[sample], room)
    return Assignment(classes, moved, cut_offs)


def _surest_first(probabilities: Floats, samples: Numbers, of: int) -> Numbers:
    """Sort samples by the probability of a class; equal ones stay in their order."""
    order = np.argsort(-probabilities[samples, of], kind="stable")
    return samples[order]


def _next_class(row: Floats, room: dict[int, int]) -> int:
    """Return the likeliest class that has room, and take a place in it."""
    closed = [c for c, places in room.items() if places <= 0]
    left = np.where(np.isin(np.arange(len(row)), closed), -np.inf, row)
    found = int(left.argmax())
    if found in room:
        room[found] -= 1
    return found


def _check(probabilities: Floats, quotas: Mapping[int, int]) -> None:
    samples, count = probabilities.shape
    for number, most in quotas.items():
        if not 0 <= number < count:
            raise OptionError(f"quota of class {number}: there are classes 0 to {count - 1}")
        if most < 0:
            raise OptionError(f"quota {number}={most}: at least 0")
    if len(quotas) == count and sum(quotas.values()) < samples:
        raise OptionError(
            f"quotas of all classes leave {samples - sum(quotas.values())} of {samples} samples "
            "without one; raise them, or leave a class without a quota"
        )


def parse_quotas(texts: list[str]) -> dict[int, int]:
    """Read quotas such as `0=85` and `0-3=85`.

    Raises
    ------
    OptionError
        If a text is of another form.
    """
    quotas: dict[int, int] = {}
    for text in texts:
        classes, equals, most = text.partition("=")
        first, _, last = classes.partition("-")
        if not (equals and first.isdecimal() and (last or first).isdecimal() and most.isdecimal()):
            raise OptionError(f"--quota {text}: not CLASS=COUNT or FIRST-LAST=COUNT")
        quotas |= dict.fromkeys(range(int(first), int(last or first) + 1), int(most))
    return quotas
