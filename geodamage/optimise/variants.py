"""Optimisation: of a model in single precision, variants that are smaller or faster.

A variant is kept where it says what its parent says: see `geodamage.optimise.parity`. Its card
names the parent and how far it is from it.
"""

import json
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from geodamage.arrays import COLOURS
from geodamage.errors import LabelError, ModelError, OptionError
from geodamage.model.card import Card, read_card, with_card
from geodamage.model.catalogue import ModelFile, read_model
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import DEFAULT_MODEL, load_model
from geodamage.model.onnx import Model
from geodamage.model.openvino import openvino_version
from geodamage.optimise.parity import Parity, compare
from geodamage.optimise.precision import KEPT_FLOAT, Window, compute_half, quantise, store_half
from geodamage.optimise.reach import measure_reach
from geodamage.optimise.tables import ensemble_text, renamed
from geodamage.optimise.timings import measure_memory
from geodamage.options.lookup import check_fields
from geodamage.output.publication import Publication, check_output, output_errors
from geodamage.scores.evaluation import EvaluationJob, choose_pairs
from geodamage.windows import mirror, round_up
from geodamage.work import long_work
from geodamage.xbd.folders import Pair, read_image, read_split

#: What can be made, and of what it may be made.
VARIANTS = ("fp16", "half", "int8", "bfloat16")
PARENTS = ("fp32", "fp16")
#: Rows and columns of a window of calibration, pixels; that of a global model is its tile.
#: Source: training/EXPERIMENTS.md, where sizes and numbers are compared.
WINDOW, WINDOWS = 512, 32
#: Of these, how many the reach of an integer graph is measured on.
REACH_WINDOWS = 4
#: Parts of a split that are never calibrated on.
HELD_OUT = ("test",)


@dataclass(frozen=True, kw_only=True)
class OptimisationJob:
    """One optimisation: of what model, on what images, and what is to come of it."""

    calibration: Path
    """Folder of xBD pairs: their images set the ranges of integers, their labels are the test."""
    model: str | PathLike[str] = DEFAULT_MODEL
    """Name of a bundled model, or path of a `.onnx` or of an ensemble's `.toml`."""
    output: Path = Path()
    """Folder of the variants, `NAME-int8.onnx` and so on."""
    precisions: tuple[str, ...] = ("fp16", "int8")
    """Which of `VARIANTS` to make."""
    split: Path | None = None
    """CSV with the columns `pair` and `part`; None takes every pair for everything."""
    part: str = "validation"
    """Part of the split that parent and variants are compared on."""
    windows: int = WINDOWS
    """Windows to calibrate on."""
    seed: int = 0
    """Seed of the places of these windows."""
    device: str = "cpu"
    """Where parent and variants are compared."""
    threads: int = 0
    """CPU threads for inference; 0 takes every processor."""
    keep: bool = False
    """Write what fails the comparison, too; its card says so."""
    overwrite: bool = False
    """Replace variants that are there."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.precisions:
            raise OptionError(f"--precision: nothing is chosen; give some of {', '.join(VARIANTS)}")


@dataclass(frozen=True)
class OptimisationProgress:
    """How far an optimisation is.

    Attributes
    ----------
    stage
        `quantise` or `compare`.
    done, total
        Files that are rewritten, or pairs.
    name
        Name of the one just done.
    """

    stage: str
    done: int
    total: int
    name: str


@dataclass(frozen=True)
class Variant:
    """The outcome of one precision.

    Attributes
    ----------
    precision
        One of `VARIANTS`.
    path
        Where it is, or would have been.
    size, parent_size
        Bytes, with all members.
    kept_float
        What of an int8 variant stayed in single precision; see `precision.KEPT_FLOAT`.
    parity
        How far it is from its parent.
    written
        Whether there is a file.
    """

    precision: str
    path: Path
    size: int
    parent_size: int
    kept_float: str
    parity: Parity
    written: bool

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as JSON knows it."""
        return {
            "precision": self.precision,
            "path": str(self.path),
            "written": self.written,
            "bytes": self.size,
            "parent_bytes": self.parent_size,
            **({"kept_float": self.kept_float} if self.kept_float else {}),
            **self.parity.figures(),
            "shortfalls": self.parity.shortfalls(),
        }


