"""What benchmarks on a part of a split have alike: their arguments, and how they print."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from geodamage.errors import GeodamageError
from geodamage.scores.evaluation import EvaluationJob


def parser_of(about: str | None) -> argparse.ArgumentParser:
    """Return a parser of a split, models, `--data` and `--part`.

    Parameters
    ----------
    about
        Docstring of the benchmark.
    """
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("split", type=Path)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--part", default="test")
    return parser


def job_of(options: argparse.Namespace) -> EvaluationJob:
    """Return the pairs that the arguments name."""
    return EvaluationJob(folder=options.data, split=options.split, part=options.part)


def show(parser: argparse.ArgumentParser, name: str, lines: Iterable[str]) -> None:
    """Print lines as they come; end with one line where something is refused."""
    try:
        for line in lines:
            print(line, flush=True)
    except GeodamageError as error:
        parser.exit(error.exit_code, f"benchmarks.{name}: error: {error}\n")
