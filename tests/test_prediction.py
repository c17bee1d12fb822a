import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geodamage import asking
from geodamage.errors import ModelError, SceneReadError
from geodamage.model.heads import probabilities
from geodamage.model.rules import PixelRules
from geodamage.plan import BASE_BYTES, READ_BYTES, STRIP_BYTES, make_plan
from geodamage.prediction import BLIND, CLOSED, NEAR_MISSING, UNSEEN, predict, run_plan
from geodamage.scene.pixels import MISSING_POST, MISSING_PRE, OUTSIDE, OUTSIDE_AOI
from geodamage.windows import Window, round_up
from tests.fakes import SMALL, BoxModel, FakeScene, box_sum, random_images, workers

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def assemble(strips, shape):
    """Put strips together; say how often each pixel was written."""
    found = np.full((5, *shape), np.nan, np.float32)
    missing = np.zeros(shape, np.uint8)
    times = np.zeros(shape, int)
    for strip in strips:
        assert strip.probabilities.shape == (5, *strip.window.shape)
        assert strip.missing.shape == strip.window.shape
        found[:, *strip.window.slices] = strip.probabilities
        missing[strip.window.slices] = strip.missing
        times[strip.window.slices] += 1
    return found, missing, times


def closed_to(missing, reach):
    """Return where no building is looked for."""
    near = (missing & UNSEEN) == 0
    if reach > 0:
        near = ndimage.binary_dilation(near, np.ones((2 * reach + 1,) * 2))
    return ((missing & CLOSED) > 0) | ~near


def direct(scene, model):
    """Ask the model once for the whole extent; what is not seen has no grade.

    It is background, too, but for what post alone lacks within the margin of what it has.
    """
    expected = np.full((5, *scene.grid.shape), np.nan, np.float32)
    part = probabilities(model(scene.pre[None], scene.post[None]))[0].copy()
    margin = model.card.margin
    closed = closed_to(scene.read(scene.extent.buffer(margin)).missing, margin - 1)
    rows, columns = scene.extent.shape
    inner = slice(margin, None), slice(margin, None)
    part[0, closed[inner][:rows, :columns]] = 1
    part[1:, (scene.read(scene.extent).missing & UNSEEN) > 0] = 0
    expected[:, *scene.extent.slices] = part
    return expected


def memory_for(scene, model, *, tile, batch, columns):
    """Return bytes that suffice for blocks of just so many columns of cores."""
    plan = make_plan(scene.region, model.card, tile=tile, batch=batch, memory=1e12)
    window, core = np.prod(plan.window), np.prod(plan.core)
    own = model.card.bytes_per_pixel * window * batch
    return BASE_BYTES + own + columns * (window * READ_BYTES + core * STRIP_BYTES)


