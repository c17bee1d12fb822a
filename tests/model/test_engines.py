import numpy as np
import pytest

from geodamage.errors import DeviceError, ModelError, OptionError
from geodamage.model import compiled, engines, openvino
from geodamage.model.card import read_card
from geodamage.model.engines import Verdict, keep, kept_verdict
from geodamage.model.ground import more_ground
from geodamage.model.kept import cache_folder
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.model.openvino import OpenVinoSession, has_bfloat16, openvino_version
from tests.fakes import make_card, write_pointwise

pytestmark = pytest.mark.skipif(openvino_version() is None, reason="openvino is not installed")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "cache_folder", lambda: tmp_path / "cache" / "engines")
    return tmp_path / "cache" / "engines"


@pytest.fixture
def path(tmp_path):
    return write_pointwise(tmp_path / "m.onnx")


@pytest.mark.slow
def test_a_model_is_compared_once_and_the_verdict_is_kept(path, folder, monkeypatch):
    Model(path, engine="openvino")
    (kept,) = folder.iterdir()
    assert kept.suffix == ".json"

    def compare(*given):
        raise AssertionError("compared again")

    monkeypatch.setattr(engines, "difference", compare)
    assert Model(path, engine="openvino").provider.startswith("CPU, OpenVINO")
    with pytest.raises(AssertionError, match="compared again"):
        Model(write_pointwise(path.with_name("n.onnx"), "damage"), engine="openvino")


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [0.01, np.nan])
def test_what_answers_otherwise_is_refused_again_and_again(path, wrong, monkeypatch):
    run = OpenVinoSession.run

    def shifted(session, names, images):
        return [head + np.float32(wrong) for head in run(session, names, images)]

    monkeypatch.setattr(OpenVinoSession, "run", shifted)
    for _ in range(2):
        with pytest.raises(ModelError, match=r"OpenVINO differs by up to .* leave --engine out"):
            Model(path, engine="openvino")


def test_what_does_not_run_is_refused(path, monkeypatch):
    def run(session, names, images):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(OpenVinoSession, "run", run)
    with pytest.raises(ModelError, match="leave --engine out"):
        Model(path, engine="openvino")


@pytest.mark.parametrize(
    ("verdict", "runtime"),
    [
        (None, "ONNX Runtime"),
        (Verdict(0.0), "ONNX Runtime"),
        (Verdict(0.0, 1.05), "ONNX Runtime"),
        (Verdict(0.5, 3.0), "ONNX Runtime"),
        (Verdict(1e-6, 1.5), "OpenVINO"),
    ],
)
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_auto_takes_openvino_only_where_it_is_known_to_be_right_and_faster(
    path, verdict, runtime, device, monkeypatch
):
    monkeypatch.setattr(engines, "available_devices", lambda: ("cpu",))
    if verdict is not None:
        keep(Model(path).card, verdict)
    assert Model(path, device=device).provider.startswith(f"CPU, {runtime}")


def test_with_cuda_auto_leaves_the_processor_out(monkeypatch):
    monkeypatch.setattr(engines, "available_devices", lambda: ("cuda", "cpu"))
    assert engines.on_processor("cpu")
    assert not engines.on_processor("auto")
    assert not engines.on_processor("cuda:0")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"difference":"0"}', b'{"difference":0,"a":1}'])
def test_a_damaged_verdict_is_none(path, folder, content):
    card = Model(path).card
    keep(card, Verdict(1e-6, 1.5))
    (kept,) = folder.iterdir()
    kept.write_bytes(content)
    assert kept_verdict(card) is None
    assert Model(path).provider.startswith("CPU, ONNX Runtime")


def test_another_model_processor_or_version_has_another_verdict(monkeypatch):
    keep(make_card(sha256="a"), Verdict(1e-6, 1.5))
    assert kept_verdict(make_card(sha256="a")) == Verdict(1e-6, 1.5)
    assert kept_verdict(make_card(sha256="b")) is None
    for name, value in (("processor", ["other"]), ("openvino_version", "0")):
        with monkeypatch.context() as patch:
            patch.setattr(engines, name, lambda value=value: value)
            assert kept_verdict(make_card(sha256="a")) is None