@dataclass(frozen=True)
class _Candidate:
    """One attempt at a precision: files in a folder for the time being."""

    precision: str
    attempt: int
    main: Path
    files: tuple[Path, ...]

    @property
    def kept_float(self) -> str:
        return KEPT_FLOAT[self.attempt] if self.precision == "int8" else ""

    @property
    def has_next(self) -> bool:
        return self.precision == "int8" and self.attempt + 1 < len(KEPT_FLOAT)


@dataclass
class _Work:
    """What all attempts of a job share."""

    job: OptimisationJob
    original: ModelFile
    pairs: list[Pair]
    calibration: list[Pair]
    folder: Path
    parent: Model | Ensemble
    windows: dict[str, list[Window]] = field(default_factory=dict)


@long_work
def optimise(job: OptimisationJob) -> Generator[OptimisationProgress, None, list[Variant]]:
    """Make variants of a model and keep those that say what it says, as `Work`.

    Closing it leaves no file. Its result has one variant for each precision. Of int8 more and more
    of the graph stays in single precision until it passes.

    Raises
    ------
    ModelError
        If the model is no parent, or its graph cannot be rewritten.
    LabelError
        If the pairs cannot be used.
    MissingExtraError
        If onnx is not installed.
    OutputError
        If a variant exists or cannot be written.
    """
    original = read_model(job.model)
    _check_parents(original, job)
    for precision in job.precisions:
        for path in _targets(original, job.output, precision):
            check_output(path, overwrite=job.overwrite, extensions=(".onnx", ".toml"))
    pairs, calibration = choose_parts(job)
    # The reference is what every card was measured with, whatever is fastest here.
    parent = load_model(job.model, device=job.device, threads=job.threads, engine="onnxruntime")
    with (
        tempfile.TemporaryDirectory() as name,
        Publication(overwrite=job.overwrite) as publication,
    ):
        work = _Work(job, original, pairs, calibration, Path(name), parent)
        settled = yield from _settle(work)
        return [_publish(work, publication, *found) for found in settled]


def _check_parents(original: ModelFile, job: OptimisationJob) -> None:
    if original.card is None and not all(member.card for member in original.members):
        raise ModelError(
            f"{original.path}: holds saved maps, which know one scene alone; make variants of an "
            "ensemble without them"
        )
    for card in original.cards:
        for precision in job.precisions:
            if precision == "bfloat16" and original.card is None:
                raise ModelError(
                    f"{original.path}: an ensemble has no card to write bfloat16 on; measure its "
                    "members one by one"
                )
            if card.precision not in PARENTS or card.precision == precision:
                raise ModelError(
                    f"{original.path}: {card.name} is {card.precision} already; give the model "
                    f"in single precision to make {precision} of"
                )


def _targets(original: ModelFile, folder: Path, precision: str) -> list[Path]:
    """Return the files of a variant, the one to name first."""
    names = [original.path.name, *dict.fromkeys(str(m.table["file"]) for m in original.members)]
    return [folder / renamed(name, precision) for name in names]


def _sources(original: ModelFile) -> list[Path]:
    """Return the graphs of a model, each once, in the order of their targets."""
    if original.card is not None:
        return [original.path]
    names = dict.fromkeys(str(member.table["file"]) for member in original.members)
    return [original.path.with_name(name) for name in names]


def choose_parts(job: OptimisationJob) -> tuple[list[Pair], list[Pair]]:
    """Return the pairs to compare on, and those to calibrate on.

    With a split these are others: all that is neither compared on nor held out for testing. Where
    that leaves none, and without a split, they are the same; ranges are taken of images alone.

    Raises
    ------
    LabelError
        If a pair lacks a file.
    """
    part = None if job.split is None else job.part
    pairs = choose_pairs(EvaluationJob(folder=job.calibration, split=job.split, part=part))
    if job.split is None:
        return pairs, pairs
    every = read_split(job.split, job.calibration)
    tested = set(pairs)
    for name in HELD_OUT:
        try:
            tested |= set(read_split(job.split, job.calibration, name))
        except LabelError:
            continue  # the split has no such part
    others = [pair for pair in every if pair not in tested]
    return pairs, others or pairs


