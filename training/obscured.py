r"""Train the small classifier of what hides the ground, on clouds drawn over real pairs.

    python -m training.obscured XBD training/recipes/compact.csv -o geodamage/scene/obscured.npz

Minutes of one core. Veils are drawn over one date or both of the training places. The threshold is
chosen on the validation places as they are: the lowest at which at most `FALSE` of all cells are
called obscured. What is drawn there says what is found by it.
"""

import argparse
import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from geodamage.scene.obscured import (
    CELL,
    OWN,
    SHARED,
    SQUARE,
    Classifier,
    cells_of,
    features_of,
)
from geodamage.sources import read_text
from sample_data.clouds import KINDS, veil

#: Opacity from which a cell is obscured, and under which it is clear; between, nobody is asked.
#: Haze that leaves half of the contrast can be graded through.
OBSCURED, CLEAR = 0.7, 0.45
#: Share of the cells of places as they are that may be called obscured, after cleaning. Some are
#: under real clouds.
FALSE = 0.002
#: Sides of the hidden layers.
LAYERS = (32, 16)
#: Pixels of a side of what is drawn on.
SIDE = 768

Table = tuple[np.ndarray, np.ndarray]


def pairs(data: Path, split: Path, part: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pairs of a part of a split, uint8 (rows, columns, 3), red, green, blue."""
    for name in names_of(split, part):
        yield read_pair(data, name)


def names_of(split: Path, part: str) -> list[str]:
    """Return the pairs of a part of a split."""
    rows = csv.DictReader(read_text(split).splitlines(keepends=True))
    return [row["pair"] for row in rows if row["part"] == part]


def read_pair(data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return both images of a pair, uint8 (rows, columns, 3), red, green, blue."""
    paths = [next((data / "images").glob(f"{name}_{date}_disaster.*")) for date in ("pre", "post")]
    pre, post = (np.asarray(cv2.imread(str(path)))[..., ::-1] for path in paths)
    return pre, post


def drawn(
    rng: np.random.Generator, pair: tuple[np.ndarray, np.ndarray], *, veiled: bool = True
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return both dates of a part of a pair, perhaps veiled, and their opacity."""
    pair = _resized(rng, pair)
    row, column = (int(rng.integers(side - SIDE + 1)) for side in pair[0].shape[:2])
    cut = slice(row, row + SIDE), slice(column, column + SIDE)
    images = [np.ascontiguousarray(image[cut]) for image in pair]
    opacity = [np.zeros((SIDE, SIDE), np.float32)] * 2
    chance = rng.random()
    for number in range(2):
        is_veiled = chance < 0.3 or (chance < 0.75 and number == int(chance * 100) % 2)
        if veiled and is_veiled:
            images[number], opacity[number] = veil(rng, images[number], str(rng.choice(KINDS)))
    return images, opacity


def _resized(
    rng: np.random.Generator, pair: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return a pair at another GSD, by the same factor."""
    least = (SIDE + 1) / min(pair[0].shape[:2])
    factor = rng.uniform(least, 1.5)
    size = (round(pair[0].shape[1] * factor), round(pair[0].shape[0] * factor))
    pre, post = (cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in pair)
    return pre, post


def table(
    rng: np.random.Generator, images: Sequence[np.ndarray], opacity: Sequence[np.ndarray]
) -> Iterator[Table]:
    """Yield features and opacity of the cells of each date, (rows, columns, ...); NaN if unseen."""
    planes = [np.ascontiguousarray(image.transpose(2, 0, 1)) for image in images]
    if rng.random() < 0.3:  # a sensor, or a stretch, of another brightness
        planes = [_stretched(rng, plane) for plane in planes]
    dates = [cells_of(plane) for plane in planes]
    size = (SIDE // CELL,) * 2
    seen = ~(dates[0].constant | dates[1].constant)
    for veil_of, features in zip(opacity, features_of(dates, seen), strict=True):
        covered = cv2.resize(veil_of, size, interpolation=cv2.INTER_AREA)
        laid = np.zeros((*size, features.shape[1]), np.float32)
        laid[seen] = features
        yield laid, np.where(seen, covered, np.nan)


def _stretched(rng: np.random.Generator, plane: np.ndarray) -> np.ndarray:
    gain, offset = rng.uniform(0.7, 1.2), rng.uniform(-15, 15)
    return (plane * gain + offset).clip(0, 255).astype(np.uint8)


def fit(features: np.ndarray, targets: np.ndarray, seed: int) -> Classifier:
    """Return a classifier of cells; `targets` is 0 or 1."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    mean, scale = features.mean(0), features.std(0) + 1e-3
    inputs = torch.from_numpy(((features - mean) / scale).clip(-6, 6))
    sides = (2 * OWN + SHARED, *LAYERS, 1)
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(sides)]
    network = nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])
    wanted = torch.from_numpy(targets.astype(np.float32))[:, None]
    # A clear cell that is called obscured costs more: a building is lost by it.
    loss = nn.BCEWithLogitsLoss(pos_weight=torch.tensor(0.5))
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-3)
    steps, batch = 6000, 2048
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1e-2, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(len(inputs), (batch,))
        optimiser.zero_grad()
        loss(network(inputs[chosen]), wanted[chosen]).backward()
        optimiser.step()
        schedule.step()
    return Classifier(
        mean.astype(np.float32),
        scale.astype(np.float32),
        tuple(layer.weight.detach().numpy().T.copy() for layer in layers),
        tuple(layer.bias.detach().numpy().copy() for layer in layers),
        0.5,
    )


def called(classifier: Classifier, features: np.ndarray, threshold: float) -> np.ndarray:
    """Return the cells that a classifier calls obscured, after cleaning."""
    flat = features.reshape(-1, features.shape[-1])
    found = (classifier.probability(flat) >= threshold).reshape(features.shape[:2])
    found &= features.any(-1)  # of unseen cells nothing is known
    square = np.ones((SQUARE, SQUARE), np.uint8)
    return cv2.morphologyEx(found.astype(np.uint8), cv2.MORPH_OPEN, square) > 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, choose the threshold, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=4, help="of every training pair")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    rng = np.random.default_rng(options.seed)
    rows: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    for pair in pairs(options.data, options.split, "train"):
        for _ in range(options.rounds):
            for features, covered in table(rng, *drawn(rng, pair)):
                kept = (covered >= OBSCURED) | (covered <= CLEAR)
                kept &= rng.random(kept.shape) < 0.25
                rows.append(features[kept])
                targets.append(covered[kept] >= OBSCURED)
    classifier = fit(np.concatenate(rows), np.concatenate(targets), options.seed)
    clear: list[Table] = []
    veiled: list[Table] = []
    for pair in pairs(options.data, options.split, "validation"):
        for _ in range(options.rounds):
            clear += table(rng, *drawn(rng, pair, veiled=False))
            veiled += table(rng, *drawn(rng, pair))
    chosen = 0.995
    for threshold in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995):
        false, found = _rates(classifier, clear, veiled, threshold)
        print(f"threshold {threshold:.3f}: as it is, called {false:.5f}; veiled, found {found:.3f}")
        if false <= FALSE and chosen == 0.995:
            chosen = threshold
    arrays: dict[str, Any] = {f"weight{n}": weight for n, weight in enumerate(classifier.weights)}
    arrays |= {f"bias{n}": bias for n, bias in enumerate(classifier.biases)}
    np.savez(
        options.output, mean=classifier.mean, scale=classifier.scale, threshold=chosen, **arrays
    )
    print(f"{sum(map(len, targets)):,} cells; threshold {chosen}; {options.output}")


def _rates(
    classifier: Classifier, clear: Sequence[Table], veiled: Sequence[Table], threshold: float
) -> tuple[float, float]:
    """Return the share of cells as they are that is called obscured, and of obscured ones found."""
    false = [called(classifier, features, threshold).mean() for features, _ in clear]
    counts = np.zeros(2)
    for features, covered in veiled:
        obscured = covered >= OBSCURED
        counts += [(called(classifier, features, threshold) & obscured).sum(), obscured.sum()]
    return float(np.mean(false)), float(counts[0] / max(counts[1], 1))


if __name__ == "__main__":
    main()
