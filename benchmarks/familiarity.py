r"""Measure whether a scene that is unlike the training imagery is graded worse.

    python -m benchmarks.familiarity XBD training/recipes/compact.csv --runs runs/events
    python -m benchmarks.familiarity XBD training/recipes/compact.csv

With `--runs`, the networks of `benchmarks.events` answer this, each for the events that it has not
seen. Without it, a linear model on the bundled features of buildings stands in for them. Each pair
is then graded twice. One stand-in was trained on the other events, and one on the other places,
including its own event. Each time its distance is taken to the training pairs of the stand-in.
Together this gives a population of known and unknown events. A row has kappa by quartile of that
distance, within an event, for quartiles of all events differ by what happened there.

A second table asks whether a building's own distance ranks its errors better than its confidence
does. The distance is that to the training buildings of the stand-in. The figure is the area under
the curve, and 0.5 is chance. `--pairs N` reads so many pairs of each event at most.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata

from benchmarks.adapt import stand_in
from benchmarks.event_features import ArrayScene, Unseeing, polygons
from geodamage.adaptation.extraction import Extraction
from geodamage.adaptation.network import FeatureNetwork
from geodamage.familiarity.looking import features_of
from geodamage.familiarity.reference import learn
from geodamage.model.loading import load_model
from geodamage.scene.survey import BLOCK, Block
from geodamage.scores.buildings import quadratic_kappa
from geodamage.scores.evaluation import EvaluationJob, choose_pairs, read_truth
from geodamage.windows import Window
from training.familiarity import FOLDS, Table, split_rows

#: Damaged buildings that an event must have for a row of its own.
ENOUGH = 100


def blocks_of(images: Sequence[np.ndarray]) -> list[Block]:
    """Return the blocks of a pair, uint8 (rows, columns, 3), that hold more than black."""
    pre, post = (image.transpose(2, 0, 1) for image in images)
    found = []
    for row in range(0, pre.shape[1] - BLOCK + 1, BLOCK):
        for column in range(0, pre.shape[2] - BLOCK + 1, BLOCK):
            window = Window(row, column, BLOCK, BLOCK)
            one, two = pre[:, *window.slices], post[:, *window.slices]
            shown = [np.asarray(image.max(0) > 0) for image in (one, two)]
            found.append(Block(window, one, two, shown[0], shown[1]))
    return found


def read(
    folder: Path, split: Path, most: int | None, runs: Path | None = None
) -> tuple[dict[str, np.ndarray], Table]:
    """Return the features of the buildings of all pairs, and of their blocks.

    Parameters
    ----------
    most
        Pairs of each event, in the order of their names; None for all.
    runs
        Folder of `benchmarks.events`, whose networks then say the grades, too.
    """
    networks = Unseeing(runs) if runs else None
    network, card = FeatureNetwork(device="cpu", threads=1), load_model("fast").card
    rows = {row["pair"]: row for row in split_rows(split)}
    columns: dict[str, list[Any]] = defaultdict(list)
    blocks, scenes, names = [], list[int](), list[str]()
    taken = defaultdict[str, int](int)
    for pair in choose_pairs(EvaluationJob(folder=folder)):
        event = rows.get(pair.name, {}).get("event")
        if event is None or (most is not None and taken[event] >= most):
            continue
        truth = read_truth(pair)
        numbers, boxes = polygons(truth)
        if not numbers:
            continue
        taken[event] += 1
        found = features_of(blocks_of((truth.pre, truth.post)), network, [[0, 1, 2]] * 2)
        blocks.append(found)
        scenes += [len(names)] * len(found)
        columns["features"].append(Extraction(ArrayScene(truth), network, card).features(boxes))
        columns["grades"].append([truth.grades[number] for number in numbers])
        columns["scene"].append([len(names)] * len(numbers))
        if networks:
            columns["unseen"].append(networks.said_of(truth, numbers))
        names.append(pair.name)
        print(pair.name, file=sys.stderr, flush=True)
    table = Table(
        np.concatenate(blocks),
        np.array(scenes),
        tuple(names),
        tuple(rows[name]["event"] for name in names),
        tuple(f"{rows[name]['event']} {rows[name]['place']}" for name in names),
    )
    return {name: np.concatenate(parts) for name, parts in columns.items()}, table


def said_without(buildings: dict[str, np.ndarray], groups: Sequence[object]) -> np.ndarray:
    """Return what stand-ins say that learnt from the buildings of other groups, (n, 4)."""
    own = np.array([str(group) for group in groups])[buildings["scene"]]
    result = np.zeros((len(own), 4))
    for group in np.unique(own):
        mine = own == group
        known = buildings | {"event": np.where(mine, "own", "other")}
        result[mine] = stand_in(known, "own")
    return result


def distances_without(buildings: dict[str, np.ndarray], groups: Sequence[object]) -> np.ndarray:
    """Return how far each building lies from those of other groups, (n,)."""
    own = np.array([str(group) for group in groups])[buildings["scene"]]
    result = np.zeros(len(own))
    for group in np.unique(own):
        mine = own == group
        result[mine] = learn(buildings["features"][~mine]).distances(buildings["features"][mine])
    return result


def ranked(is_wrong: np.ndarray, doubt: np.ndarray) -> float:
    """Return the area under the curve by which a doubt finds errors; NaN of one kind only."""
    wrong, right = int(is_wrong.sum()), int((~is_wrong).sum())
    if not wrong or not right:
        return float("nan")
    return float((rankdata(doubt)[is_wrong].sum() - wrong * (wrong + 1) / 2) / (wrong * right))


def rankings(
    buildings: dict[str, np.ndarray], table: Table, said: np.ndarray, distance: np.ndarray
) -> list[str]:
    """Return the rows of the second table, of what was said of unseen events."""
    event, is_wrong = (
        np.array(table.events)[buildings["scene"]],
        said.argmax(1) + 1 != buildings["grades"],
    )
    rows = []
    for name in (*sorted(set(table.events)), "all"):
        own = (event == name) | (name == "all")
        doubts = (1 - said.max(1)[own], distance[own])
        areas = [f"{ranked(is_wrong[own], doubt):.3f}" for doubt in doubts]
        rows.append(f"| {name} | {own.sum()} | {is_wrong[own].sum()} | {' | '.join(areas)} |")
    return rows


def kappas(truth: np.ndarray, grades: np.ndarray, distance: np.ndarray) -> list[float]:
    """Return kappa by quartile of distance, the nearest first."""
    quartile = np.digitize(distance, np.nanquantile(distance, (0.25, 0.5, 0.75)))
    return [
        quadratic_kappa(truth[quartile == n].tolist(), grades[quartile == n].tolist())
        for n in range(4)
    ]


def populations(
    buildings: dict[str, np.ndarray], table: Table
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return what is said of the buildings, (n, 4), and how far their scenes lie, time by time."""
    if "unseen" in buildings:
        return [buildings["unseen"]], [table.unseen_events()]
    order = sorted(set(table.places))
    folds = [order.index(place) % FOLDS for place in table.places]
    said = [said_without(buildings, groups) for groups in (table.events, folds)]
    return said, [table.unseen_events(), table.unseen_places()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of labelled pairs")
    parser.add_argument("split", type=Path, help="names the places")
    parser.add_argument("--pairs", type=int, help="of each event, at most")
    parser.add_argument("--runs", type=Path, help="folder of benchmarks.events")
    options = parser.parse_args(arguments)
    buildings, table = read(options.data, options.split, options.pairs, options.runs)
    scene = buildings["scene"]
    said, found = populations(buildings, table)
    truth = np.tile(buildings["grades"], len(said))
    grades = np.concatenate(said).argmax(1) + 1
    distance = np.concatenate([one[scene] for one in found])
    event = np.tile(np.array(table.events)[scene], len(said))
    print("| event | buildings | nearest quarter | second | third | farthest |")
    print("|---|--:|--:|--:|--:|--:|")
    for name in (*sorted(set(table.events)), "all"):
        own = (event == name) | (name == "all")
        own &= np.isfinite(distance)
        if (truth[own] > 1).sum() >= len(said) * ENOUGH:
            cells = [f"{value:.2f}" for value in kappas(truth[own], grades[own], distance[own])]
            print(f"| {name} | {int(own.sum()) // len(said)} | {' | '.join(cells)} |")
    print("\n| unseen event | buildings | wrong | found by confidence | by distance |")
    print("|---|--:|--:|--:|--:|")
    own_distance = distances_without(buildings, table.events)
    print("\n".join(rankings(buildings, table, said[0], own_distance)))


if __name__ == "__main__":
    main()
