import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from geodamage.errors import MissingExtraError
from geodamage.model import engines
from geodamage.model import openvino as openvino_module
from geodamage.model.loading import find_model, load_model
from geodamage.model.onnx import Model
from geodamage.model.openvino import OpenVinoSession, has_bfloat16, openvino_version
from tests.convolutions import convolution_bytes, write_convolutions
from tests.fakes import pointwise_bytes, write_pointwise
from tests.model.small_models import images

HEADS = ["localisation", "damage"]

pytestmark = pytest.mark.skipif(openvino_version() is None, reason="openvino is not installed")


@pytest.fixture
def session():
    return OpenVinoSession(pointwise_bytes(), 1)


class Broken:
    """A request that has failed, and fails for good."""

    def get_tensor(self, port):
        raise RuntimeError("failed before")


def asked(session, *pair):
    return session.run(HEADS, dict(zip(("pre", "post"), pair, strict=True)))


def test_257_stays_257(session):
    pre, post = images(8, 8)
    post[:] = 248  # the graph adds nine; bfloat16 has no odd number above 256
    assert (asked(session, pre, post)[1][:, 3] == 257).all()


@pytest.mark.skipif(not has_bfloat16(), reason="the processor has no bfloat16")
def test_convolutions_are_rounded_in_bfloat16_and_only_there(tmp_path):
    # OpenVINO 2026.4 leaves a graph of sums alone in single precision, whatever is asked for.
    pair = images(32, 32)
    exact = Model(write_convolutions(tmp_path / "m.onnx"), engine="onnxruntime")(*pair)
    errors = [
        max(
            np.abs(ours - theirs).max()
            for ours, theirs in zip(asked(made, *pair), exact, strict=True)
        )
        for made in (OpenVinoSession(convolution_bytes(), 1, p) for p in ("float32", "bfloat16"))
    ]
    assert errors[0] < 1e-5
    assert 1e-4 < errors[1] < engines.LARGEST_DIFFERENCE["bfloat16"]


def test_it_says_what_onnx_runtime_says(tmp_path):
    path = write_pointwise(tmp_path / "m.onnx")
    ours = Model(path, engine="openvino", threads=1)
    assert ours.provider == f"CPU, OpenVINO {openvino_version()}"
    for pair in (images(20, 28), images(8, 8)):
        for one, other in zip(ours(*pair), Model(path, engine="onnxruntime")(*pair), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.slow
def test_all_sessions_of_a_process_share_one_core(monkeypatch):
    import openvino

    made = []

    class Counted(openvino.Core):
        def __init__(self):
            super().__init__()
            made.append(self)

    openvino_module._core.cache_clear()
    monkeypatch.setattr(openvino, "Core", Counted)
    with ThreadPoolExecutor(4) as pool:
        sessions = list(pool.map(lambda _: OpenVinoSession(pointwise_bytes(), 1), range(8)))
    assert len(made) == 1
    answers = [asked(session, *images(8, 8))[0] for session in sessions]
    assert all(np.array_equal(answers[0], answer) for answer in answers)


def test_an_answer_outlives_the_next_and_no_image_changes(session):
    batch = [np.concatenate([image, 255 - image]) for image in images(8, 8)]
    given = [image.copy() for image in batch]
    first = asked(session, *(image[:1] for image in batch))
    kept = [head.copy() for head in first]
    asked(session, *(image[1:] for image in batch))
    asked(session, *images(16, 12))
    asked(session, *batch)
    assert all(map(np.array_equal, first, kept))
    assert all(map(np.array_equal, batch, given))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda both: both.pop("post"), "not .'pre'."),
        (lambda both: both.update(other=both["pre"]), "not .'other', 'post', 'pre'."),
        (lambda both: both.update(post=both["post"] + 0.7), "uint8"),
        (lambda both: both.update(post=both["post"].astype(np.int16) - 1), "uint8"),
        (lambda both: both.update(pre=np.repeat(both["pre"], 2, 0)), "as many windows"),
    ],
)
def test_what_openvino_would_complete_or_convert_is_refused(session, change, reason):
    pre, post = images(8, 8)
    asked(session, pre, post)
    both = {"pre": pre, "post": post}
    change(both)
    with pytest.raises(ValueError, match=reason):
        session.run(HEADS, both)


