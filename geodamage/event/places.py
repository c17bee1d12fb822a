"""Places: which looks of different scenes show one building."""

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import shapely

from geodamage.errors import ResourceError

#: Intersection over union from which two polygons are one building.
LEAST_IOU = 0.5
#: Decimals of an IoU that decide which fit is better; coordinates are known to a centimetre, which
#: moves the IoU of houses by thousandths, so what is equal here is a tie.
IOU_DECIMALS = 2
#: Polygons whose pairs are looked up at once, and pairs that are intersected at once.
POLYGONS_AT_ONCE = 500
PAIRS_AT_ONCE = 200_000
#: Pairs of different polygons that may be one building; more take more memory than they are worth.
MOST_PAIRS = 10_000_000

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


class _Groups(NamedTuple):
    """Looks that are alike, so that pairs are formed of what differs alone.

    The same footprint seen in a thousand scenes would be half a million pairs, and a thousand
    footprints of one outline in two scenes a million.

    Attributes
    ----------
    node
        int64 (n,): number of each look's identity and shape.
    kind
        int64 (n,): number of each look's shape and of how much of it could be seen; looks of one
        kind fit all others alike.
    """

    node: np.ndarray
    kind: np.ndarray


class _Pairs(NamedTuple):
    """Pairs of kinds that may be one building, both ways round.

    Attributes
    ----------
    start
        int64 (kinds + 1,): where the pairs of each kind begin.
    other
        int32 (pairs,): the kind that it may be one with.
    weight
        float64 (pairs,): how well they fit.
    """

    start: np.ndarray
    other: np.ndarray
    weight: np.ndarray

    def of(self, kind: int) -> Iterator[tuple[int, float]]:
        """Yield the kinds that one may be a building with, and how well they fit."""
        part = slice(self.start[kind], self.start[kind + 1])
        yield from zip(self.other[part].tolist(), self.weight[part].tolist(), strict=True)


def find_places(looks: Sightings) -> np.ndarray:
    """Say which looks show one building.

    Scene after scene, each look joins the building that it fits best. Equal identities come first,
    then the others in descending order of IoU. In a tie the larger building comes first. A building
    takes one look of a scene. What joins nothing is a new building.

    A polygon is compared with every earlier look at a building, and the best counts. If the edge of
    a scene cuts a building that a model found, only the ground that both scenes show is compared.
    If missing pixels cut it, the part only has to lie in the whole. So a part joins its whole.

    Parameters
    ----------
    looks
        Those whose place is known keep it.

    Returns
    -------
    int64 (n,)
        Number of the place of each look; new ones count on from the highest known.
    """
    groups = _groups(looks)
    shapes = _comparable(looks.shapes)
    pairs = _pairs(looks, groups.kind, shapes)
    alike = _of_one_identity(looks, groups.node, shapes)
    place = looks.place.copy()
    known = np.flatnonzero(place != UNKNOWN)
    by_node, by_kind = _PlacesOf(), _PlacesOf()
    by_node.add(groups.node[known], place[known])
    by_kind.add(groups.kind[known], place[known])
    next_place = int(place.max(initial=UNKNOWN)) + 1
    for rows in _by_scene(looks.scene, place):
        taken: set[int] = set()
        _join_by_identity(looks, rows, place, taken, groups.node, alike, by_node)
        rest = rows[(place[rows] == UNKNOWN) & ~looks.unseen[rows]]
        _join_by_fit(looks, rest, place, taken, groups.kind, pairs, by_kind)
        fresh = rows[place[rows] == UNKNOWN]
        place[fresh] = np.arange(next_place, next_place + len(fresh))
        next_place += len(fresh)
        by_node.add(groups.node[rows], place[rows])
        by_kind.add(groups.kind[rows], place[rows])
    return place


class _PlacesOf(defaultdict[int, dict[int, None]]):
    """Places of the looks of each group, in the order in which they were met."""

    def __init__(self) -> None:
        super().__init__(dict)

    def add(self, groups: np.ndarray, places: np.ndarray) -> None:
        """Add the places of some looks."""
        for group, place in zip(groups.tolist(), places.tolist(), strict=True):
            self[group][place] = None


