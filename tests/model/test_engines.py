import numpy as np
import pytest

from geodamage.errors import DeviceError, ModelError, OptionError
from geodamage.model import engines
from geodamage.model.engines import Verdict, cache_folder, keep, kept_verdict
from geodamage.model.onnx import Model
from geodamage.model.openvino import OpenVinoSession, openvino_version
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

    monkeypatch.setattr(engines, "_difference", compare)
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
        with pytest.raises(ModelError, match=r"m\.onnx: OpenVINO says up to .* leave --engine out"):
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
    for name, value in (("_processor", ["other"]), ("openvino_version", "0")):
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
