import dataclasses

import pytest

from geodamage.errors import DeviceError, ModelNotFoundError, OptionError
from geodamage.model import engines
from geodamage.model.ground import more_ground
from geodamage.model.openvino import has_bfloat16
from geodamage.optimise import timings
from geodamage.optimise.timings import Memory, TimingJob, best, measure_memory, time_models
from tests.conftest import make_model
from tests.convolutions import write_convolutions


@pytest.fixture
def no_process(monkeypatch, tmp_path):
    monkeypatch.setattr(timings, "measure_memory", lambda *args, **options: Memory(1, 2))
    monkeypatch.setattr(engines, "cache_folder", lambda: tmp_path / "engines")


@pytest.fixture(autouse=True)
def without_openvino(monkeypatch):
    monkeypatch.setattr(timings, "openvino_version", lambda: None)


def run(*models, **options):
    work = time_models(TimingJob(models=models, rounds=2, **options))
    return list(work), work.result()


@pytest.fixture
def family(tmp_path):
    parent = write_convolutions(tmp_path / "own.onnx")
    sha256 = timings.read_model(parent).card.sha256
    child = write_convolutions(
        tmp_path / "own-int8.onnx", precision="int8", parent_sha256=sha256, scale=0.9
    )
    return parent, child


def test_each_is_asked_in_turns_and_compared_with_its_parent(family, no_process):
    steps, (parent, child) = run(*family, devices=("cpu",))
    assert [step.done for step in steps] == [1, 2, 3, 4, 5, 6]
    assert parent.ratio == 1.0
    expected = [a / b for a, b in zip(parent.seconds, child.seconds, strict=True)]
    assert child.ratio == pytest.approx(sum(expected) / 2)
    assert len(child.seconds) == 2


def test_the_rate_counts_what_a_scene_gets(family, no_process):
    _, (parent, _) = run(*family, devices=("cpu",))
    # The halo of 8 pixels is one stride of 16 on each side of 96.
    assert parent.core_pixels == 64**2
    middle = sum(parent.seconds) / 2
    assert parent.rate == pytest.approx(64**2 / 1e6 / middle)
    assert parent.as_dict()["memory_bytes"] == {"resident": 1, "working": 2}


def test_another_window_may_be_asked_for(family, no_process):
    _, (parent, _) = run(*family, devices=("cpu",), tile=128)
    assert parent.core_pixels == 96**2
    with pytest.raises(OptionError, match="--tile 100: must be a multiple of 16"):
        run(*family, tile=100)


def test_a_model_without_its_parent_has_no_ratio(family, no_process):
    _, (child,) = run(family[1], devices=("cpu",))
    assert child.ratio is None


def test_the_best_is_the_fastest_that_can_be_trusted(family, no_process):
    _, (parent, child) = run(*family, devices=("cpu",))
    parent.seconds, child.seconds = [1.0], [0.5]
    assert best([parent, child]) is child
    child.card = dataclasses.replace(child.card, parity={"passed": False})
    assert best([parent, child]) is parent
    assert best([]) is None


@pytest.mark.slow
@pytest.mark.skipif(engines.openvino_version() is None, reason="openvino is not installed")
def test_openvino_takes_its_turns_and_its_speed_is_kept(family, no_process, monkeypatch):
    monkeypatch.setattr(timings, "openvino_version", engines.openvino_version)
    _, (plain, ours) = run(family[0], devices=("cpu",))
    assert [plain.engine, ours.engine] == ["onnxruntime", "openvino"]
    verdict = engines.kept_verdict(plain.file.card)
    assert verdict.is_right
    # By processor time, as `--engine auto` measures it.
    expected = min(plain.processor) / min(ours.processor)
    expected *= more_ground(ours.card, plain.card)
    assert verdict.speed == ours.speed == pytest.approx(expected)
    assert ours.as_dict()["speed_for_auto"] == round(ours.speed, 3)
    assert plain.speed is None


@pytest.mark.slow
@pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")
def test_bfloat16_takes_its_turns_where_the_card_allows_it(tmp_path, no_process, monkeypatch):
    monkeypatch.setattr(timings, "openvino_version", engines.openvino_version)
    path = write_convolutions(tmp_path / "own.onnx", parity={"bfloat16": {"passed": True}})
    _, found = run(path, devices=("cpu",))
    assert [timing.card.precision for timing in found] == ["fp32", "fp32", "bfloat16"]
    assert [timing.asked for timing in found] == ["stored", "stored", "bfloat16"]
    verdict = engines.kept_verdict(found[0].file.card, "bfloat16")
    assert verdict.is_right
    assert verdict.speed == found[2].speed
    expected = min(found[0].processor) / min(found[2].processor)
    expected *= more_ground(found[2].card, found[0].card)
    assert found[2].speed == pytest.approx(expected)
    assert found[2].as_dict()["precision"] == "bfloat16"


@pytest.mark.slow
@pytest.mark.skipif(engines.openvino_version() is None, reason="openvino is not installed")
def test_a_model_that_openvino_gets_wrong_is_timed_without_it(family, no_process, monkeypatch):
    monkeypatch.setattr(timings, "openvino_version", engines.openvino_version)
    card = timings.read_model(family[0]).card
    engines.keep(card, engines.Verdict(0.5))
    steps, (plain,) = run(family[0], devices=("cpu",))
    assert plain.engine == "onnxruntime"
    assert "leave --engine out" in steps[0].note
    assert engines.kept_verdict(card).speed is None


def test_a_device_that_was_asked_for_must_be_there(family):
    with pytest.raises(DeviceError, match="no OpenVINO provider"):
        run(family[0], devices=("openvino",))


def test_a_device_that_does_not_start_is_left_out_where_nobody_asked(
    family, no_process, monkeypatch
):
    monkeypatch.setattr(timings, "available_devices", lambda: ("cpu", "cuda"))
    steps, found = run(family[0])
    assert [timing.device for timing in found] == ["cpu"]
    assert "no CUDA provider" in steps[0].note


def test_the_bundled_models_are_timed_unless_others_are_given(monkeypatch, tmp_path, no_process):
    path = make_model(tmp_path / "only.onnx")
    monkeypatch.setattr(timings, "bundled_models", lambda: {"only": path})
    monkeypatch.setattr(timings, "read_model", lambda source: _read(path))
    _, (only,) = run(devices=("cpu",))
    assert only.file.path == path


_read = timings.read_model


def test_what_is_not_there_is_not_timed():
    with pytest.raises(ModelNotFoundError):
        run("absent.onnx")


@pytest.mark.slow
def test_memory_is_measured_in_a_process_of_its_own(family):
    memory = measure_memory(family[0], 96)
    if memory is not None:
        assert 0 <= memory.working < 1e9
        assert 0 <= memory.resident < 1e9
    with pytest.raises(timings.ModelError, match="its memory cannot be measured"):
        measure_memory("absent.onnx", 96)


def test_no_round_is_no_timing():
    with pytest.raises(OptionError, match="--rounds 0"):
        TimingJob(rounds=0)
