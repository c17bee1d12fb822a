# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines of the tool, from what the user filled in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geodamage_qgis.errors import PluginError
from geodamage_qgis.translation import tr

#: Extensions of results, as `geodamage assess --output` takes them.
VECTOR_EXTENSIONS = (".gpkg", ".geojson", ".geojsonl", ".fgb", ".parquet", ".shp")
#: The one whose names are cut to ten letters: QGIS can show it, but not review it.
SHAPEFILE = ".shp"
#: Choices of the tool, the default first.
TTA_CHOICES = ("none", "flips", "enlarged")
BUILDINGS_TTA_CHOICES = ("none", "flips", "full", "enlarged")
VOTE_CHOICES = ("probabilities", "pixels")
SENSOR_CHOICES = ("optical", "sar")
REGISTRATION_CHOICES = ("measure", "apply", "off")
OBSCURED_CHOICES = ("on", "off")
ENGINE_CHOICES = ("auto", "onnxruntime", "openvino")
UNCLASSIFIED_CHOICES = ("undrawn", "no-damage", "own", "ignore")


@dataclass(frozen=True)
class AssessParameters:
    """What `geodamage assess` is asked for; None and False leave an option to the tool.

    Attributes
    ----------
    pre, post
        Images before and after: each a path, or the paths of a mosaic's tiles, the top one first.
    output
        Result; its extension chooses the format.
    model
        Name, or path of a model or ensemble.
    footprints, id_field, keep, skip_broken
        Polygons to grade instead of finding buildings. Also the field with their identity, the
        attributes that come with the result, and whether broken ones are left out.
    aoi
        Polygons; only what lies in them is reported.
    device
        `auto`, `cpu`, `cuda` or `cuda:N`.
    tta, vote
        One of `TTA_CHOICES` and `VOTE_CHOICES`.
    post_sensor
        What took the image after, one of `SENSOR_CHOICES`; with `sar`, bands and scale are of the
        image before alone.
    registration, obscured
        One of `REGISTRATION_CHOICES` and `OBSCURED_CHOICES`.
    pre_unusable, post_unusable, unusable_band
        Rasters or polygons of what is unusable in each image, and the band of such rasters.
    seen_share
        Share of a building that both images must show for a grade.
    nodata, post_nodata
        Value of pixels without data, of both images or of the one after alone.
    ids_from
        Earlier result, whose identities are taken over.
    raster, probabilities, report, features
        Files to be written, too: grades (.tif), probabilities (.tif), a page (.html), what an
        event model learns from (.npz).
    engine
        What computes on the processor, one of `ENGINE_CHOICES`.
    bands
        Channels of both images for red, green and blue, counted from 1.
    scale
        Values that become 0 and 255.
    min_area
        Smallest building, m².
    simplify
        Tolerance, metres.
    regularise
        Give buildings right-angled outlines where these fit.
    tile
        Window size, pixels.
    batch_size
        Windows per model call.
    threads
        Of inference; 0 for all processors.
    memory
        As `1.5GB`.
    allow_remote
        Read http(s), s3, gs and az addresses.
    overwrite
        Replace results that are there.
    """

    pre: str | Sequence[str]
    post: str | Sequence[str]
    output: str
    model: str | None = None
    footprints: str | None = None
    id_field: str | None = None
    keep: str | None = None
    skip_broken: bool = False
    aoi: str | None = None
    device: str | None = None
    tta: str | None = None
    vote: str | None = None
    post_sensor: str | None = None
    registration: str | None = None
    obscured: str | None = None
    pre_unusable: str | None = None
    post_unusable: str | None = None
    unusable_band: int | None = None
    seen_share: float | None = None
    nodata: float | None = None
    post_nodata: float | None = None
    ids_from: str | None = None
    raster: str | None = None
    probabilities: str | None = None
    report: str | None = None
    features: str | None = None
    engine: str | None = None
    bands: Sequence[int] | None = None
    scale: tuple[float, float] | None = None
    min_area: float | None = None
    simplify: float | None = None
    regularise: bool = False
    tile: int | None = None
    batch_size: int | None = None
    threads: int | None = None
    memory: str | None = None
    allow_remote: bool = False
    overwrite: bool = False

    @property
    def outputs(self) -> list[str]:
        """Every file that is to be written, the sidecar left out."""
        return [
            path
            for path in (self.output, self.raster, self.probabilities, self.report, self.features)
            if path
        ]


