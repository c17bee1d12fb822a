"""A known window, and how far two sessions of one model differ on it."""

import sys
from typing import Any

import numpy as np

from geodamage.model.card import Card

#: Rows and columns of the window on which sessions are compared, in strides.
STRIDES = 16


def difference(session: Any, reference: Any, card: Card) -> float:
    """Return the largest difference between two sessions, with one window in a call and two."""
    names = [node.name for node in reference.get_outputs()]
    images = known_windows(card, reference)
    alone = {name: image[:1] for name, image in images.items()}
    try:
        answers = [
            pair
            for feed in (images, alone)
            for pair in zip(session.run(names, feed), reference.run(names, feed), strict=True)
        ]
        largest = float(np.max([np.abs(_shares(a) - _shares(b)).max() for a, b in answers]))
    except Exception:  # either runtime's own: it does not run, so it is not right
        return sys.float_info.max
    return largest if np.isfinite(largest) else sys.float_info.max


def _shares(head: np.ndarray) -> np.ndarray:
    """Return the grades of a damage head as shares of their sum; a localisation as it is."""
    if head.ndim != 4 or head.shape[1] == 1:
        return head
    shares: np.ndarray = head / np.maximum(head.sum(1, keepdims=True), 1e-12)
    return shares


def known_windows(card: Card, session: Any) -> dict[str, np.ndarray]:
    """Return two windows of a drawn town by the inputs of a session, uint8 (2, c, rows, columns).

    Houses with sharp edges on a speckled ground, some of them lighter after; so no layer is asked
    for one value alone.
    """
    draw = np.random.default_rng(22)
    known = {"pre": card.pre_channels, "post": card.post_channels}
    shapes = {node.name: [*node.shape, None, None][2:4] for node in session.get_inputs()}
    fixed = next(iter(shapes.values()))
    rows, columns = (size if isinstance(size, int) else STRIDES * card.stride for size in fixed)
    ground = draw.integers(60, 120, (2, 1, rows, columns))
    houses = np.zeros((2, 2, rows, columns), bool)
    for _ in range(24):
        top, left = draw.integers(0, rows), draw.integers(0, columns)
        box = np.s_[:, top : top + draw.integers(6, 24), left : left + draw.integers(6, 24)]
        houses[0][box] = True
        houses[1][box] = draw.random() < 0.5
    images = {}
    for number, (name, channels) in enumerate(known.items()):
        roof = np.where(houses[number][:, None], draw.integers(20, 130), 0)
        noise = draw.integers(-8, 9, (2, len(channels), rows, columns))
        images[name] = np.clip(ground + roof + noise, 0, 255).astype(np.uint8)
    return {name: images[name] for name in shapes}
