from pathlib import Path

import numpy as np
import pytest

from geodamage.errors import ModelError
from geodamage.model.ensemble import FLIPS, Ensemble, Member, SavedMap, with_flips, with_ways
from geodamage.model.heads import Heads, building_probabilities
from geodamage.model.loading import load_model
from geodamage.model.rules import PixelRules
from tests.fakes import (
    BoxModel,
    make_card,
)
from tests.model.small_models import Pointwise, Ramp, images, same, write_ensemble


def test_heads_are_averaged_over_their_own_members():
    members = [
        Member(Pointwise(0.1, ("localisation",)), 1),
        Member(Pointwise(0.3, ("localisation",)), 3),
        Member(Pointwise(5, ("damage",)), 2),
    ]
    found = Ensemble(make_card(), members)(*images(6, 8))
    plain = Pointwise()(*images(6, 8))
    np.testing.assert_allclose(found.localisation, plain.localisation + 0.25, rtol=1e-5)
    np.testing.assert_allclose(found.damage, plain.damage + 5, rtol=1e-5)


def test_a_head_nobody_has_stays_out():
    assert (
        Ensemble(make_card(), [Member(Pointwise(0, ("damage",)))])(*images(4, 4)).localisation
        is None
    )


def test_a_member_gives_only_the_heads_that_count():
    members = [
        Member(Pointwise(0.1), heads=("localisation",)),
        Member(Pointwise(5), heads=("damage",)),
        Member(Pointwise(7), weight=3),
    ]
    found = Ensemble(make_card(), members)(*images(6, 8))
    plain = Pointwise()(*images(6, 8))
    np.testing.assert_allclose(found.localisation, plain.localisation + (0.1 + 21) / 4, rtol=1e-5)
    np.testing.assert_allclose(found.damage, plain.damage + (5 + 21) / 4, rtol=1e-5)


def test_rules_and_size_of_an_ensemble():
    one, two = Pointwise(), Pointwise()
    members = [Member(one), Member(one, weight=2), Member(two)]
    rules = PixelRules((0.4, 0.3, 0.2, 0.1), 5)
    ensemble = Ensemble(make_card(threshold=0.6), members, rules=rules)
    assert ensemble.resident_bytes == 200
    assert ensemble.rules == with_flips(ensemble).rules == rules
    assert ensemble.has_pixel_rules
    assert with_flips(ensemble).has_pixel_rules
    plain = Ensemble(make_card(threshold=0.6), members)
    assert plain.rules == with_flips(plain).rules == PixelRules((0.6,) * 4)
    assert not plain.has_pixel_rules
    assert not with_flips(one).has_pixel_rules


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("transpose", [False, True])
def test_what_is_turned_is_turned_back(flip, transpose):
    # Neither square nor symmetric: undone in another order the answer would differ.
    pre, post = images(6, 10)
    for model in (Pointwise(), BoxModel(1)):
        ensemble = Ensemble(model.card, [Member(model, flips=(flip,), transpose=transpose)])
        same(ensemble(pre, post), model(pre, post), 1e-6)


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(8, 8), (6, 10)])
def test_a_mark_in_one_corner_comes_back_to_it(flip, turned, shape):
    # The published code undoes a flip before a transposition that was done first: of one flip
    # alone that leaves the map turned by 180 degrees (Open Cities' third place, two of ten
    # members).
    pre = np.zeros((1, 3, *shape), np.uint8)
    pre[..., 1, 2] = 255
    axes = FLIPS[flip]
    shown = np.flip(np.swapaxes(pre, 2, 3) if turned else pre, axes)
    asked = []

    class Noting(Pointwise):
        def __call__(self, pre, post):
            asked.append(pre)
            return super().__call__(pre, post)

    member = Member(Noting(), flips=(flip,), transpose=turned)
    found = Ensemble(make_card(), [member])(pre, pre).localisation[0, 0]
    assert np.array_equal(asked[-1], shown)
    assert np.argwhere(found > 0.1).tolist() == [[1, 2]]


