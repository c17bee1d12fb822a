"""The job of a batch, and what it makes of each scene: a job and a folder of its own."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from geodamage.assessment import Job
from geodamage.batch.shard import Shard
from geodamage.buildings.footprint_files import check_footprints
from geodamage.errors import ManifestError, OptionError, OutputExistsError
from geodamage.event.people import check_population
from geodamage.event.rollups import read_admin
from geodamage.model.card import Card
from geodamage.model.loading import load_model
from geodamage.options.lookup import check_fields, columns, taken
from geodamage.output.publication import sidecar_path
from geodamage.scene.aoi import read_polygons
from geodamage.scene.options import with_choices
from geodamage.scene.unusable import check_unusable
from geodamage.sources import is_remote

if TYPE_CHECKING:
    from geodamage.batch.manifest import BatchScene

#: Names in the folder of a scene, and of the batch.
BUILDINGS, GRADES_RASTER, PROBABILITIES = "buildings.gpkg", "grades.tif", "probabilities.tif"
FEATURES = "features.npz"
SCENES, EVENT, REPORT = "scenes", "event.gpkg", "report.html"
#: What a STAC catalogue says of the images.
IMAGES = "images.json"


def _defaults() -> Job:
    return Job(pre=(), post=(), output=Path(BUILDINGS))


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """Many scenes: which, where to, and how.

    Attributes
    ----------
    scenes
        What is to be assessed.
    output
        Folder of the results; it is made where there is none.
    defaults
        Options of every scene that does not say otherwise; its images and paths do not count, its
        `memory` is that of one scene.
    raster
        Write the grades of each scene as a COG, too.
    probabilities
        Write the probabilities of each scene as a COG, too.
    report
        Write a page for each scene and one for the event, too.
    features
        Keep the features of the buildings of each scene, too.
    merge
        Write the layer of the event at the end.
    admin
        Areas to sum up the event by, besides cells of a grid.
    admin_name
        Field with their names; None for `name`.
    population
        Raster of people per cell; they are shared out among the buildings of the event.
    workers
        Scenes at a time on this machine; None for as many as fit.
    memory
        Bytes for all of them; None takes most of what is free.
    shard
        The share of the scenes that is done here.
    retry_failed
        Try those again that failed.
    overwrite
        Replace results that the ledger does not know.
    dask
        Address of a Dask scheduler.
    dask_local
        Worker processes of a Dask cluster of this machine.
    split
        Pixels above which the strips of a scene, not the scene, are the tasks of the cluster.
    """

    scenes: "Sequence[BatchScene]"
    output: Path
    defaults: Job = field(default_factory=_defaults)
    raster: bool = False
    probabilities: bool = False
    report: bool = False
    features: bool = False
    merge: bool = True
    admin: Path | None = None
    admin_name: str | None = None
    population: Path | None = None
    workers: int | None = None
    memory: float | None = None
    shard: Shard | None = None
    retry_failed: bool = False
    overwrite: bool = False
    dask: str | None = None
    dask_local: int | None = None
    split: float | None = None

    def __post_init__(self) -> None:
        check_fields(self)
        if self.admin_name is not None and self.admin is None:
            raise OptionError("--admin-name needs --admin")
        if self.dask is not None and self.dask_local is not None:
            raise OptionError("--dask and --dask-local: give one of them")
        if self.split is not None and self.dask is None and self.dask_local is None:
            raise OptionError("--split-scenes needs a cluster; also give --dask or --dask-local")


def check_names(scenes: "Sequence[BatchScene]") -> None:
    """Check that each scene has a name of its own, fit for a folder.

    Raises
    ------
    ManifestError
        If not, or if there is no scene.
    """
    if not scenes:
        raise ManifestError("the list names no scene; give a manifest with at least one")
    twice = [name for name, count in Counter(s.name for s in scenes).items() if count > 1]
    if twice:
        raise ManifestError(f"scene {twice[0]!r} is there twice; give each its own name")
    for scene in scenes:
        if scene.name in ("", ".", "..") or "/" in scene.name or "\0" in scene.name:
            raise ManifestError(f"scene {scene.name!r}: no name for a folder; choose another")


def check_shared(batch: BatchJob) -> None:
    """Check the files that all scenes share, before the first of them is begun.

    What a scene names for itself fails that scene alone.

    Raises
    ------
    InputError, OptionError
        If one of them cannot be used.
    """
    shared, read = batch.defaults, batch.defaults.scene
    if batch.merge and batch.admin is not None:
        read_admin(batch.admin, batch.admin_name)
    if batch.merge and batch.population is not None:
        check_population(batch.population)
    if shared.footprints is not None:
        check_footprints(
            shared.footprints,
            id_field=shared.id_field,
            keep=shared.keep,
            skip_broken=shared.skip_broken,
        )
    if read.aoi is not None:
        read_polygons(read.aoi)
    for path in (read.pre_unusable, read.post_unusable):
        if path is not None:
            check_unusable(path, read.unusable_band)


def model_name(model: str | os.PathLike[str]) -> str:
    """Return a name of a bundled model as it is, and a path from the root."""
    name = os.fspath(model)
    is_path = Path(name).suffix.lower() in (".onnx", ".toml")
    return str(Path(name).absolute()) if is_path else name


def scene_job(scene: "BatchScene", batch: BatchJob) -> Job:
    """Return the job of a scene: the defaults of the batch, and what the scene says itself.

    All paths are absolute, because workers may live in other folders.

    Raises
    ------
    ManifestError
        If the scene has an option that is not known.
    """
    defaults = batch.defaults
    if unknown := sorted(scene.options.keys() - columns().keys()):
        raise ManifestError(f"scene {scene.name!r}: unknown options {unknown}")
    folder = batch.output.absolute() / SCENES / scene.name
    reading = with_choices(defaults.scene, scene.options)
    own = taken("Job", "batch", scene.options)
    footprints = own.pop("footprints", None) or defaults.footprints
    own["model"] = model_name(own.get("model") or defaults.model)
    is_alone = own.get("post_only", defaults.post_only)
    return replace(
        defaults,
        pre=() if is_alone else _absolute(scene.pre),
        post=_absolute(scene.post),
        output=folder / BUILDINGS,
        footprints=None if footprints is None else Path(footprints).absolute(),
        raster=folder / GRADES_RASTER if batch.raster else None,
        probabilities=folder / PROBABILITIES if batch.probabilities else None,
        report=folder / REPORT if batch.report else None,
        features=folder / FEATURES if batch.features else None,
        scene=replace(
            reading,
            aoi=_from_root(reading.aoi),
            pre_unusable=_from_root(reading.pre_unusable),
            post_unusable=_from_root(reading.post_unusable),
        ),
        buildings=replace(defaults.buildings, **taken("BuildingOptions", "batch", scene.options)),
        date=scene.date,
        overwrite=True,  # what the ledger does not know is refused before
        **own,
    )


def _from_root(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def _absolute(names: Sequence[str]) -> tuple[str, ...]:
    found = []
    for name in names:
        if is_remote(name):
            found.append(name)
        elif name.startswith("@"):
            found.append(f"@{Path(name[1:]).absolute()}")
        else:
            found.append(str(Path(name).absolute()))
    return tuple(found)


def results_of(job: Job) -> list[Path]:
    """Return all files that a job makes."""
    wanted = [job.output, job.raster, job.probabilities, job.report]
    paths = [path for name in wanted if name is not None for path in (name, sidecar_path(name))]
    return paths if job.features is None else [*paths, job.features]


def refuse_strangers(job: Job) -> None:
    """Check that nothing is there yet of what a job makes.

    Raises
    ------
    OutputExistsError
        If something is.
    """
    for path in results_of(job):
        if os.path.lexists(path):
            raise OutputExistsError(
                f"{path} exists, and the ledger does not know it; choose another folder or give "
                "--overwrite"
            )


@lru_cache(maxsize=8)
def read_card_of(model: str) -> Card:
    """Return the card of a model or an ensemble.

    Raises
    ------
    ModelError
        If it cannot be loaded.
    """
    return load_model(model, device="cpu", threads=1).card
