r"""Losses: what a network is punished for.

Two kinds of term. One looks at each channel apart, as a yes-or-no question, and gives a value for
each channel; the other looks at all channels as one choice, and gives one value:

    per channel   dice  softmax_dice  log_cosh_dice  focal  alpha_focal  bce  lovasz_hinge
    one choice    cross_entropy  softmax_focal  lovasz_softmax  ordinal_emd

`LossOptions` names terms and weights, `build_loss` makes the module, `losses.presets` holds
those of published recipes. Pixels of code 255 are left out of every term.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from geodamage.damage import GRADES, NOT_ASSESSED
from geodamage.errors import OptionError
from training.data.sampling import inverse_frequency
from training.presets import near

#: Sums of one process, or of all of them; see `everywhere`.
Total = Callable[[Tensor], Tensor]


def alone(sums: Tensor) -> Tensor:
    """Return the sums of this process as they are."""
    return sums


class _Everywhere(torch.autograd.Function):
    """Sum over processes, forwards and backwards; torch's own twin of this is deprecated."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor) -> Tensor:
        """Add the sums of all processes."""
        added = sums.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(added)
        return added

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        """Add the gradients: the losses of all processes hang on the sums of this one."""
        added: Tensor = gradients[0].clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(added)
        return added


def everywhere(sums: Tensor) -> Tensor:
    """Return the sums over all processes of `torch.distributed`, so that a batch may be split.

    The loss is then that of the whole batch, on every process. Averaged over the processes, as
    DistributedDataParallel does, the gradients are those of the whole batch, too. Every process
    must ask for the same sums in the same order, so no term leaves early.
    """
    result: Tensor = _Everywhere.apply(sums)
    return result


def targets(codes: Tensor, *, channels: int, channel_0: str = "background") -> Tensor:
    """Return the truth of each channel.

    Parameters
    ----------
    codes
        uint8 (n, h, w): 0 background, 1-4 grades (5 un-classified, where a recipe makes that a
        class of its own), 255 unknown.
    channels
        1 asks only whether there is a building.
    channel_0
        "background", so that the channels are one choice, or "building": building of any grade.

    Returns
    -------
    float (n, channels, h, w)
        0 or 1; 0 where unknown.
    """
    # Source: xView2 first place, train34_cls.py and train50_cls_cce.py: the Res34 models have the
    # building in channel 0, the softmax-trained ones the background.
    known = codes != NOT_ASSESSED
    building = (codes > 0) & known
    if channels == 1:
        return building[:, None].float()
    classes = torch.arange(channels, device=codes.device).view(1, -1, 1, 1)
    truth = (codes[:, None] == classes) & known[:, None]
    if channel_0 == "building":
        truth = torch.cat([building[:, None], truth[:, 1:]], 1)
    return truth.float()


def dice(
    logits: Tensor, truth: Tensor, known: Tensor, *, smooth: float = 1e-6, total: Total = alone
) -> Tensor:
    """Return 1 - Dice of the sigmoid of each channel, its sums taken over the whole batch.

    Parameters
    ----------
    logits, truth
        float (n, c, h, w).
    known
        float (n, h, w): weight of each pixel; 0 leaves it out.
    smooth
        Added above and below, so that an empty channel found empty costs nothing.

    Returns
    -------
    float (c,)
    """
    # Source: xView2 first place, losses.py:24-33: 1 - (2 sum(p t) + 1e-6) / (sum p + sum t + 1e-6).
    # MetaDamageNet, losses/dice.py:8-95, is the same with 1e-8.
    return _dice(torch.sigmoid(logits), truth, known, smooth=smooth, total=total)


def softmax_dice(
    logits: Tensor, truth: Tensor, known: Tensor, *, smooth: float = 1e-6, total: Total = alone
) -> Tensor:
    """Return 1 - Dice of the softmax of each channel; shapes as in `dice`."""
    # Source: MetaDamageNet, losses/dice.py:37-95; its README calls the result poor.
    return _dice(logits.softmax(1), truth, known, smooth=smooth, total=total)


def log_cosh_dice(
    logits: Tensor, truth: Tensor, known: Tensor, *, smooth: float = 1e-6, total: Total = alone
) -> Tensor:
    """Return log cosh of the Dice loss of each channel; shapes as in `dice`."""
    # Source: Jadon 2020, "A survey of loss functions for semantic segmentation", equation 19.
    return torch.log(torch.cosh(dice(logits, truth, known, smooth=smooth, total=total)))


