"""A run: what assessing and finding buildings do alike, from the first check to the last file."""

import platform
import time
from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import geopandas as gpd
import numpy as np
import pyogrio
import pyproj
import rasterio

from geodamage._version import __version__
from geodamage.ahead import close
from geodamage.buildings.finding import BuildingCounts, count_hidden, count_seen, pixel_area
from geodamage.buildings.footprint_files import read_former
from geodamage.buildings.identities import Former
from geodamage.fields import FIELDS, Field
from geodamage.job import Coverage, Progress, Result, RunOptions, Source
from geodamage.model.card import Card
from geodamage.model.ensemble import Ensemble
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.output.json_values import json_ready
from geodamage.output.publication import (
    RASTER_EXTENSIONS,
    RESULT_EXTENSIONS,
    Publication,
    check_distinct,
    check_output,
)
from geodamage.output.rasters import GradeRaster, ProbabilityRaster, raster_bytes
from geodamage.output.seen_ground import SeenGround, area_path, read_assessed_area
from geodamage.output.vectors import vector_writer, write_area
from geodamage.output.writer import GeometryType
from geodamage.plan import Plan, make_plan
from geodamage.prediction import UNSEEN, Strip, rolling_of
from geodamage.report.findings import STATEMENT
from geodamage.scene.scene import Scene
from geodamage.scene.statistics import statistics_facts
from geodamage.sources import find
from geodamage.vector.layer import split_layer
from geodamage.windows import Window

J = TypeVar("J", bound=RunOptions)
S = TypeVar("S", bound=Coverage)
W = TypeVar("W", GradeRaster, ProbabilityRaster)


