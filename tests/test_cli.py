import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

import geodamage
from geodamage.buildings.finding import DEFAULT_MIN_AREA
from geodamage.cli import COMMANDS, main
from geodamage.cli import assess as assess_file
from geodamage.damage import GRADES
from tests.conftest import ROOFS, Roof, listing, make_model, make_scene, run_command

HEAVY = {"torch", "rasterio", "geopandas", "onnxruntime"}
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(geodamage.__file__).parents[1])}


def python(*arguments, **options):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=60,
        check=False,
        **options,
    )


@pytest.fixture
def command(pair, model, tmp_path):
    """Return the arguments of a good run and its output."""
    output = tmp_path / "b.geojson"
    return ["assess", *pair, "-o", output, "--model", model], output


def fails(result, code, *words):
    """Assert that a run ended in one line on stderr that has some words."""
    lines = result.stderr.splitlines()
    assert result.exit_code == code, result.stderr
    assert lines[-1].startswith("geodamage: error: ")
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    for word in words:
        assert str(word) in lines[-1]


@pytest.mark.slow
def test_python_m_geodamage_writes_words_to_stderr_only(command):
    arguments, output = command
    result = python("-m", "geodamage", *arguments)
    assert (result.returncode, result.stdout) == (0, "")
    assert "CC0-1.0" in result.stderr
    assert len(json.loads(output.read_text())["features"]) == len(ROOFS)


@pytest.mark.slow
def test_help_and_import_are_light():
    script = (
        "import sys, geodamage\n"
        "first = sorted(sys.modules)\n"
        "from geodamage.cli import main\n"
        "from geodamage.cli import COMMANDS\n"
        "asked = [[name, '--help'] for name in COMMANDS]\n"
        "for arguments in (*asked, ['--help'], ['--version'], ['options', '--json']):\n"
        "    main(arguments, standalone_mode=False)\n"
        "print(first, sorted(sys.modules), sep='\\n')\n"
    )
    result = python("-c", script)
    assert result.returncode == 0, result.stderr
    *_, first, last = result.stdout.splitlines()
    for modules in (first, last):
        assert not HEAVY & {name.split(".")[0] for name in eval(modules)}


def test_help_says_what_each_command_does():
    text = run_command("--help").stdout
    assert all(name in text and line in text for name, line in COMMANDS.items())
    assert "130 interrupted" in " ".join(text.split())
    text = run_command("assess", "--help").stdout
    assert "Example:\n    geodamage assess pre.tif post.tif -o buildings.geojson" in text
    assert run_command("--version").stdout.strip() == f"geodamage, version {geodamage.__version__}"


