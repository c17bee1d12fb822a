"""Splits: which pairs a network learns from, and which it is judged by."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely

from geodamage.errors import OptionError
from training.data.index import IndexedPair, in_metres

PARTS = ("train", "validation", "test")
#: Events that public code keeps for testing. Source: CEFS, after Benson and Ecker 2020
#: (arXiv 2011.10328): 8,202 / 912 / 1,920 pairs.
TEST_EVENTS = (
    "nepal-flooding",
    "guatemala-volcano",
    "sunda-tsunami",
    "santa-rosa-wildfire",
    "hurricane-matthew",
    "tuscaloosa-tornado",
)
#: Both names of the tier that xBD came with first.
FIRST = ("train", "tier1")


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """What a split may be told."""

    seed: int = 0
    """Seed of the permutation."""
    event: str = ""
    """Left out by `leave_one_out`; several with commas between them."""
    buffer: float = 100.0
    """Metres between two places."""
    shares: tuple[float, float, float] = (0.7, 0.1, 0.2)
    """Shares of train, validation and test, by place."""
    folds: int = 0
    """Number of folds by place; 0 for parts."""


def train_test_permutation(count: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of training and of validation, as scikit-learn's `train_test_split`.

    Source: scikit-learn, ShuffleSplit: the first ceil(share n) of a legacy NumPy permutation are
    the test set, the rest training, in the order of the permutation.
    """
    held = math.ceil(share * count)
    order = np.random.RandomState(seed).permutation(count)
    return order[held:], order[:held]


def split_random(entries: Sequence[IndexedPair], options: SplitOptions) -> list[str]:
    """Hold out a tenth of tier 1 and tier 3 at random, as the first place does; no test part.

    Source: vdurnov/xview2_1st_place_solution, train scripts: the names of each folder sorted, the
    folders train and tier3 one after the other, `test_size=0.1, random_state=seed`.
    """
    used = [i for i, entry in enumerate(entries) if entry.tier not in ("test", "hold")]
    used.sort(key=lambda i: (entries[i].tier == "tier3", entries[i].folder, entries[i].pair))
    parts = [""] * len(entries)
    _, held = train_test_permutation(len(used), 0.1, options.seed)
    chosen = {used[i] for i in held}
    for i in used:
        parts[i] = "validation" if i in chosen else "train"
    return parts


def split_siamese_resnet50(entries: Sequence[IndexedPair], options: SplitOptions) -> list[str]:
    """Train on tier 1 and three quarters of tier 3, validate on hold and the last quarter.

    Source: ElenaScholz/xView2SiameseUNet; test is left for testing.
    """
    _need_tiers(entries, "tier3", "hold")
    third = [i for i, entry in enumerate(entries) if entry.tier == "tier3"]
    _, held = train_test_permutation(len(third), 0.25, options.seed)
    quarter = {third[i] for i in held}
    parts = {"hold": "validation", "test": "test"}
    return [
        "validation" if i in quarter else parts.get(entry.tier, "train")
        for i, entry in enumerate(entries)
    ]


def split_metadamagenet(entries: Sequence[IndexedPair], options: SplitOptions) -> list[str]:
    """Train on tier 1 and tier 3; test validates and hold tests.

    Source: nimaafshar/metadamagenet, results.md: the two parts in each other's role.
    """
    _need_tiers(entries, "test", "hold")
    parts = {"hold": "test", "test": "validation"}
    return [parts.get(entry.tier, "train") for entry in entries]


def split_events(entries: Sequence[IndexedPair], options: SplitOptions) -> list[str]:
    """Test on six events, hold out a tenth of the other pairs at random."""
    present = {entry.event for entry in entries}
    if not present - set(TEST_EVENTS):
        raise OptionError(f"all events are test events ({', '.join(sorted(present))})")
    return _around([entry.event in TEST_EVENTS for entry in entries], options.seed)


def split_leave_one_out(entries: Sequence[IndexedPair], options: SplitOptions) -> list[str]:
    """Test on one event, or a few, hold out a tenth of the other pairs at random."""
    events = sorted({entry.event for entry in entries})
    tested = options.event.split(",")
    unknown = [event for event in tested if event not in events]
    if unknown:
        raise OptionError(f"--event {unknown[0]!r}: none of {', '.join(events)}")
    return _around([entry.event in tested for entry in entries], options.seed)


def _around(tested: Sequence[bool], seed: int) -> list[str]:
    rest = [i for i, out in enumerate(tested) if not out]
    _, held = train_test_permutation(len(rest), 0.1, seed)
    chosen = {rest[i] for i in held}
    return [
        "test" if out else "validation" if i in chosen else "train" for i, out in enumerate(tested)
    ]


def split_place(entries: Sequence[IndexedPair], options: SplitOptions) -> list[str]:
    """Give each place to one part, so that every part has its share of each event's grades."""
    places = group_places(entries, options.buffer)
    return _spread(places, assign(places, options.shares, options.seed), PARTS, entries)


