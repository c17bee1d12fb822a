import json
import re
import subprocess
import sys

import pytest

from geodamage.optimise import parity, timings
from geodamage.optimise import variants as optimisation
from geodamage.optimise.timings import Memory
from tests.conftest import listing, run_command
from tests.convolutions import write_convolutions
from tests.labelled_pairs import write_pair


@pytest.fixture(autouse=True)
def no_process(monkeypatch):
    for module in (optimisation, timings):
        monkeypatch.setattr(module, "measure_memory", lambda *args, **options: Memory(1, 2))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_pair(tmp_path_factory.mktemp("data"), "storm_1")


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return write_convolutions(tmp_path_factory.mktemp("parent") / "own.onnx")


def optimise(parent, data, out, *words):
    return run_command(
        "models", "optimise", parent, "--calibration", data, "-o", out, "--windows", 8, *words
    )


@pytest.mark.slow
def test_variants_are_made_and_used(tmp_path, parent, data, pair):
    done = optimise(parent, data, tmp_path)
    assert done.exit_code == 0, done.stderr
    assert listing(tmp_path) == ["own-fp16.onnx", "own-int8.onnx"]
    heads, fp16, int8, note = done.stdout.splitlines()
    assert heads.split()[:3] == ["variant", "MB", "agreement"]
    assert fp16.split()[0] == "own-fp16.onnx"
    assert int8.split()[-2:] == ["ends", "written"]
    assert note.startswith("4 buildings of 1 pair")
    out = tmp_path / "buildings.geojson"
    model = tmp_path / "own-int8.onnx"
    assessed = run_command("assess", *pair, "-o", out, "--model", model)
    assert assessed.exit_code == 0, assessed.stderr
    assert len(json.loads(out.read_text())["features"]) == 5
    shown = run_command("models", "show", model)
    assert re.search(r"^precision +int8$", shown.stdout, re.MULTILINE)
    assert "parity" in shown.stdout


@pytest.mark.slow
def test_a_refused_variant_is_one_line_with_figures_and_exit_5(tmp_path, parent, data, monkeypatch):
    monkeypatch.setattr(parity, "AGREEMENT", 1.01)
    done = optimise(parent, data, tmp_path, "--precision", "int8", "-q")
    assert done.exit_code == 5
    (line,) = done.stderr.splitlines()
    assert "own-int8.onnx refused: agreement 100.00% is below 101.0%" in line
    assert "--keep" in line
    assert listing(tmp_path) == []
    kept = optimise(parent, data, tmp_path, "--precision", "int8", "--keep")
    assert kept.exit_code == 0, kept.stderr
    assert listing(tmp_path) == ["own-int8.onnx"]


def test_the_report_is_json(tmp_path, parent, data):
    done = optimise(parent, data, tmp_path, "--precision", "fp16", "--json")
    (report,) = json.loads(done.stdout)
    assert (report["precision"], report["written"]) == ("fp16", True)
    assert report["detection_f1"]["loss_points"] == 0


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("absent.onnx",), 5, "no such model file"),
        (("OWN", "--precision", "int4"), 2, "int4"),
        (("OWN", "--windows", "0"), 2, "windows"),
        (("OWN", "--device", "npu"), 5, "--device npu: unknown"),
        (("OWN", "-o", "absent"), 6, "there is no folder"),
    ],
)
def test_wrong_words_are_refused(tmp_path, parent, data, words, code, text):
    words = [str(parent) if word == "OWN" else word for word in words]
    done = run_command("models", "optimise", *words, "--calibration", data)
    assert done.exit_code == code
    assert text in done.stderr


def test_a_folder_without_labels_is_refused(tmp_path, parent):
    done = optimise(parent, tmp_path, tmp_path)
    assert done.exit_code == 4
    (line,) = done.stderr.splitlines()
    assert "give the folder of an xBD download" in line


def test_a_missing_package_is_one_line(tmp_path, parent, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    done = optimise(parent, data, tmp_path)
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert 'onnx is not installed; run pip install ".[optimise]"' in line


@pytest.mark.slow
def test_models_are_timed_and_the_best_is_named(parent):
    done = run_command("models", "bench", parent, "--rounds", 1, "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    heads, *rows, chosen = done.stdout.splitlines()
    assert heads.split()[:5] == ["model", "precision", "device", "engine", "window"]
    engines = ["onnxruntime", "openvino"][: len(rows)]
    assert [row.split()[:5] for row in rows] == [
        ["own.onnx", "fp32", "cpu", engine, "96"] for engine in engines
    ]
    assert " x auto " in heads
    assert re.fullmatch(
        rf"best here: --model {parent} --device cpu --engine \w+ --precision float32", chosen
    )


@pytest.mark.slow
def test_timings_are_json(parent):
    done = run_command("models", "bench", parent, "--rounds", 2, "--device", "cpu", "--json")
    report = json.loads(done.stdout)
    timing = report["timings"][0]
    assert timing["ratio_to_fp32"] == 1.0
    assert all(len(timing["seconds"]) == 2 for timing in report["timings"])
    assert report["best"]["engine"] in {timing["engine"] for timing in report["timings"]}


@pytest.mark.parametrize("device", ["openvino", "tensorrt", "cuda"])
def test_a_runtime_that_is_not_there_is_named(parent, device):
    import onnxruntime

    if len(onnxruntime.get_available_providers()) > 2:
        pytest.skip("there is such a runtime")
    done = run_command("models", "bench", parent, "--device", device)
    assert done.exit_code == 5
    (line,) = done.stderr.splitlines()
    assert f"--device {device}: this onnxruntime has no" in line
    assert "both own the same module" in line


@pytest.mark.slow
@pytest.mark.parametrize("command", ["optimise", "bench"])
def test_help_is_instant(command):
    code = (
        "import sys\n"
        "from geodamage.cli import main\n"
        f"main(['models', '{command}', '--help'], standalone_mode=False)\n"
        "assert not {'torch', 'onnx', 'onnxruntime', 'rasterio', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