@dataclass(frozen=True)
class BuildingsParameters:
    """What `geodamage buildings` is asked for; None and False leave an option to the tool.

    Attributes
    ----------
    image
        A path, or the paths of a mosaic's tiles, the top one first.
    tta
        One of `BUILDINGS_TTA_CHOICES`.
    threshold
        A pixel is building above this probability.
    raster, probabilities
        Files to be written, too: buildings (.tif), probability of a building (.tif).
    engine
        What computes on the processor, one of `ENGINE_CHOICES`.
    output, model, aoi, device, nodata, ids_from, bands, scale, min_area, simplify, regularise, \
tile, batch_size, threads, memory, allow_remote, overwrite
        As for `AssessParameters`.
    """

    image: str | Sequence[str]
    output: str
    model: str | None = None
    aoi: str | None = None
    device: str | None = None
    tta: str | None = None
    threshold: float | None = None
    raster: str | None = None
    probabilities: str | None = None
    engine: str | None = None
    nodata: float | None = None
    ids_from: str | None = None
    bands: Sequence[int] | None = None
    scale: tuple[float, float] | None = None
    min_area: float | None = None
    simplify: float | None = None
    regularise: bool = False
    tile: int | None = None
    batch_size: int | None = None
    threads: int | None = None
    memory: str | None = None
    allow_remote: bool = False
    overwrite: bool = False

    @property
    def outputs(self) -> list[str]:
        """Every file that is to be written, the sidecar left out."""
        return [path for path in (self.output, self.raster, self.probabilities) if path]


@dataclass(frozen=True)
class BatchParameters:
    """What `geodamage batch` is asked for; None leaves an option to the tool.

    Attributes
    ----------
    manifest
        List of scenes (.csv, .geojson, .toml), folder with pre/ and post/, or STAC catalogue.
    output
        Folder of the results.
    event_date, asset
        For a STAC catalogue: date of the event, and key of the image among an item's assets.
    raster, probabilities, report, features
        Write the grades, the probabilities, a page of each scene, what an event model learns
        from, too.
    engine
        What computes on the processor, one of `ENGINE_CHOICES`.
    merge
        Write the layer of the event at the end.
    admin
        Areas to sum up the event by.
    workers
        Scenes at a time.
    memory, scene_memory
        Of all workers, and what each scene is planned for; as `1.5GB`.
    retry_failed
        Assess scenes that failed again.
    model, footprints, id_field, keep, skip_broken, aoi, device, tta, vote, post_sensor, \
registration, obscured, pre_unusable, post_unusable, unusable_band, seen_share, nodata, \
post_nodata, bands, scale, min_area, simplify, regularise, tile, batch_size, threads, \
allow_remote, overwrite
        As for `AssessParameters`.
    """

    manifest: str
    output: str
    event_date: str | None = None
    asset: str | None = None
    raster: bool = False
    probabilities: bool = False
    report: bool = False
    features: bool = False
    engine: str | None = None
    merge: bool = True
    admin: str | None = None
    workers: int | None = None
    memory: str | None = None
    scene_memory: str | None = None
    retry_failed: bool = False
    model: str | None = None
    footprints: str | None = None
    id_field: str | None = None
    keep: str | None = None
    skip_broken: bool = False
    aoi: str | None = None
    device: str | None = None
    tta: str | None = None
    vote: str | None = None
    post_sensor: str | None = None
    registration: str | None = None
    obscured: str | None = None
    pre_unusable: str | None = None
    post_unusable: str | None = None
    unusable_band: int | None = None
    seen_share: float | None = None
    nodata: float | None = None
    post_nodata: float | None = None
    bands: Sequence[int] | None = None
    scale: tuple[float, float] | None = None
    min_area: float | None = None
    simplify: float | None = None
    regularise: bool = False
    tile: int | None = None
    batch_size: int | None = None
    threads: int | None = None
    allow_remote: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class ScoreParameters:
    """What `geodamage score` is asked for; its figures are JSON on stdout.

    Attributes
    ----------
    predictions, targets
        Folders of PNG masks.
    per_event
        Show the scores of each event, too.
    strict
        Refuse what is not 1024 x 1024.
    """

    predictions: str
    targets: str
    per_event: bool = False
    strict: bool = False


@dataclass(frozen=True)
class MasksParameters:
    """What `geodamage masks` is asked for.

    Attributes
    ----------
    labels
        Label files, folders of them, or xBD downloads.
    output
        Folder of the masks.
    unclassified
        One of `UNCLASSIFIED_CHOICES`.
    overwrite
        Replace masks that are there.
    """

    labels: Sequence[str]
    output: str
    unclassified: str | None = None
    overwrite: bool = False


#: Options that `assess`, `buildings` and `batch` have in common, as the parameters call them.
_OF_IMAGES = (
    "model", "device", "engine", "tta", "aoi", "nodata", "bands", "scale", "min_area", "simplify",
    "regularise", "tile", "batch_size", "threads", "allow_remote", "overwrite",
)  # fmt: skip
#: Those of `assess` and `batch`.
_OF_SCENES = (
    "vote", "post_sensor", "footprints", "id_field", "keep", "skip_broken", "registration",
    "obscured", "pre_unusable", "post_unusable", "unusable_band", "seen_share", "post_nodata",
    *_OF_IMAGES,
)  # fmt: skip


