"""Evaluation: a model and a folder of labelled pairs in, its scores out.

The official score is counted on pixels, as the xView2 challenge does. Buildings are drawn as
`assess` draws them, on the pixels of the image as they are, and matched to the label polygons.
A third view grades the label polygons themselves, as `assess --footprints` would.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from geodamage.ahead import ahead
from geodamage.arrays import Prediction, predict_pair
from geodamage.buildings.finding import DEFAULT_MIN_AREA, Grading
from geodamage.errors import LabelError, OptionError
from geodamage.grid import geodesic_area
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble
from geodamage.model.heads import Predictor
from geodamage.model.loading import DEFAULT_MODEL, load_model
from geodamage.model.onnx import Model
from geodamage.options.lookup import check_fields
from geodamage.scores.scoring import OFFICIAL_SHAPE
from geodamage.scores.submission import SubmissionFolder
from geodamage.scores.tallies import Drawing, Masks, Tally, Truth, add_up, count_pair, intervals
from geodamage.words import counted
from geodamage.work import long_work
from geodamage.xbd.folders import DATES, DRIVERS, Pair, find_pairs, read_image, read_split
from geodamage.xbd.labels import Label, fit_lonlat
from geodamage.xbd.masks import burn_index, burn_labels

#: Metres per pixel where a label file does not say where it lies: the median of xBD at hand.
USUAL_GSD = 0.47


@dataclass(frozen=True, kw_only=True)
class EvaluationJob:
    """One evaluation: what is scored, on what, and how.

    Attributes
    ----------
    folder
        Holds `images/` and `labels/` of xBD pairs.
    model
        Name of a bundled model, or a path.
    split
        CSV with the columns `pair` and `part`; None takes every pair of the folder.
    part
        Only this part of the split.
    device
        `auto`, `cpu`, `cuda` or `cuda:N`.
    threads
        CPU threads for inference; 0 takes every processor.
    engine
        What computes on the processor: `onnxruntime`, `openvino` or `auto`.
    precision
        What it is computed in: `stored`, that of the file, `float32`, `bfloat16` or `int8`.
    tta
        `none`, `flips` or `enlarged`.
    min_area
        m²; smaller things are not drawn.
    memory
        Bytes that cutting up an image larger than the model's tile is planned for.
    bootstrap
        Resamplings of the pairs for 95 % intervals; 0 leaves them out.
    predictions
        Folder for masks in the layout of the official scorer.
    overwrite
        Replace masks that are there already.
    """

    folder: Path
    model: str | PathLike[str] = DEFAULT_MODEL
    split: Path | None = None
    part: str | None = None
    device: str = "auto"
    threads: int = 0
    engine: str = "auto"
    precision: str = "stored"
    tta: str = "none"
    min_area: float = DEFAULT_MIN_AREA
    memory: float = 1.5e9
    bootstrap: int = 0
    predictions: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.part is not None and self.split is None:
            raise OptionError(f"--part {self.part} needs a split; also give --split")


@dataclass(frozen=True)
class EvaluationProgress:
    """How far an evaluation is.

    Attributes
    ----------
    pair
        Name of the pair just counted.
    done, total
        Pairs.
    """

    pair: str
    done: int
    total: int


def read_truth(pair: Pair) -> Truth:
    """Read one pair and draw its labels exactly as the official targets were drawn.

    Raises
    ------
    SceneReadError
        If an image cannot be read.
    LabelError
        If a label file cannot be read, or sizes do not fit.
    """
    pre, post = (read_image(pair.image(date)) for date in DATES)
    shape = _common_shape(pair, pre, post)
    labels = _labels(pair, "post", shape)
    has_pre_labels = pair.label_file("pre").exists()
    outlines = _labels(pair, "pre", shape) if has_pre_labels else labels
    pixel_area = _pixel_area(labels, shape)
    return Truth(
        pair,
        pre,
        post,
        (burn_labels(outlines, shape, unclassified=1) > 0).astype(np.uint8),
        burn_labels(labels, shape),
        burn_index(labels, shape),
        {n: int(label.grade) for n, label in enumerate(labels, 1) if label.grade is not None},
        USUAL_GSD**2 if pixel_area is None else pixel_area,
        has_pre_labels,
        pixel_area is not None,
    )


def _common_shape(pair: Pair, pre: np.ndarray, post: np.ndarray) -> tuple[int, int]:
    if pre.shape != post.shape:
        raise LabelError(
            f"{pair.folder}: {pair.name}: pre has {pre.shape[0]} x {pre.shape[1]} pixels and post "
            f"{post.shape[0]} x {post.shape[1]}; a pair has one size"
        )
    rows, columns = pre.shape[:2]
    return rows, columns


def _labels(pair: Pair, date: str, shape: tuple[int, int]) -> list[Label]:
    """Read labels; refuse those that were drawn on an image of another size."""
    path, labels = pair.label_file(date), pair.labels(date)
    metadata = json.loads(path.read_text(encoding="utf-8")).get("metadata")
    if not isinstance(metadata, dict):
        return labels  # what other tools write may have none
    stated = metadata.get("height", shape[0]), metadata.get("width", shape[1])
    if stated != shape:
        raise LabelError(
            f"{path}: its labels are of {stated[0]} x {stated[1]} pixels and the images of "
            f"{pair.name} have {shape[0]} x {shape[1]}; scale both alike"
        )
    return labels


def _pixel_area(labels: list[Label], shape: tuple[int, int]) -> float | None:
    """Return the geodesic area of the middle pixel, m²; None where no label says its place."""
    affine = fit_lonlat(labels)
    if affine is None:
        return None
    row, column = shape[0] / 2, shape[1] / 2
    x, y = column + np.array([0, 1, 1, 0]), row + np.array([0, 0, 1, 1])
    lon, lat = affine @ np.stack([x, y, np.ones(4)])
    if not (np.isfinite(lon).all() and (np.abs(lat) <= 90).all()):
        return None
    return geodesic_area(shapely.Polygon(np.column_stack([lon, lat]))) or None


@dataclass
class Evaluation:
    """What an evaluation came to.

    Attributes
    ----------
    tallies
        Tally of each pair.
    facts
        What was evaluated on what: `model`, `data`, `date`.
    notes
        What a reader should know.
    official_reason
        Why the official scorer would not give these numbers, or None.
    intervals
        95 % intervals by figure, where they were asked for.
    """

    tallies: dict[Pair, Tally] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    official_reason: str | None = None
    intervals: dict[str, tuple[float | None, float | None]] = field(default_factory=dict)

    @property
    def total(self) -> Tally:
        """All pairs together."""
        return add_up(self.tallies.values())

    @property
    def events(self) -> dict[str, Tally]:
        """The pairs of each event together."""
        names = sorted({pair.event for pair in self.tallies})
        return {
            name: add_up(tally for pair, tally in self.tallies.items() if pair.event == name)
            for name in names
        }

    def report(self) -> dict[str, Any]:
        """Return everything, ready for JSON; `geodamage.scores.metrics` says the form."""
        figures = self.total.figures()
        after = {name: figures.pop(name) for name in ("footprints", "pairs")}
        if self.intervals:
            after["interval_95"] = {name: list(pair) for name, pair in self.intervals.items()}
        return {
            **figures,
            "events": {name: tally.figures() for name, tally in self.events.items()},
            **after,
            "official": self.official_reason is None,
            "official_reason": self.official_reason,
            **self.facts,
            "notes": self.notes,
        }


@long_work
def evaluate(job: EvaluationJob) -> Generator[EvaluationProgress, None, Evaluation]:
    """Score a model over a folder of labelled pairs, as `Work`; closing it leaves no file.

    Raises
    ------
    GeodamageError
        If something is refused or fails; `geodamage.errors` lists the kinds.
    """
    pairs = choose_pairs(job)
    with contextlib.ExitStack() as stack:
        folder = None
        if job.predictions is not None:
            folder = SubmissionFolder(job.predictions, overwrite=job.overwrite)
            stack.enter_context(folder)
        model = load_model(
            job.model,
            device=job.device,
            threads=job.threads,
            engine=job.engine,
            precision=job.precision,
            tta=job.tta,
        )
        result = yield from evaluate_model(job, model, pairs, folder)
    return result


@long_work
def evaluate_model(
    job: EvaluationJob,
    model: Model | Ensemble,
    pairs: list[Pair],
    folder: SubmissionFolder | None = None,
) -> Generator[EvaluationProgress, None, Evaluation]:
    """Predict and count pair after pair with a model at hand, as `Work`."""
    result = Evaluation(facts=_facts(job, model))
    grading, drawing = Grading.of(model.card), Drawing.of(model.card, job.min_area)
    seen = _Seen()
    # Reading has a thread to itself.
    with contextlib.closing(ahead(map(read_truth, pairs))) as truths:
        for done, truth in enumerate(truths, 1):
            prediction = predict_pair(model, truth.pre, truth.post, memory=job.memory)
            masks = official_masks(model, truth, prediction)
            result.tallies[truth.pair] = count_pair(truth, prediction, masks, grading, drawing)
            seen.add(truth)
            if folder is not None:
                folder.add(truth.pair.name, masks)
            yield EvaluationProgress(truth.pair.name, done, len(pairs))
    result.notes = [*seen.notes(model.card), *_unlabelled(job)]
    result.official_reason = seen.official_reason()
    if job.bootstrap:
        result.intervals = intervals([*result.tallies.values()], job.bootstrap)
    return result


def official_masks(model: Predictor, truth: Truth, prediction: Prediction) -> Masks:
    """Return what a model said of a pair, by its rules for pixels, beside the targets."""
    grades = prediction.grades
    if grades is None:
        grades = model.rules.grades(prediction.localisation, prediction.damage)
    found = (grades > 0).astype(np.uint8)
    return Masks(found, grades, truth.localisation, truth.damage)


def choose_pairs(job: EvaluationJob) -> list[Pair]:
    """Return the pairs of a job, after checking that all their files are there.

    Raises
    ------
    LabelError
        If one is not, or a pair is named twice.
    """
    if job.split is None:
        pairs, source = find_pairs(job.folder), job.folder
    else:
        pairs, source = read_split(job.split, job.folder, job.part), job.split
    twice = [pair.name for pair, count in Counter(pairs).items() if count > 1]
    if twice:
        raise LabelError(f"{source}: names {_some(twice)} more than once; name each pair once")
    absent = [pair.name for pair in pairs if not pair.label_file("post").exists()]
    if absent:
        raise LabelError(
            f"{source}: names {len(absent):,} of {counted(len(pairs), 'pair')} that have no post "
            f"labels in {job.folder}: {_some(absent)}; leave them out, or get their labels"
        )
    bare = [pair.name for pair in pairs if not _has_images(pair)]
    if bare:
        raise LabelError(
            f"{job.folder}: {len(bare)} of {len(pairs)} labelled pairs lack an image, pre or post: "
            f"{_some(bare)}; get their images, or name the other pairs in --split"
        )
    return pairs


def _has_images(pair: Pair) -> bool:
    stems = [pair.folder / "images" / f"{pair.name}_{date}_disaster" for date in DATES]
    return all(any(Path(f"{stem}{suffix}").exists() for suffix in DRIVERS) for stem in stems)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


def _facts(job: EvaluationJob, model: Model | Ensemble) -> dict[str, Any]:
    card = model.card
    return {
        "model": {
            "name": card.name,
            "version": card.version,
            "sha256": card.sha256,
            "licence": card.licence,
            "tta": job.tta,
        },
        "data": {
            "folder": str(job.folder),
            "split": None if job.split is None else str(job.split),
            "part": job.part,
            "min_area": job.min_area,
        },
        "date": datetime.now(UTC).date().isoformat(),
    }


@dataclass
class _Seen:
    """What was noticed of the pairs on the way."""

    without_pre_labels: list[str] = field(default_factory=list)
    without_place: list[str] = field(default_factory=list)
    of_other_shape: list[str] = field(default_factory=list)
    gsds: list[float] = field(default_factory=list)

    def add(self, truth: Truth) -> None:
        """Look at a pair."""
        name = truth.pair.name
        self.gsds.append(truth.pixel_area**0.5)
        if not truth.has_pre_labels:
            self.without_pre_labels.append(name)
        if not truth.has_place:
            self.without_place.append(name)
        if truth.damage.shape != OFFICIAL_SHAPE:
            self.of_other_shape.append(name)

    def notes(self, card: Card) -> list[str]:
        """Return what a reader should know, one line each."""
        total, notes = len(self.gsds), []
        if self.without_pre_labels:
            notes.append(
                f"{len(self.without_pre_labels)} of {total} pairs have no pre labels; their "
                "localisation target is drawn from the post labels"
            )
        if self.without_place:
            notes.append(
                f"{len(self.without_place)} of {total} pairs do not say where they lie; areas are "
                f"taken at {USUAL_GSD} m per pixel"
            )
        foreign = sum(not card.gsd_min <= gsd <= card.gsd_max for gsd in self.gsds)
        if foreign:
            notes.append(
                f"{foreign} of {total} pairs have pixels outside {card.gsd_min:g} to "
                f"{card.gsd_max:g} m, for which the model was made; assess would resample them or "
                "warn, and here they are used unchanged"
            )
        return notes

    def official_reason(self) -> str | None:
        """Return why the official scorer would not give these numbers, or None."""
        if self.of_other_shape:
            return (
                f"{len(self.of_other_shape)} of {len(self.gsds)} pairs are not 1024 x 1024 pixels; "
                "the official scorer refuses them"
            )
        if self.without_pre_labels:
            return (
                f"{len(self.without_pre_labels):,} of {counted(len(self.gsds), 'pair')} have no "
                "pre labels, so their localization target is not the official one"
            )
        return None


def _unlabelled(job: EvaluationJob) -> list[str]:
    """Say how many images of a folder have no labels; a split chooses, a folder does not."""
    if job.split is not None:
        return []
    ending = "_post_disaster"
    stems = {path.stem for path in (job.folder / "images").glob(f"*{ending}.*")}
    names = [stem.removesuffix(ending) for stem in stems]
    bare = sum(not Pair(name, job.folder).label_file("post").exists() for name in names)
    return (
        [
            f"{counted(bare, 'pair has', 'pairs have')} no post labels and "
            f"{'was' if bare == 1 else 'were'} left out"
        ]
        if bare
        else []
    )