@st.composite
def cases(draw):
    """Return a scene, a model and two ways to cut it."""
    stride = draw(st.sampled_from([1, 2, 4, 8]))
    radius = draw(st.integers(0, 3))
    halo = radius + draw(st.integers(0, 3))
    margin = round_up(max(halo, 1), stride)
    tiles = st.integers(1, 3).map(lambda n: 2 * margin + n * round_up(6, stride))
    rows, columns = draw(st.integers(4, 60)), draw(st.integers(4, 60))
    pre, post = random_images(rows, columns, draw(st.integers(0, 99)))
    top, left = draw(st.integers(0, rows // 3)), draw(st.integers(0, columns // 3))
    bottom = draw(st.integers(top + 1, rows) | st.just(rows))
    right = draw(st.integers(left + 1, columns) | st.just(columns))
    region = Window(top, left, bottom - top, right - left)
    corner = draw(st.integers(0, 12)), draw(st.integers(0, 12))
    missing = np.zeros((rows, columns), np.uint8)
    if draw(st.booleans()):
        hole = np.random.default_rng(draw(st.integers(0, 99))).random(missing.shape) < 0.02
        missing[ndimage.binary_dilation(hole, iterations=2)] = draw(
            st.sampled_from([MISSING_PRE, MISSING_POST, MISSING_PRE | MISSING_POST])
        )
    scene = FakeScene(pre, post, corner=corner, region=region.shift(*corner), missing=missing)
    model = BoxModel(radius, stride=stride, halo=halo, tile=draw(tiles))
    ways = [
        {
            "tile": draw(st.none() | tiles),
            "batch": draw(st.integers(1, 4)),
            "columns": draw(st.integers(1, 4)),
        }
        for _ in range(2)
    ]
    return scene, model, ways


@pytest.mark.slow
@SMALL
@given(cases())
def test_every_pixel_comes_once_whatever_the_cut(case):
    scene, model, ways = case
    expected = direct(scene, model)
    inside = np.zeros(scene.grid.shape, bool)
    inside[scene.region.slices] = True
    flags = []
    for way in ways:
        memory = memory_for(scene, model, **way)
        del way["columns"]
        found, missing, times = assemble(
            predict(scene, model, memory=memory, **way), scene.grid.shape
        )
        assert np.array_equal(times, inside)
        assert np.array_equal(found[:, inside], expected[:, inside])
        flags.append(missing)
    assert np.array_equal(*flags)
    margin = model.card.margin
    closed = closed_to(scene.read(scene.grid.window.buffer(margin + 1)).missing, margin - 1)
    near = ndimage.binary_dilation(closed, np.ones((3, 3)))
    rows, columns = scene.grid.shape
    near = near[margin + 1 :, margin + 1 :][:rows, :columns]
    assert np.array_equal((flags[0][inside] & NEAR_MISSING) > 0, near[inside])


def test_what_does_not_matter_is_not_asked():
    pre, post = random_images(200, 300, 1)
    scene, model = FakeScene(pre, post), BoxModel(2, stride=4, halo=2, tile=160)
    plan = make_plan(scene.region, model.card, tile=160, memory=1e12)
    whole, missing, _ = assemble(run_plan(scene, model, plan), scene.grid.shape)
    assert plan.core == (100, 152)
    model.asked.clear()
    # One place within a core, one that reaches into the next, one beside the scene, one without.
    only = [(1, 1, 3, 3), (170, 140, 180, 160), (270, 0, 280, 9), (0,) * 4]
    part, flags, _ = assemble(
        run_plan(scene, model, replace(plan, only=np.array(only))), scene.grid.shape
    )
    assert np.array_equal(flags, missing)
    asked = [np.s_[:64, :64], np.s_[164:200, 128:152], np.s_[164:200, 152:216]]
    shapes = [(68 + 4, 68 + 4), (36 + 8, 24 + 8), (36 + 8, 64 + 8)]
    assert [pre.shape[2:] for pre, _ in model.asked] == shapes
    for index in asked:
        assert np.array_equal(part[:, *index], whole[:, *index])
        part[:, *index] = 0
    assert (part[0] == 1).sum() == 200 * 300 - 64 * 64 - 36 * 88
    assert not part[1:].any()


class GradedModel(BoxModel):
    """A box model that finds every grade on noise, and whose rules dilate."""

    def __init__(self, radius, dilation, covers="intended", **facts):
        super().__init__(radius, **facts)
        self.rules = PixelRules((0.5, 0.45, 0.48, 0.46), dilation, covers)

    def __call__(self, pre, post):
        heads = super().__call__(pre, post)
        last = box_sum(pre[:, 1], self.radius)
        damage = [box_sum(post[:, c], self.radius) for c in range(3)] + [last]
        return heads._replace(damage=np.stack(damage, 1).astype(np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("with_grades", [False, True])
def test_of_a_core_only_what_is_seen_is_asked(with_grades):
    rows, columns = 500, 700
    pre, post = random_images(rows, columns, 4)
    hidden = np.tri(rows, columns, -100, bool) | (np.arange(columns) > 650)
    missing = np.where(hidden, MISSING_PRE | MISSING_POST, 0).astype(np.uint8)
    model = GradedModel(2, 1, stride=4, halo=4, tile=1024)

    def predicted():
        scene = FakeScene(pre, post, missing=missing)
        model.asked.clear()
        strips = predict(scene, model, memory=1e12, with_grades=with_grades)
        found = [assemble(strips, scene.grid.shape)]
        return found[0], sum(asked.size for asked, _ in model.asked)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(asking, "_CELL", 10**6)
        whole, all_pixels = predicted()
    part, pixels = predicted()
    assert len(model.asked) > 1
    assert pixels < 0.9 * all_pixels
    for ours, theirs in zip(part, whole, strict=True):
        assert np.array_equal(ours, theirs)


def assemble_grades(strips, shape):
    found = np.full(shape, 9, np.uint8)
    for strip in strips:
        assert strip.grades.dtype == np.uint8
        found[strip.window.slices] = strip.grades
    return found


def direct_grades(scene, model):
    """Grade the whole extent at once; nothing grows from what no image shows."""
    heads = model(scene.pre[None], scene.post[None])
    missing = scene.read(scene.extent).missing
    localisation = np.where(missing & BLIND, np.float32(0), heads.localisation[0, 0])
    grades = model.rules.grades(localisation, heads.damage[0])
    expected = np.full(scene.grid.shape, 9, np.uint8)
    expected[scene.extent.slices] = np.where(missing & UNSEEN, 0, grades)
    return expected


@pytest.mark.slow
@SMALL
@given(cases(), st.sampled_from([0, 3, 5, 7]), st.sampled_from(["intended", "published"]))
def test_grades_of_pixels_do_not_depend_on_the_cut(case, dilation, covers):
    scene, model, ways = case
    # What an ensemble's card holds: the halo of its members, and what the rules look at.
    card = {"stride": model.card.stride, "halo": model.card.halo + dilation // 2}
    wide = 2 * round_up(max(card["halo"], 1), model.card.stride) + round_up(6, model.card.stride)
    model = GradedModel(model.radius, dilation, covers, tile=wide, **card)
    expected = direct_grades(scene, model)
    inside = np.zeros(scene.grid.shape, bool)
    inside[scene.region.slices] = True
    for way in ways:
        tile = None if way["tile"] is None else wide + round_up(way["tile"], model.card.stride)
        found = assemble_grades(
            predict(scene, model, tile=tile, batch=way["batch"], with_grades=True),
            scene.grid.shape,
        )
        assert np.array_equal(found[inside], expected[inside])
        assert (found[~inside] == 9).all()


def test_grades_tell_apart_what_they_should():
    scene = FakeScene(*random_images(60, 60, 0))
    plain = direct_grades(scene, GradedModel(1, 0))
    assert set(np.unique(plain)) == {0, 1, 2, 3, 4}
    grown = direct_grades(scene, GradedModel(1, 5))
    published = direct_grades(scene, GradedModel(1, 5, "published"))
    assert (plain == 2).sum() < (grown == 2).sum() < (published == 2).sum()


def test_an_area_of_interest_hides_grades_and_lets_minor_damage_grow_into_it():
    pre, post = random_images(40, 40, 5)
    inside = np.zeros((40, 40), bool)
    inside[6:34, 5:35] = True
    model = GradedModel(1, 5, halo=3, stride=1, tile=16)
    whole = direct_grades(FakeScene(pre, post), model)
    before = direct_grades(FakeScene(pre, post), GradedModel(1, 0))
    cut = model.rules.dilated(np.where(inside, before, np.uint8(0)))
    assert (cut[inside] != whole[inside]).any()  # something outside does grow into it
    scene = FakeScene(pre, post, region=Window(4, 4, 32, 32), inside=inside)
    found = assemble_grades(predict(scene, model, with_grades=True), (40, 40))
    assert np.array_equal(found[inside], whole[inside])
    hidden = ~inside[4:36, 4:36]
    assert (found[4:36, 4:36][hidden] == 0).all()


def test_grades_change_nothing_else_and_come_only_when_asked():
    scene = FakeScene(*random_images(50, 50, 2))
    model = GradedModel(1, 5, halo=4)
    plain, graded = list(predict(scene, model)), list(predict(scene, model, with_grades=True))
    for a, b in zip(plain, graded, strict=True):
        assert a.grades is None
        assert b.grades.shape == b.window.shape
        assert np.array_equal(a.probabilities, b.probabilities)
        assert np.array_equal(a.missing, b.missing)


def test_rules_that_look_beyond_the_halo_are_refused():
    scene = FakeScene(*random_images(50, 50, 2))
    with pytest.raises(ModelError, match="need 5 pixels around a pixel, and its halo has 4"):
        predict(scene, GradedModel(1, 11, halo=4), with_grades=True)


def test_blocks_of_columns_do_not_change_the_result():
    scene = FakeScene(*random_images(40, 60, 0))
    model = BoxModel(2, halo=4, stride=4, tile=20)
    expected = direct(scene, model)
    for columns in (1, 2, 3):
        memory = memory_for(scene, model, tile=None, batch=2, columns=columns)
        strips = list(predict(scene, model, batch=2, memory=memory))
        assert {strip.window.width for strip in strips} >= {12 * columns}
        found, _, times = assemble(strips, scene.grid.shape)
        assert (times == 1).all()
        assert np.array_equal(found, expected)


def test_the_windows_of_a_model_have_the_planned_size():
    scene = FakeScene(*random_images(50, 70, 0))
    model = BoxModel(2, halo=3, stride=4, tile=24)
    assemble(predict(scene, model, batch=3), scene.grid.shape)
    plan = make_plan(scene.region, model.card, batch=3)
    assert {asked[0].shape[2:] for asked in model.asked} == {plan.window}
    assert {len(asked[0]) for asked in model.asked} <= {1, 2, 3}


def test_a_model_without_bounds_sees_the_windows_of_its_card():
    scene = FakeScene(*random_images(50, 70, 0))
    model = BoxModel(2, halo=3, stride=4, tile=24, context="global")
    _, _, times = assemble(predict(scene, model), scene.grid.shape)
    assert (times == 1).all()
    assert {asked[0].shape[2:] for asked in model.asked} == {(24, 24)}


def test_a_scene_is_read_once_but_for_the_halo():
    scene = FakeScene(*random_images(64, 40, 0))
    model = BoxModel(2, halo=4, stride=4, tile=24)
    assemble(predict(scene, model), scene.grid.shape)
    assert sum(window.height for window in scene.read_windows) == 64 + 2 * 4


def test_the_halo_is_mirrored_only_beyond_the_extent():
    pre, post = random_images(40, 40, 3)
    model = BoxModel(0, halo=4, stride=4, tile=24)
    scene = FakeScene(pre, post, corner=(4, 8), region=Window(20, 24, 8, 8))
    assemble(predict(scene, model), scene.grid.shape)
    # Well inside: what the model sees around its core are the pixels that are there.
    (asked,) = model.asked
    assert np.array_equal(asked[0][0], pre[:, 12:28, 12:28])
    model.asked.clear()
    scene = FakeScene(pre, post, corner=(4, 8), region=Window(4, 8, 8, 8))
    assemble(predict(scene, model), scene.grid.shape)
    (asked,) = model.asked
    mirrored = np.pad(pre, [(0, 0), (4, 0), (4, 0)], "reflect")
    assert np.array_equal(asked[0][0], mirrored[:, :16, :16])


def test_an_area_of_interest_limits_the_output_and_not_the_halo():
    pre, post = random_images(40, 40, 5)
    inside = np.zeros((40, 40), bool)
    inside[13:22, 14:23] = True
    inside[13, 14] = False
    narrow = FakeScene(pre, post, region=Window(13, 14, 9, 9), inside=inside)
    model = BoxModel(2, halo=2, stride=1, tile=12)
    found, missing, _ = assemble(predict(narrow, model), narrow.grid.shape)
    whole = direct(FakeScene(pre, post), BoxModel(2))
    shown = inside & np.isfinite(found[0])
    assert shown.sum() == 80
    assert np.array_equal(found[:, shown], whole[:, shown])
    assert found[0, 13, 14] == 1
    assert missing[13, 14] & OUTSIDE_AOI
    assert missing[16, 14] & NEAR_MISSING
    assert not missing[16, 18]


def test_windows_without_a_pixel_that_both_dates_show_never_reach_the_model():
    pre, post = random_images(32, 64, 7)
    missing = np.zeros((32, 64), np.uint8)
    missing[:, :32] = MISSING_PRE
    missing[:, 32:48] = MISSING_POST
    missing[0:16, 60] = MISSING_PRE
    model = BoxModel(1, halo=2, stride=2, tile=20)
    scene = FakeScene(pre, post, missing=missing)
    found, flags, _ = assemble(predict(scene, model, batch=2), (32, 64))
    assert sum(len(asked[0]) for asked in model.asked) == 4  # the third has pixels beside the last
    hidden = missing > 0
    beside = np.zeros_like(hidden)
    beside[:, 47] = True
    assert (found[0][hidden & ~beside] == 1).all()
    assert (found[0][beside] < 1).all()
    assert (found[1:, hidden] == 0).all()
    assert (found[0][~hidden] < 1).all()
    assert np.array_equal(flags & 3, missing)
    assert not (flags & OUTSIDE).any()


def test_a_scene_without_a_pixel_is_background_unasked():
    model = BoxModel(1)
    missing = np.full((20, 20), MISSING_POST, np.uint8)
    scene = FakeScene(*random_images(20, 20, 0), missing=missing)
    found, _, times = assemble(predict(scene, model), (20, 20))
    assert not model.asked
    assert (times == 1).all()
    assert (found[0] == 1).all()


# errors and threads


class FailingScene(FakeScene):
    def read(self, window):
        if window.row > 20:
            raise SceneReadError("pre.tif: block (2, 0) is damaged")
        return super().read(window)


def test_an_error_of_the_reader_arrives_at_the_caller():
    scene = FailingScene(*random_images(80, 20, 0))
    strips = predict(scene, BoxModel(1, tile=24), tile=24)
    with pytest.raises(SceneReadError, match="block"):
        list(strips)
    assert not workers()


class FailingModel(BoxModel):
    def __call__(self, pre, post):
        if len(self.asked) == 2:
            raise ModelError("it broke")
        return super().__call__(pre, post)


def test_an_error_of_the_model_arrives_at_the_caller_and_ends_the_reader():
    scene = FakeScene(*random_images(200, 20, 0))
    strips = predict(scene, FailingModel(1, tile=24))
    with pytest.raises(ModelError, match="it broke") as caught:
        list(strips)
    # Even while someone holds the error with its traceback.
    assert caught.value is not None
    assert not workers()


def test_stopping_in_the_middle_ends_both_threads():
    scene = FakeScene(*random_images(200, 20, 0))
    strips = predict(scene, BoxModel(1, tile=24))
    next(strips)
    assert workers()
    strips.close()
    assert not workers()
    read = len(scene.read_windows)
    time.sleep(0.2)
    assert len(scene.read_windows) == read < 14


def test_a_plan_can_be_run_by_itself():
    scene = FakeScene(*random_images(30, 30, 1))
    model = BoxModel(1)
    plan = make_plan(scene.region, model.card)
    a, _, _ = assemble(run_plan(scene, model, plan), (30, 30))
    b, _, _ = assemble(predict(scene, model), (30, 30))
    assert np.array_equal(a, b)