def _groups(looks: Sightings) -> _Groups:
    wkb = pd.Series(shapely.to_wkb(looks.shapes), dtype=object)
    shape = pd.factorize(wkb.where(wkb.notna(), b""))[0]
    key = pd.factorize(pd.Series(looks.identity, dtype=object))[0] * 2 + looks.given
    node = pd.factorize(key * (len(shape) + 1) + shape)[0]
    # A footprint is whole wherever a scene ends; what a model found ends with its scene.
    seen = np.where(looks.given, 0, 2 + 2 * looks.scene + looks.cut)
    kind = pd.factorize(shape * (int(seen.max(initial=0)) + 1) + seen)[0]
    return _Groups(node.astype(np.int64), kind.astype(np.int64))


def _pairs(looks: Sightings, kind: np.ndarray, shapes: np.ndarray) -> _Pairs:
    """Return the kinds that each kind may be one building with, and how well they fit."""
    _, first, count = np.unique(kind, return_index=True, return_counts=True)
    scene = _only_scene(looks.scene, kind, len(first))
    is_old = np.ones(len(first), bool)
    np.logical_and.at(is_old, kind, looks.place != UNKNOWN)
    ground = np.where(looks.given, None, looks.outlines[looks.scene])[first]
    seen = Seen(shapes[first], ground, looks.cut[first] & ~looks.given[first])
    tree = shapely.STRtree(seen.shapes)
    found: list[tuple[np.ndarray, ...]] = []
    total = 0
    for start in range(0, len(first), POLYGONS_AT_ONCE):
        i, j = tree.query(seen.shapes[start : start + POLYGONS_AT_ONCE], predicate="intersects")
        i = i + start
        useful = (i < j) | ((i == j) & (count[i] > 1))
        useful &= ~(is_old[i] & is_old[j]) & ((scene[i] != scene[j]) | (scene[i] == -1))
        for near in _near(seen, i[useful], j[useful]):
            found.append(near)
            total += len(near[0])
        if total > MOST_PAIRS:
            raise ResourceError(
                f"over {MOST_PAIRS:,} pairs of outlines cover half of each other or more; leave "
                "out the scenes whose footprints lie on top of each other"
            )
    return _both_ways(found, len(first))


def _only_scene(scene: np.ndarray, group: np.ndarray, count: int) -> np.ndarray:
    """Return the scene of groups that one scene alone has, and -1 of others."""
    lowest, highest = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(lowest, group, scene)
    np.maximum.at(highest, group, scene)
    return np.where(lowest == highest, lowest, -1)


def _near(seen: "Seen", i: np.ndarray, j: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    """Yield the pairs that may be one building, and how well they fit."""
    for begin in range(0, len(i), PAIRS_AT_ONCE):
        one, two = i[begin : begin + PAIRS_AT_ONCE], j[begin : begin + PAIRS_AT_ONCE]
        weight = fit(seen.at(one), seen.at(two))
        near = weight >= LEAST_IOU
        yield one[near].astype(np.int32), two[near].astype(np.int32), weight[near]


def _both_ways(found: list[tuple[np.ndarray, ...]], count: int) -> _Pairs:
    if not found:
        empty = np.zeros(0, np.int32)
        return _Pairs(np.zeros(count + 1, np.int64), empty, np.zeros(0))
    one, two, weight = (np.concatenate(parts) for parts in zip(*found, strict=True))
    other_way = one != two
    kind = np.concatenate([one, two[other_way]])
    other = np.concatenate([two, one[other_way]])
    weight = np.concatenate([weight, weight[other_way]])
    order = np.argsort(kind, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(kind, minlength=count))])
    return _Pairs(start, other[order], weight[order])


