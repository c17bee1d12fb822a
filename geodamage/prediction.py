"""Prediction: a scene and a model in, finished strips of probabilities out.

Reading, inference and the caller's work on a strip run at the same time, each in its own thread. At
most one strip waits between two of them. A strip is a block of finished rows of one column block;
together the strips tile the region, and no pixel comes twice.
"""

import contextlib
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from geodamage.ahead import ahead
from geodamage.asking import ask, cell_side
from geodamage.codes import MAP_UNKNOWN
from geodamage.errors import ModelError
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble
from geodamage.model.heads import Heads, Predictor, building_probabilities, probabilities
from geodamage.model.onnx import Model
from geodamage.model.rules import PixelRules
from geodamage.model.staged import StagedSession
from geodamage.plan import Plan, make_plan
from geodamage.roll import Rolls
from geodamage.scene.pixels import (
    MISSING_POST,
    MISSING_PRE,
    OBSCURED_POST,
    OBSCURED_PRE,
    OUTSIDE,
    OUTSIDE_AOI,
    Pixels,
)
from geodamage.scene.scene import Scene
from geodamage.scene.statistics import shown, statistics_of
from geodamage.windows import Window, cells, pieces

#: Flag of a pixel that has a pixel without data, or beyond the region, among its neighbours.
NEAR_MISSING = 16
#: Flag of a pixel where no building is looked for.
_NOT_LOOKED = 128
#: Flags of pixels that a model does not grade.
UNSEEN = MISSING_PRE | MISSING_POST | OUTSIDE | OUTSIDE_AOI | OBSCURED_PRE | OBSCURED_POST
#: Flags of pixels that one of the images does not show.
BLIND = UNSEEN & ~OUTSIDE_AOI
#: Flags of pixels where no building is looked for: it is found in the pre image alone.
CLOSED = MISSING_PRE | OUTSIDE | OUTSIDE_AOI | OBSCURED_PRE
#: Pixels from where post has data that a building is followed into where it has none, at most.
_REACH = 32


@dataclass(frozen=True)
class Strip:
    """A finished block of a scene.

    Attributes
    ----------
    window
        On the scene's grid.
    probabilities
        float32 (5, rows, columns): background, then the four grades; or, where buildings alone
        were asked for, (2, rows, columns): background and building. Background is 1 where no
        building could be seen; where post alone is hidden, the grades are 0.
    missing
        uint8 (rows, columns): the flags of `Scene.read`, and `NEAR_MISSING`.
    grades
        uint8 (rows, columns): the grade of each pixel by the rules of the model. It is 0 where
        there is no building or nothing could be seen. None if nobody asked for it.
    """

    window: Window
    probabilities: np.ndarray
    missing: np.ndarray
    grades: np.ndarray | None = None


#: What makes probabilities of heads, and where to.
_Joining = Callable[[Heads, np.ndarray | None], np.ndarray]


class _Answers(NamedTuple):
    """What the model said of the cores of a strip, before it is joined.

    The heads and the flags in `around` reach as far beyond a core and the strip as the rules look.
    """

    strip: Window
    missing: np.ndarray
    around: np.ndarray
    groups: list[list[Window]]
    heads: list[Heads]


def predict(
    scene: Scene,
    model: Predictor,
    *,
    tile: int | None = None,
    batch: int = 1,
    memory: float = 1.5e9,
    with_grades: bool = False,
) -> Iterator[Strip]:
    """Predict a scene, strip by strip.

    Stopping the iteration stops the work. The model does not run on a core of which neither date
    shows a pixel.

    Parameters
    ----------
    scene
        Open.
    model
        Any predictor.
    tile, batch, memory
        The same as of `make_plan`; none of them changes the result of a local model.
    with_grades
        Grade each pixel by the rules of the model, too.

    Yields
    ------
    Strip
        A finished strip. Together the strips tile `scene.region`.
    """
    plan = make_plan(
        scene.region,
        model.card,
        tile=tile,
        batch=batch,
        memory=memory,
        resident=model.resident_bytes,
        rolling=rolling_of(model, tile, batch),
    )
    return run_plan(scene, model, plan, with_grades=with_grades)


def rolling_of(model: Predictor, tile: int | None, batch: int) -> StagedSession | None:
    """Return the stages of a model whose features may roll from strip to strip; None of others.

    Not where a tile or a batch was asked for, nor of an ensemble, nor where the rules of the model
    look at what is around a core.

    Parameters
    ----------
    tile, batch
        The same as of `make_plan`.
    """
    if tile is not None or batch > 1 or not isinstance(model, Model) or model.rules.reach:
        return None
    return model.staged


