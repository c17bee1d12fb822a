r"""Measure what becomes of grades and buildings where imagery has more than 8 bits.

    python -m benchmarks.stretch GEOTIFFS XBD/labels training/recipes/compact.csv --model fast

GEOTIFFS holds the pairs as `geodamage georeference` writes them. Each condition turns the pairs of
one part of the split into another type, and assesses them without and with the label polygons as
footprints. A row has the number of buildings found, as a share of those in the 8-bit pairs. It also
has the number of footprints with the same grade as there. `percentiles` is what other tools do:
both images stretched from their 2nd to their 98th percentile. `noisy` values are no steps of 8 bits
any more, so that nothing can be told from their steps. Nothing is chosen here.
"""

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from benchmarks.clouds import clouded
from benchmarks.conditions import Shot
from benchmarks.trust import condition_parser, names_of, read_shot, truth_of, write_pair
from geodamage.assessment import Job, assess
from geodamage.errors import GeodamageWarning
from geodamage.prediction import Strip, run_plan
from geodamage.scene.options import SceneOptions

COLUMNS = ("", "pairs", "found", "of 8 bits", "footprints", "same grade")

Pair = tuple[Shot, Shot]
Change = Callable[[Shot, np.random.Generator], Shot]

#: Channels of the model in images of eight, whose others are made up.
BANDS = (5, 3, 2)


def valued(dtype: str, gain: float, offset: float = 0.0, noise: float = 0.0) -> Change:
    """Return a change to another type; of the noise, in steps of 8 bits, half lies on each side."""

    def change(shot: Shot, rng: np.random.Generator) -> Shot:
        values = shot.pixels.astype(np.float64)
        values += noise * (rng.random(values.shape) - 0.5)
        values = np.maximum(values * gain + offset, 0)
        pixels = (np.rint(values) if dtype == "uint16" else values).astype(dtype)
        return Shot(pixels, shot.profile | {"dtype": dtype})

    return change


def percentiles(shot: Shot, rng: np.random.Generator) -> Shot:
    """Return an image stretched from its 2nd to its 98th percentile."""
    del rng
    values = shot.pixels.reshape(3, -1)
    low, high = np.percentile(values[:, values.any(0)], (2, 98), axis=1)[:, :, None, None]
    pixels = np.clip(np.rint((shot.pixels - low) / (high - low) * 255), 0, 255).astype(np.uint8)
    return Shot(pixels, shot.profile)


