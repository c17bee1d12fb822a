"""Looks: what each scene of an event says of the buildings in it."""

import csv
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date as Date
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from pyproj import CRS
from pyproj.exceptions import CRSError

from geodamage.errors import (
    ManifestError,
    OutputError,
    SceneError,
    SceneReadError,
)
from geodamage.fields import NAMES, conform, empty_frame
from geodamage.grid import transformer
from geodamage.output.geojson import to_rfc7946
from geodamage.output.layers import is_empty_sequence
from geodamage.output.publication import VECTOR_EXTENSIONS, read_sidecar, sidecar_path
from geodamage.output.seen_ground import AREA_ENDING
from geodamage.sources import check_file
from geodamage.vector.reading import read_vector
from geodamage.words import counted

LONLAT = CRS.from_user_input("OGC:CRS84")

#: Pieces that an edge of a scene is cut into before it is warped: the edge of a scene of 100 km
#: then lies within decimetres of where it is.
PIECES = 64
#: Bytes of a list of dates.
LARGEST_LIST = 256 * 2**20


@dataclass(frozen=True)
class Look:
    """The result of one scene.

    Attributes
    ----------
    scene
        Its name; unique in an event.
    date
        ISO date of the post image, where known.
    buildings, sidecar
        The vector file and the facts beside it.
    """

    scene: str
    date: str | None
    buildings: Path
    sidecar: Path


@dataclass(frozen=True)
class SceneLooks:
    """The buildings of one scene, as an event takes them.

    Attributes
    ----------
    look
        Where they come from.
    frame
        Every field and `geometry` in longitude and latitude, in the order of `building_id`.
    facts
        What the sidecar says.
    outline
        The ground that was assessed, in longitude and latitude; None where the sidecar lacks it.
    fingerprint
        Hash of both files and the date: equal for equal results.
    statuses, grades
        Buildings of the scene by status, and by grade (1-4).
    """

    look: Look
    frame: gpd.GeoDataFrame
    facts: dict[str, Any]
    outline: shapely.Geometry | None
    fingerprint: str
    statuses: Counter[str] = field(default_factory=Counter)
    grades: Counter[int] = field(default_factory=Counter)

    def without(self, rows: np.ndarray) -> "SceneLooks":
        """Return the scene without some of its rows; what was counted stays.

        Parameters
        ----------
        rows
            bool (n,): True where a row goes.
        """
        return replace(self, frame=self.frame[~rows].reset_index(drop=True))


def find_looks(
    sources: Iterable[str | os.PathLike[str]], *, dates: dict[str, str] | None = None
) -> list[Look]:
    """Find the results of scenes.

    Parameters
    ----------
    sources
        Output folders of `geodamage batch` (`scenes/<name>/buildings.*`), folders of one scene
        (`buildings.*`), and vector files. A scene is called after its folder where the file is
        called `buildings`, else after the file.
    dates
        Date of each scene, by name; others take the date that their sidecar has.

    Returns
    -------
    In the order of `order_looks`.

    Raises
    ------
    ManifestError
        If there is no result, or two of one name.
    SceneReadError
        If a result lacks its sidecar.
    """
    # `results/*.geojson` names the assessed areas beside results, too.
    named = [path for path in map(Path, sources) if not path.name.endswith(AREA_ENDING)]
    files = [file for path in named for file in _files(path)]
    looks = [_look(file, dates or {}) for file in dict.fromkeys(files)]
    check_names(looks)
    return order_looks(looks)


def order_looks(looks: Iterable[Look]) -> list[Look]:
    """Return looks in the order in which an event takes them: by date, then name; undated first."""
    return sorted(looks, key=order_key)


def order_key(look: Look) -> tuple[str, str]:
    """Return what looks are ordered by: date, then name; undated first."""
    return look.date or "", look.scene


def check_names(looks: Sequence[Look]) -> None:
    """Raise `ManifestError` if there is no look, or if two scenes have one name."""
    if not looks:
        raise ManifestError("no assessed scene given; name output folders of geodamage batch")
    first: dict[str, Look] = {}
    for look in looks:
        other = first.setdefault(look.scene, look)
        if other is not look:
            raise ManifestError(
                f"two scenes are called {look.scene}: {other.buildings} and {look.buildings}; "
                "rename a file"
            )


def _files(source: Path) -> list[Path]:
    if not source.is_dir():
        return [source]
    scenes = source / "scenes"
    folders = sorted(scenes.iterdir()) if scenes.is_dir() else [source]
    # A scene that failed has a folder and no result in it.
    files = [_result(folder) for folder in folders if folder.is_dir()]
    found = [file for file in files if file is not None]
    if not found:
        raise ManifestError(
            f"{source}: no scenes/*/buildings.* in it; give an output folder of geodamage batch"
        )
    return found


def _result(folder: Path) -> Path | None:
    names = [folder / f"buildings{extension}" for extension in VECTOR_EXTENSIONS]
    found = [path for path in names if path.exists()]
    if len(found) > 1:
        listed = " and ".join(path.name for path in found)
        raise ManifestError(f"{folder}: {listed} are two results of one scene; name one of them")
    return found[0] if found else None


def _look(path: Path, dates: dict[str, str]) -> Look:
    path = Path(os.path.normpath(path.absolute()))
    scene = path.parent.name if path.stem == "buildings" else path.stem
    date = dates.get(scene) or _sidecar(path).get("date")
    return Look(scene, check_date(date, str(path)), path, sidecar_path(path))


