"""Turn a run into a model file: one ONNX graph with its card.

    python -m training.export runs/compact -o fast.onnx --facts facts.json
    python -m training.export runs/first_place_res34_localisation -o loc.onnx --data DATA

Network, halo and working memory are handled as `geodamage models import` handles them: measured on
the trained network, and the file must say what the network says. Thresholds, vote weights and
temperature come from `training.calibrate` by `--facts`, or are chosen on the validation part of the
run's split with `--data`. `--precision` makes variants of fewer bits beside it, as
`geodamage models optimise` does, and compares them with it on the same part.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from geodamage.errors import GeodamageError, GeodamageWarning, OptionError
from geodamage.model.card import Card, read_card, with_card
from geodamage.networks.export import TOLERANCE
from geodamage.networks.importing import Imported, import_checkpoints
from geodamage.optimise.variants import OptimisationJob, Variant, optimise
from geodamage.output.publication import Publication, check_output, output_errors
from geodamage.scores.evaluation import EvaluationJob, choose_pairs
from geodamage.scores.tallies import Drawing
from geodamage.words import counted
from geodamage.xbd.folders import Pair
from training.calibrate import (
    Say,
    choose,
    choose_drawing,
    drawing_facts,
    predict_pairs,
    silent,
    try_drawings,
    with_facts,
)
from training.data.building_images import in_folds, list_images
from training.evaluate import learnt_pairs, say_on_stderr
from training.predictor import EvenDamage, Trained, load_predictor, plain_card, read_trained
from training.recipe import Recipe

#: Source: Gupta et al. 2019, "xBD: A Dataset for Assessing Building Damage": its disasters as file
#: names spell them.
XBD_EVENTS = frozenset({
    "guatemala-volcano", "hurricane-florence", "hurricane-harvey", "hurricane-matthew",
    "hurricane-michael", "joplin-tornado", "lower-puna-volcano", "mexico-earthquake",
    "midwest-flooding", "moore-tornado", "nepal-flooding", "palu-tsunami", "pinery-bushfire",
    "portugal-wildfire", "santa-rosa-wildfire", "socal-fire", "sunda-tsunami",
    "tuscaloosa-tornado", "woolsey-fire",
})  # fmt: skip
XBD = "xBD (Gupta et al. 2019, CC BY-NC-SA 4.0; imagery Maxar Open Data)"
XBD_LICENCE = "CC BY-NC-SA 4.0"
#: Keys of a card that the network decides.
MEASURED = frozenset({"task", "stride", "context", "halo", "sha256"})
#: Keys of a card that are chosen on validation.
CHOSEN = frozenset({*drawing_facts(Drawing()), "damaged_threshold", "temperature", "grade_weights"})


@dataclass(frozen=True, kw_only=True)
class ExportJob:
    """One export: what becomes a model file, and what its card says."""

    source: Path
    """Run or checkpoint."""
    output: Path
    """A `.onnx`."""
    name: str = ""
    """Name of the model; the output's unless given."""
    version: str = "0.1.0"
    """Version of the model."""
    licence: str | None = None
    """Licence of the weights; that of their data unless given."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """More keys of the card, such as thresholds and scores."""
    data: Path | None = None
    """Folder that the split speaks of: choose thresholds on its validation part."""
    split: Path | None = None
    """Split to choose on, instead of the run's own."""
    device: str = "auto"
    """Where choosing runs."""
    overwrite: bool = False
    """Replace a file that is there."""
    tolerance: float = TOLERANCE
    """Tolerance of the halo: what changes a probability by no more counts as nothing."""
    precisions: tuple[str, ...] = ()
    """Variants to make beside it, some of `fp16`, `half` and `int8`; they need `data`."""


def export_model(job: ExportJob, say: Say = silent) -> tuple[Card, Imported]:
    """Write a model file; nothing is left where it would not say what the network says.

    Parameters
    ----------
    say
        Is told how choosing goes.

    Returns
    -------
    The card of the file, and what was measured.

    Raises
    ------
    GeodamageError
        If something is refused or fails; which kind of it is raised, `geodamage.errors` says.
    """
    check_output(job.output, overwrite=job.overwrite, extensions=(".onnx",))
    check_facts(job)
    trained = read_trained(job.source)
    facts = {"name": job.name or job.output.stem, "version": job.version, **origin(trained)}
    if job.licence is not None:
        facts["licence"] = job.licence
    with_facts(plain_card(trained), facts | dict(job.facts))  # refuses before any work
    if job.data is not None:
        facts |= chosen_facts(job, trained, say)
    scores = {**facts.pop("scores", {}), **job.facts.get("scores", {})}
    return write_model(job, trained, {**facts, **job.facts, "scores": scores})


