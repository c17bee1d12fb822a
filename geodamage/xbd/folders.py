"""The folder layout of xBD: pairs of images with label files beside them."""

import csv
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
import rasterio
from rasterio.errors import RasterioError

from geodamage.errors import LabelError, SceneReadError
from geodamage.scene.opening import environment, open_plain
from geodamage.sources import check_file, read_text
from geodamage.words import counted
from geodamage.xbd.labels import Label, read_xbd

DATES = ("pre", "post")
#: In this order; xBD is given away as PNG, its georeferenced edition as TIFF.
DRIVERS = {".png": "PNG", ".tif": "GTiff", ".tiff": "GTiff", ".jpg": "JPEG", ".jpeg": "JPEG"}


@dataclass(frozen=True, order=True)
class Pair:
    """One pre/post pair of an xBD folder.

    Attributes
    ----------
    name
        Event and number, such as `hurricane-michael_00000012`.
    folder
        Holds `images/` and `labels/`.
    """

    name: str
    folder: Path = field(repr=False)

    @property
    def event(self) -> str:
        """Name of the disaster."""
        return self.name.rpartition("_")[0] or self.name

    def image(self, date: str) -> Path:
        """Return the path of the image of `pre` or `post`."""
        stem = f"{self.name}_{date}_disaster"
        for suffix in DRIVERS:
            path = self.folder / "images" / (stem + suffix)
            if path.exists():
                return path
        raise LabelError(f"{self.folder}/images/{stem}.*: no such image; the pair is incomplete")

    def label_file(self, date: str) -> Path:
        """Return where the labels of `pre` or `post` are, or would be."""
        return self.folder / "labels" / f"{self.name}_{date}_disaster.json"

    def labels(self, date: str) -> list[Label]:
        """Return the labels of `pre` or `post`."""
        return read_xbd(self.label_file(date))


def find_pairs(folder: str | PathLike[str]) -> list[Pair]:
    """Return every pair of a folder that has post labels, sorted by name.

    Raises
    ------
    LabelError
        If there is none.
    """
    folder = Path(folder)
    suffix = "_post_disaster.json"
    names = sorted(path.name[: -len(suffix)] for path in (folder / "labels").glob("*" + suffix))
    if not names:
        raise LabelError(f"{folder}/labels: no *{suffix}; give the folder of an xBD download")
    return [Pair(name, folder) for name in names]


def read_split(
    path: str | PathLike[str], folder: str | PathLike[str], part: str | None = None
) -> list[Pair]:
    """Return the pairs that a split file names.

    Parameters
    ----------
    path
        CSV with the columns `pair` and `part`, and `folder` where the pairs lie in several.
    folder
        Holds the pairs, or the folders that the file names.
    part
        Only this part; None takes all.

    Raises
    ------
    LabelError
        If the file is no such table, or holds no pair of the part.
    """
    try:
        reader = csv.DictReader(read_text(path).splitlines(keepends=True))
        rows = []
        for row in reader:
            if None in (row.get("pair", ""), row.get("part", "")):
                raise LabelError(f"{path}: line {reader.line_num} is short; give pair and part")
            rows.append(row)
        chosen = [
            Pair(row["pair"], Path(folder) / (row.get("folder") or ""))
            for row in rows
            if part is None or row["part"] == part
        ]
    except SceneReadError as error:
        raise LabelError(str(error)) from error
    except (OSError, KeyError, csv.Error) as error:
        raise LabelError(
            f"{path}: not a split file ({type(error).__name__}: {error}); "
            "it needs the columns pair and part"
        ) from error
    if not chosen:
        parts = ", ".join(sorted({row["part"] for row in rows})) or "none"
        raise LabelError(f"{path}: no pair in part {part!r}; its parts are {parts}")
    return chosen


def read_image(path: str | PathLike[str]) -> np.ndarray:
    """Read one image of a pair.

    Returns
    -------
    uint8 (rows, columns, 3)
        Red, green, blue: the file's first three channels.

    Raises
    ------
    SceneReadError
        If it is no PNG, TIFF or JPEG, is damaged, is not 8-bit, or has fewer than three channels.
    """
    path = Path(path)
    if path.suffix.lower() not in DRIVERS:
        raise SceneReadError(f"{path}: not a name of an image; it ends in {', '.join(DRIVERS)}")
    name = check_file(str(path))
    try:
        # GDAL's short cut for whole PNGs turns a truncated file into noise, without an error.
        with (
            environment(name),
            rasterio.Env(GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"),
            open_plain(name, DRIVERS[path.suffix.lower()]) as dataset,
        ):
            if dataset.count < 3 or set(dataset.dtypes) != {"uint8"}:
                raise SceneReadError(
                    f"{path}: {counted(dataset.count, 'channel')} of {dataset.dtypes[0]}; "
                    "an image of a pair has three of 8 bits"
                )
            planes: np.ndarray = dataset.read([1, 2, 3])
    except (RasterioError, OSError) as error:
        if isinstance(error, SceneReadError):
            raise
        raise SceneReadError(f"{path}: cannot be read as PNG, TIFF or JPEG ({error})") from error
    return np.ascontiguousarray(planes.transpose(1, 2, 0))