def test_a_folder_that_cannot_be_written_is_no_error(path, folder):
    folder.parent.write_text("a file")
    assert Model(path, engine="openvino").provider.startswith("CPU, OpenVINO")


def test_without_openvino_nothing_is_known(path, monkeypatch):
    card = Model(path).card
    keep(card, Verdict(1e-6, 1.5))
    monkeypatch.setattr(engines, "openvino_version", lambda: None)
    assert kept_verdict(card) is None
    assert Model(path).provider.startswith("CPU, ONNX Runtime")


def test_openvino_runs_on_the_processor_alone(path):
    with pytest.raises(DeviceError, match="--engine openvino: runs on the processor, not on cuda"):
        Model(path, engine="openvino", device="cuda")


def test_an_engine_that_is_none_is_refused(path):
    with pytest.raises(OptionError, match="--engine tflite: unknown"):
        Model(path, engine="tflite")


def test_verdicts_lie_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "geodamage" / "engines"


# what is measured unasked


@pytest.fixture
def timed(monkeypatch):
    """Let small files be timed; return what was timed, and let a test say how fast it is."""
    asked = []
    monkeypatch.setattr(engines, "TIMED_BYTES", 0)

    def times_as_fast(session, reference, card):
        asked.append(session)
        return times_as_fast.speed

    times_as_fast.speed, times_as_fast.asked = 2.0, asked
    monkeypatch.setattr(engines, "_times_as_fast", times_as_fast)
    return times_as_fast


@pytest.mark.parametrize(("speed", "runtime"), [(2.0, "OpenVINO"), (1.05, "ONNX Runtime")])
def test_auto_looks_once_which_engine_is_faster(path, timed, speed, runtime):
    timed.speed = speed
    for _ in range(2):
        assert Model(path, device="cpu").provider.startswith(f"CPU, {runtime}")
    assert len(timed.asked) == 1
    # OpenVINO needs more memory, so its windows are smaller, though hardly without a halo.
    assert kept_verdict(Model(path).card).speed == pytest.approx(speed, rel=0.01)


def test_workers_that_look_at_once_choose_what_the_first_one_found(path, timed, monkeypatch):
    def times_as_fast(session, reference, card):
        engines.keep(card, engines.Verdict(0.0, 0.9, "float32"))  # another worker was first
        return 2.0

    monkeypatch.setattr(engines, "_times_as_fast", times_as_fast)
    for _ in range(2):
        assert Model(path, device="cpu").provider.startswith("CPU, ONNX Runtime")
    assert kept_verdict(Model(path).card).speed == 0.9


@pytest.mark.parametrize(
    "how", [{"engine": "onnxruntime"}, {"engine": "openvino"}, {"device": "openvino"}]
)
def test_nothing_is_timed_where_the_engine_is_named(path, timed, how):
    if "device" in how and "openvino" not in engines.available_devices():
        pytest.skip("this ONNX Runtime has no such provider")
    Model(path, **how)
    assert not timed.asked


def test_small_files_are_not_timed(path, timed, monkeypatch):
    monkeypatch.setattr(engines, "TIMED_BYTES", 1 + path.stat().st_size)
    assert Model(path, device="cpu").provider.startswith("CPU, ONNX Runtime")
    assert not timed.asked


def test_what_differs_is_not_timed_and_looked_at_once(path, timed, monkeypatch):
    looked = []

    def differ(session, reference, card):
        looked.append(session)
        return 0.01

    for module in (compiled, engines):
        monkeypatch.setattr(module, "difference", differ)
    for _ in range(2):
        assert Model(path, device="cpu").provider.startswith("CPU, ONNX Runtime")
    # Once with ONNX Runtime, and once with what is kept of the compiled graph.
    assert (len(looked), len(timed.asked)) == (2, 0)


def test_what_openvino_refuses_is_left_to_onnx_runtime(path, timed, monkeypatch):
    def refuse(*given):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(engines, "_openvino_session", refuse)
    assert Model(path, device="cpu").provider.startswith("CPU, ONNX Runtime")
    assert not kept_verdict(Model(path).card).is_right


