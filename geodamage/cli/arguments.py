"""What several commands take alike: their options, and how the words of these are read."""

from pathlib import Path
from typing import Any

import click

from geodamage.errors import OptionError

#: A path; whether it can be used is for the library to say, in its own words and exit codes.
FILE = click.Path(path_type=Path, readable=False)

# Decorators, each as several commands use it; `--help` lists them in the order of the command.
model = click.option(
    "--model",
    default="fast",
    show_default=True,
    metavar="NAME|PATH",
    help="A bundled model, a .onnx file or an ensemble's .toml.",
)
device = click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Where it runs: auto, cpu, cuda[:N], tensorrt[:N], openvino.",
)
flips = click.option(
    "--tta",
    type=click.Choice(["none", "flips"]),
    default="none",
    show_default=True,
    help="Average over mirror images; four times the work.",
)
footprints = click.option(
    "--footprints",
    type=FILE,
    metavar="FILE",
    help="Grade these polygons instead of finding buildings.",
)
id_field = click.option(
    "--id-field", metavar="NAME", help="Field of the footprints with their identity."
)
aoi = click.option(
    "--aoi", type=FILE, metavar="FILE", help="Report only what lies in these polygons."
)
bands = click.option("--bands", metavar="N,N,N", help="Channels of both images, counted from 1.")
scale = click.option(
    "--scale",
    metavar="MIN,MAX",
    help="Values that become 0 and 255; for imagery that is not 8-bit.",
)
min_area = click.option(
    "--min-area",
    type=float,
    default=20.0,
    show_default=True,
    metavar="M2",
    help="Smallest building.",
)
ids_from = click.option(
    "--ids-from",
    type=FILE,
    metavar="RESULT",
    help="An earlier result: a building that overlaps one of it by more than half takes over its "
    "building_id.",
)
simplify = click.option(
    "--simplify",
    type=float,
    default=0.0,
    show_default=True,
    metavar="METRES",
    help="Simplify polygons by this tolerance.",
)
tile = click.option(
    "--tile",
    type=click.IntRange(min=1),
    metavar="PIXELS",
    help="Window size; the result does not depend on it.",
)
batch_size = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Windows a call of the model.",
)
threads = click.option(
    "--threads",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Of inference; all processors unless given.",
)
memory = click.option(
    "--memory",
    default="1.5GB",
    show_default=True,
    metavar="SIZE",
    help="Memory that the work is planned for.",
)
allow_remote = click.option("--allow-remote", is_flag=True, help="Read http(s) and s3 URLs.")
overwrite = click.option("--overwrite", is_flag=True, help="Replace results that are there.")
progress = click.option(
    "--progress",
    type=click.Choice(["auto", "json"]),
    default="auto",
    show_default=True,
    help="json: one object a line on stderr, for programs.",
)
quiet = click.option("-q", "--quiet", is_flag=True, help="Say nothing but errors.")
verbose = click.option("-v", "--verbose", is_flag=True, help="Say more.")


def _numbers(text: str | None, option: str, kind: type) -> tuple[Any, ...] | None:
    if text is None:
        return None
    try:
        return tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise OptionError(f"{option} {text}: not numbers separated by commas") from error


def parse_bands(text: str | None, option: str = "--bands") -> tuple[int, ...] | None:
    """Return the numbers of `N,N,N`."""
    return _numbers(text, option, int)


def parse_scale(text: str | None, option: str = "--scale") -> tuple[float, float] | None:
    """Return the two numbers of `MIN,MAX`."""
    numbers = _numbers(text, option, float)
    if numbers is not None and (len(numbers) != 2 or not numbers[0] < numbers[1]):
        raise OptionError(f"{option} {text}: give MIN,MAX with MIN below MAX")
    return numbers


def parse_memory(text: str) -> float:
    """Return bytes of a size like `1.5GB`, `800MB` or `2e9`."""
    units = {"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "B": 1.0}
    upper = text.strip().upper()
    unit = next((u for u in units if upper.endswith(u)), "")
    try:
        size = float(upper.removesuffix(unit)) * units.get(unit, 1.0)
    except ValueError as error:
        raise OptionError(f"--memory {text}: not a size; write 1.5GB or 800MB") from error
    if not 0 < size < 1e15:
        raise OptionError(f"--memory {text}: not a size; write 1.5GB or 800MB")
    return size
