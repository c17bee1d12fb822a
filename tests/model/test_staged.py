import numpy as np
import pytest

from geodamage.errors import ModelError
from geodamage.model import engines, staged
from geodamage.model.loading import load_model
from geodamage.model.onnx import Model
from geodamage.model.openvino import has_bfloat16, openvino_version
from geodamage.model.staged import StagedParts, StagedSession
from tests.model.small_models import images
from tests.siamese import strided_bytes, write_siamese

needs_openvino = pytest.mark.skipif(openvino_version() is None, reason="openvino is not installed")
ENGINES = ["onnxruntime", pytest.param("openvino", marks=needs_openvino)]
#: What this small model needs of a card.
FACTS = {"stride": 4, "halo": 16, "tile": 96}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture
def path(tmp_path):
    return write_siamese(tmp_path / "m.onnx", strided_bytes(), **FACTS)


@pytest.mark.parametrize("engine", ENGINES)
def test_stages_say_what_the_whole_says(path, engine):
    model = Model(path, engine=engine, threads=1)
    session = model.staged
    assert (session.first, session.margin, session.halo) == (2, 4, 20)
    # 4 channels of 4 bytes: at steps 2, 4 and 4 of either date, and at 2 beside a localisation.
    assert (session.bytes_kept, session.bytes_given) == (6, 8)
    pair = [np.repeat(image, 2, 0) for image in images(48, 32)]
    expected = model(*pair)
    said = session.run(["localisation", "damage"], dict(zip(("pre", "post"), pair, strict=True)))
    assert np.ptp(said[0]) > 0.1
    for ours, theirs in zip(said, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_stages_of_the_bundled_models_say_the_same(name, engine):
    model = load_model(name, engine=engine, threads=1)
    pair = images(96, 128)
    said = model.staged.run(
        ["localisation", "damage"], dict(zip(("pre", "post"), pair, strict=True))
    )
    for ours, theirs in zip(said, model(*pair), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_stages_that_answer_otherwise_are_not_taken(path, monkeypatch):
    grade = StagedSession.grade
    monkeypatch.setattr(StagedSession, "grade", lambda *given: np.roll(grade(*given), 1, 1))
    for _ in range(2):  # looked at, and then known
        assert Model(path, engine="onnxruntime").staged is None


def test_a_model_without_stages_or_that_is_gone_has_none(tmp_path, path):
    assert Model(write_siamese(tmp_path / "one.onnx"), engine="onnxruntime").staged is None
    model, other = (Model(path, engine="onnxruntime") for _ in range(2))
    path.unlink()
    assert model.staged is None
    write_siamese(path)
    assert other.staged is None


def test_what_a_stage_cannot_compute_is_one_line(path):
    session = Model(path, engine="onnxruntime").staged
    with pytest.raises(ModelError, match=r"m\.onnx: does not run on \(1, 2, 8, 8\): .*--tile"):
        session.see(0, np.zeros((1, 2, 8, 8), np.uint8))


@needs_openvino
def test_compiled_stages_are_kept_and_answer_the_same(path, monkeypatch):
    first = Model(path, engine="openvino", threads=1)
    expected = first.staged.find(first.staged.seen(images(64, 64)[0]))[0]
    given = []
    start = staged._start
    monkeypatch.setattr(staged, "_start", lambda *how: given.append(how[-1]) or start(*how))
    again = Model(path, engine="openvino", threads=1)
    found = again.staged.find(again.staged.seen(images(64, 64)[0]))[0]
    np.testing.assert_array_equal(found, expected)
    assert given
    small = len(strided_bytes()) < engines.TIMED_BYTES
    assert all(isinstance(compiled, bytes) for compiled in given) or not small


@pytest.mark.skipif(not has_bfloat16(), reason="no OpenVINO, or no bfloat16 here")
@pytest.mark.parametrize("in_stages", [True, False])
def test_in_bfloat16_windows_are_computed_in_stages_too_or_nothing_is(tmp_path, in_stages):
    facts = {"passed": True, "in_parts": True, "in_stages": in_stages}
    path = write_siamese(tmp_path / "m.onnx", strided_bytes(), parity={"bfloat16": facts}, **FACTS)
    model = Model(path, engine="openvino", precision="bfloat16", threads=1)
    assert (model.staged is not None) == in_stages
    assert isinstance(model._session, StagedParts) == in_stages
    if in_stages:
        # Half the bytes of single precision, beside the localisation.
        assert (model.staged.bytes_kept, model.staged.bytes_given) == (3, 6)
        pre, post = images(48, 48)
        assert {array.dtype for array in model.staged.seen(pre).values()} == {np.dtype("f2")}
        localisation, features = model.find(pre)
        ours, theirs = model.staged.find(model.staged.seen(pre)), model(pre, post)
        np.testing.assert_array_equal(localisation, ours[0])
        np.testing.assert_array_equal(localisation, theirs.localisation)
        np.testing.assert_array_equal(model.grade(post, features), theirs.damage)
