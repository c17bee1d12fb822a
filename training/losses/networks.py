"""Losses of networks: of one output, of two dates, of the pyramids, of the compact network."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from geodamage.damage import GRADES, NOT_ASSESSED
from geodamage.errors import OptionError
from training.data.sampling import inverse_frequency
from training.losses.options import LossOptions, parse_term
from training.losses.sums import alone, everywhere
from training.losses.terms import (
    BY_CLASS,
    ONE_CHOICE,
    PER_CHANNEL,
    TERMS,
    dice,
    softmax_focal,
    targets,
)
from training.presets import near


def _numbers(options: LossOptions, name: str) -> dict[str, float | bool]:
    """Return the options of a term other than its weights."""
    keys = {
        "dice": ("smooth",),
        "softmax_dice": ("smooth",),
        "log_cosh_dice": ("smooth",),
        "focal": ("gamma",),
        "bce": ("temperature",),
        "alpha_focal": ("alpha", "gamma"),
        "softmax_focal": ("gamma", "detach"),
    }
    return {key: getattr(options, key) for key in keys.get(name, ())}


class WeightedLoss(nn.Module):
    """A weighted sum of terms of one output.

    Parameters
    ----------
    options
        The terms and their numbers.
    channels
        Channels of the output: 1 building or not, 5 background and grades, others of other
        systems.
    all_reduce
        Take every sum over all processes; see `everywhere`.
    """

    channel_weights: Tensor
    class_weights: Tensor

    def __init__(self, options: LossOptions, *, channels: int, all_reduce: bool = False) -> None:
        super().__init__()
        _check(options, channels)
        self.options, self.channels = options, channels
        per_channel = torch.tensor(options.channel_weights or [1 / channels] * channels)
        self.register_buffer("channel_weights", per_channel, persistent=False)
        class_weights = torch.tensor(options.class_weights or [1.0] * channels)
        self.register_buffer("class_weights", class_weights, persistent=False)
        total = everywhere if all_reduce else alone
        self._terms = [
            (name, weight, partial(TERMS[name], **_numbers(options, name), total=total))
            for name, weight in map(parse_term, options.terms)
        ]

    def forward(self, logits: Tensor, codes: Tensor, weights: Tensor | None = None) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        logits
            float (n, channels, h, w).
        codes
            uint8 (n, h, w), as in `targets`; 255 is left out.
        weights
            float (n, h, w), of each pixel; None is 1 each.
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        unknown = codes == NOT_ASSESSED
        known = (~unknown).to(logits) if weights is None else weights.masked_fill(unknown, 0)
        truth = targets(codes, channels=self.channels, channel_0=self.options.channel_0)
        choice = codes.masked_fill(unknown, 0).long()
        value = logits.new_zeros(())
        for name, weight, function in self._terms:
            if name in PER_CHANNEL:
                each = function(logits, truth.to(logits), known)  # (channels,)
                value = value + weight * (self.channel_weights * each).sum()
            elif name in BY_CLASS:
                value = value + weight * function(logits, choice, known, weights=self.class_weights)
            else:
                value = value + weight * function(logits, choice, known)
        return value


def _check(options: LossOptions, channels: int) -> None:
    """Refuse what does not go together."""
    if options.balanced:
        raise OptionError("loss_balanced: the class weights are not known yet; use build_loss")
    for key in ("channel_weights", "class_weights"):
        count = len(getattr(options, key))
        if count not in (0, channels):
            raise OptionError(
                f"loss_{key} has {count} numbers; the network has {channels} channels"
            )
    choices = [name for name, _ in map(parse_term, options.terms) if name in ONE_CHOICE]
    if choices and channels == 1:
        raise OptionError(f"loss_terms: {choices[0]} chooses between channels, and there is one")
    whole = [name for name in choices if name != "ordinal_emd"]  # grades alone are one choice
    if whole and options.channel_0 == "building":
        raise OptionError(
            f"loss_terms: {whole[0]} needs loss_channel_0 = 'background'; with 'building' "
            "a pixel is in two channels"
        )
    if "ordinal_emd" in choices and channels < len(GRADES):
        raise OptionError(f"loss_terms: ordinal_emd needs four grades, not {channels} channels")


class TwoDateLoss(nn.Module):
    """The loss of a network with two classes for pre and more for post, as xView2SiameseUNet.

    Parameters
    ----------
    pre, post
        Losses of the two outputs.
    pre_share
        Weight of the first; the second has the rest.
    """

    def __init__(self, pre: WeightedLoss, post: WeightedLoss, *, pre_share: float = 0.4) -> None:
        super().__init__()
        self.pre, self.post, self.pre_share = pre, post, pre_share

    def forward(self, logits: Tensor, buildings: Tensor, grades: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        logits
            float (n, a + b, h, w): the channels of pre, then those of post.
        buildings, grades
            uint8 (n, h, w): 0, 1, 255 and 0-5, 255.
        """
        # Source: xView2SiameseUNet, model/loss.py: .4 pre + .6 post.
        of_pre: Tensor = self.pre(logits[:, : self.pre.channels], buildings)
        of_post: Tensor = self.post(logits[:, self.pre.channels :], grades)
        return self.pre_share * of_pre + (1 - self.pre_share) * of_post


