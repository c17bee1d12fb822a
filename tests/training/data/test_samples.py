import json

import numpy as np
import pytest
import torch

import training.data.samples
from geodamage.errors import LabelError
from geodamage.xbd.folders import Pair, find_pairs
from sample_data.pairs import make_pairs
from training.data.augmentation_options import Augmentation
from training.data.augmentation_presets import GEODAMAGE
from training.data.crops import ChipOptions, Chips, load_pair
from training.data.samples import ChipSamples, PairSamples, batches, sample_of, stack

PLAIN = Augmentation(crop=64)
LIVELY = Augmentation(
    crop=32, flip_horizontal=0.5, quarter_turn=1.0, misregistration=0.5, brightness=1.0,
    second_group=1.0, cutmix=0.5, colour_style=0.5,
)  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("xbd")
    make_pairs(folder, 5, 64)
    return find_pairs(folder)


def samples_of(pairs, augmentation=LIVELY, epoch=None, **options):
    epoch = np.arange(len(pairs)) if epoch is None else np.array(epoch)
    return PairSamples(pairs, epoch, augmentation, **options)


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def in_batches(count, size):
    def numbers():
        for start in range(0, count, size):
            yield list(range(start, start + size))

    return numbers


def drawn(samples, count, size, **options):
    """Return samples 0 to `count`, as they come through batches."""
    stacked = list(batches(samples, in_batches(count, size), **options))
    return {name: torch.cat([batch[name] for batch in stacked]) for name in stacked[0]}


@pytest.mark.slow
def test_a_sample_is_decided_by_the_seed_and_its_number(pairs):
    one, other = samples_of(pairs, seed=1), samples_of(pairs, seed=1)
    forwards = [one.draw(number) for number in range(12)]
    backwards = [other.draw(number) for number in reversed(range(12))][::-1]
    assert all(map(same, forwards, backwards))
    elsewhere = samples_of(pairs, seed=2)
    assert not any(same(forwards[number], elsewhere.draw(number)) for number in range(12))
    assert not same(forwards[0], forwards[1])


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2, 6])
def test_the_batch_makes_no_difference(pairs, size):
    assert same(drawn(samples_of(pairs), 12, size), drawn(samples_of(pairs), 12, 12))


@pytest.mark.slow
def test_the_workers_make_no_difference(pairs):
    assert same(drawn(samples_of(pairs), 12, 3, workers=2), drawn(samples_of(pairs), 12, 3))


@pytest.mark.slow
def test_a_small_memory_makes_no_difference(pairs, monkeypatch):
    wanted = drawn(samples_of(pairs), 12, 3)
    monkeypatch.setattr(training.data.samples, "KEPT", 2)
    few = samples_of(pairs)
    assert same(drawn(few, 12, 3), wanted)
    assert len(few._kept) == 2


@pytest.mark.slow
def test_stacked_images_come_channels_first(pairs):
    batch = drawn(samples_of(pairs), 4, 4)
    assert batch["pre"].shape == batch["post"].shape == (4, 3, 32, 32)
    assert batch["grades"].shape == batch["buildings"].shape == (4, 32, 32)
    assert {tensor.dtype for tensor in batch.values()} == {torch.uint8}
    alone = samples_of(pairs).draw(2)
    assert np.array_equal(batch["pre"][2].permute(1, 2, 0), alone["pre"])
    assert torch.equal(stack([alone])["grades"][0], batch["grades"][2])


def test_localisation_drops_the_post_image(pairs):
    batch = drawn(samples_of(pairs, Augmentation(crop=32, images="pre")), 2, 2)
    assert set(batch) == {"pre", "grades", "buildings"}


def order(samples, count):
    """Return which pair each sample is of; nothing is augmented."""
    whole = [samples._read(place).pre.tobytes() for place in range(len(samples.pairs))]
    return [whole.index(samples.draw(number)["pre"].tobytes()) for number in range(count)]


def test_an_epoch_is_a_permutation_and_each_another(pairs):
    found = np.array(order(samples_of(pairs, PLAIN), 50)).reshape(10, 5)
    assert (np.sort(found, 1) == np.arange(5)).all()
    assert len({tuple(row) for row in found}) > 5


def test_a_pair_that_is_oversampled_comes_more_often(pairs):
    found = order(samples_of(pairs, PLAIN, epoch=[0, 1, 2, 3, 4, 2, 2]), 14)
    for epoch in (found[:7], found[7:]):
        assert sorted(epoch) == [0, 1, 2, 2, 2, 3, 4]