def _dice(p: Tensor, truth: Tensor, known: Tensor, *, smooth: float, total: Total) -> Tensor:
    weight = known[:, None]
    parts = [weight * p * truth, weight * (p + truth)]
    shared, size = total(torch.stack([part.sum((0, 2, 3)) for part in parts]))  # (c,) each
    missed: Tensor = 1 - (2 * shared + smooth) / (size + smooth)
    return missed


def focal(
    logits: Tensor, truth: Tensor, known: Tensor, *, gamma: float = 2.0, total: Total = alone
) -> Tensor:
    """Return the focal loss of the sigmoid of each channel; shapes as in `dice`."""
    # Source: xView2 first place, losses.py:259-275: p and t clamped to [1e-6, 1 - 1e-6],
    # p_t = t p + (1 - t)(1 - p), mean of -(1 - p_t)^gamma log p_t, after Lin et al. 2017.
    p = torch.sigmoid(logits).clamp(1e-6, 1 - 1e-6)
    t = truth.clamp(1e-6, 1 - 1e-6)
    right = t * p + (1 - t) * (1 - p)
    return _channel_means(-((1 - right) ** gamma) * right.log(), known, total)


def alpha_focal(
    logits: Tensor,
    truth: Tensor,
    known: Tensor,
    *,
    alpha: float = 0.7,
    gamma: float = 2.0,
    total: Total = alone,
) -> Tensor:
    """Return the focal loss with weights `alpha` for 1 and `1 - alpha` for 0; see `dice`."""
    # Source: kornia.losses.BinaryFocalLossWithLogits, which MetaDamageNet uses with alpha .7 and
    # gamma 2: -alpha (1 - p)^gamma t log p - (1 - alpha) p^gamma (1 - t) log(1 - p).
    yes = alpha * torch.sigmoid(-logits) ** gamma * truth * functional.logsigmoid(logits)
    no = (1 - alpha) * torch.sigmoid(logits) ** gamma * (1 - truth) * functional.logsigmoid(-logits)
    return _channel_means(-yes - no, known, total)


def bce(logits: Tensor, truth: Tensor, known: Tensor, *, total: Total = alone) -> Tensor:
    """Return the binary cross-entropy of each channel; shapes as in `dice`."""
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return _channel_means(each, known, total)


def lovasz_hinge(logits: Tensor, truth: Tensor, known: Tensor, *, total: Total = alone) -> Tensor:
    """Return the Lovász hinge of each channel, taken image by image; shapes as in `dice`.

    Of `known` only matters whether it is 0: the surrogate of an IoU knows no weights of pixels.
    """
    # Source: Berman et al. 2018, "The Lovász-Softmax loss", algorithm 1 and equation 8.
    asked = (known > 0)[:, None].to(logits)
    errors = functional.relu(1 - logits * (2 * truth - 1)) * asked
    each = _lovasz(errors, truth * asked)  # (n, c)
    return _image_means(each, asked.amax((1, 2, 3)), total)


def lovasz_softmax(logits: Tensor, codes: Tensor, known: Tensor, *, total: Total = alone) -> Tensor:
    """Return the Lovász softmax, taken image by image over the classes present.

    Arguments as in `cross_entropy`. Of `known` only matters whether it is 0.
    """
    # Source: Berman et al. 2018, equations 11 and 12, classes "present".
    asked = (known > 0)[:, None].to(logits)
    truth = _one_hot(codes, logits) * asked
    each = _lovasz((truth - logits.softmax(1)).abs() * asked, truth)  # (n, c)
    present = (truth.amax((2, 3)) > 0).to(each)
    images = (each * present).sum(1) / present.sum(1).clamp(min=1)
    return _image_means(images[:, None], asked.amax((1, 2, 3)), total)[0]


def _lovasz(errors: Tensor, truth: Tensor) -> Tensor:
    """Return the Lovász extension of the Jaccard loss, (n, c).

    A pixel left out has error 0: it comes after all that count, and adds nothing.
    """
    errors, order = errors.flatten(2).sort(dim=2, descending=True)
    truth = truth.flatten(2).gather(2, order)
    positive = truth.sum(2, keepdim=True)
    jaccard = 1 - (positive - truth.cumsum(2)) / (positive + (1 - truth).cumsum(2))
    steps = torch.diff(jaccard, dim=2, prepend=torch.zeros_like(positive))
    return (errors * steps).sum(2)