def of_eight(shot: Shot, rng: np.random.Generator) -> Shot:
    """Return an image of eight channels and 16 bits."""
    plain = valued("uint16", 8, 0, 1)(shot, rng)
    pixels = np.repeat(plain.pixels[:1] // 2, 8, axis=0)
    pixels[[band - 1 for band in BANDS]] = plain.pixels
    return Shot(pixels, plain.profile | {"count": 8, "photometric": "MINISBLACK"})


def under_cloud(shot: Shot, rng: np.random.Generator) -> Shot:
    """Return an image under cloud."""
    image, _ = clouded(rng, shot.pixels.transpose(1, 2, 0), 0.3)
    return Shot(image.transpose(2, 0, 1), shot.profile)


def wide_under_cloud(shot: Shot, rng: np.random.Generator) -> Shot:
    """Return an image of 16 bits under the same cloud."""
    return valued("uint16", 8, 0, 1)(under_cloud(shot, rng), rng)


@dataclass(frozen=True)
class Condition:
    """What is done to a pair, and the condition of 8 bits that it is held against."""

    pre: Change
    post: Change
    options: SceneOptions = SceneOptions()
    base: str = "8 bits, as it is"


def both(change: Change, options: SceneOptions = SceneOptions()) -> Condition:
    """Return what is done to both images alike."""
    return Condition(change, change, options)


PLAIN, CLOUDED = "8 bits, as it is", "8 bits, cloud over 30 % of post"
CONDITIONS = {
    PLAIN: both(lambda shot, rng: shot),
    CLOUDED: Condition(lambda shot, rng: shot, under_cloud, base=CLOUDED),
    "8 bits, percentiles": both(percentiles),
    "16 bits, times 8": both(valued("uint16", 8)),
    "16 bits, times 3 plus 500": both(valued("uint16", 3, 500)),
    "16 bits, dark": both(valued("uint16", 0.35 * 257)),
    "16 bits, dark, noisy": both(valued("uint16", 0.35 * 257, 0, 1)),
    "16 bits, post dark": Condition(
        valued("uint16", 257, 0, 1), valued("uint16", 0.35 * 257, 0, 1)
    ),
    "16 bits, cloud over 30 % of post": Condition(
        valued("uint16", 8, 0, 1), wide_under_cloud, base=CLOUDED
    ),
    "8 channels": both(of_eight, SceneOptions(pre_bands=BANDS, post_bands=BANDS)),
    "float, 0 to 1": both(valued("float32", 1 / 255)),
    "float, 0 to 1, noisy": both(valued("float32", 1 / 255, 0, 1)),
}


class Prediction:
    """Predicts a scene once, and gives its strips again."""

    def __init__(self) -> None:
        self._strips: list[Strip] | None = None

    def __call__(self, *asked: Any, **options: Any) -> Iterator[Strip]:
        """Yield the strips."""
        if self._strips is None:
            self._strips = [_copied(strip) for strip in run_plan(*asked, **options)]
        yield from map(_copied, self._strips)


def _copied(strip: Strip) -> Strip:
    return Strip(strip.window, strip.probabilities.copy(), strip.missing.copy())


@dataclass(frozen=True)
class Found:
    """What an assessment found: buildings, and the grade of each footprint (0 for none)."""

    buildings: int
    grades: dict[str, int]


def run(pair: Pair, options: SceneOptions, truth: gpd.GeoDataFrame, model: str) -> Found:
    """Assess a pair without and with footprints."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pair(pair, Path(folder))
        footprints = Path(folder) / "truth.geojson"
        truth.to_file(footprints)
        predict, results = Prediction(), []
        found = Job(
            pre=paths[0],
            post=paths[1],
            output=Path(folder) / "found.geojson",
            model=model,
            scene=options,
        )
        given = replace(
            found, output=Path(folder) / "given.geojson", footprints=footprints, id_field="uid"
        )
        for job in (found, given):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", GeodamageWarning)
                results.append(assess(job, predict=predict).result().buildings)
    graded = results[1].set_index("building_id")["damage_class"].fillna(0).astype(int)
    return Found(int(results[0]["damage_class"].notna().sum()), graded.to_dict())


@dataclass
class Row:
    """The outcome of one condition."""

    name: str
    pairs: int = 0
    found: int = 0
    plain: int = 0
    footprints: int = 0
    same: int = 0

    def add(self, found: Found, plain: Found) -> None:
        """Count a pair, against the same of 8 bits; what one of both hides is left out."""
        self.pairs += 1
        self.found += found.buildings
        self.plain += plain.buildings
        for name, grade in plain.grades.items():
            if grade and found.grades[name]:
                self.footprints += 1
                self.same += grade == found.grades[name]

    def text(self) -> str:
        """Return the row in Markdown."""
        cells = (
            self.name, self.pairs, self.found, f"{self.found / max(self.plain, 1):.1%}",
            self.footprints, f"{self.same / max(self.footprints, 1):.1%}",
        )  # fmt: skip
        return f"| {' | '.join(map(str, cells))} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = condition_parser(__doc__, list(CONDITIONS))
    parser.add_argument("--pairs", type=int, help="the first so many alone")
    parser.add_argument("--least", type=int, default=1, help="footprints that a pair must have")
    options = parser.parse_args(arguments)
    bases = [name for name in (PLAIN, CLOUDED)
             if any(CONDITIONS[other].base == name for other in options.only)]  # fmt: skip
    rows = [Row(name) for name in dict.fromkeys([*bases, *options.only])]
    done = 0
    for number, name in enumerate(names_of(options.split, options.part)):
        paths = [options.geotiffs / f"{name}_{date}_disaster.tif" for date in ("pre", "post")]
        truth = truth_of(options.labels, name)
        if not all(path.is_file() for path in paths) or len(truth) < options.least:
            continue
        done += 1
        if options.pairs is not None and done > options.pairs:
            break
        shots = [read_shot(path) for path in paths]
        results: dict[str, Found] = {}
        for row in rows:
            condition = CONDITIONS[row.name]
            pair = (
                condition.pre(shots[0], np.random.default_rng((number, 0))),
                condition.post(shots[1], np.random.default_rng((number, 1))),
            )
            found = results[row.name] = run(pair, condition.options, truth, options.model)
            row.add(found, results[condition.base])
            print(name, row.text(), file=sys.stderr, flush=True)
    print(f"| {' | '.join(COLUMNS)} |\n|---{'|--:' * (len(COLUMNS) - 1)}|")
    for row in rows:
        print(row.text())


if __name__ == "__main__":
    main()
