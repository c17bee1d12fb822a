import csv
import io
import os
import subprocess
import sys

import pytest

from training.results import as_csv, as_markdown, as_text, find_results, main
from training.runs.records import Status

RECIPE = 'name = "{name}"\nnetwork = "res34_unet"\ntask = "damage"\n'


def make_run(runs, folder, *, name=None, group="", **status):
    run = runs / folder
    run.mkdir(parents=True)
    text = RECIPE.format(name=name or folder) + (f'group = "{group}"\n' if group else "")
    (run / "recipe.toml").write_text(text)
    facts = {"status": "finished", "started": "2026-01-02T03:04:05+00:00", "total": 90}
    Status(folder, **(facts | status)).write(run / "status.json")
    (run / "split.sha256").write_text("0123456789abcdef\n")
    return run


def table(runs, group="*"):
    return {
        row["run"]: row for row in csv.DictReader(io.StringIO(as_csv(find_results(runs, group))))
    }


def test_a_row_tells_what_the_folder_tells(tmp_path):
    make_run(
        tmp_path, "a", steps=80, metric="score", best=0.51234, best_step=70, seconds=5400.0,
        commit="f" * 40,
    )  # fmt: skip
    assert table(tmp_path)["a"] == {
        "run": "a",
        "group": "a",
        "network": "res34_unet",
        "task": "damage",
        "status": "finished",
        "steps": "80/90",
        "metric": "score",
        "best": "0.5123",
        "at step": "70",
        "hours": "1.50",
        "date": "2026-01-02",
        "commit": "fffffff",
        "split": "0123456",
    }


def test_a_group_is_named_by_the_recipe_or_is_its_folds(tmp_path):
    for fold in (0, 1):
        make_run(tmp_path, f"loc-fold{fold}", name="loc")
    make_run(tmp_path, "b", group="widths")
    make_run(tmp_path, "c", group="width")
    assert list(table(tmp_path)) == ["loc-fold0", "loc-fold1", "c", "b"]
    assert list(table(tmp_path, "loc")) == ["loc-fold0", "loc-fold1"]
    assert list(table(tmp_path, "widths")) == ["b"]
    assert list(table(tmp_path, "width*")) == ["c", "b"]


def test_a_run_that_was_killed_is_silent(tmp_path):
    make_run(tmp_path, "alive", status="running")
    killed = make_run(tmp_path, "killed", status="running")
    (killed / "steps.csv").write_text("step,lr,loss\n")
    for name in ("status.json", "steps.csv"):
        now = (killed / name).stat().st_mtime
        os.utime(killed / name, (now, now - 3 * 3600))
    assert table(tmp_path)["alive"]["status"] == "running"
    assert table(tmp_path)["killed"]["status"] == "silent for 3 h"


def test_damaged_folders_say_so_and_others_are_no_runs(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "mlflow.db").write_text("")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "recipe.toml").write_text(RECIPE.format(name="old"))
    (make_run(tmp_path, "no_recipe") / "recipe.toml").unlink()
    broken = make_run(tmp_path, "broken")
    (broken / "recipe.toml").write_bytes(b"\xff")
    (broken / "status.json").write_text('{"name": "broken", "seconds": "many"}')
    found = table(tmp_path)
    assert {name: row["status"] for name, row in found.items()} == {
        "old": "unknown (no status.json)",
        "no_recipe": "finished (no recipe.toml)",
        "broken": "unknown (recipe.toml cannot be read, status.json cannot be read)",
    }
    assert found["old"]["network"] == "res34_unet"
    assert found["old"]["hours"] == found["old"]["best"] == ""


def test_the_table_comes_as_text_and_in_markdown(tmp_path):
    make_run(tmp_path, "a|b", steps=5)
    results = find_results(tmp_path)
    head, line = as_text(results).splitlines()
    assert head.index("network") == line.index("res34_unet")
    assert head.index("steps") + len("steps") == line.index("5/90") + len("5/90")
    markdown = as_markdown(results).splitlines()
    assert markdown[1].count("|") == 14
    assert markdown[2].startswith(r"| a\|b | a\|b | res34_unet |")


@pytest.mark.parametrize("form", ["--csv", "--markdown"])
def test_the_command_prints_the_table(tmp_path, form):
    make_run(tmp_path, "a", best=0.5)
    command = [sys.executable, "-m", "training.results", "--runs", str(tmp_path), form]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    made = {"--csv": as_csv, "--markdown": as_markdown}[form](find_results(tmp_path))
    assert (printed.stdout, printed.stderr) == (made, "")


def test_a_group_that_is_not_there_is_one_line(tmp_path, monkeypatch, capsys):
    make_run(tmp_path, "a", group="one")
    monkeypatch.setattr("sys.argv", ["results", "--runs", str(tmp_path), "--group", "two"])
    assert main() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: {tmp_path}: no runs of group 'two'; there: one\n"


def test_a_folder_that_is_not_there_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["results", "--runs", str(tmp_path / "none")])
    assert main() == 2
    assert "none: no such folder" in capsys.readouterr().err
