"""Pairs of two sensors: an optical pre image, and one of a radar after.

Two layouts are read: that of xBD with one more image of each pair, `images/NAME_post_sar.png`, as
`sample_data/make.py --xbd DIR --sar` draws it, and that of BRIGHT. The optical post image, where
there is one, is what a teacher is shown; the student never sees it.
"""

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

import cv2
import numpy as np
import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from geodamage.damage import BACKGROUND, FROM_SCALE
from geodamage.errors import LabelError, SceneReadError
from geodamage.sources import check_file
from geodamage.xbd.folders import DRIVERS, Pair, read_image
from sample_data.scenes import draw_scene
from training.data.crops import LabelledPair, assemble, label_drawn, load_pair
from training.data.labelled import Sample

#: Folder and ending of each file of a pair of BRIGHT.
#: Source: github.com/ChenHongruixuan/BRIGHT, README, "Data Preparation".
BRIGHT_FILES = {
    "pre": ("pre-event", "_pre_disaster.tif"),
    "post": ("post-event", "_post_disaster.tif"),
    "target": ("target", "_building_damage.tif"),
}
#: Grade of each code of a BRIGHT target; 0 is background.
BRIGHT_GRADES: Mapping[int, int] = {BACKGROUND: BACKGROUND} | {
    int(code): int(grade) for code, grade in FROM_SCALE["bright"].items() if grade is not None
}


@dataclass(frozen=True, order=True)
class SensorPair:
    """A pair whose post image is of a radar.

    Attributes
    ----------
    name
        Event and number.
    folder
        Holds the folders of its layout.
    """

    name: str
    folder: Path = field(repr=False)

    @property
    def event(self) -> str:
        """Name of the disaster."""
        return self.name.rpartition("_")[0] or self.name

    @abstractmethod
    def labelled(self) -> LabelledPair:
        """Read the pair with its masks; `post` is uint8 (rows, columns, 1).

        Raises
        ------
        LabelError, SceneReadError
            If a file is missing or damaged, or sizes differ.
        """

    def sample(self) -> Sample:
        """Read what is validated on."""
        pair = self.labelled()
        return Sample(pair.pre, pair.post, pair.damage, (pair.damage > 0).astype(np.uint8))


@dataclass(frozen=True, order=True)
class RadarPair(SensorPair):
    """A pair in the layout of xBD, with `images/NAME_post_sar.*` beside the optical ones."""

    def labelled(self) -> LabelledPair:
        """Read the pair; `shown` is the optical post image, for a teacher."""
        optical = load_pair(Pair(self.name, self.folder))
        radar = read_radar(self._radar())
        _check_shape(self.name, optical.pre, radar)
        return replace(optical, post=radar, shown=optical.post)

    def _radar(self) -> Path:
        for suffix in DRIVERS:
            path = self.folder / "images" / f"{self.name}_post_sar{suffix}"
            if path.exists():
                return path
        raise LabelError(
            f"{self.folder}/images/{self.name}_post_sar.*: no such image; draw the set by "
            "make.py --xbd DIR --sar"
        )


@dataclass(frozen=True, order=True)
class BrightPair(SensorPair):
    """A pair of BRIGHT (Chen et al. 2025): three grades by pixel, no outlines, no optical post."""

    def path(self, kind: str) -> Path:
        """Return where `pre`, `post` or `target` is, or would be."""
        folder, ending = BRIGHT_FILES[kind]
        return self.folder / folder / f"{self.name}{ending}"

    def labelled(self) -> LabelledPair:
        """Read the pair; what touches and has one grade counts as one building."""
        pre, radar = read_image(self.path("pre")), read_radar(self.path("post"))
        codes = read_radar(self.path("target"))[..., 0]
        _check_shape(self.name, pre, radar)
        _check_shape(self.name, pre, codes)
        damage = bright_grades(codes, str(self.path("target")))
        index, centres = _components(damage)
        return assemble(self.name, pre, radar, (index, index, damage, centres))


