r"""Classify chips of two sensors, EO and SAR, one of which teaches the other (CMKD).

    python -m training.chips train training/recipes/cross_modal_chips_sar.toml --data CHIPS
    python -m training.chips train training/recipes/cross_modal_chips_teacher.toml --data CHIPS
    python -m training.chips predict runs/cross_modal_chips_teacher/best_eo --data CHIPS \
        --quota 0-3=85 -o results.csv
    python -m training.chips convert KD1/resnet34_kd114.pt --sensor eo -o published_eo

The same command resumes a training that was stopped. `predict` writes the challenge's file,
image_id,class_id; where the part has labels, it prints the scores, too. `convert` takes the weights
out of a network that was pickled whole. A pickle may run code: without --i-trust-this-file only the
layers of torchvision's ResNet are allowed, and everything else is refused.
"""

import argparse
import csv
import hashlib
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from geodamage.errors import GeodamageError, OptionError, OutputError, OutputExistsError
from geodamage.words import counted
from training.runs.display import Display
from training.runs.folder import commit
from training.runs.pictures import draw_curve
from training.runs.records import Status, StepTable, ValidationLog, replace_text
from training.runs.reports import Report, stop_between_steps
from training.sensors.chip_folders import (
    SENSORS,
    ChipFile,
    ChipPairs,
    labels_of,
    load_chips,
    read_chips,
    read_pairs,
)
from training.sensors.chip_networks import (
    ChipFacts,
    convert_pickled,
    describe,
    read_trained_chips,
    save_trained,
)
from training.sensors.chip_recipe import ChipRecipe
from training.sensors.chip_samples import load_pairs, split_pairs
from training.sensors.chip_scores import ChipScores, table
from training.sensors.modalities import ChipWork, inverse_counts, phases_of, resume, train_chips
from training.sensors.quotas import Assignment, assign_by_quota, parse_quotas

#: What may differ when a run goes on.
FLEXIBLE = ("workers",)