class Run(ABC, Generic[J, S]):
    """One run of a job, from the first check to the last file; what it looks for differs.

    Parameters
    ----------
    job
        What to do.

    Attributes
    ----------
    model, scene, card
        What was loaded and opened; the card is that by which buildings are made.
    summary, counts
        Filled on the way.
    doubts, remarks
        What a user should know of the other inputs, and what else is worth a line.
    """

    #: What the sidecar calls the result, where it is not damage.
    kind: ClassVar[Mapping[str, str]] = {}
    #: What is written of each building, and the rasters of all of them.
    fields: tuple[Field, ...] = FIELDS
    #: What all buildings are, for formats that declare it; those that are found are polygons.
    geometry_type: GeometryType = "Polygon"
    grades: ClassVar[type[GradeRaster]] = GradeRaster
    probabilities: ClassVar[type[ProbabilityRaster]] = ProbabilityRaster

    model: Model | Ensemble
    card: Card
    scene: Scene
    summary: S

    def __init__(self, job: J) -> None:
        self.job = job
        self.counts = BuildingCounts()
        self.doubts: list[str] = []
        self.remarks: list[str] = []
        self._started = time.monotonic()

    # What differs.

    @property
    def by_pixel(self) -> bool:
        """Whether the raster holds the grades of pixels, not those of buildings."""
        return False

    @abstractmethod
    def images(self) -> tuple[Source | None, Source | None]:
        """Return the pre image and the one after; None for one that there is not."""

    def other_inputs(self) -> Sequence[Path | None]:
        """Return the files that are read beside the images."""
        return (self.job.scene.aoi,)

    def load(self) -> Model | Ensemble:
        """Load the model."""
        job = self.job
        return load_model(
            job.model,
            device=job.device,
            threads=job.threads,
            engine=job.engine,
            precision=job.precision,
            tta=job.tta,
        )

    @abstractmethod
    def card_for(self, card: Card) -> Card:
        """Return the card of the model as the job wants it."""

    def prepare(self) -> None:
        """Do what needs the open scene, before anything is predicted."""
        return

    def open_products(self, publication: Publication, stack: ExitStack) -> None:
        """Open what is written beside vectors and rasters; the stack closes it."""
        return

    @property
    def resident_bytes(self) -> int:
        """Memory that stays taken while the scene is predicted."""
        return self.model.resident_bytes

    @abstractmethod
    def counted(self, pixels: int, area: float) -> S:
        """Return an empty summary of so many pixels, each of so many m²."""

    @abstractmethod
    def predicted(self, plan: Plan) -> Iterator[Strip]:
        """Predict the scene."""

    @abstractmethod
    def found(self, strips: Iterator[Strip]) -> Iterator[gpd.GeoDataFrame]:
        """Return the buildings that each strip finished."""

    def model_facts(self) -> dict[str, Any]:
        """Return what the sidecar says of the model."""
        card = self.card
        return {
            "name": card.name,
            "version": card.version,
            "sha256": card.sha256,
            "licence": card.licence,
            "training_data": card.training_data,
            "provider": self.model.provider,
            "precision": card.precision,
            "tta": self.job.tta,
        }

    @abstractmethod
    def own_facts(self) -> dict[str, Any]:
        """Return what the sidecar says of the options and the figures."""

    def finish(
        self, publication: Publication, buildings: Path, facts: dict[str, Any]
    ) -> Iterator[Progress]:
        """Write what is made of the complete file, which still has a partial name."""
        yield from ()

    # What is the same.

    def steps(self) -> Generator[Progress, None, Result[S]]:
        """Do all of it; the results stand under their final names at the end."""
        job = self.job
        self.check_outputs(self.inputs())
        self.model = self.load()
        self.card = card = self.card_for(self.model.card)
        yield Progress("open", message=f"model {card.name} {card.version}, {self.model.provider}")
        yield Progress("open", message=f"licence of the model: {card.licence}")
        if card.caution:
            self.doubts.append(f"model {card.name}: {card.caution}")
        before, after = self.images()
        with Scene.open(before, after, model=self.model, options=job.scene) as self.scene:
            for warning in self.scene.warnings:
                yield Progress("open", message=warning, warning=True)
            for remark in self.scene.remarks:
                yield Progress("open", message=remark)
            self.prepare()
            for doubt in self.doubts:
                yield Progress("open", message=doubt, warning=True)
            for remark in self.remarks:
                yield Progress("open", message=remark)
            facts = yield from self._written(self.plan_of(self.scene.region))
        summary = self.summary
        yield Progress("done", summary.pixels, summary.pixels, summary.buildings)
        return Result(summary, facts, job.output, self.scene.grid.crs, self.fields)

    @property
    def predicts_in_turn(self) -> bool:
        """Whether one strip is predicted after the other, here."""
        return True

    def plan_of(self, window: Window) -> Plan:
        """Return how a window of the scene is predicted."""
        tile, batch = self.job.tile, self.job.batch_size
        in_turn = self.predicts_in_turn
        return make_plan(
            window,
            self.model.card,
            tile=tile,
            batch=batch,
            memory=float(self.job.memory),
            resident=self.resident_bytes,
            maps=len(self.model.maps),
            rolling=rolling_of(self.model, tile, batch) if in_turn else None,
        )

    def inputs(self) -> list[Path]:
        """Return all files that are read."""
        found = [split_layer(path).path for path in self.other_inputs() if path is not None]
        for source in self.images():
            if source is not None:
                found += map(Path, find(source, allow_remote=self.job.scene.allow_remote))
        return found

    def check_outputs(self, inputs: Sequence[Path]) -> None:
        """Check that all that is asked for can be written, and replaces no input."""
        job = self.job
        check_distinct(self.outputs())
        check_output(
            job.output, inputs=inputs, overwrite=job.overwrite, extensions=RESULT_EXTENSIONS
        )
        for raster in (job.raster, job.probabilities):
            if raster is not None:
                check_output(
                    raster, inputs=inputs, overwrite=job.overwrite, extensions=RASTER_EXTENSIONS
                )
        area = area_path(job.output)
        if area is not None:
            check_output(area, inputs=inputs, overwrite=job.overwrite, extensions=(".geojson",))

    def outputs(self) -> list[Path | None]:
        """Return all files that are asked for."""
        return [self.job.output, self.job.raster, self.job.probabilities]

    def _written(self, plan: Plan) -> Generator[Progress, None, dict[str, Any]]:
        """Predict, find and write; the results are published at the end."""
        job, scene, region = self.job, self.scene, self.scene.region
        self.summary = summary = self.counted(region.size, pixel_area(scene.grid))
        with Publication(overwrite=job.overwrite) as publication, ExitStack() as stack:
            partial = publication.partial(job.output)
            vector = stack.enter_context(
                vector_writer(
                    partial, scene.grid.crs, geometry_type=self.geometry_type, fields=self.fields
                )
            )
            rasters = Rasters(self, publication, stack)
            self.open_products(publication, stack)
            strips = rasters.recorded(self.predicted(plan))
            stack.callback(close, strips)
            for frame in self.found(strips):
                if len(frame):
                    vector.append(frame)
                    rasters.burn(frame)
                    summary.add(frame)
                yield Progress("predict", rasters.done, region.size, summary.buildings)
            yield Progress("write", region.size, region.size, summary.buildings)
            stack.close()
            scene.require_unchanged()
            self.doubts += vector.notes
            for note in vector.notes:
                yield Progress("write", message=note, warning=True)
            for doubt in summary.doubts():
                yield Progress("write", message=doubt, warning=True)
            for remark in summary.remarks():
                yield Progress("write", message=remark)
            summary.seconds = time.monotonic() - self._started
            facts: dict[str, Any] = json_ready(
                {**self._facts(), "assessed_area": rasters.ground.facts()}
            )
            seen = read_assessed_area(facts)
            write_area(publication, (job.output, partial), seen, scene.grid.crs)
            for path in (job.output, job.raster, job.probabilities):
                if path is not None:
                    publication.sidecar(path, facts)
            yield from self.finish(publication, partial, facts)
        return facts

    def count_facts(self) -> dict[str, Any]:
        """Return what was found, as the sidecar says it."""
        is_regular = self.job.buildings.regularise
        return {
            **self.summary.facts(),
            "ids_from": None
            if self.job.ids_from is None
            else {"file": self.job.ids_from.name, "taken_over": self.counts.taken_over},
            "cut_components": self.counts.cut_components,
            "dropped_too_small": self.counts.too_small,
            "regularise": is_regular,
            "not_regularised": self.counts.not_regularised if is_regular else None,
        }

    def former(self) -> Former | None:
        """Return the buildings of an earlier result, if their identities are to be taken over."""
        path = self.job.ids_from
        return None if path is None else read_former(path, self.scene)

    def _facts(self) -> dict[str, Any]:
        """Return what the sidecar says."""
        return {
            "statement": STATEMENT,
            **self.kind,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "software": versions(),
            "model": self.model_facts(),
            "date": self.job.date,
            "scene": self.scene.facts() | statistics_facts(self.scene, self.card),
            **self.own_facts(),
            "seconds": round(self.summary.seconds, 2),
            "warnings": [*self.scene.warnings, *self.doubts, *self.summary.doubts()],
        }


