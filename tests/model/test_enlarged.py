"""A second look at the image enlarged: what either look finds counts."""

import numpy as np
import pytest

from geodamage.asking import cell_side
from geodamage.errors import ModelError
from geodamage.model.enlarged import Enlarged
from geodamage.model.ensemble import Ensemble, SavedMap
from geodamage.model.heads import Heads, Parted
from geodamage.model.loading import load_model
from geodamage.model.rules import PixelRules
from tests.fakes import BoxModel, make_card
from tests.model.small_models import Pointwise, images, same


class Sized(Pointwise):
    """Finds nothing at the usual size, and everything where it is shown more rows than that."""

    def __init__(self, usual, **facts):
        super().__init__(**facts)
        self.usual = usual

    def __call__(self, pre, post):
        said = super().__call__(pre, post)
        is_closer = pre.shape[2] > self.usual
        return Heads(np.full_like(said.localisation, 0.9 if is_closer else 0.2), said.damage)


def test_what_the_second_look_finds_counts_and_grades_are_of_the_first():
    pre, post = images(32, 64)
    model = Sized(32)
    found = Enlarged(model)(pre, post)
    np.testing.assert_allclose(found.localisation, 0.9)
    np.testing.assert_array_equal(found.damage, model(pre, post).damage)


def test_what_the_first_look_finds_stays():
    pre, post = images(32, 64)
    found, first = Enlarged(BoxModel(1))(pre, post), BoxModel(1)(pre, post)
    assert (found.localisation >= first.localisation).all()
    assert (found.localisation > first.localisation).any()
    flat = np.full((1, 3, 32, 32), 90, np.uint8)
    same(Enlarged(BoxModel(1))(flat, flat), BoxModel(1)(flat, flat), 1e-5)


def test_windows_keep_step_with_the_pixels_of_the_second_look():
    card = Enlarged(BoxModel(20, stride=16, tile=1024)).card
    assert card.stride == 32
    assert (card.stride * 3 // 2) % 16 == card.tile % card.stride == 0
    assert card.halo == 20
    assert card.bytes_per_pixel == make_card().bytes_per_pixel * 1.5**2


def test_rules_stay():
    rules = PixelRules((0.4, 0.3, 0.2, 0.1), 5)
    model = Ensemble(make_card(), [], rules=rules)
    assert Enlarged(model).rules == rules
    assert not Enlarged(Pointwise()).has_pixel_rules


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Pointwise(task="damage"), "finds no buildings"),
        (Ensemble(make_card(), [], maps=[SavedMap("map.tif")]), "reads saved maps"),
    ],
)
def test_what_cannot_look_twice_is_refused(model, why):
    with pytest.raises(ModelError, match=why):
        Enlarged(model)


@pytest.mark.slow
def test_the_bundled_model_finds_before_it_grades_and_says_the_same():
    model = load_model(device="cpu", threads=1, engine="onnxruntime", tta="enlarged")
    assert isinstance(model, Enlarged)
    assert isinstance(model, Parted)
    assert model.is_parted
    assert cell_side(model.card) == 64
    rng = np.random.default_rng(0)
    pre, post = rng.integers(0, 256, (2, 1, 3, 192, 256), np.uint8)
    whole = model(pre, post)
    localisation, features = model.find(pre)
    np.testing.assert_array_equal(localisation, whole.localisation)
    np.testing.assert_array_equal(model.grade(post, features), whole.damage)
    plain = load_model(device="cpu", threads=1, engine="onnxruntime")
    np.testing.assert_allclose(plain(pre, post).damage, whole.damage, rtol=1e-4)
    assert (whole.localisation >= plain(pre, post).localisation - 1e-5).all()