class ChipTracker:
    """Records one start of a run, from `with` on; the way out says how it ended.

    Parameters
    ----------
    resumed_at
        Steps that the checkpoint had done; records of later steps are removed.
    """

    def __init__(self, work: ChipWork, *, resumed_at: int) -> None:
        run, recipe = work.run, work.recipe
        self.work, self._began = work, time.monotonic()
        self.status = Status(
            recipe.name, started=_now(), steps=resumed_at, total=work.steps, metric=recipe.metric,
            commit=(run / "commit.txt").read_text(encoding="utf-8").strip(),
        )  # fmt: skip
        if resumed_at and (run / "status.json").exists():
            before = Status.read(run / "status.json")
            self.status.started, self.status.seconds = before.started, before.seconds
        self._earlier = self.status.seconds
        self._steps = StepTable(run / "steps.csv", resumed_at=resumed_at)
        self._log = ValidationLog(run / "log.csv", resumed_at=resumed_at)
        self._display = Display(recipe.name, work.steps, done=resumed_at, batch=recipe.batch)

    def __enter__(self) -> "ChipTracker":
        self._write()
        return self

    def say(self, text: str) -> None:
        """Print a line."""
        self._display.say(text)

    def add(self, report: Report) -> None:
        """Record a step, and the validation after it."""
        self.status.steps = report.step
        self._steps.add(report.step, report.loss, report.lr)
        self._display.add_step(report.step, report.loss, report.lr)
        if report.row is None:
            return
        self._log.add(report.step, report.row, better=report.better)
        shown = {k: v for k, v in report.row.items() if not k.startswith("class_")}
        shown["class_mean"] = report.row["class_mean"]
        figures = "  ".join(f"{name} {value:.4g}" for name, value in shown.items())
        self.say(f"step {report.step:,}  {figures}{'  (best)' if report.better else ''}")
        self._write()
        self._display.pause()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        self.status.status = "finished" if error is None else ended
        if self.status.status == "failed":
            self.status.error = (str(error).splitlines() or [""])[0]
        self.status.ended = _now()
        self._write()
        self._steps.close()
        self._draw()
        self._display.close()

    def _write(self) -> None:
        self.status.seconds = round(self._earlier + time.monotonic() - self._began, 1)
        best = self._log.best(self.work.recipe.metric)
        self.status.best_step, self.status.best = best or (None, None)
        self.status.write(self.work.run / "status.json")

    def _draw(self) -> None:
        kept = ("top_1", "class_mean")
        recipe = self.work.recipe
        draw_curve(
            self.work.run / "curve.png",
            self._steps.steps,
            self._steps.losses,
            {name: points for name, points in self._log.series().items() if name in kept},
            title=f"{recipe.name}: {recipe.network}, {recipe.method}, {recipe.sensor}",
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def set_up(recipe: ChipRecipe, options: argparse.Namespace) -> ChipWork:
    """Read chips and open the run's folder."""
    learnt, held_out = read_parts(recipe, options.data)
    run = options.runs / recipe.name
    open_run(run, recipe, digest_of(learnt, held_out))
    chips = load_pairs(learnt, recipe)
    return ChipWork(
        recipe,
        run,
        torch.device(options.device),
        chips,
        load_pairs(held_out, recipe),
        inverse_counts(chips.labels, recipe.classes).to(options.device),
    )


def read_parts(recipe: ChipRecipe, folder: Path) -> tuple[ChipPairs, ChipPairs]:
    """Return the pairs to train on and those to validate on."""
    learnt = read_pairs(folder, "train")
    if recipe.held_out:
        return split_pairs(learnt, recipe.held_out, recipe.seed)
    return learnt, read_pairs(folder, "validation")


def digest_of(*parts: ChipPairs) -> str:
    """Return a hash of the names and classes of chips, in their order."""
    lines = [
        f"{chip.path.parent.name}/{chip.path.name},{chip.label}"
        for pairs in parts
        for sensor in SENSORS
        for chip in pairs.of(sensor)
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def open_run(run: Path, recipe: ChipRecipe, digest: str) -> None:
    """Write recipe and commit into a run's folder, or check that they are those of the run.

    Raises
    ------
    OptionError
        If the folder holds a run of another recipe or of other chips.
    """
    run.mkdir(parents=True, exist_ok=True)
    if (run / "last.pt").exists():
        before = ChipRecipe.read(run / "recipe.toml")
        fields = [key for key in vars(recipe) if key not in FLEXIBLE]
        changed = [key for key in fields if getattr(recipe, key) != getattr(before, key)]
        if changed:
            key = changed[0]
            raise OptionError(
                f"{run}: was begun with {key} = {getattr(before, key)!r}, not "
                f"{getattr(recipe, key)!r}; give the run another name, or remove the folder"
            )
        if (run / "chips.sha256").read_text(encoding="utf-8").strip() != digest:
            raise OptionError(f"{run}: was begun with other chips; give the run another name")
    replace_text(run / "recipe.toml", recipe.as_toml())
    replace_text(run / "commit.txt", commit())
    replace_text(run / "chips.sha256", digest + "\n")


def train(options: argparse.Namespace) -> None:
    """Train, or go on training, and record it."""
    recipe = ChipRecipe.read(options.recipe, options.set)
    work = set_up(recipe, options)
    state = resume(work, options.runs)
    done = state.phase.number * work.phase_steps + state.step
    if done:
        print(f"{work.run}: going on after step {done}", file=sys.stderr, flush=True)
    reports: Iterator[Report] = train_chips(work, state, options.runs)
    with stop_between_steps(reports) as watched, ChipTracker(work, resumed_at=done) as tracker:
        tracker.say(
            f"{counted(len(work.chips), 'pair')} to train on, {len(work.held_out)} to validate; "
            f"{work.steps} steps, {work.per_epoch} an epoch, {len(phases_of(recipe))} phases"
        )
        for report in watched:
            tracker.add(report)


def predict(options: argparse.Namespace) -> None:
    """Write the classes of a part's chips, under quotas where some are given."""
    quotas = parse_quotas(options.quota)
    check_new(options.output, overwrite=options.overwrite)
    trained = read_trained_chips(options.checkpoint)
    trained.network.to(options.device)
    facts = trained.facts
    files = read_chips(options.data, options.part, facts.sensor)
    probabilities = trained.logits(load_chips(files, facts.size)).double().softmax(1).numpy()
    assigned = assign_by_quota(probabilities, quotas)
    write_submission(options.output, files, assigned)
    for number, count in assigned.moved.items():
        cut = assigned.cut_offs.get(number)
        least = "" if cut is None else f", {cut:.4f} and more stayed"
        print(f"class {number}: {count} moved{least}", file=sys.stderr)
    if all(chip.label is not None for chip in files):
        print(scores_table(files, probabilities, assigned))
    print(f"{options.output}: {counted(len(files), 'chip')}", file=sys.stderr)


def scores_table(files: Sequence[ChipFile], probabilities: np.ndarray, found: Assignment) -> str:
    """Return the scores of the likeliest classes and, where quotas changed them, of those kept."""
    classes = probabilities.shape[1]
    labels = labels_of(files, classes)
    likeliest = probabilities.argmax(1).astype(np.int64)
    columns = [("likeliest", ChipScores.of(labels, likeliest, classes))]
    if found.moved:
        columns.append(("by quota", ChipScores.of(labels, found.classes, classes)))
    return table(columns)


def write_submission(path: Path, files: Sequence[ChipFile], found: Assignment) -> None:
    """Write `image_id,class_id` in the order of the names, as the challenge takes it."""
    # Source: KD2/results.csv of CMKD: names as text, 101250 before 10765.
    part = path.with_name(path.name + ".partial")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("image_id", "class_id"))
            writer.writerows(
                sorted(
                    (chip.name, int(number))
                    for chip, number in zip(files, found.classes, strict=True)
                )
            )
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from error


def convert(options: argparse.Namespace) -> None:
    """Turn a network that CMKD pickled whole into a checkpoint of ours."""
    check_new(options.output, overwrite=options.overwrite)
    # Size and scale of the published networks; ChipRecipe has them as its defaults.
    recipe = ChipRecipe(name="converted", network=options.network, classes=options.classes)
    facts = ChipFacts.of(recipe, options.sensor)
    if options.i_trust_this_file:
        print(f"{options.file}: its code runs now, as you asked", file=sys.stderr)
    trained = convert_pickled(options.file, facts, trusted=options.i_trust_this_file)
    save_trained(trained, options.output)
    print(f"{options.output}: {describe(trained)}", file=sys.stderr)


def check_new(path: Path, *, overwrite: bool) -> None:
    """Refuse to replace a file unasked, before any work.

    Raises
    ------
    OutputExistsError
        If it is there.
    OutputError
        If its folder is not.
    """
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path}: is there; give --overwrite or another name")
    if not path.parent.is_dir():
        raise OutputError(f"{path.parent}: no such folder; make it first")