def test_after_a_call_that_fails_the_next_is_answered(session):
    pair = images(8, 8)
    before = asked(session, *pair)
    session._request = Broken()
    with pytest.raises(RuntimeError):
        asked(session, *pair)
    assert all(map(np.array_equal, asked(session, *pair), before))


def test_a_file_of_the_same_size_and_time_is_another_model(tmp_path):
    path = write_pointwise(tmp_path / "m.onnx")
    facts = path.stat()
    before = Model(path, engine="openvino")(*images(8, 8))
    changed = path.read_bytes().replace(np.float32(9).tobytes(), np.float32(7).tobytes())
    assert changed != path.read_bytes()
    session = OpenVinoSession(changed, 1)
    path.write_bytes(changed)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert path.stat().st_size == facts.st_size
    assert (asked(session, *images(8, 8))[1][:, 3] == before.damage[:, 3] - 2).all()


def test_without_openvino_it_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"openvino is not installed.*\.\[cpu\]"):
        OpenVinoSession(pointwise_bytes(), 1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fast", "accurate"])
def test_neither_threads_nor_batch_matter(name):
    blob = find_model(name).read_bytes()
    side = 4 * load_model(name).card.stride * 4
    batch = [np.concatenate([image, image[..., ::-1]]) for image in images(side, side)]
    one, two = (OpenVinoSession(blob, threads) for threads in (1, 2))
    together = asked(two, *batch)
    for number in range(2):
        alone = asked(one, *(image[number : number + 1] for image in batch))
        for head, whole in zip(alone, together, strict=True):
            np.testing.assert_allclose(head[0], whole[number], atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_no_runtime_writes_or_tells_of_its_use(tmp_path, engine):
    path = write_pointwise(tmp_path / "m.onnx")
    home = tmp_path / "home"
    home.mkdir()
    words = (
        "import sys; from geodamage.model.loading import load_model\n"
        f"load_model({str(path)!r}, engine={engine!r}, threads=1)\n"
        "print({'openvino_telemetry'} & {*sys.modules})"
    )
    variables = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", words],
        env=variables | {"HOME": str(home)},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout == "set()\n"
    written = {file.relative_to(home).parts[:3] for file in home.rglob("*") if file.is_file()}
    assert written <= {(".cache", "geodamage", "engines")}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_threads_are_those_of_the_affinity_whatever_omp_says(tmp_path):
    path = write_pointwise(tmp_path / "m.onnx")
    words = (
        "import os; from geodamage.model.loading import load_model\n"
        "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
        f"session = load_model({str(path)!r}, engine='openvino')._session\n"
        "print(session._model.get_property('INFERENCE_NUM_THREADS'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", words],
        env=os.environ | {"OMP_NUM_THREADS": "7", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "1\n"


_PEAK = """
import sys
from pathlib import Path
import numpy as np
from geodamage.model.loading import load_model
model = load_model("fast", device="cpu", engine="openvino", threads=1)
def kilobytes(name):
    return int(Path("/proc/self/status").read_text().split(name)[1].split()[0])
def ask(side):
    image = np.full((1, 3, side, side), 7, np.uint8)
    model(image, image)
ask(64)
loaded = kilobytes("VmRSS:")
ask(512)
after = kilobytes("VmRSS:")
for side in (96, 128, 160, 256, 192):
    ask(side)
print(loaded, after, kilobytes("VmRSS:"), kilobytes("VmHWM:"), model.card.bytes_per_pixel)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the system does not say it")
def test_what_a_large_window_needed_stays_and_is_planned_for(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _PEAK],
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded, after, later, most, planned = (float(word) for word in done.stdout.split())
    assert later > loaded + 0.5 * (after - loaded)  # else nothing would have to be planned for
    assert 1024 * (most - loaded) < planned * 512**2


def test_more_memory_is_planned_for(tmp_path):
    path = write_pointwise(tmp_path / "m.onnx")
    plain, ours = (Model(path, engine=engine) for engine in ("onnxruntime", "openvino"))
    factor = ours.card.bytes_per_pixel / plain.card.bytes_per_pixel
    assert factor == pytest.approx(engines.MORE_MEMORY)
    assert ours.resident_bytes - plain.resident_bytes == engines.LIBRARY_BYTES
