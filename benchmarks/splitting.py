"""Measure ways to split touching buildings, on xBD labels.

    python -m benchmarks.splitting MODEL training/recipes/compact.csv --data ../shared/data/xbd

Each way sees the same probabilities on the validation places; the figures are buildings matched at
IoU 0.5. `joined` leaves components unchanged. `probability t` takes seeds above that localisation,
and `probability t deep d` only those d pixels inside them. `distance d` takes seeds farther than d
pixels from the component's border. `relative r` takes seeds farther than that share of the
component's greatest distance.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from geodamage.buildings.finding import DEFAULT_MIN_AREA
from geodamage.buildings.splitting import split_touching
from geodamage.model.loading import load_model
from geodamage.scores.buildings import match
from geodamage.xbd.folders import read_split
from training.calibrate import Predicted, predict_pairs

#: Labels and localisation -> something above 0 at seeds only.
Seeds = Callable[[np.ndarray, np.ndarray], np.ndarray]


def ways() -> Iterator[tuple[str, Seeds]]:
    """Return every way with its name."""
    yield "joined", lambda labels, p: np.zeros(p.shape)
    for t in (0.6, 0.7, 0.8, 0.9):
        yield f"probability {t}", lambda labels, p, t=t: p - t  # type: ignore[misc]
    for t, d in ((0.7, 2), (0.7, 3), (0.7, 4), (0.8, 2), (0.8, 3)):
        yield f"probability {t} deep {d}", lambda labels, p, t=t, d=d: _deep(p > t, d)  # type: ignore[misc]
    for d in (2, 3, 4, 6):
        yield f"distance {d}", lambda labels, p, d=d: _distance(labels) - d  # type: ignore[misc]
    for r in (0.5, 0.7):
        yield f"relative {r}", lambda labels, p, r=r: _relative(labels) - r  # type: ignore[misc]


def _deep(high: np.ndarray, depth: int) -> np.ndarray:
    square = np.ones((2 * depth + 1, 2 * depth + 1), np.uint8)
    return np.asarray(cv2.erode(high.astype(np.float32), square))


def _distance(labels: np.ndarray) -> np.ndarray:
    inside = (labels > 0).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(inside, cv2.DIST_L2, 5))


def _relative(labels: np.ndarray) -> np.ndarray:
    distance = _distance(labels)
    greatest = np.zeros(int(labels.max()) + 1)
    np.maximum.at(greatest, labels.ravel(), distance.ravel())
    return np.asarray(distance / np.maximum(greatest[labels], 1))


def count(predicted: Predicted, threshold: float, seeds: Seeds) -> tuple[int, int, int]:
    """Return buildings in truth, found and matched, of one pair."""
    background = predicted.probabilities[0]
    number, labels = cv2.connectedComponents(
        (background < 1 - threshold).view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    marks = seeds(labels, 1 - background)
    # `split_touching` takes seeds from a background: 0 at seeds, 1 elsewhere.
    labels, number = split_touching(labels, number - 1, (marks <= 0).astype(np.float32), 0.5)
    areas = np.bincount(labels.ravel()) * predicted.labelled.pixel_area
    keep = areas >= DEFAULT_MIN_AREA
    keep[0] = False
    labels = np.where(keep[labels], labels, 0)
    truth = len(np.unique(predicted.truth)) - 1
    return truth, int(keep.sum()), len(match(predicted.truth, labels))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("split", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    options = parser.parse_args()
    pairs = read_split(options.split, options.data, "validation")
    part = list(predict_pairs(load_model(options.model), pairs))
    for threshold in (0.35, 0.45, 0.55):
        for name, seeds in ways():
            counts = np.sum([count(p, threshold, seeds) for p in part], 0)
            truth, found, matched = (int(c) for c in counts)
            print(
                f"threshold {threshold}  {name:22} recall {matched / truth:.3f}  "
                f"precision {matched / max(found, 1):.3f}  F1 {2 * matched / (truth + found):.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
