"""Arrays: a pair of images in memory in, what a model says of each pixel out."""

from typing import NamedTuple, cast

import numpy as np

from geodamage.errors import ModelError, SceneError
from geodamage.model.card import Card
from geodamage.model.heads import Heads, Predictor, heads_of, probabilities
from geodamage.plan import make_plan
from geodamage.prediction import run_plan
from geodamage.scene.pixels import OUTSIDE, Pixels
from geodamage.scene.scene import Scene
from geodamage.scene.statistics import shown, statistics_of
from geodamage.windows import Window, mirror, round_up

#: Channels of an image in memory, in order.
COLOURS = ("red", "green", "blue")


class Prediction(NamedTuple):
    """What a model says of one pair of images.

    Attributes
    ----------
    localisation
        float32 (rows, columns), 0-1: probability of a building.
    damage
        float32 (4, rows, columns), not negative: the four grades as the model scores them. Where
        the pair was cut into windows, they sum to 1.
    probabilities
        float32 (5, rows, columns): background, then the four grades.
    grades
        uint8 (rows, columns): the grade of each pixel by the rules of the model, if the heads above
        no longer contain it. In windows, the background that the damage head leaves is gone. Else
        None.
    """

    localisation: np.ndarray
    damage: np.ndarray
    probabilities: np.ndarray
    grades: np.ndarray | None = None


def predict_arrays(
    model: Predictor, pre: np.ndarray, post: np.ndarray, *, memory: float = 1.5e9
) -> np.ndarray:
    """Predict a pair of images in memory; see `predict_pair`.

    Returns
    -------
    float32 (5, rows, columns)
        Background, then the four grades.
    """
    return predict_pair(model, pre, post, memory=memory).probabilities


def predict_pair(
    model: Predictor, pre: np.ndarray, post: np.ndarray, *, memory: float = 1.5e9
) -> Prediction:
    """Predict a pair of images in memory.

    An image that fits into the window of the model is predicted at once. A local model sees it
    unchanged; a side that is not a multiple of the stride is mirrored at the bottom or the right. A
    global model sees exactly its window, and a smaller image is mirrored in the same way. Beyond
    the other sides the model sees what its own padding holds, as the published networks do. A
    larger image is cut up as `predict` cuts a scene, so the result does not depend on the memory.

    Parameters
    ----------
    model
        Any predictor with both heads.
    pre, post
        uint8 (rows, columns, 3), red, green, blue, on one pixel grid.
    memory
        Bytes that cutting up a larger image is planned for.

    Raises
    ------
    SceneError
        If the arrays are no such pair.
    ModelError
        If the model takes other channels, or lacks a head.
    ResourceError
        If one window needs more memory.
    """
    _check(pre, post)
    _check_heads(model.card)
    before = _planes(model.card, pre, model.card.pre_channels)
    after = _planes(model.card, post, model.card.post_channels)
    if max(before.shape[1:]) <= model.card.tile:
        pixels = Pixels(before, after, np.zeros(before.shape[1:], np.uint8))
        scalings = statistics_of(_ArrayScene(before, after), model.card)
        seen = shown(pixels, scalings)
        return _at_once(model, seen.pre, seen.post)
    return _in_tiles(model, before, after, memory)


def _check(pre: np.ndarray, post: np.ndarray) -> None:
    for date, image in (("pre", pre), ("post", post)):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise SceneError(
                f"{date} is {image.dtype} {image.shape}; give uint8 (rows, columns, 3)"
            )
    if pre.shape != post.shape:
        raise SceneError(
            f"pre has {_size(pre)} pixels and post {_size(post)}; give two images of one size"
        )


def _check_heads(card: Card) -> None:
    lacking = {"localisation", "damage"} - set(heads_of(card))
    if lacking:
        raise ModelError(
            f"model {card.name!r} has no {lacking.pop()} head; give one with both, or an ensemble"
        )