@pytest.mark.parametrize("flip", ["horizontal", "vertical"])
def test_the_published_order_would_turn_the_map(flip):
    # Shows that the test above can fail.
    mark = np.zeros((1, 1, 6, 6))
    mark[..., 1, 2] = 1
    answer = np.flip(np.swapaxes(mark, 2, 3), FLIPS[flip])
    published = np.swapaxes(np.flip(np.swapaxes(answer, 2, 3), FLIPS[flip]), 2, 3)
    right = np.swapaxes(np.flip(answer, FLIPS[flip]), 2, 3)
    assert np.array_equal(right, mark)
    assert not np.array_equal(published, mark)


def test_full_tta_asks_all_eight_ways():
    model = BoxModel(1)
    pre, post = images(6, 9)
    found = with_ways(model, "full")(pre, post)
    shown = {asked[0].tobytes() for asked in model.asked}
    assert len(shown) == len(model.asked) == 8
    same(found, BoxModel(1)(pre, post), 1e-6)


def test_sizes_widen_the_halo_and_keep_windows_on_whole_pixels():
    model = BoxModel(1)
    card = with_ways(model, "none", (1.0, 0.5, 1.5)).card
    assert card.halo > model.card.halo
    assert card.stride % model.card.stride == 0
    assert card.tile % card.stride == 0
    assert with_ways(model, "full").card == model.card


def test_flips_show_the_model_mirror_images():
    model = BoxModel(1)
    pre, post = images(5, 7)
    with_flips(model)(pre, post)
    shown = [asked[0] for asked in model.asked]
    for image, axes in zip(shown, FLIPS.values(), strict=True):
        assert np.array_equal(image, np.flip(pre, axes))


def test_flips_average_what_differs():
    pre, post = images(6, 9)
    plain = Pointwise()(pre, post)
    found = with_flips(Ramp())(pre, post)
    np.testing.assert_allclose(found.localisation, plain.localisation + 4, rtol=1e-5)
    np.testing.assert_allclose(found.damage, plain.damage + 4, rtol=1e-5)


def test_a_transposed_ramp_runs_down_the_rows():
    pre, post = images(6, 9)
    found = Ensemble(make_card(), [Member(Ramp(), transpose=True)])(pre, post)
    ramp = (np.arange(9) + np.arange(6)[:, None]) / 2
    np.testing.assert_allclose(found.damage, Pointwise()(pre, post).damage + ramp, rtol=1e-5)


@pytest.mark.parametrize("scale", [0.5, 2.0, 1.5])
def test_a_scale_keeps_shape_and_flat_values(scale):
    model = BoxModel(1)
    flat = np.full((2, 3, 16, 24), 90, np.uint8)
    found = Ensemble(model.card, [Member(model, scales=(scale,))])(flat, flat)
    assert model.asked[0][0].shape == (2, 3, round(16 * scale), round(24 * scale))
    same(found, model(flat, flat), 1e-5)


def codes_of(*shares):
    return np.stack([np.full((1, 4, 6), round(share * 250), np.uint8) for share in shares], 1)


def test_saved_maps_count_by_their_weight_and_where_they_know():
    pre, post = images(4, 6)
    own = Pointwise()(pre, post).localisation
    maps = codes_of(0.4, 0.8)
    maps[0, 1, 0] = 255
    members = [SavedMap(Path("a.tif")), SavedMap(Path("b.tif"), 2.0)]
    found = Ensemble(make_card(), [Member(Pointwise())], maps=members)(pre, post, maps)
    wanted = (own[0, 0] + np.float32(0.4 + 2 * 0.8)) / 4
    wanted[0] = ((own[0, 0] + np.float32(0.4)) / 2)[0]
    np.testing.assert_allclose(found.localisation[0, 0], wanted, atol=1e-6)
    np.testing.assert_array_equal(found.damage, Pointwise()(pre, post).damage)


def test_saved_maps_stay_beside_a_model_that_is_asked_in_more_ways():
    pre, post = images(4, 6)
    maps = codes_of(0.4)
    ensemble = Ensemble(make_card(), [Member(Pointwise())], maps=[SavedMap(Path("a.tif"))])
    turned = with_ways(ensemble, "full")
    assert turned.maps == ensemble.maps
    same(turned(pre, post, maps), ensemble(pre, post, maps), 1e-6)


