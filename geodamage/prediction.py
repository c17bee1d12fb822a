"""Prediction: a scene and a model in, finished bands of probabilities out.

Reading, inference and whatever the caller does with a band run at the same time, each in a thread
of its own, with at most one band waiting between two of them. A band is a block of finished rows
of one column block; together the bands tile the region, and no pixel comes twice.
"""

import contextlib
import math
import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import cv2
import numpy as np

from geodamage.model.averaging import MAP_UNKNOWN
from geodamage.model.card import Card
from geodamage.errors import ModelError, OptionError, ResourceError
from geodamage.model.onnx import Ensemble, Heads, Predictor, building_probabilities, probabilities
from geodamage.model.rules import PixelRules
from geodamage.scene.scene import MISSING_POST, MISSING_PRE, OUTSIDE, OUTSIDE_AOI, Pixels, Scene
from geodamage.windows import Window, round_down, round_up

T = TypeVar("T")

#: Flag of a pixel that has a pixel without data, or beyond the region, among its neighbours.
NEAR_MISSING = 16
#: Flags of pixels that a model does not grade.
UNSEEN = MISSING_PRE | MISSING_POST | OUTSIDE | OUTSIDE_AOI
#: Flags of pixels that one of the images does not show.
BLIND = MISSING_PRE | MISSING_POST | OUTSIDE

#: Bytes of the interpreter, its libraries, the block cache of GDAL and a model of
#: `BASE_MODEL_BYTES`; measured on Linux.
BASE_BYTES = 620_000_000
#: Bytes of a model that are in `BASE_BYTES`: the bundled one has 7 MB.
BASE_MODEL_BYTES = 10_000_000
#: Bytes of one read pixel: six of colour, one of flags, two copies while the next band is read.
READ_BYTES = 16
#: Bytes of one read pixel of a saved map: one, and two copies while the next band is read.
MAP_BYTES = 3
#: Bytes of one finished pixel: five float32 and a flag in four bands, labels, scratch.
BAND_BYTES = 130


@dataclass(frozen=True)
class Band:
    """A finished block of a scene.

    Attributes
    ----------
    window
        On the scene's grid.
    probabilities
        float32 (5, rows, columns): background, then the four grades; or, where buildings alone
        were asked for, (2, rows, columns): background and building. Background is 1 where nothing
        could be seen.
    missing
        uint8 (rows, columns): the flags of `Scene.read`, and `NEAR_MISSING`.
    grades
        uint8 (rows, columns): the grade of each pixel by the rules of the model, 0 where there is
        no building or nothing could be seen; None where nobody asked for them.
    """

    window: Window
    probabilities: np.ndarray
    missing: np.ndarray
    grades: np.ndarray | None = None


class _Answers(NamedTuple):
    """What the model said of the cores of a band, before it is joined.

    The heads and the flags in `around` reach as far beyond a core and the band as the rules look.
    """

    band: Window
    missing: np.ndarray
    around: np.ndarray
    groups: list[list[Window]]
    heads: list[Heads]


