"""What is drawn over the post image of a chip, and what can still be asked about it then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geodamage.damage import NOT_ASSESSED, DamageGrade
from training.data.clouds import clouded
from training.data.floods import flooded
from training.data.winds import struck

if TYPE_CHECKING:
    from training.data.crops import ChipOptions


@dataclass
class Asked:
    """What is asked about a chip; changed in place.

    Attributes
    ----------
    damage, vote, standing, teacher
        What a chip has as `damage`, `vote`, `buildings_post` and `teacher`.
    """

    damage: np.ndarray
    vote: np.ndarray
    standing: np.ndarray
    teacher: np.ndarray | None

    def forget(self, where: np.ndarray) -> None:
        """Ask no teacher about pixels that no longer show what it saw, bool (size, size)."""
        if self.teacher is not None:
            self.teacher[where] = 0


def weathered(
    post: np.ndarray,
    asked: Asked,
    options: ChipOptions,
    shift: tuple[float, float],
    rng: np.random.Generator,
) -> np.ndarray:
    """Draw wind, flood and cloud over a post image, uint8 (size, size, 3), as often as asked for.

    A radar's image, uint8 (size, size), stays as it is.

    Parameters
    ----------
    shift
        Columns and rows that `post` is moved by against what is asked, pixels.
    """
    if post.ndim != 3:
        return post
    if options.wind and rng.random() < options.wind:
        post, asked.damage, changed = struck(post, asked.damage, shift, rng)
        asked.standing[changed & (asked.damage >= DamageGrade.MAJOR)] = NOT_ASSESSED
        asked.forget(changed)
    if options.flood and rng.random() < options.flood:
        post, asked.damage, wet, covered = flooded(post, asked.damage, shift, rng)
        asked.vote[asked.damage == NOT_ASSESSED], asked.standing[covered] = 0, NOT_ASSESSED
        asked.forget(wet)
    if options.cloud and rng.random() < options.cloud:
        post, hidden = clouded(post, rng, options.cloud_sharp)
        asked.vote[hidden], asked.standing[hidden] = 0, NOT_ASSESSED
        asked.damage[hidden & (asked.damage > 0)] = NOT_ASSESSED
        asked.forget(hidden)
    return post
