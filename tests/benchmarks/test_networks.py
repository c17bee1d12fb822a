import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import networks
from benchmarks.networks import Timing
from geodamage.errors import OptionError
from geodamage.networks import NetworkFacts

SCRIPT = Path(networks.__file__)


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks.networks", *arguments]
    return subprocess.run(
        command, cwd=SCRIPT.parents[1], capture_output=True, text=True, check=False
    )


@pytest.fixture
def facts():
    return NetworkFacts(
        name="compact",
        family="geodamage",
        task="assess",
        context="local",
        parameters=1_234_567,
        gflop=104.8576,
        stride=16,
    )


@pytest.mark.slow
def test_the_table_has_a_line_for_a_network():
    done = run("--networks", "compact", "--tile", "64", "--repeat", "1", "--threads", "1")
    assert done.returncode == 0, done.stderr
    head, _, *table = done.stdout.splitlines()
    assert "64 x 64 pixels, 1 threads, median of 1" in head
    assert [line.count("|") for line in table] == [8, 8, 8]
    name, task, *numbers = (cell.strip() for cell in table[-1].strip("|").split("|"))
    assert (name, task) == ("compact", "assess")
    assert all(float(number) >= 0 for number in numbers)


@pytest.mark.slow
def test_an_unknown_network_is_refused_in_one_line():
    done = run("--networks", "compct", "--tile", "64")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no network compct: choose of ")
    assert done.stderr.count("\n") == 1


def test_a_line_says_what_was_measured(facts):
    line = networks.row(facts, Timing(torch=42.4, onnx=20.2))
    # 104.8576 GFLOP on 1024 x 1024 pixels are 100 on a megapixel.
    assert line == "| compact | assess | 1.23 | 100 | 42 | 20 | 2.10 |"


def test_a_tile_that_a_network_cannot_take_is_refused(facts):
    networks.check_tile([facts], 64)
    with pytest.raises(OptionError, match="--tile 40: compact needs a multiple of 16"):
        networks.check_tile([facts], 40)


@pytest.mark.slow
def test_networks_are_chosen_by_name_with_all_their_tasks():
    chosen = networks.choose("segformer_b0, compact")
    assert [(one.name, one.task) for one in chosen] == [
        ("segformer_b0", "localisation"),
        ("segformer_b0", "damage"),
        ("compact", "assess"),
    ]


def test_both_engines_run_as_often_as_was_said(monkeypatch, facts):
    runs = []
    monkeypatch.setattr(networks, "torch_runner", lambda *_: lambda: runs.append("torch"))
    monkeypatch.setattr(networks, "onnx_runner", lambda *_: lambda: runs.append("onnx"))
    timing = networks.measure(networks.build(facts), 32, repeat=3, threads=torch.get_num_threads())
    assert runs == 4 * ["torch", "onnx"]
    assert timing.torch >= 0


@pytest.mark.slow
def test_both_engines_say_the_same(facts):
    exported = networks.build(facts)
    tiles = networks.make_tiles(exported, 32)
    ours = networks.torch_runner(exported, tiles)()
    theirs = networks.onnx_runner(exported, tiles, 1)()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, torch.from_numpy(b), atol=1e-5, rtol=0)
