"""Jobs: what a run is told, how far it is, and what comes of it."""

import inspect
import tempfile
import textwrap
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any, Generic, TypeVar

import geopandas as gpd
from pyproj import CRS

from geodamage.buildings.finding import BuildingOptions
from geodamage.errors import OptionError
from geodamage.fields import FIELDS, Field, conform, empty_frame
from geodamage.model.loading import DEFAULT_MODEL
from geodamage.options.lookup import check_fields, options_of, taken
from geodamage.options.option import Option
from geodamage.output.layers import read_layer
from geodamage.scene.options import SceneOptions, options_given
from geodamage.words import counted
from geodamage.work import Work

Source = str | PathLike[str] | Sequence[str | PathLike[str]]

#: Share of hidden ground or buildings from which it is said.
WORTH_SAYING = 0.05


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What every run is told, whatever it looks for; `Job` and `LocalisationJob` say it all."""

    output: Path
    model: str | PathLike[str] = DEFAULT_MODEL
    device: str = "auto"
    threads: int = 0
    engine: str = "auto"
    precision: str = "auto"
    tta: str = "none"
    raster: Path | None = None
    probabilities: Path | None = None
    scene: SceneOptions = field(default_factory=SceneOptions)
    buildings: BuildingOptions = field(default_factory=BuildingOptions)
    tile: int | None = None
    batch_size: int = 1
    memory: float | str = 1.5e9
    date: str | None = None
    ids_from: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_fields(self)
        if self.raster is not None and self.raster == self.probabilities:
            raise OptionError(
                f"--raster and --probabilities are both {self.raster}; give two names"
            )


@dataclass(frozen=True)
class Progress:
    """The progress of a run.

    Attributes
    ----------
    stage
        `open`, `predict`, `write` or `done`.
    done, total
        Pixels of the region that are finished, and all of them.
    buildings
        Number of buildings found so far.
    message
        A line for the user, or None; `warning` says whether it is a warning.
    """

    stage: str
    done: int = 0
    total: int = 0
    buildings: int = 0
    message: str | None = None
    warning: bool = False


@dataclass
class Coverage(ABC):
    """How much was seen, and what came of it, whatever was looked for.

    Attributes
    ----------
    statuses
        Buildings by status.
    reasons
        Buildings that are not graded, by why.
    seen_pixels, pixels, pixel_area
        Pixels that all images show, those asked for, and the ground area of one, m².
    hidden_pixels
        Pixels in which cloud, smoke, fill or what the user named hides the ground, by the image.
    seconds
        From the first read to the last write.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    hidden_pixels: Counter[str] = field(default_factory=Counter)
    seen_pixels: int = 0
    pixels: int = 0
    pixel_area: float = 0.0
    seconds: float = 0.0

    @property
    def assessed_km2(self) -> float:
        """Ground that all images show, km²."""
        return self.seen_pixels * self.pixel_area / 1e6

    @property
    def buildings(self) -> int:
        """All buildings that came out."""
        return sum(self.statuses.values())

    @property
    def hidden_buildings(self) -> int:
        """Buildings that are not graded because something hides the ground."""
        return sum(self.reasons[f"obscured_{role}"] for role in ("pre", "post"))

    def obscured(self) -> dict[str, float]:
        """Return the shares of ground, by the image, and of buildings that are hidden, 0-1."""
        ground = {
            f"ground_{role}": round(self.hidden_pixels[role] / max(self.pixels, 1), 4)
            for role in ("pre", "post")
        }
        return ground | {"buildings": round(self.hidden_buildings / max(self.buildings, 1), 4)}

    def doubts(self) -> list[str]:
        """Return what a user should know of what was found, a line each."""
        shares = self.obscured()
        if max(shares.values()) < WORTH_SAYING:
            return []
        return [
            f"cloud, smoke or fill hides {shares['ground_pre']:.1%} of the ground in pre and "
            f"{shares['ground_post']:.1%} in post; {self.hidden_buildings:,} of "
            f"{counted(self.buildings, 'building is', 'buildings are')} not assessed for it"
        ]

    def remarks(self) -> list[str]:
        """Return what is worth a line, and is no doubt."""
        return []

    @abstractmethod
    def add(self, frame: gpd.GeoDataFrame) -> None:
        """Count some buildings."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Return the figures for the sidecar."""


S = TypeVar("S", bound=Coverage)