#: Layouts by what a recipe calls them.
LAYOUTS: Mapping[str, type[SensorPair]] = {"two_sensors": RadarPair, "bright": BrightPair}


def find_bright_pairs(folder: str | PathLike[str]) -> list[BrightPair]:
    """Return every pair of a folder of BRIGHT that has a target, sorted by name.

    Raises
    ------
    LabelError
        If there is none.
    """
    inner, ending = BRIGHT_FILES["target"]
    paths = sorted((Path(folder) / inner).glob(f"*{ending}"))
    if not paths:
        raise LabelError(f"{folder}/{inner}: no *{ending}; give the folder of a BRIGHT download")
    return [BrightPair(path.name.removesuffix(ending), Path(folder)) for path in paths]


def bright_grades(codes: np.ndarray, source: str) -> np.ndarray:
    """Return grades of the codes of a BRIGHT target, uint8 of the same shape.

    Raises
    ------
    LabelError
        If a code is unknown.
    """
    unknown = sorted(set(np.unique(codes).tolist()) - set(BRIGHT_GRADES))
    if unknown:
        raise LabelError(
            f"{source}: code {unknown[0]} is not one of {', '.join(map(str, BRIGHT_GRADES))}; give "
            "the targets as they are published"
        )
    table = np.zeros(256, np.uint8)
    for code, grade in BRIGHT_GRADES.items():
        table[code] = grade
    return np.asarray(table[codes])


def _components(damage: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Return numbers of the buildings, int32, and row, column and grade of each."""
    index = np.zeros(damage.shape, np.int32)
    centres: list[tuple[int, int, int]] = []
    for grade in sorted(set(np.unique(damage).tolist()) - {BACKGROUND}):
        count, labels, _, middles = cv2.connectedComponentsWithStats(
            (damage == grade).astype(np.uint8), connectivity=4
        )
        index[labels > 0] = labels[labels > 0] + len(centres)
        centres += [(int(y), int(x), int(grade)) for x, y in middles[1:count]]
    return index, centres


def _check_shape(name: str, pre: np.ndarray, other: np.ndarray) -> None:
    if pre.shape[:2] != other.shape[:2]:
        raise LabelError(f"{name}: pre is {pre.shape[:2]}, another file {other.shape[:2]} pixels")


def read_radar(path: Path) -> np.ndarray:
    """Read an image of one channel.

    Returns
    -------
    uint8 (rows, columns, 1)

    Raises
    ------
    SceneReadError
        If it is no PNG, TIFF or JPEG, is damaged, or is not of one channel of 8 bits.
    """
    check_file(str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            # GDAL's short cut for whole PNGs turns a truncated file into noise without an error.
            with (
                rasterio.Env(GDAL_PNG_WHOLE_IMAGE_OPTIM="NO"),
                rasterio.open(path, driver=DRIVERS.get(path.suffix.lower())) as dataset,
            ):
                kinds, plane = set(dataset.dtypes), dataset.read(1)
                count = dataset.count
    except (RasterioError, OSError) as error:
        raise SceneReadError(f"{path}: cannot be read as PNG, TIFF or JPEG ({error})") from error
    if count != 1 or kinds != {"uint8"}:
        raise SceneReadError(
            f"{path}: {count} channels of {kinds.pop()}; it has one of 8 bits; scale and pick it"
        )
    return np.ascontiguousarray(plane[..., None])


def draw_two_sensors(number: int) -> LabelledPair:
    """Draw one generated scene with its radar image; `number` is its seed."""
    scene = draw_scene(number, 512, sar=True)
    optical = label_drawn(scene, number)
    if scene.post_sar is None:
        raise LabelError(f"scene {number}: has no radar image")
    radar = np.ascontiguousarray(scene.post_sar.transpose(1, 2, 0))
    return replace(optical, post=radar, shown=optical.post)
