"""What hides the ground of a scene: found by the detector, and named by the user."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geodamage.scene.cells import CELL, SeenCells, seen_cells
from geodamage.scene.lattice import Lattice
from geodamage.scene.obscured import MARGIN, hidden_by
from geodamage.scene.options import SceneOptions
from geodamage.scene.pixels import (
    MISSING_POST,
    MISSING_PRE,
    OBSCURED_POST,
    OBSCURED_PRE,
    Pixels,
)
from geodamage.scene.unusable import Unusable, open_unusable
from geodamage.windows import Window

#: By the name of an image: its flags where something hides the ground, and where it has no data;
#: and what it is called where a pair is.
_FLAGS = {
    "pre": (OBSCURED_PRE, MISSING_PRE, "pre"),
    "post": (OBSCURED_POST, MISSING_POST, "post"),
    "image": (OBSCURED_PRE, MISSING_PRE, "pre"),
}


class Hiding:
    """Puts flags on pixels of a scene where something hides the ground.

    Parameters
    ----------
    options
        How the scene is read.
    dates
        What its images are called: `pre` and `post`, `image`, or `post`.
    """

    def __init__(self, options: SceneOptions, dates: Sequence[str]) -> None:
        self._options = options
        self._dates = [_FLAGS[date] for date in dates]
        # Two sensors are not compared: constant fill of the first is all that can be found.
        self._compared = len(self._dates) if options.post_sensor == "optical" else 1
        self._unusable: list[tuple[int, int, Unusable]] = []
        self._last: tuple[Window, SeenCells] | None = None

    @property
    def margin(self) -> int:
        """Pixels around a window that `mark` has to see."""
        return MARGIN + CELL if self._options.obscured == "on" else 0

    def open(self, lattice: Lattice, bounds: tuple[float, float, float, float]) -> None:
        """Open what the user calls unusable.

        Parameters
        ----------
        lattice
            Lattice of the scene.
        bounds
            Left, bottom, right, top of the scene in its CRS.

        Raises
        ------
        OptionError, SceneError, SceneReadError
            If a file cannot be used.
        """
        options = self._options
        for flag, absent, role in self._dates:
            path: Path | None = getattr(options, f"{role}_unusable")
            if path is not None:
                unusable = open_unusable(path, lattice, options.unusable_band, bounds)
                self._unusable.append((flag, absent, unusable))

    @property
    def doubts(self) -> list[str]:
        """What a user should know of the places of these files, a line each."""
        found = (unusable.doubt for *_, unusable in self._unusable)
        return list(dict.fromkeys(doubt for doubt in found if doubt is not None))

    def close(self) -> None:
        """Close the files."""
        for *_, unusable in self._unusable:
            unusable.close()

    def mark(self, pixels: Pixels, window: Window) -> Pixels:
        """Return the pixels of a window with flags by what they look like."""
        if self._options.obscured == "off":
            return pixels
        missing = pixels.missing.copy()
        self._mark_obscured(pixels, window, missing)
        return replace(pixels, missing=missing)

    def mark_unusable(
        self, pixels: Pixels, window: Window, origin: Window, lattice: Lattice
    ) -> Pixels:
        """Return pixels with flags by the user's files; of a grid that begins at `origin`."""
        if not self._unusable:
            return pixels
        missing = pixels.missing.copy()
        place = window.shift(origin.row, origin.column)
        for flag, absent, unusable in self._unusable:
            found = unusable.read(lattice, place)
            missing[found & ((missing & absent) == 0)] |= np.uint8(flag)
        return replace(pixels, missing=missing)

    def _mark_obscured(
        self, pixels: Pixels, window: Window, missing: npt.NDArray[np.uint8]
    ) -> None:
        # Cells lie on the lattice: what is left beside whole ones belongs to the margin.
        top, left = -window.row % CELL, -window.column % CELL
        height = (window.height - top) // CELL * CELL
        width = (window.width - left) // CELL * CELL
        cut = slice(top, top + height), slice(left, left + width)
        place = Window(window.row + top, window.column + left, height, width)
        dates = self._dates[: self._compared]
        images = [getattr(pixels, role)[:, *cut] for *_, role in dates]
        absent = [(missing[cut] & flag) > 0 for _, flag, _ in dates]
        cells = seen_cells(images, absent, above=self._above(place))
        self._last = place, cells
        for (flag, *_), obscured in zip(dates, hidden_by(cells, images, absent), strict=True):
            if obscured.any():
                missing[cut][obscured] |= np.uint8(flag)

    def _above(self, place: Window) -> SeenCells | None:
        """Return what the window before has shown of the first rows of one, where it lies above."""
        if self._last is None:
            return None
        last, cells = self._last
        same = (last.column, last.width) == (place.column, place.width)
        if same and last.row < place.row < last.bottom <= place.bottom:
            return cells.last((last.bottom - place.row) // CELL)
        return None

    def facts(self) -> dict[str, Any]:
        """Return what a sidecar says."""
        paths = {"pre": self._options.pre_unusable, "post": self._options.post_unusable}
        return {
            "obscured": self._options.obscured,
            "unusable": {role: path and str(path) for role, path in paths.items()},
        }
