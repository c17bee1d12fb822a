"""Asking: the cores of a strip in, what a model says of them out.

A model that finds buildings before it grades them is asked for grades only where some were found.
"""

import numpy as np

from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble
from geodamage.model.heads import Heads, Parted, Predictor
from geodamage.plan import Plan
from geodamage.scene.pixels import Pixels
from geodamage.windows import Window, cells, pieces

#: Pixels of the side of a cell, at least: a model is asked of whole cells of a core, so that there
#: are not too many sizes of windows.
_CELL = 64


def cell_side(card: Card) -> int:
    """Return the rows and columns of a cell: whole strides of the model, pixels."""
    return max(_CELL // card.stride, 1) * card.stride


def ask(
    model: Predictor, plan: Plan, strip: Window, pixels: Pixels, cores: list[Window], reach: int
) -> Heads:
    """Return the heads of some cores, with no more of their halo than the rules reach.

    Parameters
    ----------
    model
        Any predictor.
    plan
        How the scene is cut, and above which localisation grades are wanted.
    strip
        On the scene's grid; `pixels` begin a halo before it.
    cores
        Cores of one shape, in the strip.
    reach
        Pixels around a core that the rules look at.

    Returns
    -------
    Of a model of both parts the damage is 0 where no grade is wanted.
    """
    # In pixels that begin a halo before the strip.
    places = [
        Window(
            core.row - strip.row,
            core.column - strip.column,
            core.height + 2 * plan.halo,
            core.width + 2 * plan.halo,
        ).slices
        for core in cores
    ]

    def windows(image: np.ndarray) -> np.ndarray:
        return np.stack([image[:, *place] for place in places])

    pre = windows(pixels.pre)
    post = _as_post(pre, model.card) if pixels.post is pixels.pre else windows(pixels.post)
    margin = plan.halo - reach
    if plan.graded_above is not None and isinstance(model, Parted) and model.is_parted:
        return _found_and_graded(model, plan, plan.graded_above, margin, pre, post)
    if isinstance(model, Ensemble) and pixels.maps is not None:
        said = model(pre, post, windows(pixels.maps))
    else:
        said = model(pre, post)
    if said.localisation is None and said.damage is not None and model.card.task == "damage":
        # Whoever lets such a model grade says where the buildings are.
        said = Heads(np.ones_like(said.damage[:, :1]), said.damage)
    # Copies: a view would keep the halo in memory.
    return Heads(*(None if head is None else inner(head, margin).copy() for head in said))


def _found_and_graded(
    model: Parted, plan: Plan, above: float, margin: int, pre: np.ndarray, post: np.ndarray
) -> Heads:
    """Return the heads of some windows, graded where a core has a pixel above a localisation.

    Parameters
    ----------
    margin
        Pixels that the heads lack on each side of the windows.
    """
    localisation, features = model.find(pre)
    side, rows, columns = cell_side(model.card), *pre.shape[2:]
    around = plan.halo - margin
    damage = np.zeros((len(pre), 4, rows - 2 * margin, columns - 2 * margin), np.float32)
    for n, found in enumerate(inner(localisation, plan.halo)[:, 0] > above):
        for part in graded_parts(found, plan.halo, side, model.card):
            window = part.buffer(plan.halo).shift(plan.halo, plan.halo)
            inside = part.shift(around, around)
            known = [part_of(feature[n : n + 1], window, (rows, columns)) for feature in features]
            said = model.grade(np.ascontiguousarray(post[n : n + 1, :, *window.slices]), known)
            damage[n, :, *inside.slices] = inner(said, plan.halo)[0]
    # A copy: a view would keep the halo in memory.
    return Heads(inner(localisation, margin).copy(), damage)


def graded_parts(found: np.ndarray, margin: int, side: int, card: Card) -> list[Window]:
    """Return the parts of a core that are worth grading; of a global model all or nothing.

    Parameters
    ----------
    found
        bool (rows, columns): where a grade is wanted.
    margin
        Pixels around a part that are computed with it.
    side
        Rows and columns of a cell, pixels: parts are whole cells.
    card
        Card of the model.
    """
    whole = Window(0, 0, *found.shape)
    if not found.any():
        return []
    if card.context == "global":
        return [whole]
    parts = pieces(cells(found, side), margin / side)
    return [part.times(side) & whole for part in parts]


def part_of(feature: np.ndarray, window: Window, shape: tuple[int, int]) -> np.ndarray:
    """Return the features of a part of a window; those of the whole where it is all of it."""
    if window.shape == shape:
        return feature
    step = shape[0] // feature.shape[2]
    cut = Window(*(number // step for number in (*_corner(window), *window.shape)))
    return np.ascontiguousarray(feature[..., *cut.slices])


def _corner(window: Window) -> tuple[int, int]:
    return window.row, window.column


def inner(head: np.ndarray, margin: int) -> np.ndarray:
    """Return a view of heads without a margin on each side."""
    rows, columns = head.shape[2:]
    return head[..., margin : rows - margin, margin : columns - margin]


def _as_post(pre: np.ndarray, card: Card) -> np.ndarray:
    """Return what a model is shown as post where there is one image: the same again."""
    wanted = len(card.post_channels)
    return pre if wanted == pre.shape[1] else np.repeat(pre[:, :1], wanted, 1)
