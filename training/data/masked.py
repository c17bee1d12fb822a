"""Pairs and images whose labels are masks, or missing: more to train the compact network on."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from geodamage.damage import NOT_ASSESSED
from geodamage.errors import LabelError, OptionError
from geodamage.scores.scoring import read_mask
from geodamage.xbd.folders import read_image
from training.data.crops import ChipOptions, LabelledPair, assemble

#: Half-size pairs have pixels of about 1 m: enlarged to what the model takes as it is.
HALF_ZOOM = 1.5
#: Buildings of fewer pixels are crumbs that resizing a mask leaves.
SMALLEST = 4


@dataclass(frozen=True)
class More:
    """Folders of more to train on, each None where there is none."""

    half: Path | None = None
    """Folders of pairs at half size with target masks."""
    masked: Path | None = None
    """Folders of single images: `images/NAME.*` and masks `masks/NAME.png`, at any depth."""
    unlabelled: Path | None = None
    """Folders of pairs at half size, of which those without target masks are taken."""

    def load(self, options: ChipOptions) -> dict[str, list[LabelledPair]]:
        """Return what the options ask a share of, by the names that `Chips` gives them.

        Raises
        ------
        OptionError
            If a share is asked for without its folder, or a folder is given without a share.
        """
        found: dict[str, list[LabelledPair]] = {}
        for name, load in LOADERS.items():
            folder, share = getattr(self, name), getattr(options, f"{name}_share")
            if (folder is None) != (share == 0):
                raise OptionError(
                    f"chips_{name}_share = {share} and --{name} belong together: give both or none"
                )
            if folder is not None:
                found[name] = load(folder)
        return found


def add_more(parser: argparse.ArgumentParser) -> None:
    """Let a command take the folders."""
    for name, what in (
        ("half", "half-size pairs with target masks"),
        ("masked", "masked images"),
        ("unlabelled", "half-size pairs, those without target masks"),
    ):
        parser.add_argument(f"--{name}", type=Path, help=f"folder of {what} (chips_{name}_share)")


def more_of(options: argparse.Namespace) -> More:
    """Return the folders that a command was given."""
    return More(options.half, options.masked, options.unlabelled)


def find_half_pairs(folder: Path) -> list[str]:
    """Return the names of the pairs with target masks below `images` and `targets`.

    Raises
    ------
    LabelError
        If there are none.
    """
    ending = "_post_disaster_target.png"
    names = sorted(path.name.removesuffix(ending) for path in folder.glob(f"targets/*{ending}"))
    if not names:
        raise LabelError(f"{folder}: no targets/*{ending}; give a folder of pairs with targets")
    return names


def load_half_pair(folder: Path, name: str) -> LabelledPair:
    """Read a pair with its target masks; touching buildings of one grade count as one.

    Raises
    ------
    LabelError, SceneReadError
        If a file is missing or damaged, or the sizes differ.
    """
    pre, post = (read_image(_image(folder, name, date)) for date in ("pre", "post"))
    before, after = (
        read_mask(folder / "targets" / f"{name}_{date}_disaster_target.png")
        for date in ("pre", "post")
    )
    if not pre.shape[:2] == post.shape[:2] == before.shape == after.shape:
        raise LabelError(f"{folder}: images and targets of {name} differ in size")
    index, _ = parts(before)
    graded, centres = parts(after)
    pair = assemble(name, pre, post, (index, graded, after, centres))
    return dataclasses.replace(pair, zoom=HALF_ZOOM)


def load_half_pairs(folder: Path) -> list[LabelledPair]:
    """Read all pairs of a folder that have target masks."""
    return [load_half_pair(folder, name) for name in find_half_pairs(folder)]


def load_unlabelled(folder: Path) -> list[LabelledPair]:
    """Read all pairs of a folder that have no target masks, enlarged to twice their size.

    A teacher is asked about them as large as `assess` would draw them, and chips are cut at the
    zoom of half-size pairs.

    Raises
    ------
    LabelError, SceneReadError
        If there are none, or an image is missing, damaged or of another size than its partner.
    """
    ending = "_pre_disaster"
    names = sorted(
        path.stem.removesuffix(ending)
        for path in folder.glob(f"images/*{ending}.*")
        if not (folder / "targets" / f"{path.stem}_target.png").exists()
    )
    if not names:
        raise LabelError(f"{folder}: no images/*{ending}.* without a target; give another folder")
    return [load_unlabelled_pair(folder, name) for name in names]


def load_unlabelled_pair(folder: Path, name: str) -> LabelledPair:
    """Read a pair of which nothing is known: every pixel is 255 and has no weight."""
    pre, post = (read_image(_image(folder, name, date)) for date in ("pre", "post"))
    if pre.shape != post.shape:
        raise LabelError(f"{folder}: the images of {name} differ in size")
    pre, post = (
        cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC) for image in (pre, post)
    )
    unknown = np.full(pre.shape[:2], NOT_ASSESSED, np.uint8)
    none = np.zeros(pre.shape[:2], np.float32)
    centres = np.zeros((0, 3), int)
    return LabelledPair(name, pre, post, unknown, none, unknown, none, centres, zoom=HALF_ZOOM / 2)


def load_masked(folder: Path) -> list[LabelledPair]:
    """Read all images below a folder that have a mask of buildings.

    Raises
    ------
    LabelError, SceneReadError
        If there is none, or a mask is missing, damaged or of another size.
    """
    images = sorted(path for path in folder.rglob("images/*") if path.is_file())
    if not images:
        raise LabelError(f"{folder}: no images/NAME.* beside masks/NAME.png below it")
    return [load_masked_image(path) for path in images]


def load_masked_image(path: Path) -> LabelledPair:
    """Read `images/NAME.*` with `masks/NAME.png`, in which more than 127 is building."""
    target = path.parent.parent / "masks" / f"{path.stem}.png"
    mask = cv2.imread(str(target), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise LabelError(f"{target}: no mask that can be read for {path.name}; remove the image")
    image = read_image(path)
    if image.shape[:2] != mask.shape:
        raise LabelError(f"{target}: {mask.shape} pixels, its image {image.shape[:2]}")
    return masked_pair(path.stem, image, mask > 127)


def masked_pair(name: str, image: np.ndarray, mask: np.ndarray) -> LabelledPair:
    """Return a single image as a pair of twice the same, of which no grade is asked.

    Parameters
    ----------
    image
        uint8 (h, w, 3), red, green, blue.
    mask
        bool (h, w): building.
    """
    index, centres = parts(mask.astype(np.uint8))
    damage = np.where(mask, NOT_ASSESSED, 0).astype(np.uint8)
    return assemble(name, image, image, (index, np.zeros_like(index), damage, centres))


def parts(codes: np.ndarray) -> tuple[np.ndarray, list[tuple[int, int, int]]]:
    """Part a mask into its buildings.

    Parameters
    ----------
    codes
        uint8 (h, w): 0 none, else a grade.

    Returns
    -------
    tuple
        int32 (h, w): numbers from 1, one for each piece of one grade; and row, column and grade of
        the middle of each.
    """
    index, centres = np.zeros(codes.shape, np.int32), list[tuple[int, int, int]]()
    for grade in np.unique(codes[codes > 0]):
        count, pieces, facts, middles = cv2.connectedComponentsWithStats(
            (codes == grade).astype(np.uint8), connectivity=4
        )
        for piece in range(1, count):
            if facts[piece, cv2.CC_STAT_AREA] >= SMALLEST:
                column, row = middles[piece]
                centres.append((int(row), int(column), int(grade)))
        index[pieces > 0] = pieces[pieces > 0] + index.max()
    return index, centres


#: What reads each kind, by its name in `More`, `ChipOptions` and `Chips`.
LOADERS: Mapping[str, Callable[[Path], list[LabelledPair]]] = {
    "half": load_half_pairs,
    "masked": load_masked,
    "unlabelled": load_unlabelled,
}


def _image(folder: Path, name: str, date: str) -> Path:
    found: Sequence[Path] = sorted(folder.glob(f"images/{name}_{date}_disaster.*"))
    if not found:
        raise LabelError(f"{folder}: no images/{name}_{date}_disaster.*; complete the folder")
    return found[0]
