r"""Print the page of scores, docs/scores.md, from the cards of the bundled models.

    python -m benchmarks.scores
    python -m benchmarks.scores --write

`--write` puts the page, and the table of the README, where they belong. No figure on either is
written by hand: a test compares both with this, so that a new model leaves no old figure behind.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from geodamage.damage import GRADES
from geodamage.model.card import Card, read_card
from geodamage.model.loading import bundled_models

#: The models whose scores are told; variants of lower precision are compared with them.
MODELS = ("fast", "accurate")
NOT_MEASURED = "n/a"

ROOT = Path(__file__).parents[1]
PAGE, README = ROOT / "docs" / "scores.md", ROOT / "README.md"
#: How the README's table begins, and all of it.
SUMMARY = re.compile(r"^\| [\d,]+ xBD pairs of places .*\n(?:\|.*\n)+", re.MULTILINE)

HEAD = """\
# Scores

This page is made from the cards of the bundled models by `python -m benchmarks.scores`. Do not
edit it. A model carries its card inside its file; `geodamage models show accurate --json` prints
the same figures.

The figures come from the 123 pairs of [xBD](https://xview2.org/dataset), of six events, that this
project has. The [split](../training/recipes/compact.csv) goes by place, and nothing was chosen on
the test places. [EXPERIMENTS.md](../training/EXPERIMENTS.md) tells how the models were trained.
"""

LIMITS = """\
## What the models do not know

- They have seen North and Central America only, no conflict damage and no radar images.
- They have few examples of major damage, and they often miss minor damage.
- They know floods and wind mostly from synthetic damage, and often miss it.
- They hardly recognise damage by ash or an earthquake.
- They miss most buildings below 50 m².
  [`--tta enlarged`](buildings.md#small-buildings) finds two to three times as many.
- They draw a third of the roofs above 800 m² in pieces.
- They take some sports courts, car parks and bright sand for buildings.

Give `--footprints` where you have them. Check a sample of a new event by eye before you use its
grades.
"""

#: Words of the page for keys of a card's test part, and the group of figures each belongs to.
FIGURES = {
    "recall_iou50": "buildings found (recall at an overlap, IoU, of 0.5)",
    "precision_iou50": "polygons that match a building (precision at IoU 0.5)",
    "quadratic_kappa": "quadratic kappa of the grades of found buildings",
    "quadratic_kappa_95": "its 95 % interval, by resampling pairs",
    "binary_damaged_f1": "F1 of damaged or not, found buildings",
    "footprints_quadratic_kappa": "quadratic kappa of the grades, footprints given",
    "footprints_binary_damaged_f1": "F1 of damaged or not, footprints given",
    "xview2_score": "xView2 score: 0.3 localization F1 + 0.7 damage F1",
    "pixel_f1_building": "localization F1",
    "pixel_f1_damage": "damage F1",
    "ece": "expected calibration error of the probabilities",
    "brier_skill": "Brier skill of damaged or not",
}
SIZES = {
    "0+": "below 50 m²",
    "50+": "50 to 100 m²",
    "100+": "100 to 200 m²",
    "200+": "200 to 400 m²",
    "400+": "400 to 1,000 m²",
    "1000+": "above 1,000 m²",
}


def main() -> None:
    """Print the page and the README's table, or write both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace both in the repository")
    options = parser.parse_args()
    cards = read_cards()
    if options.write:
        PAGE.write_text(page(cards), encoding="utf-8")
        README.write_text(
            with_summary(README.read_text(encoding="utf-8"), summary(cards)), encoding="utf-8"
        )
    else:
        sys.stdout.write(f"{page(cards)}\n{summary(cards)}")


def read_cards() -> dict[str, Card]:
    """Return the cards of the bundled models by name, in the order in which they are told."""
    cards = {
        name: read_card(path.read_bytes(), path.name)
        for name, path in bundled_models().items()
        if path.suffix == ".onnx"
    }
    order = [*MODELS, *sorted(set(cards) - set(MODELS))]
    return {name: cards[name] for name in order}


def page(cards: Mapping[str, Card]) -> str:
    """Return the page as Markdown."""
    told = {name: cards[name] for name in MODELS}
    sections = (
        HEAD,
        "\n".join(_models(cards)),
        "\n".join(_held_out(told)),
        "\n".join(_by_size(told)),
        "\n".join(_by_grade(told)),
        "\n".join(_by_event(told)),
        "\n".join(_disturbed(told)),
        "\n".join(_new_events(told)),
        "\n".join(_variants(cards)),
        LIMITS,
    )
    return "\n".join(f"{section.rstrip()}\n" for section in sections)


def summary(cards: Mapping[str, Card]) -> str:
    """Return the four figures of the README as a table."""
    told = [cards[name] for name in MODELS]
    pairs = number(at(told[0], "test", "pairs"), "{:,.0f}")
    rows = [
        ("buildings found", *(percent(at(c, "test", "recall_iou50")) for c in told)),
        (
            "polygons that match a building",
            *(percent(at(c, "test", "precision_iou50")) for c in told),
        ),
        (
            "agreement of grades (kappa), footprints given",
            *(number(at(c, "test", "footprints_quadratic_kappa")) for c in told),
        ),
        ("the same on a new event, small test networks", *(_range_of_events(c) for c in told)),
    ]
    heads = (f"{pairs} xBD pairs of places not trained on", *(f"`{name}`" for name in MODELS))
    return "\n".join(table(heads, rows)) + "\n"


def with_summary(text: str, summary: str) -> str:
    """Return the text of the README with another table of figures."""
    changed, count = SUMMARY.subn(lambda _: summary, text)
    if count != 1:
        raise SystemExit(f"README.md has {count} tables of figures; leave one")
    return changed


def _range_of_events(card: Card) -> str:
    found = [
        row["footprints_quadratic_kappa"]
        for row in _rows(card, "events_not_learnt_from").values()
        if row.get("footprints_quadratic_kappa") is not None
    ]
    return f"{number(min(found))} to {number(max(found))}" if found else NOT_MEASURED


def _models(cards: Mapping[str, Card]) -> Iterator[str]:
    yield "## The models\n"
    files = {name: path.stat().st_size for name, path in bundled_models().items()}
    yield from table(
        ("model", "version", "precision", "MB", "metres per pixel", "licence"),
        [
            (f"`{n}`", c.version, c.precision, f"{files[n] / 1e6:.1f}",
             f"{c.gsd_min:g} to {c.gsd_max:g}, trained at {c.gsd_native:g}", c.licence)
            for n, c in cards.items()
        ],
    )  # fmt: skip
    for name in MODELS:
        yield f"\n`{name}` learnt from:\n"
        parts = re.split(r"; (?![^(]*\))", cards[name].training_data)  # not inside brackets
        yield from (f"- {part}" for part in parts)


def _held_out(cards: Mapping[str, Card]) -> Iterator[str]:
    yield "## Places that were not trained on\n"
    for name, card in cards.items():
        yield f"- `{name}`, {card.scores.get('date')}: {card.scores.get('data')}."
        yield f"  Printed by `{card.scores.get('command')}`."
    yield "\nThe models know the events of these places. [A new event](#a-new-event) costs more.\n"
    yield from table(
        ("figure", *(f"`{name}`" for name in cards)),
        [
            *(
                (key, *(number(at(c, "test", key), "{:,.0f}") for c in cards.values()))
                for key in ("pairs", "buildings")
            ),
            *(
                (words, *(_shown(at(c, "test", key)) for c in cards.values()))
                for key, words in FIGURES.items()
            ),
        ],
    )


def _by_size(cards: Mapping[str, Card]) -> Iterator[str]:
    yield "## By size of the building\n"
    yield "The share of the labelled buildings that is found, on the same pairs.\n"
    yield from table(
        ("size", *(f"`{name}`" for name in cards)),
        [
            (words, *(number(at(c, "test", "recall_by_size_m2", key)) for c in cards.values()))
            for key, words in SIZES.items()
        ],
    )


def _by_grade(cards: Mapping[str, Card]) -> Iterator[str]:
    yield "## By grade\n"
    yield "F1 of each grade on the same pairs, with the label polygons given as footprints.\n"
    yield from table(
        ("grade", *(f"`{name}`" for name in cards)),
        [
            (
                grade.label,
                *(
                    number(at(card, "test", "footprints_f1_per_grade", grade.label))
                    for card in cards.values()
                ),
            )
            for grade in GRADES
        ],
    )


def _by_event(cards: Mapping[str, Card]) -> Iterator[str]:
    yield "## By event\n"
    yield "The same pairs, each event apart. Events with few buildings tell little.\n"
    kinds = {
        "recall_iou50": "found",
        "quadratic_kappa": "kappa, found",
        "footprints_quadratic_kappa": "kappa, footprints",
    }
    columns = [(name, key) for key in kinds for name in cards]
    events = at(next(iter(cards.values())), "test_per_event") or {}
    yield from table(
        ("event", "buildings", *(f"{kinds[key]}: `{name}`" for name, key in columns)),
        [
            (event, number(facts.get("buildings"), "{:,.0f}"),
             *(number(at(cards[name], "test_per_event", event, key)) for name, key in columns))
            for event, facts in events.items()
        ],
    )  # fmt: skip


def _disturbed(cards: Mapping[str, Card]) -> Iterator[str]:
    yield "## Shifted and coarser images\n"
    yield "`python -m benchmarks.robustness` shifts the post image, or makes both coarser.\n"
    keys = {
        "xview2_score": "xView2 score",
        "footprints_quadratic_kappa": "kappa, footprints",
    }
    columns = [(name, key) for key in keys for name in cards]
    rows = _rows(next(iter(cards.values())), "robustness")
    yield from table(
        ("images", *(f"{keys[key]}: `{name}`" for name, key in columns)),
        [
            (what, *(number(at(cards[n], "robustness", what, key), "{:.3f}") for n, key in columns))
            for what in rows
        ],
    )


def _new_events(cards: Mapping[str, Card]) -> Iterator[str]:
    yield "## A new event\n"
    card = next(iter(cards.values()))
    yield (
        "The bundled models know all six events, so other networks measured a new event, by\n"
        "`python -m benchmarks.events`. Networks of the design of `fast` learnt from the other\n"
        "events, without a teacher and for a third of its time. The figures are theirs, not those\n"
        "of the bundled models. Intervals are of 95 %, by resampling pairs. The last column\n"
        "grades by the difference of pixels, without a network.\n"
    )
    yield from table(
        ("event left out", "pairs", "localization F1", "kappa, footprints", "by pixels"),
        [
            (event, number(facts.get("pairs"), "{:,.0f}"), number(facts.get("pixel_f1_building")),
             f"{number(facts.get('footprints_quadratic_kappa'))} "
             f"({_shown(facts.get('footprints_quadratic_kappa_95'))})",
             number(facts.get("by_pixel_difference_kappa")))
            for event, facts in _rows(card, "events_not_learnt_from").items()
        ],
    )  # fmt: skip
    yield (
        "\nThese networks had a last round with [damage drawn over real buildings]"
        "(../training/EXPERIMENTS.md#damage-drawn-over-real-buildings).\n"
        "Fire is graded best, with a kappa of 0.66. In places of that fire the bundled models,\n"
        "which know it, have above 0.9. Mud and the flood of the Midwest have 0.46 and 0.48, from\n"
        "few damaged buildings, and wind has 0.26. The flood in Florence and the earthquake are\n"
        'graded no better than by the answer "no damage".'
    )


def _parities(cards: Mapping[str, Card]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the parity of each variant, and of each model that may be computed in bfloat16."""
    for name, card in cards.items():
        if "agreement" in card.parity:
            yield f"`{name}`", card.parity
        if "bfloat16" in card.parity:
            yield f"`{name}` in bfloat16", card.parity["bfloat16"]


def _variants(cards: Mapping[str, Card]) -> Iterator[str]:
    yield "## Variants of lower precision\n"
    yield "[optimise.md](optimise.md) tells how they are made. Losses are points of F1.\n"
    losses = {
        "localization_f1": "localization",
        "damage_f1": "damage",
        "score": "xView2 score",
        "detection_f1": "found buildings",
    }
    yield from table(
        ("variant", "of", "pairs", "buildings", "same grade", *losses.values()),
        [
            (name, f"`{parity.get('parent')}`",
             number(parity.get("pairs"), "{:,.0f}"),
             number(parity.get("buildings"), "{:,.0f}"),
             percent(parity.get("agreement"), "{:.2f} %"),
             *(number(_of(parity, key, "loss_points")) for key in losses))
            for name, parity in _parities(cards)
        ],
    )  # fmt: skip


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table, a string a line."""
    rule = "|".join("---" for _ in heads)
    return [_row(heads), f"|{rule}|", *map(_row, rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def at(card: Card, *keys: str) -> Any:
    """Return what the scores of a card hold under these keys; None where they hold nothing."""
    return _of(card.scores, *keys)


def _of(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _rows(card: Card, key: str) -> dict[str, Mapping[str, Any]]:
    """Return the tables below a key of a card's scores, without its date and notes."""
    found = at(card, key) or {}
    return {name: row for name, row in found.items() if isinstance(row, Mapping)}


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) == 2:
        return f"{number(value[0])} to {number(value[1])}"
    return number(value)


def number(value: Any, form: str = "{:.2f}") -> str:
    """Return a number in words of a table; what a card does not have is `n/a`."""
    return NOT_MEASURED if value is None else form.format(value).replace("-0.00", "0.00")


def percent(value: Any, form: str = "{:.0f} %") -> str:
    """Return a share in percent."""
    return NOT_MEASURED if value is None else form.format(100 * value)


if __name__ == "__main__":
    main()
