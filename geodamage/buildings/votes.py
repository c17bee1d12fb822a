"""Votes: what of its pixels gives a building its grade, their probabilities or their grades.

By default the probabilities of a building's pixels are summed. Here each pixel is graded first, by
the rules of the model, and then counts once: what rasters of pixel grades say, as polygons.

Votes are written over the probabilities of their strip: memory is planned for one of the two.
"""

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from geodamage.ahead import close
from geodamage.model.card import Card
from geodamage.model.rules import one_hot
from geodamage.prediction import CLOSED, UNSEEN, Strip

VOTES = ("probabilities", "pixels")


#: Flags of pixels that post does not show: pre shows whether a building is there.
_HIDDEN_AFTER = UNSEEN & ~CLOSED


def count_pixels(strips: Iterable[Strip], threshold: float) -> Iterator[Strip]:
    """Write grades over the probabilities, for `find_buildings`.

    Rules give no grade to what post does not show. Such a pixel is of a building as it is without
    rules, and has no vote.

    Parameters
    ----------
    strips
        With grades.
    threshold
        Probability of a building above which a pixel that post does not show is one.

    Yields
    ------
    Strip
        Its probabilities are 1 for the grade of each pixel, background included; all are 0 of a
        building that post does not show.
    """
    try:
        for strip in strips:
            hidden = ((strip.missing & _HIDDEN_AFTER) > 0) & ((strip.missing & CLOSED) == 0)
            hidden &= strip.probabilities[0] < 1 - threshold
            one_hot(_grades(strip), out=strip.probabilities)
            strip.probabilities[:, hidden] = 0
            yield strip
    finally:
        close(strips)


def count_pixels_within(strips: Iterable[Strip]) -> Iterator[Strip]:
    """Write grades over the probabilities, for `grade_footprints`.

    A footprint says itself where a building is. So a pixel that the rules leave to the background
    counts for the grade that the damage head finds best, too.

    Parameters
    ----------
    strips
        With grades.

    Yields
    ------
    Strip
        Its probabilities are 1 for one of the four grades of each pixel.
    """
    try:
        for strip in strips:
            best = (strip.probabilities[1:].argmax(0) + 1).astype(np.uint8)
            grades = _grades(strip)
            one_hot(np.where(grades > 0, grades, best), out=strip.probabilities)
            yield strip
    finally:
        close(strips)


def _grades(strip: Strip) -> np.ndarray:
    if strip.grades is None:
        raise ValueError("the strips hold no grades; predict with_grades=True")
    return strip.grades


def plain(card: Card) -> Card:
    """Return the card by which counted pixels become buildings: nothing is left to weigh."""
    return dataclasses.replace(
        card,
        threshold=0.5,
        seed_threshold=0.0,
        seed_depth=0,
        temperature=1.0,
        grade_weights=(1.0, 1.0, 1.0, 1.0),
        damaged_threshold=0.5,
    )
