"""Conditions of a benchmark: pairs under cloud, stripes, shifts, other types and channels."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from affine import Affine
from pyproj import Geod, Transformer

from benchmarks.clouds import clouded
from geodamage.scene.options import SceneOptions


class Shot(NamedTuple):
    """An image, and how it is written.

    Attributes
    ----------
    pixels
        (channels, rows, columns).
    profile
        Of rasterio.
    """

    pixels: np.ndarray
    profile: dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A pair, changed.

    Attributes
    ----------
    pre, post
        The images.
    covered
        Share of the ground that is hidden, 0-1 (rows, columns); None where nothing is.
    moved
        Degrees (longitude, latitude) that post was moved by.
    laid
        Degrees (longitude, latitude) that the footprints were moved by.
    options
        How the scene is read.
    """

    pre: Shot
    post: Shot
    covered: np.ndarray | None = None
    moved: tuple[float, float] | None = None
    laid: tuple[float, float] | None = None
    options: SceneOptions = field(default_factory=SceneOptions)


Change = Callable[[Shot, Shot, np.random.Generator], Case]


def veiled(share: float) -> Change:
    """Return clouds over a share of post."""

    def change(pre: Shot, post: Shot, rng: np.random.Generator) -> Case:
        image, opacity = clouded(rng, post.pixels.transpose(1, 2, 0), share)
        return Case(pre, Shot(image.transpose(2, 0, 1), post.profile), opacity)

    return change


def striped(value: int) -> Change:
    """Return three stripes of one value across post, without a tag."""

    def change(pre: Shot, post: Shot, rng: np.random.Generator) -> Case:
        covered = np.zeros(post.pixels.shape[1:])
        for first in rng.integers(0, len(covered) - 60, 3):
            covered[first : first + 60] = 1
        pixels = np.where(covered > 0, np.uint8(value), post.pixels)
        return Case(pre, Shot(pixels, post.profile), covered)

    return change


def moved(pixels: float, registration: str = "measure", *, metres: bool = False) -> Change:
    """Return post moved along one of four axes."""

    def change(pre: Shot, post: Shot, rng: np.random.Generator) -> Case:
        own = post.profile["transform"]
        length = pixels / _pixel_width(post) if metres else pixels
        right, down = [(1, 0), (0, 1), (-1, 0), (0, -1)][int(rng.integers(4))]
        there = own @ Affine.translation(right * length, down * length)
        shot = Shot(post.pixels, post.profile | {"transform": there})
        by = float(there.c - own.c), float(there.f - own.f)
        options = SceneOptions(registration=registration)
        return Case(pre, shot, moved=by, options=options)

    return change


def laid(metres: float, registration: str = "measure") -> Change:
    """Return footprints moved in any direction."""

    def change(pre: Shot, post: Shot, rng: np.random.Generator) -> Case:
        azimuth = 90 - np.degrees(rng.uniform(0, 2 * np.pi))
        lon, lat = centre_of(post)
        there = Geod(ellps="WGS84").fwd(lon, lat, azimuth, metres)
        off = float(there[0] - lon), float(there[1] - lat)
        return Case(pre, post, laid=off, options=SceneOptions(registration=registration))

    return change


def centre_of(shot: Shot) -> tuple[float, float]:
    """Return longitude and latitude of the centre of an image in degrees."""
    rows, columns = shot.pixels.shape[1:]
    lon, lat = shot.profile["transform"] @ (columns / 2, rows / 2)
    return float(lon), float(lat)


def on_grid(shot: Shot, by: tuple[float, float], crs: str) -> tuple[float, float]:
    """Return degrees that something was moved by as metres (right, up) on the grid of a scene.

    North of a grid is not true north: at its edge they differ by some 1.7 degrees here, which is
    1.2 m of 40.
    """
    lon, lat = centre_of(shot)
    ends = Transformer.from_crs(4326, crs, always_xy=True).transform(
        [lon, lon + by[0]], [lat, lat + by[1]]
    )
    return float(ends[0][1] - ends[0][0]), float(ends[1][1] - ends[1][0])


def _pixel_width(shot: Shot) -> float:
    """Return metres per pixel, across, of an image in degrees."""
    transform: Affine = shot.profile["transform"]
    return float(transform.a * 111_320 * np.cos(np.radians(transform.f)))


def scaled(dtype: str, gain: float, offset: float = 0.0) -> Change:
    """Return both images in another type."""

    def change(pre: Shot, post: Shot, rng: np.random.Generator) -> Case:
        del rng

        def as_type(shot: Shot) -> Shot:
            values = shot.pixels.astype(np.float64) * gain + offset
            pixels = (np.rint(values) if dtype == "uint16" else values).astype(dtype)
            return Shot(pixels, shot.profile | {"dtype": dtype})

        return Case(as_type(pre), as_type(post))

    return change


#: The condition that the others are held against.
AS_IT_IS = "as it is"

#: Channels of the model in images of eight, whose others are made up.
BANDS = (5, 3, 2)


def reversed_channels(pre: Shot, post: Shot, rng: np.random.Generator) -> Case:
    """Return both images blue first, which nobody tells."""
    del rng
    one, two = (Shot(shot.pixels[::-1], shot.profile) for shot in (pre, post))
    return Case(one, two)


def of_eight(pre: Shot, post: Shot, rng: np.random.Generator) -> Case:
    """Return both images as 16 bits in eight channels, of which the options name three."""
    case = scaled("uint16", 8)(pre, post, rng)
    wide = []
    for shot in (case.pre, case.post):
        pixels = np.repeat(shot.pixels[:1] // 2, 8, axis=0)
        pixels[[band - 1 for band in BANDS]] = shot.pixels
        wide.append(Shot(pixels, shot.profile | {"count": 8, "photometric": "MINISBLACK"}))
    return Case(wide[0], wide[1], options=SceneOptions(pre_bands=BANDS, post_bands=BANDS))


CONDITIONS: dict[str, Change] = {
    AS_IT_IS: lambda pre, post, rng: Case(pre, post),
    "cloud, all": veiled(0.97),
    "cloud, 60 %": veiled(0.6),
    "cloud, 30 %": veiled(0.3),
    "white stripes": striped(255),
    "grey stripes": striped(128),
    "black stripes": striped(0),
    "same image": lambda pre, post, rng: Case(pre, pre),
    "swapped": lambda pre, post, rng: Case(post, pre),
    **{f"shift {n} px": moved(n) for n in (5, 10, 20, 40)},
    **{f"shift {n} m": moved(n, metres=True) for n in (5, 10, 20, 40)},
    "shift 20 m, applied": moved(20, "apply", metres=True),
    **{f"footprints {n} m": laid(n) for n in (2, 5, 10)},
    **{f"footprints {n} m, applied": laid(n, "apply") for n in (2, 5, 10)},
    "16 bits, times 8": scaled("uint16", 8),
    "16 bits, times 3 plus 500": scaled("uint16", 3, 500),
    "16 bits, dark": scaled("uint16", 0.35 * 257),
    "8 channels of 16 bits": of_eight,
    "float, 0 to 1": scaled("float32", 1 / 255),
    "blue first": reversed_channels,
}