def test_saved_maps_must_come_with_the_scene():
    ensemble = Ensemble(make_card(), [Member(Pointwise())], maps=[SavedMap(Path("a.tif"))])
    with pytest.raises(ModelError, match=r"fake.* saved maps"):
        ensemble(*images(4, 6))


class Saying(Pointwise):
    """Says the same whatever it is shown: the first window, then the second."""

    def __init__(self, *windows):
        super().__init__()
        self.windows = np.stack(windows)[:, None].astype(np.float32)

    def __call__(self, pre, post):
        return Heads(self.windows, None)


def test_an_outlier_is_left_out_of_its_own_window_alone():
    rng = np.random.default_rng(0)
    low = [rng.uniform(0.05, 0.3, (4, 6)) for _ in range(3)]
    odd = np.full((4, 6), 0.7)
    members = [Member(Saying(low[0], low[0])), Member(Saying(odd, low[1]), weight=2.0)]
    members.append(Member(Saying(low[2], low[2])))
    pre, post = (np.repeat(image, 2, 0) for image in images(4, 6))
    found = Ensemble(make_card(), members, drops_outliers=True)(pre, post).localisation[:, 0]
    np.testing.assert_allclose(found[0], (low[0] + low[2]) / 2, atol=1e-6)
    np.testing.assert_allclose(found[1], (low[0] + 2 * low[1] + low[2]) / 4, atol=1e-6)
    kept = Ensemble(make_card(), members)(pre, post).localisation[:, 0]
    np.testing.assert_allclose(kept[0], (low[0] + 2 * odd + low[2]) / 4, atol=1e-6)


def test_an_outlier_rule_makes_an_ensemble_global(tmp_path):
    text = '[[member]]\nfile = "a.onnx"\n'
    path = write_ensemble(tmp_path, "drop_outliers = true\n" + text)
    ensemble = load_model(path, device="cpu")
    assert ensemble.drops_outliers
    assert ensemble.card.context == "global"
    assert load_model(path, device="cpu", tta="full").drops_outliers
    assert load_model(write_ensemble(tmp_path, text), device="cpu").card.context == "local"


def test_a_width_is_what_a_member_is_shown_of_a_tile(tmp_path):
    text = 'tile = 96\n[[member]]\nfile = "a.onnx"\nwidth = 64\n'
    path = write_ensemble(tmp_path, text, a={"context": "global", "stride": 16, "tile": 48})
    (member,) = load_model(path, device="cpu").members
    assert member.scales == (64 / 96,)


@pytest.mark.parametrize(
    ("entry", "context", "said"),
    [
        ("width = 60", "global", "windows of 60 pixels .* takes multiples of 16"),
        ("width = 64", "local", "is local; give scales"),
        ("width = 64\nscales = [1.0]", "global", "or is given with scales"),
        ("width = -1", "global", "is not a number of pixels"),
        ("width = 5", "global", "not a tenth to ten times"),
    ],
)
def test_a_width_that_does_not_fit_is_refused(tmp_path, entry, context, said):
    text = f'tile = 96\n[[member]]\nfile = "a.onnx"\n{entry}\n'
    path = write_ensemble(tmp_path, text, a={"context": context, "stride": 16, "tile": 96})
    with pytest.raises(ModelError, match=said):
        load_model(path, device="cpu")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[member]]\nfile = "m.tif"\nflips = ["both"]', "is a saved map and has the keys"),
        ('[[member]]\nfile = "gone.tif"', "no such probability map"),
        ('[[member]]\nfile = "../m.tif"', "is not beside the ensemble"),
        ('[[member]]\nfile = "m.tif"\nweight = 0', "weight of m.tif is not positive"),
        ('drop_outliers = 3\n[[member]]\nfile = "m.tif"', "neither true nor false"),
    ],
)
def test_a_saved_map_that_makes_no_sense_is_refused(tmp_path, text, said):
    (tmp_path / "m.tif").write_bytes(b"opened with the scene")
    with pytest.raises(ModelError, match=said):
        load_model(write_ensemble(tmp_path, text), device="cpu")


def test_a_model_without_localisation_finds_no_buildings():
    with pytest.raises(ModelError, match="no localisation head"):
        building_probabilities(Heads(None, np.ones((1, 4, 2, 2), np.float32)))
