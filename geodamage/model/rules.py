"""Post-processing: from the averaged heads of a window to one grade per pixel; arrays only."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from geodamage.damage import DamageGrade
from geodamage.errors import ModelError
from geodamage.model.card import Card

#: Grades that the dilated region of minor damage overwrites, by the name of the rule.
#: Source: xView2 first place, create_submission.py:65. It means to overwrite no-damage alone; as
#: published, `mask & grade == 1` is `(mask & grade) == 1`, which holds for grade 3 as well.
COVERED: Mapping[str, tuple[int, ...]] = {
    "intended": (DamageGrade.NO_DAMAGE,),
    "published": (DamageGrade.NO_DAMAGE, DamageGrade.MAJOR),
}
#: Pixels; a wider square would want a halo that no window has room for.
LARGEST_DILATION = 255


@dataclass(frozen=True)
class PixelRules:
    """How the averaged heads become one grade per pixel.

    Attributes
    ----------
    thresholds
        Threshold of each grade, 0-1: a pixel of that best grade is building where its localisation
        is above this.
    dilation
        Side of the square, pixels, odd, by which the region of minor damage grows within the
        buildings; 0 leaves it as it is.
    dilation_covers
        What it grows over: `intended` no-damage alone, `published` major damage as well.
    background_competes
        Whether a pixel is also background if its best grade is not above 1 minus the sum of the
        four grades. The largest of the five channels of the damage head then wins.

    Raises
    ------
    ModelError
        If a value makes no sense.
    """

    thresholds: tuple[float, ...]
    dilation: int = 0
    dilation_covers: str = "intended"
    background_competes: bool = False

    def __post_init__(self) -> None:
        if not (_are_shares(self.thresholds) and len(self.thresholds) == 4):
            raise ModelError(f"thresholds = {self.thresholds!r} are not four numbers, 0 to below 1")
        side = self.dilation
        odd = type(side) is int and 0 < side <= LARGEST_DILATION and side % 2
        if not odd and (type(side) is not int or side != 0):
            raise ModelError(
                f"dilation = {side!r} is neither 0 nor an odd number up to {LARGEST_DILATION}"
            )
        if not isinstance(self.dilation_covers, str) or self.dilation_covers not in COVERED:
            raise ModelError(
                f"dilation_covers = {self.dilation_covers!r} is not one of {', '.join(COVERED)}"
            )
        if not isinstance(self.background_competes, bool):
            raise ModelError(
                f"background_competes = {self.background_competes!r} is neither true nor false"
            )

    @classmethod
    def of(cls, card: Card) -> "PixelRules":
        """Return the rules of a model: its one threshold, no dilation; what its card says."""
        return cls((card.threshold,) * 4, background_competes=card.background_competes)

    @classmethod
    def from_table(cls, table: Any, source: str) -> "PixelRules":
        """Read the table `[pixels]` of an ensemble.

        Raises
        ------
        ModelError
            If a key is unknown or missing, or a value makes no sense.
        """
        known = {f.name for f in dataclasses.fields(cls)}
        if not isinstance(table, dict):
            raise ModelError(f"{source}: pixels = {table!r} is not a table; write [pixels]")
        unknown = sorted(table.keys() - known)
        if unknown or "thresholds" not in table:
            raise ModelError(f"{source}: [pixels] has unknown keys {unknown} or no thresholds")
        thresholds = table["thresholds"]
        if isinstance(thresholds, list):
            table = table | {"thresholds": tuple(thresholds)}
        try:
            return cls(**table)
        except ModelError as error:
            raise ModelError(f"{source}: [pixels] {error}; fix the ensemble") from error

    @property
    def reach(self) -> int:
        """How far a pixel changes its neighbours, pixels."""
        return self.dilation // 2

    def grades(self, localisation: np.ndarray, damage: np.ndarray) -> np.ndarray:
        """Grade every pixel.

        Parameters
        ----------
        localisation
            float (rows, columns), 0-1.
        damage
            float (4, rows, columns), not negative: the four grades as the family scores them.

        Returns
        -------
        uint8 (rows, columns)
            Codes: 0 background, 1-4 the grade. Of equal grades the lowest is taken.
        """
        # Source: xView2 first place, create_submission.py:28-74; there the thresholds are .38 for
        # no-damage, .13 for minor and major damage and .14 for destroyed, the square has 5 pixels.
        best = damage.argmax(0)
        limit = np.asarray(self.thresholds, localisation.dtype)
        found = np.where(localisation > limit[best], best + 1, 0).astype(np.uint8)
        if self.background_competes:
            # Source: torchange 0.0.4, metrics/xview2.py: the largest of five, background first.
            found[damage.max(0) <= 1 - damage.sum(0)] = 0
        return self.dilated(found)

    def dilated(self, grades: np.ndarray) -> np.ndarray:
        """Return uint8 (rows, columns) grades after minor damage has grown."""
        if not self.reach:
            return grades
        minor = (grades == DamageGrade.MINOR).view(np.uint8)
        grown = cv2.dilate(minor, np.ones((self.dilation, self.dilation), np.uint8)) > 0
        covered = np.isin(grades, COVERED[self.dilation_covers])
        return np.where(grown & covered, np.uint8(DamageGrade.MINOR), grades)


def one_hot(grades: np.ndarray, out: np.ndarray) -> None:
    """Write grades as if they were certain probabilities: 1 in the channel of each pixel's grade.

    Parameters
    ----------
    grades
        uint8 (rows, columns): 0 background, 1-4.
    out
        float32 (5, rows, columns), overwritten.
    """
    np.equal(grades[None], np.arange(5, dtype=np.uint8)[:, None, None], out=out)


def _are_shares(values: Any) -> bool:
    """Say whether these are numbers from 0 to below 1."""
    return isinstance(values, tuple) and all(
        isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v < 1 for v in values
    )
