"""Sums over pixels and processes, and the means that losses take."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed

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


def weighted_mean(each: Tensor, known: Tensor, total: Total) -> Tensor:
    """Return the mean of (n, h, w); nothing known costs nothing."""
    sums = total(torch.stack([(each * known).sum(), known.sum()]))
    return sums[0] / sums[1].clamp(min=1e-6)


def channel_means(each: Tensor, known: Tensor, total: Total) -> Tensor:
    """Return the mean of each channel, (n, c, h, w) -> (c,); nothing known costs nothing."""
    added = (each * known[:, None]).sum((0, 2, 3))
    sums = total(torch.cat([added, known.sum()[None]]))
    return sums[:-1] / sums[-1].clamp(min=1e-6)


def image_means(each: Tensor, asked: Tensor, total: Total) -> Tensor:
    """Return the mean over images (n, c) -> (c,), of those with a pixel that is known."""
    sums = total(torch.cat([(each * asked[:, None]).sum(0), asked.sum()[None]]))
    return sums[:-1] / sums[-1].clamp(min=1)