def run_plan(
    scene: Scene,
    model: Predictor,
    plan: Plan,
    *,
    with_grades: bool = False,
    localisation_only: bool = False,
) -> Iterator[Strip]:
    """Predict a scene as planned; see `predict`.

    Parameters
    ----------
    localisation_only
        Give strips of two channels: background and building. Then the model needs no damage head.

    Raises
    ------
    ModelError
        If the rules of the model look beyond its halo.
    """
    rules = model.rules if with_grades else None
    reach = 0 if rules is None else rules.reach
    if reach > plan.halo:
        raise ModelError(
            f"model {model.card.name!r}: its rules need {reach} pixels around a pixel, and its "
            f"halo has "
            f"{plan.halo}; fix the halo of the card"
        )
    if localisation_only:
        plan = replace(plan, graded_above=math.inf)
    # Inference has a thread to itself: whatever else is done there would leave a core idle.
    asked = ahead(_infer(model, plan, reach, ahead(_read(scene, plan, model.card))))
    join = building_probabilities if localisation_only else probabilities
    return ahead(_assemble(plan, rules, asked, join))


def _read(scene: Scene, plan: Plan, card: Card) -> Iterator[tuple[Window, Pixels]]:
    """Read each strip with its halo; rows that the last strip has read are not read again."""
    last: tuple[Window, Pixels] | None = None
    scalings = statistics_of(scene, card)
    margin = max(plan.halo, scene.margin)
    spare = margin - plan.halo
    for strip in plan.strips():
        wanted = strip.buffer(margin)
        if last is not None and last[0].column == wanted.column and last[0].bottom > wanted.row:
            kept = last[0].bottom - wanted.row
            fresh = Window(last[0].bottom, wanted.column, wanted.height - kept, wanted.width)
            pixels = _stack(last[1], scene.read(fresh), kept)
        else:
            pixels = scene.read(wanted)
        last = wanted, pixels
        # What hides the ground is looked for in the image as it is.
        yield strip, shown(_without(scene.mark(pixels, wanted), spare), scalings)


def _without(pixels: Pixels, margin: int) -> Pixels:
    """Return pixels without a margin on each side."""
    if not margin:
        return pixels
    cut = _inside(pixels.missing.shape, margin)
    pre = pixels.pre[:, *cut]
    post = pre if pixels.post is pixels.pre else pixels.post[:, *cut]
    maps = None if pixels.maps is None else pixels.maps[:, *cut]
    return Pixels(pre, post, pixels.missing[cut], maps)


def _stack(above: Pixels, below: Pixels, kept: int) -> Pixels:
    pre = np.concatenate([above.pre[:, -kept:], below.pre], 1)
    is_alone = below.post is below.pre
    post = pre if is_alone else np.concatenate([above.post[:, -kept:], below.post], 1)
    missing = np.concatenate([above.missing[-kept:], below.missing], 0)
    if above.maps is None or below.maps is None:
        return Pixels(pre, post, missing)
    maps = np.concatenate([above.maps[:, -kept:], below.maps], 1)
    return Pixels(pre, post, missing, maps)


def _infer(
    model: Predictor, plan: Plan, reach: int, read: Generator[tuple[Window, Pixels], None, None]
) -> Iterator[_Answers]:
    # An error of the model keeps this frame alive; the reader shall not live as long as that.
    rolls = _rolls(model, plan)
    with contextlib.closing(read):
        for strip, pixels in read:
            if isinstance(model, Ensemble) and not model.members and pixels.maps is not None:
                # Where no map says anything, no image helps.
                silent = (pixels.maps == MAP_UNKNOWN).all(0)
                pixels.missing[silent] |= np.uint8(MISSING_PRE)
            closed = ~_open_to_buildings(pixels.missing, max(min(_REACH, plan.halo - 1), 0))
            near = cv2.dilate(closed.view(np.uint8), np.ones((3, 3), np.uint8))
            inner = _inside(pixels.missing.shape, plan.halo)
            missing = pixels.missing[inner].copy()
            missing[closed[inner]] |= np.uint8(_NOT_LOOKED)
            missing[near[inner] > 0] |= np.uint8(NEAR_MISSING)
            around = pixels.missing[_inside(pixels.missing.shape, plan.halo - reach)].copy()
            seen = ~closed[inner]
            cores = [
                piece
                for core in plan.cores(strip)
                for piece in _pieces(plan, core, seen[_within(core, strip)], model.card)
            ]
            groups = [cores[n : n + plan.batch] for n in range(0, len(cores), plan.batch)]
            if rolls is None:
                heads = [ask(model, plan, strip, pixels, group, reach) for group in groups]
            else:
                heads = rolls.ask(strip, pixels, cores)
            yield _Answers(strip, missing, around, groups, heads)


