import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from geodamage.foreign import importing as foreign
from geodamage.networks import importing, registry
from geodamage.networks.checkpoints import save_checkpoint
from geodamage.networks.registry import NetworkFacts, create_network
from tests.conftest import listing, make_model, run_command
from tests.foreign.graphs import convention, write_graph


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    network = create_network("compact", task="assess")
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("0.weight"):
                weight *= 0.1  # so that little of the surroundings gets through
    path = tmp_path_factory.mktemp("weights") / "res34_loc_0_1_best"
    save_checkpoint(network, path, epoch=7, best_score=0.5)
    return path


def test_the_list_names_the_bundled_models():
    result = run_command("models", "list")
    assert result.exit_code == 0
    heads, *rows = result.stdout.splitlines()
    assert heads.split()[:3] == ["name", "task", "context"]
    assert any(row.split()[:3] == ["fast", "assess", "local"] for row in rows)
    listed = json.loads(run_command("models", "list", "--json").stdout)
    assert "fast" in [entry["name"] for entry in listed]


def test_a_card_is_shown(tmp_path):
    path = make_model(tmp_path / "one.onnx", halo=9)
    shown = run_command("models", "show", path)
    assert shown.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in shown.stdout.splitlines())
    assert (lines["name"], lines["halo"], lines["licence"]) == ("bright", "9", "CC0-1.0")
    facts = json.loads(run_command("models", "show", path, "--json").stdout)
    assert facts["card"]["halo"] == 9


def test_an_ensemble_is_shown_with_its_members(tmp_path):
    make_model(tmp_path / "one.onnx")
    path = tmp_path / "both.toml"
    path.write_text('name = "both"\nthreshold = 0.4\n[[member]]\nfile = "one.onnx"\n')
    shown = run_command("models", "show", path)
    assert shown.exit_code == 0
    assert "threshold  0.4" in shown.stdout
    assert "one.onnx" in shown.stdout
    facts = json.loads(run_command("models", "show", path, "--json").stdout)
    assert facts["members"][0]["card"]["name"] == "bright"


@pytest.mark.slow
def test_what_is_installed_is_listed_and_known_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "measure_memory", lambda path, size: 99.0)
    folder = tmp_path / "models"
    monkeypatch.setenv("GEODAMAGE_MODELS", str(folder))
    source = write_graph(
        tmp_path / "unet.onnx", {"x": ["n", 6, "h", "w"]}, {"y": ["n", 5, "h", "w"]}
    )
    told = convention(tmp_path / "c.toml")
    words = ("models", "import", source, "--convention", told, "--install", "-o")
    result = run_command(*words, "town")
    assert result.exit_code == 0, result.stderr
    assert listing(folder) == ["town.onnx"]
    assert "town" in [e["name"] for e in json.loads(run_command("models", "list", "--json").stdout)]
    assert run_command("models", "show", "town").exit_code == 0
    for name, message in (("fast", "came with the package"), ("a/b", "and no folder")):
        refused = run_command(*words, name)
        assert refused.exit_code == 2
        assert message in refused.stderr
    assert listing(folder) == ["town.onnx"]


