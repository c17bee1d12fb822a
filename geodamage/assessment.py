"""The main job: two images in, graded buildings out, with every file that belongs to them."""

import functools
import math
import os
import platform
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyogrio
import pyproj
import rasterio

from geodamage._version import __version__
from geodamage.ahead import close
from geodamage.buildings.finding import (
    BuildingCounts,
    BuildingOptions,
    count_seen,
    find_buildings,
    pixel_area,
)
from geodamage.buildings.footprints import Footprints, grade_footprints, read_footprints
from geodamage.buildings.votes import VOTES, count_pixels, count_pixels_within, plain
from geodamage.damage import GRADES
from geodamage.errors import ModelError, OptionError, SceneError
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble, SavedMap
from geodamage.model.loading import DEFAULT_MODEL, load_model
from geodamage.model.onnx import Model
from geodamage.output.layers import read_layer
from geodamage.output.publication import RASTER_EXTENSIONS, Publication, check_output
from geodamage.output.rasters import GradeRaster, ProbabilityRaster, raster_bytes
from geodamage.output.vectors import vector_writer
from geodamage.plan import make_plan
from geodamage.prediction import UNSEEN, Strip, run_plan
from geodamage.report.findings import STATEMENT
from geodamage.report.pictures import imagery_of
from geodamage.report.view import make_view
from geodamage.report.writing import add_page, check_page
from geodamage.scene.options import SceneOptions
from geodamage.scene.scene import Scene
from geodamage.sources import find

__all__ = ["STATEMENT", "Job", "Progress", "Source", "Summary", "assess"]

