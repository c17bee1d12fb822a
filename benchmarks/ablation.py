r"""Measure what each addition to a training is worth: the same network with it and without.

    python -m benchmarks.ablation train first --data ../shared/data/xbd \
        --half ../shared/data/xbd_half512 --masked ../shared/data/buildings
    python -m benchmarks.ablation table first --data ../shared/data/xbd

The series `first` begins with random weights, `second` with a teacher and, by `--init`, with the
bundled `fast` (`training.warm_start` makes a checkpoint of it), `pretrained` with ImageNet. In each
arm one thing differs from the first arm; seeds and steps are the same. `table` scores the trained
networks on the places held out, unchanged and with the post image 16 pixels off. It keeps the
counts beside the runs, and prints Markdown. Intervals are of 95 %, by resampling places.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.distillation import (
    BUDGET,
    RECIPE,
    RECIPES,
    SPLIT,
    Counted,
    differences,
    is_done,
    mean_figures,
    named,
    places,
    read_counts,
    say,
)
from benchmarks.networks import positive
from benchmarks.robustness import Row, as_shifted, measure
from geodamage.errors import GeodamageError, InputError, OptionError
from geodamage.scores.evaluation import EvaluationJob
from training import train
from training.predictor import load_predictor, read_trained
from training.runs.records import replace_text

#: Pixels that the post image is off, in the second look.
OFF = 16


@dataclass(frozen=True)
class Arm:
    """One way to train.

    Attributes
    ----------
    name
        Of its runs.
    title
        In the table.
    changes
        What it changes in the recipe of its series.
    folders
        Which more it learns from: `half`, `masked`, `aerial` (given as `--masked`), `unlabelled`.
    """

    name: str
    title: str
    changes: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """Arms that differ from the first of them in one thing each.

    Attributes
    ----------
    recipe
        Of all.
    changes
        What all change in it, to be affordable.
    """

    name: str
    recipe: Path
    changes: tuple[str, ...]
    arms: tuple[Arm, ...]

    def chosen(self, names: str) -> list[Arm]:
        """Return the arms of a comma-separated list; all where it is empty.

        Raises
        ------
        OptionError
            If there is no such arm.
        """
        known = [arm.name for arm in self.arms]
        wanted = named("--arms", names, known) if names else known
        return [arm for arm in self.arms if arm.name in wanted]


#: What the second round adds, and the arms leave out again.
WITHOUT_MORE = ("chips_unlabelled_share=0.0",)
AS_EASY = ("chips_coarse=0.0", "chips_haze=0.0", "chips_lean=0")
ALL = ("half", "masked", "unlabelled")
SERIES = {
    "first": Series(
        "first",
        RECIPE,
        (*BUDGET, "distil_teachers=[]"),
        (
            Arm("plain", "pairs alone"),
            Arm("half", "a tenth half-size pairs", ("chips_half_share=0.1",), ("half",)),
            Arm("masked", "15 % masked images", ("chips_masked_share=0.15",), ("masked",)),
            Arm(
                "drawn",
                "a tenth synthetic scenes",
                ("chips_generated=150", "chips_generated_share=0.1"),
            ),
            Arm("still", "no shift of the post image", ("chips_shift=0",)),
            Arm("even", "grades weigh alike", ("chips_grade_weights=[1.0,1.0,1.0,1.0]",)),
            Arm("fewer", "52 of the 87 pairs", ("subset=52",)),
        ),
    ),
    "second": Series(
        "second",
        RECIPES / "fast_second.toml",
        ("validate_every=1000000", "validate_on=2"),
        (
            Arm("longer", "more steps alone", (*WITHOUT_MORE, *AS_EASY), ("half", "masked")),
            Arm(
                "unmasked",
                "without masked images",
                (*WITHOUT_MORE, *AS_EASY, "chips_masked_share=0.0"),
                ("half",),
            ),
            Arm(
                "unhalved",
                "without half-size pairs",
                (*WITHOUT_MORE, *AS_EASY, "chips_half_share=0.0"),
                ("masked",),
            ),
            Arm("unlabelled", "a tenth pairs without labels", AS_EASY, ALL),
            Arm("harder", "haze, lean, coarse pixels", WITHOUT_MORE, ("half", "masked")),
            Arm(
                "small",
                "small buildings weigh more",
                (*WITHOUT_MORE, *AS_EASY, "chips_small_weight=1.6"),
                ("half", "masked"),
            ),
            Arm(
                "all",
                "no labels, harder, drone images",
                (),
                ("half", "aerial", "unlabelled"),
            ),
        ),
    ),
    "pretrained": Series(
        "pretrained",
        RECIPES / "lite0.toml",
        (
            *BUDGET,
            "chips_masked_share=0.0",
            "frozen=[]",
            "encoder_rate=0.7",
            'amp="bf16"',
        ),
        (
            Arm("imagenet", "from ImageNet, all learns"),
            Arm("random", "from random weights", ("pretrained=false",)),
            Arm("norm", "batch norm frozen", ("freeze_batch_norm=true",)),
            Arm(
                "frozen",
                "stem to stride 4 frozen",
                ('frozen=["encoder.stem","encoder.layers.0","encoder.layers.1"]',),
            ),
            Arm("slow", "rate of the encoder 0.2", ("encoder_rate=0.2",)),
            Arm("full", "rate of the encoder 1", ("encoder_rate=1.0",)),
            Arm("shallow", "8 of the 11 blocks", ('network_options=["blocks=8"]',)),
            Arm("lite2", "encoder of Lite2", ('network="lite2"',)),
        ),
    ),
}


@dataclass(frozen=True)
class Bench:
    """What is trained and scored, and where it lies."""

    series: Series
    data: Path
    runs: Path
    steps: int
    seeds: int
    folders: dict[str, Path | None]
    init: str = ""
    """Run or checkpoint that all arms start from; empty starts from random weights."""

    def run(self, arm: Arm, seed: int) -> Path:
        """Return the folder of a run."""
        return self.runs / f"{arm.name}-{self.steps}-seed{seed}"

    def command(self, arm: Arm, seed: int) -> list[str]:
        """Return the arguments of `training.train` for one run.

        Raises
        ------
        OptionError
            If a folder that the arm needs was not given.
        """
        run = self.run(arm, seed)
        changes = [f'name="{run.name}"', f"steps={self.steps}", f"seed={seed}"]
        changes += [f"init={json.dumps(self.init)}", *self.series.changes, *arm.changes]
        paths = ["--data", str(self.data), "--runs", str(self.runs), "--device", "cpu"]
        for name in arm.folders:
            folder = self.folders.get(name)
            if folder is None:
                raise OptionError(f"--{name}: the arm {arm.name!r} learns from it; give the folder")
            paths += [f"--{'masked' if name == 'aerial' else name}", str(folder)]
        return [str(self.series.recipe), *paths, *(p for c in changes for p in ("--set", c))]


def train_all(bench: Bench, arms: Sequence[Arm]) -> Iterator[Path]:
    """Train what is not yet trained, seed by seed; yields each run when it is done."""
    for seed in range(1, bench.seeds + 1):
        for arm in arms:
            run = bench.run(arm, seed)
            if not is_done(run):
                train.main(bench.command(arm, seed))
            yield run


@dataclass(frozen=True)
class Looks:
    """What was counted of one run: as it is, and with the post image off."""

    straight: Counted
    off: Counted


def count(bench: Bench, run: Path) -> Looks:
    """Count a run on the pairs held out, or take what was counted before of the same weights."""
    digest = hashlib.sha256((run / "best").read_bytes()).hexdigest()
    kept = run / "looks.json"
    content = read_counts(kept)
    if content.get("digest") != digest:
        job = EvaluationJob(folder=bench.data, split=SPLIT, part="test")
        model = load_predictor([read_trained(run)], device="cpu")
        rows = [Row(str(pixels), as_shifted(model, pixels), []) for pixels in (0, OFF)]
        for pair in measure(job, model, rows):
            say(f"{run.name}: {pair}")
        content = {"digest": digest}
        for row in rows:
            content[row.name] = {
                "pixels": [[t.official.localisation, *t.official.damage] for t in row.tallies],
                "footprints": [t.footprints.table for t in row.tallies],
            }
        replace_text(kept, json.dumps(content))
        content = read_counts(kept)
    looks = [counted_of(content.get(str(pixels)), kept) for pixels in (0, OFF)]
    return Looks(*looks)


def counted_of(look: object, kept: Path) -> Counted:
    """Return the counts of one look.

    Raises
    ------
    InputError
        If they are not there.
    """
    if not isinstance(look, dict) or not {"pixels", "footprints"} <= look.keys():
        raise InputError(f"{kept}: no kept counts; remove it")
    return Counted(np.array(look["pixels"]), np.array(look["footprints"]))


def table(bench: Bench, arms: Sequence[Arm]) -> Iterator[str]:
    """Yield the lines of the report."""
    names = ("score", "localisation F1", "mean grade F1", "kappa, footprints")
    yield f"| | each seed | {' | '.join(names)} | {OFF} px off | gain of score |"
    yield "|---|---|" + "--:|" * (len(names) + 2)
    place = places()
    everything = np.arange(len(place))
    base: dict[int, Counted] = {}
    for arm in arms:
        done = [s for s in range(1, bench.seeds + 1) if is_done(bench.run(arm, s))]
        if not done:
            continue
        looks = {seed: count(bench, bench.run(arm, seed)) for seed in done}
        base = base or {seed: look.straight for seed, look in looks.items()}
        means = mean_figures([look.straight for look in looks.values()], everything)
        off = mean_figures([look.off for look in looks.values()], everything)["score"]
        each = [look.straight.figures(everything)["score"] for look in looks.values()]
        cells = [" ".join(f"{score:.3f}" for score in each)]
        cells += [f"{value:.3f}" for value in (*means.values(), off)]
        cells.append("" if arm is arms[0] else gain_of(looks, base, place))
        yield f"| {' | '.join([arm.title, *cells])} |"


def gain_of(looks: dict[int, Looks], base: dict[int, Counted], place: np.ndarray) -> str:
    """Return what an arm gains over the seeds that both have."""
    both = sorted(looks.keys() & base.keys())
    if not both:
        return "n/a"
    ours, theirs = [looks[seed].straight for seed in both], [base[seed] for seed in both]
    value, low, high = differences(ours, theirs, place)["score"]
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the arms of a series, or print its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("action", choices=["train", "table"])
    parser.add_argument("series", choices=SERIES)
    parser.add_argument("--data", type=Path, required=True, help="folder of xBD pairs")
    for name in ("half", "masked", "aerial", "unlabelled"):
        parser.add_argument(f"--{name}", type=Path, help="folder that some arms learn from")
    parser.add_argument("--init", default="", help="run or checkpoint that all arms start from")
    parser.add_argument("--runs", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--steps", type=positive, default=1500, help="of each run")
    parser.add_argument("--seeds", type=positive, default=3)
    parser.add_argument("--arms", default="", help="some of them, with commas")
    parser.add_argument("--threads", type=positive, default=1)
    options = parser.parse_args(arguments)
    folders = {name: getattr(options, name) for name in ("half", "masked", "aerial", "unlabelled")}
    series = SERIES[options.series]
    bench = Bench(
        series, options.data, options.runs, options.steps, options.seeds, folders, options.init
    )
    torch.set_num_threads(options.threads)
    try:
        arms = series.chosen(options.arms)
        lines = train_all(bench, arms) if options.action == "train" else table(bench, arms)
        for line in lines:
            print(line, flush=True)
    except GeodamageError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