def split_folds(entries: Sequence[IndexedPair], options: SplitOptions) -> list[str]:
    """Give each place to one of some folds, named by their numbers from 0."""
    if options.folds < 2:
        raise OptionError(f"--folds {options.folds}: two or more")
    names = [str(fold) for fold in range(options.folds)]
    places = group_places(entries, options.buffer)
    shares = [1 / options.folds] * options.folds
    return _spread(places, assign(places, shares, options.seed), names, entries)


def _spread(
    places: list[list[IndexedPair]],
    given: list[int],
    names: Sequence[str],
    entries: Sequence[IndexedPair],
) -> list[str]:
    part = {
        entry.pair: names[number]
        for place, number in zip(places, given, strict=True)
        for entry in place
    }
    return [part[entry.pair] for entry in entries]


def _need_tiers(entries: Sequence[IndexedPair], *tiers: str) -> None:
    there = {entry.tier for entry in entries}
    missing = [tier for tier in tiers if tier not in there]
    if missing:
        raise OptionError(
            f"this split needs the tiers {', '.join(missing)}; the index has "
            f"{', '.join(sorted(there)) or 'none'}"
        )


#: Every way to split, by name.
SCHEMES: dict[str, Callable[[Sequence[IndexedPair], SplitOptions], list[str]]] = {
    "random": split_random,
    "siamese_resnet50": split_siamese_resnet50,
    "metadamagenet": split_metadamagenet,
    "events": split_events,
    "leave_one_out": split_leave_one_out,
    "place": split_place,
    "folds": split_folds,
}


def group_places(entries: Sequence[IndexedPair], buffer: float) -> list[list[IndexedPair]]:
    """Group the pairs of each event whose outlines are closer than `buffer` metres.

    A pair without labels has no known outline; all such pairs of an event are one place.
    """
    places: list[list[IndexedPair]] = []
    for event in sorted({entry.event for entry in entries}):
        mine = [entry for entry in entries if entry.event == event]
        known = [(entry, in_metres(entry.outline)) for entry in mine if entry.outline is not None]
        areas = shapely.unary_union([outline.buffer(buffer / 2) for _, outline in known])
        for area in shapely.get_parts(areas):
            places.append([entry for entry, outline in known if outline.intersects(area)])
        rest = [entry for entry in mine if entry.outline is None]
        if rest:
            places.append(rest)
    return places


def count_grades(entries: Sequence[IndexedPair]) -> np.ndarray:
    """Return the number of buildings of each grade, int (4,)."""
    return np.asarray(np.array([entry.buildings for entry in entries], int).reshape(-1, 4).sum(0))


def assign(
    places: Sequence[Sequence[IndexedPair]], shares: Sequence[float], seed: int
) -> list[int]:
    """Give each place to a part so that every part gets its share of each event's grades.

    Largest places first; each goes where it keeps the summed relative shortfall smallest.
    """
    rng = np.random.default_rng(seed)
    counts = np.array([[len(place), *count_grades(place)] for place in places], float)
    events = [place[0].event for place in places]
    parts = [-1] * len(places)
    total = np.maximum(counts.sum(0), 1)
    held = np.zeros((len(shares), counts.shape[1]))
    held_event = {event: np.zeros(len(shares)) for event in events}
    pairs_of = {
        e: sum(counts[i, 0] for i, other in enumerate(events) if other == e) for e in events
    }
    target = np.asarray(shares)
    order = sorted(range(len(places)), key=lambda i: (-counts[i].sum(), rng.random()))
    for i in order:
        costs = []
        for part in range(len(shares)):
            trial, trial_event = held.copy(), held_event[events[i]].copy()
            trial[part] += counts[i]
            trial_event[part] += counts[i, 0]
            cost = ((trial / total - target[:, None]) ** 2 / target[:, None]).sum()
            cost += ((trial_event / pairs_of[events[i]] - target) ** 2 / target).sum()
            costs.append(cost)
        parts[i] = int(np.argmin(costs))
        held[parts[i]] += counts[i]
        held_event[events[i]][parts[i]] += counts[i, 0]
    return parts


def overlaps(entries: Sequence[IndexedPair], parts: Sequence[str]) -> list[tuple[str, str, float]]:
    """Find pairs of different parts that show the same ground.

    Returns
    -------
    list of (pair, pair, share)
        The share of the smaller outline that both show, largest first.
    """
    found = []
    for event in sorted({entry.event for entry in entries}):
        mine = [
            (entry, part, in_metres(entry.outline))
            for entry, part in zip(entries, parts, strict=True)
            if entry.event == event and part and entry.outline is not None
        ]
        tree = shapely.STRtree([outline for _, _, outline in mine])
        for i, (entry, part, outline) in enumerate(mine):
            for j in tree.query(outline, predicate="intersects"):
                other, its_part, its_outline = mine[j]
                if j <= i or its_part == part:
                    continue
                shared = outline.intersection(its_outline).area
                share = shared / min(outline.area, its_outline.area)
                if share > LEAST_OVERLAP:
                    found.append((entry.pair, other.pair, float(share)))
    return sorted(found, key=lambda item: -item[2])


#: Share of a tile; neighbours that only touch share less, by the error of their fitted outlines.
LEAST_OVERLAP = 0.002
