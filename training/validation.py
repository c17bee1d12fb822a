"""Validation: what a network says of whole pairs, in figures that add up over processes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, distributed
from torch.nn import functional

from geodamage.damage import NOT_ASSESSED
from geodamage.networks.conventions import Exported
from geodamage.scores.pixels import Counts, official_score
from training.data.labelled import Sample
from training.data.samples import Labelled, sample_of

#: A network halves its input up to five times.
MULTIPLE = 32


@dataclass
class Validation:
    """Counts over validation pairs.

    Attributes
    ----------
    counts
        int64 (5, 3): true positives, false negatives and false positives of buildings and of each
        grade, by the rules of the official metric.
    dice
        Sum over images of Dice of the buildings; 1 where neither truth nor prediction has any.
    loss
        Sum over images of the training's loss, where it is asked for.
    images
        How many.
    """

    counts: np.ndarray = field(default_factory=lambda: np.zeros((5, 3), np.int64))
    dice: float = 0.0
    loss: float = 0.0
    images: int = 0

    def add(self, sample: Sample, found: np.ndarray, grades: np.ndarray | None) -> None:
        """Count one pair.

        Parameters
        ----------
        found
            bool (rows, columns): building or not.
        grades
            uint8 (rows, columns): 1-4 everywhere; None where the network gives none.
        """
        truth = np.where(sample.grades > 4, 0, sample.grades)
        # A network that gives no grades is not asked for them.
        said = np.zeros_like(truth) if grades is None else grades
        target = np.zeros_like(truth) if grades is None else truth
        score = official_score(found, said, sample.buildings, target)
        self.counts += np.array([score.localisation, *score.damage], np.int64)
        # Source: xView2 first place, utils.py: Dice per image, 1 where both are empty.
        both = int((found & (sample.buildings > 0)).sum())
        total = int(found.sum()) + int((sample.buildings > 0).sum())
        self.dice += 2 * both / total if total else 1.0
        self.images += 1

    def gathered(self, device: torch.device) -> "Validation":
        """Return the counts of all processes."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return self
        values = [*self.counts.ravel().tolist(), self.dice, self.loss, self.images]
        sums = torch.tensor(values, dtype=torch.float64, device=device)
        distributed.all_reduce(sums)
        numbers = sums.cpu().numpy()
        counts = numbers[:15].reshape(5, 3).round().astype(np.int64)
        return Validation(counts, float(numbers[15]), float(numbers[16]), int(numbers[17]))

    def row(self, *, graded: bool, with_loss: bool) -> dict[str, float]:
        """Return the figures for a log."""
        f1 = [Counts(*map(int, counts)).f1 for counts in self.counts]
        row = {"f1_building": f1[0], "dice": self.dice / max(self.images, 1)}
        if not graded:
            true, missed, wrong = (int(count) for count in self.counts[0])
            row["jaccard"] = true / max(true + missed + wrong, 1)
        if graded:
            # Source: official metric: a harmonic mean with 1e-6 in each term; 0.3 and 0.7.
            damage = 4 / sum(1 / (value + 1e-6) for value in f1[1:])
            names = ("f1_no_damage", "f1_minor", "f1_major", "f1_destroyed")
            row |= {"f1_damage": damage, **dict(zip(names, f1[1:], strict=True))}
            row["score"] = 0.3 * f1[0] + 0.7 * damage
        if with_loss:
            row["loss"] = self.loss / max(self.images, 1)
        return row


def mirrored(images: Tensor) -> Tensor:
    """Return uint8 (n, 3, h, w) grown to the next multiple of `MULTIPLE` by its mirror image."""
    rows, columns = images.shape[2:]
    padding = (0, -columns % MULTIPLE, 0, -rows % MULTIPLE)
    return functional.pad(images.float(), padding, mode="reflect").byte()


def padded(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a batch of whole pairs grown alike; what is new of its masks is unknown, 255."""
    rows, columns = next(iter(batch.values())).shape[-2:]
    padding = (0, -columns % MULTIPLE, 0, -rows % MULTIPLE)
    return {
        name: mirrored(tensor)
        if tensor.ndim == 4
        else functional.pad(tensor, padding, value=NOT_ASSESSED)
        for name, tensor in batch.items()
    }


def predict(model: Exported, sample: Sample, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return what a network says of a whole pair.

    Returns
    -------
    float32 (1, rows, columns) or (5, rows, columns)
        Building; then, where the network gives them, the four grades.
    """
    images = [sample.pre]
    if model.convention.task != "localisation" and sample.post is not None:
        images.append(sample.post)
    rows, columns = sample.pre.shape[:2]
    tensors = [
        mirrored(torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).to(device))
        for image in images
    ]
    with torch.no_grad(), torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
        heads = model(*tensors)
    return torch.cat([head.float() for head in heads], 1)[0, :, :rows, :columns].cpu()


def validate(
    model: Exported,
    pairs: Sequence[Labelled],
    *,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Iterator[tuple[Sample, np.ndarray, np.ndarray | None]]:
    """Yield what a network says of each pair: truth, buildings, grades.

    Yields
    ------
    tuple of (Sample, bool (rows, columns), uint8 (rows, columns) or None)
        Un-classified buildings are 255 in the truth.
    """
    model.eval()
    for pair in pairs:
        sample = sample_of(pair, "ignore")
        heads = predict(model, sample, device, dtype)
        found = (heads[0] > 0.5).numpy()
        grades = None if len(heads) == 1 else (heads[1:].argmax(0) + 1).to(torch.uint8).numpy()
        yield sample, found, grades
