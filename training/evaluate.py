r"""Score runs or checkpoints on labelled pairs, as `geodamage evaluate` scores model files.

    python -m training.evaluate runs/first_place_res34_localisation \
        runs/first_place_res34_damage --data DATA --part test --tune

Several are one ensemble: each head is averaged over the networks that have it, and localisation
and damage networks together are the two-stage model. `--tune` chooses thresholds, vote weights
and temperature on the validation part, and on nothing else. The split is that of the first run
unless another is named.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodamage.cli.tables import print_scores
from geodamage.errors import GeodamageError, LabelError, OptionError
from geodamage.scores.evaluation import Evaluation, EvaluationJob, choose_pairs
from geodamage.xbd.folders import Pair, read_split
from training.calibrate import Say, choose, count, follow, predict_pairs, silent, tuned
from training.predictor import Trained, load_predictor, read_trained


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is scored, and where its thresholds come from."""

    sources: tuple[Path, ...]
    """Runs or checkpoints."""
    data: Path
    """Holds `images/` and `labels/` of xBD pairs, or the folders that the split names."""
    split: Path | None = None
    """CSV with the columns `pair` and `part`; None takes that of the first run."""
    part: str | None = None
    """Part of the split that is scored; None takes `test`."""
    tune: bool = False
    """Choose thresholds on the part that the first run was validated on."""
    tta: str = "none"
    """`none` or `flips`."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    bootstrap: int = 0
    """Resamplings of the pairs for 95 % intervals; 0 leaves them out."""


def evaluate(request: Request, say: Say = silent) -> Evaluation:
    """Score what a request names.

    Parameters
    ----------
    say
        Is told of the progress.

    Raises
    ------
    GeodamageError
        If something is refused or fails; which kind of it is raised, `geodamage.errors` says.
    """
    trained = [read_trained(source) for source in request.sources]
    if all(one.checkpoint.task == "localisation" for one in trained):
        raise OptionError(
            f"{trained[0].source}: finds buildings and gives no grades; name a damage run, too"
        )
    job = scored_job(request, trained)
    scored = choose_pairs(job)
    model = load_predictor(trained, device=request.device, tta=request.tta)
    chosen: dict[str, Any] = {}
    asked: list[Pair] = []
    if request.tune:
        asked = tuning_pairs(request, job, trained[0].validation, scored)
        chosen = choose(predict_pairs(model, asked, say)).facts()
        model = tuned(model, chosen)
        chosen = {"part": trained[0].validation, "pairs": len(asked), **chosen}
    evaluation = follow(count(job, model), say)
    evaluation.facts |= {
        "members": [member_facts(one) for one in trained],
        "chosen": chosen or None,
    }
    for pairs, use in ((scored, "scored"), (asked, "chosen on")):
        evaluation.notes += [note for one in trained for note in learnt_notes(one, pairs, use)]
    return evaluation


def scored_job(request: Request, trained: Sequence[Trained]) -> EvaluationJob:
    """Return what is scored; the split comes from the request or the first run that has one."""
    own = next((one.split for one in trained if one.split is not None), None)
    split = request.split or own
    part = request.part or ("test" if split else None)
    if request.tune and split is None:
        raise OptionError(
            "--tune needs a part to choose on, and a checkpoint names none; give --split"
        )
    return EvaluationJob(
        folder=request.data,
        model=" + ".join(str(one.source) for one in trained),
        split=split,
        part=part,
        tta=request.tta,
        bootstrap=request.bootstrap,
    )


def tuning_pairs(
    request: Request, job: EvaluationJob, part: str, scored: Iterable[Pair]
) -> list[Pair]:
    """Return the pairs that thresholds are chosen on.

    Raises
    ------
    OptionError
        If they are those that are scored.
    LabelError
        If one of them is scored, too.
    """
    if job.part == part:
        raise OptionError(
            f"--part {part}: --tune chooses on it, and what is chosen on a part is not scored there"
        )
    pairs = choose_pairs(EvaluationJob(folder=request.data, split=job.split, part=part))
    shared = {pair.name for pair in pairs} & {pair.name for pair in scored}
    if shared:
        raise LabelError(
            f"{job.split}: {sorted(shared)[0]} is in {part} and in {job.part}; make the split by "
            "training.prepare"
        )
    return pairs


def member_facts(trained: Trained) -> dict[str, Any]:
    """Return what a reader of scores must know of a network."""
    checkpoint = trained.checkpoint
    with checkpoint.source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "source": str(trained.source),
        "network": checkpoint.network,
        "task": checkpoint.task,
        "epoch": checkpoint.epoch,
        "best_score": checkpoint.best_score,
        "sha256": digest,
    }


def learnt_pairs(trained: Trained) -> list[Pair]:
    """Return the pairs that a run was given to learn; none of a checkpoint."""
    if trained.split is None or trained.recipe is None:
        return []
    if trained.recipe.fold < 0:
        return read_split(trained.split, "", "train")
    held_out = set(read_split(trained.split, "", trained.validation))
    return [pair for pair in read_split(trained.split, "") if pair not in held_out]


def learnt_notes(trained: Trained, pairs: Sequence[Pair], use: str) -> list[str]:
    """Say how many of the pairs that are scored, or chosen on, a run was trained on."""
    learnt = {pair.name for pair in learnt_pairs(trained)}
    both = sum(pair.name in learnt for pair in pairs)
    if not both:
        return []
    return [f"{both} of {len(pairs)} pairs {use} are of the training part of {trained.source}"]


def say_on_stderr(done: int, total: int, name: str) -> None:
    """Show progress where someone watches."""
    if sys.stderr.isatty():
        end = "\n" if done == total else ""
        print(f"\r{done} of {total}  {name}\x1b[K", end=end, file=sys.stderr, flush=True)


def show(evaluation: Evaluation, *, as_json: bool, per_event: bool) -> None:
    """Print scores as a table or as JSON; notes go to stderr."""
    figures = evaluation.report()
    if as_json:
        print(json.dumps(figures, ensure_ascii=False, allow_nan=False))
        return
    for note in evaluation.notes:
        print(f"training.evaluate: note: {note}", file=sys.stderr)
    if not per_event:
        del figures["events"]
    print_scores(figures)
    if figures["chosen"]:
        print(f"\nchosen: {json.dumps(figures['chosen'])}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Score runs or checkpoints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", type=Path, nargs="+", metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("--data", type=Path, required=True, help="folder that the split speaks of")
    parser.add_argument("--split", type=Path, help="split file, instead of the run's own")
    parser.add_argument("--part", help="what is scored; test unless given")
    parser.add_argument("--tune", action="store_true", help="choose thresholds on validation")
    parser.add_argument("--tta", choices=["none", "flips"], default="none")
    parser.add_argument("--bootstrap", type=int, default=0, metavar="N")
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda[:N]")
    parser.add_argument("--json", action="store_true", help="one JSON object with every figure")
    parser.add_argument("--per-event", action="store_true", help="the scores of each event, too")
    options = vars(parser.parse_args(arguments))
    as_json, per_event = options.pop("json"), options.pop("per_event")
    try:
        request = Request(**(options | {"sources": tuple(options["sources"])}))
        show(evaluate(request, say_on_stderr), as_json=as_json, per_event=per_event)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"training.evaluate: error: {error}\n")


if __name__ == "__main__":
    main()