@dataclass(frozen=True)
class Plan:
    """How a region is cut.

    Attributes
    ----------
    region
        What is cut, on the scene's grid.
    origin
        Row and column of the first core: multiples of the stride, at or before the region.
    core
        Rows and columns of a core.
    halo
        Pixels around it on each side.
    columns
        Cores side by side in one column block.
    batch
        Windows a call of the model.
    """

    region: Window
    origin: tuple[int, int]
    core: tuple[int, int]
    halo: int
    columns: int
    batch: int

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Return first and last column (exclusive) of each column block, on the core lattice."""
        left, step = self.origin[1], self.core[1]
        while left < self.region.right:
            count = min(self.columns, -(-(self.region.right - left) // step))
            yield left, left + count * step
            left += count * step

    def bands(self) -> Iterator[Window]:
        """Return the windows of all bands, whole cores, block by block from top to bottom."""
        for left, right in self.blocks():
            for top in range(self.origin[0], self.region.bottom, self.core[0]):
                yield Window(top, left, self.core[0], right - left)

    def cores(self, band: Window) -> Iterator[Window]:
        """Return the cores of a band, left to right."""
        for left in range(band.column, band.right, self.core[1]):
            yield Window(band.row, left, *self.core)

    @property
    def window(self) -> tuple[int, int]:
        """Rows and columns of what the model sees."""
        return self.core[0] + 2 * self.halo, self.core[1] + 2 * self.halo


def make_plan(
    region: Window,
    card: Card,
    *,
    tile: int | None = None,
    batch: int = 1,
    memory: float = 1.5e9,
    resident: int = 0,
    maps: int = 0,
) -> Plan:
    """Plan windows, column blocks and batches for a region within a limit of memory.

    Parameters
    ----------
    region
        On a grid whose origin is a multiple of the stride.
    card
        Of the model.
    tile
        Window size with halo, pixels; None takes the card's.
    batch
        Windows a call, at most.
    memory
        Bytes.
    resident
        Bytes that the model holds between two calls, `Predictor.resident_bytes`.
    maps
        Saved probability maps that are read beside the images.

    Raises
    ------
    OptionError
        If the tile does not fit the model, or the batch holds no window.
    ResourceError
        If even the smallest plan needs more memory.
    """
    if batch < 1:
        raise OptionError(f"--batch-size {batch}: must be 1 or more")
    halo = card.margin
    sizes = [_checked(card, tile, halo)]
    while card.context == "local" and sizes[-1] - 2 * halo >= 2 * max(halo, card.stride):
        sizes.append(round_up(sizes[-1] // 2 + halo, card.stride))
        if sizes[-1] >= sizes[-2]:
            break
    held = BASE_BYTES + max(0, resident - BASE_MODEL_BYTES)
    need = 0.0
    for size in sizes:
        for count in (batch, 1):
            plan = _plan(region, card, size, halo, count)
            spare = memory - held - card.bytes_per_pixel * np.prod(plan.window) * count
            each = _column_bytes(plan, maps)
            columns = int(min(spare // each, region.width + 1))
            if columns >= 1:
                return Plan(plan.region, plan.origin, plan.core, halo, columns, count)
            need = memory - spare + each
    enough = math.ceil(need / 1e7) / 100  # GB, in whole steps of 10 MB
    raise ResourceError(
        f"{memory / 1e9:.2f} GB of memory are not enough for model {card.name!r}, which needs "
        f"{enough:.2f} GB for one window; raise --memory to {enough:.2f}GB or more"
    )


def _checked(card: Card, tile: int | None, halo: int) -> int:
    if tile is None or tile == card.tile:
        return card.tile
    if card.context == "global":
        raise OptionError(
            f"--tile {tile}: model {card.name!r} sees its whole window at once, so its result "
            f"would change with it; leave the option out ({card.tile} is used)"
        )
    if tile % card.stride or tile <= 2 * halo:
        raise OptionError(
            f"--tile {tile}: must be a multiple of {card.stride} and above {2 * halo} "
            f"(twice the halo of model {card.name!r})"
        )
    return tile


def _plan(region: Window, card: Card, size: int, halo: int, batch: int) -> Plan:
    stride = card.stride
    origin = round_down(region.row, stride), round_down(region.column, stride)
    spans = region.bottom - origin[0], region.right - origin[1]
    core = size - 2 * halo
    if card.context == "local":
        # Spread the cores evenly: the last row and column would else be mostly outside.
        rows, columns = (round_up(-(-span // -(-span // core)), stride) for span in spans)
    else:
        rows = columns = core
    return Plan(region, origin, (rows, columns), halo, 1, batch)


def _column_bytes(plan: Plan, maps: int) -> float:
    """Return the bytes that one more column of cores in a block needs."""
    read = plan.window[0] * plan.window[1] * (READ_BYTES + MAP_BYTES * maps)
    return float(read + plan.core[0] * plan.core[1] * BAND_BYTES)


def predict(
    scene: Scene,
    model: Predictor,
    *,
    tile: int | None = None,
    batch: int = 1,
    memory: float = 1.5e9,
    with_grades: bool = False,
) -> Iterator[Band]:
    """Predict a scene, band by band.

    Stopping the iteration stops the work. Where neither date shows a pixel of a core, the model is
    not asked.

    Parameters
    ----------
    scene
        Open.
    model
        Any predictor.
    tile, batch, memory
        As in `make_plan`; none of them changes the result of a local model.
    with_grades
        Grade each pixel by the rules of the model, too.

    Yields
    ------
    Band
        Finished; together they tile `scene.region`.
    """
    plan = make_plan(
        scene.region,
        model.card,
        tile=tile,
        batch=batch,
        memory=memory,
        resident=model.resident_bytes,
    )
    return run_plan(scene, model, plan, with_grades=with_grades)


def run_plan(
    scene: Scene,
    model: Predictor,
    plan: Plan,
    *,
    with_grades: bool = False,
    localisation_only: bool = False,
) -> Iterator[Band]:
    """Predict a scene as planned; see `predict`.

    Parameters
    ----------
    localisation_only
        Give bands of two channels: background and building. Then the model needs no damage head.

    Raises
    ------
    ModelError
        If the rules of the model look beyond its halo.
    """
    rules = model.rules if with_grades else None
    reach = 0 if rules is None else rules.reach
    if reach > plan.halo:
        raise ModelError(
            f"model {model.card.name!r}: its rules look {reach} pixels around, its halo has "
            f"{plan.halo}; mend the halo of the card"
        )
    # Inference has a thread to itself: whatever else is done there would leave a core idle.
    asked = ahead(_infer(model, plan, reach, ahead(_read(scene, plan))))
    join = building_probabilities if localisation_only else probabilities
    return ahead(_assemble(plan, rules, asked, join))


def _read(scene: Scene, plan: Plan) -> Iterator[tuple[Window, Pixels]]:
    """Read each band with its halo; rows that the last band has read are not read again."""
    last: tuple[Window, Pixels] | None = None
    for band in plan.bands():
        wanted = band.buffer(plan.halo)
        if last is not None and last[0].column == wanted.column and last[0].bottom > wanted.row:
            kept = last[0].bottom - wanted.row
            fresh = Window(last[0].bottom, wanted.column, wanted.height - kept, wanted.width)
            pixels = _stack(last[1], scene.read(fresh), kept)
        else:
            pixels = scene.read(wanted)
        last = wanted, pixels
        yield band, pixels


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
    with contextlib.closing(read):
        for band, pixels in read:
            if isinstance(model, Ensemble) and not model.members and pixels.maps is not None:
                # Where no map says anything, no image helps.
                silent = (pixels.maps == MAP_UNKNOWN).all(0)
                pixels.missing[silent] |= np.uint8(MISSING_PRE)
            unseen = (pixels.missing & UNSEEN) > 0
            near = cv2.dilate(unseen.view(np.uint8), np.ones((3, 3), np.uint8))
            inner = _inside(pixels.missing.shape, plan.halo)
            missing = pixels.missing[inner].copy()
            missing[near[inner] > 0] |= np.uint8(NEAR_MISSING)
            around = pixels.missing[_inside(pixels.missing.shape, plan.halo - reach)].copy()
            seen = ~unseen[inner]
            cores = [core for core in plan.cores(band) if seen[_within(core, band)].any()]
            groups = [cores[n : n + plan.batch] for n in range(0, len(cores), plan.batch)]
            heads = [_ask(model, plan, band, pixels, group, reach) for group in groups]
            yield _Answers(band, missing, around, groups, heads)


def _assemble(
    plan: Plan,
    rules: PixelRules | None,
    asked: Generator[_Answers, None, None],
    join: Callable[[Heads], np.ndarray],
) -> Iterator[Band]:
    """Join both heads of every core and lay the cores side by side."""
    with contextlib.closing(asked):
        for answers in asked:
            joined = _join(answers, 0 if rules is None else rules.reach, join)
            grades = None if rules is None else _grade(answers, rules)
            band = answers.band
            clipped = band & plan.region
            index = _within(clipped, band)
            yield Band(
                clipped,
                joined[(slice(None), *index)],
                answers.missing[index],
                None if grades is None else grades[index],
            )


def _join(answers: _Answers, reach: int, join: Callable[[Heads], np.ndarray]) -> np.ndarray:
    """Return the probabilities of a band, float32 (channels, rows, columns)."""
    band = answers.band
    channels = 5 if join is probabilities else 2
    result = np.zeros((channels, *band.shape), np.float32)
    result[0] = 1
    seen = (answers.missing & UNSEEN) == 0
    for group, said in zip(answers.groups, answers.heads, strict=True):
        inner = _cropped(said, reach)
        for core, found in zip(group, join(inner), strict=True):
            index = _within(core, band)
            np.copyto(result[(slice(None), *index)], found, where=seen[index])
    return result


def _grade(answers: _Answers, rules: PixelRules) -> np.ndarray:
    """Return the grade of each pixel of a band by the rules, uint8 (rows, columns)."""
    band, reach = answers.band, rules.reach
    result = np.zeros(band.shape, np.uint8)
    # What no image shows was mirrored: nothing grows from there. An area of interest hides only.
    shown = (answers.around & BLIND) == 0
    for group, (localisation, damage) in zip(answers.groups, answers.heads, strict=True):
        if localisation is None or damage is None:  # `probabilities` has refused it by name
            continue
        for n, core in enumerate(group):
            rows, columns = _within(core, band)
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


def _within(window: Window, band: Window) -> tuple[slice, slice]:
    return window.shift(-band.row, -band.column).slices


def _ask(
    model: Predictor, plan: Plan, band: Window, pixels: Pixels, cores: list[Window], reach: int
) -> Heads:
    """Return the heads of some cores, with no more of their halo than the rules reach."""
    rows, columns = plan.window
    lefts = [core.column - band.column for core in cores]

    def windows(image: np.ndarray) -> np.ndarray:
        return np.stack([image[:, :rows, left : left + columns] for left in lefts])

    pre = windows(pixels.pre)
    post = _as_post(pre, model.card) if pixels.post is pixels.pre else windows(pixels.post)
    if isinstance(model, Ensemble) and pixels.maps is not None:
        said = model(pre, post, windows(pixels.maps))
    else:
        said = model(pre, post)
    heads = _cropped(said, plan.halo - reach)
    # Copies: a view would keep the halo in memory.
    return Heads(*(None if head is None else head.copy() for head in heads))


def _as_post(pre: np.ndarray, card: Card) -> np.ndarray:
    """Return what a model is shown as post where there is one image: the same again."""
    wanted = len(card.post_channels)
    return pre if wanted == pre.shape[1] else np.repeat(pre[:, :1], wanted, 1)


class _Failure(Generic[T]):
    def __init__(self, error: BaseException) -> None:
        self.error = error


def ahead(items: Iterator[T], depth: int = 1) -> Generator[T, None, None]:
    """Run an iterator in a thread of its own, at most `depth` items ahead of the caller.

    An error in the thread is raised at the caller; closing this iterator stops the thread and
    closes `items`.
    """
    waiting: queue.Queue[T | _Failure[T] | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: T | _Failure[T] | None) -> bool:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    break
            else:
                put(None)
        except BaseException as error:
            put(_Failure(error))
        finally:
            close(items)

    thread = threading.Thread(target=work, name="geodamage", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        stop.set()
        thread.join()


def close(items: Iterable[object]) -> None:
    """Close a generator, and with it the work behind it; other iterables are left as they are."""
    if isinstance(items, Generator):
        items.close()


def default_threads() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
