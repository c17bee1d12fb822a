"""Samples of paired chips, each decided by the seed, the phase and its own number alone."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from geodamage.errors import OptionError
from training.extras import optional
from training.sensors.chip_folders import SENSORS, Bytes, ChipPairs, Numbers, labels_of, load_chips
from training.sensors.chip_recipe import ChipRecipe

#: Side of the hole of `auto`, pixels. Source: CMKD, KD2 cell 4 (Cutout).
HOLE = 16


@dataclass(frozen=True)
class LoadedChips:
    """Decoded pairs: the same row is one vehicle."""

    eo: Bytes
    """uint8 (n, size, size)."""
    sar: Bytes
    """uint8 (n, size, size); its size is another."""
    labels: Numbers
    """int64 (n,)."""

    def of(self, sensor: str) -> Bytes:
        """Return the chips of `eo` or `sar`."""
        return self.eo if sensor == "eo" else self.sar

    def __len__(self) -> int:
        return len(self.labels)


def load_pairs(pairs: ChipPairs, recipe: ChipRecipe) -> LoadedChips:
    """Decode pairs at the sizes of a recipe; a quarter of a million take about a gigabyte."""
    eo, sar = (load_chips(pairs.of(sensor), recipe.size(sensor)) for sensor in SENSORS)
    return LoadedChips(eo, sar, labels_of(pairs.eo, recipe.classes))


def split_pairs(pairs: ChipPairs, share: float, seed: int) -> tuple[ChipPairs, ChipPairs]:
    """Keep a share of each class, and at least one pair, out of training.

    Raises
    ------
    OptionError
        If a class has a single pair.
    """
    labels = np.array([chip.label for chip in pairs.eo])
    kept = np.zeros(len(labels), bool)
    for number in np.unique(labels):
        places = np.flatnonzero(labels == number)
        if len(places) < 2:
            raise OptionError(
                f"held_out = {share}: class {number} has a single pair; give the part validation"
            )
        count = min(max(round(len(places) * share), 1), len(places) - 1)
        kept[np.random.default_rng([seed, int(number)]).permutation(places)[:count]] = True
    return _some(pairs, ~kept), _some(pairs, kept)


def _some(pairs: ChipPairs, chosen: npt.NDArray[np.bool_]) -> ChipPairs:
    places = np.flatnonzero(chosen)
    return ChipPairs(tuple(pairs.eo[n] for n in places), tuple(pairs.sar[n] for n in places))


class ChipSamples:
    """Pairs in random order, the student's chip augmented; a teacher sees chips as they are.

    Parameters
    ----------
    student
        Sensor of the student.
    seed
        Seed of everything that is drawn, such as seed and phase.
    """

    def __init__(
        self, chips: LoadedChips, student: str, augmentation: str, *, seed: tuple[int, ...]
    ) -> None:
        self.chips, self.student, self.augmentation, self.seed = chips, student, augmentation, seed
        self._order: tuple[int, Numbers] = (-1, np.arange(len(chips)))

    def __len__(self) -> int:
        return len(self.chips)

    def draw(self, number: int) -> dict[str, np.ndarray]:
        """Return `student`, `teacher` (uint8, of the other sensor) and `label` of a sample."""
        epoch, within = divmod(number, len(self))
        if self._order[0] != epoch:
            rng = np.random.default_rng([*self.seed, 0, epoch])
            self._order = epoch, rng.permutation(len(self))
        place = int(self._order[1][within])
        other = SENSORS[1 - SENSORS.index(self.student)]
        rng = np.random.default_rng([*self.seed, 1, number])
        return {
            "student": augmented(self.chips.of(self.student)[place], self.augmentation, rng),
            "teacher": self.chips.of(other)[place],
            "label": self.chips.labels[place],
        }


def augmented(chip: Bytes, how: str, rng: np.random.Generator) -> Bytes:
    """Return a chip as a student sees it; see `ChipRecipe.eo_augmentation`."""
    if how == "turns":
        return turned(chip, rng)
    if how == "auto":
        return with_hole(by_policy(chip, rng), rng)
    return cropped(chip, rng) if how == "crops" else chip


def turned(chip: Bytes, rng: np.random.Generator) -> Bytes:
    """Return a chip in one of its eight turned and mirrored forms."""
    chip = np.rot90(chip, int(rng.integers(4)))
    return np.ascontiguousarray(chip[:, ::-1] if rng.random() < 0.5 else chip)


def by_policy(chip: Bytes, rng: np.random.Generator) -> Bytes:
    """Return a chip after one of the 25 pairs of changes that AutoAugment learnt on CIFAR-10.

    Source: Cubuk et al. 2019, table 7, by torchvision; CMKD has a copy of its own.
    """
    transforms = optional("torchvision.transforms", "train")
    policy = transforms.AutoAugment(transforms.AutoAugmentPolicy.CIFAR10)
    # It draws from torch's own generator, which must not depend on the samples before.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        changed = policy(torch.from_numpy(chip.copy())[None])
    return np.asarray(changed[0].numpy(), np.uint8)


def with_hole(chip: Bytes, rng: np.random.Generator) -> Bytes:
    """Return a chip with a square filled by its mean, some of which may lie outside."""
    # Source: CMKD, KD2 cell 4; there a hole inside took its row for its column, too, so
    # that it always lay on the diagonal.
    size = chip.shape[0]
    top, left = rng.integers(-(HOLE // 2), max(size - HOLE, 1), 2)
    changed = chip.copy()
    changed[max(top, 0) : top + HOLE, max(left, 0) : left + HOLE] = round(float(chip.mean()))
    return changed


def cropped(chip: Bytes, rng: np.random.Generator) -> Bytes:
    """Return a chip turned by up to 15 degrees, a random part of it, and mirrored."""
    # Source: CMKD, KD2 cell 7: RandomRotation(15) and RandomResizedCrop, whose part has 8 %
    # to 100 % of the area and sides of 3:4 to 4:3, then flips. There of chips of 52 pixels.
    size = chip.shape[0]
    share, aspect = rng.uniform(0.08, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
    sides = np.minimum(np.sqrt(share * np.array([aspect, 1 / aspect])), 1) * size
    corner = rng.uniform(0, size - sides + 1e-9)
    angle = np.deg2rad(rng.uniform(-15, 15))
    mirror = np.where(rng.random(2) < 0.5, -1, 1)
    # From a pixel of the result to one of the chip: mirror, part, then turn about the middle.
    middle = (size - 1) / 2
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag(mirror * sides / size)
    centre = turn @ (corner + (sides - 1) / 2 - middle) + middle
    shift = centre - matrix @ np.array([middle, middle])
    affine = np.column_stack([matrix, shift])
    changed = cv2.warpAffine(
        chip, affine, (size, size), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )
    return np.asarray(changed, np.uint8)
