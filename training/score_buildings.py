r"""Score localisation runs on a prepared folder, beside methods without a network.

    python -m training.score_buildings runs/open_cities_small-fold4 --data prepared \
        --part test --facts facts.json

The figure is the Jaccard index of building pixels. The threshold of the networks is chosen on the
validation fold of the first run. That of brightness is chosen on all training data of the run.
Neither is chosen on scored data. `everything` calls every pixel a building.
"""

import argparse
import csv
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from geodamage.errors import GeodamageError, LabelError, OptionError, OutputExistsError
from training.building_predictor import SYMMETRIES, BuildingEnsemble
from training.data.building_images import HALF, TEST, BuildingImage, in_folds, read_building_index
from training.predictor import Trained, read_trained
from training.runs.records import replace_text

#: Thresholds that are tried, of 255.
LEVELS = 256

#: Window of the model file, pixels. The networks pool over all of it, so that it should not be many
#: times what they were trained on.
TILE = 512

#: Gives a score, uint8 (rows, columns), of an image, uint8 (rows, columns, 3).
Scorer = Callable[[np.ndarray], np.ndarray]


@dataclass
class Histogram:
    """Pixels of each level of a score, of buildings and of the rest.

    Attributes
    ----------
    building, other
        int64 (256,).
    """

    building: np.ndarray = field(default_factory=lambda: np.zeros(LEVELS, np.int64))
    other: np.ndarray = field(default_factory=lambda: np.zeros(LEVELS, np.int64))

    def add(self, score: np.ndarray, truth: np.ndarray) -> None:
        """Count an image.

        Parameters
        ----------
        score
            uint8 (rows, columns).
        truth
            bool (rows, columns).
        """
        self.building += np.bincount(score[truth], minlength=LEVELS)
        self.other += np.bincount(score[~truth], minlength=LEVELS)

    def __add__(self, other: "Histogram") -> "Histogram":
        """Return the counts of both."""
        return Histogram(self.building + other.building, self.other + other.other)

    def jaccard(self) -> np.ndarray:
        """Return the index of `score >= level`, float (256,); 0 where nothing is or is found."""
        found = self.building[::-1].cumsum()[::-1]
        wrong = self.other[::-1].cumsum()[::-1]
        return np.asarray(found / np.maximum(self.building.sum() + wrong, 1))

    def darker(self) -> "Histogram":
        """Return the counts of 255 less the score: of dark instead of bright."""
        return Histogram(self.building[::-1], self.other[::-1])


def count(images: Sequence[BuildingImage], scorer: Scorer) -> dict[str, Histogram]:
    """Return the histogram of each source."""
    found: dict[str, Histogram] = {}
    for image in images:
        pixels, mask = image.load()
        found.setdefault(image.source, Histogram()).add(scorer(pixels), mask >= HALF)
    return found


def total(histograms: dict[str, Histogram]) -> Histogram:
    """Return the counts of all sources together."""
    return sum(histograms.values(), Histogram())


def brightness(image: np.ndarray) -> np.ndarray:
    """Return the mean of red, green and blue."""
    return np.asarray(image.mean(2).round(), np.uint8)


def by_networks(ensemble: BuildingEnsemble) -> Scorer:
    """Return the probability of an ensemble, as 0 to 255."""
    return lambda image: np.asarray(np.rint(ensemble(image).probability * 255), np.uint8)


@dataclass(frozen=True)
class Row:
    """One line of the table: Jaccard of one method on each source, and on all pixels."""

    method: str
    by_source: dict[str, float]
    together: float


def rows_of(scored: dict[str, Histogram], level: int, method: str, *, dark: bool = False) -> Row:
    """Return a line of the table: building where the score is at least a level."""
    seen = {source: h.darker() if dark else h for source, h in scored.items()}
    each = {source: float(h.jaccard()[level]) for source, h in seen.items()}
    return Row(method, each, float(total(seen).jaccard()[level]))


def simple_rows(learnt: Sequence[BuildingImage], scored: Sequence[BuildingImage]) -> Iterator[Row]:
    """Yield what a brightness threshold, chosen on `learnt`, and calling everything come to."""
    tuned = total(count(learnt, brightness))
    dark = bool(tuned.darker().jaccard().max() > tuned.jaccard().max())
    chosen = tuned.darker() if dark else tuned
    level = int(chosen.jaccard().argmax())
    said = f"darker than {256 - level}" if dark else f"brightness >= {level}"
    yield rows_of(count(scored, brightness), level, said, dark=dark)
    yield rows_of(count(scored, brightness), 0, "everything")