def _rolls(model: Predictor, plan: Plan) -> Rolls | None:
    """Return what keeps features from strip to strip, where that is planned."""
    session = model.staged if plan.rolled and isinstance(model, Model) else None
    return None if session is None else Rolls(session, plan, model.card)


def _pieces(plan: Plan, core: Window, seen: np.ndarray, card: Card) -> list[Window]:
    """Return the parts of a core that are worth asking for; of a global model all or nothing."""
    side = cell_side(card)
    needed = cells(seen, side) & plan.matters(core, side)
    if card.context == "global" or plan.batch > 1:
        return [core] if needed.any() else []
    parts = pieces(needed, plan.near / side)
    return [part.times(side).shift(core.row, core.column) & core for part in parts]


def _assemble(
    plan: Plan,
    rules: PixelRules | None,
    asked: Generator[_Answers, None, None],
    join: _Joining,
) -> Iterator[Strip]:
    """Join both heads of every core and lay the cores side by side."""
    with contextlib.closing(asked):
        for answers in asked:
            joined = _join(answers, 0 if rules is None else rules.reach, join)
            grades = None if rules is None else _grade(answers, rules)
            strip = answers.strip
            clipped = strip & plan.region
            index = _within(clipped, strip)
            yield Strip(
                clipped,
                joined[(slice(None), *index)],
                answers.missing[index] & ~np.uint8(_NOT_LOOKED),
                None if grades is None else grades[index],
            )


def _join(answers: _Answers, reach: int, join: _Joining) -> np.ndarray:
    """Return the probabilities of a strip, float32 (channels, rows, columns)."""
    strip = answers.strip
    channels = 5 if join is probabilities else 2
    result = np.zeros((channels, *strip.shape), np.float32)
    result[0] = 1
    seen = (answers.missing & _NOT_LOOKED) == 0
    for group, said in zip(answers.groups, answers.heads, strict=True):
        inner = _cropped(said, reach)
        for n, core in enumerate(group):
            index = _within(core, strip)
            place, shown = result[(None, slice(None), *index)], seen[index]
            one = Heads(*(None if head is None else head[n : n + 1] for head in inner))
            if shown.all():
                join(one, place)
            else:
                np.copyto(place, join(one, None), where=shown)
    unseen = (answers.missing & UNSEEN) > 0
    if channels == 5 and unseen.any():
        result[1:, unseen] = 0
    return result


def _open_to_buildings(missing: np.ndarray, reach: int) -> np.ndarray:
    """Return where buildings are looked for: also where post is hidden, or ends near by."""
    graded = (missing & UNSEEN) == 0
    side = 2 * reach + 1
    near = cv2.dilate(graded.view(np.uint8), np.ones((side, side), np.uint8)) > 0
    result: np.ndarray = ((missing & CLOSED) == 0) & (near | ((missing & OBSCURED_POST) > 0))
    return result


def _grade(answers: _Answers, rules: PixelRules) -> np.ndarray:
    """Return the grade of each pixel of a strip by the rules, uint8 (rows, columns)."""
    strip, reach = answers.strip, rules.reach
    result = np.zeros(strip.shape, np.uint8)
    # What no image shows was mirrored: nothing grows from there. An area of interest hides only.
    shown = (answers.around & BLIND) == 0
    for group, (localisation, damage) in zip(answers.groups, answers.heads, strict=True):
        if localisation is None or damage is None:  # `probabilities` has refused it by name
            continue
        for n, core in enumerate(group):
            rows, columns = _within(core, strip)
            wider = slice(rows.start, rows.stop + 2 * reach)
            known = shown[wider, columns.start : columns.stop + 2 * reach]
            found = rules.grades(np.where(known, localisation[n, 0], np.float32(0)), damage[n])
            result[rows, columns] = found[_inside(found.shape, reach)]
    result[(answers.missing & UNSEEN) > 0] = 0
    return result


def _inside(shape: tuple[int, ...], margin: int) -> tuple[slice, slice]:
    """Return the index of an array without a margin on each side."""
    return slice(margin, shape[0] - margin), slice(margin, shape[1] - margin)


def _cropped(heads: Heads, margin: int) -> Heads:
    """Return views of the heads without a margin on each side."""
    return Heads(*(h if h is None else h[(..., *_inside(h.shape[2:], margin))] for h in heads))


def _within(window: Window, strip: Window) -> tuple[slice, slice]:
    return window.shift(-strip.row, -strip.column).slices