class Rasters:
    """The rasters that a run was asked for, written as strips and buildings pass.

    Parameters
    ----------
    run
        Says which, and its scene where.
    publication, stack
        Publication and stack of the files of the run.

    Attributes
    ----------
    done
        Pixels that have passed.
    ground
        The ground of them that all images show.
    """

    def __init__(self, run: "Run[Any, Any]", publication: Publication, stack: ExitStack) -> None:
        self.done = 0
        self._run = run
        self.ground = SeenGround(run.scene.grid, run.scene.region)
        self._grades = self._opened(run.job.raster, run.grades, publication, stack)
        self._probabilities = self._opened(
            run.job.probabilities, run.probabilities, publication, stack
        )

    def _opened(
        self, path: Path | None, kind: type[W], publication: Publication, stack: ExitStack
    ) -> W | None:
        if path is None:
            return None
        scene = self._run.scene
        needed = raster_bytes(scene.region, kind.channels)
        partial = publication.partial(path, bytes_needed=needed)
        return stack.enter_context(kind(partial, scene.grid, scene.region))

    def recorded(self, strips: Iterator[Strip]) -> Iterator[Strip]:
        """Count and write each strip on its way."""
        try:
            for strip in strips:
                self._run.summary.seen_pixels += count_seen(strip)
                self._run.summary.hidden_pixels.update(count_hidden(strip))
                seen: np.ndarray = (strip.missing & UNSEEN) == 0
                self.ground.add(strip.window, seen)
                if self._grades is not None:
                    self._write_grades(self._grades, strip, seen)
                if self._probabilities is not None:
                    channels = strip.probabilities[-self._probabilities.channels :]
                    self._probabilities.write(strip.window, channels, seen)
                self.done += strip.window.size
                yield strip
        finally:
            close(strips)

    def _write_grades(self, raster: GradeRaster, strip: Strip, seen: np.ndarray) -> None:
        if self._run.by_pixel and strip.grades is not None:
            raster.write(strip.window, strip.grades, seen)
        else:
            raster.write_valid(strip.window, seen)

    def burn(self, frame: gpd.GeoDataFrame) -> None:
        """Paint buildings, where the pixels are not graded themselves."""
        if self._grades is not None and not self._run.by_pixel:
            self._grades.burn(frame)


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
