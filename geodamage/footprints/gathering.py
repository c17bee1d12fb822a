"""Gathering: the footprints of an image's ground, from one source or several."""

import io
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from geodamage._version import __version__
from geodamage.errors import FootprintError, OptionError, without_secrets
from geodamage.fields import empty_frame
from geodamage.footprints.attributes import GATHERED_FIELDS, with_fields
from geodamage.footprints.boxes import LONLAT, Bounds, joined, polygons, read_box, read_parquet_box
from geodamage.footprints.overlaps import RULE, repeated
from geodamage.footprints.published import PUBLISHED, Address, Published
from geodamage.footprints.web import RemoteFile, checked
from geodamage.options.lookup import check_fields
from geodamage.output.publication import Publication, check_output
from geodamage.output.vectors import vector_writer
from geodamage.scene.outlines import outline_of
from geodamage.sources import find, is_remote
from geodamage.vector.layer import split_layer
from geodamage.work import long_work

#: Degrees between the ends of a box that is asked for; a country is no scene.
_WIDEST = 5.0


@dataclass(frozen=True, kw_only=True)
class FootprintsJob:
    """Footprints to gather."""

    like: str
    """The image whose ground counts: a GeoTIFF, a folder of tiles, a glob or `@list.txt`."""
    source: tuple[str, ...]
    """Published sets by name, and files; the first counts where they overlap."""
    output: Path
    """Vector file; the extension picks the format."""
    release: str | None = None
    """Release of Overture; the latest where None."""
    mirror: str | None = None
    """Address of a copy of a published set."""
    allow_remote: bool = False
    """Whether anything is read from a server."""
    overwrite: bool = False
    """Replace a result that is there."""

    def __post_init__(self) -> None:
        check_fields(self)
        named = [name for name in self.source if name in PUBLISHED]
        if self.mirror is not None and len(named) != 1:
            raise OptionError("--mirror is a copy of one published set; give one such --source")
        if self.release is not None and not any(PUBLISHED[name].releases for name in named):
            raise OptionError("--release is of --source overture or osm; leave it out")
        remote = [*named, *(name for name in self.source if is_remote(name))]
        if remote and not self.allow_remote:
            raise OptionError(
                f"--source {remote[0]}: is read from a server, with --allow-remote only; or give a "
                "file that you have"
            )
        if self.mirror is not None:
            checked(self.mirror)


@dataclass(frozen=True)
class GatheringProgress:
    """How far gathering is.

    Attributes
    ----------
    message
        A line for the user; `warning` says that it is one.
    """

    message: str
    warning: bool = False


@long_work
def gather(job: FootprintsJob) -> Generator[GatheringProgress, None, dict[str, Any]]:
    """Gather the footprints of an image's ground into one layer, as `Work`.

    Returns
    -------
    What the sidecar says, as the result of the work.

    Raises
    ------
    GeodamageError
        If the image, a source or the output is refused.
    """
    files = [split_layer(name).path for name in job.source if not _is_served(name)]
    check_output(job.output, inputs=files, overwrite=job.overwrite)
    ground = _ground(job)
    taken = empty_frame(LONLAT, GATHERED_FIELDS)
    told: list[dict[str, Any]] = []
    notes: list[str] = []
    for name in job.source:
        known = len(notes)
        facts, frames = _read(name, job, ground.bounds, notes)
        yield GatheringProgress(f"reading {facts['file']}")
        for note in notes[known:]:
            yield GatheringProgress(note, warning=True)
        found = _on_ground(frames, ground, str(facts["source"]))
        again = repeated(taken, found)
        told.append({**facts, "read": len(found), "left_out": int(again.sum())})
        if not len(found):
            notes.append(f"{facts['file']}: has no footprint on the ground of {_like(job)}")
            yield GatheringProgress(notes[-1], warning=True)
        taken = joined([taken, found[~again]])
    if taken.empty:
        raise FootprintError(f"{job.like}: no source has a footprint on its ground; try another")
    return _write(_unique(taken), job, {"sources": told, "warnings": notes}, ground)


