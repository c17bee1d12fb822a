import numpy as np
import pytest

from geodamage.errors import ModelError, OptionError
from geodamage.model.ensemble import Ensemble, Member
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.model.rules import PixelRules
from geodamage.plan import make_plan
from geodamage.windows import Window
from tests.fakes import (
    BoxModel,
)
from tests.model.small_models import images, same, shaped_model, write_ensemble


def test_an_ensemble_file_loads_like_a_model(tmp_path):
    text = """
    threshold = 0.4
    grade_weights = [1, 1, 2, 1]
    [[member]]
    file = "a.onnx"
    weight = 2
    flips = ["none", "horizontal"]
    [[member]]
    file = "b.onnx"
    transpose = true
    scales = [1.0, 2.0]
    """
    path = write_ensemble(
        tmp_path,
        text,
        a={"task": "localisation", "stride": 4, "halo": 3, "licence": "MIT"},
        b={"task": "damage", "stride": 8, "halo": 5, "context": "global"},
    )
    ensemble = load_model(path, device="cpu")
    card = ensemble.card
    assert (card.name, card.task, card.threshold) == ("all", "assess", 0.4)
    assert card.grade_weights == (1, 1, 2, 1)
    assert (card.stride, card.context, card.licence) == (8, "global", "CC0-1.0 AND MIT")
    assert card.tile % card.stride == 0
    assert card.halo >= 5
    pre, post = images(16, 24)
    found = ensemble(pre, post)
    np.testing.assert_allclose(found.localisation, pre[:, :1] / 255, rtol=1e-5)
    assert found.damage.shape == (1, 4, 16, 24)


@pytest.mark.parametrize("scale", [0.5, 1.5, 2.0])
@pytest.mark.parametrize("radius", [0, 2])
def test_the_halo_of_an_ensemble_holds_all_it_sees(tmp_path, scale, radius):
    text = f'[[member]]\nfile = "a.onnx"\nscales = [{scale}]\n'
    path = write_ensemble(tmp_path, text, a={"halo": radius, "tile": 64, "stride": 4})
    card = load_model(path, device="cpu").card
    ensemble = Ensemble(card, [Member(BoxModel(radius), scales=(scale,))])
    size, core = 96, slice(36, 60)
    pre, _ = images(size, size)
    other = np.random.default_rng(9).integers(0, 256, pre.shape, np.uint8)
    kept = slice(core.start - card.halo, core.stop + card.halo)
    other[..., kept, kept] = pre[..., kept, kept]
    same(
        [head[..., core, core] for head in ensemble(pre, pre)],
        [head[..., core, core] for head in ensemble(other, other)],
    )


PIXELS = "[pixels]\nthresholds = [0.38, 0.13, 0.13, 0.14]\n"


@pytest.mark.parametrize("context", ["local", "global"])
@pytest.mark.parametrize(("dilation", "reach"), [(0, 0), (5, 2), (31, 15)])
def test_rules_for_pixels_widen_the_halo_by_what_they_look_at(tmp_path, context, dilation, reach):
    text = PIXELS + f'dilation = {dilation}\n[[member]]\nfile = "a.onnx"\n'
    path = write_ensemble(tmp_path, text, a={"halo": 6, "tile": 64, "context": context})
    ensemble = load_model(path, device="cpu")
    assert ensemble.rules == PixelRules((0.38, 0.13, 0.13, 0.14), dilation)
    assert ensemble.has_pixel_rules
    assert ensemble.card.halo == (6 + reach if context == "local" else max(6, reach))
    assert load_model(path, device="cpu", tta="flips").rules == ensemble.rules


def test_rules_that_leave_no_core_are_refused(tmp_path):
    text = PIXELS + 'dilation = 31\n[[member]]\nfile = "a.onnx"\n'
    with pytest.raises(ModelError, match="leaves no core inside halo 15"):
        load_model(write_ensemble(tmp_path, text), device="cpu")


def test_a_member_may_give_one_of_its_heads(tmp_path):
    text = """
    [[member]]
    file = "a.onnx"
    heads = ["localisation"]
    [[member]]
    file = "a.onnx"
    heads = ["damage"]
    flips = ["both"]
    """
    ensemble = load_model(write_ensemble(tmp_path, text), device="cpu")
    assert ensemble.card.task == "assess"
    assert ensemble.resident_bytes == (tmp_path / "a.onnx").stat().st_size
    same(ensemble(*images(8, 12)), Model(tmp_path / "a.onnx", device="cpu")(*images(8, 12)), 1e-6)
    alone = write_ensemble(tmp_path, '[[member]]\nfile = "a.onnx"\nheads = ["damage"]')
    ensemble = load_model(alone, device="cpu")
    assert ensemble.card.task == "damage"
    assert ensemble(*images(8, 12)).localisation is None


def test_every_file_of_an_ensemble_is_loaded_once(tmp_path, monkeypatch):
    text = '[[member]]\nfile = "a.onnx"\n[[member]]\nfile = "b.onnx"\nheads = ["damage"]\n'
    text += '[[member]]\nfile = "a.onnx"\nflips = ["both"]\n'
    loaded = []
    start = Model.__init__

    def noted(self, path, **options):
        loaded.append((path.name, options["keeps_memory"]))
        start(self, path, **options)

    monkeypatch.setattr(Model, "__init__", noted)
    path = write_ensemble(tmp_path, text, a={}, b={})
    ensemble = load_model(path, device="cpu")
    # Several sessions at rest must not each keep the memory of their last call.
    assert loaded == [("a.onnx", False), ("b.onnx", False)]
    sizes = [(tmp_path / name).stat().st_size for name in ("a.onnx", "b.onnx")]
    assert ensemble.resident_bytes == sum(sizes)


