r"""Measure what a teacher is worth: the same student alone, with one teacher and with two.

    python -m benchmarks.distillation train --data ../shared/data/xbd
    python -m benchmarks.distillation table --data ../shared/data/xbd

`train` makes the runs, three seeds of each arm, one after the other; stopped at any time, it goes
on where it was. `table` scores what is trained on the places held out, keeps the counts beside the
runs, and prints Markdown. In the arm `dual` the teacher is asked twice: for buildings, and for
background and grades. All arms see the same samples in the same order, for as many steps.
"""

import argparse
import csv
import hashlib
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime
import torch

from benchmarks.networks import MEGAPIXEL, make_tiles, milliseconds, positive, torch_runner
from geodamage.errors import GeodamageError, InputError, OptionError
from geodamage.model.ensemble import Ensemble
from geodamage.model.heads import Predictor
from geodamage.model.measuring import pattern_windows
from geodamage.networks import create_network
from geodamage.networks.conventions import Exported
from geodamage.networks.export import to_onnx
from geodamage.networks.registry import SIDE, network_facts
from geodamage.optimise.precision import KEPT_FLOAT, quantise
from geodamage.scores.buildings import BuildingScore
from geodamage.scores.evaluation import EvaluationJob, choose_pairs, evaluate_model
from geodamage.scores.pixels import Counts
from training import train
from training.predictor import load_predictor, read_trained
from training.runs.records import RecordError, Status, replace_text
from training.teaching.teachers import find_teacher

RECIPES = Path(__file__).parents[1] / "training" / "recipes"
RECIPE, SPLIT = RECIPES / "kd_compact_small.toml", RECIPES / "compact.csv"
STUDENT, TEACHER = "compact_small", "compact"
BOOTSTRAPS = 2000
#: A budget for a laptop: small chips, no generated scenes, one look at validation at the end. The
#: average of the weights is as short as the run.
BUDGET = (
    "chips_crop=192", "chips_generated=0", "batch=4", "warmup=40", "ema=0.98",
    "validate_every=1000000", "validate_on=2", "checkpoint_every=50",
)  # fmt: skip
#: Source: Bai et al. 2022, GeoInformatica 27(2), abstract; computed from the released networks.
CLAIMS = """\
Bai et al. 2022 (doi:10.1007/s10707-022-00480-3) say of their student: 30 % fewer parameters, 30 to
40 % faster; localisation .832 for .879 of the teacher, damage .775 for .798; two teachers 3.7 %
better than one. Their released student has 14.0 % fewer parameters, 32.4 % fewer operations."""

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Arm:
    """One way to train the student.

    Attributes
    ----------
    name
        Of its runs.
    title
        In the table.
    teachers
        How often the teacher is named.
    kind
        `distil_kind`.
    """

    name: str
    title: str
    teachers: int
    kind: str = "single"

    def overrides(self, teacher: str) -> list[str]:
        """Return what the arm changes in the recipe."""
        named = json.dumps([teacher] * self.teachers)
        return [f"distil_teachers={named}", f'distil_kind="{self.kind}"']


ARMS = (
    Arm("alone", "student alone", 0),
    Arm("single", "student, one teacher", 1),
    Arm("dual", "student, dual teacher", 2, "dual"),
)


@dataclass(frozen=True)
class Bench:
    """What is trained and scored."""

    data: Path
    runs: Path
    teacher: str
    steps: int
    seeds: int

    def run(self, arm: Arm, seed: int) -> Path:
        """Return the folder of a run."""
        return self.runs / f"{arm.name}-{self.steps}-seed{seed}"

    def done(self, arm: Arm) -> list[int]:
        """Return the seeds of an arm that are trained to the end."""
        return [seed for seed in range(1, self.seeds + 1) if is_done(self.run(arm, seed))]


def is_done(run: Path) -> bool:
    """Return whether a run is trained to its end."""
    try:
        status = Status.read(run / "status.json")
    except RecordError:
        return False
    return status.status == "finished" and (run / "best").exists()


def train_all(bench: Bench, arms: Sequence[Arm]) -> Iterator[Path]:
    """Train what is not yet trained; yields the folder of each run when it is done."""
    for seed in range(1, bench.seeds + 1):
        for arm in arms:
            run = bench.run(arm, seed)
            if not is_done(run):
                train.main(command(bench, arm, seed))
            yield run


