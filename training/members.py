r"""Choose the members of an ensemble of buildings on validation, greedily.

    python -m training.members candidates.toml validation/images validation/masks -o chosen.toml

Each `[[member]]` of candidates.toml, an ensemble file, is a candidate: a model with its flips,
transposition, scales or width. Every image is a GeoTIFF with a truth of the same name (a mask, or
polygons, as `geodamage score --buildings` reads them). The member is added whose mean with the
chosen ones has the best Jaccard index. This is repeated as long as the index rises. A member that
is added twice counts twice. The threshold is chosen with it. So the figure printed is that of the
set it was chosen on: an honest one needs other images.
"""

import argparse
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geodamage.codes import MAP_STEPS
from geodamage.errors import GeodamageError, ModelError, OutputExistsError, ScoringError
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import load_model
from geodamage.output.publication import output_errors
from geodamage.plan import make_plan
from geodamage.prediction import UNSEEN, run_plan
from geodamage.scene.scene import Scene
from geodamage.scores.footprints import draw, pair_files
from geodamage.sources import read_text

#: The least gain in Jaccard that one more member is worth.
LEAST_GAIN = 1e-4
#: Members of an ensemble, at most; more cost time and give next to nothing.
MOST_MEMBERS = 10
MEMORY = 3e9


@dataclass(frozen=True)
class Step:
    """One member taken.

    Attributes
    ----------
    member
        Its number among the candidates.
    jaccard
        Jaccard index of the mean of all that are chosen by then.
    threshold
        That it has at.
    """

    member: int
    jaccard: float
    threshold: float


def best_threshold(total: np.ndarray, members: int, truth: np.ndarray) -> tuple[float, float]:
    """Return the best Jaccard index of a mean over all its thresholds, and that threshold.

    Parameters
    ----------
    total
        int (n,): sum over members of the probability of each pixel, in steps of 1/250.
    members
        How many there are.
    truth
        bool (n,).

    Returns
    -------
    jaccard, threshold
        The threshold lies between two values that a mean can have.
    """
    length = MAP_STEPS * members + 1
    of_truth, of_all = (np.bincount(values, minlength=length) for values in (total[truth], total))
    # What is above each value; nothing is above the last.
    tp = of_truth.sum() - np.cumsum(of_truth)
    predicted = of_all.sum() - np.cumsum(of_all)
    union = predicted + of_truth.sum() - tp
    jaccard = np.where(union > 0, tp / np.maximum(union, 1), 0)
    # Of several that are equally good the middle one: it stands farthest from being worse.
    equal = np.flatnonzero(jaccard[:-1] == jaccard[:-1].max())
    best = int(equal[len(equal) // 2])
    return float(jaccard[best]), (best + 0.5) / (MAP_STEPS * members)


def choose(maps: np.ndarray, truth: np.ndarray, *, most: int = MOST_MEMBERS) -> Iterator[Step]:
    """Take members, the best first, as long as the Jaccard index of their mean rises.

    Parameters
    ----------
    maps
        uint8 (members, n): probability of each pixel by each candidate, in steps of 1/250.
    truth
        bool (n,).
    most
        Members to take, at most.
    """
    total, reached = np.zeros(len(truth), np.int32), 0.0
    for count in range(1, most + 1):
        tried = [best_threshold(total + codes, count, truth) for codes in maps]
        number = int(np.argmax([jaccard for jaccard, _ in tried]))
        jaccard, threshold = tried[number]
        if jaccard < reached + LEAST_GAIN:
            return
        total, reached = total + maps[number], jaccard
        yield Step(number, jaccard, threshold)


def predict_all(ensemble: Ensemble, image: Path, truth: Path) -> tuple[np.ndarray, np.ndarray]:
    """Ask every member of an ensemble about an image.

    Returns
    -------
    uint8 (members, n), bool (n,)
        Probabilities in steps of 1/250 of the pixels that image and truth show, and the truth.
    """
    with Scene.open(image, None, model=ensemble) as scene:
        region = scene.region
        true = draw(truth, scene.grid.crop(region))
        known, found = true.known.copy(), []
        for member in ensemble.members:
            alone = Ensemble(ensemble.card, [member])
            resident = alone.resident_bytes
            plan = make_plan(region, alone.card, memory=MEMORY + resident, resident=resident)
            codes = np.zeros(region.shape, np.uint8)
            for band in run_plan(scene, alone, plan, localisation_only=True):
                place = band.window.shift(-region.row, -region.column).slices
                codes[place] = np.rint(band.probabilities[1] * MAP_STEPS)
                known[place] &= (band.missing & UNSEEN) == 0
            found.append(codes)
    return np.stack(found)[:, known], true.index[known] > 0


def choose_members(
    candidates: Path, images: Path, truths: Path, *, most: int = MOST_MEMBERS
) -> list[Step]:
    """Choose members of an ensemble file on a folder of images with their truth.

    Raises
    ------
    ModelError
        If the candidates are no ensemble of models that find buildings.
    ScoringError
        If an image has no truth, or no truth holds a building.
    """
    ensemble = load_model(candidates)
    if not isinstance(ensemble, Ensemble) or ensemble.maps or not ensemble.members:
        raise ModelError(
            f"{candidates}: give an ensemble (.toml) of models; a saved map knows one scene alone"
        )
    if any("localisation" not in member.heads for member in ensemble.members):
        raise ModelError(f"{candidates}: a member does not find buildings; leave it out")
    asked = [predict_all(ensemble, *pair) for pair in pair_files(images, truths)]
    maps, truth = (np.concatenate(parts, -1) for parts in zip(*asked, strict=True))
    if not truth.any():
        raise ScoringError(f"{truths}: no truth holds a building, so no choice is better")
    return list(choose(maps, truth, most=most))


def chosen_text(table: Mapping[str, Any], steps: Sequence[Step]) -> str:
    """Return the TOML of an ensemble of the members that were taken.

    Parameters
    ----------
    table
        Table of the candidates.
    steps
        Steps in the order in which they were taken.
    """
    counts: dict[int, int] = {}
    for step in steps:
        counts[step.member] = counts.get(step.member, 0) + 1
    facts = {k: v for k, v in table.items() if k not in ("member", "threshold", "pixels")}
    lines = [_line(key, value) for key, value in facts.items()]
    lines.append(_line("threshold", round(steps[-1].threshold, 5)))
    for number, count in counts.items():
        entry = table["member"][number] | {"weight": float(count)}
        lines += ["", "[[member]]", *(_line(key, value) for key, value in entry.items())]
    return "\n".join(lines) + "\n"


def _line(key: str, value: Any) -> str:
    # Strings, numbers, booleans and lists of them are written in TOML as in JSON.
    return f"{key} = {json.dumps(value)}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Choose members and write the ensemble."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("candidates", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("truths", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--most", type=int, default=MOST_MEMBERS, help="members at most")
    options = parser.parse_args(arguments)
    if options.most < 1 or options.output.parent.resolve() != options.candidates.parent.resolve():
        parser.error("--most is 1 or more, and the output lies beside the candidates")
    try:
        if options.output.exists():
            raise OutputExistsError(f"{options.output} exists; choose another name")
        steps = choose_members(
            options.candidates, options.images, options.truths, most=options.most
        )
        table = tomllib.loads(read_text(options.candidates))
        with output_errors(options.output):
            options.output.write_text(chosen_text(table, steps), encoding="utf-8")
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.members: error: {error}\n")
    for step in steps:
        entry = table["member"][step.member]
        print(f"Jaccard {step.jaccard:.4f} above {step.threshold:.3f}  + {json.dumps(entry)}")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
