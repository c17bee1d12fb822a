"""The job of finding buildings: one image in, footprints out, with every file that belongs to them.

It is the work of `geodamage.assessment` without a second date: the same scene, windows, strips and
writers.
"""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, overload

import geopandas as gpd

from geodamage.buildings.finding import find_footprints
from geodamage.errors import ModelError
from geodamage.fields import FOOTPRINT_FIELDS
from geodamage.job import (
    Coverage,
    Progress,
    Result,
    RunOptions,
    Source,
    call_values,
    job_fields,
    refuse_beside_job,
    run_at_once,
    with_options,
)
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.output.rasters import BuildingProbabilityRaster, MaskRaster
from geodamage.plan import Plan
from geodamage.prediction import Strip, run_plan
from geodamage.run import Run
from geodamage.work import Work, long_work


@dataclass(frozen=True, kw_only=True)
class LocalisationJob(RunOptions):
    """One search for buildings: what goes in, what comes out, and how.

    Every value is checked when the job is made, in the words of `geodamage buildings`.

    Attributes
    ----------
    image
        A GeoTIFF, a folder, a glob, `@list.txt`, or several of them.
    output
        Vector file; the extension picks the format.
    model
        Name of a bundled model, or a path; its localisation is used, and no other head.
    device
        `auto`, `cpu`, `cuda`, `cuda:N`, `tensorrt`, `tensorrt:N` or `openvino`.
    threads
        CPU threads for inference; 0 takes every processor.
    engine
        What computes on the processor: `onnxruntime`, `openvino` or `auto`.
    precision
        What it is computed in: `float32`, `bfloat16`, `int8` or `auto`.
    tta
        `none`; `flips` to average over four mirror images; `full` over these and the same
        transposed; `enlarged` to look at the image enlarged by half, too, and keep what either look
        finds.
    scales
        Sizes at which the model is asked; 1 is the image's own.
    threshold
        A pixel is building where its probability is above this, 0-1; None takes the model's.
    raster
        COG of the buildings: a mask.
    probabilities
        COG of the probability of a building.
    scene
        How the image is read, `SceneOptions`; those for `pre` count.
    buildings
        How polygons are made, `BuildingOptions`.
    tile
        Window size, pixels; None takes the model's. The result does not depend on it.
    batch_size
        Windows per model call.
    memory
        Memory that the work is planned for: bytes, or a text such as `2GB`.
    date
        Date of the image, as the sidecar shall say it.
    ids_from
        Earlier result; a building that overlaps one of its buildings by more than half of their
        union takes over its `building_id`.
    overwrite
        Replace results that are there already.
    """

    image: Source
    scales: tuple[float, ...] = (1.0,)
    threshold: float | None = None


@dataclass
class FootprintSummary(Coverage):
    """What a search came to.

    Attributes
    ----------
    area
        Ground area of all buildings, m².
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


@overload
def localise(image: LocalisationJob) -> Work[Progress, Result[FootprintSummary]]: ...


@overload
def localise(
    image: Source,
    *,
    output: str | PathLike[str] | None = None,
    progress: Callable[[Progress], object] | None = None,
    date: str | None = None,
    **options: Any,
) -> Result[FootprintSummary]: ...


@with_options("buildings", "LocalisationJob")
def localise(
    image: LocalisationJob | Source,
    *,
    output: str | PathLike[str] | None = None,
    progress: Callable[[Progress], object] | None = None,
    date: str | None = None,
    **options: Any,
) -> Result[FootprintSummary] | Work[Progress, Result[FootprintSummary]]:
    """Find the buildings of one image.

        footprints = geodamage.localise("image.tif").buildings

    With `output`, the same files are written as by `geodamage buildings`. With a `LocalisationJob`
    alone, the work is returned before it begins, and iterating it yields its progress.

    Parameters
    ----------
    image
        A GeoTIFF, a folder, a glob, `@list.txt`, or several of them; or a `LocalisationJob`.
    output
        Vector file to write; the extension picks the format. The sidecar stands beside it.
    progress
        Called with each `Progress`: `stage`, `done` of `total` pixels, `buildings`, `message`.
    date
        Date of the image, for the sidecar.
    OPTIONS

    Returns
    -------
    `Result`; of a job a `Work` that has it as its result.

    Raises
    ------
    GeodamageError
        If something is refused or fails; `geodamage.errors` lists the kinds.
    TypeError
        If there is no such option.
    """
    if isinstance(image, LocalisationJob):
        given = {"output": output, "progress": progress, "date": date} | options
        refuse_beside_job(given)
        return _localisation(image)
    values = call_values("buildings", "LocalisationJob", options)
    values = job_fields("buildings", "LocalisationJob", values)

    def begin(file: Path) -> Work[Progress, Result[FootprintSummary]]:
        return _localisation(LocalisationJob(image=image, output=file, date=date, **values))

    return run_at_once(begin, output, progress)


@long_work
def _localisation(job: LocalisationJob) -> Generator[Progress, None, Result[FootprintSummary]]:
    return (yield from _Localisation(job).steps())


class _Localisation(Run[LocalisationJob, FootprintSummary]):
    """A run that finds buildings."""

    kind: ClassVar[Mapping[str, str]] = {"result": "footprints"}
    fields = FOOTPRINT_FIELDS
    grades = MaskRaster
    probabilities = BuildingProbabilityRaster

    def images(self) -> tuple[Source, Source | None]:
        """Return the image."""
        return self.job.image, None

    def load(self) -> Model | Ensemble:
        """Load the model, to be asked at all sizes."""
        job = self.job
        return load_model(
            job.model,
            device=job.device,
            threads=job.threads,
            engine=job.engine,
            precision=job.precision,
            tta=job.tta,
            scales=job.scales,
        )

    def card_for(self, card: Card) -> Card:
        """Return the card with the threshold that was asked for."""
        if card.task == "damage":
            raise ModelError(
                f"model {card.name!r} grades buildings and does not find them; "
                "give one of the task assess or localisation"
            )
        return card if self.job.threshold is None else replace(card, threshold=self.job.threshold)

    def counted(self, pixels: int, area: float) -> FootprintSummary:
        """Return an empty summary."""
        return FootprintSummary(pixels=pixels, pixel_area=area)

    def predicted(self, plan: Plan) -> Iterator[Strip]:
        """Predict where buildings are."""
        return run_plan(self.scene, self.model, plan, localisation_only=True)

    def found(self, strips: Iterator[Strip]) -> Iterator[gpd.GeoDataFrame]:
        """Return the outlines of the buildings."""
        return find_footprints(
            strips,
            self.scene.grid,
            self.scene.region,
            self.card,
            options=self.job.buildings,
            counts=self.counts,
            former=self.former(),
        )

    def model_facts(self) -> dict[str, Any]:
        """Return what the sidecar says of the model."""
        return {**super().model_facts(), "scales": list(self.job.scales)}

    def own_facts(self) -> dict[str, Any]:
        """Return what the sidecar says of the options and the figures."""
        job, card = self.job, self.card
        return {
            "thresholds": {
                "localisation": card.threshold,
                "seeds": card.seed_threshold,
                "seed_depth": card.seed_depth,
                **job.buildings.facts(),
            },
            **self.count_facts(),
        }
