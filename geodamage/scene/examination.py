"""The examination of a scene, before any of it is graded: what it is, and how it lies.

Reads blocks of both images and asks `pair`, `acquisition` and `registration` about them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from geodamage.scene.acquisition import doubts, read_acquisition
from geodamage.scene.image import Image
from geodamage.scene.opening import environment
from geodamage.scene.options import SceneOptions
from geodamage.scene.pair import (
    SPOT,
    SPOTS,
    image_oddities,
    missing_spots,
    oddities,
    require_two_images,
    short,
)
from geodamage.scene.registration import Registration, Sight, measure
from geodamage.scene.shift import Shift, directed, length_of, shift_facts, shift_field
from geodamage.scene.survey import Block, Ground, grey, look, shares, spread
from geodamage.words import counted

#: Blocks from which on the lack of any likeness is said.
MANY = 4
#: Side of a black square that is taken for fill, pixels.
FILL = 33


@dataclass(frozen=True)
class Examination:
    """What was found of a scene.

    Attributes
    ----------
    doubts
        What a user should know, a line each.
    remarks
        What else is worth a line.
    blocks
        What was looked at of two images that can be compared.
    facts
        What a sidecar says.
    shift
        What moves the post image into place; None where it stays.
    """

    doubts: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    shift: Shift | None = None
    remarks: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()


def examine(
    images: Sequence[Image], ground: Ground, options: SceneOptions, roles: Sequence[str]
) -> Examination:
    """Look at the images of a scene.

    Parameters
    ----------
    roles
        What its images are called: `pre` and `post`, `image`, or `post`.

    Raises
    ------
    SceneError
        If both images are the same.
    SceneReadError
        If a file is damaged where it was looked at.
    """
    names = tuple(short(image.first.name) for image in images)
    windows = spread(ground.extent, (ground.origin.row, ground.origin.column))
    alike = options.post_sensor == "optical"
    blocks = look(images, ground, windows)
    facts: dict[str, Any] = {
        "looked_at": {
            role: {key: round(share, 4) for key, share in shares(blocks, side).items()}
            for role, side in zip(roles, ("pre", "post"), strict=False)
        }
    }
    taken = [_acquisition(image) for image in images]
    for role, one in zip(roles, taken, strict=True):
        facts["looked_at"][role] |= one.facts()
    lost = [
        note
        for image, side in zip(images, ("pre", "post"), strict=False)
        for note in _lost_ground(image, missing_spots(blocks, side))
    ]
    if len(images) == 1:
        return Examination([*image_oddities(blocks, "pre", names[0]), *lost], facts)
    both = names[0], names[1]
    found = [*doubts(taken[0], taken[1], both), *lost]
    if alike:
        require_two_images(blocks, both)
        found += oddities(blocks, both)
    else:
        found += image_oddities(blocks, "pre", names[0])
    sights = _Sights(images, ground, blocks)
    registration, shift = _registration(sights, ground, options, found)
    facts |= {"registration": registration}
    seen = tuple(blocks) if alike else ()
    return Examination(found, facts, shift, _remarks(registration), seen)


def _lost_ground(image: Image, share: float) -> list[str]:
    """Return a line where a nodata value seems to be a colour of the ground, too."""
    tile = image.first
    if tile.nodata is None or share <= SPOTS:
        return []
    name, value = short(tile.name), tile.nodata[0]
    is_tag = tile.dataset.nodata is not None and value == tile.dataset.nodata
    remedy = (
        f"remove the tag with gdal_edit.py -unsetnodata {name}"
        if is_tag
        else "give another value as nodata"
    )
    return [
        f"{name}: {share:.1%} of its pixels hold its nodata value {value:g} in spots narrower than "
        f"{SPOT} pixels; if that is ground, {remedy}"
    ]


def _remarks(registration: dict[str, Any]) -> tuple[str, ...]:
    """Return how post lies, in a line; or that nobody knows."""
    if registration["verdict"] == "off":
        return ()
    if registration["verdict"] == "unknown":
        return (f"the shift of post against pre is unknown: {registration['why']}",)
    moved = ", and is moved by it" if registration["applied"] else ""
    error = registration["error_m"]
    doubt = "" if error is None else f", \N{PLUS-MINUS SIGN} {error:.1f} m"
    return (
        f"post is shifted {length_of(registration):.1f} m against pre "
        f"({directed(registration)}){doubt}, "
        f"from {counted(registration['blocks'], 'block')}{moved}",
    )


def _acquisition(image: Image) -> Any:
    tile = image.first
    with environment(tile.name):
        tags, imagery = tile.dataset.tags(), tile.dataset.tags(ns="IMAGERY")
    return read_acquisition(tile.name, tags, imagery)


def _registration(
    sights: "_Sights", ground: Ground, options: SceneOptions, found: list[str]
) -> tuple[dict[str, Any], Shift | None]:
    """Return what the sidecar says of the registration, and the shift that is to be applied."""
    facts: dict[str, Any] = {"asked": options.registration}
    if options.registration == "off":
        return facts | {"verdict": "off"}, None
    if options.post_sensor != "optical":
        why = "two sensors show one place too differently"
        measured = Registration(reason=why)
    else:
        measured = measure(sights.corners, sights)
    facts |= shift_facts(measured, ground.grid.gsd)
    if not measured.is_known:
        if options.registration == "apply":
            found.append(f"--registration apply: the shift is unknown ({measured.reason})")
        elif measured.is_unlike and measured.blocks >= MANY:
            found.append(
                "post does not resemble pre: is it cloud, water, total change or another "
                "place? Their registration cannot be known"
            )
        return facts, None
    limit, length = options.stands_shift, length_of(facts)
    applied = options.registration == "apply"
    is_far = limit is not None and length > limit
    verdict = "shifted" if is_far else "aligned"
    if is_far and not applied:
        found.append(
            f"post is shifted {length:.1f} m against pre ({directed(facts)}), more than the "
            f"{limit:g} m that the model tolerates; use --registration apply"
        )
    facts |= {"verdict": verdict, "model_stands_m": limit, "applied": applied}
    if not applied:
        return facts, None
    windows = [block.window for block in sights.blocks]
    field, is_uneven = shift_field(measured, ground.grid, ground.extent, windows)
    return facts | {"field": "linear" if is_uneven else "one shift"}, field


@dataclass
class _Sights:
    """Reads blocks as registration wants them: grey, the post image further on."""

    images: Sequence[Image]
    ground: Ground
    blocks: Sequence[Block]

    @property
    def corners(self) -> npt.NDArray[np.float64]:
        """Row and column of each block, float64 (blocks, 2)."""
        windows = [block.window for block in self.blocks]
        return np.array([(window.row, window.column) for window in windows], np.float64)

    def __call__(self, number: int, away: tuple[int, int]) -> Sight | None:
        block = self.blocks[number]
        post, seen = block.post, block.post_valid
        if away != (0, 0):
            origin = self.ground.origin
            place = block.window.shift(origin.row + away[0], origin.column + away[1])
            post, seen = self.images[1].read(self.ground.lattice, place)
        one, two = grey(block.pre), grey(post)
        filled = _is_filled(one) | _is_filled(two)
        return Sight(one, two, block.pre_valid & seen & ~filled)


def _is_filled(image: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return where an image is black over more ground than a shadow is: its edge is no likeness."""
    black = (image == 0).view(np.uint8)
    if not black.any():
        return np.zeros(image.shape, bool)
    opened = cv2.morphologyEx(black, cv2.MORPH_OPEN, np.ones((FILL, FILL), np.uint8))
    return np.asarray(opened > 0)
