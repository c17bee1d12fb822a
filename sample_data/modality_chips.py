"""Small paired chips of drawn vehicles, optical (EO) and radar (SAR): for tests and a first look.

They stand in for the chips of the UNICORN data set (NTIRE 2021, track 2) and have its layout. Ten
classes differ in length and width, which both chips show. They also differ in the corners of the
body that send the radar's echo back: bright points in the SAR chip, faint seams in the EO chip.
Nothing is hidden from either sensor altogether, and both have noise of their own kind.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

#: Pixels of a side. Source: UNICORN's chips, EO about 31 and SAR about 55 pixels.
EO_SIZE, SAR_SIZE = 30, 54
#: Chips of each class in a training part of 1,000: the challenge's order, its tail less long.
SHARES = (320, 170, 130, 100, 70, 50, 50, 40, 40, 30)
SEED = 2021


@dataclass(frozen=True)
class Kind:
    """A kind of vehicle; lengths as shares of a chip's side, places along and across the body."""

    length: float
    width: float
    corners: tuple[tuple[float, float], ...]
    """Where it sends an echo back: along from -1 (rear) to 1 (front), across from -1 to 1."""


#: Neighbours in size have corners in different places.
KINDS = (
    Kind(0.42, 0.20, ((0.5, 0.0), (-0.6, 0.0))),
    Kind(0.45, 0.21, ((-0.9, -0.8), (-0.9, 0.8))),
    Kind(0.48, 0.21, ((0.1, -0.8), (0.1, 0.8), (-0.9, 0.0))),
    Kind(0.50, 0.22, ((0.9, -0.8), (0.9, 0.8), (-0.2, 0.0))),
    Kind(0.58, 0.24, ((0.4, 0.0), (-0.9, -0.8), (-0.9, 0.8))),
    Kind(0.61, 0.24, ((0.8, 0.0), (0.2, 0.0), (-0.4, 0.0))),
    Kind(0.64, 0.25, ((0.5, -0.8), (0.0, 0.8), (-0.5, -0.8))),
    Kind(0.74, 0.26, ((0.9, 0.0), (-0.9, 0.0))),
    Kind(0.78, 0.26, ((0.3, -0.8), (0.3, 0.8), (-0.3, -0.8), (-0.3, 0.8))),
    Kind(0.82, 0.27, ((0.0, 0.0), (0.9, -0.8), (-0.9, 0.8))),
)


@dataclass(frozen=True)
class Pose:
    """How one vehicle lies in its chip."""

    angle: float
    """Radians."""
    centre: tuple[float, float]
    """Shares of the side from the middle of the chip: x, y."""
    stretch: float
    """Length and width of this one against those of its kind."""

    def place(self, along: Floats, across: Floats, size: int) -> Floats:
        """Return pixels (n, 2) of places on the ground, given as shares of the side."""
        cosine, sine = np.cos(self.angle), np.sin(self.angle)
        x = 0.5 + self.centre[0] + along * cosine - across * sine
        y = 0.5 + self.centre[1] + along * sine + across * cosine
        return np.asarray(np.stack([x, y], -1) * size - 0.5, np.float64)


def draw_pose(generator: np.random.Generator) -> Pose:
    """Draw how a vehicle lies."""
    x, y = generator.normal(0, 0.03, 2)
    return Pose(generator.uniform(0, 2 * np.pi), (x, y), generator.normal(1, 0.05))


def _outline(kind: Kind, pose: Pose, size: int) -> Floats:
    along = np.array([1, 1, -1, -1]) * kind.length / 2 * pose.stretch
    across = np.array([1, -1, -1, 1]) * kind.width / 2 * pose.stretch
    return pose.place(along, across, size)


def _corner_pixels(kind: Kind, pose: Pose, size: int) -> Floats:
    places = np.array(kind.corners) * pose.stretch / 2
    return pose.place(places[:, 0] * kind.length, places[:, 1] * kind.width, size)


def _spots(pixels: Floats, size: int, radius: float) -> Floats:
    """Return (n, size, size): a round spot of height 1 at each place."""
    rows, columns = np.mgrid[:size, :size]
    x, y = pixels[:, 0, None, None], pixels[:, 1, None, None]
    heights: Floats = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return heights


