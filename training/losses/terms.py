r"""Terms of a loss: what a training minimises.

Two kinds of term. One treats each channel separately, as a yes-or-no question, and gives a value
for each channel. The other treats all channels as one choice, and gives one value:

    per channel   dice  softmax_dice  log_cosh_dice  focal  alpha_focal  bce  lovasz_hinge
    one choice    cross_entropy  softmax_focal  lovasz_softmax  ordinal_emd

`losses.options` names terms and weights, `losses.networks` makes modules of them, and
`losses.presets` holds those of published recipes. Pixels of code 255 are left out of every term.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from geodamage.damage import GRADES, NOT_ASSESSED
from training.losses.sums import Total, alone, channel_means, image_means, weighted_mean


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
        Truth of each channel, 0 or 1; 0 where unknown.
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
    return channel_means(-((1 - right) ** gamma) * right.log(), known, total)


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
    return channel_means(-yes - no, known, total)


def bce(
    logits: Tensor,
    truth: Tensor,
    known: Tensor,
    *,
    temperature: float = 1.0,
    total: Total = alone,
) -> Tensor:
    """Return the binary cross-entropy of each channel, of logits by a temperature.

    Shapes as in `dice`.
    """
    softened = logits / temperature
    each = functional.binary_cross_entropy_with_logits(softened, truth, reduction="none")
    return channel_means(each, known, total)


def lovasz_hinge(logits: Tensor, truth: Tensor, known: Tensor, *, total: Total = alone) -> Tensor:
    """Return the Lovász hinge of each channel, taken image by image; shapes as in `dice`.

    Of `known` only matters whether it is 0: the surrogate of an IoU knows no weights of pixels.
    """
    # Source: Berman et al. 2018, "The Lovász-Softmax loss", algorithm 1 and equation 8.
    asked = (known > 0)[:, None].to(logits)
    errors = functional.relu(1 - logits * (2 * truth - 1)) * asked
    each = _lovasz(errors, truth * asked)  # (n, c)
    return image_means(each, asked.amax((1, 2, 3)), total)


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
    return image_means(images[:, None], asked.amax((1, 2, 3)), total)[0]


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
    # Source: xView2SiameseUNet, model/loss.py: mean((1 - p_t)^gamma * weighted cross-entropy),
    # gamma 2. Open Cities' third place, train.py:52-81: the same with weights .25 (background) and
    # .75, p_t detached.
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