def assess_command(executable: str | Path, parameters: AssessParameters) -> list[str]:
    """Return the command line of an assessment.

    Parameters
    ----------
    executable
        The `geodamage` program.
    parameters
        What is asked for.

    Raises
    ------
    PluginError
        If an image has several tiles: they are named in a list, see `write_list`.
    """
    options = (
        "output", "raster", "probabilities", "report", "features", "memory", "ids_from",
        *_OF_SCENES,
    )  # fmt: skip
    images = [_image(name, getattr(parameters, name)) for name in ("pre", "post")]
    return _command(executable, "assess", images, parameters, options)


def buildings_command(executable: str | Path, parameters: BuildingsParameters) -> list[str]:
    """Return the command line that finds buildings; see `assess_command`."""
    options = (
        "output", "threshold", "raster", "probabilities", "memory", "ids_from",
        *_OF_IMAGES,
    )  # fmt: skip
    image = _image("input", parameters.image)
    return _command(executable, "buildings", [image], parameters, options)


def batch_command(executable: str | Path, parameters: BatchParameters) -> list[str]:
    """Return the command line of a batch; see `assess_command`."""
    options = (
        "output", "event_date", "asset", "raster", "probabilities", "report", "features",
        "admin", "workers", "memory", "scene_memory", "retry_failed", *_OF_SCENES,
    )  # fmt: skip
    command = _command(executable, "batch", [parameters.manifest], parameters, options)
    return command if parameters.merge else _before_end(command, "--no-merge")


def score_command(executable: str | Path, parameters: ScoreParameters) -> list[str]:
    """Return the command line of a scoring, whose figures come as JSON on stdout."""
    folders = [parameters.predictions, parameters.targets]
    options = option_words(parameters, ("per_event", "strict"))
    return [str(executable), "score", "--json", *options, "--", *folders]


def masks_command(executable: str | Path, parameters: MasksParameters) -> list[str]:
    """Return the command line that draws labels as masks.

    Raises
    ------
    PluginError
        If there are no labels.
    """
    if not parameters.labels:
        raise PluginError(tr("no labels: choose a label file or a folder of them"))
    options = option_words(parameters, ("output", "unclassified", "overwrite"))
    return [str(executable), "masks", *options, "--", *parameters.labels]


def write_list(paths: Sequence[str], file: str | Path) -> str:
    """Write the tiles of a mosaic to a list, and return it as the tool takes it.

    Parameters
    ----------
    paths
        Of the tiles, the top one first.
    file
        Where the list is to be; it has to stay while the tool runs.

    Returns
    -------
    `@` and the path of the list.

    Raises
    ------
    PluginError
        If the list cannot be written, or a path has a line break or a blank at its end.
    """
    odd = next(
        (path for path in paths if path.strip() != path or len(path.splitlines()) != 1), None
    )
    if odd is not None:
        raise PluginError(
            tr(
                "{odd!r}: a path with a line break, or a blank at its end, cannot be listed; "
                "rename it",
                odd=odd,
            )
        )
    try:
        Path(file).write_text("".join(f"{_absolute(path)}\n" for path in paths), encoding="utf-8")
    except OSError as error:
        raise PluginError(
            tr("{file} cannot be written: {why}; free some space", file=file, why=error.strerror)
        ) from error
    return f"@{file}"


def _absolute(path: str) -> str:
    # The tool reads a list's paths as relative to the list, and `#` as a comment.
    return path if "://" in path else os.path.abspath(path)  # noqa: PTH100 - links are kept


def _image(name: str, image: str | Sequence[str]) -> str:
    paths = [image] if isinstance(image, str) else list(image)
    if len(paths) != 1 or not paths[0]:
        raise PluginError(
            tr(
                "the {name} image has {count} files; give one file, or a list of them as @list.txt",
                name=name,
                count=len([path for path in paths if path]),
            )
        )
    return paths[0]


def _command(
    executable: str | Path,
    name: str,
    arguments: Sequence[str],
    parameters: object,
    options: Sequence[str],
) -> list[str]:
    # After `--`, a path that begins with a dash is a path.
    words = option_words(parameters, options)
    return [str(executable), name, "--progress", "json", *words, "--", *arguments]


def _before_end(command: Sequence[str], option: str) -> list[str]:
    end = command.index("--")
    return [*command[:end], option, *command[end:]]


def option_words(parameters: object, names: Sequence[str]) -> list[str]:
    """Return the words of options; none for those that are left to the tool."""
    return [word for name in names for word in _option(name, getattr(parameters, name))]


def _option(name: str, value: Any) -> Iterator[str]:
    """Yield the words of one option: none where it is left to the tool."""
    option = "--" + name.replace("_", "-")
    if value is True:
        yield option
    elif value is not None and value is not False and value != "":
        # One word, so that a value that begins with a dash is a value.
        yield f"{option}={_text(value)}"


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_text(part) for part in value)
    return str(value)
