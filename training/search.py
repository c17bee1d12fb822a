r"""Search for learning rate, weight decay and the largest batch of a recipe.

    python -m training.search training/recipes/open_cities_b0.toml --data prepared \
        --study runs/search/open_cities.db --trials 50 --set epochs=1 --set subset=1000

Each trial is a run of the house's own training, stopped early where it stays below the median of
those before it. The study is an SQLite file. The same command resumes it, repeats trials that a
kill cut off, and ends when the number of trials is reached. Beside it come a plot and a table.

--largest-batch first doubles the batch until it no longer fits (of a GPU: into its memory; of a
CPU: into --memory), and searches with what fits.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from geodamage.errors import GeodamageError, OptionError, OutputError
from training.data.samples import stack
from training.extras import optional
from training.recipe import Recipe
from training.runs.reports import TrainingError
from training.steps import take_step, train
from training.train import set_up

#: Source: Open Cities' third place, find_hyperparameters.py: both log-uniform.
RATES, DECAYS = (1e-5, 1e-1), (1e-10, 1e-3)
#: No batch beyond this is tried.
MOST = 4096


@dataclass(frozen=True, kw_only=True)
class SearchJob:
    """What is searched, and where it is kept."""

    recipe: Path
    """Recipe that trials change."""
    data: Path
    """Folder of the data, the same as of `training.train`."""
    split: Path | None = None
    """Split file, the same as of `training.train`."""
    study: Path
    """SQLite file; plot and table are put beside it."""
    runs: Path
    """Folder of the trials' runs."""
    trials: int = 50
    """Trials that are done in the end, over all calls."""
    device: str = "cpu"
    """Where trials run."""
    overrides: tuple[str, ...] = ()
    """Overrides of the recipe, for every trial."""
    seed: int = 1
    """Seed of the choice of rates."""

    def options(self, *changes: str) -> argparse.Namespace:
        """Return what `training.train` would be given on its command line."""
        return argparse.Namespace(
            recipe=self.recipe,
            data=self.data,
            split=self.split,
            half=None,
            masked=None,
            unlabelled=None,
            runs=self.runs,
            device=self.device,
            set=[*self.overrides, *changes],
        )


def value_of(job: SearchJob, trial: Any, name: str) -> float:
    """Train by what a trial chose and return the best value of the recipe's metric.

    Raises
    ------
    optuna.TrialPruned
        If it stays below the median of the trials before it.
    """
    pruned = optional("optuna", "search").TrialPruned
    lr = trial.suggest_float("lr", *RATES, log=True)
    decay = trial.suggest_float("weight_decay", *DECAYS, log=True)
    run = f"{name}-trial{trial.number}"
    changes = (f'name="{run}"', f"lr={lr!r}", f"weight_decay={decay!r}")
    work, state = set_up(job.options(*changes))
    metric = work.recipe.metric
    try:
        for report in train(work, state):
            if report.row is None:
                continue
            value = report.row[metric]
            trial.report(-value if metric == "loss" else value, report.step)
            if trial.should_prune():
                raise pruned
    except TrainingError:
        # A rate so high that the loss is no number any more: the worst there is, not a fault.
        raise pruned from None
    return -state.best if metric == "loss" else state.best


def open_study(job: SearchJob, name: str) -> Any:
    """Open the study of a recipe, or begin it; what a kill cut off is queued again.

    Raises
    ------
    MissingExtraError
        If Optuna is not installed.
    OutputError
        If the file is no study.
    """
    optuna = optional("optuna", "search")
    sql = optional("sqlalchemy.exc", "search")  # comes with Optuna
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    job.study.parent.mkdir(parents=True, exist_ok=True)
    try:
        study = optuna.create_study(
            study_name=name,
            storage=f"sqlite:///{job.study}",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
            load_if_exists=True,
        )
    except (optuna.exceptions.OptunaError, sql.SQLAlchemyError) as error:
        reason = str(error).partition("\n")[0]
        raise OutputError(f"{job.study}: no study of Optuna ({reason}); give another") from error
    # Another seed for every call: the same one would begin with the same rates again.
    study.sampler = optuna.samplers.TPESampler(seed=job.seed + len(study.trials))
    running = optuna.trial.TrialState.RUNNING
    for trial in study.get_trials(deepcopy=False, states=(running,)):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)
    return study


def search(job: SearchJob, say: Callable[[str], None]) -> Any:
    """Run trials until enough are done; returns the study.

    Raises
    ------
    GeodamageError
        If a trial cannot be trained.
    """
    recipe = Recipe.read(job.recipe, job.overrides)
    study = open_study(job, recipe.name)
    done = finished(study)
    say(f"{job.study}: {len(done)} of {job.trials} trials are done")
    while len(finished(study)) < job.trials:
        trial = study.ask()
        state, value = outcome(job, trial, recipe.name)
        study.tell(trial, value, state)
        shown = "pruned" if value is None else f"{value:.4f}"
        rates = ", ".join(f"{key} {number:.3g}" for key, number in trial.params.items())
        say(f"trial {trial.number}: {rates}: {recipe.metric} {shown}")
    return study


def outcome(job: SearchJob, trial: Any, name: str) -> tuple[Any, float | None]:
    """Return how a trial ended."""
    optuna = optional("optuna", "search")
    try:
        return optuna.trial.TrialState.COMPLETE, value_of(job, trial, name)
    except optuna.TrialPruned:
        return optuna.trial.TrialState.PRUNED, None