def _planes(card: Card, image: np.ndarray, channels: tuple[str, ...]) -> np.ndarray:
    """Return (channels, rows, columns) in the model's order."""
    if not set(channels) <= set(COLOURS):
        raise ModelError(
            f"model {card.name!r} takes {', '.join(channels)}; a pair of colour images has "
            f"{', '.join(COLOURS)} only; use a model made for them"
        )
    chosen = image[..., [COLOURS.index(channel) for channel in channels]]
    return np.ascontiguousarray(chosen.transpose(2, 0, 1))


def _size(image: np.ndarray) -> str:
    return f"{image.shape[0]} x {image.shape[1]}"


def _at_once(model: Predictor, pre: np.ndarray, post: np.ndarray) -> Prediction:
    """Ask the model once, for the whole image."""
    card, shape = model.card, pre.shape[1:]
    if card.context == "global":
        window = card.tile, card.tile
    else:
        window = _whole_strides(shape[0], card), _whole_strides(shape[1], card)
    heads = model(*(_grown(image, window)[None] for image in (pre, post)))
    inside = (..., slice(shape[0]), slice(shape[1]))
    heads = Heads(*(None if head is None else head[inside] for head in heads))
    joined = probabilities(heads)[0]  # refuses a model that lacks a head
    localisation, damage = (head[0] for head in heads if head is not None)
    return Prediction(localisation[0], damage, joined)


def _whole_strides(side: int, card: Card) -> int:
    """Return the pixels of a side with what is mirrored.

    Mirrored it is as far as the model looks: its own padding after a few mirrored pixels would
    be one thing more that a pixel depends on.
    """
    return side if side % card.stride == 0 else round_up(side + card.halo, card.stride)


def _grown(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return (channels, *shape): an image mirrored at the bottom and the right."""
    if image.shape[1:] == shape:
        return image
    rows, columns = (
        mirror(0, wanted, there) for wanted, there in zip(shape, image.shape[1:], strict=True)
    )
    return np.ascontiguousarray(image[:, rows[:, None], columns])


def _in_tiles(model: Predictor, pre: np.ndarray, post: np.ndarray, memory: float) -> Prediction:
    """Predict as a scene is predicted, and lay the strips side by side."""
    region = Window(0, 0, *pre.shape[1:])
    joined = np.empty((5, *region.shape), np.float32)
    competes = getattr(model, "has_pixel_rules", False) and model.rules.background_competes
    grades = np.zeros(region.shape, np.uint8) if competes else None
    plan = make_plan(region, model.card, memory=memory)
    # The engine asks a scene for nothing but its pixels.
    scene = cast(Scene, _ArrayScene(pre, post))
    for strip in run_plan(scene, model, plan, with_grades=competes):
        joined[(slice(None), *strip.window.slices)] = strip.probabilities
        if grades is not None and strip.grades is not None:
            grades[strip.window.slices] = strip.grades
    damage = joined[1:] / np.maximum(joined[1:].sum(0), np.float32(1e-30))
    return Prediction(1 - joined[0], damage, joined, grades)


class _ArrayScene:
    """Pixels of two arrays uint8 (channels, rows, columns), mirrored where none exist.

    Nothing in them is hidden: what a model says of arrays is wanted of all of them.
    """

    margin = 0

    def __init__(self, pre: np.ndarray, post: np.ndarray) -> None:
        self._pre, self._post = pre, post
        self.extent = Window(0, 0, *pre.shape[1:])

    def mark(self, pixels: Pixels, window: Window) -> Pixels:
        """Return the pixels as they are."""
        del window
        return pixels

    def read(self, window: Window) -> Pixels:
        """Read a window; it may reach beyond the arrays."""
        rows = mirror(window.row, window.bottom, self.extent.height)[:, None]
        columns = mirror(window.column, window.right, self.extent.width)
        missing = np.full(window.shape, OUTSIDE, np.uint8)
        inside = (window & self.extent).shift(-window.row, -window.column)
        if inside.size:
            missing[inside.slices] = 0
        return Pixels(self._pre[:, rows, columns], self._post[:, rows, columns], missing)
