"""What a model is shown of a scene whose statistics it wants."""

import numpy as np
import pytest

from geodamage.arrays import predict_pair
from geodamage.prediction import predict
from geodamage.scene.pixels import MISSING_PRE, Pixels
from geodamage.scene.statistics import shown, statistics_facts, statistics_of
from tests.fakes import FakeScene, make_card, random_images
from tests.model.small_models import Pointwise


def town(low=40, high=140, rows=96, columns=128, **facts):
    rng = np.random.default_rng(3)
    pre, post = rng.integers(low, high, (2, 3, rows, columns)).astype(np.uint8)
    return FakeScene(pre, post, **facts)


def card_of(kind):
    return make_card(halo=0, scene_statistics=kind)


def test_a_model_that_wants_none_is_shown_the_scene():
    scene = town()
    assert statistics_of(scene, card_of("none")) == ()
    assert statistics_facts(scene, card_of("none")) == {}
    assert scene.read_windows == []
    pixels = Pixels(scene.pre, scene.post, np.zeros((96, 128), np.uint8))
    assert shown(pixels, ()) is pixels


def test_a_stretch_goes_from_percentile_to_percentile_of_each_channel():
    scene = town()
    scene.post[1] //= 2
    pre, post = statistics_of(scene, card_of("stretch"))
    wanted = np.percentile(scene.post.reshape(3, -1), (2, 98), axis=1)
    np.testing.assert_allclose([post.low, post.high], wanted, atol=1)
    assert post.high[1] < 80 < pre.high[1]
    facts = statistics_facts(scene, card_of("stretch"))["statistics"]
    assert (facts["kind"], facts["post"]["maximum"]) == ("stretch", list(post.high))


def test_standardised_codes_undo_to_the_mean_and_deviation_of_the_scene():
    scene = town()
    scaling, _ = statistics_of(scene, card_of("standardise"))
    codes = scaling.apply(scene.pre).reshape(3, -1)
    values = codes / 25.5 - 4
    np.testing.assert_allclose(values.mean(1), 0, atol=0.02)
    np.testing.assert_allclose(values.std(1), 1, atol=0.02)


@pytest.mark.parametrize("kind", ["stretch", "standardise"])
def test_pixels_without_data_count_for_nothing(kind):
    missing = np.zeros((96, 128), np.uint8)
    missing[:, :64] = MISSING_PRE
    whole, holed = town(), town(missing=missing)
    holed.pre[:, :, :64] = 0
    (a, _), (b, _) = (statistics_of(scene, card_of(kind)) for scene in (whole, holed))
    np.testing.assert_allclose(a.low, b.low, atol=4)


def test_one_value_is_no_reason_to_fail():
    flat = np.full((3, 32, 32), 7, np.uint8)
    for kind in ("stretch", "standardise"):
        (scaling, _) = statistics_of(FakeScene(flat, flat.copy()), card_of(kind))
        assert np.isfinite(scaling.low).all()
        assert (np.array(scaling.high) > scaling.low).all()


def test_a_prediction_shows_the_model_stretched_pixels():
    scene = town()
    plain, stretched = (Pointwise(scene_statistics=kind) for kind in ("none", "stretch"))
    before = np.zeros(scene.extent.shape, np.float32)
    after = before.copy()
    for found, model in ((before, plain), (after, stretched)):
        for strip in predict(scene, model):
            found[strip.window.slices] = 1 - strip.probabilities[0]
    wanted = statistics_of(scene, stretched.card)[0].apply(scene.pre)[0] / 510
    np.testing.assert_allclose(after, wanted, atol=1e-6)
    assert np.ptp(after) > 2 * np.ptp(before)


def test_arrays_are_stretched_alike_whether_cut_or_not():
    pre, post = (image.transpose(1, 2, 0) // 2 for image in random_images(80, 96, 0))
    whole = predict_pair(Pointwise(scene_statistics="stretch", tile=128), pre, post)
    cut = predict_pair(Pointwise(scene_statistics="stretch", tile=64), pre, post)
    np.testing.assert_allclose(whole.localisation, cut.localisation, atol=1e-6)
    assert whole.localisation.max() == pytest.approx(0.5)
