import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import training
from geodamage.errors import OptionError
from training.recipe import Recipe
from training.runs.folder import commit, open_run


@pytest.fixture
def opened(small_set, tmp_path):
    """Return a run that has a checkpoint, its recipe, and its split."""
    split = tmp_path / "split.csv"
    split.write_bytes((small_set / "split.csv").read_bytes())
    recipe = Recipe.from_values({"name": "a", "network": "compact", "task": "assess",
                                 "sampling": "chips", "steps": 3})  # fmt: skip
    open_run(tmp_path / "run", recipe, split)
    (tmp_path / "run" / "last.pt").touch()
    return tmp_path / "run", recipe, split


def test_the_commit_is_that_of_the_clone(tmp_path, monkeypatch):
    git = shutil.which("git")
    if git is None:
        pytest.skip("git is not here")
    # Nothing of who runs this: no settings, and no clone further up.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    here = [git, "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    assert commit(tmp_path) == ""
    subprocess.run([*here, "init", "-q"], check=True)
    subprocess.run([*here, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    log = subprocess.run([*here, "log", "--format=%H"], capture_output=True, text=True, check=True)
    assert commit(tmp_path) == log.stdout
    assert len(log.stdout.strip()) == 40
    monkeypatch.setattr("training.runs.folder.shutil.which", lambda name: None)
    assert commit(tmp_path) == ""


@pytest.mark.slow
def test_a_run_notes_the_commit_wherever_it_is_started(opened, tmp_path, monkeypatch):
    run, recipe, split = opened
    asked = []
    monkeypatch.setattr("training.runs.folder.commit", lambda folder: asked.append(folder) or "0f")
    monkeypatch.chdir(tmp_path)
    open_run(run, recipe, split)
    assert (run / "commit.txt").read_text() == "0f"
    assert asked == [Path(training.__file__).parent]


@pytest.mark.slow
def test_another_recipe_in_the_folder_of_a_run_is_refused(opened):
    run, recipe, split = opened
    with pytest.raises(OptionError, match=r"was begun with lr = 0\.0001, not 0\.1"):
        open_run(run, replace(recipe, lr=0.1), split)
    with pytest.raises(OptionError, match="was begun with chips_crop = 320, not 64"):
        open_run(run, replace(recipe, chips=replace(recipe.chips, crop=64)), split)
    assert Recipe.read(run / "recipe.toml") == recipe


@pytest.mark.slow
def test_another_split_in_the_folder_of_a_run_is_refused(opened):
    run, recipe, split = opened
    before = (run / "split.csv").read_bytes()
    split.write_bytes(before + b"more,train\n")
    with pytest.raises(OptionError, match="another split"):
        open_run(run, recipe, split)
    assert (run / "split.csv").read_bytes() == before


def test_a_run_can_be_made_longer_and_read_its_own_split(opened):
    run, recipe, split = opened
    longer = replace(recipe, steps=9, workers=2, validate_every=3.0, patience=4)
    open_run(run, longer, run / "split.csv")
    assert Recipe.read(run / "recipe.toml") == longer
    assert (run / "split.csv").read_bytes() == split.read_bytes()


def test_a_folder_without_a_checkpoint_begins_anew(opened):
    run, recipe, split = opened
    (run / "last.pt").unlink()
    open_run(run, replace(recipe, lr=0.1), split)
    assert Recipe.read(run / "recipe.toml").lr == 0.1