def parts(
    data: Path, run: Trained, part: str, scales: Sequence[float]
) -> tuple[list[BuildingImage], list[BuildingImage], list[BuildingImage]]:
    """Return what a run learnt from, what it was validated on, and what is scored.

    Raises
    ------
    LabelError
        If nothing is scored.
    """
    images = [image for image in read_building_index(data) if image.scale in scales]
    if run.recipe is None:
        raise OptionError(f"{run.source}: a checkpoint names no fold; give the folder of a run")
    learnt, held_out = in_folds(images, run.recipe.fold)
    scored = held_out if part == "validation" else [i for i in images if i.fold == TEST]
    if not scored:
        raise LabelError(f"{data}: no image of part {part}; prepare some with --test PATTERN")
    return learnt, held_out, scored


def table_text(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""
    sources = list(rows[0].by_source)
    lines = ["| | " + " | ".join([*sources, "all"]) + " |", "|---" * (len(sources) + 2) + "|"]
    for row in rows:
        numbers = [*(row.by_source[source] for source in sources), row.together]
        lines.append(f"| {row.method} | " + " | ".join(f"{n:.4f}" for n in numbers) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="together one ensemble")
    parser.add_argument("--data", type=Path, required=True, help="prepared folder")
    parser.add_argument("--part", choices=("test", "validation"), default="test")
    parser.add_argument("--scales", type=float, nargs="+", default=[1.0])
    parser.add_argument("--tta", choices=SYMMETRIES, default="none")
    parser.add_argument("--facts", type=Path, help="JSON for training.export: threshold, scores")
    parser.add_argument("--csv", type=Path, help="the table as a file, too")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda[:N]")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there")
    options = parser.parse_args(arguments)
    try:
        run(options)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.score_buildings: error: {error}\n")


def run(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    for path in (options.facts, options.csv):
        if path is not None and path.exists() and not options.overwrite:
            raise OutputExistsError(f"{path}: is there; give --overwrite, or another name")
    trained = [read_trained(source) for source in options.runs]
    learnt, held_out, scored = parts(options.data, trained[0], options.part, options.scales)
    ensemble = BuildingEnsemble(trained, tta=options.tta, device=options.device)
    scorer = by_networks(ensemble)
    tuned = total(count(held_out, scorer)).jaccard()
    level = max(int(tuned.argmax()), 1)
    name = " + ".join(one.name for one in trained)
    row = rows_of(count(scored, scorer), level, f"{name}, {options.tta}, >= {level / 255:.3f}")
    rows = [row, *simple_rows(learnt, scored)]
    print(table_text(rows))
    print(f"threshold chosen on {len(held_out)} images, Jaccard {tuned.max():.4f} there")
    if options.csv is not None:
        write_csv(options.csv, rows)
    if options.facts is not None:
        facts = facts_of(rows, level, (options.data.name, options.part, len(scored)), held_out)
        replace_text(options.facts, json.dumps(facts, indent=2) + "\n")


def facts_of(
    rows: Sequence[Row],
    level: int,
    scored: tuple[str, str, int],
    held_out: Sequence[BuildingImage],
) -> dict[str, object]:
    """Return what a card says of a run: its threshold, its GSD, and its scores."""
    known = np.array([image.gsd for image in held_out if image.gsd > 0])
    facts: dict[str, object] = {
        "threshold": round(level / 255, 4),
        "tile": TILE,
        "scores": {
            "jaccard": {row.method: {**row.by_source, "all": row.together} for row in rows},
            "jaccard_on": f"{scored[0]}, part {scored[1]}, {scored[2]} images",
        },
    }
    if known.size:
        native = float(np.median(known))
        # Crops come at half and double the scale, too.
        facts |= {"gsd_native": native, "gsd_min": native / 2, "gsd_max": native * 2}
    return facts


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write the table as CSV."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["method", *rows[0].by_source, "all"])
        table.writerows([row.method, *row.by_source.values(), row.together] for row in rows)
    partial.replace(path)


if __name__ == "__main__":
    main(sys.argv[1:])