def test_a_folder_that_cannot_be_written_is_measured_each_time(path, folder, timed):
    folder.parent.write_text("a file")
    for _ in range(2):
        assert Model(path, device="cpu").provider.startswith("CPU, OpenVINO")
    assert len(timed.asked) == 2


class Clocked:
    """A session whose calls take what they are told on a clock."""

    def __init__(self, clock, steps):
        self.clock, self.steps, self.shapes = clock, iter(steps), set()

    def get_inputs(self):
        return [openvino.Port("pre", (None, 3, None, None))]

    def get_outputs(self):
        return [openvino.Port("localisation", (None, 1, None, None))]

    def run(self, names, images):
        self.clock[0] += next(self.steps)
        self.shapes.add(images["pre"].shape)


def test_the_best_round_counts_and_the_first_does_not():
    clock = [0.0]
    slow, fast = Clocked(clock, [9, 6, 4, 5]), Clocked(clock, [0.1, 2, 9, 3])
    card = make_card(task="localisation")
    assert engines._times_as_fast(fast, slow, card, lambda: clock[0]) == pytest.approx(4 / 2)
    ((count, _, rows, columns),) = fast.shapes | slow.shapes
    assert count == 1
    assert min(rows, columns) >= 512


# precision

PASSED = {"bfloat16": {"passed": True, "halo": 8, "bytes_per_pixel": 7.5}}
needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")


@pytest.fixture
def allowed(tmp_path):
    return write_pointwise(tmp_path / "b.onnx", parity=PASSED)


@needs_bfloat16
def test_in_bfloat16_the_card_says_what_was_measured_of_it(allowed):
    single = Model(allowed, engine="openvino")
    model = Model(allowed, precision="bfloat16")
    assert model.provider == f"CPU, OpenVINO {openvino_version()}, bfloat16"
    assert (single.card.precision, model.card.precision) == ("fp32", "bfloat16")
    assert (single.card.halo, model.card.halo) == (0, 8)
    assert model.card.bytes_per_pixel == 7.5
    assert model.card.parity["passed"] is True
    known = [kept_verdict(model.card, name) for name in ("float32", "bfloat16")]
    assert [verdict.precision for verdict in known] == ["float32", "bfloat16"]
    assert all(verdict.is_right for verdict in known)


@needs_bfloat16
def test_auto_times_bfloat16_where_the_card_allows_it(allowed, timed):
    timed.speed = 12.0
    single = Model(allowed, device="cpu", precision="stored")
    assert "bfloat16" not in single.provider
    assert len(timed.asked) == 1
    keep(single.card, Verdict(1e-6, 1.5))
    half = Model(allowed, device="cpu", precision="auto")
    assert half.provider.endswith("bfloat16")
    # With a wider halo a window gives less ground.
    ground = more_ground(half.card, read_card(allowed.read_bytes(), "b.onnx"))
    assert ground < 1
    assert kept_verdict(single.card, "bfloat16").speed == pytest.approx(12.0 * ground)


@pytest.mark.parametrize(
    ("facts", "is_parted"),
    [({}, False), ({"passed": True}, False), ({"passed": True, "in_parts": True}, True)],
)
def test_in_bfloat16_the_graph_is_parted_only_where_that_was_measured(facts, is_parted):
    card = make_card(parity={"bfloat16": facts})
    assert engines._is_parted(card, "bfloat16") == is_parted
    assert engines._is_parted(card, "float32")
    whole = make_card(parity={"bfloat16": {"passed": True}})
    same = engines._place(card, "bfloat16") == engines._place(whole, "bfloat16")
    assert same == (not is_parted)  # a verdict on the whole is none on the parts


