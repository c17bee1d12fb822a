"""Weights and images that anybody draws alike: by the name of each key, with NumPy's generator."""

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor


def drawn_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights of the shapes of a state that keep the size of what passes through them."""
    return {key: _drawn(key, value) for key, value in state.items()}


def drawn_image(size: int) -> Tensor:
    """Return float `(1, 6, size, size)` of whole numbers, 0 to 255."""
    rng = np.random.default_rng(6)
    blocks = rng.integers(0, 256, (1, 6, size // 16, size // 16)).repeat(16, 2).repeat(16, 3)
    return torch.from_numpy(blocks.astype(np.float32))


def _drawn(key: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    normal = rng.normal(0, 1, tuple(value.shape)).astype(np.float32)
    if key.endswith("running_var"):
        return torch.from_numpy(np.exp(0.1 * normal))
    if key.endswith(("running_mean", "bias", "bias_table")):
        return torch.from_numpy(0.1 * normal)
    if value.ndim == 1:  # the weight of a norm
        return torch.from_numpy(1 + 0.1 * normal)
    inner = max(int(np.prod(value.shape[1:])), 1)
    return torch.from_numpy(normal * np.float32((1.5 / inner) ** 0.5))
