"""The index of an xBD download: every usable pair and what is in it; why the rest is left out."""

import csv
import dataclasses
import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path

import numpy as np
import shapely
from rasterio.errors import NotGeoreferencedWarning

from geodamage.damage import GRADES
from geodamage.errors import InputError, LabelError
from geodamage.sources import read_text
from geodamage.xbd.folders import Pair, find_pairs, read_image
from geodamage.xbd.labels import TIERS, Label, fit_lonlat
from geodamage.xbd.masks import burn_labels

# Images of xBD have no georeference, and threads share the filters of warnings.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
METRES_PER_DEGREE = 111_320.0  # along a meridian; enough to tell places apart


@dataclass(frozen=True)
class IndexedPair:
    """One usable pair.

    Attributes
    ----------
    pair, event
        Its name, and the disaster's.
    folder
        Holds `images/` and `labels/`; relative to the folder that all data share.
    rows, columns
        Rows and columns of its images, pixels.
    buildings
        Buildings of each grade, no-damage to destroyed.
    unclassified
        Buildings without a grade.
    pixels
        Pixels of background and of each grade, drawn as the official targets.
    outline
        On the ground, degrees (WGS 84); None without labels to tell it by.
    """

    pair: str
    event: str
    folder: str
    rows: int
    columns: int
    buildings: tuple[int, int, int, int]
    unclassified: int
    pixels: tuple[int, int, int, int, int]
    outline: shapely.Polygon | None

    @property
    def tier(self) -> str:
        """Name of the innermost folder that is a tier of xBD; empty where there is none."""
        return next((part for part in reversed(Path(self.folder).parts) if part in TIERS), "")


@dataclass(frozen=True)
class Problem:
    """A pair that cannot be used, or only in part."""

    pair: str
    folder: str
    why: str
    fatal: bool = True


def tier_folders(roots: Sequence[Path]) -> list[Path]:
    """Return the folders that hold `images/` and `labels/`, under or at the given ones.

    Raises
    ------
    LabelError
        If a given folder holds none.
    """
    found: list[Path] = []
    for root in roots:
        mine = [folder for folder in (root, *(root / tier for tier in TIERS)) if _is_xbd(folder)]
        if not mine:
            raise LabelError(
                f"{root}: no xBD data; it, or one of {', '.join(TIERS)} in it, needs labels/ and "
                "images/"
            )
        found += [folder for folder in mine if folder not in found]
    return found


def _is_xbd(folder: Path) -> bool:
    return (folder / "labels").is_dir() and (folder / "images").is_dir()


def common_folder(folders: Sequence[Path]) -> Path:
    """Return the folder that paths in an index are relative to."""
    return Path(commonpath([folder.resolve() for folder in folders]))


def index_pairs(folders: Sequence[Path], *, threads: int = 2) -> Iterator[IndexedPair | Problem]:
    """Look at every pair of some folders, in order of folder and name; closing it stops the work.

    A pair is looked at whole: both images are decoded, both label files read. A pair whose name, or
    whose images, came before is a problem.
    """
    base = common_folder(folders)
    pairs = [pair for folder in folders for pair in find_pairs(folder)]
    seen: dict[str, str] = {}
    with ThreadPoolExecutor(threads) as pool:
        for pair, looked in zip(pairs, pool.map(lambda p: _look(p, base), pairs), strict=True):
            if isinstance(looked, Problem):
                yield looked
                continue
            entry, digest = looked
            twin = next((seen[key] for key in (entry.pair, digest) if key in seen), None)
            if twin is not None:
                yield Problem(entry.pair, entry.folder, f"duplicate of {twin}")
                continue
            seen[entry.pair] = seen[digest] = f"{entry.folder}/{entry.pair}"
            if not pair.label_file("pre").exists():
                yield Problem(entry.pair, entry.folder, "no pre labels: post's are used", False)
            yield entry