def finished(study: Any) -> list[Any]:
    """Return the trials that were trained to their end, or pruned."""
    states = optional("optuna", "search").trial.TrialState
    ended: list[Any] = study.get_trials(deepcopy=False, states=(states.COMPLETE, states.PRUNED))
    return ended


def largest(fits: Callable[[int], bool], *, most: int = MOST, multiple: int = 1) -> int:
    """Return the largest batch that fits: doubled until it does not, then narrowed down.

    Parameters
    ----------
    fits
        Whether a batch does; what is larger than one that does not, does not either.
    multiple
        Batches are multiples of it.

    Raises
    ------
    OptionError
        If not even the smallest fits.
    """
    low = multiple
    if not fits(low):
        raise OptionError(f"not even a batch of {low} fits; take a smaller crop or network")
    high = 2 * low
    while high <= most and fits(high):
        low, high = high, 2 * high
    high = min(high, most + 1)
    while high - low > multiple:
        middle = (low + high) // 2 // multiple * multiple
        if middle <= low:
            break
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def batch_fits(job: SearchJob, memory: float) -> Callable[[int], bool]:
    """Return whether a step with a batch fits: into the GPU, or into so many bytes of memory."""

    def fits(batch: int) -> bool:
        name = f'name="batch{batch}"'
        try:
            work, state = set_up(job.options(name, f"batch={batch}", "accumulate=1"))
            numbers = next(work.numbers(0))
            drawn = stack([work.samples.draw(number) for number in numbers])
            take_step(work, state, network=state.network, batch=drawn, lr=0.0)
        except torch.OutOfMemoryError:
            return False
        finally:
            if job.device.startswith("cuda"):
                torch.cuda.empty_cache()
        return job.device.startswith("cuda") or peak_memory() <= memory

    return fits


def peak_memory() -> float:
    """Return the most memory that this process has had, bytes."""
    import resource  # not on Windows, where there is no such figure

    kilo = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kilo)


def write_table(path: Path, study: Any) -> None:
    """Write every trial that ended, best first."""
    partial = path.with_name(path.name + ".partial")
    trials = sorted(finished(study), key=lambda t: -(t.value if t.value is not None else -1e9))
    with partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["trial", "state", "value", "lr", "weight_decay"])
        for trial in trials:
            rates = [trial.params.get(key) for key in ("lr", "weight_decay")]
            value = "" if trial.value is None else trial.value
            table.writerow([trial.number, trial.state.name.lower(), value, *rates])
    partial.replace(path)


def draw_study(path: Path, study: Any, metric: str) -> None:
    """Draw the value of every trial over its rates, and the best so far over the trials."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    whole = [trial for trial in finished(study) if trial.value is not None]
    cut = [trial for trial in finished(study) if trial.value is None]
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    progress, *rates = figure.subplots(1, 3)
    values = [trial.value for trial in whole]
    best = [max(values[: n + 1]) for n in range(len(values))]
    progress.plot([trial.number for trial in whole], values, "o", color="#3c78ff", label="trial")
    progress.step([trial.number for trial in whole], best, where="post", color="#222", label="best")
    progress.set_xlabel("trial")
    progress.set_ylabel(metric)
    progress.legend(frameon=False)
    for axes, key in zip(rates, ("lr", "weight_decay"), strict=True):
        axes.plot([trial.params[key] for trial in whole], values, "o", color="#3c78ff")
        low = min(values, default=0.0)
        pruned = [trial.params[key] for trial in cut]
        axes.plot(pruned, [low] * len(cut), "x", color="#999", label="pruned")
        axes.set_xscale("log")
        axes.set_xlabel(key)
    if cut:
        rates[0].legend(frameon=False)
    for axes in (progress, *rates):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, and say what is best."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="as of training.train")
    parser.add_argument("--split", type=Path, help="as of training.train")
    parser.add_argument("--study", type=Path, required=True, metavar="FILE.db")
    parser.add_argument("--runs", type=Path, help="folder of the trials; beside the study")
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--largest-batch", action="store_true", help="search with what fits")
    parser.add_argument("--memory", type=float, default=4.0, help="of a CPU, GiB")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    try:
        run(options)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.search: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, "training.search: interrupted; the same command goes on\n")


def run(options: argparse.Namespace) -> None:
    """Do what the command line asks for."""
    if options.trials < 1:
        raise OptionError(f"--trials {options.trials}: one or more")
    job = SearchJob(
        recipe=options.recipe,
        data=options.data,
        split=options.split,
        study=options.study,
        runs=options.runs or options.study.parent / f"{options.study.stem}_runs",
        trials=options.trials,
        device=options.device,
        overrides=tuple(options.set),
        seed=options.seed,
    )
    if options.largest_batch:
        batch = largest(batch_fits(job, options.memory * 2**30))
        say(f"largest batch that fits: {batch}")
        job = SearchJob(**{**vars(job), "overrides": (*job.overrides, f"batch={batch}")})
    study = search(job, say)
    write_table(job.study.with_suffix(".csv"), study)
    metric = Recipe.read(job.recipe, job.overrides).metric
    draw_study(job.study.with_suffix(".png"), study, metric)
    whole = [trial for trial in finished(study) if trial.value is not None]
    if whole:
        best = max(whole, key=lambda trial: float(trial.value))
        rates = ", ".join(f"{key} = {number:.4g}" for key, number in best.params.items())
        say(f"best: trial {best.number}, {metric} {best.value:.4f}: {rates}")


def say(text: str) -> None:
    """Print a line at once."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
