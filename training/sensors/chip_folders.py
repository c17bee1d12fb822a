"""Chips of two sensors on disk: as folders of classes, or as two tables that are read row by row.

    DATA/train_EO/EO_1.png ...       DATA/train_EO.csv, train_SAR.csv: img_name,class_id
    DATA/train_SAR/SAR_1.png ...

Row n of both tables is one pair. Without tables, the images lie in a folder for each class
(`train_EO/0/EO_1.png`, `train_SAR/0/SAR_1.png`), and the same name is one pair. The parts are
`train`, `validation` and `test`; images of a part without labels lie in its folders directly.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from geodamage.errors import LabelError, OptionError, SceneReadError
from geodamage.sources import read_text

SENSORS = ("eo", "sar")
SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ChipFile:
    """One image of one sensor."""

    path: Path
    name: str
    """What both chips of a pair are called: the file's name without the sensor before it."""
    label: int | None
    """Class, from 0; None where nobody says."""


@dataclass(frozen=True)
class ChipPairs:
    """Chips of a part: the same place in both lists is one vehicle."""

    eo: tuple[ChipFile, ...]
    sar: tuple[ChipFile, ...]

    def of(self, sensor: str) -> tuple[ChipFile, ...]:
        """Return the chips of `eo` or `sar`."""
        return self.eo if sensor == "eo" else self.sar

    def __len__(self) -> int:
        return len(self.eo)


def read_pairs(folder: Path, part: str) -> ChipPairs:
    """Return the labelled pairs of a part.

    Raises
    ------
    LabelError
        If a label is missing or is no class, or the sensors differ in number, label or name.
    OptionError
        If the part is not there.
    """
    eo, sar = (read_chips(folder, part, sensor) for sensor in SENSORS)
    for chips in (eo, sar):
        bare = next((chip for chip in chips if chip.label is None), None)
        if bare is not None:
            raise LabelError(f"{bare.path}: has no class; put it into a table or a class's folder")
    if (folder / f"{part}_EO.csv").exists() != (folder / f"{part}_SAR.csv").exists():
        raise LabelError(f"{folder}: only one of {part}_EO.csv and {part}_SAR.csv is there")
    if len(eo) != len(sar):
        raise LabelError(f"{folder}: {part} has {len(eo)} EO and {len(sar)} SAR chips, not pairs")
    tabled = (folder / f"{part}_EO.csv").exists()
    for row, (first, second) in enumerate(zip(eo, sar, strict=True), start=1):
        if first.label != second.label or (not tabled and first.name != second.name):
            raise LabelError(
                f"{folder}: pair {row} of {part} is {first.path.name} of class {first.label} and "
                f"{second.path.name} of class {second.label}; both must show the same vehicle"
            )
    return ChipPairs(eo, sar)


def read_chips(folder: Path, part: str, sensor: str) -> tuple[ChipFile, ...]:
    """Return the chips of one sensor: of a table, of folders of classes, or without labels.

    Raises
    ------
    LabelError
        If a table or a folder's name is not of a class, or an image of a table is missing.
    OptionError
        If there are no such chips.
    """
    images = folder / f"{part}_{sensor.upper()}"
    table = folder / f"{part}_{sensor.upper()}.csv"
    if not images.is_dir():
        raise OptionError(f"{images}: no such folder; a part is {part}_EO/ and {part}_SAR/")
    chips = _from_table(table, images) if table.exists() else _from_folders(images)
    if not chips:
        raise OptionError(f"{images}: has no images; they end in {', '.join(SUFFIXES)}")
    return chips


def _from_table(table: Path, images: Path) -> tuple[ChipFile, ...]:
    try:
        rows = list(csv.DictReader(read_text(table).splitlines(keepends=True)))
        return tuple(_row(images, row["img_name"], row["class_id"]) for row in rows)
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise LabelError(
            f"{table}: not a table of img_name and class_id, a whole number from 0 ({error!r})"
        ) from error


def _row(images: Path, name: str, label: str) -> ChipFile:
    path = images / name
    if not path.is_file():
        raise LabelError(f"{path}: is in the table of {images.name}, and there is no such image")
    number = int(label)
    if number < 0:
        raise ValueError(f"class {number}")
    return ChipFile(path, bare_name(path), number)


def _from_folders(images: Path) -> tuple[ChipFile, ...]:
    """Return chips sorted by class, then by name; chips without a folder of their own are bare."""
    found = []
    for path in images.rglob("*"):
        if path.suffix.lower() not in SUFFIXES:
            continue
        inner = path.parent.relative_to(images).parts
        if len(inner) > 1 or (inner and not inner[0].isdecimal()):
            raise LabelError(f"{path}: a class's folder is named by its number, such as 0")
        found.append(ChipFile(path, bare_name(path), int(inner[0]) if inner else None))
    labelled = {chip.label is None for chip in found}
    if len(labelled) > 1:
        raise LabelError(f"{images}: has images both in classes' folders and beside them")
    return tuple(sorted(found, key=lambda chip: (chip.label or 0, chip.name)))


def bare_name(path: Path) -> str:
    """Return a chip's name without `EO_` or `SAR_` before it."""
    first, _, rest = path.stem.partition("_")
    return rest if rest and first.lower() in SENSORS else path.stem


def labels_of(chips: Sequence[ChipFile], classes: int) -> Numbers:
    """Return int64 (n,).

    Raises
    ------
    LabelError
        If a chip has no class, or one that is too high.
    """
    for chip in chips:
        if chip.label is None or chip.label >= classes:
            raise LabelError(
                f"{chip.path}: its class is {chip.label}; 0 to {classes - 1} are known"
            )
    return np.array([chip.label for chip in chips], np.int64)


def load_chips(chips: Sequence[ChipFile], size: int) -> Bytes:
    """Read chips as grey images of one size.

    Returns
    -------
    uint8 (n, size, size)

    Raises
    ------
    SceneReadError
        If a file is missing or is no image.
    """
    loaded = np.empty((len(chips), size, size), np.uint8)
    for place, chip in zip(loaded, chips, strict=True):
        place[:] = read_chip(chip.path, size)
    return loaded


def read_chip(path: Path, size: int) -> Bytes:
    """Read one chip as a grey image, uint8 (size, size)."""
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise SceneReadError(f"{path}: cannot be read as an image; fetch it again")
    if image.shape == (size, size):
        return image.astype(np.uint8, copy=False)
    # Like PIL, which the challenge's entries resize by, look at all pixels when making it smaller.
    way = cv2.INTER_AREA if image.shape[0] > size else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=way).astype(np.uint8, copy=False)
