import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from geodamage.arrays import predict_arrays, predict_pair
from geodamage.errors import ModelError, SceneError
from geodamage.model.heads import Heads, probabilities
from tests.fakes import SMALL, BoxModel, make_card


def images(rows, columns, seed=0):
    pair = np.random.default_rng(seed).integers(0, 256, (2, rows, columns, 3), np.uint8)
    return pair[0], pair[1]


def asked(model):
    return [pre.shape[2:] for pre, _ in model.asked]


@pytest.mark.slow
@SMALL
@given(st.integers(5, 70), st.integers(5, 70), st.integers(0, 9))
def test_an_image_seen_at_once_and_in_tiles_gets_the_same(rows, columns, seed):
    pair = images(rows, columns, seed)
    whole, tiled = BoxModel(tile=72), BoxModel(tile=16)
    np.testing.assert_array_equal(predict_arrays(whole, *pair), predict_arrays(tiled, *pair))
    assert len(whole.asked) == 1
    # Windows of a local model are up to four times as wide as those of its card.
    assert len(tiled.asked) > 1 or max(rows, columns) <= 4 * 16


def test_tiles_give_the_heads_again():
    pair = images(50, 60)
    whole, tiled = (predict_pair(BoxModel(tile=tile), *pair) for tile in (64, 16))
    np.testing.assert_allclose(tiled.localisation, whole.localisation, atol=1e-6)
    shares = whole.damage / whole.damage.sum(0)
    np.testing.assert_allclose(tiled.damage, shares, rtol=1e-5)


def test_a_local_model_sees_whole_strides():
    model = BoxModel(tile=64, stride=4)
    assert predict_arrays(model, *images(32, 41)).shape == (5, 32, 41)
    assert asked(model) == [(32, 44)]
    predict_arrays(model, *images(31, 64))
    assert asked(model)[1:] == [(36, 64)]


class Mean:
    """A model of global context: localisation is the mean of what it sees."""

    def __init__(self, tile):
        self.card = make_card(context="global", tile=tile)
        self.seen = []

    def __call__(self, pre, post):
        self.seen.append((pre, post))
        shape = len(pre), 1, *pre.shape[2:]
        localisation = np.full(shape, pre.mean() / 255, np.float32)
        return Heads(localisation, np.repeat(localisation, 4, 1))


def test_a_global_model_sees_an_image_of_its_tile_bit_for_bit():
    model, (pre, post) = Mean(32), images(32, 32)
    found = predict_pair(model, pre, post)
    ((seen_pre, seen_post),) = model.seen
    np.testing.assert_array_equal(seen_pre[0], pre.transpose(2, 0, 1))
    np.testing.assert_array_equal(seen_post[0], post.transpose(2, 0, 1))
    heads = Mean(32)(seen_pre, seen_post)
    np.testing.assert_array_equal(found.localisation, heads.localisation[0, 0])
    np.testing.assert_array_equal(found.probabilities, probabilities(heads)[0])


def test_a_global_model_sees_a_smaller_image_mirrored_to_its_tile():
    model, (pre, post) = Mean(32), images(20, 32)
    assert predict_arrays(model, pre, post).shape == (5, 20, 32)
    seen = model.seen[0][0][0]
    assert seen.shape == (3, 32, 32)
    np.testing.assert_array_equal(seen[:, 20], pre[18].T)


def test_a_global_model_sees_a_larger_image_in_windows_of_its_tile():
    model = Mean(32)
    predict_arrays(model, *images(40, 70))
    assert {pre.shape[2:] for pre, _ in model.seen} == {(32, 32)}


def test_channels_come_in_the_order_of_the_card():
    pre, post = images(8, 8)
    model = BoxModel(pre_channels=("blue", "green", "red"))
    predict_arrays(model, pre, post)
    np.testing.assert_array_equal(model.asked[0][0][0], pre[..., ::-1].transpose(2, 0, 1))
    np.testing.assert_array_equal(model.asked[0][1][0], post.transpose(2, 0, 1))


def test_a_model_of_other_channels_is_refused():
    with pytest.raises(ModelError, match="takes vv, vh"):
        predict_arrays(BoxModel(post_channels=("vv", "vh")), *images(8, 8))


def test_a_model_without_a_head_is_refused():
    model = BoxModel()
    model.__class__ = type("Headless", (BoxModel,), {"__call__": lambda *_: Heads(None, None)})
    with pytest.raises(ModelError, match="no localisation head"):
        predict_arrays(model, *images(8, 8))


@pytest.mark.parametrize(
    ("pre", "post", "why"),
    [
        (np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint8), "pre is uint8"),
        (np.zeros((8, 8, 3), np.uint16), np.zeros((8, 8, 3), np.uint8), "pre is uint16"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 4), np.uint8), "post is uint8"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8), "8 x 8 pixels and post 8"),
    ],
)
def test_what_is_no_pair_of_images_is_refused(pre, post, why):
    with pytest.raises(SceneError, match=why):
        predict_arrays(BoxModel(), pre, post)
