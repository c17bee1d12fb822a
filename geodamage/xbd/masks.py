"""Masks: labels burned into rasters of grade codes, and written as the official targets are."""

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import shapely

from geodamage.damage import NOT_ASSESSED, DamageGrade
from geodamage.errors import LabelError, OptionError
from geodamage.output.publication import Publication, check_output, output_errors
from geodamage.words import counted
from geodamage.work import long_work
from geodamage.xbd.georeferencing import to_pixels
from geodamage.xbd.labels import TIERS, Label, LabelFile, ToPixels, check_reach, read_label_file

#: Rows and columns of every xBD image, for a label file that does not say.
XBD_SHAPE = (1024, 1024)
#: Name of a label file.
LABEL_NAME = re.compile(r".+_(?P<date>pre|post)_disaster\.json")
#: Code of a label without a grade, by what is done with it.
#: Source: the official targets leave it undrawn; the first place of xView2 draws no-damage;
#: xView2SiameseUNet has a class 5; ChangeMamba ignores 255.
UNCLASSIFIED_CODES: Mapping[str, int | None] = MappingProxyType(
    {"undrawn": None, "no-damage": int(DamageGrade.NO_DAMAGE), "own": 5, "ignore": NOT_ASSESSED}
)


@dataclass(frozen=True)
class Target:
    """One mask that was written.

    Attributes
    ----------
    path
        The PNG.
    labels
        Number of labels in the file.
    unclassified
        How many of them have no grade where one is due: none do in a pre file.
    outside
        How many of them lie wholly outside the image, so are not in the mask.
    """

    path: Path
    labels: int
    unclassified: int
    outside: int


def find_label_files(paths: Sequence[str | PathLike[str]]) -> list[Path]:
    """Return the label files that paths name, each once, in the order given.

    Parameters
    ----------
    paths
        Each is a label file, a folder of them, a folder that holds `labels/`, or an xBD download.
        The folders train (or tier1), tier3, test and hold of a download hold `labels/`.

    Raises
    ------
    LabelError
        If a path holds none, or two of the files have one name.
    """
    found = [file for path in paths for file in _label_files(Path(path))]
    by_name: dict[str, Path] = {}
    for file in found:
        other = by_name.setdefault(file.name, file)
        if other.absolute() != file.absolute():
            raise LabelError(f"{file} has the name of {other}; draw them into two folders")
    return list(by_name.values())


def _label_files(path: Path) -> list[Path]:
    if not path.is_dir():
        date_of(path)
        return [path]
    folders = (path, path / "labels", *(path / tier / "labels" for tier in TIERS))
    found = [file for folder in folders for file in sorted(folder.glob("*.json"))]
    found = [file for file in found if LABEL_NAME.fullmatch(file.name)]
    if not found:
        raise LabelError(
            f"{path}: no *_pre_disaster.json or *_post_disaster.json in it, in labels/, or in the "
            f"labels/ of {', '.join(TIERS)}; give the folder of an xBD download"
        )
    return found


def date_of(path: Path) -> str:
    """Return `pre` or `post`, as a label file's name says.

    Raises
    ------
    LabelError
        If it says neither.
    """
    match = LABEL_NAME.fullmatch(path.name)
    if match is None:
        raise LabelError(
            f"{path}: whether its labels are of before or after is not in its name; it ends in "
            "_pre_disaster.json or _post_disaster.json"
        )
    return match["date"]


@long_work
def write_targets(
    files: Sequence[str | PathLike[str]],
    output: str | PathLike[str],
    *,
    unclassified: str = "undrawn",
    overwrite: bool = False,
) -> Generator[Target, None, list[Target]]:
    """Write the mask of every label file, named and drawn as the official targets are; as `Work`.

    Files of before become 0 and 1, files of after the grades 0-4. Each PNG is complete or not
    there; those written before an error, or before the work is closed, stay.

    Parameters
    ----------
    files
        Label files; `find_label_files` finds them.
    output
        Folder for `<name>_target.png`; made where it is not there.
    unclassified
        What becomes of labels without a grade in files of after: a key of `UNCLASSIFIED_CODES`.
    overwrite
        Replace masks that are there.

    Yields
    ------
    Each mask when it is written.

    Returns
    -------
    All of them, as the result of the work.

    Raises
    ------
    OptionError
        If `unclassified` is not one of the choices.
    LabelError
        If a file is not an xBD label file.
    OutputExistsError
        Before any work, if a mask is there and `overwrite` is false.
    OutputError
        If a mask cannot be written.
    """
    if unclassified not in UNCLASSIFIED_CODES:
        choices = ", ".join(UNCLASSIFIED_CODES)
        raise OptionError(f"unclassified {unclassified!r}: give one of {choices}")
    folder = Path(output)
    sources = [Path(file) for file in files]
    for source in sources:
        date_of(source)
    targets = [folder / f"{source.stem}_target.png" for source in sources]
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for target in targets:
        check_output(target, overwrite=overwrite, extensions=(".png",))
    written = []
    for source, target in zip(sources, targets, strict=True):
        written.append(_write_target(source, target, unclassified, overwrite))
        yield written[-1]
    return written


def _write_target(source: Path, target: Path, unclassified: str, overwrite: bool) -> Target:
    file = read_label_file(source, to_pixels=_image_beside(source))
    shape = file.shape or XBD_SHAPE
    outside = _count_outside(source, file, shape)
    is_pre = date_of(source) == "pre"
    mask = (
        (burn_index(file.labels, shape) > 0).astype(np.uint8)
        if is_pre
        else burn_labels(file.labels, shape, unclassified=UNCLASSIFIED_CODES[unclassified])
    )
    with Publication(overwrite=overwrite) as publication:
        png = cv2.imencode(".png", mask)[1].tobytes()
        path = publication.partial(target, bytes_needed=len(png))
        with output_errors(target):
            path.write_bytes(png)
    ungraded = 0 if is_pre else sum(label.grade is None for label in file.labels)
    return Target(target, len(file.labels), ungraded, outside)