def check_date(text: str | None, where: str) -> str | None:
    """Return the ISO date that a text is or begins with.

    Raises
    ------
    ManifestError
        If it is something else.
    """
    if not text:
        return None
    try:
        return Date.fromisoformat(str(text)[:10]).isoformat()
    except ValueError as error:
        raise ManifestError(f"{where}: {text!r} is not a date; write 2023-02-06") from error


def read_dates(path: Path) -> dict[str, str]:
    """Read the dates of scenes from a CSV with the columns `name` and `date`.

    The manifest of a batch is one.

    Raises
    ------
    ManifestError
        If the file cannot be read or lacks a column.
    """
    try:
        check_file(str(path))
        if path.stat().st_size > LARGEST_LIST:
            raise ManifestError(f"{path}: too long for a list of dates; is it one?")
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except SceneReadError as error:
        raise ManifestError(str(error)) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"{path}: cannot be read as CSV ({error}); check the path") from error
    if rows and not {"name", "date"} <= rows[0].keys():
        raise ManifestError(f"{path}: lacks the columns name and date; add them")
    return {row["name"]: row["date"] for row in rows if row["date"]}


def read_look(look: Look) -> SceneLooks:
    """Read the result of a scene.

    Raises
    ------
    SceneReadError
        If a file is missing or cannot be read.
    SceneError
        If it is no result of an assessment, or not of this sidecar.
    MissingExtraError
        If the format needs a package that is not installed.
    """
    facts = _sidecar(look.buildings)
    frame = _frame(look.buildings, facts)
    return scene_looks(look, frame, facts, fingerprint(look))


def scene_looks(
    look: Look, frame: gpd.GeoDataFrame, facts: dict[str, Any], fingerprint: str
) -> SceneLooks:
    """Return the buildings of a scene as an event takes them.

    Parameters
    ----------
    look
        Where they come from.
    frame
        Every field, and a geometry, in any CRS and order.
    facts
        Facts of the sidecar; without `scene` the ground stays unknown.
    fingerprint
        Differs where the result does.

    Raises
    ------
    SceneError
        If the facts name no usable region.
    """
    frame = _ordered(_in_degrees(frame))
    return SceneLooks(
        look,
        frame,
        facts,
        _outline(facts, look.sidecar),
        fingerprint,
        Counter(frame["status"]),
        Counter(frame["damage_class"].dropna().astype(int)),
    )


def _sidecar(path: Path) -> dict[str, Any]:
    try:
        return read_sidecar(path)
    except OutputError as error:  # of an input, here
        raise SceneReadError(str(error)) from error


def _frame(path: Path, facts: dict[str, Any]) -> gpd.GeoDataFrame:
    expected = facts.get("buildings")
    if expected == 0:  # some formats have no fields then
        return empty_frame(LONLAT)
    frame = _read(path)
    missing = [name for name in NAMES if name not in frame.columns]
    if missing or frame.crs is None:
        lacks = f"the field {missing[0]}" if missing else "a CRS"
        raise SceneError(f"{path}: lacks {lacks}; give a file that geodamage assess wrote")
    if len(frame) != expected:
        raise SceneError(
            f"{path}: holds {counted(len(frame), 'building')} and its sidecar says {expected}; "
            f"run again"
        )
    return frame


def _read(path: Path) -> gpd.GeoDataFrame:
    if path.suffix.lower() not in VECTOR_EXTENSIONS:
        check_file(str(path))
        raise SceneError(f"{path}: no format of geodamage; use {', '.join(VECTOR_EXTENSIONS)}")
    return read_vector(path, remedy="give a file that geodamage assess wrote").frame


def _in_degrees(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    to_lonlat = transformer(frame.crs, LONLAT)
    shapes = to_rfc7946(shapely.force_2d(frame.geometry.to_numpy()), to_lonlat)
    columns = frame[list(NAMES)]
    return conform(gpd.GeoDataFrame(columns, geometry=shapes, crs=LONLAT), LONLAT)


def _ordered(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Order buildings by what they are, so that the order of a format does not matter."""
    keys = ["building_id", "lon", "lat", "area_m2"]
    return frame.sort_values(keys, kind="stable", ignore_index=True)


def fingerprint(look: Look) -> str:
    """Return what tells two results of a scene apart: a hash of both files and of the date.

    Raises
    ------
    SceneReadError
        If a file cannot be read.
    """
    _sidecar(look.buildings)
    check_file(str(look.buildings), may_be_empty=is_empty_sequence(look.buildings))
    digest = hashlib.sha256()
    try:
        for path in (look.buildings, look.sidecar):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    except OSError as error:
        raise SceneReadError(f"{look.buildings}: cannot be read ({error}); check it") from error
    digest.update((look.date or "").encode())
    return digest.hexdigest()


def _outline(facts: dict[str, Any], path: Path) -> shapely.Geometry | None:
    """Return the region of a scene in longitude and latitude."""
    scene = facts.get("scene")
    if scene is None:
        return None
    try:
        left, bottom, right, top = (float(value) for value in scene["region"])
        to_lonlat = transformer(CRS.from_user_input(scene["crs"]), LONLAT)
    except (KeyError, TypeError, ValueError, CRSError) as error:
        raise SceneError(f"{path}: says no region and CRS of the scene ({error!r})") from error
    region = shapely.box(left, bottom, right, top)
    step = max(right - left, top - bottom) / PIECES or 1.0
    pieces = np.array([shapely.segmentize(region, step)], object)
    outline: shapely.Geometry = to_rfc7946(pieces, to_lonlat)[0]
    return outline
