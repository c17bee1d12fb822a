import cv2
import numpy as np
import pytest

from geodamage.adaptation import extraction
from geodamage.adaptation.extraction import BLOCK, Extraction
from geodamage.adaptation.network import STRIDE
from geodamage.errors import ModelError
from tests.fakes import FakeScene, make_card, random_images


class Means:
    """A network whose map is the mean of the colours."""

    channels = 3

    def __init__(self):
        self.asked = 0

    def __call__(self, image):
        self.asked += 1
        rows, columns = image.shape[1:]
        size = columns // STRIDE, rows // STRIDE
        bands = [
            cv2.resize(band.astype(np.float32), size, interpolation=cv2.INTER_AREA)
            for band in image
        ]
        return np.stack(bands)


PRE, POST = random_images(BLOCK + 300, BLOCK + 200, 0)


def scene():
    return FakeScene(PRE, POST)


def boxes(count, seed=0):
    """Return left, bottom, right, top of boxes in the scene, and their rows and columns."""
    rng = np.random.default_rng(seed)
    row, column = rng.integers(80, BLOCK + 200, count), rng.integers(80, BLOCK + 100, count)
    height, width = rng.integers(8, 40, (2, count))
    grid = scene().grid
    left, top = grid.xy(column, row)
    right, bottom = grid.xy(column + width, row + height)
    return np.stack([left, bottom, right, top], 1)


def test_features_are_of_both_dates_and_near_the_building():
    network = Means()
    found = Extraction(scene(), network, make_card()).features(boxes(20))
    assert found.shape == (20, 8 * network.channels)
    assert found.dtype == np.float16
    # Random pixels: the wider the surroundings, the nearer is the mean to that of all.
    wide = found[:, 2 * network.channels : 3 * network.channels].astype(float)
    assert np.abs(wide - PRE.mean()).max() < 12
    assert not np.allclose(found[:, : found.shape[1] // 2], found[:, found.shape[1] // 2 :])


@pytest.mark.slow
def test_features_do_not_depend_on_what_is_asked_at_once():
    bounds = boxes(30)
    whole = Extraction(scene(), Means(), make_card()).features(bounds)
    one_by_one = Extraction(scene(), Means(), make_card())
    alone = np.concatenate([one_by_one.features(bounds[n : n + 1]) for n in range(30)])
    np.testing.assert_array_equal(whole, alone)


def test_ground_is_read_and_looked_at_once():
    network, opened = Means(), scene()
    reader = Extraction(opened, network, make_card())
    for seed in range(4):
        reader.features(boxes(10, seed))
    assert len(opened.read_windows) <= len({(w.row, w.column) for w in opened.read_windows}) <= 4
    blocks = network.asked / 2
    assert blocks <= 9
    reader.features(boxes(10, 1))
    assert network.asked / 2 == blocks


@pytest.mark.slow
def test_features_do_not_depend_on_how_the_ground_is_cut(monkeypatch):
    bounds = boxes(30)
    found = Extraction(scene(), Means(), make_card()).features(bounds)
    monkeypatch.setattr(extraction, "BLOCK", 128)
    cut = Extraction(scene(), Means(), make_card()).features(bounds)
    np.testing.assert_array_equal(found, cut)


def test_what_lies_beside_the_images_does_not_count():
    grid = scene().grid
    left, top = grid.xy(-20, -40)
    right, bottom = grid.xy(8, 12)
    beside = Extraction(scene(), Means(), make_card()).features(
        np.array([[left, bottom, right, top], [left - 900, top + 500, left - 800, top + 600]])
    )
    whole = PRE[:, :14, :10].astype(float).mean((1, 2))  # and two pixels around the building
    np.testing.assert_allclose(beside[0, :3].astype(float), whole, rtol=0.01)
    assert (beside[1] == 0).all()


@pytest.mark.slow
def test_few_blocks_are_kept(monkeypatch):
    monkeypatch.setattr(extraction, "KEPT_BYTES", 1)
    bounds, opened = boxes(30), scene()
    monkeypatch.setattr(extraction, "KEPT_READS", 1)
    network = Means()
    reader = Extraction(opened, network, make_card())
    first = reader.features(bounds)
    before = len(opened.read_windows), network.asked
    np.testing.assert_array_equal(reader.features(bounds), first)
    assert len(opened.read_windows) > before[0]
    assert network.asked > before[1]


def test_no_building_has_no_features():
    network = Means()
    found = Extraction(scene(), network, make_card()).features(np.zeros((0, 4)))
    assert found.shape == (0, 8 * network.channels)


@pytest.mark.parametrize("channels", [("red",), ("vv", "vh", "angle")])
def test_images_without_colours_are_refused(channels):
    card = make_card(post_channels=channels)
    with pytest.raises(ModelError, match="leave --features out"):
        Extraction(scene(), Means(), card)