def _is_served(name: str) -> bool:
    return name in PUBLISHED or is_remote(name)


def _like(job: FootprintsJob) -> str:
    return without_secrets(job.like)


def _ground(job: FootprintsJob) -> BaseGeometry:
    """Return the ground of an image, in longitude and latitude."""
    names = find(job.like, allow_remote=job.allow_remote)
    ground = shapely.union_all([outline_of(name) for name in names])
    left, bottom, right, top = ground.bounds
    if max(right - left, top - bottom) > _WIDEST:
        raise FootprintError(
            f"{job.like}: reaches over {right - left:.1f} by {top - bottom:.1f} degrees; give a "
            f"part of less than {_WIDEST:g}"
        )
    return ground


def _read(
    name: str, job: FootprintsJob, bounds: Bounds, notes: list[str]
) -> tuple[dict[str, Any], Iterator[gpd.GeoDataFrame]]:
    """Return what a source says of itself, and its footprints of a box."""
    if name in PUBLISHED:
        return _published(PUBLISHED[name], job, bounds)
    called = without_secrets(name)
    facts = {"file": called, "release": None, "licence": None, "attribution": None}
    if not is_remote(name):
        return {"source": Path(name).name, **facts}, iter([read_box(name, bounds, notes)])
    if ".parquet" not in name:
        raise FootprintError(f"{name}: of files on a server GeoParquet is read; download this one")

    def frames() -> Iterator[gpd.GeoDataFrame]:
        with RemoteFile(name) as file:
            yield read_parquet_box(io.BufferedReader(file), bounds, name)

    return {"source": called.rpartition("/")[2], **facts}, frames()


def _published(
    source: Published, job: FootprintsJob, bounds: Bounds
) -> tuple[dict[str, Any], Iterator[gpd.GeoDataFrame]]:
    address = Address(job.mirror or source.index, job.mirror is not None)
    found = source.read(address, job.release, bounds)
    facts = {
        "source": source.name,
        "file": without_secrets(address.root),
        "release": found.release,
        "licence": source.licence,
        "attribution": source.attribution,
        "files": found.files,
    }
    frames = found.frames
    return facts, frames if source.name != "osm" else _of_openstreetmap(frames)


def _of_openstreetmap(frames: Iterator[gpd.GeoDataFrame]) -> Iterator[gpd.GeoDataFrame]:
    """Yield what Overture has of OpenStreetMap, which comes first there where sources overlap."""
    for frame in frames:
        own = with_fields(frame, "osm")["dataset"].eq("OpenStreetMap").fillna(False)
        yield frame[own.to_numpy(dtype=bool)].reset_index(drop=True)


def _on_ground(
    frames: Iterator[gpd.GeoDataFrame], ground: BaseGeometry, source: str
) -> gpd.GeoDataFrame:
    kept = [empty_frame(LONLAT, GATHERED_FIELDS)]
    for frame in polygons(frames):
        inside = shapely.intersects(frame.geometry.to_numpy(), ground)
        kept.append(with_fields(frame[inside].reset_index(drop=True), source))
    return joined(kept)


def _unique(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return footprints with identities of their own; later ones of one name get a number."""
    times = frame.groupby("building_id").cumcount().to_numpy()
    names = frame["building_id"].astype(str).to_numpy(dtype=object)
    suffix = np.array([f"-{n + 1}" if n else "" for n in times], object)
    return frame.assign(building_id=names + suffix)


def _write(
    frame: gpd.GeoDataFrame,
    job: FootprintsJob,
    told: Mapping[str, Any],
    ground: BaseGeometry,
) -> dict[str, Any]:
    facts = {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "software": {"geodamage": __version__},
        "like": _like(job),
        "bounds": [round(value, 7) for value in ground.bounds],
        "footprints": len(frame),
        **told,
        "overlaps": RULE,
    }
    with Publication(overwrite=job.overwrite) as publication:
        partial = publication.partial(job.output)
        with vector_writer(partial, LONLAT, "footprints", fields=GATHERED_FIELDS) as writer:
            writer.append(frame)
        publication.sidecar(job.output, facts)
    return facts
