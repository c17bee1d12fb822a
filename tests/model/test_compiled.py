"""What OpenVINO has compiled is kept for the next start."""

import os

import msgspec
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from geodamage.model import compiled, engines
from geodamage.model.card import with_card
from geodamage.model.kept import read_sealed, write_sealed
from geodamage.model.onnx import Model
from geodamage.model.openvino import OpenVinoSession, openvino_version
from tests.fakes import make_card, pointwise_bytes, write_pointwise
from tests.model.small_models import images
from tests.siamese import write_siamese

pytestmark = pytest.mark.skipif(openvino_version() is None, reason="openvino is not installed")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "cache_folder", lambda: tmp_path / "cache" / "engines")
    monkeypatch.setattr(engines, "TIMED_BYTES", 0)
    return tmp_path / "cache" / "compiled"


@pytest.fixture
def made(monkeypatch):
    """Return of each session in turn whether it was compiled, or what was kept of it."""
    ways = []
    begin = OpenVinoSession.__init__

    def noted(session, *given, compiled=None, **more):
        ways.append("compiled" if compiled is None else "kept")
        begin(session, *given, compiled=compiled, **more)

    monkeypatch.setattr(OpenVinoSession, "__init__", noted)
    return ways


def started(path, **how):
    return Model(path, engine="openvino", **how)


@pytest.mark.slow
@pytest.mark.parametrize("parts", [1, 2])
def test_a_model_is_compiled_once_and_answers_as_before(tmp_path, made, folder, parts):
    path = tmp_path / "m.onnx"
    if parts == 2:
        write_siamese(path)
    else:
        write_pointwise(path)
    first, again = started(path), started(path, threads=2)
    assert again.is_parted == (parts == 2)
    # Compiled, then what is kept compared with it, then what is kept alone.
    assert made == ["compiled"] * parts + ["kept"] * 2 * parts
    assert len(list(folder.iterdir())) == 1
    pair = images(64, 96)
    for some, other in zip(first(*pair), again(*pair), strict=True):
        np.testing.assert_array_equal(some, other)


def shift(path):
    """Change a weight of a model; its file stays as long as it is."""
    graph = onnx.load_from_string(pointwise_bytes())
    (offset,) = (one for one in graph.graph.initializer if one.name == "offset")
    offset.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(offset) + 1, "offset"))
    path.write_bytes(with_card(graph.SerializeToString(), make_card(halo=0)))


@pytest.mark.slow
def test_other_weights_version_or_processor_are_compiled_anew(tmp_path, made, folder, monkeypatch):
    path = write_pointwise(tmp_path / "m.onnx")
    before, facts = started(path), path.stat()
    shift(path)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_size == facts.st_size
    assert np.all(started(path)(*images(64, 64)).damage != before(*images(64, 64)).damage)
    for name, value in ((None, None), ("processor", ["other"]), ("openvino_version", "0")):
        made.clear()
        with monkeypatch.context() as patch:
            if name is not None:
                patch.setattr(engines, name, lambda value=value: value)
            started(path)
        assert made[0] == ("kept" if name is None else "compiled")
    assert len(list(folder.iterdir())) == 4


@pytest.mark.slow
def test_a_damaged_file_is_made_anew(tmp_path, made, folder):
    path = write_pointwise(tmp_path / "m.onnx")
    started(path)
    (place,) = folder.iterdir()
    whole = place.read_bytes()
    place.write_bytes(whole[:-9])
    made.clear()
    started(path)
    assert made == ["compiled", "kept"]
    assert read_sealed(place) is not None


@pytest.mark.slow
def test_what_openvino_does_not_take_is_compiled(tmp_path, made, folder):
    path = write_pointwise(tmp_path / "m.onnx")
    started(path)
    (place,) = folder.iterdir()
    write_sealed(place, msgspec.msgpack.encode([b"no model"]))
    made.clear()
    started(path)
    assert made == ["kept", "compiled", "kept"]
    assert len(msgspec.msgpack.decode(read_sealed(place))[0]) > 100


@pytest.mark.slow
def test_what_answers_otherwise_after_it_was_kept_is_never_used(
    tmp_path, made, folder, monkeypatch
):
    path = write_pointwise(tmp_path / "m.onnx")
    # The runtimes agree; what was kept is off by the last bit.
    for module, off in ((engines, 0.0), (compiled, 1e-7)):
        monkeypatch.setattr(module, "difference", lambda *given, off=off: off)
    for _ in range(2):
        made.clear()
        started(path)
    assert made == ["compiled"]
    (place,) = folder.iterdir()
    assert msgspec.msgpack.decode(read_sealed(place)) == []


def test_small_models_are_not_kept(tmp_path, made, folder, monkeypatch):
    path = write_pointwise(tmp_path / "m.onnx")
    monkeypatch.setattr(engines, "TIMED_BYTES", 1 + path.stat().st_size)
    started(path)
    assert made == ["compiled"]
    assert not folder.exists()


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, made, folder):
    folder.parent.write_text("a file")
    for _ in range(2):
        started(write_pointwise(tmp_path / "m.onnx"))
    assert made == ["compiled", "compiled"]
