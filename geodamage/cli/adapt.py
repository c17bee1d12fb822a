"""`geodamage adapt`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from geodamage.cli.arguments import FILE, takes
from geodamage.errors import AdaptationError

if TYPE_CHECKING:
    from geodamage.adaptation.adapting import Adapted

#: What the figures are called.
_TOLD = {
    "auc": "AUC of damaged",
    "damaged_f1": "F1 of damaged",
    "kappa": "quadratic kappa",
    "log_loss": "log loss",
}


@click.command(name="adapt")
@click.argument("results", nargs=-1, required=True, type=FILE, metavar="RESULT...")
@takes("adapt")
def command(
    results: tuple[Path, ...],
    reviewed: Path,
    answers: tuple[Path, ...],
    output: Path,
    features: Path | None,
    force: bool,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Learn from reviewed buildings what damage looks like in this event.

    RESULT is a result of `geodamage assess --features`, or a folder of `geodamage batch`. The event
    model is put on top of the model. `geodamage regrade` grades the result again with it.
    `geodamage assess --model` uses it for the rest of the event. It is tried on blocks of ground
    that it has not learnt from. If it does not help, nothing is written.

    \b
    Example:
      geodamage adapt buildings.gpkg --reviewed sample.gpkg -o event-model.toml
    """  # noqa: D301
    from geodamage.adaptation.adapting import adapt

    adapted = adapt(
        results, reviewed, output, answers=answers, features=features, force=force,
        overwrite=overwrite,
    )  # fmt: skip
    written = adapted.helps or force
    if as_json:
        facts = {"output": str(output) if written else None, **adapted.model.card}
        click.echo(json.dumps(facts, ensure_ascii=False))
    if not quiet:
        _say(adapted)
    if not written:
        raise AdaptationError(
            f"{output}: not written, because the answers do not show that it helps: the interval "
            f"of the gain in log loss includes a loss; {_advice(adapted)}, or give --force"
        )
    if not quiet:
        click.echo(f"wrote {output}", err=True)


def _advice(adapted: "Adapted") -> str:
    from geodamage.adaptation.learning import DECIDES
    from geodamage.adaptation.validation import answers_to_show

    answers = sum(adapted.model.card["answers_per_grade"].values())
    needed = answers_to_show(adapted.compared.gain[DECIDES], answers)
    if needed is None:
        return "review more buildings"
    return f"review about {needed - answers} more, which show a gain if it is as large as it seems"


def _say(adapted: "Adapted") -> None:
    card = adapted.model.card
    for note in adapted.notes:
        click.echo(f"geodamage: {note}", err=True)
    grades = ", ".join(f"{count} {name}" for name, count in card["answers_per_grade"].items())
    click.echo(
        f"learnt from {grades}; tried on {card['blocks']} blocks of ground that it had not "
        f"learnt from",
        err=True,
    )
    click.echo(f"{'':<18}{'before':>23}{'after':>23}{'gain':>25}", err=True)
    for name, told in _TOLD.items():
        cells = [_shown(card[part][name]) for part in ("before", "after")]
        gain = _shown(card["gain"][name], sign="+")
        click.echo(f"{told:<18}{cells[0]:>23}{cells[1]:>23}{gain:>25}", err=True)
    if card["starts_from_other_events"]:
        click.echo("it starts from the change that other events took for damage", err=True)
    if not card["uses_features"]:
        click.echo(
            "the features do not help here; only the model's own probabilities are reweighted",
            err=True,
        )


def _shown(figure: list[float | None], sign: str = "") -> str:
    value, low, high = figure
    if value is None or low is None or high is None:
        return "not defined"
    return f"{value:{sign}.3f} ({low:{sign}.2f} to {high:{sign}.2f})"
