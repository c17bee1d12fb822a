"""Features, labels and answers of models for the buildings of labelled pairs.

`benchmarks.adapt` keeps them in a table, and plays events through with them.
"""

import argparse
import csv
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from affine import Affine
from PIL import Image
from pyproj import CRS
from scipy.ndimage import label as components_of

from benchmarks.distillation import say
from benchmarks.events import FOLDS
from geodamage.adaptation.extraction import Extraction
from geodamage.adaptation.head import Floats
from geodamage.adaptation.network import FeatureNetwork
from geodamage.arrays import predict_pair
from geodamage.buildings.finding import Grading
from geodamage.damage import GRADES
from geodamage.errors import LabelError
from geodamage.grid import Grid
from geodamage.model.heads import Predictor
from geodamage.model.loading import load_model
from geodamage.scene.pixels import Pixels
from geodamage.scores.evaluation import USUAL_GSD, EvaluationJob, choose_pairs, read_truth
from geodamage.scores.tallies import Truth, grade_probabilities, sum_votes
from geodamage.windows import Window, mirror
from geodamage.xbd.folders import DATES, Pair, read_image
from training.predictor import load_predictor, read_trained

#: Degrees between the corners of two tiles: far enough that no block holds parts of two by chance.
APART = 0.01
_TARGET = "_post_disaster_target.png"


class ArrayScene:
    """Two images on the grid of their own pixels, mirrored beyond their sides."""

    def __init__(self, truth: Truth) -> None:
        self._images = [image.transpose(2, 0, 1) for image in (truth.pre, truth.post)]
        rows, columns = truth.index.shape
        # Pixels are metres here; nobody asks where on earth they are.
        self.grid = Grid(CRS.from_epsg(32616), Affine(1, 0, 0, 0, -1, 0), (rows, columns))

    @property
    def extent(self) -> Window:
        """The whole of them."""
        return self.grid.window

    def read(self, window: Window) -> Pixels:
        """Read a window; it may reach beyond the images."""
        rows, columns = (
            mirror(first, last, size)
            for first, last, size in zip(
                (window.row, window.column), (window.bottom, window.right), self.grid.shape,
                strict=True,
            )
        )  # fmt: skip
        pre, post = (image[:, rows[:, None], columns] for image in self._images)
        return Pixels(pre, post, np.zeros(window.shape, np.uint8))


def polygons(truth: Truth) -> tuple[list[int], Floats]:
    """Return the numbers of the graded polygons, and left, bottom, right, top of each."""
    rows, columns = np.nonzero(truth.index)
    numbers = truth.index[rows, columns]
    found, boxes = [], []
    for number in sorted(truth.grades):
        own = numbers == number
        if own.any():
            r, c = rows[own], columns[own]
            found.append(number)
            boxes.append((c.min(), -(r.max() + 1.0), c.max() + 1, -r.min()))
    return found, np.array(boxes, float).reshape(-1, 4)


def write_table(options: argparse.Namespace) -> Iterator[str]:
    """Write features, labels and what the model says of every pair."""
    network, model = FeatureNetwork(threads=1), load_model(options.model, threads=1)
    columns: dict[str, list[Any]] = defaultdict(list)
    places = read_places(options.places)
    for tile, truth in enumerate(truths_of(options)):
        pair = truth.pair
        numbers, boxes = polygons(truth)
        if numbers:
            reader = Extraction(ArrayScene(truth), network, model.card)
            columns["features"].append(reader.features(boxes))
            columns["said"].append(said_of(model, truth, numbers))
            columns["grades"].append([truth.grades[number] for number in numbers])
            columns["place"].append(APART * tile + boxes[:, :2] / 1e6)
            columns["tile"].append([places.get(pair.name, pair.name)] * len(numbers))
            columns["event"].append([pair.event] * len(numbers))
    whole = {name: np.concatenate(parts) for name, parts in columns.items()}
    whole["threshold"] = np.array(model.card.damaged_threshold)
    np.savez(options.output, allow_pickle=False, **whole)
    yield f"{options.output}: {len(whole['tile'])} buildings"