@pytest.mark.parametrize("parity", [{}, {"bfloat16": {"passed": False}}, {"bfloat16": 1}])
def test_bfloat16_needs_a_card_that_says_it_passed(tmp_path, parity):
    path = write_pointwise(tmp_path / "n.onnx", parity=parity)
    with pytest.raises(ModelError, match=r"bfloat16: the card of .* models optimise --precision"):
        Model(path, precision="bfloat16")
    keep(Model(path).card, Verdict(0.001, 9.0, "bfloat16"))
    assert Model(path, precision="auto").provider.startswith("CPU, ONNX Runtime")


def test_a_processor_without_bfloat16_is_one_line(allowed, monkeypatch):
    monkeypatch.setattr(openvino, "_has_bfloat16", lambda core: False)
    with pytest.raises(ModelError, match="this processor does not compute in bfloat16; leave --p"):
        Model(allowed, precision="bfloat16")
    assert not has_bfloat16()


@needs_bfloat16
@pytest.mark.parametrize(
    ("single", "half", "ending"),
    [
        (None, None, "ONNX Runtime"),
        (None, 1.05, "ONNX Runtime"),
        (None, 2.0, "bfloat16"),
        (1.5, 2.0, "bfloat16"),
        (1.5, 1.2, "OpenVINO"),
    ],
)
@pytest.mark.parametrize("engine", ["auto", "onnxruntime"])
def test_auto_takes_the_fastest_that_is_known(allowed, single, half, ending, engine):
    card = Model(allowed).card
    for speed, precision in ((single, "float32"), (half, "bfloat16")):
        if speed is not None:
            keep(card, Verdict(1e-6, speed, precision))
    model = Model(allowed, device="cpu", precision="auto", engine=engine)
    expected = "ONNX Runtime" if engine == "onnxruntime" else ending
    assert expected in model.provider
    assert ("bfloat16" in model.provider) == (expected == "bfloat16")
    # Nothing but `auto` changes what comes out.
    for precision in ("stored", "float32"):
        assert "bfloat16" not in Model(allowed, device="cpu", precision=precision).provider


@pytest.mark.parametrize(
    ("how", "error", "reason"),
    [
        ({"precision": "bfloat16", "engine": "onnxruntime"}, OptionError, "only OpenVINO"),
        ({"precision": "bfloat16", "device": "cuda"}, DeviceError, "--precision bfloat16: runs on"),
        ({"precision": "int8"}, ModelError, r"b\.onnx is fp32; leave --precision out"),
        ({"precision": "half"}, OptionError, "--precision half: unknown"),
    ],
)
def test_a_precision_that_cannot_be_had_is_refused(allowed, how, error, reason):
    with pytest.raises(error, match=reason):
        Model(allowed, **how)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_int8_file_is_computed_in_nothing_else(tmp_path, precision):
    path = write_pointwise(tmp_path / "i.onnx", precision="int8", parity=PASSED)
    with pytest.raises(ModelError, match=r"i\.onnx is int8; leave --precision out"):
        Model(path, precision=precision)
    assert Model(path, precision="int8").card.precision == "int8"


def test_no_file_says_bfloat16_of_itself(tmp_path):
    path = write_pointwise(tmp_path / "f.onnx", precision="bfloat16")
    with pytest.raises(ModelError, match="no file is stored in bfloat16"):
        Model(path)


def test_int8_is_the_variant_beside_the_model(tmp_path):
    parent = write_pointwise(tmp_path / "m.onnx")
    sha256 = Model(parent).card.sha256
    with pytest.raises(ModelError, match=r"no m-int8\.onnx beside .*; make one by"):
        load_model(parent, precision="int8")
    facts = {"name": "m-int8", "precision": "int8", "parent_sha256": sha256}
    variant = tmp_path / "m-int8.onnx"
    write_pointwise(variant, **facts, parity={"passed": True})
    for source in (parent, variant):
        assert load_model(source, precision="int8").card.name == "m-int8"
    write_pointwise(variant, **facts, parity={"passed": False})
    with pytest.raises(ModelError, match="does not say that grades stay the same"):
        load_model(parent, precision="int8")
    write_pointwise(variant, **(facts | {"parent_sha256": "other"}), parity={"passed": True})
    with pytest.raises(ModelError, match="was made of another model"):
        load_model(parent, precision="int8")
