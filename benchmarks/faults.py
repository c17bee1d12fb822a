r"""Count and show the known faults of found buildings, model beside model.

    python -m benchmarks.faults MODEL... --data ../shared/data/xbd \
        --split training/recipes/compact.csv --part test --pictures faults/

- `large roofs`: labels of 800 m² and more. Pieces are found buildings that lie mostly inside the
  label and cover a twentieth of it.
- `small`: labels below 50 m². They are matched at IoU 0.5, or half of them is covered.
- `nothing there`: found buildings of which less than a twentieth lies in a label.

`--pictures` draws the worst of each fault of the first model: pre without lines, then each model's
outlines in yellow over the labels in blue. Other faults have no figure: look at these pictures.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from heapq import nlargest
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.distillation import say
from geodamage.arrays import predict_pair
from geodamage.errors import GeodamageError
from geodamage.model.heads import Predictor
from geodamage.model.loading import load_model
from geodamage.scores.buildings import match
from geodamage.scores.evaluation import EvaluationJob, choose_pairs, read_truth
from geodamage.scores.tallies import Drawing, Truth, draw_buildings

#: m².
LARGE, SMALL = 800.0, 50.0
#: Share of a label that a piece covers; share of a found building that lies in labels.
_PIECE = _TOUCHES = 0.05
_SIDE, _SHOWN, _AROUND = 320, 12, 40
_BLUE, _YELLOW = (90, 140, 255), (255, 220, 0)
COLUMNS = (
    "model", "large roofs", "in one piece", "pieces of each", "covered", "small", "matched",
    "half covered", "found", "nothing there", "share",
)  # fmt: skip

Index = npt.NDArray[np.int32]


class Fault(NamedTuple):
    """One place where a model is wrong.

    Attributes
    ----------
    kind
        `large`, `small` or `nothing`.
    size
        How bad it is: pieces, or m².
    pixels
        Rows and columns of the label or of the found building, int (2, n).
    """

    kind: str
    size: float
    pixels: npt.NDArray[np.int64]


class Counts(NamedTuple):
    """What is counted of one pair."""

    large: int = 0
    whole: int = 0
    pieces: int = 0
    covered: float = 0.0
    small: int = 0
    matched: int = 0
    half: int = 0
    found: int = 0
    nothing: int = 0


def count_faults(truth: Index, found: Index, pixel_area: float) -> tuple[Counts, list[Fault]]:
    """Count the faults of one pair.

    Parameters
    ----------
    truth, found
        int32 (rows, columns): labels and found buildings by number, 0 background.
    pixel_area
        m².
    """
    labels, drawn = int(truth.max(initial=0)) + 1, int(found.max(initial=0)) + 1
    shared = np.zeros((labels, drawn), np.int64)
    np.add.at(shared, (truth.ravel(), found.ravel()), 1)
    areas, sizes = shared.sum(1), shared.sum(0)
    shared = shared[1:, 1:]
    area, size = areas[1:], sizes[1:]
    covered = shared.sum(1) / np.maximum(area, 1)
    inside = (shared > size / 2) & (shared >= _PIECE * area[:, None])
    pieces = inside.sum(1)
    large = area * pixel_area >= LARGE
    small = (area > 0) & (area * pixel_area < SMALL)
    matched = {label for label, _ in match(truth, found)}
    nothing = (size > 0) & (shared.sum(0) < _TOUCHES * size)
    counts = Counts(
        int(large.sum()), int((pieces[large] == 1).sum()), int(pieces[large].sum()),
        float(covered[large].sum()), int(small.sum()),
        sum(label in matched for label in np.flatnonzero(small) + 1),
        int((covered[small] >= 0.5).sum()), int((size > 0).sum()), int(nothing.sum()),
    )  # fmt: skip
    faults = [
        Fault("large", float(pieces[n]), _where(truth, int(n) + 1))
        for n in np.flatnonzero(large & (pieces > 1))
    ]
    faults += [
        Fault("small", float(area[n] * pixel_area), _where(truth, int(n) + 1))
        for n in np.flatnonzero(small & (covered == 0))
    ]
    faults += [
        Fault("nothing", float(size[n] * pixel_area), _where(found, int(n) + 1))
        for n in np.flatnonzero(nothing)
    ]
    return counts, faults


def _where(index: Index, number: int) -> npt.NDArray[np.int64]:
    return np.array(np.nonzero(index == number))


def worst(faults: Iterable[Fault], most: int) -> Iterator[Fault]:
    """Yield the worst faults of each kind, so that no more are drawn than can be shown."""
    kinds: dict[str, list[Fault]] = defaultdict(list)
    for fault in faults:
        kinds[fault.kind].append(fault)
    for own in kinds.values():
        yield from nlargest(most, own, key=attrgetter("size"))


def row(model: str, parts: Sequence[Counts]) -> str:
    """Return one line of the table."""
    total = Counts(*(sum(values) for values in zip(*parts, strict=True)))
    large, small, found = (max(number, 1) for number in (total.large, total.small, total.found))
    cells = [
        model, str(total.large), f"{total.whole / large:.2f}", f"{total.pieces / large:.2f}",
        f"{total.covered / large:.2f}", str(total.small), f"{total.matched / small:.3f}",
        f"{total.half / small:.3f}", str(total.found), str(total.nothing),
        f"{total.nothing / found:.3f}",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def picture(truth: Truth, founds: Sequence[Index], fault: Fault) -> npt.NDArray[np.uint8]:
    """Draw one fault: pre, then the outlines of each model; uint8 (rows, columns, 3)."""
    middle = (fault.pixels.min(1) + fault.pixels.max(1)) // 2
    half = max(int(np.ptp(fault.pixels, axis=1).max()) // 2 + _AROUND, _AROUND)
    top, left = np.maximum(middle - half, 0)
    part = np.s_[top : middle[0] + half, left : middle[1] + half]
    tiles = [_enlarged(truth.pre[part])]
    for found in founds:
        tile = _enlarged(truth.pre[part])
        for index, colour in ((truth.index, _BLUE), (found, _YELLOW)):
            _outline(tile, index[part], colour)
        tiles.append(tile)
    return np.concatenate(tiles, 1)


def _enlarged(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_CUBIC), np.uint8)


def _outline(tile: npt.NDArray[np.uint8], index: Index, colour: tuple[int, int, int]) -> None:
    sharp = cv2.resize(index.astype(np.float32), (_SIDE, _SIDE), interpolation=cv2.INTER_NEAREST)
    for number in np.unique(index[index > 0]):
        lines, _ = cv2.findContours(
            (sharp == number).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(tile, lines, -1, colour, 1)


def run(options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the table, and write the pictures."""
    models: dict[str, Predictor] = {
        name: load_model(name, threads=1, tta=options.tta) for name in options.models
    }
    drawings = [Drawing.of(model.card) for model in models.values()]
    counted: dict[str, list[Counts]] = defaultdict(list)
    shown: dict[str, list[tuple[float, npt.NDArray[np.uint8]]]] = defaultdict(list)
    job = EvaluationJob(folder=options.data, split=options.split, part=options.part)
    for pair in choose_pairs(job):
        say(pair.name)
        truth = read_truth(pair)
        founds = [
            draw_buildings(
                predict_pair(model, truth.pre, truth.post).probabilities,
                drawing,
                truth.pixel_area,
            )
            for model, drawing in zip(models.values(), drawings, strict=True)
        ]
        for number, (name, found) in enumerate(zip(models, founds, strict=True)):
            counts, faults = count_faults(truth.index, found, truth.pixel_area)
            counted[name].append(counts)
            if options.pictures and number == 0:
                for fault in worst(faults, options.most):
                    shown[fault.kind].append((fault.size, picture(truth, founds, fault)))
    for kind, tiles in shown.items():
        options.pictures.mkdir(parents=True, exist_ok=True)
        sheet = np.concatenate(
            [tile for _, tile in nlargest(options.most, tiles, key=itemgetter(0))]
        )
        cv2.imwrite(str(options.pictures / f"{kind}.png"), sheet[..., ::-1])
    yield f"| {' | '.join(COLUMNS)} |\n|---{'|--:' * (len(COLUMNS) - 1)}|"
    for name, parts in counted.items():
        yield row(Path(name).stem, parts)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled pairs")
    parser.add_argument("--split", type=Path, help="list of pairs, .csv")
    parser.add_argument("--part", default="test")
    parser.add_argument("--tta", default="none", help="as of `geodamage assess`")
    parser.add_argument("--pictures", type=Path, help="folder for pictures; not for publication")
    parser.add_argument("--most", type=int, default=_SHOWN, help="pictures of each fault")
    options = parser.parse_args(arguments)
    try:
        for line in run(options):
            print(line, flush=True)
    except GeodamageError as error:
        sys.exit(f"benchmarks.faults: {error}")


if __name__ == "__main__":
    main()