Source = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One assessment: what goes in, what comes out, and how."""

    pre: Source
    """Image before: a GeoTIFF, a folder, a glob, `@list.txt`, or several of them."""
    post: Source
    """Image after, likewise."""
    output: Path
    """Vector file; the extension picks the format."""
    model: str | os.PathLike[str] = DEFAULT_MODEL
    """Name of a bundled model, or a path."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    threads: int = 0
    """Of inference; 0 takes every processor."""
    tta: str = "none"
    """`none` or `flips`."""
    vote: str = "probabilities"
    """`probabilities`, or `pixels`: each pixel is graded by the rules of the model first, buildings
    are what those pixels say, and each takes the grade that most of its pixels have."""
    footprints: Path | None = None
    """Polygons to grade instead of finding buildings."""
    id_field: str | None = None
    """Field of the footprints that holds their identity."""
    raster: Path | None = None
    """COG of grades: of each pixel where the model has rules for pixels, else of the buildings."""
    probabilities: Path | None = None
    """COG of probabilities."""
    report: Path | None = None
    """Page for people, complete in itself."""
    scene: SceneOptions = field(default_factory=SceneOptions)
    """How the images are read."""
    buildings: BuildingOptions = field(default_factory=BuildingOptions)
    """How polygons are made."""
    tile: int | None = None
    """Window size; None takes the model's."""
    batch_size: int = 1
    """Windows a call of the model."""
    memory: float = 1.5e9
    """Bytes the whole process may take."""
    date: str | None = None
    """Of the image after, as the sidecar shall say it; merging many scenes goes by it."""
    overwrite: bool = False
    """Replace results that are there already."""

    def __post_init__(self) -> None:
        if self.vote not in VOTES:
            raise OptionError(f"--vote {self.vote}: unknown; give {' or '.join(VOTES)}")


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    stage
        `open`, `predict`, `write` or `done`.
    done, total
        Pixels of the region that are finished, and all of them.
    buildings
        Found so far.
    message
        A line for the user, or None; `warning` says that it is one.
    """

    stage: str
    done: int = 0
    total: int = 0
    buildings: int = 0
    message: str | None = None
    warning: bool = False


@dataclass
class Coverage:
    """How much was seen, and what came of it, whatever was looked for.

    Attributes
    ----------
    statuses
        Buildings by status.
    seen_pixels, pixels, pixel_area
        Pixels that all images show, those asked for, and the ground area of one, m².
    seconds
        From the first read to the last write.
    """

    statuses: Counter[str] = field(default_factory=Counter)
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


@dataclass
class Summary(Coverage):
    """What an assessment came to.

    Attributes
    ----------
    counts, areas
        Buildings and m² by grade (1-4); only buildings with a grade.
    """

    counts: Counter[int] = field(default_factory=Counter)
    areas: dict[int, float] = field(default_factory=lambda: dict.fromkeys(GRADES, 0.0))

    def add(self, frame: gpd.GeoDataFrame) -> None:
        """Count some buildings."""
        self.statuses.update(frame["status"].to_list())
        graded = frame[frame["damage_class"].notna()]
        for grade, area in zip(graded["damage_class"], graded["area_m2"], strict=True):
            self.counts[int(grade)] += 1
            self.areas[int(grade)] += float(area)

    def facts(self) -> dict[str, Any]:
        """Return the figures for the sidecar."""
        return {
            "assessed_km2": round(self.assessed_km2, 6),
            "buildings": self.buildings,
            "buildings_per_grade": {grade.label: self.counts[grade] for grade in GRADES},
            "area_m2_per_grade": {grade.label: round(self.areas[grade], 1) for grade in GRADES},
            "buildings_per_status": {
                status: self.statuses[status] for status in ("assessed", "partial", "not_assessed")
            },
        }


def assess(
    job: Job, *, predict: Callable[..., Iterator[Strip]] = run_plan
) -> Generator[Progress, None, Summary]:
    """Assess a scene and write its results; a generator of progress.

    Closing it stops the work and leaves no file. The results stand under their final names when it
    is exhausted; its return value is the summary.

    Parameters
    ----------
    predict
        Called as `run_plan`, and yields the same strips: a cluster may compute them.

    Raises
    ------
    GeodamageError
        Of the kind that fits; see `geodamage.errors`.
    """
    started = time.monotonic()
    _check_outputs(job)
    model = load_model(job.model, device=job.device, threads=job.threads, tta=job.tta)
    yield Progress(
        "open", message=f"model {model.card.name} {model.card.version}, {model.provider}"
    )
    yield Progress("open", message=f"licence of the model: {model.card.licence}")
    check_sensors(job.scene, model.card)
    options = scene_options(job.scene, model.card, maps=model.maps)
    with Scene.open(job.pre, job.post, gsd=model.card.gsd, options=options) as scene:
        for warning in scene.warnings:
            yield Progress("open", message=warning, warning=True)
        footprints = None
        if job.footprints is not None:
            footprints = read_footprints(job.footprints, scene.grid, id_field=job.id_field)
            footprints.require_overlap(scene)
        plan = make_plan(
            scene.region,
            model.card,
            tile=job.tile,
            batch=job.batch_size,
            memory=job.memory,
            resident=model.resident_bytes,
            maps=len(model.maps),
        )
        predicted = functools.partial(predict, scene, model, plan)
        summary = yield from _run(job, scene, model, footprints, predicted, started)
    yield Progress("done", summary.pixels, summary.pixels, summary.buildings)
    return summary


def scene_options(
    options: SceneOptions, card: Card, *, maps: Sequence[SavedMap] = ()
) -> SceneOptions:
    """Return the options as the model needs them: its channels, a grid that its stride fits.

    Parameters
    ----------
    options
        As the user gave them.
    card
        Of the model.
    maps
        Saved maps that it reads.
    """
    return replace(
        options,
        maps=tuple(saved.path for saved in maps),
        pre_channels=len(card.pre_channels),
        post_channels=len(card.post_channels),
        snap=math.lcm(options.snap, card.stride),
    )


def check_sensors(options: SceneOptions, card: Card) -> None:
    """Check that the images were taken by what the model was made for.

    No image says of itself what took it: the user does, and the card says what it has to be.

    Raises
    ------
    ModelError
        If the model takes an image of a radar, and the user has not said that it is one.
    SceneError
        If it is one, and the model takes none.
    """
    model = f"model {card.name} {card.version}"
    if card.pre_sensor != "optical":
        raise ModelError(f"{model} takes a {card.pre_sensor} image before, which assess does not")
    if card.post_sensor == options.post_sensor:
        return
    if options.post_sensor == "optical":
        raise ModelError(
            f"{model} takes a {card.post_sensor} image after; give --post-sensor "
            f"{card.post_sensor} if post is one, else another --model"
        )
    raise SceneError(
        f"--post-sensor {options.post_sensor}: {model} takes an {card.post_sensor} image after; "
        f"give a --model whose card says {options.post_sensor}"
    )


def _check_outputs(job: Job) -> None:
    inputs = [path for path in (job.footprints, job.scene.aoi) if path is not None]
    for source in (job.pre, job.post):
        inputs += [Path(name) for name in find(source, allow_remote=job.scene.allow_remote)]
    if job.raster is not None and job.raster == job.probabilities:
        raise OptionError(f"--raster and --probabilities are both {job.raster}; give two names")
    check_output(job.output, inputs=inputs, overwrite=job.overwrite)
    for raster in (job.raster, job.probabilities):
        if raster is not None:
            check_output(
                raster, inputs=inputs, overwrite=job.overwrite, extensions=RASTER_EXTENSIONS
            )
    if job.report is not None:
        check_page(job.report, inputs=inputs, overwrite=job.overwrite)


def _run(
    job: Job,
    scene: Scene,
    model: Model | Ensemble,
    footprints: Footprints | None,
    predicted: Callable[..., Iterator[Strip]],
    started: float,
) -> Generator[Progress, None, Summary]:
    """Predict, grade and write; the results are published at the end."""
    region = scene.region
    summary = Summary(pixels=region.size, pixel_area=pixel_area(scene.grid))
    counts = BuildingCounts()
    with Publication(overwrite=job.overwrite) as publication, ExitStack() as stack:
        partial = publication.partial(job.output)
        vector = stack.enter_context(vector_writer(partial, scene.grid.crs))
        rasters = _Rasters(job, scene, publication, stack, by_pixel=model.has_pixel_rules)
        with_grades = rasters.by_pixel or job.vote == "pixels"
        strips = _counted(rasters.recorded(predicted(with_grades=with_grades)), summary)
        frames = _graded(job, scene, model.card, footprints, strips, counts)
        stack.callback(close, strips)
        for frame in frames:
            if len(frame):
                vector.append(frame)
                rasters.burn(frame)
                summary.add(frame)
            yield Progress("predict", rasters.done, region.size, summary.buildings)
        yield Progress("write", region.size, region.size, summary.buildings)
        stack.close()
        summary.seconds = time.monotonic() - started
        facts = _facts(job, scene, model, footprints, summary, counts)
        for path in (job.output, job.raster, job.probabilities):
            if path is not None:
                publication.sidecar(path, facts)
        if job.report is not None:
            yield Progress("write", message="writing the report")
            _add_report(publication, job, partial, facts)
    return summary


def _add_report(publication: Publication, job: Job, buildings: Path, facts: dict[str, Any]) -> None:
    """Write the page of what was found; `buildings` is complete, and still has a partial name."""
    if job.report is None:
        return
    read = job.scene
    imagery = imagery_of(
        facts,
        job.pre,
        job.post,
        aoi=read.aoi,
        scale=read.scale,
        post_scale=read.post_scale,
        post_sensor=read.post_sensor,
        allow_remote=read.allow_remote,
    )
    view = make_view(read_layer(buildings), facts, source=job.output.name, imagery=imagery)
    add_page(publication, view, job.report)


def _graded(
    job: Job,
    scene: Scene,
    card: Card,
    footprints: Footprints | None,
    strips: Iterator[Strip],
    counts: BuildingCounts,
) -> Iterator[gpd.GeoDataFrame]:
    """Return the graded buildings of the strips, in the way that the job asks for."""
    card, by_pixel = _grading_card(job, card), job.vote == "pixels"
    if footprints is not None:
        voting = count_pixels_within(strips) if by_pixel else strips
        return grade_footprints(voting, scene, footprints, card)
    voting = count_pixels(strips) if by_pixel else strips
    return find_buildings(
        voting, scene.grid, scene.region, card, options=job.buildings, counts=counts
    )


def _grading_card(job: Job, card: Card) -> Card:
    return plain(card) if job.vote == "pixels" else card


def _counted(strips: Iterable[Strip], summary: Summary) -> Iterator[Strip]:
    for strip in strips:
        summary.seen_pixels += count_seen(strip)
        yield strip


class _Rasters:
    """The rasters that were asked for, written as strips and buildings pass."""

    def __init__(
        self,
        job: Job,
        scene: Scene,
        publication: Publication,
        stack: ExitStack,
        *,
        by_pixel: bool,
    ) -> None:
        self.done = 0
        self.by_pixel = by_pixel and job.raster is not None
        self.grades: GradeRaster | None = None
        self.probabilities: ProbabilityRaster | None = None
        if job.raster is not None:
            needed = raster_bytes(scene.region, 1)
            partial = publication.partial(job.raster, bytes_needed=needed)
            self.grades = stack.enter_context(GradeRaster(partial, scene.grid, scene.region))
        if job.probabilities is not None:
            needed = raster_bytes(scene.region, 5)
            partial = publication.partial(job.probabilities, bytes_needed=needed)
            self.probabilities = stack.enter_context(
                ProbabilityRaster(partial, scene.grid, scene.region)
            )

    def recorded(self, strips: Iterator[Strip]) -> Iterator[Strip]:
        """Write each strip on its way."""
        try:
            for strip in strips:
                seen = (strip.missing & UNSEEN) == 0
                if self.grades is not None:
                    self._write_grades(self.grades, strip, seen)
                if self.probabilities is not None:
                    self.probabilities.write(strip.window, strip.probabilities, seen)
                self.done += strip.window.size
                yield strip
        finally:
            close(strips)

    def _write_grades(self, raster: GradeRaster, strip: Strip, seen: np.ndarray) -> None:
        if self.by_pixel and strip.grades is not None:
            raster.write(strip.window, strip.grades, seen)
        else:
            raster.write_valid(strip.window, seen)

    def burn(self, frame: gpd.GeoDataFrame) -> None:
        """Paint graded buildings, where the pixels are not graded themselves."""
        if self.grades is not None and not self.by_pixel:
            self.grades.burn(frame)


def _facts(
    job: Job,
    scene: Scene,
    model: Model | Ensemble,
    footprints: Footprints | None,
    summary: Summary,
    counts: BuildingCounts,
) -> dict[str, Any]:
    """Return what the sidecar says."""
    card = _grading_card(job, model.card)
    return {
        "statement": STATEMENT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": versions(),
        "model": {
            "name": card.name,
            "version": card.version,
            "sha256": card.sha256,
            "licence": card.licence,
            "training_data": card.training_data,
            "provider": model.provider,
            "tta": job.tta,
        },
        "date": job.date,
        "scene": scene.facts(),
        "vote": job.vote,
        "pixels": {"own": model.has_pixel_rules, **asdict(model.rules)},
        "thresholds": {
            "localisation": None if job.vote == "pixels" else card.threshold,
            "seeds": card.seed_threshold,
            "seed_depth": card.seed_depth,
            "damaged": card.damaged_threshold,
            "temperature": card.temperature,
            "grade_weights": list(card.grade_weights),
            **asdict(job.buildings),
        },
        "footprints": None
        if footprints is None
        else {
            "file": footprints.source,
            "count": len(footprints.frame),
            "duplicate_ids": footprints.duplicates,
            "repaired": footprints.repaired,
        },
        **summary.facts(),
        "cut_components": counts.cut_components,
        "dropped_too_small": counts.too_small,
        "seconds": round(summary.seconds, 2),
        "warnings": list(scene.warnings),
    }


def versions() -> dict[str, str]:
    """Return the versions of all that a result depends on, for its sidecar."""
    return {
        "geodamage": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "rasterio": f"{rasterio.__version__} (GDAL {rasterio.__gdal_version__})",
        "pyogrio": f"{pyogrio.__version__} (GDAL {pyogrio.__gdal_version_string__})",
        "pyproj": f"{pyproj.__version__} (PROJ {pyproj.proj_version_str})",
    }
