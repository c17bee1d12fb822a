"""Index an xBD folder and split it by place.

    python -m training.prepare ../shared/data/xbd -o training/recipes/compact.csv

Tiles of one event overlap on the ground, so a split by image would show the network its own test
set. Here tiles closer than a buffer form one place, and a place is in one part only.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import shapely
from shapely import Polygon

from geodamage.damage import GRADES
from geodamage.labels import fit_lonlat
from geodamage.xbd import Pair, find_pairs

PARTS = ("train", "validation", "test")
SIZE = 1024  # rows and columns of every xBD image
METRES_PER_DEGREE = 111_320.0  # along a meridian; enough to tell places apart


def outline_of(pair: Pair) -> Polygon | None:
    """Return the outline of a pair on the ground in metres of an equirectangular plane, or None."""
    affine = fit_lonlat(pair.labels("post"))
    if affine is None:
        return None
    corners = np.array([[0, 0, 1], [SIZE, 0, 1], [SIZE, SIZE, 1], [0, SIZE, 1]]) @ affine.T
    metres = corners * METRES_PER_DEGREE
    metres[:, 0] *= np.cos(np.radians(corners[:, 1].mean()))
    return Polygon(metres)


def group_places(pairs: Sequence[Pair], buffer: float) -> list[list[Pair]]:
    """Group the pairs of each event whose outlines are closer than `buffer` metres.

    A pair without labels has no known outline; all such pairs of an event are one place.
    """
    places: list[list[Pair]] = []
    for event in sorted({pair.event for pair in pairs}):
        mine = [pair for pair in pairs if pair.event == event]
        outlines = {pair: outline_of(pair) for pair in mine}
        known = {pair: outline for pair, outline in outlines.items() if outline is not None}
        areas = shapely.unary_union([outline.buffer(buffer / 2) for outline in known.values()])
        for area in shapely.get_parts(areas):
            places.append([pair for pair, outline in known.items() if outline.intersects(area)])
        rest = [pair for pair in mine if pair not in known]
        if rest:
            places.append(rest)
    return places


def count_grades(pairs: Sequence[Pair]) -> np.ndarray:
    """Return the number of buildings of each grade, int (4,)."""
    grades = [label.grade for pair in pairs for label in pair.labels("post")]
    return np.array([sum(grade == g for grade in grades) for g in GRADES])


def assign(places: list[list[Pair]], shares: Sequence[float], seed: int) -> list[str]:
    """Give each place to a part so that every part gets its share of each event's grades.

    Largest places first; each goes where it keeps the summed relative shortfall smallest.
    """
    rng = np.random.default_rng(seed)
    counts = np.array([[len(place), *count_grades(place)] for place in places], float)
    events = [place[0].event for place in places]
    parts = [""] * len(places)
    total = np.maximum(counts.sum(0), 1)
    held = np.zeros((len(shares), counts.shape[1]))
    held_event: dict[str, np.ndarray] = {e: np.zeros(len(shares)) for e in events}
    total_event = {
        e: sum(counts[i, 0] for i in range(len(places)) if events[i] == e) for e in events
    }
    order = sorted(range(len(places)), key=lambda i: (-counts[i].sum(), rng.random()))
    for i in order:
        costs = []
        for part, _ in enumerate(shares):
            trial = held.copy()
            trial[part] += counts[i]
            trial_event = held_event[events[i]].copy()
            trial_event[part] += counts[i, 0]
            target = np.asarray(shares)[:, None]
            cost = ((trial / total - target) ** 2 / target).sum()
            cost += (
                (trial_event / total_event[events[i]] - target[:, 0]) ** 2 / target[:, 0]
            ).sum()
            costs.append(cost)
        best = int(np.argmin(costs))
        held[best] += counts[i]
        held_event[events[i]][best] += counts[i, 0]
        parts[i] = PARTS[best]
    return parts


def main() -> None:
    """Write the split file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--buffer", type=float, default=100.0, help="metres between two places")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    places = group_places(find_pairs(options.folder), options.buffer)
    parts = assign(places, (0.7, 0.1, 0.2), options.seed)
    with options.output.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["pair", "event", "place", "part"])
        for number, (place, part) in enumerate(zip(places, parts, strict=True)):
            table.writerows([pair.name, pair.event, number, part] for pair in place)
    for part in PARTS:
        mine = [pair for place, p in zip(places, parts, strict=True) if p == part for pair in place]
        print(f"{part:10} {len(mine):4} pairs, grades 1-4: {count_grades(mine).tolist()}")


if __name__ == "__main__":
    main()
