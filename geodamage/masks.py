"""Masks: labels burned into rasters of grade codes."""

from collections.abc import Sequence

import cv2
import numpy as np

from geodamage.labels import Label


def burn_labels(
    labels: Sequence[Label], shape: tuple[int, int], *, unclassified: int | None = None
) -> np.ndarray:
    """Burn xBD labels into a mask exactly as the official xView2 targets were drawn.

    Vertices are rounded to whole pixels and filled by OpenCV in file order: where labels overlap,
    the later one wins.

    Parameters
    ----------
    labels
        In file order.
    shape
        Rows and columns.
    unclassified
        Code for labels without a grade; None leaves them undrawn, as in the official targets.

    Returns
    -------
    uint8 (rows, columns)
        0 background, 1-4 `DamageGrade`.
    """
    mask = np.zeros(shape, np.uint8)
    for label in labels:
        code = unclassified if label.grade is None else int(label.grade)
        if code is not None:
            fill(mask, label, code)
    return mask


def burn_index(labels: Sequence[Label], shape: tuple[int, int]) -> np.ndarray:
    """Burn each label's place in the sequence, counted from 1; 0 is background.

    Returns
    -------
    int32 (rows, columns)
    """
    index = np.zeros(shape, np.int32)
    for number, label in enumerate(labels, start=1):
        fill(index, label, number)
    return index


def fill(mask: np.ndarray, label: Label, code: int) -> None:
    """Fill one label's polygon in place; its holes keep what was there before."""
    rings = [label.polygon.exterior, *label.polygon.interiors]
    # Source: the official post targets are fillPoly of the vertices rounded half to even.
    vertices = [np.rint(np.asarray(ring.coords)[:, :2]).astype(np.int32) for ring in rings]
    if len(vertices) == 1:
        cv2.fillPoly(mask, vertices, code)
        return
    inside = np.zeros(mask.shape, np.uint8)
    cv2.fillPoly(inside, vertices[:1], 1)
    cv2.fillPoly(inside, vertices[1:], 0)
    mask[inside > 0] = code
