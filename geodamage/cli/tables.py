"""Tables of scores for people, on stdout."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click

from geodamage.damage import GRADES
from geodamage.words import counted

#: What stands where a figure is not defined.
NOT_DEFINED = "n/a"
_CLASS_ABSENT = "not defined: class absent"
_LABELS = [grade.label for grade in GRADES]


def print_scores(report: Mapping[str, Any]) -> None:
    """Print the figures of a set of images.

    Parameters
    ----------
    report
        What `--json` prints; `geodamage.scores.metrics` says its form.
    """
    sections = [_headline(report), _classes(report)]
    for name, section in _SECTIONS.items():
        if report.get(name) is not None:
            sections.append(section(report[name]))
    click.echo("\n\n".join("\n".join(section) for section in sections))


def print_footprint_scores(report: Mapping[str, Any]) -> None:
    """Print the figures of buildings without grades.

    Parameters
    ----------
    report
        What `geodamage score --buildings --json` prints.
    """
    pixels, found = report["pixels"], report["buildings"]
    rows = [["", "F1", "precision", "recall", "TP", "FN", "FP"]]
    for name, rates in (("by pixel", pixels), ("by building", found)):
        shares = [_rate(rates[key]) for key in ("f1", "precision", "recall")]
        rows.append([name, *shares, *(f"{rates[key]:,}" for key in ("tp", "fn", "fp"))])
    lines = [
        f"Jaccard {_rate(report['jaccard'])} by pixel",
        *align(rows, right=set(range(1, 7))),
        f"buildings match from IoU {found['iou']}; images: {report['images']:,}",
    ]
    click.echo("\n".join(lines))


def _headline(report: Mapping[str, Any]) -> list[str]:
    rows = [
        ["xView2 score", _rate(report["score"]), "0.3 localization F1 + 0.7 damage F1"],
        ["localization F1", _rate(report["localization_f1"]), ""],
        ["damage F1", _rate(report["damage_f1"]), "harmonic mean of the four grades"],
    ]
    absent = [name for name in _LABELS if not report["classes"][name]["defined"]]
    if absent:
        rows[0][2] = "says nothing here: damage F1 collapses"
        rows[2][2] = f"collapses: the targets have no {', '.join(absent)}"
        rows.append(["", _rate(report["damage_f1_defined"]), "over the grades that occur"])
    lines = align(rows, right={1})
    for name in ("images", "pairs"):
        if name in report:
            lines.append(f"{name}: {report[name]:,}")
    if report.get("official") is False:
        lines.append(f"not the official score: {report['official_reason']}")
    return lines


def _classes(report: Mapping[str, Any]) -> list[str]:
    rows = [["by pixel", "F1", "precision", "recall", "TP", "FN", "FP"]]
    for name, rates in report["classes"].items():
        counts = report["counts"][name]
        rows.append(
            [
                name,
                *(_rate(rates[key]) for key in ("f1", "precision", "recall")),
                *(f"{counts[key]:,}" for key in ("tp", "fn", "fp")),
                "" if rates["defined"] else _CLASS_ABSENT,
            ]
        )
        if not rates["defined"]:
            rows[-1][1] = NOT_DEFINED
    return align(rows, right=set(range(1, 7)))


def _buildings(figures: Mapping[str, Any]) -> list[str]:
    found = figures["detection"]
    unit = f"; {figures['unit']}" if "unit" in figures else ""
    shares = ", ".join(f"{key} {_rate(found[key])}" for key in ("precision", "recall"))
    lines = [
        f"by building, IoU from {figures['iou']}{unit}",
        f"detection F1 {_rate(found['f1'])}, {shares}: {found['tp']:,} found of "
        f"{found['truth']:,}, {found['fp']:,} spurious",
        "",
        *_building_grades(figures),
        f"accuracy {_rate(figures['accuracy'])}, quadratic kappa "
        f"{_rate(figures['quadratic_kappa'])}, of matched buildings",
        f"{NOT_DEFINED}: fewer than {figures['minimum']} buildings in truth, or none; "
        "means are over the others",
        "",
        *_confusion(figures),
        *_sizes(figures.get("sizes", [])),
    ]
    return [*lines, *_without_grade(figures["without_grade"])]


def _sizes(ranges: Sequence[Mapping[str, Any]]) -> list[str]:
    if not ranges:
        return []
    rows = [["m²", "in truth", "found", "recall"]]
    for row in ranges:
        end = "and more" if row["high"] is None else f"to {row['high']:,.0f}"
        counts = f"{row['truth']:,}", f"{row['found']:,}"
        rows.append([f"{row['low']:,.0f} {end}", *counts, _rate(row["recall"])])
    return ["", *align(rows, right={1, 2, 3})]


def _without_grade(counts: Mapping[str, int]) -> list[str]:
    words = {
        "matched_truth": "matched, none in truth",
        "matched_prediction": "matched, none predicted",
        "missed": "missed",
        "spurious": "spurious",
    }
    said = [f"{counts[key]:,} {text}" for key, text in words.items() if counts[key]]
    return [f"without a grade: {'; '.join(said)}"] if said else []


def _building_grades(figures: Mapping[str, Any]) -> list[str]:
    keys = ("f1_matched", "f1_end_to_end")
    rows = [["", "in truth", "matched", "F1 matched", "F1 end to end"]]
    for name, rates in {**figures["grades"], "damaged": figures["damaged"]}.items():
        counts = (f"{rates[key]:,}" for key in ("truth", "matched"))
        rows.append([name, *counts, *(_rate(rates[key]) for key in keys)])
    rows.append(["macro mean", "", "", *(_rate(figures[f"macro_{key}"]) for key in keys)])
    return align(rows, right={1, 2, 3, 4})


def _confusion(figures: Mapping[str, Any]) -> list[str]:
    rows = [["truth \\ predicted", *_LABELS, "missed"]]
    for name, counts in zip(_LABELS, figures["confusion"], strict=True):
        rows.append([name, *(f"{n:,}" for n in counts), f"{figures['missed'][name]:,}"])
    rows.append(["spurious", *(f"{figures['spurious'][name]:,}" for name in _LABELS), ""])
    return align(rows, right=set(range(1, 6)))


def _footprints(figures: Mapping[str, Any]) -> list[str]:
    rows = [["", "in truth", "F1"]]
    for name, rates in {**figures["grades"], "damaged": figures["damaged"]}.items():
        rows.append([name, f"{rates['truth']:,}", _rate(rates["f1"])])
    rows.append(["macro mean", "", _rate(figures["macro_f1"])])
    lines = [
        f"by building, footprints given; {figures['unit']}",
        *align(rows, right={1, 2}),
        f"accuracy {_rate(figures['accuracy'])}, "
        f"quadratic kappa {_rate(figures['quadratic_kappa'])}",
    ]
    if figures.get("calibration"):
        lines += ["", *_calibration(figures["calibration"])]
    return lines


def _calibration(figures: Mapping[str, Any]) -> list[str]:
    rows = [["confidence from", "to", "buildings", "mean", "right"]]
    for cell in figures["reliability"]:
        if cell["buildings"]:
            edges = (f"{cell[key]:.2f}" for key in ("low", "high"))
            means = (_rate(cell[key]) for key in ("confidence", "accuracy"))
            rows.append([*edges, f"{cell['buildings']:,}", *means])
    return [
        f"calibration of {counted(figures['buildings'], 'building')}: expected error "
        f"{_rate(figures['ece'])}; damaged or not: Brier score {_rate(figures['brier'])}, "
        f"skill {_rate(figures['brier_skill'])}",
        *(align(rows, right=set(range(5))) if len(rows) > 1 else []),
    ]


def _intervals(figures: Mapping[str, Sequence[float | None]]) -> list[str]:
    rows = [["95 % interval", "low", "high"]]
    rows += [[name, *map(_rate, ends)] for name, ends in figures.items()]
    return align(rows, right={1, 2})


def _events(events: Mapping[str, Mapping[str, Any]]) -> list[str]:
    header = ["event", "images", "score", "localization", "damage", *_LABELS, "buildings", "kappa"]
    rows = [header, *(_event(name, report) for name, report in events.items())]
    return [
        *align(rows, right=set(range(1, len(header)))),
        "F1 by pixel, of buildings by detection; damage over the grades that occur; "
        f"{NOT_DEFINED}: class absent, so that the event has no score",
    ]


def _event(name: str, report: Mapping[str, Any]) -> list[str]:
    classes, buildings = report["classes"], report.get("buildings")
    grades = [classes[label]["f1"] if classes[label]["defined"] else None for label in _LABELS]
    return [
        name,
        f"{report.get('images', report.get('pairs', 0)):,}",
        _rate(None if None in grades else report["score"]),
        _rate(report["localization_f1"] if classes["localization"]["defined"] else None),
        _rate(report["damage_f1_defined"]),
        *map(_rate, grades),
        _rate(buildings["detection"]["f1"] if buildings else None),
        _rate(buildings["quadratic_kappa"] if buildings else None),
    ]


#: Optional parts of a report, in the order in which they are printed.
_SECTIONS: Mapping[str, Callable[[Any], list[str]]] = {
    "buildings": _buildings,
    "calibration": _calibration,
    "footprints": _footprints,
    "interval_95": _intervals,
    "events": _events,
}


def _rate(value: float | None) -> str:
    return NOT_DEFINED if value is None else f"{value:.4f}"


def align(rows: Iterable[Sequence[str]], *, right: set[int]) -> list[str]:
    """Pad cells to columns two blanks apart; `right` are those of numbers."""
    rows = list(rows)
    columns = max(map(len, rows))
    widths = [max(len(row[i]) for row in rows if i < len(row)) for i in range(columns)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        for row in rows
    ]
