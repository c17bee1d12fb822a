r"""Train a network by a recipe.

    python -m training.train training/recipes/compact.toml --data DATA
    torchrun --nproc-per-node 4 -m training.train RECIPE.toml --data DATA --split split.csv

The same command resumes a run that was stopped, with the samples it would have seen. A
run folder holds the resolved recipe, the commit, and the split with its hash. It also holds a table
of steps, a log of validations, pictures, checkpoints, curves and the files of TensorBoard.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from geodamage.damage import GRADES
from geodamage.errors import GeodamageError, OptionError
from geodamage.words import counted
from training.data.masked import add_more, more_of
from training.examples import count_pixels, make_samples, read_parts, soft_batches
from training.objectives import exported, make_objective
from training.recipe import Recipe
from training.runs.folder import open_run
from training.runs.reports import Report, stop_between_steps
from training.runs.tracking import Tracker
from training.state import State, join_processes, start
from training.steps import DTYPES, Work, judged, train
from training.teaching.objective import projections_of, teachers_of, with_teachers
from training.validation import validate


def set_up(options: argparse.Namespace) -> tuple[Work, State]:
    """Make everything that a training needs, and go back to where it was."""
    recipe = Recipe.read(options.recipe, options.set)
    place = join_processes(options.device)
    if recipe.batch % (place.world * recipe.accumulate):
        raise OptionError(
            f"batch = {recipe.batch} cannot be shared evenly by {place.world} processes in "
            f"{recipe.accumulate} parts"
        )
    if recipe.algorithm == "maml" and place.world > 1:
        raise OptionError("algorithm = 'maml' runs in one process; start it without torchrun")
    own = options.recipe.parent / recipe.split
    split = options.split or (options.data / "index.csv" if recipe.data == "buildings" else own)
    learnt, held_out = read_parts(recipe, split, options.data)
    run = options.runs / recipe.run_name
    if place.first:
        open_run(run, recipe, split)
    if place.world > 1:
        distributed.barrier()
    state = start(recipe, options.runs, place)
    pixels = count_pixels(recipe, learnt)
    objective, judge = (
        make_objective(recipe, pixels.sum(0), world=world).to(place.device)
        for world in (place.world, 1)
    )
    panel = teachers_of(recipe, options.runs)  # first: what is not there is named within seconds
    samples = make_samples(recipe, learnt, pixels, more_of(options))
    objective = with_teachers(objective, recipe, state.network, samples, panel)
    layers = projections_of(objective.to(place.device))
    if layers is not None:
        if place.world > 1:
            raise OptionError(
                "distil_feature between widths that differ runs in one process; start it without "
                "torchrun"
            )
        state.adopt(layers)
    if (run / "last.pt").exists():
        # Through the CPU: optimisers keep their step counts there, and fetch each from elsewhere.
        state.load(torch.load(run / "last.pt", map_location="cpu", weights_only=True))
        if place.first:
            print(f"{run}: going on after step {state.step}", flush=True)
    if place.first:
        print(
            f"{counted(len(learnt), 'pair')} to train on, {len(held_out)} to validate", flush=True
        )
    soft = soft_batches(recipe, place, options.data, held_out)
    return Work(recipe, run, place, samples, held_out, objective, judge, soft), state


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or go on training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder that the split speaks of")
    parser.add_argument("--split", type=Path, help="split file, instead of the recipe's")
    add_more(parser)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    try:
        follow(*set_up(options))
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.train: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "training.train: interrupted; the same command goes on\n")
    finally:
        if distributed.is_available() and distributed.is_initialized():
            distributed.destroy_process_group()


def follow(work: Work, state: State) -> None:
    """Train, and show and record how it goes."""
    with stop_between_steps(train(work, state)) as reports:
        record(reports, work, state)


def record(reports: Iterator[Report], work: Work, state: State) -> None:
    """Show and record a training; only the first of several processes does."""
    if not work.place.first:
        for _ in reports:
            pass
        return
    names = [grade.label for grade in GRADES]
    with Tracker(work.run, work.recipe, resumed_at=state.step, total=work.steps) as tracker:
        tracker.say(f"{work.steps} steps, {work.per_epoch} an epoch; grades: {', '.join(names)}")
        started = time.monotonic()
        for report in reports:
            tracker.add_step(report.step, report.loss, report.lr)
            if report.row is not None:
                lr_row = {"epoch": report.step / work.per_epoch, "lr": report.lr}
                tracker.add_validation(report.step, lr_row | report.row, better=report.better)
                tracker.add_pictures(report.step, pictures(work, state))
        tracker.say(f"done in {(time.monotonic() - started) / 60:.1f} min")


def pictures(work: Work, state: State, count: int = 3) -> Iterator[tuple[Any, Any, Any]]:
    """Yield a few validation pairs with what the network says of them."""
    model = exported(judged(work, state), work.recipe).to(work.place.device)
    dtype = DTYPES[work.recipe.amp]
    yield from validate(model, work.held_out[:count], device=work.place.device, dtype=dtype)


if __name__ == "__main__":
    # Clusters end a job by SIGTERM: the record of the run is closed as by Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    main(sys.argv[1:])