def export_variants(job: ExportJob, say: Say = silent) -> list[Variant]:
    """Make variants of an exported model beside it; those that say something else are left out.

    Calibrated on the training part of the run's split, compared on its validation part.

    Raises
    ------
    GeodamageError
        If something is refused or fails; which kind of it is raised, `geodamage.errors` says.
    """
    if not job.precisions:
        return []
    trained = read_trained(job.source)
    split = job.split or trained.split
    if job.data is None or split is None:
        raise OptionError(
            f"--precision {' '.join(job.precisions)}: variants are compared on labelled pairs; "
            "give --data, and of a checkpoint --split"
        )
    optimisation = OptimisationJob(
        calibration=job.data,
        model=job.output,
        output=job.output.parent,
        precisions=job.precisions,
        split=split,
        part=trained.validation,
        overwrite=job.overwrite,
    )
    with optimise(optimisation) as work:
        for step in work:
            say(step.done, step.total, step.name)
    return work.result()


def write_model(job: ExportJob, trained: Trained, facts: dict[str, Any]) -> tuple[Card, Imported]:
    """Import a checkpoint beside everything, and publish it with more facts on its card."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Publication(overwrite=job.overwrite) as publication,
    ):
        partial = publication.partial(job.output)
        graph = Path(folder) / job.output.name
        (imported,) = import_checkpoints(
            [trained.checkpoint.source], graph, licence=job.licence, tolerance=job.tolerance
        )
        blob = graph.read_bytes()
        card = read_card(blob, str(graph))
        card = with_facts(card, {**facts, "scores": noted(card, trained) | facts["scores"]})
        with output_errors(job.output):
            partial.write_bytes(with_card(blob, card))
    return card, imported


def noted(card: Card, trained: Trained) -> dict[str, Any]:
    """Return what importing noted; of a run the card says more than its file name and score."""
    only_published = () if trained.recipe is None else ("checkpoint", "published")
    return {key: value for key, value in card.scores.items() if key not in only_published}


def check_facts(job: ExportJob) -> None:
    """Refuse facts that no card has, that are measured, or that would be chosen, too."""
    known = {item.name for item in dataclasses.fields(Card)}
    chosen = CHOSEN if job.data is not None else frozenset()
    for keys, reason in (
        (job.facts.keys() - known, "which no card has; remove it"),
        (job.facts.keys() & MEASURED, "which is measured here; remove it"),
        (job.facts.keys() & chosen, "which --data chooses; give one of them"),
    ):
        if keys:
            raise OptionError(f"--facts says {', '.join(sorted(keys))}, {reason}")


def chosen_facts(job: ExportJob, trained: Trained, say: Say) -> dict[str, Any]:
    """Choose on the validation part what a card says of drawing and grading.

    A localisation network has nothing to say of grades: thresholds alone are chosen.
    """
    split = job.split or trained.split
    if trained.recipe is not None and trained.recipe.data == "buildings":
        raise OptionError(
            f"{job.source}: was trained on images with building masks; choose its threshold by "
            "training.score_buildings and give --facts instead of --data"
        )
    if split is None or job.data is None:
        raise OptionError(f"{job.source}: a checkpoint knows no split to choose on; give --split")
    part = trained.validation
    pairs = choose_pairs(EvaluationJob(folder=job.data, split=split, part=part))
    model = load_predictor([trained], device=job.device)
    if trained.checkpoint.task == "localisation":
        asked = predict_pairs(EvenDamage(model), pairs, say)
        return drawing_facts(choose_drawing(try_drawings(asked)))
    return choose(predict_pairs(model, pairs, say)).facts()


def origin(trained: Trained) -> dict[str, Any]:
    """Return what the card says of where a run comes from; nothing of a mere checkpoint."""
    if trained.recipe is None:
        return {}
    if trained.recipe.data == "buildings":
        return building_origin(trained, trained.recipe)
    pairs = learnt_pairs(trained)
    of_xbd = {pair.event for pair in pairs} <= XBD_EVENTS
    return {
        "training_data": training_data(trained.recipe, pairs, XBD if of_xbd else "own pairs"),
        "licence": XBD_LICENCE if of_xbd else "not stated",
        "scores": {"training": training_facts(trained)},
    }


def building_origin(trained: Trained, recipe: Recipe) -> dict[str, Any]:
    """Return what the card says of where a run on images with building masks comes from."""
    images = list_images(trained.source / "split.csv", trained.source)
    learnt, _ = in_folds(images, recipe.fold)
    sources = Counter(image.source for image in learnt)
    shares = ", ".join(f"{count} of {source}" for source, count in sorted(sources.items()))
    parts = [f"{counted(len(learnt), 'image')} with building masks: {shares}"]
    if recipe.soft.folder:
        parts.append(f"soft labels of {recipe.soft.folder}")
    if recipe.pretrained:
        parts.append("encoder from ImageNet")
    if recipe.init:
        parts.append(f"weights from {recipe.init}")
    return {
        "training_data": "; ".join(parts),
        "licence": "not stated",
        "scores": {"training": training_facts(trained)},
    }


def training_data(recipe: Recipe, pairs: Sequence[Pair], source: str) -> str:
    """Return in one line what a run was trained on."""
    events = sorted({pair.event for pair in pairs})
    count = min(len(pairs), recipe.subset or len(pairs))
    amount = f"{count} pair{'s' if count != 1 else ''}"
    parts = [f"{source}: {amount}, {'events' if events[1:] else 'event'} {', '.join(events)}"]
    if recipe.sampling == "chips" and recipe.chips.generated:
        parts.append(f"{recipe.chips.generated} generated scenes of sample_data/scenes.py")
    if recipe.chips.half_share:
        parts.append("pairs at half size")
    if recipe.chips.masked_share:
        parts.append("single images with building masks")
    if recipe.distil.teachers:
        parts.append(f"taught by {', '.join(recipe.distil.teachers)}")
    if recipe.pretrained:
        parts.append("encoder from ImageNet")
    if recipe.init:
        parts.append(f"weights from {recipe.init}")
    return "; ".join(parts)


def training_facts(trained: Trained) -> dict[str, Any]:
    """Return what it takes to train a run again, and what came of it."""
    recipe, checkpoint = trained.recipe, trained.checkpoint
    if recipe is None:
        return {}
    return {
        "run": recipe.run_name,
        "commit": read_line(trained.source / "commit.txt"),
        "split_sha256": read_line(trained.source / "split.sha256"),
        "epoch": checkpoint.epoch,
        f"validation_{recipe.metric}": checkpoint.best_score,
    }


def read_line(path: Path) -> str:
    """Return the one line of a file that a run keeps.

    Raises
    ------
    OptionError
        If the run does not have it.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path}: cannot be read ({error}); is this a whole run?") from error


