"""How a region is cut into windows, within a limit of memory."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from geodamage.errors import OptionError, ResourceError
from geodamage.model.card import LARGEST_TILE, Card
from geodamage.windows import Window, round_down, round_up

#: Bytes of the interpreter, its libraries, the block cache of GDAL and a model of
#: `BASE_MODEL_BYTES`; measured on Linux.
BASE_BYTES = 620_000_000


#: Bytes of a model that are in `BASE_BYTES`: the bundled one has 7 MB.
BASE_MODEL_BYTES = 10_000_000


#: Bytes of one read pixel: six of colour, one of flags, two copies while the next strip is read,
#: and eight while it is looked at for what hides the ground; measured.
READ_BYTES = 24


#: Bytes of one read pixel of a saved map: one, and two copies while the next strip is read.
MAP_BYTES = 3


#: Bytes of one finished pixel: five float32 and a flag in four strips, labels, scratch.
STRIP_BYTES = 130


#: Sides of a window over that of the card, at most.
_WIDEST = 4


#: Rows of a strip in which features roll, at least and at most.
_LEAST_ROWS, _MOST_ROWS = 64, 1024


#: Share of the work that is done by the heads of a model in stages; measured.
_HEADS_SHARE = 0.5


class Rolling(Protocol):
    """What planning needs to know of a model whose features roll from strip to strip."""

    @property
    def halo(self) -> int:
        """Pixels of an image around a pixel of the answer."""
        ...

    @property
    def margin(self) -> int:
        """Pixels that the heads see around what they say."""
        ...

    @property
    def first(self) -> int:
        """Pixels of an image that the first stage sees around what it gives."""
        ...

    @property
    def bytes_kept(self) -> float:
        """Bytes of the features of one date, for each pixel."""
        ...

    @property
    def bytes_given(self) -> float:
        """Bytes of what finding gives, for each pixel."""
        ...

    @property
    def more_memory(self) -> float:
        """Memory of a call over that of a window of as many pixels."""
        ...


@dataclass(frozen=True, repr=False)
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
        Windows per model call.
    only
        int64 (n, 4): row, column, bottom and right of the places that matter. No model is asked of
        what lies beside them. None where all matters.
    graded_above
        Localisation above which a pixel must be graded. What is near none of them may stay without
        grades, where the model finds buildings before it grades them. None where all is graded.
    rolled
        Where features roll from strip to strip: pixels of one call, at most. 0 where each window
        is asked alone.
    margin
        Where they do: pixels that the heads see around a core.
    """

    region: Window
    origin: tuple[int, int]
    core: tuple[int, int]
    halo: int
    columns: int
    batch: int
    only: npt.NDArray[np.int64] | None = field(default=None, compare=False)
    graded_above: float | None = None
    rolled: int = 0
    margin: int = 0

    def __repr__(self) -> str:
        rows, columns = self.window
        if self.rolled:
            return (
                f"<Plan: {self.region.height:,} x {self.region.width:,} pixels in strips of "
                f"{self.core[0]} x {self.core[1] * self.columns}, features roll, "
                f"{self.rolled:,} pixels a call>"
            )
        return (
            f"<Plan: {self.region.height:,} x {self.region.width:,} pixels in windows of "
            f"{rows} x {columns}, halo {self.halo}, {self.columns} side by side, "
            f"{self.batch} a call>"
        )

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Return first and last column (exclusive) of each column block, on the core lattice."""
        left, step = self.origin[1], self.core[1]
        while left < self.region.right:
            count = min(self.columns, -(-(self.region.right - left) // step))
            yield left, left + count * step
            left += count * step

    def strips(self) -> Iterator[Window]:
        """Return the windows of all strips, whole cores, block by block from top to bottom."""
        for left, right in self.blocks():
            for top in range(self.origin[0], self.region.bottom, self.core[0]):
                yield Window(top, left, self.core[0], right - left)

    def cores(self, strip: Window) -> Iterator[Window]:
        """Return the cores of a strip, left to right."""
        for left in range(strip.column, strip.right, self.core[1]):
            yield Window(strip.row, left, *self.core)

    def matters(self, core: Window, side: int) -> npt.NDArray[np.bool_]:
        """Return which cells of a core, `side` pixels square, are worth asking for."""
        shape = -(-core.height // side), -(-core.width // side)
        if self.only is None:
            return np.ones(shape, bool)
        row, column, bottom, right = self.only.T
        meets = (row < core.bottom) & (bottom > core.row)
        meets &= (column < core.right) & (right > core.column)
        # Where places begin and end, summed up: how many lie on each cell.
        count = np.zeros((shape[0] + 1, shape[1] + 1), np.int64)
        top = np.maximum(row[meets] - core.row, 0) // side
        left = np.maximum(column[meets] - core.column, 0) // side
        low = np.minimum(-(-(bottom[meets] - core.row) // side), shape[0])
        far = np.minimum(-(-(right[meets] - core.column) // side), shape[1])
        np.add.at(count, (top, left), 1)
        np.add.at(count, (low, far), 1)
        np.add.at(count, (low, left), -1)
        np.add.at(count, (top, far), -1)
        return np.asarray(count.cumsum(0).cumsum(1)[:-1, :-1] > 0)

    @property
    def near(self) -> int:
        """Pixels around a core that are computed with it, and perhaps again for the next."""
        return self.margin if self.rolled else self.halo

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
    rolling: Rolling | None = None,
) -> Plan:
    """Plan windows, column blocks and batches for a region within a limit of memory.

    Parameters
    ----------
    region
        On a grid whose origin is a multiple of the stride.
    card
        Card of the model.
    tile
        Window size with halo, pixels. None takes that of the card. For a local model with one
        window per call, None takes the rectangle that costs least and fits the memory.
    batch
        Windows per model call, at most.
    memory
        Bytes.
    resident
        Bytes that stay taken between two calls of the model: its own, those of footprints.
    maps
        Saved probability maps that are read beside the images.
    rolling
        The stages of the model. Features roll where less is computed so than in windows, and
        neither a tile nor a batch was asked for.

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
    if tile is None and card.context == "local" and batch == 1:
        wider = _least_work(region, card, halo, memory - held, maps)
        if rolling is not None:
            rolled = _rolled(region, card, rolling, memory - held, maps)
            least = math.inf if wider is None else _computed(wider)
            if rolled is not None and _rolled_work(rolled, rolling) < least:
                return rolled
        if wider is not None:
            return wider
    need = 0.0
    for size in sizes:
        for count in (batch, 1):
            plan = _plan(region, card, size, halo, count)
            spare = memory - held - card.bytes_per_pixel * np.prod(plan.window) * count
            each = _column_bytes(plan, maps)
            columns = int(min(spare // each, region.width + 1))
            if columns >= 1:
                return replace(plan, columns=columns)
            need = memory - spare + each
    enough = math.ceil(need / 1e7) / 100  # GB, in whole steps of 10 MB
    raise ResourceError(
        f"{memory / 1e9:.2f} GB of memory are not enough for model {card.name!r}, which needs "
        f"{enough:.2f} GB for one window and all that stays in memory; raise --memory to "
        f"{enough:.2f}GB or more"
    )


def _least_work(region: Window, card: Card, halo: int, memory: float, maps: int) -> Plan | None:
    """Return the plan that asks for the fewest pixels, with cores no narrower than their halo.

    Of two that ask for as many, that of the smaller windows. None where none fits the memory.
    """
    stride = card.stride
    origin = round_down(region.row, stride), round_down(region.column, stride)
    largest = min(_WIDEST * card.tile, LARGEST_TILE)
    smallest = min(card.tile, round_up(3 * halo, stride)) if halo else card.tile
    rows, columns = (
        _sides(span, largest - 2 * halo, smallest - 2 * halo, stride)
        for span in (region.bottom - origin[0], region.right - origin[1])
    )
    down = -(-(region.bottom - origin[0]) // rows)
    across = -(-(region.right - origin[1]) // columns)
    area = np.multiply.outer(rows + 2 * halo, columns + 2 * halo).astype(np.float64)
    each = area * (READ_BYTES + MAP_BYTES * maps) + np.multiply.outer(rows, columns) * STRIP_BYTES
    spare = memory - card.bytes_per_pixel * area
    fits = np.flatnonzero(spare >= each)
    if not fits.size:
        return None
    work = (area * np.multiply.outer(down, across)).ravel()[fits]
    best = fits[np.lexsort((area.ravel()[fits], work))[0]]
    row, column = np.unravel_index(best, area.shape)
    count = int(min(spare[row, column] // each[row, column], region.width + 1))
    return Plan(region, origin, (int(rows[row]), int(columns[column])), halo, count, 1)


def _rolled(region: Window, card: Card, facts: Rolling, memory: float, maps: int) -> Plan | None:
    """Return the plan of features that roll which computes least; None where none fits."""
    stride, halo = card.stride, facts.halo
    origin = round_down(region.row, stride), round_down(region.column, stride)
    down, across = region.bottom - origin[0], region.right - origin[1]
    found: list[tuple[float, Plan]] = []
    # Whole numbers of Python: progress is written as JSON, which has none of numpy's.
    for rows in _sides(down, _MOST_ROWS, _LEAST_ROWS, stride).tolist():
        for width in _sides(across, across, min(2 * halo, across), stride).tolist():
            held = (rows + 2 * halo) * (width + 2 * halo)
            held *= READ_BYTES + MAP_BYTES * maps + 2 * facts.bytes_kept
            held += rows * width * (STRIP_BYTES + facts.bytes_given)
            pixels = int(max(memory - held, 0) / (card.bytes_per_pixel * facts.more_memory))
            most = round_down(pixels // (rows + 2 * facts.margin) - 2 * facts.margin, stride)
            if most < _LEAST_ROWS:
                continue
            columns = -(-width // most)
            core = rows, round_up(-(-width // columns), stride)
            plan = Plan(region, origin, core, halo, columns, 1, None, None, pixels, facts.margin)
            found.append((_rolled_work(plan, facts), plan))
    return min(found, key=lambda one: one[0])[1] if found else None


def _rolled_work(plan: Plan, facts: Rolling) -> float:
    """Return the pixels that are computed for each that is kept, where features roll."""
    rows, columns = plan.core
    width = columns * plan.columns
    heads = (1 + 2 * facts.margin / rows) * (1 + 2 * facts.margin / columns)
    tile = max(plan.rolled / (rows + 2 * facts.first) - 2 * facts.first, 1)
    images = (1 + 2 * facts.first / rows) * (1 + 2 * facts.first / min(tile, width))
    # Around a block of columns, and above its first strip, features are computed for it alone.
    images *= (1 + 2 * plan.halo / width) * (1 + 2 * plan.halo / plan.region.height)
    return _HEADS_SHARE * heads + (1 - _HEADS_SHARE) * images


def _computed(plan: Plan) -> float:
    """Return the pixels of windows that are computed for each of a region, each by itself."""
    rows, columns = (
        -(-(end - start) // core) * (core + 2 * plan.halo)
        for start, end, core in zip(
            plan.origin, (plan.region.bottom, plan.region.right), plan.core, strict=True
        )
    )
    return rows * columns / plan.region.size


def _sides(span: int, largest: int, smallest: int, stride: int) -> npt.NDArray[np.int64]:
    """Return the sides of cores between two limits that divide a span evenly; largest first."""
    counts = np.arange(-(-span // largest), -(-span // smallest) + 1)
    return np.unique([round_up(-(-span // int(count)), stride) for count in counts])[::-1]


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
    return float(read + plan.core[0] * plan.core[1] * STRIP_BYTES)
