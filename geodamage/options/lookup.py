"""What is made from the table: the options of a command, the columns of a list, and the checks."""

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from geodamage.options.option import Option
from geodamage.options.table import TABLE

#: By the name of a dataclass, the command in whose words its values are refused.
TAKERS: Mapping[str, str] = {
    "Job": "assess",
    "SceneOptions": "assess",
    "BuildingOptions": "assess",
    "LocalisationJob": "buildings",
    "BatchJob": "batch",
    "EvaluationJob": "evaluate",
    "ReportOptions": "report",
    "Words": "report",
    "SampleOptions": "sample",
    "EstimateOptions": "estimate",
    "ExportOptions": "export",
    "CompareOptions": "compare",
    "ScoringOptions": "score",
    "OptimisationJob": "models optimise",
    "TimingJob": "models bench",
}


def options_of(command: str) -> Iterator[Option]:
    """Yield the options of a command, such as `assess` or `models bench`, as its help has them."""
    for row in TABLE:
        if option := row.at(command):
            yield option


def columns() -> dict[str, Option]:
    """Return what a list may give for a scene alone, by name: what `assess` takes."""
    return {option.name: option for option in options_of("assess") if option.column}


def commands() -> list[str]:
    """Return the commands that take options."""
    return sorted({command for row in TABLE for command in row.where})


def check(name: str, value: Any, command: str = "assess") -> Any:
    """Return the value of an option as those take it who use it.

    Parameters
    ----------
    name
        Name of the option.
    value
        A text, as on a command line, or the value itself: `"2GB"` or `2e9`.
    command
        Command of the option; few commands differ.

    Raises
    ------
    OptionError
        If it makes no sense, in the words of the command: `--tta x: unknown; give none or flips`.
    KeyError
        If there is no such option.
    """
    return {option.name: option for option in options_of(command)}[name].check(value)


def check_fields(job: Any) -> None:
    """Check the fields of a dataclass that take options, and put what was read in their place.

    It is for `__post_init__`, and works on frozen ones.

    Raises
    ------
    OptionError
        If a value makes no sense.
    """
    taker = type(job).__name__
    there = {field.name: field.default for field in fields(job)}  # of most; others need a value
    for option in options_of(TAKERS[taker]):
        field = option.field_of(taker)
        if field is None:
            continue
        value = getattr(job, field)
        if value is not None or there[field] is not None:
            object.__setattr__(job, field, option.read(value))


def taken(taker: str, command: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass that the options of a command fill.

    Parameters
    ----------
    taker
        Name of the dataclass.
    command
        Command that takes the options.
    values
        What was given, by what the command calls it.
    """
    found = {option.field_of(taker): option.key for option in options_of(command)}
    return {field: values[key] for field, key in found.items() if field and key in values}


def as_dict() -> dict[str, Any]:
    """Return the table as JSON knows it: the options of each command, and the columns of a list."""
    return {
        "commands": {
            command: [option.facts() for option in options_of(command)] for command in commands()
        },
        "columns": list(columns()),
    }
