"""A pair of images, looked at before it is graded: what refuses it, and what is odd. No files."""

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from geodamage.errors import SceneError
from geodamage.scene.survey import LEAST_DETAIL, Block, grey, shares

#: Shares of an image without data, and at the end of its range, above which there is a warning.
NODATA, SATURATED = 0.5, 0.25
#: Shares of pixels that are equal in both images: of blocks, from which they are the same image,
#: and of all, from which there is a warning.
EQUAL_BLOCK, EQUAL = 0.999, 0.5
#: Rows and columns of a square: what lacks in a narrower spot may be ground, and no fill. And the
#: share of an image in such spots above which there is a warning.
SPOT, SPOTS = 9, 0.005
#: Correlation of both dates, of the middle block, above which nothing seems to have changed.
UNCHANGED = 0.985


def require_two_files(pre: Sequence[str], post: Sequence[str]) -> None:
    """Refuse a pair of one file.

    Parameters
    ----------
    pre, post
        The files of both images, as `geodamage.sources.find` returns them.

    Raises
    ------
    SceneError
        If both images are made of the same files.
    """
    files = [{_identity(name) for name in names} for names in (pre, post)]
    if files[0] == files[1]:
        raise SceneError(
            f"{pre[0]}: pre and post are the same file; give the pre image and the post image"
        )


def _identity(name: str) -> tuple[int, int] | str:
    """Return what is the same of a file under all its names."""
    try:
        found = os.stat(name)  # noqa: PTH116 (a URL is no path)
    except (OSError, ValueError):
        return name
    return found.st_dev, found.st_ino


def require_two_images(blocks: Sequence[Block], names: tuple[str, str]) -> None:
    """Refuse a pair of the same pixels.

    Raises
    ------
    SceneError
        If every block that shows something shows the same in both images.
    """
    equal = [block.equal for block in blocks if block.equal is not None]
    if equal and min(equal) >= EQUAL_BLOCK:
        raise SceneError(
            f"{names[1]}: the same pixels as {names[0]}; give the pre image and the post image"
        )


def oddities(blocks: Sequence[Block], names: tuple[str, str]) -> list[str]:
    """Return what is odd about the pixels of a pair, a line each.

    Parameters
    ----------
    names
        Names of both images, for the warnings.
    """
    found = []
    for role, name in zip(("pre", "post"), names, strict=True):
        found += image_oddities(blocks, role, name)
    equal = [block.equal for block in blocks if block.equal is not None]
    if equal and np.mean(equal) > EQUAL:
        found.append(
            f"{names[1]}: {np.mean(equal):.0%} of its pixels equal those of {names[0]}; is a "
            f"part of "
            "it an older image?"
        )
    likeness = [value for block in blocks if (value := _likeness(block)) is not None]
    if likeness and np.median(likeness) > UNCHANGED:
        found.append(
            f"nothing differs between {names[0]} and {names[1]}; is post the same image again?"
        )
    return found


def image_oddities(blocks: Sequence[Block], role: str, name: str) -> list[str]:
    """Return what is odd about the pixels of one image, a line each."""
    found = []
    found_shares = shares(blocks, role)
    if found_shares["nodata"] > NODATA:
        found.append(f"{name}: {found_shares['nodata']:.0%} of the overlap has no data in it")
    if found_shares["saturated"] > SATURATED:
        found.append(
            f"{name}: {found_shares['saturated']:.0%} of its pixels are fully black or white; "
            "is it stretched too far?"
        )
    images = [getattr(block, role) for block in blocks if getattr(block, f"{role}_valid").any()]
    if images and all(_is_grey(image) for image in images):
        found.append(
            f"{name}: its channels are equal; is it panchromatic, or of a radar? The model needs "
            "colours"
        )
    return found


def missing_spots(blocks: Sequence[Block], role: str) -> float:
    """Return the share of an image without data in spots narrower than `SPOT` pixels, 0-1."""
    square, pixels, spots = np.ones((SPOT, SPOT), np.uint8), 0, 0
    for block in blocks:
        missing = ~getattr(block, f"{role}_valid")
        pixels += missing.size
        if not missing.any():
            continue
        wide = cv2.morphologyEx(missing.view(np.uint8), cv2.MORPH_OPEN, square)
        spots += int((missing & (wide == 0)).sum())
    return spots / max(pixels, 1)


def _is_grey(image: npt.NDArray[np.uint8]) -> bool:
    return len(image) > 1 and bool((image == image[:1]).all())


def _likeness(block: Block) -> float | None:
    """Return the correlation of both dates in a block; None where one shows nothing."""
    both = block.both
    if both.mean() < 0.5:
        return None
    found = [grey(image)[both] for image in (block.pre, block.post)]
    one, two = (values - values.mean(dtype=np.float64).astype(np.float32) for values in found)
    spreads = [float(np.sqrt(values @ values / len(values))) for values in (one, two)]
    if min(spreads) < LEAST_DETAIL:
        return None
    return float(one @ two / len(one)) / (spreads[0] * spreads[1])


def short(name: str) -> str:
    """Return the last part of a path, for lines that name two of them."""
    return Path(name).name
