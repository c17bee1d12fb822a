from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest

from geodamage.errors import DeviceError
from geodamage.model import session as models
from geodamage.model.card import with_card
from geodamage.model.onnx import Model
from geodamage.model.session import available_devices
from geodamage.optimise.precision import compute_half
from tests.convolutions import convolution_bytes, write_convolutions
from tests.fakes import make_card

EVERY = [f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "OpenVINO", "CPU")]


def chosen(device, *, there=EVERY, threads=0, **facts):
    runtime = SimpleNamespace(get_available_providers=lambda: there)
    return models._providers(runtime, device, make_card(**facts), threads)


def test_openvino_keeps_to_single_precision_and_to_its_threads():
    (name, options), last = chosen("openvino", threads=2)
    assert name == "OpenVINOExecutionProvider"
    assert options == {"device_type": "CPU", "precision": "FP32", "num_of_threads": 2}
    assert last == "CPUExecutionProvider"
    assert "num_of_threads" not in chosen("openvino")[0][1]


@pytest.mark.parametrize(("precision", "half"), [("fp32", False), ("half", True), ("fp16", False)])
def test_tensorrt_computes_in_half_only_where_the_model_does(precision, half):
    (name, options), cuda, last = chosen("tensorrt:1", precision=precision)
    assert name == "TensorrtExecutionProvider"
    assert options == {"device_id": 1, "trt_fp16_enable": half}
    assert cuda == ("CUDAExecutionProvider", {"device_id": 1})
    assert last == "CPUExecutionProvider"


def test_auto_takes_cuda_and_nothing_that_needs_more_care():
    assert chosen("auto")[0] == ("CUDAExecutionProvider", {"device_id": 0})
    assert chosen("auto", there=EVERY[2:]) == ["CPUExecutionProvider"]


@pytest.mark.parametrize("device", ["openvino:0", "tensorrt:x", "Tensorrt", "npu", "cpu:", "cuda:"])
def test_an_unknown_device_is_refused(device):
    with pytest.raises(DeviceError, match=f"{device}.*give auto, cpu"):
        chosen(device)


@pytest.mark.parametrize(
    ("device", "extra"), [("openvino", "openvino"), ("tensorrt", "gpu"), ("cuda:1", "gpu")]
)
def test_what_is_not_there_is_named_with_the_wheel_that_has_it(device, extra):
    with pytest.raises(DeviceError) as caught:
        chosen(device, there=["CPUExecutionProvider"])
    message = str(caught.value)
    assert f'pip uninstall onnxruntime and pip install ".[{extra}]"' in message
    assert "both own the same module" in message
    assert "\n" not in message


def test_a_device_that_falls_back_is_refused(tmp_path, monkeypatch):
    path = write_convolutions(tmp_path / "own.onnx")
    monkeypatch.setattr(models, "_providers", lambda *words: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="ONNX Runtime could not start OpenVINO"):
        Model(path, device="openvino")


def test_the_processor_is_always_there():
    assert available_devices()[0] == "cpu"


def needs(provider):
    return pytest.mark.skipif(
        f"{provider}ExecutionProvider" not in onnxruntime.get_available_providers(),
        reason=f"this onnxruntime has no {provider} provider",
    )


def says_the_same(tmp_path, device, precision, tolerance):
    blob = convolution_bytes()
    if precision == "half":
        blob = compute_half(blob, "own")
    path = tmp_path / "own.onnx"
    path.write_bytes(with_card(blob, make_card(stride=16, tile=96, precision=precision)))
    plain = write_convolutions(tmp_path / "plain.onnx")
    images = np.random.default_rng(0).integers(0, 256, (2, 1, 3, 96, 96), np.uint8)
    ours, theirs = Model(plain, device="cpu")(*images), Model(path, device=device)(*images)
    for one, other in zip(ours, theirs, strict=True):
        assert np.abs(one - other).max() < tolerance


@pytest.mark.gpu
@needs("CUDA")
def test_half_says_the_same_on_cuda(tmp_path):
    says_the_same(tmp_path, "cuda", "half", 0.1)


@pytest.mark.gpu
@needs("Tensorrt")
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-2), ("half", 0.1)])
def test_tensorrt_says_the_same(tmp_path, precision, tolerance):
    says_the_same(tmp_path, "tensorrt", precision, tolerance)


@needs("OpenVINO")
def test_openvino_says_the_same(tmp_path):
    says_the_same(tmp_path, "openvino", "fp32", 1e-2)
