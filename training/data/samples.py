"""Samples: what a network is shown, each decided by the seed and its own number alone.

Sample `i` of a training does not depend on the batch, the workers and the processes. A run that was
killed continues with the sample that it would have seen.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from geodamage.damage import NOT_ASSESSED, DamageGrade
from geodamage.errors import LabelError
from geodamage.xbd.folders import Pair, read_image
from geodamage.xbd.labels import Label
from geodamage.xbd.masks import burn_index, burn_labels
from training.data.augmentation import augment
from training.data.augmentation_options import Augmentation
from training.data.building_images import BuildingImage
from training.data.crops import Chips
from training.data.labelled import Sample
from training.data.two_sensors import SensorPair

#: Code of buildings without a grade, where they are a class of their own.
OWN_CLASS = 5
#: What `Recipe.unclassified` means: the code that is drawn; None draws nothing.
UNCLASSIFIED: dict[str, int | None] = {
    "ignore": NOT_ASSESSED,
    "undrawn": None,
    "no-damage": int(DamageGrade.NO_DAMAGE),
    "own": OWN_CLASS,
}
#: What a sample is read from.
Labelled = Pair | BuildingImage | SensorPair
#: Decoded pairs that a process keeps; one of 1,024 pixels takes 8 MB.
KEPT = 128


class Samples(Protocol):
    """Anything that has a sample for every number."""

    def __len__(self) -> int:
        """Return the number of samples of an epoch."""
        ...

    def draw(self, number: int) -> dict[str, np.ndarray]:
        """Return sample `number` of the training, counted from 0 over all epochs."""
        ...


def sample_of(pair: Labelled, unclassified: str) -> Sample:
    """Read a pair, or a prepared image, with its masks.

    Raises
    ------
    LabelError, SceneReadError
        If a file is missing or damaged, or the images differ in size.
    """
    if not isinstance(pair, Pair):
        return pair.sample()
    pre, post = (read_image(pair.image(date)) for date in ("pre", "post"))
    if pre.shape != post.shape:
        raise LabelError(f"{pair.name}: pre is {pre.shape[:2]}, post {post.shape[:2]} pixels")
    labels = pair.labels("post")
    before: list[Label] = pair.labels("pre") if pair.label_file("pre").exists() else labels
    shape = pre.shape[0], pre.shape[1]
    grades = burn_labels(labels, shape, unclassified=UNCLASSIFIED[unclassified])
    return Sample(pre, post, grades, (burn_index(before, shape) > 0).astype(np.uint8))


class PairSamples:
    """Augmented crops of xBD pairs.

    Parameters
    ----------
    pairs
        Pairs of the training part.
    epoch
        int (m,): places in `pairs` that make one epoch, before they are shuffled.
    weights
        float (m,): how often each of them is drawn; None shuffles them.
    augmentation
        What happens to each.
    unclassified
        What buildings without a grade are; see `UNCLASSIFIED`.
    seed
        Seed of everything that is drawn.
    """

    def __init__(
        self,
        pairs: Sequence[Labelled],
        epoch: np.ndarray,
        augmentation: Augmentation,
        *,
        weights: np.ndarray | None = None,
        unclassified: str = "ignore",
        seed: int = 0,
    ) -> None:
        self.pairs, self.epoch, self.augmentation = pairs, epoch, augmentation
        self.weights, self.unclassified, self.seed = weights, unclassified, seed
        self._order: tuple[int, np.ndarray] = (-1, epoch)
        self._kept: OrderedDict[int, Sample] = OrderedDict()

    def __len__(self) -> int:
        return len(self.epoch)

    def draw(self, number: int) -> dict[str, np.ndarray]:
        """Return one augmented sample: `pre`, `post`, `grades`, `buildings`."""
        place = int(self._shuffled(number // len(self))[number % len(self)])
        return self.at(place, np.random.default_rng([self.seed, 1, number]))

    def at(self, place: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Return the pair at a place in `pairs`, augmented."""
        donor = None
        if self.augmentation.needs_donor:
            donor = self._read(int(self.epoch[rng.integers(len(self))]))
        made = augment(self._read(place), self.augmentation, rng, donor=donor)
        arrays = {"pre": made.pre, "grades": made.grades, "buildings": made.buildings}
        return arrays if made.post is None else {**arrays, "post": made.post}

    def _shuffled(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            rng = np.random.default_rng([self.seed, 0, epoch])
            if self.weights is None:
                chosen = rng.permutation(self.epoch)
            else:
                chosen = rng.choice(self.epoch, len(self), p=self.weights / self.weights.sum())
            self._order = epoch, chosen
        return self._order[1]

    def _read(self, place: int) -> Sample:
        if place not in self._kept:
            if len(self._kept) >= KEPT:
                self._kept.popitem(last=False)
            self._kept[place] = sample_of(self.pairs[place], self.unclassified)
        self._kept.move_to_end(place)
        return self._kept[place]


class ChipSamples:
    """Chips around buildings, for the compact network."""

    def __init__(self, chips: Chips, count: int, *, seed: int) -> None:
        self.chips, self.count, self.seed = chips, count, seed

    def __len__(self) -> int:
        return self.count

    def draw(self, number: int) -> dict[str, np.ndarray]:
        """Return one chip by the names of its arrays."""
        chip = self.chips.draw(np.random.default_rng([self.seed, 1, number]))._asdict()
        return {name: array for name, array in chip.items() if array is not None}


class _Numbered(Dataset[dict[str, np.ndarray]]):
    def __init__(self, samples: Samples) -> None:
        self.samples = samples

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        return self.samples.draw(number)


def batches(
    samples: Samples,
    numbers: Callable[[], Iterator[list[int]]],
    *,
    workers: int = 0,
    pin_memory: bool = False,
) -> Iterator[dict[str, torch.Tensor]]:
    """Draw and stack samples; images become (n, 3, h, w).

    Parameters
    ----------
    numbers
        Gives the numbers of the samples of each batch, in order.
    workers
        Processes that draw; 0 draws in this one.
    """
    loader: DataLoader[Any] = DataLoader(
        _Numbered(samples),
        batch_sampler=_Once(numbers),
        num_workers=workers,
        collate_fn=stack,
        pin_memory=pin_memory,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
    )
    return iter(loader)


class _Once:
    """Numbers of batches as the loader of torch wants them."""

    def __init__(self, numbers: Callable[[], Iterator[list[int]]]) -> None:
        self.numbers = numbers

    def __iter__(self) -> Iterator[list[int]]:
        return self.numbers()


def stack(drawn: Sequence[dict[str, np.ndarray]]) -> dict[str, torch.Tensor]:
    """Stack the arrays of samples by name; images (h, w, 3) become (n, 3, h, w)."""
    stacked = {name: np.stack([each[name] for each in drawn]) for name in drawn[0]}
    return {
        name: torch.from_numpy(
            np.ascontiguousarray(np.moveaxis(array, -1, 1)) if array.ndim == 4 else array
        )
        for name, array in stacked.items()
    }