def command(bench: Bench, arm: Arm, seed: int) -> list[str]:
    """Return the arguments of `training.train` for one run."""
    changes = [
        f'name="{bench.run(arm, seed).name}"', f"steps={bench.steps}", f"seed={seed}", *BUDGET,
        *arm.overrides(bench.teacher),
    ]  # fmt: skip
    paths = ["--data", str(bench.data), "--runs", str(bench.runs), "--device", "cpu"]
    return [str(RECIPE), *paths, *(part for change in changes for part in ("--set", change))]


# What is scored.


@dataclass(frozen=True)
class Counted:
    """What was counted on the places held out, pair by pair.

    Attributes
    ----------
    pixels
        int (pairs, 5, 3): as xView2 counts them, buildings and the grades.
    footprints
        int (pairs, 6, 6): label polygons, graded as if they had been given.
    """

    pixels: np.ndarray
    footprints: np.ndarray

    def figures(self, rows: np.ndarray) -> dict[str, float]:
        """Return the figures of some pairs, which may come more than once."""
        f1 = [Counts(*map(int, row)).f1 for row in self.pixels[rows].sum(0)]
        # Source: official metric: a harmonic mean with 1e-6 in each term; 0.3 and 0.7.
        damage = 4 / sum(1 / (value + 1e-6) for value in f1[1:])
        kappa = BuildingScore.of(self.footprints[rows].sum(0)).kappa
        return {
            "score": 0.3 * f1[0] + 0.7 * damage,
            "building F1": f1[0],
            "mean grade F1": float(np.mean(f1[1:])),
            "kappa": float("nan") if kappa is None else kappa,
        }


def count(bench: Bench, model: Predictor, digest: str, kept: Path) -> Counted:
    """Count a model on the pairs held out, or take what was counted before.

    Parameters
    ----------
    digest
        Of the model: other weights are counted again.
    kept
        File of the counts.
    """
    job = EvaluationJob(folder=bench.data, split=SPLIT, part="test")
    pairs = choose_pairs(job)
    content = read_counts(kept)
    if content.get("digest") != digest:
        # It asks for nothing that not every predictor has.
        with evaluate_model(job, cast(Ensemble, model), pairs) as work:
            for step in work:
                say(f"{kept.parent.name}: {step.pair}")
        tallies = [work.result().tallies[pair] for pair in pairs]
        content = {
            "digest": digest,
            "pixels": [[t.official.localisation, *t.official.damage] for t in tallies],
            "footprints": [t.footprints.table for t in tallies],
        }
        replace_text(kept, json.dumps(content))
    return Counted(np.array(content["pixels"]), np.array(content["footprints"]))


def read_counts(path: Path) -> dict[str, object]:
    """Return the counts that were kept; none where there are none.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no kept counts ({error}); remove it") from error
    return content if isinstance(content, dict) else {}


def places() -> np.ndarray:
    """Return int (pairs,): number of the place of each pair held out, in the split's order."""
    with SPLIT.open(newline="", encoding="utf-8") as file:
        named = [row["place"] for row in csv.DictReader(file) if row["part"] == "test"]
    return np.unique(named, return_inverse=True)[1]