def _settle(
    work: _Work,
) -> Generator[OptimisationProgress, None, list[tuple[_Candidate, Parity]]]:
    """Try each precision until it passes, or nothing is left to try."""
    waiting = [(precision, 0) for precision in work.job.precisions]
    settled: dict[str, tuple[_Candidate, Parity]] = {}
    while waiting:
        candidates = {}
        for precision, attempt in waiting:
            candidates[precision] = yield from _make(work, precision, attempt)
        found = yield from _compare(work, candidates)
        waiting = []
        for precision, candidate in candidates.items():
            settled[precision] = _better(settled.get(precision), (candidate, found[precision]))
            if found[precision].shortfalls() and candidate.has_next:
                waiting.append((precision, candidate.attempt + 1))
    return [settled[precision] for precision in work.job.precisions]


def _better(
    before: tuple[_Candidate, Parity] | None, now: tuple[_Candidate, Parity]
) -> tuple[_Candidate, Parity]:
    """Return the attempt that passes; of those that fail the one that agrees most."""
    if before is None or not now[1].shortfalls():
        return now
    return max(before, now, key=lambda found: found[1].agreement)


def _make(
    work: _Work, precision: str, attempt: int
) -> Generator[OptimisationProgress, None, _Candidate]:
    """Rewrite the files of a model into the folder for the time being."""
    folder = work.folder / f"{precision}-{attempt}"
    folder.mkdir()
    original = work.original
    kept = KEPT_FLOAT[attempt] if precision == "int8" else ""
    sources, targets = _sources(original), _targets(original, folder, precision)
    if original.card is None:
        targets[0].write_text(ensemble_text(original, precision), encoding="utf-8")
    for done, (source, target) in enumerate(zip(sources, targets[-len(sources) :], strict=True), 1):
        blob = source.read_bytes()
        card = read_card(blob, str(source))
        changed = _changed(card, precision)
        target.write_bytes(with_card(_rewrite(work, blob, card, (precision, kept)), changed))
        yield OptimisationProgress("quantise", done, len(sources), target.name)
    return _Candidate(precision, attempt, targets[0], tuple(targets))


def _changed(card: Card, precision: str) -> Card:
    """Return the card of a candidate; one in bfloat16 may be computed so until it is compared."""
    if precision == "bfloat16":
        facts = {"passed": True, "in_parts": True, "in_stages": True}
        return replace(card, parity={**card.parity, "bfloat16": facts})
    return replace(
        card,
        name=f"{card.name}-{precision}",
        precision=precision,
        parent_sha256=card.sha256,
        parity={},
    )


def _rewrite(work: _Work, blob: bytes, card: Card, how: tuple[str, str]) -> bytes:
    precision, kept = how
    if precision == "bfloat16":
        return blob
    if precision == "fp16":
        return store_half(blob, card.name)
    if precision == "half":
        return compute_half(blob, card.name)
    return quantise(blob, _windows(work, card), kept, card.name)


def _windows(work: _Work, card: Card) -> list[Window]:
    """Return the windows of calibration that a model takes, cut once."""
    key = json.dumps([card.pre_channels, card.post_channels, card.task, _side(card)])
    if key not in work.windows:
        work.windows[key] = [*calibration_windows(work.calibration, card, work.job)]
    return work.windows[key]


def _side(card: Card) -> int:
    """Return the rows of a window of calibration."""
    if card.context == "global":
        return card.tile
    return min(card.tile, round_up(WINDOW, card.stride))


def calibration_windows(
    pairs: Sequence[Pair], card: Card, job: OptimisationJob
) -> Iterator[Window]:
    """Cut windows of real images: pair after pair in a shuffled order, each at a random place.

    Yields
    ------
    Images by input, uint8 (1, c, rows, columns); mirrored where an image is smaller.

    Raises
    ------
    ModelError
        If the model takes other channels than a colour image has.
    SceneReadError
        If an image cannot be read.
    """
    rng = np.random.default_rng(job.seed)
    order = rng.permutation(len(pairs))
    channels = {"pre": card.pre_channels, "post": card.post_channels}
    for number in range(job.windows):
        pair = pairs[order[number % len(order)]]
        corner = rng.random(2)
        yield {
            date: _cut(read_image(pair.image(date)), corner, _side(card), _places(card, names))
            for date, names in channels.items()
        }


def _places(card: Card, names: tuple[str, ...]) -> list[int]:
    if not set(names) <= set(COLOURS):
        raise ModelError(
            f"model {card.name!r} takes {', '.join(names)}; pairs of xBD have "
            f"{', '.join(COLOURS)} only, so it cannot be calibrated on them"
        )
    return [COLOURS.index(name) for name in names]