def test_nothing_is_loaded_before_all_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(Model, "__init__", lambda *_, **__: pytest.fail("loaded"))
    text = '[[member]]\nfile = "a.onnx"\n[[member]]\nfile = "a.onnx"\nweight = -1'
    for bad in (text, "colour = 1\n" + text[:26], "pixels = 3\n" + text[:26]):
        with pytest.raises(ModelError, match=r"weight of|unknown keys|is not a table"):
            load_model(write_ensemble(tmp_path, bad), device="cpu")


def test_a_global_ensemble_has_its_window_and_refuses_another(tmp_path):
    text = 'tile = 96\nhalo = 12\n[[member]]\nfile = "a.onnx"\n[[member]]\nfile = "b.onnx"\n'
    path = write_ensemble(tmp_path, text, a={"context": "global"}, b={"stride": 16, "tile": 64})
    card = load_model(path, device="cpu").card
    plan = make_plan(Window(0, 0, 500, 500), card, memory=1e10)
    assert (plan.window, plan.core, plan.halo) == ((96, 96), (64, 64), 16)
    with pytest.raises(OptionError, match=r"--tile 64: .* sees its whole window at once"):
        make_plan(Window(0, 0, 500, 500), card, tile=64)


@pytest.mark.parametrize(
    ("options", "good"), [("", True), ("scales = [1.0, 2.0]", False), ("tile", False)]
)
def test_a_member_of_one_size_is_asked_for_no_other(tmp_path, options, good):
    shaped_model(tmp_path / "s.onnx", size=(32, 32), context="global", tile=32)
    text = '[[member]]\nfile = "s.onnx"\n'
    text = "tile = 64\n" + text if options == "tile" else text + options
    path = write_ensemble(tmp_path, text)
    if good:
        load_model(path, device="cpu")
    else:
        with pytest.raises(ModelError, match=r"windows of 32 pixels alone.*asked for 64"):
            load_model(path, device="cpu")


def test_tta_asks_an_ensemble_as_well(tmp_path):
    path = write_ensemble(tmp_path, '[[member]]\nfile = "a.onnx"\n')
    plain, flipped = load_model(path, device="cpu"), load_model(path, device="cpu", tta="flips")
    same(plain(*images(8, 12)), flipped(*images(8, 12)), 1e-6)
    assert flipped.card == plain.card


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at least one"),
        ("member = 3", "at least one"),
        ("member = [3]", "member"),
        ("[[member", "not TOML"),
        ('[[member]]\nfile = "a.onnx"\ncolour = 1', r"unknown keys \['colour'\]"),
        ('colour = 1\n[[member]]\nfile = "a.onnx"', r"unknown keys \['colour'\]"),
        ("[[member]]\nweight = 1", "no file"),
        ('[[member]]\nfile = "../a.onnx"', "not beside the ensemble"),
        ('[[member]]\nfile = "/etc/a.onnx"', "not beside the ensemble"),
        ('[[member]]\nfile = "none.onnx"', "no such model file"),
        ('[[member]]\nfile = ".."', "regular file"),
        ('[[member]]\nfile = "a.onnx"\nflips = ["diagonal"]', "flips of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nflips = []', "flips of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nflips = 3', "flips of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nflips = [[]]', "flips of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nscales = [0]', "scales of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nscales = [nan]', "scales of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nscales = 2', "scales of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nweight = 0', "weight of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nweight = "1"', "weight of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nweight = nan', "weight of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\ntranspose = 1', "transpose of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nheads = []', "heads of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nheads = "damage"', "heads of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nheads = ["grade"]', "heads of a.onnx"),
        ('[[member]]\nfile = "a.onnx"\nheads = [1]', "heads of a.onnx"),
        ('pixels = 3\n[[member]]\nfile = "a.onnx"', "is not a table"),
        (PIXELS + 'square = 5\n[[member]]\nfile = "a.onnx"', r"unknown keys \['square'\]"),
        (PIXELS + 'dilation = 4\n[[member]]\nfile = "a.onnx"', "dilation = 4 is neither"),
        ('[pixels]\n[[member]]\nfile = "a.onnx"', "no thresholds"),
        ('threshold = 2\n[[member]]\nfile = "a.onnx"', "threshold"),
        ('threshold = "a"\n[[member]]\nfile = "a.onnx"', "fix the ensemble"),
        ('grade_weights = 3\n[[member]]\nfile = "a.onnx"', "fix the ensemble"),
    ],
)
def test_an_ensemble_that_makes_no_sense_is_refused(tmp_path, text, message):
    with pytest.raises(ModelError, match=message):
        load_model(write_ensemble(tmp_path, text), device="cpu")


def test_a_head_that_a_member_lacks_is_refused(tmp_path):
    text = '[[member]]\nfile = "a.onnx"\nheads = ["damage"]\n'
    with pytest.raises(ModelError, match=r"heads of a\.onnx .*localisation"):
        load_model(write_ensemble(tmp_path, text, a={"task": "localisation"}), device="cpu")