def _look(pair: Pair, base: Path) -> tuple[IndexedPair, str] | Problem:
    folder = str(pair.folder.resolve().relative_to(base))
    try:
        images = [read_image(pair.image(date)) for date in ("pre", "post")]
        labels = pair.labels("post")
        if pair.label_file("pre").exists():
            pair.labels("pre")
    except InputError as error:
        return Problem(pair.name, folder, str(error))
    pre, post = (image.shape[:2] for image in images)
    if pre != post:
        return Problem(pair.name, folder, f"pre is {pre}, post {post} pixels")
    outline = outline_of(labels, pre)
    extent = bounds_of(labels)
    if extent is not None and (extent[0] > pre[1] + 1 or extent[1] > pre[0] + 1):
        return Problem(pair.name, folder, f"labels reach to {extent}, the image is {pre} pixels")
    drawn = np.bincount(burn_labels(labels, pre).ravel(), minlength=5)
    grades = [label.grade for label in labels]
    counts = [sum(grade == g for grade in grades) for g in GRADES]
    digest = hashlib.sha256(images[1].tobytes()).hexdigest()
    entry = IndexedPair(
        pair.name,
        pair.event,
        folder,
        pre[0],
        pre[1],
        (counts[0], counts[1], counts[2], counts[3]),
        sum(grade is None for grade in grades),
        (int(drawn[0]), int(drawn[1]), int(drawn[2]), int(drawn[3]), int(drawn[4])),
        outline,
    )
    return entry, digest


def bounds_of(labels: Sequence[Label]) -> tuple[float, float] | None:
    """Return the largest x and y of labels, pixels."""
    if not labels:
        return None
    _, _, right, bottom = shapely.total_bounds([label.polygon for label in labels])
    return float(right), float(bottom)


def outline_of(labels: list[Label], shape: tuple[int, int]) -> shapely.Polygon | None:
    """Return the outline of an image on the ground, degrees, or None without labels to fit."""
    affine = fit_lonlat(labels)
    if affine is None:
        return None
    rows, columns = shape
    corners = np.array([[0, 0, 1], [columns, 0, 1], [columns, rows, 1], [0, rows, 1]]) @ affine.T
    return shapely.Polygon(corners)


def in_metres(outline: shapely.Polygon) -> shapely.Polygon:
    """Return an outline in metres of an equirectangular plane that every event has to itself."""
    corners = np.asarray(outline.exterior.coords)[:-1]
    metres = corners * METRES_PER_DEGREE
    metres[:, 0] *= np.cos(np.radians(corners[:, 1].mean()))
    return shapely.Polygon(metres)


#: Columns of an index file.
COLUMNS = (
    "pair", "event", "folder", "rows", "columns",
    "buildings_no_damage", "buildings_minor", "buildings_major", "buildings_destroyed",
    "buildings_unclassified",
    "pixels_background", "pixels_no_damage", "pixels_minor", "pixels_major", "pixels_destroyed",
    "outline",
)  # fmt: skip


def write_index(path: Path, entries: Iterable[IndexedPair]) -> None:
    """Write an index as CSV, beside its final place first."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for entry in entries:
            pair, event, folder, rows, columns, buildings, unknown, pixels, outline = (
                getattr(entry, field.name) for field in dataclasses.fields(entry)
            )
            wkt = "" if outline is None else shapely.to_wkt(outline, rounding_precision=7)
            table.writerow([pair, event, folder, rows, columns, *buildings, unknown, *pixels, wkt])
    partial.replace(path)


def read_index(path: Path) -> list[IndexedPair]:
    """Read an index file.

    Raises
    ------
    LabelError
        If it is none.
    """
    try:
        rows = csv.DictReader(read_text(path).splitlines(keepends=True))
        return [_entry(row) for row in rows]
    except (OSError, KeyError, ValueError, TypeError, shapely.errors.ShapelyError) as error:
        raise LabelError(
            f"{path}: not an index ({type(error).__name__}: {error}); make it by training.prepare"
        ) from error


def _entry(row: dict[str, str]) -> IndexedPair:
    numbers = [int(row[name]) for name in COLUMNS[3:15]]
    outline = shapely.from_wkt(row["outline"]) if row["outline"] else None
    if not isinstance(outline, shapely.Polygon | None):
        raise ValueError(f"the outline of {row['pair']} is no polygon")
    return IndexedPair(
        row["pair"], row["event"], row["folder"], numbers[0], numbers[1],
        (numbers[2], numbers[3], numbers[4], numbers[5]), numbers[6],
        (numbers[7], numbers[8], numbers[9], numbers[10], numbers[11]), outline,
    )  # fmt: skip