def _image_beside(source: Path) -> ToPixels | None:
    """Return what turns degrees into pixels of the GeoTIFF that belongs to a label file."""
    for suffix in (".tif", ".tiff"):
        image = source.parent.parent / "images" / f"{source.stem}{suffix}"
        if image.exists():
            return partial(to_pixels, image)
    return None


def _count_outside(source: Path, file: LabelFile, shape: tuple[int, int]) -> int:
    """Count labels wholly outside their image; refuse a file all of whose labels are."""
    if not file.labels:
        return 0
    boxes = shapely.bounds([label.polygon for label in file.labels])
    rows, columns = shape
    # A vertex half a pixel outside is rounded to the rim.
    apart = (boxes[:, :2] >= [columns - 0.5, rows - 0.5]) | (boxes[:, 2:] < -0.5)
    outside = int(apart.any(axis=1).sum())
    if outside == len(boxes):
        raise LabelError(
            f"{source}: {counted(outside, 'label lies', 'labels lie')} outside an image of "
            f"{columns} x {rows} pixels; "
            "fix metadata.width and metadata.height, or the labels"
        )
    return outside


def burn_labels(
    labels: Sequence[Label], shape: tuple[int, int], *, unclassified: int | None = None
) -> np.ndarray:
    """Burn xBD labels into a mask exactly as the official xView2 targets were drawn.

    Vertices are rounded to whole pixels and filled in file order: where labels overlap, the later
    one wins.

    Parameters
    ----------
    labels
        Labels in file order.
    shape
        Rows and columns.
    unclassified
        Code for labels without a grade; None leaves them undrawn, as in the official targets.

    Returns
    -------
    uint8 (rows, columns)
        Codes: 0 background, 1-4 `DamageGrade`.
    """
    mask = np.zeros(shape, np.uint8)
    for label in labels:
        code = unclassified if label.grade is None else int(label.grade)
        if code is not None:
            fill(mask, label, code)
    return mask


def burn_index(labels: Sequence[Label], shape: tuple[int, int]) -> np.ndarray:
    """Burn each label's place in the sequence, counted from 1; 0 is background.

    Returns
    -------
    int32 (rows, columns)
    """
    index = np.zeros(shape, np.int32)
    for number, label in enumerate(labels, start=1):
        fill(index, label, number)
    return index


def fill(mask: np.ndarray, label: Label, code: int) -> None:
    """Fill one label's polygon in place; its holes keep what was there before.

    Raises
    ------
    LabelError
        If a vertex is not finite or absurdly far away.
    """
    try:
        check_reach(label.polygon)
    except ValueError as error:
        raise LabelError(f"label {label.uid or '?'}: {error}; fix or remove it") from error
    rings = [label.polygon.exterior, *label.polygon.interiors]
    # Source: the official targets; half a pixel is rounded up (`mexico-earthquake_00000005_pre`
    # has such vertices, and rounds none to even).
    vertices = [np.floor(np.asarray(ring.coords)[:, :2] + 0.5).astype(np.int32) for ring in rings]
    if len(vertices) == 1:
        _fill_ring(mask, vertices[0], code)
        return
    inside = np.zeros(mask.shape, np.uint8)
    for value, ring in zip([1] + [0] * len(label.polygon.interiors), vertices, strict=True):
        _fill_ring(inside, ring, value)
    mask[inside > 0] = code


def _fill_ring(mask: np.ndarray, vertices: np.ndarray, code: int) -> None:
    """Fill a ring as OpenCV up to 4.5 does, with which the official targets were drawn.

    Later versions differ by single pixels where a ring crosses the rim of the image.
    """
    rows, columns = mask.shape
    if ((vertices >= 0) & (vertices < [columns, rows])).all():
        cv2.fillPoly(mask, [vertices], code)
        return
    for row, left, right in _spans(vertices.astype(np.int64), rows):
        if right >= 0 and left < columns:
            mask[row, max(left, 0) : right + 1] = code
    cv2.polylines(mask, [vertices], True, code)


#: OpenCV follows an edge in steps of 2**-16 pixels. Source: its fixed-point rule, re-implemented
#: from its results: 3,000 random rings and all official targets agree to the pixel.
FIXED = 16


def _spans(vertices: np.ndarray, rows: int) -> Iterator[tuple[int, int, int]]:
    """Yield row, first and last column of each stretch inside a ring, its outline left out."""
    top, bottom = vertices, np.roll(vertices, -1, axis=0)
    slanted = top[:, 1] != bottom[:, 1]
    edges = np.stack([top[slanted], bottom[slanted]], axis=1)  # (n, end, xy)
    if not len(edges):
        return
    order = np.argsort(edges[:, :, 1], axis=1)
    edges = np.take_along_axis(edges, order[:, :, None], axis=1)
    (left, first), (right, last) = edges[:, 0].T, edges[:, 1].T
    run = (right - left) << FIXED
    step = np.sign(run) * (np.abs(run) // (last - first))  # towards zero, as C divides
    for row in range(max(int(first.min()), 0), min(int(last.max()), rows)):
        here = (first <= row) & (row < last)
        crossings = np.sort((left[here] << FIXED) + step[here] * (row - first[here]))
        for start, stop in crossings.reshape(-1, 2):
            yield row, int(-(-start >> FIXED)), int(stop >> FIXED)