def _of_one_identity(
    looks: Sightings, node: np.ndarray, shapes: np.ndarray
) -> dict[int, list[int]]:
    """Return the nodes of other shape that have a given footprint's identity and touch it."""
    _, first = np.unique(node, return_index=True)
    rows = first[looks.given[first]]
    ids = pd.Series(pd.factorize(pd.Series(looks.identity[rows], dtype=object))[0])
    several = ids.duplicated(keep=False).to_numpy()
    alike: dict[int, list[int]] = defaultdict(list)
    for group in ids[several].groupby(ids).groups.values():
        members = rows[group.to_numpy()]
        i, j = np.triu_indices(len(members), 1)
        touch = shapely.intersects(shapes[members[i]], shapes[members[j]])
        pairs = node[members[i[touch]]].tolist(), node[members[j[touch]]].tolist()
        for one, two in zip(*pairs, strict=True):
            alike[one].append(two)
            alike[two].append(one)
    return alike


def _comparable(shapes: np.ndarray) -> np.ndarray:
    """Return shapes that can be intersected."""
    broken = ~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)
    mended = shapes.copy()
    mended[broken] = shapely.make_valid(shapes[broken], method="structure", keep_collapsed=False)
    return mended


def fit(ones: Seen, others: Seen) -> np.ndarray:
    """Return how well the polygons of pairs fit: their IoU on the ground that both could show.

    The part of a building that missing pixels leave fits as far as it lies in a whole one. Degrees
    serve as well as metres here. Over the length of a building they differ by a constant factor in
    each direction, which does not change a ratio of areas.

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


def _by_scene(scene: np.ndarray, place: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the looks without a place, a scene at a time."""
    rows = np.flatnonzero(place == UNKNOWN)
    if len(rows):
        yield from np.split(rows, np.flatnonzero(np.diff(scene[rows])) + 1)


def _join_by_identity(
    looks: Sightings,
    rows: np.ndarray,
    place: np.ndarray,
    taken: set[int],
    node: np.ndarray,
    alike: dict[int, list[int]],
    places_of: _PlacesOf,
) -> None:
    """Let looks of one scene join the buildings that have their identity, the larger first."""
    offers = [
        (-area, looks.identity[row], number, row)
        for row, own, area in zip(
            rows.tolist(), node[rows].tolist(), _areas(looks, rows), strict=True
        )
        for other in (own, *alike.get(own, ()))
        for number in places_of.get(other, ())
    ]
    for _, _, number, row in sorted(offers):
        if place[row] == UNKNOWN and number not in taken:
            place[row] = number
            taken.add(number)


def _join_by_fit(
    looks: Sightings,
    rows: np.ndarray,
    place: np.ndarray,
    taken: set[int],
    kind: np.ndarray,
    pairs: _Pairs,
    places_of: _PlacesOf,
) -> None:
    """Let looks of one scene join the buildings that they fit, the best fit first.

    Looks of one kind share the list of what they fit, and pass over what is taken once for all.
    """
    offers: dict[int, deque[tuple[float, int]]] = {}
    queue: list[tuple[float, float, str, int, int]] = []
    of = dict(zip(rows.tolist(), kind[rows].tolist(), strict=True))
    area = dict(zip(rows.tolist(), _areas(looks, rows), strict=True))
    for row, own in of.items():
        if own not in offers:
            found = [
                (-round(weight, IOU_DECIMALS), number)
                for other, weight in pairs.of(own)
                for number in places_of.get(other, ())
            ]
            offers[own] = deque(sorted(found))
        if offers[own]:
            queue.append(_offer(row, offers[own], area[row], looks.identity[row]))
    heapify(queue)
    while queue:
        _, _, _, number, row = heappop(queue)
        if number not in taken:
            place[row] = number
            taken.add(number)
            continue
        left = offers[of[row]]
        while left and left[0][1] in taken:
            left.popleft()
        if left:
            heappush(queue, _offer(row, left, area[row], looks.identity[row]))


def _offer(
    row: int, offers: deque[tuple[float, int]], area: float, identity: Any
) -> tuple[float, float, str, int, int]:
    """Return a look and its best place, before them what decides: the least comes first."""
    weight, number = offers[0]
    return weight, -area, identity, number, row


def _areas(looks: Sightings, rows: np.ndarray) -> list[float]:
    areas: list[float] = np.nan_to_num(looks.area[rows]).tolist()
    return areas
