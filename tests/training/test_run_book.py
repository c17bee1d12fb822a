"""The run book's commands: what they name is there, and the cheap ones run."""

import argparse
import importlib
import importlib.util
import re
import shlex
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from tensorboard.plugins.core.core_plugin import CorePluginLoader
from torch.distributed.run import get_args_parser

from sample_data.pairs import make_pairs
from training.data.splits import SCHEMES
from training.losses.terms import TERMS
from training.recipe import Recipe, as_values
from training.runs.records import Status

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "training" / "README.md"
LOOP = re.MULTILINE | re.DOTALL
TEXT = PAGE.read_text(encoding="utf-8")
#: Without fenced blocks, whose own ticks would confuse.
PROSE = re.sub(r"^```.*?^```$", "", TEXT, flags=LOOP)
NAMES = sorted(path.stem for path in (ROOT / "training" / "recipes").glob("*.toml"))


def blocks(language):
    """Return the fenced blocks of a language; those of no language are commands."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [text for tongue, text in fenced if tongue == language]


def commands():
    """Return the words of every command, each turn of a loop apart."""
    found = []
    for text in blocks(""):
        text = text.replace("\\\n", " ")
        for name, values, body in re.findall(r"^for (\w+) in (.*?); do\n(.*?)\ndone$", text, LOOP):
            turns = [body.replace(f"${name}", value) for value in values.split()]
            text = re.sub(r"^for .*?\ndone$", "\n".join(turns), text, count=1, flags=LOOP)
        found += [shlex.split(line) for line in text.splitlines()]
    return found


COMMANDS = commands()
#: Words of every command of this project's own, from the module's name on.
OURS = [words[words.index("-m") + 1 :] for words in COMMANDS if "-m" in words]
OURS += [["training.train", *words[2:]] for words in COMMANDS if words[0] == "sbatch"]
TRAININGS = [words for words in OURS if words[0] == "training.train"]


def section(title):
    """Return the text of a chapter up to the next one of any rank."""
    return re.split(r"^#+ .*\n", TEXT.partition(f"# {title}\n")[2], flags=re.MULTILINE)[0]


def table(title):
    """Return the cells of every row of a chapter's tables but the heads."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = {n - 1 for n, line in enumerate(lines) if line.startswith("|--")}
    return [row for n, row in enumerate(rows) if n not in heads and not lines[n].startswith("|--")]


def ticked(text):
    return re.findall(r"`([^`]+)`", text)


def settings(words):
    return [words[n + 1] for n, word in enumerate(words) if word == "--set"]


def help_of(module, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [module, "--help"])
    arguments = [["--help"]] if module == "training.train" else []
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(module).main(*arguments)
    assert not stop.value.code
    return capsys.readouterr().out


def options(words):
    return {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}


def test_every_stage_has_a_command():
    stages = {ticked(row[1])[0] for row in table("Training: a run book")}
    assert stages == {words[0] for words in OURS}
    assert all(importlib.util.find_spec(module) for module in stages)


def test_every_option_is_one_of_its_command(capsys, monkeypatch):
    helps = {module: help_of(module, capsys, monkeypatch) for module in {w[0] for w in OURS}}
    for module, *words in OURS:
        known = set(re.findall(r"(--?[a-z][a-z-]*)", helps[module]))
        assert options(words) <= known, f"{module} {shlex.join(words)}"


def test_every_option_in_the_text_is_one_of_a_command(capsys, monkeypatch):
    helps = [help_of(module, capsys, monkeypatch) for module in {words[0] for words in OURS}]
    known = set(re.findall(r"(--[a-z-]+)", "\n".join(helps)))
    used = {word for text in ticked(PROSE) for word in re.findall(r"^--[a-z-]+", text)}
    assert used
    assert used <= known


def test_the_other_commands_have_the_options_that_are_given():
    torchrun = next(words for words in COMMANDS if words[0] == "torchrun")
    get_args_parser().parse_args(torchrun[1:])
    parser = argparse.ArgumentParser()
    CorePluginLoader().define_flags(parser)
    board = next(words for words in COMMANDS if words[0] == "tensorboard")
    assert parser.parse_known_args(board[1:])[0].logdir == "runs"
    starts = {"pip", "python", "torchrun", "sbatch", "tensorboard", "mlflow", "export"}
    assert {words[0] for words in COMMANDS} == starts


@pytest.mark.slow
def test_mlflow_has_the_options_that_are_given():
    cli = pytest.importorskip("mlflow.cli").cli
    (words,) = [words for words in COMMANDS if words[0] == "mlflow"]
    known = {option for each in cli.get_command(None, words[1]).params for option in each.opts}
    assert options(words) <= known


def test_every_recipe_and_script_is_there():
    named = {word for words in COMMANDS for word in words if word.startswith("training/")}
    assert named
    assert all((ROOT / name).exists() for name in named)
    assert all(words[1].endswith(".toml") for words in TRAININGS)


@pytest.mark.parametrize("words", TRAININGS, ids=lambda words: Path(words[1]).stem)
def test_what_a_command_sets_is_a_recipe(words):
    Recipe.read(ROOT / words[1], settings(words))


def test_stages_come_in_an_order_that_works():
    done = {w[w.index("-o") + 1] for w in OURS if w[0] == "training.warm_start"}
    names = {Path(start).name for start in done}
    for words in TRAININGS:
        recipe = Recipe.read(ROOT / words[1], settings(words))
        assert not recipe.init or recipe.init in done
        done.add(recipe.run_name)
    for words in OURS:
        if words[0] == "training.average":
            *members, output = (word for word in words[1:] if word != "-o")
            assert {Path(member.rpartition("=")[0]).name for member in members} <= done
            done.add(Path(output).name)
    runs = {word for words in OURS for word in words if word.startswith("runs/")}
    assert {Path(run).name for run in runs if "=" not in run} <= done | names


