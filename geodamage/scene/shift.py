"""Shifts: what a registration says, in a sidecar, and as what pixels or polygons are moved by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from geodamage.grid import Grid
from geodamage.scene.registration import Registration, affine_field
from geodamage.windows import Window

#: Metres by which a field must differ over a scene before it is taken instead of one shift.
UNEVEN = 1.0

Floats = npt.NDArray[np.float64]

#: From x and y (CRS units of the working grid) to how far what was measured lies off there.
Shift = Callable[[Floats, Floats], tuple[Floats, Floats]]


@dataclass(frozen=True)
class LinearShift:
    """A shift that is linear in place; equal by value, and whole where a worker gets it.

    Attributes
    ----------
    centre
        x and y that it is counted from, CRS units.
    east, north
        Constant, by x and by y: CRS units.
    """

    centre: tuple[float, ...]
    east: tuple[float, ...]
    north: tuple[float, ...]

    def __call__(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return how far what was measured lies off, east and north."""
        away = x - self.centre[0], y - self.centre[1]
        east, north = (
            constant + by_x * away[0] + by_y * away[1]
            for constant, by_x, by_y in (self.east, self.north)
        )
        return east, north


def shift_facts(measured: Registration, gsd: tuple[float, float]) -> dict[str, Any]:
    """Return what a sidecar says of a registration.

    Parameters
    ----------
    gsd
        Ground metres of a pixel, across and down.
    """
    facts: dict[str, Any] = {
        "blocks": measured.blocks,
        "blocks_agree": round(measured.agree, 3),
    }
    if measured.row is None or measured.column is None:
        return facts | {"verdict": "unknown", "why": measured.reason, "applied": False}
    across, down = gsd
    lengths = {"spread_m": measured.spread, "error_m": measured.error}
    return facts | {
        "east_m": round(measured.column * across, 2),
        "north_m": round(-measured.row * down, 2),
        **{
            name: None if pixels is None else round(pixels * across, 2)
            for name, pixels in lengths.items()
        },
    }


def directed(facts: Mapping[str, Any]) -> str:
    """Return a shift in words: how far east or west, how far north or south."""
    east, north = facts["east_m"], facts["north_m"]
    sides = f"{abs(east):.1f} m {'east' if east >= 0 else 'west'}"
    return f"{sides}, {abs(north):.1f} m {'north' if north >= 0 else 'south'}"


def length_of(facts: Mapping[str, Any]) -> float:
    """Return the length of a shift that is known, metres."""
    return float(np.hypot(facts["east_m"], facts["north_m"]))


def shift_field(
    measured: Registration, grid: Grid, extent: Window, windows: Sequence[Window]
) -> tuple[LinearShift, bool]:
    """Return a known shift in CRS units, and whether it is another from place to place.

    Parameters
    ----------
    grid, extent
        Working grid of the scene, and what was measured of it.
    windows
        The blocks that were measured.

    Raises
    ------
    ValueError
        If no shift is known.
    """
    if measured.row is None or measured.column is None:
        raise ValueError("no shift is known")
    pixel = abs(grid.transform.a)
    numbers = [number for number, _, _ in measured.shifts]
    places = np.array([_middle(grid, windows[n]) for n in numbers], np.float64).reshape(-1, 2)
    shifts = np.array([[column, -row] for _, row, column in measured.shifts]).reshape(-1, 2) * pixel
    centre = np.array(_middle(grid, extent))
    field = affine_field(places - centre, shifts)
    if field is not None:
        ends = np.column_stack([np.ones(len(places)), places - centre]) @ field
        if np.ptp(ends, axis=0).max() >= UNEVEN:
            return _linear(field, centre), True
    one = np.array([[measured.column, -measured.row], [0, 0], [0, 0]]) * pixel
    return _linear(one, centre), False


def _linear(field: Floats, centre: Floats) -> LinearShift:
    east, north = field.T.tolist()
    return LinearShift(tuple(centre.tolist()), tuple(east), tuple(north))


def _middle(grid: Grid, window: Window) -> tuple[float, float]:
    left, bottom, right, top = grid.window_bounds(window)
    return (left + right) / 2, (bottom + top) / 2