@dataclass(frozen=True, eq=False, repr=False)
class Result(Generic[S]):
    """The outcome of a run.

    Attributes
    ----------
    buildings
        GeoDataFrame with a row for each building, in the scene's CRS. The columns are those of the
        file. It is read from `output` when it is first asked for, or is in memory without a file.
    summary
        The figures of the run.
    facts
        The content of the sidecar.
    warnings
        What a user should know, a line each.
    output
        The file with the buildings; None where nothing was written.
    """

    summary: S
    facts: dict[str, Any]
    output: Path | None
    crs: CRS
    fields: tuple[Field, ...] = FIELDS
    frame: gpd.GeoDataFrame | None = None

    @cached_property
    def buildings(self) -> gpd.GeoDataFrame:
        """A row for each building, in the scene's CRS.

        Raises
        ------
        InputError
            If the file of the result is not there any more.
        """
        if self.frame is not None:
            return self.frame
        frame = empty_frame(self.crs, self.fields)
        if self.output is not None and self.summary.buildings:
            frame = conform(read_layer(self.output), self.crs, self.fields)
        return frame

    @property
    def warnings(self) -> list[str]:
        """What a user should know, a line each."""
        return list(self.facts["warnings"])

    def held(self) -> "Result[S]":
        """Return the result with its buildings in memory, so that it needs no file."""
        return replace(self, frame=self.buildings, output=None)

    def __repr__(self) -> str:
        found, km2 = counted(self.summary.buildings, "building"), self.summary.assessed_km2
        doubts = f", {counted(len(self.warnings), 'warning')}" if self.warnings else ""
        where = "in memory" if self.output is None else f"in {self.output}"
        return f"<Result: {found} on {km2:.3f} km²{doubts}, {where}>"


def run_at_once(
    begin: Callable[[Path], Work[Progress, Result[S]]],
    output: str | PathLike[str] | None,
    progress: Callable[[Progress], object] | None,
) -> Result[S]:
    """Do work to its end and return what came of it.

    Parameters
    ----------
    begin
        Returns the work that writes a file of this name.
    output
        The file; without one the buildings are kept in memory, and wait in a folder for the time
        being until all are found.
    progress
        Called with each step.
    """
    if output is None:
        with tempfile.TemporaryDirectory(prefix="geodamage-") as folder:
            return _followed(begin(Path(folder) / "buildings.gpkg"), progress).held()
    return _followed(begin(Path(output)), progress)


def _followed(
    work: Work[Progress, Result[S]], progress: Callable[[Progress], object] | None
) -> Result[S]:
    with work:
        for step in work:
            if progress is not None:
                progress(step)
    return work.result()


#: Dataclasses whose fields the options of a call fill, beside the job itself.
_PARTS = ("SceneOptions", "BuildingOptions")


def call_options(command: str, job: str) -> dict[str, Option]:
    """Return what a call from Python may be given, by name: the options that a result depends on.

    Parameters
    ----------
    command
        That does the same.
    job
        Name of its dataclass.
    """
    return {
        option.key: option
        for option in options_of(command)
        if option.key != "output" and any(option.field_of(taker) for taker in (job, *_PARTS))
    }


def call_values(command: str, job: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of all options of a call, read as the command reads them.

    Parameters
    ----------
    command, job
        The same as of `call_options`.
    given
        Values by name; of the other options the default is taken.

    Raises
    ------
    TypeError
        If there is not one of that name.
    OptionError
        If a value makes no sense.
    """
    known = call_options(command, job)
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
            raise TypeError(f"no option is called {name!r}{hint}")
    return {name: option.check(given.get(name, option.default)) for name, option in known.items()}


def job_fields(command: str, job: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a job that the options of its command or a call fill.

    Parameters
    ----------
    command, job
        The same as of `call_options`.
    values
        Values of all options, by name.
    """
    return {
        **taken(job, command, values),
        "scene": options_given(command, values),
        "buildings": BuildingOptions(**taken("BuildingOptions", command, values)),
    }


def refuse_beside_job(given: dict[str, Any]) -> None:
    """Refuse what is given beside a job, which says everything itself.

    Raises
    ------
    TypeError
        If anything is.
    """
    for name, value in given.items():
        if value is not None:
            raise TypeError(f"a job says everything itself; give it {name}")


F = TypeVar("F", bound=Callable[..., Any])


def with_options(command: str, job: str) -> Callable[[F], F]:
    """Give a function the options of a command in its signature and its documentation.

    Parameters
    ----------
    command, job
        The same as of `call_options`.
    """

    def documented(function: F) -> F:
        options = call_options(command, job)
        signature = inspect.signature(function)
        kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
        added = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=option.default)
            for name, option in options.items()
        ]
        function.__signature__ = signature.replace(parameters=[*kept, *added])  # type: ignore[attr-defined]
        rows = "\n".join(map(_row, options.values()))
        function.__doc__ = inspect.cleandoc(function.__doc__ or "").replace("OPTIONS", rows)
        return function

    return documented


def _row(option: Option) -> str:
    """Return what numpydoc says of a parameter."""
    about = option.kind.facts().get("choices") or [option.unit or ""]
    head = f"{option.key} : {' or '.join(about)}" if any(about) else option.key
    return "\n    ".join([head, *textwrap.wrap(option.help, 92)])