def test_splits_that_are_named_are_made():
    made = {f"{w[w.index('-o') + 1]}/split.csv" for w in OURS if w[0] == "training.prepare"}
    used = {
        words[words.index("--split") + 1]
        for words in OURS
        if "--split" in words and words[0] != "training.prepare"
    }
    # Those of recipes come with the repository.
    made |= {name for name in used if (ROOT / name).is_file()}
    assert used - made == set()
    assert any(name.startswith("prepared/") for name in used)


def test_every_recipe_is_in_the_table():
    named = [
        name + stage
        for row in table("Recipes")
        for name in ticked(row[0])
        for stage in ticked(row[1]) or [""]
    ]
    assert sorted(named) == NAMES


def test_every_split_is_in_the_table():
    assert {ticked(row[0])[0] for row in table("Prepare")} == set(SCHEMES)


def test_every_term_of_a_loss_is_named():
    terms = section("Keys").partition("\nThe terms ")[2]
    assert set(ticked(terms)) == set(TERMS)


def test_the_example_is_a_recipe():
    (text,) = blocks("toml")
    recipe = Recipe.from_values(tomllib.loads(text))
    assert recipe.loss.channel_0 == "building"
    assert recipe.augmentation.misregistration == 0.8
    assert recipe.augmentation.crop == 512


#: As the notebooks of xView2SiameseUNet read it.
CONFIGURATION = {
    "data": "user training_name validation_name test_name use_main_dataset experiment_group "
    "experiment_id",
    "training": "epochs batch_size learning_rate scheduler.T_0 scheduler.T_mult scheduler.eta_min "
    "patience delta",
    "loss_weights": "pre.0 pre.1 post.0 post.5",
    "dataloader": "num_workers_multiplier pin_memory",
    "foldernames": "tensorboard_logs checkpoints logfiles class_counts_file sample_weights_file",
    "focal_loss": "gamma",
}


def test_every_key_of_xview2siameseunet_is_mapped():
    rows = table("From xView2SiameseUNet's configuration")
    mapped = {name for row in rows for name in ticked(row[0])}
    assert mapped == {f"{a}.{b}" for a, names in CONFIGURATION.items() for b in names.split()}


def test_what_a_key_is_mapped_to_is_what_the_recipe_says():
    recipe = as_values(Recipe.read(ROOT / "training/recipes/siamese_resnet50.toml"))
    for row in table("From xView2SiameseUNet's configuration"):
        for text in ticked(row[1]):
            if " = " in text and not text.startswith(("subset", "sampling")):
                ((key, value),) = tomllib.loads(text).items()
                assert recipe[key] == value, text


@pytest.mark.parametrize("title", ["From the originals' services", "Keys", "The run folder"])
def test_every_key_in_the_text_is_one_of_a_recipe(title):
    known = as_values(Recipe.read(ROOT / "training/recipes/compact.toml"))
    keys = re.findall(r"`(\w+) = ", section(title))
    assert keys
    assert set(keys) <= known.keys()


def test_what_is_linked_is_there():
    targets = re.findall(r"\]\(([^)#]+)\)", PAGE.read_text(encoding="utf-8"))
    assert targets
    assert all("://" in target or (PAGE.parent / target).exists() for target in targets)


#: Where the drawn pairs stand in for a download: tier and disaster of each.
TIERS = {
    "train": "hurricane-michael",
    "tier3": "mexico-earthquake",
    "test": "joplin-tornado",
    "hold": "hurricane-michael",
}


@pytest.fixture
def download(tmp_path):
    """Lay four drawn pairs out as a download, in a folder that commands are run in."""
    for drawn, (tier, event) in zip(make_pairs(tmp_path / "all"), TIERS.items(), strict=True):
        name = f"{event}_{drawn.rpartition('_')[2]}"
        for path in (tmp_path / "all").rglob(f"{drawn}_*"):
            to = tmp_path / "XBD" / tier / path.parent.name / path.name.replace(drawn, name)
            to.parent.mkdir(parents=True, exist_ok=True)
            path.rename(to)
    shutil.rmtree(tmp_path / "all")
    for name in ("training", "sample_data"):
        (tmp_path / name).symlink_to(ROOT / name)
    run = tmp_path / "runs" / "first_place_res34_damage"
    run.mkdir(parents=True)
    text = (ROOT / "training" / "recipes" / "first_place_res34_damage.toml").read_text()
    (run / "recipe.toml").write_text(text)
    Status(run.name, status="finished").write(run / "status.json")
    return tmp_path


@pytest.mark.slow
def test_the_cheap_commands_run(download, capsys, monkeypatch):
    monkeypatch.chdir(download)
    cheap = [w for w in OURS if w[0] in ("training.prepare", "training.show", "training.results")]
    assert len(cheap) > 8
    for module, *words in cheap:
        monkeypatch.setattr(sys, "argv", [module, *words])
        assert not importlib.import_module(module).main(), words
        if module == "training.prepare":
            # Four tiers of one pair each: what `--data` has to be is the whole download.
            assert f"train with --data {download / 'XBD'}\n" in capsys.readouterr().out
            assert (Path(words[words.index("-o") + 1]) / "split.csv").exists()
    assert "first_place_res34_damage" in capsys.readouterr().out
    assert list((download / "prepared" / "masks").iterdir())
    assert (download / "sheet.png").exists()


@pytest.mark.slow
def test_a_set_is_drawn_by_the_command(tmp_path, monkeypatch):
    (words,) = [words for words in COMMANDS if words[1] == "sample_data/make.py"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", words[1:])
    importlib.import_module("sample_data.make").main()
    assert len(list((tmp_path / "synthetic" / "images").iterdir())) == 8