def read_facts(path: Path | None) -> dict[str, Any]:
    """Read the facts that `training.calibrate` wrote.

    Raises
    ------
    OptionError
        If the file is no JSON object.
    """
    if path is None:
        return {}
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OptionError(f"{path}: no JSON of facts ({error}); make it by calibrate") from error
    if not isinstance(facts, dict):
        raise OptionError(f"{path}: no JSON object of facts; make it by calibrate")
    return facts


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a model file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path, metavar="RUN_OR_CHECKPOINT")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--name", default="", help="of the model; the output's unless given")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--licence", help="of the weights; that of their data unless given")
    parser.add_argument("--facts", type=Path, help="JSON made by training.calibrate")
    parser.add_argument("--data", type=Path, help="choose thresholds on validation in this folder")
    parser.add_argument("--split", type=Path, help="split to choose on, instead of the run's own")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=TOLERANCE,
        help=f"change of a probability that the halo may let through ({TOLERANCE:g})",
    )
    parser.add_argument("--device", default="auto", metavar="auto|cpu|cuda[:N]")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.add_argument(
        "--precision",
        dest="precisions",
        nargs="+",
        default=(),
        metavar="fp16|half|int8",
        help="variants to make beside it; needs --data",
    )
    options = vars(parser.parse_args(arguments))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", GeodamageWarning)
        try:
            options["precisions"] = tuple(options["precisions"])
            job = ExportJob(**(options | {"facts": read_facts(options["facts"])}))
            card, imported = export_model(job, say_on_stderr)
            variants = export_variants(job, say_on_stderr)
        except GeodamageError as error:
            parser.exit(error.exit_code, f"training.export: error: {error}\n")
    for warning in said:
        print(f"training.export: warning: {warning.message}", file=sys.stderr)
    print(
        f"{job.output}: {job.output.stat().st_size / 1e6:.2f} MB, {card.context}, halo "
        f"{card.halo}, {card.bytes_per_pixel} B/px, within {imported.difference:.1g} of the network"
    )
    for variant in variants:
        parity = variant.parity
        reasons = parity.shortfalls()
        print(
            f"{variant.path}: {variant.size / 1e6:.2f} MB, agreement {parity.agreement:.2%}, "
            + (f"refused: {', '.join(reasons)}" if reasons else "kept")
        )


if __name__ == "__main__":
    main()
