"""Semi-supervision: learn from images without labels what an ensemble of teachers says of them.

`training.pseudo_labels` writes what the teachers say as grey masks. Every n-th step has as many of
those images as labelled ones; of them only the divergence from the grey masks is asked.

Source: Open Cities' third place, train.py:177-194, 272-300, 345-349 (noisy student). A guard is
added. A student whose buildings grow or vanish against its teacher's has begun to learn from its
own mistakes. Validation on few labelled images does not show that in time.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.errors import GeodamageError, LabelError, OptionError
from training.data.augmentation_options import Augmentation
from training.data.building_images import BuildingImage, read_building_index
from training.data.labelled import Sample
from training.data.samples import PairSamples, stack
from training.losses.sums import Total, alone, everywhere, weighted_mean


class CollapseError(GeodamageError):
    """A student has left its teacher."""


@dataclass(frozen=True, kw_only=True)
class SoftOptions:
    """Soft labels; in a recipe every field has the prefix `soft_`."""

    folder: str = ""
    """Prepared folder with grey masks, of training.pseudo_labels; empty for none."""
    every: int = 5
    """Steps from one with soft labels to the next."""
    weight: float = 0.5
    """Weight of the divergence. Published, its mean goes over both channels, too: one half."""
    harden: bool = False
    """Take what is surer than `harden_above` and less sure than `harden_below` as certain, and
    leave out what lies between."""
    harden_above: float = 0.6
    """A building for certain."""
    harden_below: float = 0.4
    """Certainly none."""
    guard: float = 0.5
    """Most that the student's share of building pixels may depart from the teachers', of theirs."""
    guard_over: int = 20
    """Steps with soft labels that both shares are taken over."""
    guard_after: int = 60
    """Steps with soft labels before the first look."""

    def __post_init__(self) -> None:
        if self.every < 1 or self.guard_over < 1 or self.weight < 0 or self.guard <= 0:
            raise OptionError(
                "soft_every and soft_guard_over are 1 or more, soft_weight is not negative, and "
                "soft_guard is more than none"
            )
        if not 0 <= self.harden_below <= self.harden_above <= 1:
            raise OptionError(
                "soft_harden_below and soft_harden_above: 0 to 1, the lower one first"
            )


@dataclass(frozen=True)
class SoftImage(BuildingImage):
    """A prepared image whose grey mask is taken as it is."""

    def sample(self) -> Sample:
        """Read image and mask; `buildings` is 0 to 255, how sure the teachers are."""
        image, mask = self.load()
        return Sample(image, None, np.zeros_like(mask), mask)


def read_soft(
    options: SoftOptions, folders: Sequence[Path], held_out: Iterable[str]
) -> list[SoftImage]:
    """Return the images with soft labels.

    Parameters
    ----------
    folders
        Where the folder may lie, the first that has it is taken.
    held_out
        Names of places and tiles that nothing may be learnt from, not even by a teacher's mouth.

    Raises
    ------
    LabelError
        If the folder has no index, or shows a place that is held out.
    """
    there = [base / options.folder for base in folders if (base / options.folder).exists()]
    if not there:
        raise LabelError(
            f"soft_folder = {options.folder!r}: not there; make it by training.pseudo_labels"
        )
    images = [SoftImage(**vars(image)) for image in read_building_index(there[0])]
    shared = {name for image in images for name in (image.place, image.tile)} & set(held_out)
    if shared:
        raise LabelError(
            f"{there[0]}: shows {min(shared)}, which this training is validated on; leave it out "
            "of training.pseudo_labels"
        )
    return images


class SoftBatches:
    """Batches of images with soft labels, each decided by the seed and the step alone.

    Parameters
    ----------
    images
        With grey masks.
    augmentation
        That of the labelled images.
    size
        Images of a batch, in this process.
    first, stride
        First and step of the numbers of this process's samples: rank and number of processes.
    """

    def __init__(
        self,
        images: Sequence[SoftImage],
        augmentation: Augmentation,
        options: SoftOptions,
        *,
        size: int,
        seed: int,
        first: int = 0,
        stride: int = 1,
    ) -> None:
        # Labels' borders may be made unknown; a grey level of 255 is not one of those.
        augmentation = replace(augmentation, ignore_border=0, dilation=0.0)
        places = np.arange(len(images))
        # Another seed, so that an image that is labelled, too, is not turned alike.
        self.samples = PairSamples(images, places, augmentation, seed=seed + 104_729)
        self.options, self.size, self.first, self.stride = options, size, first, stride

    def of(self, step: int) -> dict[str, Tensor]:
        """Return `soft_pre` and `soft` of a step, or nothing."""
        if step % self.options.every:
            return {}
        start = step // self.options.every * self.size
        numbers = [(start + n) * self.stride + self.first for n in range(self.size)]
        batch = stack([self.samples.draw(number) for number in numbers])
        return {"soft_pre": batch["pre"], "soft": batch["buildings"]}

    def added_to(
        self, batches: Iterable[Mapping[str, Tensor]], step: int
    ) -> Iterator[dict[str, Tensor]]:
        """Yield labelled batches from a step on, with the soft ones that belong to them."""
        for number, batch in enumerate(batches, start=step):
            yield {**batch, **self.of(number)}


def divergence(
    logits: Tensor, soft: Tensor, options: SoftOptions, *, total: Total = alone
) -> Tensor:
    """Return the mean over pixels of KL(teachers, student).

    Parameters
    ----------
    logits
        float (n, 2, h, w): background, building.
    soft
        float (n, h, w), 0 to 1: how sure the teachers are of a building.
    """
    known = torch.ones_like(soft)
    if options.harden:
        known = ((soft > options.harden_above) | (soft < options.harden_below)).to(soft)
        soft = (soft > options.harden_above).to(soft)
    truth = torch.stack([1 - soft, soft], 1)
    each = functional.kl_div(logits.log_softmax(1), truth, reduction="none").sum(1)
    return weighted_mean(each, known, total)


class Guard:
    """Stops a student that finds far more or far fewer buildings than its teachers.

    What it has seen of shares is not kept over a stop: a run that goes on looks again.
    """

    def __init__(self, options: SoftOptions) -> None:
        self.options = options
        self.shares: deque[tuple[float, float]] = deque(maxlen=options.guard_over)
        self.seen = 0

    def watch(self, student: float, teachers: float, advice: str) -> None:
        """Compare shares of building pixels over the last steps.

        Raises
        ------
        CollapseError
            If they are too far apart.
        """
        self.shares.append((student, teachers))
        self.seen += 1
        if self.seen < max(self.options.guard_after, self.options.guard_over):
            return
        found, said = (float(np.mean(share)) for share in zip(*self.shares, strict=True))
        if abs(found - said) > self.options.guard * max(said, 1e-3):
            raise CollapseError(
                f"soft labels: the student finds buildings on {found:.1%} of the pixels and its "
                f"teachers on {said:.1%}, over the last {len(self.shares)} steps with them; it "
                f"has collapsed: {advice}; if it has only begun, raise soft_guard_after"
            )


class SoftObjective(nn.Module):
    """The divergence of a student from soft labels, under a guard against collapse."""

    def __init__(self, options: SoftOptions, *, all_reduce: bool = False) -> None:
        super().__init__()
        self.options = options
        self.total = everywhere if all_reduce else alone
        self.guard = Guard(options)

    def forward(self, logits: Tensor, soft: Tensor) -> Tensor:
        """Return the weighted divergence.

        Parameters
        ----------
        logits
            float (n, 2, h, w): background, building.
        soft
            uint8 (n, H, W), H and W multiples of h and w: 0 to 255.

        Raises
        ------
        CollapseError
            If the student finds far more or far fewer buildings than its teachers did.
        """
        size = logits.shape[2], logits.shape[3]
        mean = functional.adaptive_avg_pool2d(soft[:, None].float(), size)[:, 0] / 255
        found = float((logits.detach()[:, 1] > logits.detach()[:, 0]).float().mean())
        advice = "lower soft_weight, give soft_harden = true, or better teachers"
        self.guard.watch(found, float((mean >= 0.5).float().mean()), advice)
        return self.options.weight * divergence(logits, mean, self.options, total=self.total)