def add_unseen(options: argparse.Namespace) -> Iterator[str]:
    """Add to a table what networks say that learnt from other events (`benchmarks.events`).

    Raises
    ------
    LabelError
        If the table was made of other pairs.
    """
    with np.load(options.table, allow_pickle=False) as arrays:
        table = {name: arrays[name] for name in arrays.files}
    networks, said, grades = Unseeing(options.runs), [], list[int]()
    for truth in truths_of(options):
        numbers, _ = polygons(truth)
        if not numbers:
            continue
        said.append(networks.said_of(truth, numbers))
        grades += [truth.grades[number] for number in numbers]
    if not np.array_equal(grades, table["grades"]):
        raise LabelError(f"{options.table}: it is of other pairs; give the folder that it is of")
    np.savez(options.output, allow_pickle=False, **{**table, "unseen": np.concatenate(said)})
    yield f"{options.output}: {len(grades)} buildings"


class Unseeing:
    """The networks of `benchmarks.events`, each for the events that it has not seen.

    Parameters
    ----------
    runs
        Folder of the folds.
    """

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._models: dict[str, Predictor] = {}
        self._folds = {event: fold for fold, events in FOLDS.items() for event in events}

    def said_of(self, truth: Truth, numbers: Sequence[int]) -> Floats:
        """Return what the network without the event says of polygons, float64 (n, 4)."""
        fold = self._folds[truth.pair.event]
        if fold not in self._models:
            self._models[fold] = load_predictor([read_trained(self._runs / fold)], device="cpu")
        return said_of(self._models[fold], truth, numbers)


def truths_of(options: argparse.Namespace) -> Iterator[Truth]:
    """Read the pairs that are asked for, one after the other."""
    if (options.data / "targets").is_dir() and not (options.data / "labels").is_dir():
        names = sorted((options.data / "targets").glob(f"*{_TARGET}"))
        pairs = [Pair(path.name.removesuffix(_TARGET), options.data) for path in names]
        read = read_target_pair
    else:
        pairs, read = choose_pairs(EvaluationJob(folder=options.data)), read_truth
    for pair in spread(pairs, options.pairs):
        say(pair.name)
        yield read(pair)


def read_target_pair(pair: Pair) -> Truth:
    """Read a pair at half size whose labels are a target alone, at the size that models know.

    A building is a connected area of the target with one grade.
    """
    pre, post = (cv2.resize(read_image(pair.image(date)), None, fx=2, fy=2) for date in DATES)
    with Image.open(pair.folder / "targets" / f"{pair.name}{_TARGET}") as image:
        target = np.asarray(image).repeat(2, 0).repeat(2, 1)
    index, grades = np.zeros(target.shape, np.int32), dict[int, int]()
    for grade in GRADES:
        areas, count = components_of(target == grade)
        index[areas > 0] = areas[areas > 0] + len(grades)
        grades |= {len(grades) + number: int(grade) for number in range(1, count + 1)}
    building = (index > 0).astype(np.uint8)
    area = USUAL_GSD**2
    return Truth(pair, pre, post, building, target, index, grades, area, False, False)


def read_places(split: Path | None) -> dict[str, str]:
    """Return the place of each pair by a list of pairs, as recipes have one."""
    if split is None:
        return {}
    with split.open(newline="", encoding="utf-8") as file:
        return {row["pair"]: f"{row['event']}/{row['place']}" for row in csv.DictReader(file)}


def spread(pairs: Sequence[Pair], most: int | None) -> list[Pair]:
    """Return at most so many pairs of each event, spread over those that there are."""
    events: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        events[pair.event].append(pair)
    most = most or sys.maxsize
    return [pair for own in events.values() for pair in own[:: -(-len(own) // most)]]


def said_of(model: Predictor, truth: Truth, numbers: Sequence[int]) -> Floats:
    """Return what a model says of the grades of polygons, float64 (n, 4)."""
    damage = predict_pair(model, truth.pre, truth.post).damage
    votes = sum_votes(truth.index, damage / np.maximum(damage.sum(0), 1e-30))
    return grade_probabilities(Grading.of(model.card), votes[[*numbers]])
