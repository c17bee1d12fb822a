"""References: what the features of the imagery that a model learnt from look like. No scenes.

A block of a scene is a point among those of the training imagery. Its distance is the distance to
the few nearest of them, scaled by the spread of the features (a k-nearest-neighbour detector).
Source: Sun et al., "Out-of-distribution detection with deep nearest neighbors", ICML 2022.
"""

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from geodamage.errors import ModelError

#: Name of the file, beside the files of the models that it is for.
NAME = "familiarity.npz"
#: Axes along which features vary most that are looked at, and the neighbour that counts.
AXES, NEIGHBOUR = 32, 5
#: Deviations beyond which a feature is no stranger.
STRANGEST = 8.0
#: Blocks that a reference must have.
FEWEST = 2 * AXES

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Reference:
    """What the features of training imagery look like.

    Attributes
    ----------
    mean, scale
        float32 (features,).
    axes
        float32 (features, axes): what turns scaled features into a point.
    points
        float32 (blocks, axes): the blocks of the training imagery.
    like
        Distance up to which a scene is like the imagery.
    known
        Distance beyond which no scene lay that anything was measured on.
    split_sha256, network_sha256
        Hashes of the list of pairs that the model learnt from, and of the network of features.
    facts
        What else is known: from what it was made.
    """

    mean: Floats
    scale: Floats
    axes: Floats
    points: Floats
    like: float = 1.0
    known: float = np.inf
    split_sha256: str = ""
    network_sha256: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def distances(self, features: Floats) -> npt.NDArray[np.float64]:
        """Return how far blocks lie from the training imagery, float64 (blocks,).

        Parameters
        ----------
        features
            float32 (blocks, features).
        """
        points = self._placed(features).astype(np.float64)
        known = self.points.astype(np.float64)
        squares = (points**2).sum(1)[:, None] + (known**2).sum(1) - 2 * points @ known.T
        nearest = np.partition(np.maximum(squares, 0), NEIGHBOUR - 1, axis=1)[:, NEIGHBOUR - 1]
        return np.asarray(np.sqrt(nearest))

    def _placed(self, features: Floats) -> Floats:
        scaled = np.clip((features - self.mean) / self.scale, -STRANGEST, STRANGEST)
        return np.asarray(scaled @ self.axes, np.float32)

    def save(self, path: Path) -> None:
        """Write it."""
        about = {
            "split_sha256": self.split_sha256,
            "network_sha256": self.network_sha256,
            "like": self.like,
            "known": self.known,
            "facts": self.facts,
        }
        np.savez_compressed(
            path,
            mean=self.mean,
            scale=self.scale,
            axes=self.axes,
            points=self.points.astype(np.float16),
            about=np.array(json.dumps(about)),
        )


def learn(features: Floats) -> Reference:
    """Return the reference of some blocks, without limits.

    Parameters
    ----------
    features
        float32 (blocks, features); `FEWEST` blocks or more.
    """
    if len(features) < FEWEST:
        raise ValueError(f"{len(features)} blocks; a reference needs {FEWEST}")
    mean, scale = features.mean(0), features.std(0) + 1e-6
    scaled = np.clip((features - mean) / scale, -STRANGEST, STRANGEST)
    amounts, directions = np.linalg.eigh(np.cov(scaled.T.astype(np.float64)))
    amounts, directions = amounts[::-1][:AXES], directions[:, ::-1][:, :AXES]
    axes = (directions / np.sqrt(np.maximum(amounts, 1e-9))).astype(np.float32)
    return Reference(
        mean.astype(np.float32), scale.astype(np.float32), axes, (scaled @ axes).astype(np.float32)
    )


def read_reference(path: Path) -> Reference:
    """Read a reference.

    Raises
    ------
    ModelError
        If the file holds none.
    """
    try:
        with np.load(path, allow_pickle=False) as saved:
            about = json.loads(str(saved["about"]))
            arrays = {name: saved[name].astype(np.float32)
                      for name in ("mean", "scale", "axes", "points")}  # fmt: skip
        return Reference(**arrays, **about)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(
            f"{path}: holds no features of training imagery ({error}); make it again with "
            "python -m training.familiarity, or remove it"
        ) from error
