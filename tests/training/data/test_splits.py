import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from geodamage.errors import OptionError
from tests.fakes import SMALL
from training.data.index import IndexedPair
from training.data.splits import (
    PARTS,
    SCHEMES,
    TEST_EVENTS,
    SplitOptions,
    assign,
    count_grades,
    group_places,
    overlaps,
    split_folds,
    split_random,
    train_test_permutation,
)

SIDE = 480 / 111_320  # degrees: 480 m


def entry(name, *, folder="", at=None, grades=(1, 1, 1, 1)):
    event = name.rpartition("_")[0]
    outline = None if at is None else shapely.box(at[0], at[1], at[0] + SIDE, at[1] + SIDE)
    pixels = (1000, *(10 * g for g in grades))
    return IndexedPair(name, event, folder, 64, 64, grades, 0, pixels, outline)


def download():
    """A download of four tiers, of 40, 80, 20 and 20 pairs, and 8 events."""
    entries = []
    events = ["santa-rosa-wildfire", "guatemala-volcano", *(f"event-{n}" for n in range(6))]
    for tier, count in (("train", 40), ("tier3", 80), ("test", 20), ("hold", 20)):
        for number in range(count):
            name = f"{events[number % 8]}_{len(entries):08d}"
            entries.append(entry(name, folder=tier, at=(len(entries) * 0.1, 0)))
    return entries


# What scikit-learn 1.9.1's train_test_split(range(12), test_size=0.1, random_state=seed) gives.
@pytest.mark.parametrize(
    ("seed", "train", "held"),
    [
        (0, [4, 10, 2, 8, 1, 7, 9, 3, 0, 5], [6, 11]),
        (1, [4, 10, 1, 6, 0, 7, 11, 9, 8, 5], [2, 3]),
    ],
)
def test_the_permutation_is_that_of_scikit_learn(seed, train, held):
    got_train, got_held = train_test_permutation(12, 0.1, seed)
    assert (got_train.tolist(), got_held.tolist()) == (train, held)


def test_the_random_split_holds_out_a_tenth_of_tier_one_and_three():
    entries = download()
    parts = split_random(entries, SplitOptions(seed=2))
    assert parts.count("validation") == 12
    assert parts.count("train") == 108
    assert all(parts[i] == "" for i, e in enumerate(entries) if e.tier in ("test", "hold"))
    assert parts != split_random(entries, SplitOptions(seed=1))
    turned = split_random(entries[::-1], SplitOptions(seed=2))
    assert turned[::-1] == parts  # the order of the index does not matter


def test_the_siamese_split_takes_a_quarter_of_tier_three():
    entries = download()
    parts = SCHEMES["siamese_resnet50"](entries, SplitOptions())
    assert (parts.count("train"), parts.count("validation"), parts.count("test")) == (100, 40, 20)
    assert all(parts[i] == "validation" for i, e in enumerate(entries) if e.tier == "hold")


def test_metadamagenet_tests_on_hold():
    entries = download()
    parts = SCHEMES["metadamagenet"](entries, SplitOptions())
    assert {(e.tier, part) for e, part in zip(entries, parts, strict=True)} == {
        ("train", "train"), ("tier3", "train"), ("test", "validation"), ("hold", "test"),
    }  # fmt: skip


def test_six_events_are_kept_for_testing():
    entries = download()
    parts = SCHEMES["events"](entries, SplitOptions())
    for e, part in zip(entries, parts, strict=True):
        assert (part == "test") == (e.event in TEST_EVENTS)
    assert parts.count("validation") == 12
    with pytest.raises(OptionError, match="all events are test events"):
        SCHEMES["events"]([entry("sunda-tsunami_1")], SplitOptions())