def resampled(place: np.ndarray, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield rows of pairs, whole places drawn with replacement."""
    # Source: Efron 1979, "Bootstrap methods". Pairs of one place are alike.
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(place == number) for number in range(place.max() + 1)]
    for _ in range(BOOTSTRAPS):
        yield np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])


def mean_figures(seeds: Sequence[Counted], rows: np.ndarray) -> dict[str, float]:
    """Return the mean of the figures over the seeds of an arm."""
    each = [counted.figures(rows) for counted in seeds]
    return {name: float(np.mean([figures[name] for figures in each])) for name in each[0]}


def differences(
    arm: Sequence[Counted], base: Sequence[Counted], place: np.ndarray
) -> dict[str, tuple[float, float, float]]:
    """Return what an arm is better by, with the ends of its 95 % interval over places.

    Both are drawn on the same places: what makes a place hard for both cancels out.
    """
    everything = np.arange(len(place))
    gain = _gain(arm, base, everything)
    drawn = [_gain(arm, base, rows) for rows in resampled(place)]
    found = {}
    for name, value in gain.items():
        low, high = np.nanquantile([each[name] for each in drawn], (0.025, 0.975))
        found[name] = (value, float(low), float(high))
    return found


def _gain(arm: Sequence[Counted], base: Sequence[Counted], rows: np.ndarray) -> dict[str, float]:
    ours, theirs = mean_figures(arm, rows), mean_figures(base, rows)
    return {name: ours[name] - theirs[name] for name in ours}


# What it costs.


@dataclass(frozen=True)
class Cost:
    """What one network weighs, and how long it takes, milliseconds per pair of tiles."""

    parameters: int
    gflop: float
    torch: float
    fp32: float
    int8: float


def cost(network: str, *, tile: int, repeat: int, threads: int) -> Cost:
    """Measure a network with random weights, the three engines in turns."""
    facts = network_facts(network, "assess")
    torch.manual_seed(0)
    exported = Exported(create_network(network, task="assess")).eval()
    torch.set_num_threads(threads)
    tiles = make_tiles(exported, tile)
    plain = to_onnx(exported)
    windows = [{"pre": w[:1], "post": w[1:]} for w in pattern_windows(2, tile)]
    small = quantise(plain, windows, KEPT_FLOAT[0], network)
    runs = [torch_runner(exported, tiles)]
    runs += [session(blob, tiles, threads) for blob in (plain, small)]
    for run in runs:
        run()
    times = [[milliseconds(run) for run in runs] for _ in range(repeat)]
    middle = [statistics.median(engine) for engine in zip(*times, strict=True)]
    return Cost(facts.parameters, facts.gflop * MEGAPIXEL / SIDE**2, *middle)


def session(blob: bytes, tiles: dict[str, np.ndarray], threads: int) -> Callable[[], object]:
    """Return a call that runs a tile in ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    started = onnxruntime.InferenceSession(blob, options, providers=["CPUExecutionProvider"])
    return lambda: started.run(None, tiles)


# What is printed.


def table(bench: Bench, costs: Mapping[str, Cost]) -> Iterator[str]:
    """Yield the lines of the report, each as soon as it is known."""
    names = ("score", "building F1", "mean grade F1", "kappa")
    columns = ("", "M parameters", "GFLOP/MP", "torch ms", "ORT fp32 ms", "ORT int8 ms", *names)
    yield f"| {' | '.join(columns)} |"
    yield "|---|" + "---:|" * (len(columns) - 1)
    place = places()
    everything = np.arange(len(place))
    for title, tta in ((bench.teacher, "none"), (f"{bench.teacher}, four mirror images", "flips")):
        counted = count_teacher(bench, tta)
        yield line(title, costs[TEACHER] if tta == "none" else None, counted.figures(everything))
    trained: dict[str, dict[int, Counted]] = {}
    for arm in ARMS:
        seeds = {seed: count_run(bench, arm, seed) for seed in bench.done(arm)}
        trained[arm.name] = seeds
        if seeds:
            title = f"{arm.title} ({len(seeds)} seeds)"
            yield line(title, costs[STUDENT], mean_figures([*seeds.values()], everything))
    yield ""
    yield savings(costs[STUDENT], costs[TEACHER])
    yield ""
    yield f"Gain, and its 95 % interval over {place.max() + 1} places ({BOOTSTRAPS} resamplings):"
    yield ""
    yield from gains(trained, place)


def gains(trained: Mapping[str, Mapping[int, Counted]], place: np.ndarray) -> Iterator[str]:
    """Yield what each arm is better by than another, over the seeds that both have."""
    for ours, theirs in (("single", "alone"), ("dual", "alone"), ("dual", "single")):
        seeds = sorted(trained[ours].keys() & trained[theirs].keys())
        if seeds:
            sides = [[trained[name][seed] for seed in seeds] for name in (ours, theirs)]
            found = differences(sides[0], sides[1], place)
            told = [f"{n} {v:+.3f} ({a:+.3f} to {b:+.3f})" for n, (v, a, b) in found.items()]
            yield f"- {ours} against {theirs}, {len(seeds)} seeds: {', '.join(told)}"


def savings(small: Cost, large: Cost) -> str:
    """Return how much smaller and faster the student is, in the words of the paper."""
    fewer = [1 - small.parameters / large.parameters, 1 - small.gflop / large.gflop]
    times = ("torch", "fp32", "int8")
    faster = [getattr(large, engine) / getattr(small, engine) for engine in times]
    told = [f"{ratio:.1f} times as fast in {name}" for ratio, name in
            zip(faster, ("torch", "ONNX Runtime", "its int8"), strict=True)]  # fmt: skip
    return (
        f"The student here has {fewer[0]:.0%} fewer parameters and {fewer[1]:.0%} fewer "
        f"operations than its teacher, and is {', '.join(told)}."
    )


def count_teacher(bench: Bench, tta: str) -> Counted:
    """Count the teacher as it is, or as it was asked."""
    bench.runs.mkdir(parents=True, exist_ok=True)
    teacher = find_teacher(bench.teacher, bench.runs)
    kept = bench.runs / f"teacher-{tta}.json"
    return count(bench, teacher.predictor(tta), f"{teacher.digest} {tta}", kept)


def count_run(bench: Bench, arm: Arm, seed: int) -> Counted:
    """Count a student."""
    run = bench.run(arm, seed)
    digest = hashlib.sha256((run / "best").read_bytes()).hexdigest()
    model = load_predictor([read_trained(run)], device="cpu")
    return count(bench, model, digest, run / "held_out.json")


def line(title: str, costs: Cost | None, figures: Figures) -> str:
    """Return a row of the table."""
    cells = ["", "", "", "", ""]
    if costs is not None:
        times = (costs.torch, costs.fp32, costs.int8)
        sizes = [f"{costs.parameters / 1e6:.2f}", f"{costs.gflop:.0f}"]
        cells = [*sizes, *(f"{value:.0f}" for value in times)]
    return f"| {' | '.join([title, *cells, *(f'{value:.3f}' for value in figures.values())])} |"


def say(text: str) -> None:
    """Show progress where someone watches."""
    if sys.stderr.isatty():
        print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the arms, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["train", "table"])
    parser.add_argument("--data", type=Path, required=True, help="folder of xBD pairs")
    parser.add_argument("--runs", type=Path, default=Path("runs/distillation"))
    parser.add_argument("--teacher", default="accurate", help="run, checkpoint, model file or name")
    parser.add_argument("--steps", type=positive, default=1500, help="of each run")
    parser.add_argument("--seeds", type=positive, default=3)
    parser.add_argument("--arms", default=",".join(arm.name for arm in ARMS))
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--tile", type=positive, default=512, help="of the timings, pixels")
    parser.add_argument("--repeat", type=positive, default=9, help="timings that count")
    options = parser.parse_args(arguments)
    bench = Bench(options.data, options.runs, options.teacher, options.steps, options.seeds)
    try:
        if options.action == "train":
            torch.set_num_threads(options.threads)
            for run in train_all(bench, chosen(options.arms)):
                print(f"{run}: trained", flush=True)
        else:
            report(bench, options)
    except GeodamageError as error:
        sys.exit(f"Error: {error}")


