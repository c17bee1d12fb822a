"""Places: which looks of different scenes show one building."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import shapely

#: Intersection over union from which two polygons are one building.
LEAST_IOU = 0.5
#: Weight of a pair that has one identity; over any IoU. Of what a model found it says no more than
#: that both have one point: a shed and the hall that was built over it do, too.
SAME_IDENTITY = 2.0
#: Decimals of an IoU that decide which fit is better; coordinates are known to a centimetre, which
#: moves the IoU of houses by thousandths, so what is equal here is a tie.
IOU_DECIMALS = 2
#: Pairs of polygons that are intersected at once; bounds the memory for it.
PAIRS_AT_ONCE = 200_000

UNKNOWN = -1


@dataclass(frozen=True)
class Sightings:
    """Looks at buildings, in the order in which they are taken.

    Attributes
    ----------
    shapes
        object (n,): polygons in degrees; None without a place.
    scene
        int64 (n,): number of the scene; ascending among the looks whose place is unknown.
    identity
        object (n,): building identity, unique in a scene.
    given
        bool (n,): whether the polygon is a footprint that the user gave.
    unseen
        bool (n,): whether the scene does not reach the building.
    area
        float64 (n,): m².
    place
        int64 (n,): number of the place where it is known, else `UNKNOWN`.
    cut
        bool (n,): whether an edge or missing pixels cut the building.
    outlines
        object (scenes,): ground of each scene in degrees, or None.
    """

    shapes: np.ndarray
    scene: np.ndarray
    identity: np.ndarray
    given: np.ndarray
    unseen: np.ndarray
    area: np.ndarray
    place: np.ndarray
    cut: np.ndarray
    outlines: np.ndarray


class Seen(NamedTuple):
    """Polygons, and how much of each could be seen.

    Attributes
    ----------
    shapes
        object (n,): polygons.
    ground
        object (n,): ground beyond which each could not be seen; None where it is whole anyway.
    cut
        bool (n,): whether missing pixels or an edge left only a part of it.
    """

    shapes: np.ndarray
    ground: np.ndarray
    cut: np.ndarray

    def at(self, rows: np.ndarray) -> "Seen":
        """Return some of them."""
        return Seen(*(values[rows] for values in self))


@dataclass(frozen=True)
class _Nodes:
    """Different things that were seen: looks of one identity and shape are one of them.

    The same footprint seen in a thousand scenes is one node; without this, the pairs among its
    looks would be half a million.

    Attributes
    ----------
    of
        int64 (n,): node of each look.
    first
        int64 (nodes,): first look of each node.
    key
        int64 (nodes,): equal for nodes of one identity.
    scene
        int64 (nodes,): the only scene that has it, or -1.
    old
        bool (nodes,): whether the place of all its looks is known.
    """

    of: np.ndarray
    first: np.ndarray
    key: np.ndarray
    scene: np.ndarray
    old: np.ndarray


def find_places(looks: Sightings) -> np.ndarray:
    """Say which looks show one building.

    Scene after scene, each look joins the building it fits best: first by identity, then in
    descending order of IoU, the larger building first where these tie. A building takes one look of
    a scene. What joins nothing is a new building.

    A polygon is compared with every earlier look at a building, and the best counts. Where the
    edge of a scene cuts a building that a model found, only the ground that both scenes show is
    compared; where missing pixels cut it, it only has to lie in the whole. So a part joins its
    whole.

    Parameters
    ----------
    looks
        Those whose place is known keep it.

    Returns
    -------
    int64 (n,)
        Number of the place of each look; new ones count on from the highest known.
    """
    nodes = _nodes(looks)
    neighbours = _neighbours(looks, nodes)
    place = looks.place.copy()
    known = np.flatnonzero(place != UNKNOWN)
    places_of: dict[int, list[int]] = defaultdict(list)
    _record(places_of, nodes.of[known], place[known])
    next_place = int(place.max(initial=UNKNOWN)) + 1
    for rows in _by_scene(looks.scene, place):
        _join(looks, rows, place, list(_offers(looks, nodes, rows, neighbours, places_of)))
        fresh = rows[place[rows] == UNKNOWN]
        place[fresh] = np.arange(next_place, next_place + len(fresh))
        next_place += len(fresh)
        _record(places_of, nodes.of[rows], place[rows])
    return place


def _nodes(looks: Sightings) -> _Nodes:
    wkb = pd.Series(shapely.to_wkb(looks.shapes), dtype=object)
    shape = pd.factorize(wkb.where(wkb.notna(), b""))[0]
    key = pd.factorize(pd.Series(looks.identity, dtype=object))[0] * 2 + looks.given
    of, _ = pd.factorize(key * (len(shape) + 1) + shape)
    count = int(of.max(initial=-1)) + 1
    _, first = np.unique(of, return_index=True)
    lowest = np.full(count, np.iinfo(np.int64).max)
    highest = np.full(count, -1)
    np.minimum.at(lowest, of, looks.scene)
    np.maximum.at(highest, of, looks.scene)
    old = np.ones(count, bool)
    np.logical_and.at(old, of, looks.place != UNKNOWN)
    scene = np.where(lowest == highest, lowest, -1)
    return _Nodes(of.astype(np.int64), first, key[first], scene, old)


def _neighbours(looks: Sightings, nodes: _Nodes) -> dict[int, list[tuple[int, float]]]:
    """Return the nodes that each node may be one building with, and how well they fit."""
    shapes = _comparable(looks.shapes[nodes.first])
    neighbours: dict[int, list[tuple[int, float]]] = defaultdict(list)
    first = nodes.first
    # A footprint is whole wherever a scene ends; what a model found ends with its scene.
    ground = np.where(looks.given, None, looks.outlines[looks.scene])[first]
    seen = Seen(shapes, ground, looks.cut[first] & ~looks.given[first])
    tree = shapely.STRtree(shapes)
    for start in range(0, len(shapes), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        i, j = tree.query(shapes[part], predicate="intersects")
        i = i + start
        useful = (i < j) & ~(nodes.old[i] & nodes.old[j])
        useful &= (nodes.scene[i] != nodes.scene[j]) | (nodes.scene[i] == -1)
        i, j = i[useful], j[useful]
        for begin in range(0, len(i), PAIRS_AT_ONCE):
            few = slice(begin, begin + PAIRS_AT_ONCE)
            one, two = i[few], j[few]
            weight = fit(seen.at(one), seen.at(two))
            same = nodes.key[one] == nodes.key[two]
            weight[same & looks.given[nodes.first[one]]] = SAME_IDENTITY
            _connect(one, two, weight, neighbours)
    return neighbours


def _comparable(shapes: np.ndarray) -> np.ndarray:
    """Return shapes that can be intersected."""
    broken = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    mended = shapes.copy()
    mended[broken] = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    return mended


def _connect(
    i: np.ndarray,
    j: np.ndarray,
    weight: np.ndarray,
    neighbours: dict[int, list[tuple[int, float]]],
) -> None:
    """Add the pairs that may be one building to the neighbours."""
    near = weight >= LEAST_IOU
    for one, two, value in zip(
        i[near].tolist(), j[near].tolist(), weight[near].tolist(), strict=True
    ):
        neighbours[one].append((two, value))
        neighbours[two].append((one, value))


def fit(ones: Seen, others: Seen) -> np.ndarray:
    """Return how well the polygons of pairs fit: their IoU on the ground that both could show.

    The part of a building that missing pixels leave fits as far as it lies in a whole one. Degrees
    serve as well as metres here: over the length of a building they differ by a factor in each
    direction, which a ratio of areas does not feel.

    Parameters
    ----------
    ones, others
        n polygons each.

    Returns
    -------
    float64 (n,)
        0-1; the plain IoU where neither polygon is cut.
    """
    common = shapely.area(shapely.intersection(ones.shapes, others.shapes))
    area, other_area = shapely.area(ones.shapes), shapely.area(others.shapes)
    best = _ratio(common, area + other_area - common)
    for is_part, size in ((ones.cut & ~others.cut, area), (others.cut & ~ones.cut, other_area)):
        best = np.maximum(best, np.where(is_part, _ratio(common, size), 0))
    beyond = _crosses(ones.shapes, others.ground) | _crosses(others.shapes, ones.ground)
    n = np.flatnonzero((best < 1) & beyond)
    if len(n):
        clipped = _clip(ones.shapes[n], others.ground[n]), _clip(others.shapes[n], ones.ground[n])
        common = shapely.area(shapely.intersection(*clipped))
        union = shapely.area(clipped[0]) + shapely.area(clipped[1]) - common
        best[n] = np.maximum(best[n], _ratio(common, union))
    return best


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return ratio


def _crosses(shapes: np.ndarray, grounds: np.ndarray) -> np.ndarray:
    """Say which shapes reach beyond the ground of the other scene."""
    bounded = ~shapely.is_missing(grounds)
    crosses: np.ndarray = bounded & ~shapely.covers(grounds, shapes)
    return crosses


def _clip(shapes: np.ndarray, grounds: np.ndarray) -> np.ndarray:
    clipped: np.ndarray = np.where(
        shapely.is_missing(grounds), shapes, shapely.intersection(shapes, grounds)
    )
    return clipped


def _record(places_of: dict[int, list[int]], nodes: np.ndarray, places: np.ndarray) -> None:
    for node, place in zip(nodes.tolist(), places.tolist(), strict=True):
        if place not in places_of[node]:
            places_of[node].append(place)


def _by_scene(scene: np.ndarray, place: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the looks without a place, a scene at a time."""
    rows = np.flatnonzero(place == UNKNOWN)
    if len(rows):
        yield from np.split(rows, np.flatnonzero(np.diff(scene[rows])) + 1)


#: Look and place, before them what decides between offers: the least comes first.
_Offer = tuple[float, float, str, int, int]


def _offers(
    looks: Sightings,
    nodes: _Nodes,
    rows: np.ndarray,
    neighbours: dict[int, list[tuple[int, float]]],
    places_of: dict[int, list[int]],
) -> Iterator[_Offer]:
    """Yield the buildings that looks may join: -weight, -area, identity, place, look."""
    areas = np.nan_to_num(looks.area[rows]).tolist()
    for row, node, area in zip(rows.tolist(), nodes.of[rows].tolist(), areas, strict=True):
        found = [(node, SAME_IDENTITY), *neighbours.get(node, ())]
        for other, weight in found:
            if weight < SAME_IDENTITY and looks.unseen[row]:
                continue
            for place in places_of.get(other, ()):
                yield -round(weight, IOU_DECIMALS), -area, looks.identity[row], place, row


def _join(looks: Sightings, rows: np.ndarray, place: np.ndarray, offers: list[_Offer]) -> None:
    """Let looks of one scene join buildings, the best fit first."""
    taken: set[int] = set()
    for _, _, _, number, row in sorted(offers):
        if place[row] == UNKNOWN and number not in taken:
            place[row] = number
            taken.add(number)