def test_one_event_is_left_out():
    entries = download()
    parts = SCHEMES["leave_one_out"](entries, SplitOptions(event="event-3"))
    tested = {e.event for e, part in zip(entries, parts, strict=True) if part == "test"}
    assert tested == {"event-3"}
    parts = SCHEMES["leave_one_out"](entries, SplitOptions(event="event-3,event-5"))
    tested = {e.event for e, part in zip(entries, parts, strict=True) if part == "test"}
    assert tested == {"event-3", "event-5"}
    with pytest.raises(OptionError, match="--event 'event-9': none of event-0"):
        SCHEMES["leave_one_out"](entries, SplitOptions(event="event-9"))


@pytest.mark.parametrize("scheme", ["siamese_resnet50", "metadamagenet"])
def test_a_missing_tier_is_named(scheme):
    with pytest.raises(OptionError, match=r"needs the tiers .*hold"):
        SCHEMES[scheme]([entry("a_1", folder="train")], SplitOptions())


def test_folds_share_the_places_out():
    entries = [entry(f"a_{n}", at=(n * 0.1, 0)) for n in range(12)]
    parts = split_folds(entries, SplitOptions(folds=3))
    assert {part: parts.count(part) for part in parts} == {"0": 4, "1": 4, "2": 4}
    with pytest.raises(OptionError, match="two or more"):
        split_folds(entries, SplitOptions())


def test_close_pairs_are_one_place_and_events_are_never_mixed():
    entries = [
        entry("a_1", at=(0, 0)),
        entry("a_2", at=(SIDE + 50 / 111_320, 0)),
        entry("a_3", at=(5, 0)),
        entry("b_1", at=(0, 0)),
        entry("b_2"),
        entry("b_3"),
    ]
    places = [[e.pair for e in place] for place in group_places(entries, 100)]
    assert places == [["a_1", "a_2"], ["a_3"], ["b_1"], ["b_2", "b_3"]]
    assert len(group_places(entries, 10)) == 5


def test_overlapping_ground_in_two_parts_is_found():
    entries = [
        entry("a_1", at=(0, 0)),
        entry("a_2", at=(SIDE * 0.75, 0)),
        entry("a_3", at=(SIDE * 0.75, SIDE)),  # only touches
        entry("b_1", at=(0, 0)),
    ]
    ((first, second, share),) = overlaps(entries, ["train", "test", "test", "test"])
    assert (first, second) == ("a_1", "a_2")
    assert share == pytest.approx(0.25, abs=1e-3)
    assert overlaps(entries, ["train", "train", "test", "test"]) == []
    assert overlaps(entries, ["train", "", "train", "test"]) == []


@pytest.mark.slow
@SMALL
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=3), min_size=1, max_size=12),
    st.integers(0, 9),
)
def test_a_place_is_in_one_part_and_the_split_can_be_repeated(sizes, seed):
    places = [
        [entry(f"event{n % 3}_{i}", grades=(count, 0, 1, 2)) for i, count in enumerate(counts)]
        for n, counts in enumerate(sizes)
    ]
    parts = assign(places, (0.7, 0.1, 0.2), seed)
    assert len(parts) == len(places)
    assert set(parts) <= {0, 1, 2}
    assert parts == assign(places, (0.7, 0.1, 0.2), seed)


def test_parts_get_their_shares():
    rng = np.random.default_rng(0)
    places = [
        [entry(f"event{n % 3}_{n}", grades=tuple(rng.integers(4, 40, 4).tolist()))]
        for n in range(90)
    ]
    parts = assign(places, (0.7, 0.1, 0.2), 0)
    everything = count_grades([place[0] for place in places])
    for part, share in enumerate((0.7, 0.1, 0.2)):
        mine = [place[0] for place, given in zip(places, parts, strict=True) if given == part]
        assert count_grades(mine) / everything == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_pair_gets_one_of_the_parts(scheme):
    entries = download()
    parts = SCHEMES[scheme](entries, SplitOptions(event="event-1", folds=4))
    assert len(parts) == len(entries)
    assert set(parts) <= {*PARTS, "", "0", "1", "2", "3"}
