"""A roll: features of an image that are kept while strips pass, so that none is computed twice."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from geodamage.asking import cell_side, graded_parts, inner, part_of
from geodamage.model.card import Card
from geodamage.model.heads import Heads
from geodamage.model.staged import StagedSession
from geodamage.plan import Plan
from geodamage.scene.pixels import Pixels
from geodamage.windows import Window, pieces

#: Pixels of a call of a stage that sees features alone, over those of one that sees an image: it
#: takes a quarter of the memory for each.
_COARSE_MORE = 2


class Roll:
    """Features of one image of a column block.

    Parameters
    ----------
    session
        The stages of the model.
    pixels
        Pixels of one call, at most, with the margin.
    """

    def __init__(self, session: StagedSession, pixels: int) -> None:
        self._session, self._pixels = session, pixels
        self._window = Window(0, 0, 0, 0)
        self._image = np.empty((3, 0, 0), np.uint8)
        self._features: dict[str, np.ndarray] = {}
        self._done: list[np.ndarray] = []

    def turn(self, window: Window, image: np.ndarray) -> None:
        """Go on to a window of the scene; what is known of it stays.

        Parameters
        ----------
        window
            The strip with its halo. It begins at multiples of all steps.
        image
            uint8 (channels, rows, columns) of it.
        """
        last, self._window, self._image = self._window, window, image
        rows = last.bottom - window.row
        is_next = last.shape == window.shape and last.column == window.column
        if is_next and 0 <= rows <= window.height:
            layers = (layer for feature in self._features.values() for layer in feature)
            for layer in (*layers, *self._done):
                kept = rows * len(layer) // window.height
                # Layer by layer: numpy copies what overlaps.
                layer[:kept] = layer[len(layer) - kept :]
            for done in self._done:
                done[rows * len(done) // window.height :] = False
            return
        self._features.clear()
        self._done = [
            np.zeros((window.height // stage.step, window.width // stage.step), bool)
            for stage in self._session.seeing
        ]

    def fill(self, windows: Iterable[Window]) -> None:
        """Compute the features of some windows of the scene, where they are not known yet."""
        wanted = [window.shift(-self._window.row, -self._window.column) for window in windows]
        tiles, behind = list[list[Window]](), list[Window]()
        for number in reversed(range(len(self._done))):
            stage, done = self._session.seeing[number], self._done[number]
            is_kept = set(stage.gives) & set(self._session.kept)
            needed = np.zeros_like(done)
            for window in (*(wanted if is_kept else ()), *behind):
                needed[_cells(window, stage.step).slices] = True
            found = pieces(needed & ~done, stage.margin / stage.step)
            tiles.append([tile for piece in found for tile in self._tiles(number, piece)])
            behind = [tile.buffer(stage.margin) for tile in tiles[-1]]
        for number, todo in enumerate(reversed(tiles)):
            for tile in todo:
                self._see(number, tile)

    def at(self, window: Window) -> dict[str, np.ndarray]:
        """Return what the heads take of a window of the scene, (1, channels, ...) each."""
        inside = window.shift(-self._window.row, -self._window.column)
        return {name: self._cut(name, inside) for name in self._session.kept}

    def _tiles(self, number: int, piece: Window) -> Iterator[Window]:
        """Cut cells of a stage into windows of few enough pixels each, in pixels."""
        stage = self._session.seeing[number]
        most = self._pixels * (_COARSE_MORE if number else 1)
        rows, columns = _sides(piece, stage.step, stage.margin, most)
        for top in range(0, piece.height, rows):
            for left in range(0, piece.width, columns):
                tile = Window(top, left, rows, columns) & Window(0, 0, *piece.shape)
                yield tile.shift(piece.row, piece.column).times(stage.step)

    def _see(self, number: int, tile: Window) -> None:
        """Compute a tile of a stage, and keep what it gives."""
        stage = self._session.seeing[number]
        around = tile.buffer(stage.margin)
        before = self._session.seeing[number - 1].gives[-1] if number else None
        if before is None:
            taken = np.ascontiguousarray(self._image[None, :, *around.slices])
        else:
            taken = self._cut(before, around)
        for name, said in self._session.see(number, taken).items():
            step = around.height // said.shape[2]
            if name not in self._features:
                sides = self._window.height // step, self._window.width // step
                self._features[name] = np.zeros((said.shape[1], *sides), said.dtype)
            inner = _cells(tile.shift(-around.row, -around.column), step).slices
            self._features[name][:, *_cells(tile, step).slices] = said[0][:, *inner]
        self._done[number][_cells(tile, stage.step).slices] = True

    def _cut(self, name: str, window: Window) -> np.ndarray:
        feature = self._features[name]
        step = self._window.height // feature.shape[1]
        return np.ascontiguousarray(feature[None, :, *_cells(window, step).slices])


class Rolls:
    """The features of both dates, and what the heads say of them.

    Parameters
    ----------
    session
        The stages of the model.
    plan
        How the scene is cut.
    card
        Card of the model.
    """

    def __init__(self, session: StagedSession, plan: Plan, card: Card) -> None:
        self._session, self._plan, self._card = session, plan, card
        self._pre, self._post = (Roll(session, plan.rolled) for _ in range(2))

    def ask(self, strip: Window, pixels: Pixels, cores: Sequence[Window]) -> list[Heads]:
        """Return the heads of some cores of a strip; see `geodamage.asking.ask`.

        Parameters
        ----------
        strip
            On the scene's grid; `pixels` begin a halo before it.
        cores
            Parts of it.
        """
        around = strip.buffer(self._plan.halo)
        self._pre.turn(around, pixels.pre)
        self._post.turn(around, pixels.post)
        self._pre.fill(core.buffer(self._session.margin) for core in cores)
        found = [self._find(core) for core in cores]
        self._post.fill(
            part.buffer(self._session.margin) for _, _, parts in found for part in parts
        )
        heads = []
        for core in cores:
            localisation, features, parts = found.pop(0)
            heads.append(Heads(localisation, self._grade(core, features, parts)))
        return heads

    def _find(self, core: Window) -> tuple[np.ndarray, list[np.ndarray], list[Window]]:
        """Return localisation, features and the parts that are worth grading, of a core."""
        margin, above = self._session.margin, self._plan.graded_above
        said, features = self._session.find(self._pre.at(core.buffer(margin)))
        # A copy: a view would keep the margin in memory.
        localisation = inner(said, margin).copy()
        if above is None:
            return localisation, features, [core]
        parts = graded_parts(localisation[0, 0] > above, margin, cell_side(self._card), self._card)
        shifted = [part.shift(core.row, core.column) for part in parts]
        return localisation, features if shifted else [], shifted

    def _grade(
        self, core: Window, features: Sequence[np.ndarray], parts: Sequence[Window]
    ) -> np.ndarray:
        """Return the damage head of a core: 0 beside the parts."""
        damage = np.zeros((1, 4, *core.shape), np.float32)
        whole = core.buffer(self._session.margin)
        for part in parts:
            window = part.buffer(self._session.margin)
            place = window.shift(-whole.row, -whole.column)
            known = [part_of(feature, place, whole.shape) for feature in features]
            said = self._session.grade(self._post.at(window), known)
            index = part.shift(-core.row, -core.column).slices
            damage[..., *index] = inner(said, self._session.margin)
        return damage


def _cells(window: Window, step: int) -> Window:
    """Return the cells that hold a window of pixels."""
    row, column = window.row // step, window.column // step
    return Window(row, column, -(-window.bottom // step) - row, -(-window.right // step) - column)


def _sides(piece: Window, step: int, margin: int, most: int) -> tuple[int, int]:
    """Return rows and columns of the tiles, in cells, that cost least and have few enough pixels.

    Tiles of a single cell may have more.
    """
    ways = []
    around, rows = 2 * margin // step, piece.height
    while True:
        width = max(most // (step * step * (rows + around)) - around, 1)
        columns = -(-piece.width // -(-piece.width // min(width, piece.width)))
        work = -(-piece.height // rows) * (rows + around)
        work *= -(-piece.width // columns) * (columns + around)
        fits = (rows + around) * (columns + around) * step * step <= most
        ways.append((not fits, work, rows, columns))
        if rows == 1:
            break
        rows = -(-rows // 2)
    _, _, rows, columns = min(ways)
    return rows, columns
