"""Styles of a place and of its pictures: what is drawn once for a town, and once for a date."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Colour = tuple[float, float, float]

# RGB as a satellite sees it: dimmer and greyer than the material is from the ground.
ROOF_COLOURS: tuple[Colour, ...] = (
    (122, 122, 126),  # grey shingle
    (82, 82, 88),  # dark shingle
    (114, 94, 80),  # brown shingle
    (158, 96, 76),  # red tile
    (178, 120, 92),  # terracotta
    (214, 213, 208),  # white membrane
    (168, 150, 126),  # tan
    (150, 164, 178),  # metal
    (104, 126, 114),  # green metal
)

EVENTS = ("calm", "track", "wind", "flood", "fire", "quake")
BLOCK_KINDS = ("houses", "rows", "commerce", "wood", "field")


@dataclass(frozen=True)
class Shot:
    """One acquisition: sun, season, view and sensor."""

    sun_azimuth: float
    sun_elevation: float
    lean: tuple[float, float]
    greenness: float
    snow: bool
    blur: float
    noise: float
    jpeg_quality: int
    haze: float
    contrast: float
    balance: Colour
    cloud_shadow: bool


@dataclass(frozen=True)
class Style:
    """All choices that make one scene look different from another."""

    street_angle: float
    bend: float
    bend_length: float
    lot_width: float
    lot_depth: float
    road_width: float
    block_length: float
    block_weights: tuple[float, ...]
    roof_weights: tuple[float, ...]
    flat_share: float
    hip_share: float
    tree_density: float
    soil: Colour
    grass: Colour
    asphalt: Colour
    event: str
    severity: float
    shift: tuple[float, float]
    pre: Shot
    post: Shot


def draw_shot(rng: np.random.Generator, greenness: float) -> Shot:
    """Draw one acquisition at random.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    greenness : float
        0 for dry or winter ground, 1 for lush ground.

    Returns
    -------
    Shot
        The acquisition.
    """
    lean_angle, lean = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.35) ** 1.3
    warm = rng.normal(0, 0.022)
    return Shot(
        sun_azimuth=float(rng.uniform(0, 2 * np.pi)),
        sun_elevation=float(np.radians(rng.uniform(28, 72))),
        lean=(float(lean * np.cos(lean_angle)), float(lean * np.sin(lean_angle))),
        greenness=float(np.clip(greenness, 0, 1)),
        snow=bool(rng.random() < 0.025),
        blur=float(rng.uniform(0.3, 1.15)),
        noise=float(rng.uniform(0.5, 5.0)),
        jpeg_quality=int(rng.integers(45, 97)),
        haze=float(rng.uniform(0, 0.22) if rng.random() < 0.6 else 0.0),
        contrast=float(rng.uniform(0.75, 1.3)),
        balance=(1 + warm, float(1 + rng.normal(0, 0.012)), 1 - warm),
        cloud_shadow=bool(rng.random() < 0.08),
    )


def draw_style(rng: np.random.Generator) -> Style:
    """Draw the style of a scene at random.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.

    Returns
    -------
    Style
        Layout, palette, event and both acquisitions.
    """
    green = float(rng.uniform(0, 1))
    shift_angle = rng.uniform(0, 2 * np.pi)
    shift = rng.uniform(0, 12) if rng.random() < 0.6 else rng.uniform(0, 3)
    depth = float(rng.uniform(44, 84))
    return Style(
        street_angle=float(rng.uniform(0, np.pi)),
        bend=float(rng.uniform(0, 40) if rng.random() < 0.5 else 0.0),
        bend_length=float(rng.uniform(90, 220)),
        lot_width=float(rng.uniform(26, 60)),
        lot_depth=depth,
        road_width=float(rng.uniform(9, 19)),
        block_length=float(rng.uniform(180, 460)),
        block_weights=tuple(rng.dirichlet((5.0, 0.7, 0.9, 0.5, 0.5)).tolist()),
        roof_weights=tuple(rng.dirichlet(np.full(len(ROOF_COLOURS), 0.5)).tolist()),
        flat_share=float(rng.beta(0.6, 2.0)),
        hip_share=float(rng.uniform(0, 1)),
        tree_density=float(rng.gamma(1.8, 5.5)),
        soil=jitter(rng, (158, 138, 112), 16),
        grass=jitter(rng, (92, 104, 66), 12),
        asphalt=jitter(rng, (112, 111, 110), 16),
        event=str(rng.choice(EVENTS, p=(0.17, 0.2, 0.2, 0.16, 0.15, 0.12))),
        severity=float(rng.uniform(0.35, 1.0)),
        shift=(
            round(float(shift * np.cos(shift_angle)) * 2) / 2,
            round(float(shift * np.sin(shift_angle)) * 2) / 2,
        ),
        pre=draw_shot(rng, green),
        post=draw_shot(rng, green + float(rng.normal(0, 0.3))),
    )


def jitter(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """Vary brightness more than hue, as real materials do."""
    light = rng.normal(0, spread)
    red, green, blue = (np.clip(c + light + rng.normal(0, spread / 5), 8, 248) for c in colour)
    return float(red), float(green), float(blue)