def draw_eo(kind: Kind, pose: Pose, generator: np.random.Generator) -> Bytes:
    """Draw the optical chip: a blurred body on uneven ground, with seams at its corners.

    Returns
    -------
    uint8 (EO_SIZE, EO_SIZE)
    """
    size, fine = EO_SIZE, 4
    mask = np.zeros((size * fine, size * fine), np.uint8)
    outline = (_outline(kind, pose, size) + 0.5) * fine
    cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 255)
    covered = cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA)
    body: Floats = np.asarray(covered, np.float64) / 255
    ground = generator.normal(0, 10, (size // 5, size // 5))
    relief = cv2.resize(ground, (size, size), interpolation=cv2.INTER_CUBIC)
    image: Floats = 85 + np.asarray(relief, np.float64)
    # Paint is darker than the ground or lighter, and never quite like it.
    paint = generator.uniform(20, 55) if generator.random() < 0.4 else generator.uniform(120, 190)
    image += (paint - image) * body
    seams = _spots(_corner_pixels(kind, pose, size), size, 0.8)
    image -= (seams * generator.uniform(20, 50, (len(seams), 1, 1))).sum(0)
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.6), np.float64)
    image = blurred + generator.normal(0, 4, image.shape)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def draw_sar(kind: Kind, pose: Pose, generator: np.random.Generator) -> Bytes:
    """Draw the radar chip: echoes of the corners and a faint body, in speckle.

    Returns
    -------
    uint8 (SAR_SIZE, SAR_SIZE)
    """
    size = SAR_SIZE
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.round(_outline(kind, pose, size)).astype(np.int32)], 1)
    power: Floats = 0.15 + 0.12 * mask.astype(np.float64)
    echoes = _spots(_corner_pixels(kind, pose, size), size, 1.5)
    power = power + (echoes * generator.uniform(0.8, 2.5, (len(echoes), 1, 1))).sum(0)
    # Four looks: the mean of as many exponential draws.
    power = power * generator.gamma(4, 1 / 4, power.shape)
    return np.asarray(np.clip(np.round(150 * np.sqrt(power)), 0, 255), np.uint8)


def draw_pair(number: int, label: int, seed: int = SEED) -> tuple[Bytes, Bytes]:
    """Draw the EO and the SAR chip of one vehicle; the same numbers draw the same."""
    generator = np.random.default_rng((seed, number))
    kind, pose = KINDS[label], draw_pose(generator)
    return draw_eo(kind, pose, generator), draw_sar(kind, pose, generator)


def train_counts(total: int) -> list[int]:
    """Return chips of each class in a training part of about `total`; at least one each."""
    return [max(round(total * share / sum(SHARES)), 1) for share in SHARES]


def make_chips(
    folder: Path, train: int = 1000, each: int = 100, seed: int = SEED
) -> Mapping[str, int]:
    """Draw pairs in the challenge's layout: a long tail to train on, equal classes to judge by.

    Parameters
    ----------
    folder : pathlib.Path
        Made if it does not exist. It gets `PART_EO/`, `PART_SAR/`, `PART_EO.csv` and
        `PART_SAR.csv` of the parts `train`, `validation` and `test`.
    train : int
        Pairs to train on, about.
    each : int
        Pairs of each class in `test`; `validation` has a quarter as many.
    seed : int
        Of everything.

    Returns
    -------
    mapping
        Pairs of each part.
    """
    parts = {"train": train_counts(train)}
    parts |= {"validation": [max(each // 4, 1)] * len(KINDS), "test": [each] * len(KINDS)}
    number = 0
    for part, counts in parts.items():
        labels = np.repeat(np.arange(len(KINDS)), counts)
        np.random.default_rng((seed, len(part))).shuffle(labels)
        _write_part(folder, part, labels, number, seed)
        number += len(labels)
    return {part: sum(counts) for part, counts in parts.items()}


def _write_part(
    folder: Path, part: str, labels: npt.NDArray[np.int64], first: int, seed: int
) -> None:
    names = [f"{first + n:06d}" for n in range(len(labels))]
    for sensor in ("EO", "SAR"):
        (folder / f"{part}_{sensor}").mkdir(parents=True, exist_ok=True)
        with (folder / f"{part}_{sensor}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("img_name", "class_id"))
            writer.writerows(
                (f"{sensor}_{name}.png", label) for name, label in zip(names, labels, strict=True)
            )
    for name, label in zip(names, labels, strict=True):
        chips = draw_pair(int(name), int(label), seed)
        for sensor, chip in zip(("EO", "SAR"), chips, strict=True):
            cv2.imwrite(str(folder / f"{part}_{sensor}" / f"{sensor}_{name}.png"), chip)
