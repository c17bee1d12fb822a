"""Connected components of a scene that arrives in strips.

Each strip is labelled on its own. A component that reaches an open side of its strip waits as a
list of pixels. Union-find joins it with its other parts. When the last row and column that could
belong to it have passed, it leaves whole, in its own box. Memory is that of the waiting components,
not of the scene.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from geodamage.prediction import CLOSED, Strip
from geodamage.windows import Window

#: Pixels above which a component is no building and is cut on a fixed grid.
LARGEST_COMPONENT = 4_000_000
#: Its box may be so many times larger: what is thin and long is no building either.
LARGEST_BOX = 4
#: Rows and columns of the cells of that grid; a cell holds no more pixels than a component may.
CELL = 2000


@dataclass(frozen=True)
class Patch:
    """Finished components on one raster.

    Attributes
    ----------
    window
        On the scene's grid.
    labels
        int32 (rows, columns): 0 nothing, 1-count the components.
    count
        Number of components.
    probabilities
        float32 (channels, rows, columns), as in `Strip`.
    missing
        uint8 (rows, columns): flags, as in `Strip`.
    """

    window: Window
    labels: np.ndarray
    count: int
    probabilities: np.ndarray
    missing: np.ndarray


@dataclass(frozen=True)
class _Piece:
    """Part of a waiting component: pixels in row-major order."""

    rows: np.ndarray  # int32 (k,), on the grid
    columns: np.ndarray  # int32 (k,)
    probabilities: np.ndarray  # float32 (channels, k)
    missing: np.ndarray  # uint8 (k,)


class Components:
    """Joins the components of strips that arrive block by block, from top to bottom.

    Attributes
    ----------
    cut
        Number of components that were cut because of their size.
    """

    def __init__(self, region: Window, threshold: float, cell_origin: tuple[int, int]) -> None:
        self.cut = 0
        self._region = region
        self._threshold = threshold
        self._cell_origin = cell_origin  # of the grid's first pixel on the absolute lattice
        self._parent: dict[int, int] = {}
        self._pieces: dict[int, list[_Piece]] = {}
        self._oversize: set[int] = set()
        self._next = 1
        self._above = np.zeros(0, np.int64)
        self._seam_left = np.zeros(region.height, np.int64)
        self._seam_right = np.zeros(region.height, np.int64)
        self._column = region.column

    def add(self, strip: Strip) -> Iterator[Patch]:
        """Take the next strip; yield what it finishes."""
        window = strip.window
        if window.column != self._column:  # the next column block begins
            self._column = window.column
            self._seam_left, self._seam_right = self._seam_right, np.zeros_like(self._seam_left)
        if window.row == self._region.row:
            self._above = np.zeros(window.width, np.int64)
        mask = (strip.probabilities[0] < 1 - self._threshold) & ((strip.missing & CLOSED) == 0)
        count, labels = cv2.connectedComponents(
            mask.view(np.uint8), connectivity=4, ltype=cv2.CV_32S
        )
        places = np.flatnonzero(mask)
        numbers = labels.ravel()[places]
        waiting = self._reach_open_side(labels, count, window)
        if window.size > LARGEST_COMPONENT:
            waiting |= _too_large(places, numbers, count, window.width)
        waiting[0] = False
        waits = waiting[numbers]
        ids = self._keep(strip, places[waits], numbers[waits], count)
        self._join(ids, labels, window)
        # Counted anew without those that wait; label 0 never does.
        new = np.where(waiting, 0, np.cumsum(~waiting) - 1).astype(np.int32)
        labels.ravel()[places] = new[numbers]
        left = int(count - 1 - waiting.sum())
        yield Patch(window, labels, left, strip.probabilities, strip.missing)
        yield from self._release(window)

    def _reach_open_side(self, labels: np.ndarray, count: int, window: Window) -> np.ndarray:
        """Say of each label whether it may go on beyond its strip, bool (count,)."""
        reach = np.zeros(count, bool)
        region = self._region
        if window.row > region.row:
            reach[labels[0]] = True
        if window.bottom < region.bottom:
            reach[labels[-1]] = True
        if window.column > region.column:
            reach[labels[:, 0]] = True
        if window.right < region.right:
            reach[labels[:, -1]] = True
        return reach

    def _keep(
        self, strip: Strip, places: np.ndarray, numbers: np.ndarray, count: int
    ) -> np.ndarray:
        """Keep the pixels of waiting labels; return the identity of each label, int64 (count,).

        Parameters
        ----------
        places, numbers
            Where these pixels are in the strip, as indices, and their labels.
        """
        ids = np.zeros(count, np.int64)
        order = np.argsort(numbers, kind="stable")
        rows, columns = np.divmod(places[order], strip.window.width)
        probabilities, missing = strip.probabilities[:, rows, columns], strip.missing[rows, columns]
        rows, columns = rows + strip.window.row, columns + strip.window.column
        found, starts = np.unique(numbers[order], return_index=True)
        ids[found] = range(self._next, self._next + len(found))
        stops = np.append(starts, len(order))[1:]
        for own, start, stop in zip(ids[found].tolist(), starts, stops, strict=True):
            part = slice(start, stop)
            self._parent[own] = own
            # Copies: a view would keep the pixels of all others in memory.
            self._pieces[own] = [
                _Piece(
                    rows[part].astype(np.int32),
                    columns[part].astype(np.int32),
                    probabilities[:, part].copy(),
                    missing[part].copy(),
                )
            ]
        self._next += len(found)
        return ids

    def _join(self, ids: np.ndarray, labels: np.ndarray, window: Window) -> None:
        """Unite what touches across the upper and the left side, and remember the other two."""
        top = window.row - self._region.row
        rows = slice(top, top + window.height)
        for before, here in (
            (self._above, ids[labels[0]]),
            (self._seam_left[rows], ids[labels[:, 0]]),
        ):
            touching = (before > 0) & (here > 0)
            for a, b in np.unique(np.stack([before[touching], here[touching]], 1), axis=0):
                self._unite(int(a), int(b))
        self._seam_left[rows] = 0
        self._above = ids[labels[-1]]
        if window.bottom == self._region.bottom:
            self._above = np.zeros(0, np.int64)
        if window.right < self._region.right:
            self._seam_right[rows] = ids[labels[:, -1]]

    def _find(self, number: int) -> int:
        root = number
        while self._parent[root] != root:
            root = self._parent[root]
        while self._parent[number] != root:
            self._parent[number], number = root, self._parent[number]
        return root

    def _unite(self, a: int, b: int) -> None:
        a, b = self._find(a), self._find(b)
        if a == b:
            return
        a, b = min(a, b), max(a, b)
        self._parent[b] = a
        self._pieces[a] += self._pieces.pop(b)
        if b in self._oversize:
            self._oversize.discard(b)
            self._oversize.add(a)

    def _release(self, window: Window) -> Iterator[Patch]:
        """Yield every component that nothing can be added to any more, in a fixed order."""
        # A seam is looked at again by the next block, so what touches it stays.
        edges = np.concatenate([self._above, self._seam_left, self._seam_right])
        live = {self._find(int(number)) for number in np.unique(edges) if number > 0}
        done = [root for root in self._pieces if root not in live]
        whole = [self._whole(root) for root in done]
        # Of a huge component the last cell may have left already, and nothing be left of it.
        rest = [(piece, cut) for piece, cut in whole if len(piece.rows)]
        for piece, cut in sorted(rest, key=lambda item: (item[0].rows[0], item[0].columns[0])):
            yield from self._in_cells(piece) if cut else [_patch(piece)]
        for root in sorted(live):
            if sum(len(piece.rows) for piece in self._pieces[root]) > LARGEST_COMPONENT:
                yield from self._flush(root, window)
        if done:
            self._forget(live)

    def _whole(self, root: int) -> tuple[_Piece, bool]:
        """Take a finished component out; say whether it must be cut."""
        piece = _merge(self._pieces.pop(root))
        cut = root in self._oversize or len(piece.rows) > LARGEST_COMPONENT
        if not cut:
            box = (np.ptp(piece.rows) + 1) * (np.ptp(piece.columns) + 1)
            cut = int(box) > LARGEST_BOX * LARGEST_COMPONENT
        self.cut += cut
        self._oversize.discard(root)
        return piece, cut

    def _forget(self, live: set[int]) -> None:
        """Drop the identities of components that have left."""
        self._parent = {n: r for n in self._parent if (r := self._find(n)) in live}

    def _flush(self, root: int, window: Window) -> Iterator[Patch]:
        """Send on those cells of a huge, still growing component that are complete."""
        self._oversize.add(root)
        piece = _merge(self._pieces[root])
        row, column = self._cells(piece)
        # Cells reach beyond the region; nothing more comes there.
        bottom = np.minimum((row + 1) * CELL - self._cell_origin[0], self._region.bottom)
        right = np.minimum((column + 1) * CELL - self._cell_origin[1], self._region.right)
        complete = (bottom <= window.bottom) & (right <= window.right)
        self._pieces[root] = [_select(piece, ~complete)]
        yield from self._in_cells(_select(piece, complete))

    def _cells(self, piece: _Piece) -> tuple[np.ndarray, np.ndarray]:
        row = (piece.rows + self._cell_origin[0]) // CELL
        return row, (piece.columns + self._cell_origin[1]) // CELL

    def _in_cells(self, piece: _Piece) -> Iterator[Patch]:
        row, column = self._cells(piece)
        for cell in np.unique(np.stack([row, column], 1), axis=0):
            yield _patch(_select(piece, (row == cell[0]) & (column == cell[1])))


def _too_large(places: np.ndarray, numbers: np.ndarray, count: int, width: int) -> np.ndarray:
    """Say of each label of a strip whether it must be cut, bool (count,).

    Parameters
    ----------
    places, numbers
        Where the labelled pixels are in the strip, as indices, and their labels.
    count
        Number of labels, with 0.
    width
        Columns of the strip.
    """
    box = np.ones(count, np.int64)
    for along in np.divmod(places, width):
        first, last = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
        np.minimum.at(first, numbers, along)
        np.maximum.at(last, numbers, along)
        box *= np.where(last < 0, 0, last - first + 1)
    large: np.ndarray = (np.bincount(numbers, minlength=count) > LARGEST_COMPONENT) | (
        box > LARGEST_BOX * LARGEST_COMPONENT
    )
    return large


def _merge(pieces: list[_Piece]) -> _Piece:
    """Join pieces and order their pixels by row, then column."""
    rows = np.concatenate([p.rows for p in pieces])
    columns = np.concatenate([p.columns for p in pieces])
    order = np.lexsort((columns, rows))
    probabilities = np.concatenate([p.probabilities for p in pieces], 1)[:, order]
    missing = np.concatenate([p.missing for p in pieces])[order]
    return _Piece(rows[order], columns[order], probabilities, missing)


def _select(piece: _Piece, mask: np.ndarray) -> _Piece:
    return _Piece(
        piece.rows[mask], piece.columns[mask], piece.probabilities[:, mask], piece.missing[mask]
    )


def _patch(piece: _Piece) -> Patch:
    """Put pixels on their own box; parts that do not touch are components of their own."""
    row, column = int(piece.rows.min()), int(piece.columns.min())
    window = Window(
        row, column, int(piece.rows.max()) - row + 1, int(piece.columns.max()) - column + 1
    )
    index = piece.rows - row, piece.columns - column
    mask = np.zeros(window.shape, np.uint8)
    mask[index] = 1
    probabilities = np.zeros((len(piece.probabilities), *window.shape), np.float32)
    probabilities[0] = 1
    probabilities[:, index[0], index[1]] = piece.probabilities
    missing = np.zeros(window.shape, np.uint8)
    missing[index] = piece.missing
    count, labels = cv2.connectedComponents(mask, connectivity=4, ltype=cv2.CV_32S)
    return Patch(window, labels, count - 1, probabilities, missing)
