"""The job of finding buildings: one image in, footprints out, with every file that belongs to them.

It is the work of `geodamage.assessment` without a second date: the same scene, windows, strips and
writers.
"""

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np

from geodamage.ahead import close
from geodamage.assessment import STATEMENT, Coverage, Progress, Source, scene_options, versions
from geodamage.buildings.finding import (
    BuildingCounts,
    BuildingOptions,
    count_seen,
    find_footprints,
    pixel_area,
)
from geodamage.errors import ModelError, OptionError
from geodamage.fields import FOOTPRINT_FIELDS
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import DEFAULT_MODEL, load_model
from geodamage.model.onnx import Model
from geodamage.output.publication import RASTER_EXTENSIONS, Publication, check_output
from geodamage.output.rasters import BuildingProbabilityRaster, MaskRaster, raster_bytes
from geodamage.output.vectors import vector_writer
from geodamage.plan import make_plan
from geodamage.prediction import UNSEEN, Strip, run_plan
from geodamage.scene.options import SceneOptions
from geodamage.scene.scene import Scene
from geodamage.sources import find


@dataclass(frozen=True, kw_only=True)
class LocalisationJob:
    """One search for buildings: what goes in, what comes out, and how."""

    image: Source
    """A GeoTIFF, a folder, a glob, `@list.txt`, or several of them."""
    output: Path
    """Vector file; the extension picks the format."""
    model: str | PathLike[str] = DEFAULT_MODEL
    """Name of a bundled model, or a path; its localisation is used, and no other head."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda` or `cuda:N`."""
    threads: int = 0
    """Of inference; 0 takes every processor."""
    tta: str = "none"
    """`none`, `flips` or `full`."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes at which the model is asked; 1 is the image's own."""
    threshold: float | None = None
    """A pixel is building where its probability is above this; None takes the model's."""
    raster: Path | None = None
    """COG of the buildings: a mask."""
    probabilities: Path | None = None
    """COG of the probability of a building."""
    scene: SceneOptions = field(default_factory=SceneOptions)
    """How the image is read; of its options those for `pre` count."""
    buildings: BuildingOptions = field(default_factory=BuildingOptions)
    """How polygons are made."""
    regularise: bool = False
    """Give buildings right-angled outlines where these fit."""
    tile: int | None = None
    """Window size; None takes the model's."""
    batch_size: int = 1
    """Windows a call of the model."""
    memory: float = 1.5e9
    """Bytes the whole process may take."""
    date: str | None = None
    """Of the image, as the sidecar shall say it."""
    overwrite: bool = False
    """Replace results that are there already."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise OptionError(f"--threshold {self.threshold:g}: give 0 or more, and less than 1")
        if not self.scales or not all(0.1 <= scale <= 10 for scale in self.scales):
            given = ",".join(f"{scale:g}" for scale in self.scales)
            raise OptionError(f"--tta-scales {given}: give numbers from 0.1 to 10")
        if self.regularise and self.buildings.simplify > 0:
            raise OptionError("--regularise and --simplify: give one of the two")
        if self.raster is not None and self.raster == self.probabilities:
            raise OptionError(
                f"--raster and --probabilities are both {self.raster}; give two names"
            )


@dataclass
class FootprintSummary(Coverage):
    """What a search came to.

    Attributes
    ----------
    area
        Of all buildings, m².
    """

    area: float = 0.0

    def add(self, frame: gpd.GeoDataFrame) -> None:
        """Count some buildings."""
        self.statuses.update(frame["status"].to_list())
        self.area += float(frame["area_m2"].sum())

    def facts(self) -> dict[str, Any]:
        """Return the figures for the sidecar."""
        return {
            "assessed_km2": round(self.assessed_km2, 6),
            "buildings": self.buildings,
            "area_m2": round(self.area, 1),
            "buildings_per_status": {
                status: self.statuses[status] for status in ("assessed", "partial")
            },
        }


def localise(job: LocalisationJob) -> Generator[Progress, None, FootprintSummary]:
    """Find the buildings of an image and write them; a generator of progress.

    Closing it stops the work and leaves no file. The results stand under their final names when it
    is exhausted; its return value is the summary.

    Raises
    ------
    GeodamageError
        Of the kind that fits; see `geodamage.errors`.
    """
    started = time.monotonic()
    _check_outputs(job)
    model = load_model(
        job.model, device=job.device, threads=job.threads, tta=job.tta, scales=job.scales
    )
    card = _localisation_card(job, model.card)
    yield Progress("open", message=f"model {card.name} {card.version}, {model.provider}")
    yield Progress("open", message=f"licence of the model: {card.licence}")
    options = scene_options(job.scene, card, maps=model.maps)
    with Scene.open(job.image, None, gsd=card.gsd, options=options) as scene:
        for warning in scene.warnings:
            yield Progress("open", message=warning, warning=True)
        plan = make_plan(
            scene.region,
            card,
            tile=job.tile,
            batch=job.batch_size,
            memory=job.memory,
            resident=model.resident_bytes,
            maps=len(model.maps),
        )
        strips = run_plan(scene, model, plan, localisation_only=True)
        summary = yield from _run(job, scene, model, card, strips, started)
    yield Progress("done", summary.pixels, summary.pixels, summary.buildings)
    return summary


def _check_outputs(job: LocalisationJob) -> None:
    inputs = [Path(name) for name in find(job.image, allow_remote=job.scene.allow_remote)]
    inputs += [] if job.scene.aoi is None else [job.scene.aoi]
    check_output(job.output, inputs=inputs, overwrite=job.overwrite)
    for raster in (job.raster, job.probabilities):
        if raster is not None:
            check_output(
                raster, inputs=inputs, overwrite=job.overwrite, extensions=RASTER_EXTENSIONS
            )


def _localisation_card(job: LocalisationJob, card: Card) -> Card:
    """Return the card with the threshold that was asked for."""
    if card.task == "damage":
        raise ModelError(
            f"model {card.name!r} grades buildings and does not find them; "
            "give one of the task assess or localisation"
        )
    return card if job.threshold is None else replace(card, threshold=job.threshold)


def _run(
    job: LocalisationJob,
    scene: Scene,
    model: Model | Ensemble,
    card: Card,
    strips: Iterator[Strip],
    started: float,
) -> Generator[Progress, None, FootprintSummary]:
    """Predict, outline and write; the results are published at the end."""
    region = scene.region
    summary = FootprintSummary(pixels=region.size, pixel_area=pixel_area(scene.grid))
    counts = BuildingCounts()
    with Publication(overwrite=job.overwrite) as publication, ExitStack() as stack:
        partial = publication.partial(job.output)
        vector = stack.enter_context(
            vector_writer(partial, scene.grid.crs, fields=FOOTPRINT_FIELDS)
        )
        rasters = _Rasters(job, scene, publication, stack)
        recorded = rasters.recorded(strips, summary)
        stack.callback(close, recorded)
        for frame in find_footprints(
            recorded,
            scene.grid,
            region,
            card,
            options=job.buildings,
            counts=counts,
            right_angled=job.regularise,
        ):
            if len(frame):
                vector.append(frame)
                rasters.burn(frame)
                summary.add(frame)
            yield Progress("predict", rasters.done, region.size, summary.buildings)
        yield Progress("write", region.size, region.size, summary.buildings)
        stack.close()
        summary.seconds = time.monotonic() - started
        facts = _facts(job, scene, model, card, summary, counts)
        for path in (job.output, job.raster, job.probabilities):
            if path is not None:
                publication.sidecar(path, facts)
    return summary


class _Rasters:
    """The rasters that were asked for, written as strips and buildings pass."""

    def __init__(
        self, job: LocalisationJob, scene: Scene, publication: Publication, stack: ExitStack
    ) -> None:
        self.done = 0
        self.mask: MaskRaster | None = None
        self.probabilities: BuildingProbabilityRaster | None = None
        needed = raster_bytes(scene.region, 1)
        if job.raster is not None:
            partial = publication.partial(job.raster, bytes_needed=needed)
            self.mask = stack.enter_context(MaskRaster(partial, scene.grid, scene.region))
        if job.probabilities is not None:
            partial = publication.partial(job.probabilities, bytes_needed=needed)
            self.probabilities = stack.enter_context(
                BuildingProbabilityRaster(partial, scene.grid, scene.region)
            )

    def recorded(self, strips: Iterator[Strip], summary: FootprintSummary) -> Iterator[Strip]:
        """Count and write each strip on its way."""
        try:
            for strip in strips:
                summary.seen_pixels += count_seen(strip)
                seen: np.ndarray = (strip.missing & UNSEEN) == 0
                if self.mask is not None:
                    self.mask.write_valid(strip.window, seen)
                if self.probabilities is not None:
                    self.probabilities.write(strip.window, strip.probabilities[1:], seen)
                self.done += strip.window.size
                yield strip
        finally:
            close(strips)

    def burn(self, frame: gpd.GeoDataFrame) -> None:
        """Paint buildings into the mask."""
        if self.mask is not None:
            self.mask.burn(frame)


def _facts(
    job: LocalisationJob,
    scene: Scene,
    model: Model | Ensemble,
    card: Card,
    summary: FootprintSummary,
    counts: BuildingCounts,
) -> dict[str, Any]:
    """Return what the sidecar says."""
    return {
        "statement": STATEMENT,
        "result": "footprints",
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
            "scales": list(job.scales),
        },
        "date": job.date,
        "scene": scene.facts(),
        "thresholds": {
            "localisation": card.threshold,
            "seeds": card.seed_threshold,
            "seed_depth": card.seed_depth,
            **asdict(job.buildings),
        },
        "regularise": job.regularise,
        **summary.facts(),
        "cut_components": counts.cut_components,
        "dropped_too_small": counts.too_small,
        "not_regularised": counts.not_regularised if job.regularise else None,
        "seconds": round(summary.seconds, 2),
        "warnings": list(scene.warnings),
    }