def test_public_names_are_what_they_say():
    from geodamage.assessment import Job  # which imports the modules `assess` and `predict`

    assert geodamage.Job is Job
    for name in ("assess", "predict"):
        assert callable(getattr(geodamage, name))
    assert all(getattr(geodamage, name) is not None for name in geodamage.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = geodamage.nonsense


@pytest.mark.slow
def test_a_table_on_stderr_sums_up(command):
    arguments, output = command
    result = run_command(*arguments)
    assert (result.exit_code, result.stdout) == (0, "")
    lines = result.stderr.splitlines()
    assert lines[0].startswith("model bright 1, ")
    assert lines[1] == "licence of the model: CC0-1.0"
    rows = {line.split()[0]: line.split()[1:] for line in lines if line}
    grades = [roof.grade for roof in ROOFS]
    for grade in GRADES:
        share = f"{20 * grades.count(grade)}.0"
        assert rows[grade.label][:3] == [str(grades.count(grade)), share, "%"]
    text = " ".join(result.stderr.split())
    assert "5 candidates on 0.005 km² assessed" in text
    assert "MP/s" in text
    assert str(output) in text
    assert "not validated in the field" in text


@pytest.mark.slow
def test_json_progress_is_an_object_a_line_and_ends_with_the_result(command):
    arguments, output = command
    result = run_command(*arguments, "--progress", "json", "--tile", 48)
    assert (result.exit_code, result.stdout) == (0, "")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert [line["stage"] for line in lines[-3:]] == ["write", "done", "result"]
    done = [line["done"] for line in lines if line["stage"] == "predict"]
    assert done == sorted(done)
    assert done[-1] == 128 * 160
    assert lines[-1]["output"] == str(output)
    assert lines[-1]["buildings"] == 5


def test_json_progress_ends_with_the_error(command):
    arguments, _ = command
    result = run_command(*arguments, "--progress", "json", "--aoi", "missing.gpkg")
    assert result.exit_code == 4
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert (lines[-1]["stage"], lines[-1]["code"]) == ("error", 4)
    assert "missing.gpkg" in lines[-1]["message"]


@pytest.mark.slow
def test_quiet_says_nothing(command):
    arguments, output = command
    result = run_command(*arguments, "-q")
    assert (result.exit_code, result.output) == (0, "")
    assert output.exists()


def test_quiet_still_says_errors(command):
    arguments, _ = command
    result = run_command(*arguments, "-q", "--aoi", "missing.gpkg")
    assert len(result.stderr.splitlines()) == 1
    fails(result, 4, "missing.gpkg")


@pytest.mark.slow
def test_nothing_is_overwritten_unasked(command):
    arguments, output = command
    output.write_text("mine")
    fails(run_command(*arguments), 6, output, "--overwrite")
    assert output.read_text() == "mine"
    assert run_command(*arguments, "--overwrite").exit_code == 0
    assert len(json.loads(output.read_text())["features"]) == len(ROOFS)
    (output.parent / "r.tif").touch()
    fails(run_command(*arguments, "--overwrite", "--raster", "x.png"), 2, "x.png")


def test_a_sidecar_alone_is_not_overwritten_unasked(command):
    arguments, output = command
    Path(f"{output}.json").write_text("{}")
    fails(run_command(*arguments), 6, f"{output}.json", "--overwrite")


def test_two_rasters_of_one_name_are_refused(command, tmp_path):
    arguments, _ = command
    path = tmp_path / "r.tif"
    fails(run_command(*arguments, "--raster", path, "--probabilities", path), 2, path)
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--bands", "1,x"], 2, ["--bands 1,x"]),
        (["--bands", "1,2"], 2, ["--bands 1,2"]),
        (["--bands", "1,2,9"], 2, ["--bands 1,2,9", "pre.tif"]),
        (["--scale", "5"], 2, ["--scale 5"]),
        (["--scale", "9,5"], 2, ["--scale 9,5"]),
        (["--scale", "nan,5"], 2, ["--scale nan,5"]),
        (["--memory", "much"], 2, ["--memory much", "1.5GB"]),
        (["--memory", "1MB"], 7, ["raise --memory"]),
        (["--min-area", "-1"], 2, ["--min-area -1"]),
        (["--min-area", "nan"], 2, ["--min-area nan"]),
        (["--simplify", "inf"], 2, ["--simplify inf"]),
        (["--tile", "50"], 2, ["--tile 50", "multiple of 16"]),
        (["--tile", "32"], 2, ["--tile 32", "above 32"]),
        (["--device", "tpu"], 5, ["--device tpu", "cuda:N"]),
        (["--model", "unheard"], 5, ["unheard"]),
        (["--model", "fats"], 5, ["did you mean fast?"]),
        (["--model", "unheard.onnx"], 5, ["unheard.onnx"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_options_that_make_no_sense(command, tmp_path, options, code, words):
    arguments, _ = command
    fails(run_command(*arguments, *options), code, *words)
    assert listing(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["assess", "a.tif", "b.tif", "c.tif", "-o", "d.geojson"], ["quote a pattern"]),
        (
            ["assess", *map(str, range(1200)), "-o", "d.geojson"],
            ["(2 3 4 and 1,195 more); quote a pattern"],
        ),
        (["asess"], ["did you mean 'assess'? See "]),
        (["--verison"], ["'--verison'; did you mean '--version'? See "]),
        (["-q", "assess"], ["No such option '-q'; see "]),
        (["models", "shwo"], ["did you mean 'show'? See "]),
        (["assess"], ["'PRE'", "assess --help"]),
        (["assess", "a.tif", "b.tif"], ["--output"]),
        (["assess", "a", "b", "-o", "c", "--tta", "x"], ["--tta", "flips"]),
        (["assess", "a", "b", "-o", "c", "--nonsense"], ["--nonsense"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_usage_errors_are_one_line(arguments, words):
    result = run_command(*arguments)
    fails(result, 2, *words)
    assert len(result.stderr.splitlines()) == 1
    assert ".;" not in result.stderr


@pytest.mark.slow
def test_a_reader_of_stderr_that_has_left_costs_no_result(command):
    arguments, output = command
    words = [sys.executable, "-m", "geodamage", *map(str, arguments), "--progress", "json"]
    with subprocess.Popen(words, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        process.stderr.close()
        assert process.wait(timeout=300) == 0
    assert len(json.loads(output.read_text())["features"]) == len(ROOFS)


@pytest.mark.slow
def test_tile_is_refused_for_a_model_of_global_context(command, tmp_path):
    arguments, _ = command
    model = make_model(tmp_path / "global.onnx", context="global")
    arguments = [*arguments[:-1], model]
    fails(run_command(*arguments, "--tile", 128), 2, "--tile 128", "whole window")
    assert run_command(*arguments, "--tile", 96).exit_code == 0


def test_cuda_where_there_is_none(command):
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    arguments, _ = command
    fails(run_command(*arguments, "--device", "cuda"), 5, "--device cuda", ".[gpu]")


def test_onnxruntime_is_not_installed(command, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    arguments, _ = command
    fails(run_command(*arguments), 2, "onnxruntime", ".[cpu]", ".[gpu]")


@pytest.mark.slow
def test_an_internal_error_is_one_line_and_debug_shows_where(command, monkeypatch, tmp_path):
    def broken(*_):
        raise KeyError("oops")

    monkeypatch.setattr("geodamage.model.onnx.Model.__call__", broken)
    monkeypatch.setattr("geodamage.model.onnx.Model._check", lambda _: None)
    arguments, _ = command
    fails(run_command(*arguments), 1, "internal error, KeyError", "oops", "--debug")
    result = CliRunner().invoke(main, ["--debug", *map(str, arguments)])
    assert isinstance(result.exception, KeyError)
    # Nobody reads from the scene any more, however long the traceback is kept.
    assert "geodamage" not in {thread.name for thread in threading.enumerate()}
    assert listing(tmp_path) == []


@pytest.mark.slow
def test_no_memory_is_a_resource_limit(command, monkeypatch, tmp_path):
    def full(*_):
        raise MemoryError("2.73 TiB")

    monkeypatch.setattr("geodamage.model.onnx.Model.__call__", full)
    monkeypatch.setattr("geodamage.model.onnx.Model._check", lambda _: None)
    arguments, _ = command
    fails(run_command(*arguments), 7, "out of memory", "--memory")
    assert listing(tmp_path) == []


@pytest.mark.slow
def test_a_keyboard_interrupt_leaves_no_file(command, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("geodamage.buildings.identities.Identities.name", interrupted)
    arguments, _ = command
    options = "--raster", tmp_path / "r.tif", "--probabilities", tmp_path / "p.tif"
    fails(run_command(*arguments, *options), 130, "interrupted", "no result")
    assert listing(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_mid_run_leaves_no_file(model, tmp_path, number):
    roofs = [Roof(row, 40 * (row % 3) + 500, 12, 12, 4) for row in range(10, 1000, 30)]
    pair = make_scene(tmp_path / "in", (1024, 1024), roofs)
    output = tmp_path / "out"
    output.mkdir()
    arguments = [
        "assess", *pair, "-o", output / "b.gpkg", "--model", model, "--tile", "48",
        "--raster", output / "r.tif", "--progress", "json",
    ]  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-m", "geodamage", *map(str, arguments)],
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        text=True,
    ) as process:
        for line in process.stderr:
            if '"predict"' in line:
                break
        assert len(listing(output)) >= 2
        process.send_signal(number)
        *_, last = process.stderr
        assert process.wait() == 130
    assert json.loads(last)["code"] == 130
    assert listing(output) == []


def test_the_default_of_min_area_is_that_of_the_library():
    (option,) = (p for p in assess_file.command.params if p.name == "min_area")
    assert option.default == DEFAULT_MIN_AREA


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a pipe that is closed is EPIPE elsewhere")
def test_a_reader_that_has_seen_enough_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "geodamage", "models", "show", "fast", "--json"]
    done = subprocess.run(words, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert done.stderr == b""
    assert done.returncode == 1