@pytest.mark.parametrize("name", ["slow", "absent.onnx", "absent.toml"])
def test_what_is_not_there_is_not_shown(name):
    result = run_command("models", "show", name)
    assert result.exit_code == 5
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
def test_list_and_show_need_no_torch(tmp_path):
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from geodamage.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    for words in (["list"], ["list", "--published"], ["show", "fast"]):
        command = [sys.executable, "-c", code, "models", *words]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("x/data.pkl", b"")
    command = [sys.executable, "-c", code, "models", "import", str(tmp_path / "x"), "-o", "y"]
    done = subprocess.run(command, capture_output=True, check=False, text=True)
    assert done.returncode == 2
    assert 'torch is not installed; run pip install ".[train]"' in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_help_is_instant():
    code = (
        "import sys\n"
        "from geodamage.cli import main\n"
        "main(['models', 'import', '--help'], standalone_mode=False)\n"
        "assert not {'torch', 'onnxruntime', 'rasterio', 'geopandas'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert "geodamage models import weights/*_best -o first-place" in done.stdout


def test_the_networks_are_listed(monkeypatch):
    one = NetworkFacts("res34_unet", "first_place", "localisation", "local", 25_728_161, 369.4, 32)
    monkeypatch.setattr(registry, "list_networks", lambda: [one])
    result = run_command("models", "networks", "--json")
    assert result.exit_code == 0
    (network,) = json.loads(result.stdout)
    assert (network["name"], network["parameters"]) == ("res34_unet", 25_728_161)
    heads, row = run_command("models", "networks").stdout.splitlines()
    assert heads.split()[:2] == ["network", "task"]
    assert row.split() == [
        "res34_unet", "localisation", "first_place", "local", "32", "25,728,161", "369.4",
    ]  # fmt: skip


@pytest.mark.slow
def test_an_imported_model_runs(tmp_path, checkpoint, pair, monkeypatch):
    monkeypatch.setattr(importing, "HALO_WINDOW", 256)
    result = run_command("models", "import", checkpoint, "-o", tmp_path / "own")
    assert result.exit_code == 0, result.stderr
    lines = result.stderr.splitlines()
    warned, named, line = [line for line in lines if "in a synthetic pair" not in line]
    assert "warning" in warned
    assert "named like res34_unet" in warned
    assert "named like localisation" in named
    for words in (
        "compact, assess (geodamage)",
        "epoch 7",
        "best score 0.5000",
        "halo",
        "own.onnx",
    ):
        assert words in line
    assert result.stdout == ""
    assert listing(tmp_path) == ["own.onnx"]
    out = tmp_path / "buildings.geojson"
    done = run_command("assess", *pair, "-o", out, "--model", tmp_path / "own.onnx")
    assert done.exit_code == 0, done.stderr
    assert json.loads(out.read_text())["type"] == "FeatureCollection"


@pytest.mark.slow
def test_an_existing_model_stays(tmp_path, checkpoint):
    (tmp_path / "own.onnx").write_bytes(b"old")
    result = run_command("models", "import", checkpoint, "-o", tmp_path / "own")
    assert result.exit_code == 6
    assert (tmp_path / "own.onnx").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"text", "no PyTorch checkpoint"),
        (b"\x1f\x8b\x08\x00", "unpack it"),
        (None, "no such file"),
    ],
)
def test_a_wrong_file_is_one_line_and_exit_5(tmp_path, content, words):
    path = tmp_path / "weights"
    if content is not None:
        path.write_bytes(content)
    result = run_command("models", "import", path, "-o", tmp_path / "own")
    assert result.exit_code == 5
    (line,) = result.stderr.splitlines()
    assert line.startswith("geodamage: error: ")
    assert words in line
    assert listing(tmp_path) == (["weights"] if content is not None else [])


@pytest.mark.slow
def test_weights_that_do_not_fit_are_one_line_and_exit_5(tmp_path, checkpoint):
    content = torch.load(checkpoint, weights_only=False)
    content["state_dict"].pop("stem.0.weight")
    content["state_dict"]["other"] = torch.zeros(1)
    content["best_score"] = np.float64(0.1)
    torch.save(content, tmp_path / "half")
    result = run_command("models", "import", tmp_path / "half", "-o", tmp_path / "own")
    assert result.exit_code == 5
    (line,) = result.stderr.splitlines()
    assert "1 missing: stem.0.weight; 1 unexpected: other; nothing was loaded" in line
    assert listing(tmp_path) == ["half"]


def test_import_needs_files():
    assert run_command("models", "import", "-o", "x").exit_code == 2


def test_what_is_no_checkpoint_is_refused_without_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "geodamage.networks.importing", raising=False)
    page = tmp_path / "weights.pth"
    page.write_text("<!DOCTYPE html>")
    result = run_command("models", "import", page, "-o", tmp_path / "own")
    assert (result.exit_code, len(result.stderr.splitlines())) == (5, 1)
    assert "no PyTorch checkpoint" in result.stderr


def test_published_weights_are_listed():
    result = run_command("models", "list", "--published")
    assert result.exit_code == 0
    assert "ChangeOS Swin-T" in result.stdout
    assert "geodamage models import model.safetensors -o changeos" in result.stdout
    listed = json.loads(run_command("models", "list", "--published", "--json").stdout)
    assert {"name", "licence", "sha256", "score", "command"} <= set(listed[0])


def test_a_foreign_graph_is_imported_and_says_how(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "measure_memory", lambda path, size: 99.0)
    shapes = {"x": ["n", 6, "h", "w"]}, {"y": ["n", 5, "h", "w"]}
    source = write_graph(tmp_path / "x.onnx", *shapes)
    refused = run_command("models", "import", source, "-o", tmp_path / "own")
    assert (refused.exit_code, len(refused.stderr.splitlines())) == (5, 1)
    told = convention(tmp_path / "c.toml")
    result = run_command("models", "import", source, "--convention", told, "-o", tmp_path / "own")
    assert result.exit_code == 0, result.stderr
    assert "recognised by --convention; assess, local (surroundings change " in result.stderr
    shown = json.loads(run_command("models", "show", tmp_path / "own.onnx", "--json").stdout)
    assert shown["card"]["scores"]["file"] == "x.onnx"


def test_each_kind_of_file_is_imported_by_itself(tmp_path, checkpoint):
    shapes = {"x": ["n", 6, "h", "w"]}, {"y": ["n", 5, "h", "w"]}
    source = write_graph(tmp_path / "x.onnx", *shapes)
    for files, said in (
        ([source, checkpoint], "import each kind by itself"),
        ([checkpoint, "--convention", "own"], "--convention is for ONNX files"),
    ):
        result = run_command("models", "import", *files, "-o", tmp_path / "own")
        assert result.exit_code == 2
        assert said in result.stderr
