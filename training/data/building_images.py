"""Images with building masks: the prepared folder that `training.prepare_buildings` writes.

A prepared folder has `images/` (8-bit, red, green, blue), `masks/` (grey) and `index.csv`, one row
for each image. In a mask, 0 is no building and 255 a building. Values between them are the
certainty of a teacher.
"""

import csv
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from geodamage.errors import LabelError, SceneReadError
from geodamage.sources import read_text
from geodamage.xbd.folders import read_image
from training.data.labelled import Sample

#: Fold of what no fold may learn from.
TEST = -1
#: Fold of what every fold learns from: negatives mined from images without labels.
LEARNT = -2
#: A mask at this grey level or above is a building.
HALF = 128


@dataclass(frozen=True)
class BuildingImage:
    """One prepared image.

    Attributes
    ----------
    image, mask
        Files of the same size; without a mask an image waits for its pseudo-label.
    tile
        The image it was cut from. Nothing of one tile is in two folds.
    source
        Data set that it comes from.
    scale
        Its pixels for each pixel of the tile, along a side.
    gsd
        Metres per pixel, of this image; 0 where unknown.
    fold
        From 0; `TEST` is learnt from by no fold, `LEARNT` by every one.
    buildings
        Whether the mask has a building.
    place
        Ground that tiles share; every place is in one fold.
    """

    image: Path
    mask: Path | None
    tile: str
    source: str
    scale: float
    gsd: float
    fold: int
    buildings: bool
    place: str

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Read image and mask.

        Returns
        -------
        uint8 (rows, columns, 3) and uint8 (rows, columns)
            Red, green, blue; 0 not a building to 255 a building.

        Raises
        ------
        SceneReadError, LabelError
            If a file is missing or damaged, or the two differ in size.
        """
        image = read_image(self.image)
        if self.mask is None:
            raise LabelError(f"{self.image}: has no mask; make one by training.pseudo_labels")
        mask = read_mask(self.mask)
        if mask.shape != image.shape[:2]:
            raise LabelError(
                f"{self.mask}: {mask.shape} pixels, and its image has {image.shape[:2]}; prepare "
                "it again"
            )
        return image, mask

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.image.stem

    @property
    def event(self) -> str:
        """What stands for the disaster of a pair: the data set."""
        return self.source

    def sample(self) -> Sample:
        """Read image and mask as one date without grades: every building is undamaged.

        Raises
        ------
        SceneReadError, LabelError
            What `load` raises.
        """
        image, mask = self.load()
        buildings = (mask >= HALF).astype(np.uint8)
        return Sample(image, None, buildings, buildings)


def read_mask(path: Path) -> np.ndarray:
    """Return a grey mask, uint8 (rows, columns).

    Raises
    ------
    SceneReadError
        If it is missing or no 8-bit image.
    """
    if not path.is_file():
        raise SceneReadError(f"{path}: no such mask; prepare the folder again")
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise SceneReadError(f"{path}: is not a readable image; prepare the folder again")
    return np.asarray(mask, np.uint8)


#: Columns of an index; those after `buildings` may be missing.
COLUMNS = tuple(item.name for item in dataclasses.fields(BuildingImage))


def write_building_index(folder: Path, images: Iterable[BuildingImage]) -> None:
    """Write the index of a prepared folder beside the one that is there, then in its place."""
    partial = folder / "index.csv.partial"
    with partial.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for image in images:
            table.writerow(_row(image, folder))
    partial.replace(folder / "index.csv")


def _row(image: BuildingImage, folder: Path) -> list[object]:
    row = dataclasses.asdict(image)
    row["image"] = image.image.relative_to(folder).as_posix()
    row["mask"] = "" if image.mask is None else image.mask.relative_to(folder).as_posix()
    row["buildings"] = int(image.buildings)
    row["scale"], row["gsd"] = f"{image.scale:g}", f"{image.gsd:.6g}"
    return [row[column] for column in COLUMNS]


def read_building_index(folder: Path) -> list[BuildingImage]:
    """Return the images of a prepared folder, in the order of its index.

    Raises
    ------
    LabelError
        If there is no index, or a row of it makes no sense.
    """
    return list_images(folder / "index.csv", folder)


def list_images(path: Path, folder: Path) -> list[BuildingImage]:
    """Return the images of an index file; the files that it names lie in a folder.

    Raises
    ------
    LabelError
        What `read_building_index` raises.
    """
    try:
        rows = list(csv.DictReader(read_text(path).splitlines(keepends=True)))
    except (OSError, csv.Error) as error:
        raise LabelError(
            f"{path}: no index of prepared images ({error}); make it by training.prepare_buildings"
        ) from error
    images = []
    for number, row in enumerate(rows, start=2):
        try:
            images.append(_image(row, folder))
        except (KeyError, TypeError, ValueError) as error:
            raise LabelError(
                f"{path}: line {number} is no prepared image ({error!r}); make the folder again by "
                "training.prepare_buildings"
            ) from error
    if not images:
        raise LabelError(f"{path}: lists no image; prepare the folder again")
    return images


def _image(row: Mapping[str, str], folder: Path) -> BuildingImage:
    return BuildingImage(
        folder / row["image"],
        folder / row["mask"] if row["mask"] else None,
        row["tile"],
        row["source"],
        float(row["scale"]),
        float(row["gsd"]),
        int(row["fold"]),
        bool(int(row["buildings"])),
        row.get("place") or row["tile"],
    )


def in_folds(
    images: Sequence[BuildingImage], fold: int
) -> tuple[list[BuildingImage], list[BuildingImage]]:
    """Return what a fold learns from and what it is validated on, without the test part.

    Raises
    ------
    LabelError
        If the fold has nothing of one of them, or both show the same place.
    """
    learnt = [image for image in images if image.fold not in (fold, TEST)]
    held_out = [image for image in images if image.fold == fold]
    if not learnt or not held_out:
        known = sorted({image.fold for image in images})
        raise LabelError(
            f"fold {fold}: {len(learnt)} images to learn from and {len(held_out)} to validate on; "
            f"the index has the folds {known}"
        )
    shared = {image.place for image in learnt} & {image.place for image in held_out}
    if shared:
        raise LabelError(f"place {sorted(shared)[0]} is in two folds; prepare the folder again")
    return learnt, held_out
