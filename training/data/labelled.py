"""A labelled sample: a pair, or one image, with its masks on the same pixels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geodamage.errors import LabelError
from training.data.radiometry import Bytes


@dataclass(frozen=True)
class Sample:
    """A pair, or one image, with its masks on the same pixels.

    Attributes
    ----------
    pre
        uint8 (rows, columns, 3), red, green, blue.
    post
        The same, or None where only `pre` is looked at.
    grades
        uint8 (rows, columns): 0 background, 1-4 `DamageGrade`, 255 unknown; 5 where a recipe makes
        un-classified a class of its own.
    buildings
        uint8 (rows, columns): 0, 1, 255 unknown.
    """

    pre: Bytes
    post: Bytes | None
    grades: Bytes
    buildings: Bytes

    def __post_init__(self) -> None:
        shape = self.grades.shape
        arrays = [self.pre, self.grades[..., None], self.buildings[..., None]]
        arrays += [] if self.post is None else [self.post]
        if any(a.dtype != np.uint8 or a.ndim != 3 or a.shape[:2] != shape for a in arrays):
            raise LabelError(
                f"sample: {', '.join(f'{a.dtype} {a.shape}' for a in arrays)}; "
                "its arrays are 8-bit and of one size"
            )

    def mapped(self, image: Callable[[Bytes], Bytes], mask: Callable[[Bytes], Bytes]) -> "Sample":
        """Return the sample with one function applied to its images and one to its masks."""
        post = None if self.post is None else image(self.post)
        return Sample(image(self.pre), post, mask(self.grades), mask(self.buildings))

    def recoloured(self, image: Callable[[Bytes], Bytes]) -> "Sample":
        """Return the sample with a function applied to each image."""
        return self.mapped(image, lambda mask: mask)