def chosen(names: str) -> list[Arm]:
    """Return the arms of a comma-separated list.

    Raises
    ------
    OptionError
        If there is no such arm.
    """
    wanted = named("--arms", names, [arm.name for arm in ARMS])
    return [arm for arm in ARMS if arm.name in wanted]


def named(option: str, names: str, known: Sequence[str]) -> list[str]:
    """Return what a comma-separated list names, in the order in which it is known.

    Raises
    ------
    OptionError
        If a name is not known.
    """
    wanted = {name.strip() for name in names.split(",")}
    unknown = sorted(wanted - {*known})
    if unknown:
        raise OptionError(f"{option} {', '.join(unknown)}: none of {', '.join(known)}")
    return [name for name in known if name in wanted]


def report(bench: Bench, options: argparse.Namespace) -> None:
    """Print the table."""
    print(
        f"{bench.steps} steps a run; places held out of {SPLIT.name}; CPU, a pair of tiles of "
        f"{options.tile} pixels, {options.threads} threads, median of {options.repeat}; torch "
        f"{torch.__version__}, ONNX Runtime {onnxruntime.__version__}\n"
    )
    measured = {"tile": options.tile, "repeat": options.repeat, "threads": options.threads}
    costs = {name: cost(name, **measured) for name in (TEACHER, STUDENT)}
    for text in table(bench, costs):
        print(text, flush=True)
    print(f"\n{CLAIMS}")


if __name__ == "__main__":
    main()
