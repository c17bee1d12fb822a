"""Placement of footprints: how far they lie off the buildings that a model finds in pre."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import rasterio.features
import shapely

from geodamage.ahead import close
from geodamage.prediction import CLOSED, Strip
from geodamage.scene.registration import Registration, Sight, measure
from geodamage.scene.scene import Scene
from geodamage.scene.shift import Shift, directed, length_of, shift_facts, shift_field
from geodamage.scene.survey import spread
from geodamage.windows import Window

#: Metres that footprints may lie off before it is a doubt. Over 835 footprints of eight pairs kappa
#: was 0.822 as they are, 0.822 and 0.823 where all lie 2 and 5 m off, 0.765 at 10 m (2026-11-30).
FAR = 5.0


class Placement:
    """Keeps what a model says of buildings in blocks of a scene, and lays footprints over it.

    Parameters
    ----------
    scene
        Open.
    shapes
        Geometries of the footprints, in the CRS of its grid; some may be missing.

    Attributes
    ----------
    windows
        The blocks, on the scene's grid.
    """

    def __init__(self, scene: Scene, shapes: np.ndarray) -> None:
        self.windows = spread(scene.region, scene.origin)
        self._grid, self._region = scene.grid, scene.region
        self._shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
        self._tree = shapely.STRtree(self._shapes)
        self._found = [np.zeros(window.shape, np.float32) for window in self.windows]
        self._seen = [np.zeros(window.shape, bool) for window in self.windows]

    def add(self, strip: Strip) -> None:
        """Keep what a strip says of the blocks."""
        for window, found, seen in zip(self.windows, self._found, self._seen, strict=True):
            part = window & strip.window
            if part.size:
                here = part.shift(-window.row, -window.column).slices
                there = part.shift(-strip.window.row, -strip.window.column).slices
                found[here] = 255 * (1 - strip.probabilities[0][there])
                seen[here] = (strip.missing[there] & CLOSED) == 0

    def watch(self, strips: Iterable[Strip]) -> Iterator[Strip]:
        """Yield strips on, and keep what they say of the blocks."""
        try:
            for strip in strips:
                self.add(strip)
                yield strip
        finally:
            close(strips)

    def measured(self) -> Registration:
        """Return how far the footprints lie off."""
        corners = np.array([(window.row, window.column) for window in self.windows], np.float64)
        return measure(corners, self._sight, "the footprints", "the buildings in pre")

    def field(self, measured: Registration) -> tuple[Shift, bool]:
        """Return a known shift in CRS units, and whether it is another from place to place."""
        return shift_field(measured, self._grid, self._region, self.windows)

    def _sight(self, number: int, away: tuple[int, int]) -> Sight:
        drawn = self._drawn(self.windows[number].shift(*away))
        return Sight(self._found[number], drawn, self._seen[number])

    def _drawn(self, window: Window) -> np.ndarray:
        """Return the footprints of a window as an image, float32 (rows, columns), 0 or 255."""
        inside = self._tree.query(shapely.box(*self._grid.window_bounds(window)))
        if not len(inside):
            return np.zeros(window.shape, np.float32)
        burnt: np.ndarray = rasterio.features.rasterize(
            [(shape, 255) for shape in self._shapes[inside]],
            out_shape=window.shape,
            transform=self._grid.crop(window).transform,
            dtype="float32",
        )
        return burnt


def placement_facts(measured: Registration, gsd: tuple[float, float]) -> dict[str, Any]:
    """Return what a sidecar says of the placement of footprints.

    Parameters
    ----------
    gsd
        Ground metres of a pixel, across and down.
    """
    facts = shift_facts(measured, gsd)
    if not measured.is_known:
        return facts
    return facts | {"verdict": "shifted" if length_of(facts) > FAR else "aligned", "far_m": FAR}


def placement_remarks(facts: Mapping[str, Any]) -> list[str]:
    """Return how footprints lie, in a line; or that nobody knows."""
    if facts["verdict"] == "off":
        return []
    if facts["verdict"] == "unknown":
        return [f"the shift of the footprints against pre is unknown: {facts['why']}"]
    moved = ", and are graded where these are" if facts["applied"] else ""
    return [f"the footprints are shifted {_said(facts)} against the buildings in pre{moved}"]


def placement_doubts(facts: Mapping[str, Any]) -> list[str]:
    """Return what a user should know of how footprints lie, a line each."""
    if facts["verdict"] == "unknown" and facts["asked"] == "apply":
        return [
            f"--registration apply: the shift of the footprints is not known ({facts['why']}); "
            "they are graded where they are"
        ]
    if facts["verdict"] == "shifted" and not facts["applied"]:
        return [
            f"the footprints are shifted {_said(facts)} against the buildings in pre; use "
            f"--registration apply "
            "to grade them where these are"
        ]
    return []


def _said(facts: Mapping[str, Any]) -> str:
    return f"{length_of(facts):.1f} m ({directed(facts)})"
