r"""Train the small classifier of what hides the ground, on synthetic clouds over real pairs.

    python -m training.obscured XBD training/recipes/compact.csv -o geodamage/scene/obscured.npz

A minute of one core. Veils are drawn over one date or both of the training places. The threshold is
chosen on the validation places as they are: the lowest at which at most `FALSE` of all cells are
called obscured. What is drawn there says what is found by it: under veils of all kinds, and under
skies that are all cloud.
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

from geodamage.scene.cells import CELL, OWN, SHARED, cells_of, features_of, shown
from geodamage.scene.obscured import Classifier, certain
from geodamage.sources import read_text
from sample_data.clouds import KINDS, veil
from training.data.clouds import OPAQUE

#: Opacity from which a cell is obscured, as for the networks, and under which it is clear; between,
#: nobody is asked. Haze that leaves half of the contrast can be graded through.
OBSCURED, CLEAR = OPAQUE, 0.45
#: Places with clouds or thick smoke of their own, looked at by eye (2026-11-30). As clear ground
#: they would teach that clouds are none; so they are left out, of training and of the choice.
CLOUDED = frozenset(
    f"{event}_{number:08}"
    for event, numbers in {
        "guatemala-volcano": (2, 4, 5, 10, 11),
        "hurricane-florence": (6, 9, 87),
        "hurricane-michael": (373, 544, 545),
        "santa-rosa-wildfire": (82, 212),
    }.items()
    for number in numbers
)
#: Share of the cells of places as they are that may be called obscured, after cleaning.
FALSE = 0.002
#: Probabilities that may become the threshold.
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)
#: Sides of the hidden layers.
LAYERS = (32, 16)
#: Pixels of a side of what is drawn on.
SIDE = 768

Table = tuple[np.ndarray, np.ndarray]


def pairs(data: Path, split: Path, part: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pairs of a part of a split under a clear sky, as `read_pair` does."""
    for name in names_of(split, part):
        if name not in CLOUDED:
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
    if rng.random() < 0.1:  # fill, white as the middle of a cloud: what lies beside it is clear
        number, (first, width) = int(rng.integers(2)), rng.integers((0, 20), (SIDE, 200))
        images[number][:, first : first + width] = 255
        opacity[number] = opacity[number].copy()
        opacity[number][:, first : first + width] = np.nan
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


def overcast(
    rng: np.random.Generator, pair: tuple[np.ndarray, np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return a part of a pair whose later date is nearly all under opaque cloud."""
    images, opacity = drawn(rng, pair, veiled=False)
    while True:
        image, found = veil(rng, images[1], "cloud")
        if (found >= 0.9).mean() > 0.85:
            return [images[0], image], [opacity[0], found]


def table(
    rng: np.random.Generator, images: Sequence[np.ndarray], opacity: Sequence[np.ndarray]
) -> Iterator[Table]:
    """Yield features and opacity as `as_seen` does, perhaps of a sensor of another brightness."""
    planes = [np.ascontiguousarray(image.transpose(2, 0, 1)) for image in images]
    if rng.random() < 0.3:
        planes = [_stretched(rng, plane) for plane in planes]
    yield from as_seen(planes, opacity)


def as_seen(planes: Sequence[np.ndarray], opacity: Sequence[np.ndarray]) -> Iterator[Table]:
    """Yield features and opacity of the cells of each date, (rows, columns, ...); NaN if unseen."""
    dates = [cells_of(plane) for plane in planes]
    size = (SIDE // CELL,) * 2
    seen = shown(dates[0]) & shown(dates[1])
    features = features_of(dates, seen)
    for date, veil_of in enumerate(opacity):
        covered = cv2.resize(veil_of, size, interpolation=cv2.INTER_AREA)
        laid = np.zeros((*size, 2 * OWN + SHARED), np.float32)
        laid[seen] = features.at(date, seen)
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
    """Return the cells that a classifier calls obscured, after cleaning, without rims."""
    flat = features.reshape(-1, features.shape[-1])
    # Of unseen cells nothing is known.
    probability = classifier.probability(flat).reshape(features.shape[:2]) * features.any(-1)
    return certain(probability, threshold) > 0


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, choose the threshold, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("split", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3, help="of every training pair")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    rows, targets = learnt_from(options)
    classifier = fit(rows, targets, options.seed)
    chosen = choose(classifier, *drawn_for_choice(options))
    arrays: dict[str, Any] = {f"weight{n}": weight for n, weight in enumerate(classifier.weights)}
    arrays |= {f"bias{n}": bias for n, bias in enumerate(classifier.biases)}
    np.savez(
        options.output, mean=classifier.mean, scale=classifier.scale, threshold=chosen, **arrays
    )
    print(f"{len(targets):,} cells; threshold {chosen}; {options.output}")


def learnt_from(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return features and targets of a quarter of the cells of the training places."""
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
    return np.concatenate(rows), np.concatenate(targets)


def drawn_for_choice(options: argparse.Namespace) -> tuple[list[Table], list[Table], list[Table]]:
    """Return cells of the validation places: as they are, under veils, and overcast.

    Nothing is stretched here, for a stretch of another kind makes ground white that is not.
    """
    rng = np.random.default_rng(options.seed + 1)
    clear: list[Table] = []
    veiled: list[Table] = []
    cloudy: list[Table] = []
    for pair in pairs(options.data, options.split, "validation"):
        for _ in range(options.rounds):
            clear += _cells(*drawn(rng, pair, veiled=False))
            veiled += _cells(*drawn(rng, pair))
        for _ in range(options.rounds):
            cloudy += _cells(*overcast(rng, pair))[1:]
    return clear, veiled, cloudy


def _cells(images: Sequence[np.ndarray], opacity: Sequence[np.ndarray]) -> list[Table]:
    planes = [np.ascontiguousarray(image.transpose(2, 0, 1)) for image in images]
    return list(as_seen(planes, opacity))


def choose(
    classifier: Classifier, clear: list[Table], veiled: list[Table], cloudy: list[Table]
) -> float:
    """Print what each threshold does on the validation places, and return the one to take."""
    chosen = THRESHOLDS[-1]
    for threshold in THRESHOLDS:
        false = [(called(classifier, cells, threshold) & np.isfinite(covered)).mean()
                 for cells, covered in clear]  # fmt: skip
        found = [_found(classifier, tables, threshold) for tables in (veiled, cloudy)]
        print(f"threshold {threshold:.3f}: as it is, called {np.mean(false):.5f}; veiled, found "
              f"{found[0]:.3f}; overcast, {found[1]:.3f}")  # fmt: skip
        if np.mean(false) <= FALSE and chosen == THRESHOLDS[-1]:
            chosen = threshold
    return chosen


def _found(classifier: Classifier, tables: Sequence[Table], threshold: float) -> float:
    """Return the share of obscured cells that are called so."""
    counts = np.zeros(2)
    for features, covered in tables:
        obscured = covered >= OBSCURED
        counts += [(called(classifier, features, threshold) & obscured).sum(), obscured.sum()]
    return float(counts[0] / max(counts[1], 1))


if __name__ == "__main__":
    main()