def _cut(image: np.ndarray, corner: np.ndarray, side: int, places: list[int]) -> np.ndarray:
    """Cut a square of (rows, columns, 3) and bring it to (1, c, side, side)."""
    rows, columns = (
        mirror(start := int(share * (max(there - side, 0) + 1)), start + side, there)
        for share, there in zip(corner, image.shape[:2], strict=True)
    )
    square = image[rows[:, None], columns]
    return np.ascontiguousarray(square[..., places].transpose(2, 0, 1)[None])


def _compare(
    work: _Work, candidates: Mapping[str, _Candidate]
) -> Generator[OptimisationProgress, None, dict[str, Parity]]:
    job = work.job
    models = {
        precision: load_model(
            candidate.main,
            device=job.device,
            threads=job.threads,
            precision="bfloat16" if precision == "bfloat16" else "stored",
        )
        for precision, candidate in candidates.items()
    }
    with compare(work.parent, models, work.pairs) as comparison:
        for done, name in enumerate(comparison, 1):
            yield OptimisationProgress("compare", done, len(work.pairs), name)
    return comparison.result()


def _publish(
    work: _Work, publication: Publication, candidate: _Candidate, parity: Parity
) -> Variant:
    """Write a variant with its parity on its card, if it is to be kept."""
    job, original = work.job, work.original
    targets = _targets(original, job.output, candidate.precision)
    written = job.keep or not parity.shortfalls()
    if written:
        facts = _facts(work, candidate, parity)
        for source, target in zip(candidate.files, targets, strict=True):
            partial = publication.partial(target)
            with output_errors(target):
                partial.write_bytes(_finished(work, source, candidate.precision, facts))
    size = sum(path.stat().st_size for path in candidate.files)
    return Variant(
        candidate.precision, targets[0], size, original.size, candidate.kept_float, parity, written
    )


def _finished(work: _Work, source: Path, precision: str, facts: dict[str, Any]) -> bytes:
    """Return the bytes of a file of a variant with what was measured of it."""
    if source.suffix == ".toml":
        return ensemble_text(work.original, precision, facts).encode()
    blob = source.read_bytes()
    card = read_card(blob, str(source))
    side = _side(card)
    if precision == "bfloat16":
        return with_card(
            blob, replace(card, parity={"bfloat16": _in_bfloat16(work, source, facts)})
        )
    memory = measure_memory(source, side)
    # Never below the parent's: where memory cannot be measured, that one holds.
    need = 0.0 if memory is None else memory.working / side**2
    changed = max(card.bytes_per_pixel, round(need, 1))
    halo = card.halo
    if precision == "int8" and card.context == "local":
        # Rounding makes steps of what was too little to count: an integer graph looks further.
        model = load_model(source, device="cpu", threads=work.job.threads)
        halo = measure_reach(model, _windows(work, card)[:REACH_WINDOWS], halo)
    return with_card(blob, replace(card, parity=facts, bytes_per_pixel=changed, halo=halo))


def _in_bfloat16(work: _Work, source: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """Return what a card says of the model in bfloat16: parity, halo, memory, versions."""
    model = load_model(source, device="cpu", threads=work.job.threads, precision="bfloat16")
    card = model.card
    halo = card.halo
    if card.context == "local":
        halo = measure_reach(model, _windows(work, card)[:REACH_WINDOWS], halo)
    memory = measure_memory(source, card.tile, engine="openvino", precision="bfloat16")
    need = {} if memory is None else {"bytes_per_pixel": round(memory.working / card.tile**2, 1)}
    is_parted = isinstance(model, Model) and model.is_parted
    is_staged = isinstance(model, Model) and model.staged is not None
    ways = {"in_parts": is_parted, "in_stages": is_staged}
    runtime = {"runtime": f"OpenVINO {openvino_version()}", **ways}
    return {**facts, **runtime, "halo": halo, **need}


def _facts(work: _Work, candidate: _Candidate, parity: Parity) -> dict[str, Any]:
    """Return what the card of a variant says of its parity."""
    job = work.job
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "parent": work.original.name,
        "data": job.calibration.name if job.split is None else f"{job.split.name}, {job.part}",
        **parity.figures(),
    }
    if shortfalls := parity.shortfalls():
        facts["shortfalls"] = shortfalls
    if candidate.precision == "int8":
        facts["kept_float"] = candidate.kept_float
        facts["calibration"] = f"{job.windows} windows, least and largest, seed {job.seed}"
    return facts