def parse(arguments: Sequence[str] | None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    learning = commands.add_parser("train", help="train, or go on training, by a recipe")
    learning.add_argument("recipe", type=Path)
    learning.add_argument("--data", type=Path, required=True, help="folder of chips")
    learning.add_argument("--runs", type=Path, default=Path("runs"))
    learning.add_argument("--device", default=device)
    learning.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    learning.set_defaults(work=train)

    answering = commands.add_parser("predict", help="write the challenge's file of classes")
    answering.add_argument("checkpoint", type=Path, help="such as runs/NAME/best_eo")
    answering.add_argument("--data", type=Path, required=True, help="folder of chips")
    answering.add_argument("--part", default="test", help="part of it")
    answering.add_argument(
        "--quota", action="append", default=[], metavar="CLASS=COUNT",
        help="most chips of a class, or of each of some: 0-3=85; may be repeated",
    )  # fmt: skip
    answering.add_argument("--device", default=device)
    answering.set_defaults(work=predict)

    converting = commands.add_parser("convert", help="take the weights out of a pickled network")
    converting.add_argument("file", type=Path)
    converting.add_argument("--sensor", choices=SENSORS, required=True)
    converting.add_argument("--network", default="resnet34", help="name in timm")
    converting.add_argument("--classes", type=int, default=10)
    converting.add_argument(
        "--i-trust-this-file", action="store_true",
        help="unpickle whatever is in it: its code runs with your rights",
    )  # fmt: skip
    converting.set_defaults(work=convert)
    for writing in (answering, converting):
        writing.add_argument("-o", "--output", type=Path, required=True)
        writing.add_argument(
            "--overwrite", action="store_true", help="replace a file that is there"
        )
    return parser, parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, predict or convert."""
    parser, options = parse(arguments)
    try:
        options.work(options)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.chips: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "training.chips: interrupted; the same command goes on\n")


if __name__ == "__main__":
    # Clusters end a job by SIGTERM: the record of the run is closed as by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(sys.argv[1:])
