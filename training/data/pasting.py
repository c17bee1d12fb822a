"""Buildings of one chip pasted into another, before and after: kinds of damage in other places."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from geodamage.damage import NOT_ASSESSED
from training.data.radiometry import to_bytes

if TYPE_CHECKING:
    from training.data.crops import Chip

#: Ground that is pasted with a building, pixels; about four metres hold what fell off it, and the
#: water that makes its grade (`training.data.floods.RING`).
MARGIN = 8
#: Standard deviation of the seam's blend, pixels.
SEAM = 1.5
#: How often a building of the donor is pasted.
ODDS = 0.7


def pasted(host: Chip, donor: Chip, shift: tuple[float, float], rng: np.random.Generator) -> Chip:
    """Paste buildings of the donor, with the ground around them, into the host.

    Only grades are asked of what is pasted, and no teacher: a seam would tell where buildings are.
    Of a building of the host that is covered in part, nothing is asked any more.

    Parameters
    ----------
    host, donor
        Chips of one size, before they are photographed.
    shift
        Columns and rows that `post` of both is moved by against `pre`, pixels.
    """
    # Source of the idea: Ghiasi et al. 2021, "Simple Copy-Paste is a Strong Data Augmentation
    # Method for Instance Segmentation".
    taken = _taken(donor.damage, rng)
    if not taken.any():
        return host
    patch = _grown(taken, MARGIN)
    cut = _cut(host.damage, patch)
    after = _moved(patch, shift)
    tone = rng.uniform(0, 1)
    # A building of the donor that was not taken may reach into the patch; no half of one is asked.
    rest = patch & (donor.damage > 0) & ~taken
    unknown = rest | cut
    standing = np.where(after | _moved(cut, shift), NOT_ASSESSED, host.buildings_post)
    return host._replace(
        pre=_blended(host.pre, donor.pre, patch, tone),
        post=_blended(host.post, donor.post, after, tone),
        buildings=np.where(cut, NOT_ASSESSED, np.where(patch, donor.buildings, host.buildings)),
        weights=np.where(patch | cut, np.float32(0), host.weights),
        damage=np.where(unknown, NOT_ASSESSED, np.where(patch, donor.damage, host.damage)),
        vote=np.where(unknown, np.float32(0), np.where(patch, donor.vote, host.vote)),
        buildings_post=standing,
        teacher=None
        if host.teacher is None
        else np.where((patch | cut)[..., None], 0, host.teacher),
    )


def _taken(damage: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Choose buildings that have a grade, bool (size, size)."""
    graded = ((damage > 0) & (damage != NOT_ASSESSED)).astype(np.uint8)
    number, labels = cv2.connectedComponents(graded, connectivity=4)
    chosen = np.asarray(rng.random(number) < ODDS)
    chosen[0] = False
    return np.asarray(chosen[labels])


def _cut(damage: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """Return what is left of the buildings that a patch covers in part, bool (size, size)."""
    number, labels = cv2.connectedComponents((damage > 0).astype(np.uint8), connectivity=4)
    touched = np.bincount(labels[patch], minlength=number) > 0
    touched[0] = False
    return np.asarray(touched[labels] & ~patch)


def _blended(host: np.ndarray, donor: np.ndarray, patch: np.ndarray, tone: float) -> np.ndarray:
    """Lay the donor over the host; `tone` is how far it takes on the host's mean colour."""
    share = np.asarray(cv2.GaussianBlur(patch.astype(np.float32), (0, 0), SEAM))[..., None]
    there = np.asarray(donor.any(2))
    share = share * there[..., None]
    if there.any():
        lift = tone * (host.mean((0, 1)) - donor[there].mean(0))
    else:
        lift = np.zeros(host.shape[2])
    seen = host + share * (np.clip(donor + lift, 1, 255) - host)
    return np.where(host.any(2, keepdims=True), to_bytes(np.asarray(seen, np.float32)), 0)


def _grown(mask: np.ndarray, by: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * by + 1, 2 * by + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def _moved(mask: np.ndarray, by: tuple[float, float]) -> np.ndarray:
    matrix = np.array([[1, 0, by[0]], [0, 1, by[1]]], float)
    moved = cv2.warpAffine(mask.astype(np.uint8), matrix, mask.shape[::-1], flags=cv2.INTER_NEAREST)
    return np.asarray(moved > 0)
