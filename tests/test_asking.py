import numpy as np
import pytest

from geodamage.asking import ask
from geodamage.model import engines
from geodamage.model.onnx import Model
from geodamage.plan import Plan
from geodamage.scene.pixels import Pixels
from geodamage.windows import Window
from tests.siamese import write_siamese

HALO = 16
ABOVE = 0.5


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "cache_folder", lambda: tmp_path / "cache")
    return Model(write_siamese(tmp_path / "m.onnx"), engine="onnxruntime", threads=1)


def pixels_of(rows, columns, *bright):
    """Return dark images with some bright boxes, and a halo around them."""
    draw = np.random.default_rng(1)
    pre, post = draw.integers(0, 40, (2, 3, rows + 2 * HALO, columns + 2 * HALO), np.uint8)
    for row, column in bright:
        for image in (pre, post):
            image[:, HALO + row : HALO + row + 12, HALO + column : HALO + column + 12] += 210
    return Pixels(pre, post, np.zeros(pre.shape[1:], np.uint8))


def asked(model, pixels, cores, graded_above):
    strip = Window(0, 0, cores[0].height, cores[-1].right)
    plan = Plan(strip, (0, 0), cores[0].shape, HALO, len(cores), len(cores), None, graded_above)
    return ask(model, plan, strip, pixels, cores, 0)


def test_grades_are_the_same_where_buildings_are_and_nothing_elsewhere(model, monkeypatch):
    windows = []
    grade = Model.grade
    monkeypatch.setattr(
        Model, "grade", lambda *given: windows.append(given[1].shape) or grade(*given)
    )
    core = Window(0, 0, 128, 512)
    pixels = pixels_of(128, 512, (20, 10), (80, 460))
    whole, some = (asked(model, pixels, [core], above) for above in (None, ABOVE))
    np.testing.assert_array_equal(some.localisation, whole.localisation)
    found = whole.localisation[:, 0] > ABOVE
    assert found.any()
    graded = some.damage.sum(1) > 0
    assert graded[found].all()
    assert not graded[..., 100:400].any()
    np.testing.assert_allclose(
        some.damage.transpose(0, 2, 3, 1)[graded], whole.damage.transpose(0, 2, 3, 1)[graded],
        atol=1e-6,
    )  # fmt: skip
    # Two corners, each with its halo, in place of the whole.
    assert windows == [(1, 3, 64 + 2 * HALO, 64 + 2 * HALO)] * 2


@pytest.mark.parametrize("above", [ABOVE, np.inf])
def test_where_nothing_is_found_nothing_is_graded(model, above, monkeypatch):
    def grade(*given):
        raise AssertionError("graded")

    monkeypatch.setattr(Model, "grade", grade)
    bright = [] if above == ABOVE else [(20, 10)]
    heads = asked(model, pixels_of(64, 64, *bright), [Window(0, 0, 64, 64)], above)
    assert not heads.damage.any()


def test_of_a_batch_those_windows_are_graded_in_which_something_is(model):
    cores = [Window(0, 64 * n, 64, 64) for n in range(3)]
    pixels = pixels_of(64, 192, (20, 80))
    whole, some = (asked(model, pixels, cores, above) for above in (None, ABOVE))
    assert some.damage.any((1, 2, 3)).tolist() == [False, True, False]
    np.testing.assert_allclose(some.damage[1], whole.damage[1], atol=1e-6)


def test_a_global_model_is_asked_of_all_of_a_window(tmp_path, model):
    path = write_siamese(tmp_path / "g.onnx", context="global", tile=96)
    of_all = Model(path, engine="onnxruntime", threads=1)
    heads = asked(of_all, pixels_of(128, 128, (4, 4)), [Window(0, 0, 128, 128)], ABOVE)
    assert (heads.damage.sum(1) > 0).all()
