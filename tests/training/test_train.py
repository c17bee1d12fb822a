import csv
import sys

import pytest
import torch

import training.chips
import training.train
from geodamage.networks.compact import CompactSiamese
from tests.fakes import write_xbd
from training.recipe import Recipe
from training.train import learning_rate, main, normalise, update_average

RECIPE = """
name = "tiny"
split = "tiny.csv"
steps = 2
batch = 2
crop = 32
warmup = 1
generated = 0
evaluate_every = 1
"""


def test_images_become_numbers_about_zero():
    assert normalise(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1, 1]


def test_the_learning_rate_rises_stays_and_falls():
    recipe = Recipe(name="a", split="b", steps=100, warmup=10, decay=0.4, lr=2.0)
    rates = [learning_rate(step, recipe) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[10:60] == [2.0] * 50
    assert rates[60:] == sorted(rates[60:], reverse=True)
    assert rates[-1] == pytest.approx(0.05)


def test_an_average_moves_a_little():
    torch.manual_seed(0)
    small = {"widths": (4, 4, 4, 4), "decoder": (4, 4, 4)}
    average, network = CompactSiamese(**small), CompactSiamese(**small)
    before = average.damage.weight.clone()
    network.stem[1].num_batches_tracked += 5
    update_average(average, network, 0.75)
    assert torch.allclose(average.damage.weight, 0.75 * before + 0.25 * network.damage.weight)
    assert average.stem[1].num_batches_tracked == 5


@pytest.mark.slow
def test_a_run_trains_stops_and_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training.chips, "SIZE", 96)
    data = write_xbd(tmp_path / "xbd", ["flood_00000001", "flood_00000002"])
    (tmp_path / "tiny.toml").write_text(RECIPE)
    rows = "flood_00000001,flood,0,train\nflood_00000002,flood,1,validation\n"
    (tmp_path / "tiny.csv").write_text("pair,event,place,part\n" + rows)
    runs = tmp_path / "runs"

    def train(*options):
        command = ["train", str(tmp_path / "tiny.toml"), "--data", str(data), "--runs", str(runs)]
        monkeypatch.setattr(sys, "argv", [*command, "--device", "cpu", *options])
        main()
        return torch.load(runs / "tiny" / "last.pt", weights_only=True)

    first = train()
    assert first["step"] == 2
    assert "resuming" not in capsys.readouterr().out
    assert Recipe.read(runs / "tiny" / "recipe.toml") == Recipe.read(tmp_path / "tiny.toml")

    second = train("--set", "steps=3")
    assert second["step"] == 3
    assert "resuming at step 2" in capsys.readouterr().out
    moved = [not torch.equal(a, second["network"][n]) for n, a in first["network"].items()]
    assert any(moved)
    with (runs / "tiny" / "log.csv").open(newline="") as file:
        log = list(csv.DictReader(file))
    assert [row["step"] for row in log] == ["1", "2", "3"]
    assert all(0 <= float(row["f1_building"]) <= 1 for row in log)
    assert sorted(path.name for path in (runs / "tiny").iterdir()) == [
        "git.txt",
        "last.pt",
        "log.csv",
        "recipe.toml",
    ]

    # A run that is done does nothing more.
    assert train("--set", "steps=3")["step"] == 3
    network = CompactSiamese()
    network.load_state_dict(second["average"])
