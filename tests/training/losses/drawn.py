"""Answers and grades drawn at random, and every term at some weight."""

import torch

from training.losses.terms import (
    TERMS,
    targets,
)


def sample(channels=5, *, seed=0, size=6, images=2):
    """Return logits, codes with some 255, truth, known (all double where they are float)."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(images, channels, size, size, generator=generator, dtype=torch.double)
    codes = torch.randint(0, max(channels, 2), (images, size, size), generator=generator).byte()
    codes[torch.rand(codes.shape, generator=generator) < 0.2] = 255
    truth = targets(codes, channels=channels).double()
    return logits, codes, truth, (codes != 255).double()


ALL_TERMS = tuple(f"{name}:1" for name in TERMS)
NUMBERS = {"channel_weights": (0.1, 0.2, 0.3, 0.2, 0.2), "class_weights": (0.2, 1.0, 3.0, 2.0, 1.0)}