def cross_entropy(
    logits: Tensor,
    codes: Tensor,
    known: Tensor,
    *,
    weights: Tensor | None = None,
    total: Total = alone,
) -> Tensor:
    """Return the cross-entropy of the softmax, a mean weighted by class.

    Parameters
    ----------
    logits
        float (n, c, h, w).
    codes
        int64 (n, h, w): the true channel; anything in range where unknown.
    known
        float (n, h, w): weight of each pixel; 0 leaves it out.
    weights
        float (c,), of each class.

    Returns
    -------
    float ()
    """
    if weights is not None:
        known = known * weights[codes]
    return weighted_mean(functional.cross_entropy(logits, codes, reduction="none"), known, total)


def softmax_focal(
    logits: Tensor,
    codes: Tensor,
    known: Tensor,
    *,
    weights: Tensor | None = None,
    gamma: float = 2.0,
    detach: bool = False,
    total: Total = alone,
) -> Tensor:
    """Return the focal loss of the softmax; arguments as in `cross_entropy`.

    The mean is over pixels, not over their weights. With `detach` the modulating factor is a
    constant to the gradient.
    """
    # Source: system 004, model/loss.py: mean((1 - p_t)^gamma * weighted cross-entropy), gamma 2.
    # System 003, train.py:52-81: the same with weights .25 (background) and .75, p_t detached.
    entropy = functional.cross_entropy(logits, codes, reduction="none")
    right = (-entropy).exp()
    factor = (1 - (right.detach() if detach else right)).clamp(min=0) ** gamma
    if weights is not None:
        factor = factor * weights[codes]
    return weighted_mean(factor * entropy, known, total)


def ordinal_emd(logits: Tensor, codes: Tensor, known: Tensor, *, total: Total = alone) -> Tensor:
    """Return the squared earth mover's distance between grades, over pixels that have one.

    Arguments as in `cross_entropy`; logits have the four grades alone or from channel 1 on. Steps
    count: no-damage for destroyed costs 3, for minor damage 1.
    """
    # Source: Hou et al. 2016, "Squared Earth Mover's Distance-based Loss for Training Deep Neural
    # Networks", equation 3: the sum of squared differences of the cumulative distributions.
    first = int(logits.shape[1] > len(GRADES))
    said = logits[:, first : first + len(GRADES)].softmax(1).cumsum(1)
    grades = torch.arange(1, len(GRADES) + 1, device=codes.device).view(1, -1, 1, 1)
    truth = (codes[:, None] <= grades).to(said)
    graded = known * ((codes >= 1) & (codes <= len(GRADES)))
    return weighted_mean((said - truth).square().sum(1), graded, total)


def _one_hot(codes: Tensor, logits: Tensor) -> Tensor:
    return functional.one_hot(codes, logits.shape[1]).movedim(-1, 1).to(logits)


def weighted_mean(each: Tensor, known: Tensor, total: Total) -> Tensor:
    """Return the mean of (n, h, w); nothing known costs nothing."""
    sums = total(torch.stack([(each * known).sum(), known.sum()]))
    return sums[0] / sums[1].clamp(min=1e-6)


def _channel_means(each: Tensor, known: Tensor, total: Total) -> Tensor:
    added = (each * known[:, None]).sum((0, 2, 3))
    sums = total(torch.cat([added, known.sum()[None]]))
    return sums[:-1] / sums[-1].clamp(min=1e-6)


def _image_means(each: Tensor, asked: Tensor, total: Total) -> Tensor:
    """Return the mean over images (n, c) -> (c,), of those with a pixel that is known."""
    sums = total(torch.cat([(each * asked[:, None]).sum(0), asked.sum()[None]]))
    return sums[:-1] / sums[-1].clamp(min=1)


