"""Pairing: which images lie on which, found by where they lie on the Earth."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely
from pyproj import Proj
from shapely.geometry.base import BaseGeometry

#: Share of the smaller of two images that lies in the other, from which they make a pair: images
#: side by side share a sliver by rounding. One row of an image of 1,000.
LEAST_OVERLAP = 1e-3

#: Share of an image that lies in another from which both show the same ground: tiles of a mosaic
#: overlap by their edges only.
SAME_GROUND = 0.5

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Placed:
    """An image and where it lies.

    Attributes
    ----------
    name
        What a scene may be called after it.
    path
        Absolute path or URL.
    outline
        Polygons in longitude and latitude, degrees.
    taken
        When it was taken, UTC; None where nobody says.
    look
        How good a look it is by what a catalogue says, smaller is better; equal where it does not.
    facts
        What a catalogue says of it.
    """

    name: str
    path: str
    outline: BaseGeometry
    taken: datetime | None = None
    look: tuple[int, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


def pair_up(pre: Sequence[Placed], post: Sequence[Placed]) -> Iterator[tuple[Placed, list[Placed]]]:
    """Yield each post image with the pre images that it lies on, the best first.

    Two images make a pair where `LEAST_OVERLAP` of the smaller lies in the other. The best look
    counts first, by `Placed.look`. If images have a date, the latest is then best, and an older one
    counts where it shows more ground. If they have none, the one that covers most is best, and all
    count.
    """
    middles = np.array([_middle(image.outline) for image in pre]).reshape(-1, 3)
    reaches = np.array([_reach(image.outline) for image in pre])
    for image in post:
        away = np.arccos(np.clip(middles @ _middle(image.outline), -1, 1))
        near = np.flatnonzero(away <= (reaches + _reach(image.outline)) * 1.01 + 1e-6)
        yield image, _lying_on(image, [pre[int(index)] for index in near])


def _lying_on(image: Placed, candidates: Sequence[Placed]) -> list[Placed]:
    """Return the candidates that an image lies on, the best first."""
    plane = _Plane(image.outline)
    whole = plane.flat(image.outline)
    shapes = [plane.flat(candidate.outline) for candidate in candidates]
    shares = [_share(whole, shape) for shape in shapes]
    pairs = [
        (candidate, shape, share)
        for candidate, shape, share in zip(candidates, shapes, shares, strict=True)
        if share >= LEAST_OVERLAP
    ]
    # Rounded, so that equal shares are equal on every machine.
    pairs.sort(key=lambda pair: (*_rank(pair[0]), -round(pair[2], 3), pair[0].name, pair[0].path))
    if any(candidate.taken is None for candidate, _, _ in pairs):
        return [candidate for candidate, _, _ in pairs]
    chosen, open_part = [], whole
    for candidate, shape, _ in pairs:
        gain = shapely.intersection(open_part, shape).area
        if gain >= LEAST_OVERLAP * min(whole.area, shape.area):
            chosen.append(candidate)
            open_part = shapely.difference(open_part, shape)
    return chosen


def shown_twice(pairs: Iterable[tuple[Placed, Sequence[Placed]]]) -> Iterator[str]:
    """Yield a line for each pre image whose ground one above it shows, where no date chose.

    Parameters
    ----------
    pairs
        What `pair_up` yields.
    """
    for image, found in pairs:
        if len(found) < 2 or all(one.taken is not None for one in found):
            continue
        plane = _Plane(image.outline)
        shapes = [plane.flat(one.outline) for one in found]
        below, above = shapely.STRtree(shapes).query(shapes, predicate="intersects")
        tops: dict[int, int] = {}
        for low, top in sorted(zip(below.tolist(), above.tolist(), strict=True)):
            if top < low and _share(shapes[low], shapes[top]) >= SAME_GROUND:
                tops.setdefault(low, top)
        for low, top in tops.items():
            yield (
                f"{found[top].path} and {found[low].path} show the same ground, and both pair with "
                f"{image.path}; the first is on top: leave one out, or write a list of scenes"
            )


def _rank(image: Placed) -> tuple[tuple[int, ...], float]:
    return image.look, _age(image)


def _age(image: Placed) -> float:
    return 0.0 if image.taken is None else -image.taken.timestamp()


def _share(one: BaseGeometry, other: BaseGeometry) -> float:
    """Return which share of the smaller of two areas lies in the other."""
    smaller = min(one.area, other.area)
    return float(shapely.intersection(one, other).area / smaller) if smaller else 0.0


def _vectors(outline: BaseGeometry) -> Floats:
    """Return the corners as unit vectors from the middle of the Earth, float64 (n, 3)."""
    lon, lat = np.radians(shapely.get_coordinates(outline)).T
    return np.column_stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _middle(outline: BaseGeometry) -> Floats:
    middle = _vectors(outline).mean(axis=0)
    return np.asarray(middle / max(float(np.linalg.norm(middle)), 1e-12))


def _reach(outline: BaseGeometry) -> float:
    """Return how far an outline reaches from its middle, radians."""
    cosines = _vectors(outline) @ _middle(outline)
    return float(np.arccos(np.clip(cosines, -1, 1)).max())


class _Plane:
    """A plane of equal areas around an outline: no pole and no antimeridian is in the way."""

    def __init__(self, outline: BaseGeometry) -> None:
        x, y, z = _middle(outline)
        lon, lat = math.degrees(math.atan2(y, x)), math.degrees(math.asin(max(min(z, 1), -1)))
        self._proj = Proj(proj="laea", lon_0=lon, lat_0=lat, ellps="WGS84")

    def flat(self, outline: BaseGeometry) -> BaseGeometry:
        """Return an outline in metres."""

        def place(points: Floats) -> Floats:
            return np.column_stack(self._proj(points[:, 0], points[:, 1]))

        return shapely.make_valid(shapely.transform(shapely.force_2d(outline), place))