class OpenCitiesLoss(nn.Module):
    """The loss of Open Cities' third place: focal on masks and whole images, a tenth of Dice."""

    weights: Tensor

    def __init__(self, *, all_reduce: bool = False) -> None:
        super().__init__()
        # Source: Open Cities' third place, train.py:52-81: background .25, building .75.
        self.register_buffer("weights", torch.tensor([0.25, 0.75]), persistent=False)
        self.total = everywhere if all_reduce else alone

    def forward(self, masks: Tensor, overlaps: Tensor, images: Tensor, buildings: Tensor) -> Tensor:
        """Return the loss.

        Parameters
        ----------
        masks, overlaps, images
            float (n, 2, h, w), (n, 1, h, w) and (n, 2): logits of the heads `bce_logit`, `dice`
            and `_fc`.
        buildings
            uint8 (n, h, w), of the size of the heads: 0, 1, 255. Reduce masks to it by a threshold
            of one half: the published cast from bilinear made every edge background.
        """
        masks, overlaps, images = masks.float(), overlaps.float(), images.float()[:, :, None, None]
        unknown = buildings == NOT_ASSESSED
        known, codes = (~unknown).float(), buildings.masked_fill(unknown, 0).long()
        focal_of = partial(softmax_focal, weights=self.weights, detach=True, total=self.total)
        truth = codes[:, None].float()
        # Source: Open Cities' third place, train.py:335 and :83-94 (Dice with 1 above and below).
        overlap = dice(overlaps, truth, known, smooth=1.0, total=self.total)[0]
        whole = focal_of(images, codes.amax((1, 2))[:, None, None], torch.ones_like(images[:, 0]))
        return focal_of(masks, codes, known) + 0.1 * overlap + whole


#: Channels of each task; xView2SiameseUNet has two outputs.
CHANNELS: Mapping[str, tuple[int, ...]] = {"localisation": (1,), "damage": (5,), "assess": (2, 6)}


def build_loss(
    options: LossOptions,
    *,
    task: str,
    pixel_counts: Sequence[Sequence[int]] = (),
    all_reduce: bool = False,
) -> WeightedLoss | TwoDateLoss:
    """Make the loss of a task.

    Parameters
    ----------
    options
        Options that `training.losses.presets.loss_options` gives.
    task
        "localisation" (one channel), "damage" (five), "assess" (two of pre and six of post).
    pixel_counts
        Pixels of each class of each output, which `balanced` needs: one row, for "assess" two.
    all_reduce
        Take sums over all processes; see `everywhere`.

    Raises
    ------
    OptionError
        For an unknown task, missing counts, and options that do not go together.
    """
    if task not in CHANNELS:
        raise OptionError(f"no loss for task {task!r}{near(task, CHANNELS)}")
    outputs = CHANNELS[task]
    if options.balanced and len(pixel_counts) != len(outputs):
        raise OptionError("loss_balanced needs the pixels of each class, counted before training")
    made = []
    for number, channels in enumerate(outputs):
        mine = options
        if options.balanced:
            by_class = tuple(inverse_frequency(np.asarray(pixel_counts[number])).tolist())
            mine = replace(options, balanced=False, class_weights=by_class)
        made.append(WeightedLoss(mine, channels=channels, all_reduce=all_reduce))
    if len(made) == 1:
        return made[0]
    return TwoDateLoss(*made, pre_share=options.pre_share)


def localisation_loss(logits: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy plus Dice, both weighted by pixel.

    Parameters
    ----------
    logits
        float (n, 1, h, w).
    target
        uint8 (n, h, w): 0, 1.
    weights
        float (n, h, w); 0 leaves a pixel out.
    """
    logits, truth = logits[:, 0].float(), target.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, weights)
    p = torch.sigmoid(logits)
    # Source: Milletari et al. 2016 (V-Net), Dice loss; over the batch, so empty chips are harmless.
    shared = (weights * p * truth).sum()
    dice = 1 - (2 * shared + 1) / ((weights * (p + truth)).sum() + 1)
    return entropy + 0.5 * dice


def damage_loss(logits: Tensor, target: Tensor, vote: Tensor, grade_weights: Tensor) -> Tensor:
    """Cross-entropy plus squared earth mover's distance over building pixels.

    Parameters
    ----------
    logits
        float (n, 4, h / 2, w / 2).
    target
        uint8 (n, h, w): 0 background, 1-4, 255 no grade.
    vote
        float (n, h, w): weight of each pixel.
    grade_weights
        float (4,).
    """
    target, vote = target[:, ::2, ::2], vote[:, ::2, ::2]
    graded = (target > 0) & (target != NOT_ASSESSED)
    if not graded.any():
        return logits.sum() * 0
    grades = target[graded].long() - 1  # (k,)
    scores = logits.float().permute(0, 2, 3, 1)[graded]  # (k, 4)
    weights = vote[graded] * grade_weights[grades]
    entropy = functional.cross_entropy(scores, grades, reduction="none", label_smoothing=0.05)
    truth = functional.one_hot(grades, 4).float()
    # Source: Hou et al. 2016, "Squared Earth Mover's Distance-based Loss for ordered classes".
    distance = (scores.softmax(1).cumsum(1) - truth.cumsum(1)).square().sum(1)
    return (weights * (entropy + distance)).sum() / weights.sum().clamp(min=1)