@dataclass(frozen=True, kw_only=True)
class LossOptions:
    """A weighted sum of terms; in a recipe every field has the prefix `loss_`."""

    terms: tuple[str, ...] = ("dice:1", "bce:1")
    """Name and weight of each term."""
    channel_weights: tuple[float, ...] = ()
    """Weight of each channel in terms per channel; empty shares 1 evenly."""
    class_weights: tuple[float, ...] = ()
    """Weight of each class in cross-entropy and softmax focal; empty is 1 each."""
    balanced: bool = False
    """Take class weights inverse to the pixels of each class, counted in the training part."""
    channel_0: str = "background"
    """What channel 0 of five means: `background` or `building`."""
    smooth: float = 1e-6
    """Smoothing of Dice."""
    gamma: float = 2.0
    """Exponent of focal losses."""
    alpha: float = 0.7
    """Weight of a building pixel in `alpha_focal`."""
    detach: bool = False
    """Take the factor of `softmax_focal` as a constant in the gradient."""
    pre_share: float = 0.4
    """Task assess: share of the pre image; the rest is the post image's."""

    def __post_init__(self) -> None:
        if self.channel_0 not in ("background", "building"):
            raise OptionError(
                f"loss_channel_0 = {self.channel_0!r}; it is 'background' or 'building'"
            )
        if self.balanced and self.class_weights:
            raise OptionError("loss_balanced and loss_class_weights exclude each other")
        for term in self.terms:
            parse_term(term)


PER_CHANNEL: Mapping[str, Callable[..., Tensor]] = {
    "dice": dice,
    "softmax_dice": softmax_dice,
    "log_cosh_dice": log_cosh_dice,
    "focal": focal,
    "alpha_focal": alpha_focal,
    "bce": bce,
    "lovasz_hinge": lovasz_hinge,
}
ONE_CHOICE: Mapping[str, Callable[..., Tensor]] = {
    "cross_entropy": cross_entropy,
    "softmax_focal": softmax_focal,
    "lovasz_softmax": lovasz_softmax,
    "ordinal_emd": ordinal_emd,
}
#: Every term by its name in a recipe.
TERMS: Mapping[str, Callable[..., Tensor]] = {**PER_CHANNEL, **ONE_CHOICE}
#: Terms that take class weights.
BY_CLASS = ("cross_entropy", "softmax_focal")


def _numbers(options: LossOptions, name: str) -> dict[str, float | bool]:
    """Return the options of a term other than its weights."""
    keys = {
        "dice": ("smooth",),
        "softmax_dice": ("smooth",),
        "log_cosh_dice": ("smooth",),
        "focal": ("gamma",),
        "alpha_focal": ("alpha", "gamma"),
        "softmax_focal": ("gamma", "detach"),
    }
    return {key: getattr(options, key) for key in keys.get(name, ())}


def parse_term(term: str) -> tuple[str, float]:
    """Return name and weight of `name:weight`.

    Raises
    ------
    OptionError
        For an unknown name and a weight that is no positive number.
    """
    name, _, text = term.partition(":")
    if name not in TERMS:
        raise OptionError(f"loss_terms: unknown term {name!r}{near(name, TERMS)}")
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not 0 < weight < float("inf"):
        raise OptionError(f"loss_terms: {term!r} needs a positive weight, such as '{name}:1'")
    return name, weight


class WeightedLoss(nn.Module):
    """A weighted sum of terms of one output.

    Parameters
    ----------
    options
        The terms and their numbers.
    channels
        Of the output: 1 building or not, 5 background and grades, more or fewer for other systems.
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
    """The loss of a network that gives two classes for pre and more for post, as system 004 does.

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
        # Source: system 004, model/loss.py: .4 pre + .6 post.
        of_pre: Tensor = self.pre(logits[:, : self.pre.channels], buildings)
        of_post: Tensor = self.post(logits[:, self.pre.channels :], grades)
        return self.pre_share * of_pre + (1 - self.pre_share) * of_post


class OpenCitiesLoss(nn.Module):
    """The loss of system 003: focal on masks, a tenth of Dice, focal on whole images."""

    weights: Tensor

    def __init__(self, *, all_reduce: bool = False) -> None:
        super().__init__()
        # Source: system 003, train.py:52-81: background .25, building .75.
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
        # Source: system 003, train.py:335 and :83-94 (Dice with 1 above and below).
        overlap = dice(overlaps, truth, known, smooth=1.0, total=self.total)[0]
        whole = focal_of(images, codes.amax((1, 2))[:, None, None], torch.ones_like(images[:, 0]))
        return focal_of(masks, codes, known) + 0.1 * overlap + whole


#: Channels of each task; system 004 has two outputs.
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
        As `training.losses.presets.loss_options` gives them.
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
