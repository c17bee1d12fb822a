"""Clouds, smoke and haze drawn over imagery, as light makes them.

What is seen is ground times transmittance plus what the cloud itself scatters. Optical depth is
fractal; opacity is 1 - exp(-depth), so edges are soft and the middle is not. A cloud throws a
shadow, displaced by its height and the sun, and is itself a little uneven.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

KINDS = ("cloud", "thin", "smoke", "haze")
#: Blur of a shadow's edge, pixels.
SOFT_BLUR, SHARP_BLUR = (4.0, 20.0), (0.3, 3.0)
#: Optical depth of a cloud with hard edges, by the root of what a soft one has.
SHARPNESS = 3.0


class Veiled(NamedTuple):
    """An image behind a veil.

    Attributes
    ----------
    image
        uint8 (rows, columns, 3), red, green, blue.
    opacity
        float32 (rows, columns): share of the ground's light that does not arrive, 0-1.
    """

    image: Bytes
    opacity: Field


def fractal(rng: np.random.Generator, size: int, longest: float, slope: float) -> Field:
    """Return fractal noise of unit spread, float32 (size, size).

    Parameters
    ----------
    longest
        Longest wave, pixels.
    slope
        Of amplitude with frequency; clouds have about 1.7 to 2.4.
    """
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    amplitude = np.maximum(frequency, 1 / longest) ** -slope
    amplitude[0, 0] = 0
    phase = np.exp(2j * np.pi * rng.random(amplitude.shape))
    noise = np.fft.irfft2(amplitude * phase, s=(size, size))
    return np.asarray((noise - noise.mean()) / noise.std(), np.float32)


def veil(rng: np.random.Generator, image: Bytes, kind: str, *, sharp: bool = False) -> Veiled:
    """Draw a cloud, smoke or haze over an image of a square, about half-metre pixels.

    Parameters
    ----------
    image
        uint8 (size, size, 3), red, green, blue.
    kind
        One of `KINDS`.
    sharp
        Whether edges are hard: a low cumulus grows thick within a few pixels, and so does its
        shadow, since the sun's disc blurs it by a hundredth of the cloud's height only.
    """
    size = len(image)
    depth = _depth(rng, size, kind)
    if sharp:
        depth = np.asarray(SHARPNESS * np.sqrt(depth), np.float32)
    opacity = 1 - np.exp(-depth)
    ground = image.astype(np.float32)
    if kind in ("cloud", "thin"):
        blur = SHARP_BLUR if sharp else SOFT_BLUR
        ground = ground * _shadow(rng, opacity, blur)[..., None]
    light = _light(rng, size, depth, kind)
    seen = ground * (1 - opacity[..., None]) + light * opacity[..., None]
    seen += rng.normal(0, rng.uniform(0.5, 2.5), seen.shape)
    return Veiled(np.rint(seen).clip(0, 255).astype(np.uint8), opacity.astype(np.float32))


def _depth(rng: np.random.Generator, size: int, kind: str) -> Field:
    if kind == "haze":
        return np.asarray(
            rng.uniform(0.5, 2.5) * np.exp(0.25 * fractal(rng, size, 4 * size, 2.2)), np.float32
        )
    noise = fractal(rng, size, rng.uniform(0.25, 2) * size, rng.uniform(1.6, 2.3))
    if kind == "smoke":  # drawn out along the wind
        noise = _drawn_out(rng, noise)
    clear = rng.uniform(-0.3, 0.85)  # share of the image; below 0 the whole sky is overcast
    level = np.quantile(noise, max(clear, 0)) + min(clear, 0) * 5
    thick = {"cloud": (2, 9), "thin": (0.4, 1.8), "smoke": (0.8, 4)}[kind]
    return np.asarray(np.maximum(noise - level, 0) * rng.uniform(*thick), np.float32)


def _drawn_out(rng: np.random.Generator, noise: Field) -> Field:
    size = len(noise)
    angle, stretch = rng.uniform(0, 180), rng.uniform(2, 5)
    turn = cv2.getRotationMatrix2D((size / 2, size / 2), angle, 1.0)
    turn[0] /= stretch
    return np.asarray(cv2.warpAffine(noise, turn, (size, size), borderMode=cv2.BORDER_REFLECT_101))


def _shadow(rng: np.random.Generator, opacity: Field, blur: tuple[float, float]) -> Field:
    angle, length = rng.uniform(0, 2 * np.pi), rng.uniform(100, 900)
    move = np.array([[1, 0, length * np.cos(angle)], [0, 1, length * np.sin(angle)]])
    size = opacity.shape[::-1]
    thrown = cv2.warpAffine(opacity, move, size, borderMode=cv2.BORDER_REFLECT_101)
    soft = cv2.GaussianBlur(thrown, (0, 0), rng.uniform(*blur))
    return np.asarray(1 - rng.uniform(0.3, 0.7) * soft)


def _light(rng: np.random.Generator, size: int, depth: Field, kind: str) -> Field:
    """Return what the veil itself sends, float32 (size, size, 3)."""
    colour, level = {
        "cloud": ((1.0, 1.0, 1.01), rng.uniform(190, 262)),
        "thin": ((0.98, 1.0, 1.03), rng.uniform(160, 245)),
        "smoke": ((1.0, rng.uniform(0.9, 1.0), rng.uniform(0.78, 1.02)), rng.uniform(60, 210)),
        "haze": ((0.96, 1.0, 1.05), rng.uniform(120, 225)),
    }[kind]
    uneven = 1 + rng.uniform(0.01, 0.1) * fractal(rng, size, size / 2, 1.9)
    lit = level * uneven * (0.85 + 0.15 * np.tanh(depth / 2))
    # Sun, haze above it and the sensor's white balance make a cloud warm or cold.
    tint = np.array(colour) * rng.uniform(0.94, 1.06, 3)
    return np.asarray(lit[..., None] * tint, np.float32)
