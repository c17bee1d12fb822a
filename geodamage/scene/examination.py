"""The examination of a scene, before any of it is graded: what it is, and how it lies.

Reads blocks of both images and asks `pair`, `acquisition` and `registration` about them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from geodamage.scene.acquisition import doubts, read_acquisition
from geodamage.scene.image import Image, Shift
from geodamage.scene.options import SceneOptions
from geodamage.scene.pair import image_oddities, oddities, require_two_images, short
from geodamage.scene.registration import Registration, Sight, affine_field, measure
from geodamage.scene.survey import Block, Ground, look, shares, spread
from geodamage.scene.tiles import environment
from geodamage.windows import Window

#: Blocks from which on the lack of any likeness is said.
MANY = 4
#: Metres by which a field must differ over a scene before it is taken instead of one shift.
UNEVEN = 1.0


@dataclass(frozen=True)
class Examination:
    """What was found of a scene.

    Attributes
    ----------
    doubts
        What a user should know, a line each.
    remarks
        What else is worth a line.
    facts
        What a sidecar says.
    shift
        What moves the image after into place; None where it stays.
    """

    doubts: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    shift: Shift | None = None
    remarks: tuple[str, ...] = ()


def examine(images: Sequence[Image], ground: Ground, options: SceneOptions) -> Examination:
    """Look at the images of a scene.

    Raises
    ------
    SceneError
        If both images are the same.
    SceneReadError
        If a file is damaged where it was looked at.
    """
    names = tuple(short(image.first.name) for image in images)
    windows = spread(ground.extent)
    alike = options.post_sensor == "optical"
    blocks = look(images, ground, windows)
    roles = ("pre", "post") if len(images) > 1 else ("image",)
    facts: dict[str, Any] = {
        "looked_at": {
            role: {key: round(share, 4) for key, share in shares(blocks, side).items()}
            for role, side in zip(roles, ("pre", "post"), strict=False)
        }
    }
    taken = [_acquisition(image) for image in images]
    for role, one in zip(roles, taken, strict=True):
        facts["looked_at"][role] |= one.facts()
    if len(images) == 1:
        return Examination(image_oddities(blocks, "pre", names[0]), facts)
    both = names[0], names[1]
    found = doubts(taken[0], taken[1], both)
    if alike:
        require_two_images(blocks, both)
        found += oddities(blocks, both)
    else:
        found += image_oddities(blocks, "pre", names[0])
    registration, shift = _registration(images, ground, blocks, options, found)
    return Examination(found, facts | {"registration": registration}, shift, _remarks(registration))


def _remarks(registration: dict[str, Any]) -> tuple[str, ...]:
    """Return how post lies, in a line; or that nobody knows."""
    if registration["verdict"] == "off":
        return ()
    if registration["verdict"] == "unknown":
        return (f"how far post lies off pre is not known: {registration['why']}",)
    east, north = registration["east_m"], registration["north_m"]
    moved = ", and is moved by it" if registration["applied"] else ""
    return (
        f"post lies {np.hypot(east, north):.1f} m off pre ({_directed(east, north)}) by "
        f"{registration['blocks_agree']:.0%} of {registration['blocks']} blocks{moved}",
    )


def _acquisition(image: Image) -> Any:
    tile = image.first
    with environment(tile.name):
        tags, imagery = tile.dataset.tags(), tile.dataset.tags(ns="IMAGERY")
    return read_acquisition(tile.name, tags, imagery)


def _registration(
    images: Sequence[Image],
    ground: Ground,
    blocks: Sequence[Block],
    options: SceneOptions,
    found: list[str],
) -> tuple[dict[str, Any], Shift | None]:
    """Return what the sidecar says of the registration, and the shift that is to be applied."""
    facts: dict[str, Any] = {"asked": options.registration}
    windows = [block.window for block in blocks]
    if options.registration == "off":
        return facts | {"verdict": "off"}, None
    if options.post_sensor != "optical":
        why = "two sensors show one place too differently"
        measured = Registration(reason=why)
    else:
        measured = measure(
            np.array([(window.row, window.column) for window in windows], np.float64),
            _Sights(images[1], ground, blocks),
        )
    across, down = ground.grid.gsd
    facts |= {"blocks": measured.blocks, "blocks_agree": round(measured.agree, 3)}
    if measured.row is None or measured.column is None:
        if options.registration == "apply":
            found.append(f"--registration apply: the shift is not known ({measured.reason})")
        elif measured.is_unlike and measured.blocks >= MANY:
            found.append(
                "nothing in post looks like pre: is it cloud, water, total change or another "
                "place? Their registration cannot be known"
            )
        return facts | {"verdict": "unknown", "why": measured.reason, "applied": False}, None
    east, north = measured.column * across, -measured.row * down
    facts |= {
        "east_m": round(east, 2),
        "north_m": round(north, 2),
        "spread_m": None if measured.spread is None else round(measured.spread * across, 2),
    }
    length = float(np.hypot(east, north))
    limit = options.stands_shift
    applied = options.registration == "apply"
    is_far = limit is not None and length > limit
    verdict = "shifted" if is_far else "aligned"
    if is_far and not applied:
        found.append(
            f"post lies {length:.1f} m off pre ({_directed(east, north)}), more than the "
            f"{limit:g} m that the model stands; use --registration apply"
        )
    facts |= {"verdict": verdict, "model_stands_m": limit, "applied": applied}
    if not applied:
        return facts, None
    field, is_uneven = _field(measured, ground, windows)
    return facts | {"field": "linear" if is_uneven else "one shift"}, field


def _directed(east: float, north: float) -> str:
    sides = f"{abs(east):.1f} m {'east' if east >= 0 else 'west'}"
    return f"{sides}, {abs(north):.1f} m {'north' if north >= 0 else 'south'}"


@dataclass
class _Sights:
    """Gives blocks as registration wants them: grey, the image after further on."""

    post: Image
    ground: Ground
    blocks: Sequence[Block]

    def __call__(self, number: int, away: tuple[int, int]) -> Sight | None:
        block, origin = self.blocks[number], self.ground.origin
        post, valid = block.post, block.post_valid
        if any(away):
            place = block.window.shift(origin.row + away[0], origin.column + away[1])
            post, valid = self.post.read(self.ground.lattice, place)
        grey = [image.mean(0, dtype=np.float32) for image in (block.pre, post)]
        return Sight(grey[0], grey[1], block.pre_valid & valid)


def _field(measured: Registration, ground: Ground, windows: Sequence[Window]) -> tuple[Shift, bool]:
    """Return the field of shifts in CRS units, and whether it is another from place to place."""
    pixel = ground.lattice.pixel
    numbers = [int(number) for number, _, _ in measured.shifts]
    middles = [_middle(ground, windows[number]) for number in numbers]
    places = np.array(middles, np.float64).reshape(-1, 2)
    shifts = np.array([[column, -row] for _, row, column in measured.shifts]).reshape(-1, 2) * pixel
    centre = np.array(_middle(ground, ground.extent))
    field = affine_field(places - centre, shifts)
    if field is not None:
        ends = np.array([[1, *(place - centre)] for place in places]) @ field
        if np.ptp(ends, axis=0).max() >= UNEVEN:
            return _linear(field, centre), True
    if measured.row is None or measured.column is None:
        raise ValueError("no shift is known")
    one = np.array([[measured.column, -measured.row], [0, 0], [0, 0]]) * pixel
    return _linear(one, centre), False


def _linear(field: npt.NDArray[np.float64], centre: npt.NDArray[np.float64]) -> Shift:
    def shift(
        x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        away = x - centre[0], y - centre[1]
        east, north = (
            constant + by_x * away[0] + by_y * away[1] for constant, by_x, by_y in field.T
        )
        return east, north

    return shift


def _middle(ground: Ground, window: Window) -> tuple[float, float]:
    left, bottom, right, top = ground.grid.window_bounds(window)
    return (left + right) / 2, (bottom + top) / 2