def test_weighted_draws_follow_the_weights(pairs):
    weights = np.array([0, 1, 2, 3, 4.0])
    samples = samples_of(pairs, PLAIN, weights=weights)
    counts = np.bincount([int(p) for n in range(600) for p in samples._shuffled(n)], minlength=5)
    share = weights / weights.sum()
    # Four standard deviations of a binomial draw.
    assert (abs(counts / 3000 - share) <= 4 * np.sqrt(share * (1 - share) / 3000)).all()
    assert order(samples, 5) == [int(place) for place in samples._shuffled(0)]


def test_a_donor_is_another_draw_from_the_epoch(pairs, monkeypatch):
    donors = []

    def note(sample, augmentation, rng, *, donor=None):
        donors.append(donor)
        return sample

    monkeypatch.setattr(training.data.samples, "augment", note)
    samples = samples_of(pairs, Augmentation(crop=64, cutmix=0.5))
    whole = [samples._read(place).pre.tobytes() for place in range(5)]
    for number in range(40):
        samples.draw(number)
    assert {whole.index(donor.pre.tobytes()) for donor in donors} == set(range(5))
    samples_of(pairs, PLAIN).draw(0)
    assert donors[-1] is None


@pytest.mark.slow
def test_our_own_augmentation_can_be_drawn(pairs):
    assert drawn(samples_of(pairs, GEODAMAGE), 2, 2)["post"].shape == (2, 3, 512, 512)


@pytest.fixture
def ungraded(tmp_path):
    """Return a pair whose first building is un-classified, and the mask of it."""
    name = make_pairs(tmp_path, 1, 64)[0]
    path = tmp_path / "labels" / f"{name}_post_disaster.json"
    document = json.loads(path.read_text())
    for part in document["features"].values():
        part[0]["properties"]["subtype"] = "un-classified"
    path.write_text(json.dumps(document))
    pair = Pair(name, tmp_path)
    return pair, sample_of(pair, "ignore").grades == 255


@pytest.mark.parametrize(("rule", "code"), [("own", 5), ("no-damage", 1), ("undrawn", 0)])
def test_a_building_without_a_grade_is_what_the_recipe_says(ungraded, rule, code):
    pair, where = ungraded
    sample = sample_of(pair, rule)
    assert where.any()
    assert (sample.grades[where] == code).all()
    assert np.array_equal(sample.grades[~where], sample_of(pair, "ignore").grades[~where])
    assert sample.buildings[where].all()


def test_a_class_of_its_own_outlives_augmentation(ungraded):
    pair, where = ungraded
    lively = Augmentation(crop=64, flip_horizontal=0.5, dilation=1.0, quarter_turn=1.0)
    samples = samples_of([pair], lively, unclassified="own")
    for number in range(8):
        assert (samples.draw(number)["grades"] == 5).sum() == where.sum()


def test_without_pre_labels_buildings_are_those_of_post(tmp_path):
    name = make_pairs(tmp_path, 1, 64)[0]
    pair = Pair(name, tmp_path)
    before = sample_of(pair, "ignore")
    pair.label_file("pre").unlink()
    assert np.array_equal(sample_of(pair, "ignore").buildings, before.buildings)


@pytest.mark.slow
def test_images_of_two_sizes_are_refused(tmp_path):
    one = make_pairs(tmp_path / "a", 1, 64)[0]
    make_pairs(tmp_path / "b", 1, 96)
    name = f"images/{one}_post_disaster.png"
    (tmp_path / "a" / name).write_bytes((tmp_path / "b" / name).read_bytes())
    with pytest.raises(LabelError, match=r"pre is \(64, 64\), post \(96, 96\)"):
        sample_of(Pair(one, tmp_path / "a"), "ignore")


def test_chips_are_decided_by_the_seed_and_their_number(pairs):
    def chips(seed=1):
        loaded = [load_pair(pair) for pair in pairs[:2]]
        return ChipSamples(Chips(loaded, [], ChipOptions(crop=32)), 7, seed=seed)

    one, other = chips(), chips()
    assert len(one) == 7
    assert same(one.draw(5), other.draw(5))
    assert not same(one.draw(5), one.draw(6))
    assert not same(one.draw(5), chips(2).draw(5))
    assert same(drawn(one, 6, 2), drawn(other, 6, 3))
