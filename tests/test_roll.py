from dataclasses import replace

import numpy as np
import pytest

from geodamage.asking import ask
from geodamage.model import engines
from geodamage.model.onnx import Model
from geodamage.model.staged import StagedSession
from geodamage.plan import Plan
from geodamage.prediction import predict, rolling_of, run_plan
from geodamage.roll import Roll, Rolls
from geodamage.scene.pixels import MISSING_POST, MISSING_PRE, Pixels
from geodamage.windows import Window
from tests.fakes import BoxModel, FakeScene, random_images
from tests.siamese import strided_bytes, write_siamese

#: Pixels around a pixel that the small model sees.
HALO = 20


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "cache_folder", lambda: tmp_path / "cache")
    facts = {"stride": 4, "halo": HALO, "tile": 96}
    path = write_siamese(tmp_path / "m.onnx", strided_bytes(), **facts)
    return Model(path, engine="onnxruntime", threads=1)


def scene_of(rows, columns):
    """Return both dates of a scene with a halo around it, uint8 (3, rows, columns)."""
    draw = np.random.default_rng(1)
    return draw.integers(0, 256, (2, 3, rows + 2 * HALO, columns + 2 * HALO), np.uint8)


def cut(image, window):
    return image[:, *window.shift(HALO, HALO).slices]


@pytest.mark.parametrize("pixels", [10**9, 3000])
def test_features_of_strips_are_those_of_the_whole_and_none_is_computed_twice(
    model, pixels, monkeypatch
):
    session, (image, _) = model.staged, scene_of(160, 96)
    computed = []
    see = StagedSession.see

    def counted(self, number, taken):
        computed.append((number, taken[0, 0].size * (1, 4, 16)[number]))
        return see(self, number, taken)

    monkeypatch.setattr(StagedSession, "see", counted)
    roll, kept = Roll(session, pixels), []
    for row in range(0, 160, 32):
        strip = Window(row, 0, 32, 96)
        around = strip.buffer(HALO)
        roll.turn(around, cut(image, around))
        roll.fill([strip])
        kept.append({name: array.copy() for name, array in roll.at(strip).items()})
        roll.fill([strip])  # known by now
    calls = [size for number, size in computed if number == 0]
    if pixels == 10**9:
        assert len(computed) == 15
        rows = [size // (96 + 2 * 12 + 2 * 2) for size in calls]
        assert rows == [32 + 2 * 12 + 4, *[32 + 4] * 4]
    else:
        assert max(size for _, size in computed) <= 2 * pixels
    monkeypatch.undo()
    whole = session.seen(image[None])
    for name, feature in whole.items():
        step = image.shape[1] // feature.shape[2]
        margin = HALO // step
        expected = feature[..., margin:-margin, margin:-margin]
        found = np.concatenate([features[name] for features in kept], 2)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def strips_of(plan, rows, columns, side):
    for left in range(0, columns, side):
        for row in range(0, rows, 32):
            yield Window(row, left, 32, side)


@pytest.mark.parametrize("above", [None, 0.6, np.inf])
def test_heads_are_those_of_windows_in_every_block_of_columns(model, above):
    scene, card = scene_of(96, 128), model.card
    region = Window(0, 0, 96, 128)
    windows = Plan(region, (0, 0), (32, 32), HALO, 2, 1, None, above)
    plan = replace(windows, rolled=4000, margin=model.staged.margin)
    rolls, graded = Rolls(model.staged, plan, card), 0
    for strip in strips_of(plan, 96, 128, 64):
        around = strip.buffer(HALO)
        pixels = Pixels(*(cut(image, around) for image in scene), np.zeros(around.shape, np.uint8))
        cores = list(plan.cores(strip))
        for core, heads in zip(cores, rolls.ask(strip, pixels, cores), strict=True):
            alone = ask(model, windows, strip, pixels, [core], 0)
            np.testing.assert_allclose(heads.localisation, alone.localisation, atol=1e-5)
            wanted = heads.damage.any(1)
            graded += wanted.sum()
            if above is None:
                assert wanted.all()
            elif np.isfinite(above):
                assert wanted[heads.localisation[:, 0] > above].all()
            np.testing.assert_allclose(
                np.where(wanted[:, None], heads.damage - alone.damage, 0), 0, atol=1e-5
            )
    assert (graded > 0) == (above != np.inf)


def test_post_is_not_looked_at_where_nothing_is_found(model, monkeypatch):
    dark = np.zeros((3, 64 + 2 * HALO, 64 + 2 * HALO), np.uint8)
    strip, margin, calls = Window(0, 0, 64, 64), model.staged.margin, []
    see = StagedSession.see
    monkeypatch.setattr(StagedSession, "see", lambda *given: calls.append(given[2]) or see(*given))
    plan = Plan(strip, (0, 0), (64, 64), HALO, 1, 1, None, 0.9, 10**6, margin)
    heads = Rolls(model.staged, plan, model.card).ask(
        strip, Pixels(dark, dark + np.uint8(255), np.zeros(dark.shape[1:], np.uint8)), [strip]
    )
    assert len(calls) == 3
    assert not heads[0].damage.any()


@pytest.mark.parametrize("above", [None, 0.6])
def test_a_scene_is_the_same_in_strips_of_any_height_and_in_windows(model, above):
    pre, post = random_images(150, 170, 3)
    missing, inside = np.zeros((2, 150, 170), np.uint8)
    missing[20:70, 90:140], missing[100:, :30] = MISSING_PRE, MISSING_POST
    inside[5:140, 10:160] = 1
    region = Window(9, 6, 130, 150).shift(4, 8)
    scene = FakeScene(
        pre, post, corner=(4, 8), region=region, missing=missing, inside=inside.astype(bool)
    )
    windows = Plan(region, (12, 12), (48, 48), HALO, 2, 1, None, above)
    found = []
    for core, columns, pixels in (((48, 48), 2, 0), ((32, 64), 1, 5000), ((80, 40), 4, 10**6)):
        plan = replace(
            windows, core=core, columns=columns, rolled=pixels, margin=model.staged.margin
        )
        whole = np.full((5, *scene.grid.shape), np.nan, np.float32)
        for strip in run_plan(scene, model, plan):
            whole[:, *strip.window.slices] = strip.probabilities
        found.append(whole[:, *region.slices])
    assert not np.isnan(found[0]).any()
    building = found[0][0] < 1 - (above or 0)
    assert building.mean() > 0.1
    for other in found[1:]:
        np.testing.assert_allclose(other[0], found[0][0], atol=1e-5)
        np.testing.assert_allclose(other[:, building], found[0][:, building], atol=1e-5)


@pytest.mark.parametrize("how", [{}, {"tile": 96}, {"batch": 2}])
def test_features_roll_unless_windows_were_asked_for(model, how, monkeypatch):
    asked, ask_rolls = [], Rolls.ask
    monkeypatch.setattr(Rolls, "ask", lambda *given: asked.append(given) or ask_rolls(*given))
    scene = FakeScene(*random_images(200, 200, 3))
    assert sum(strip.window.size for strip in predict(scene, model, **how)) == 40_000
    assert bool(asked) == (not how)
    assert rolling_of(BoxModel(1), None, 1) is None
