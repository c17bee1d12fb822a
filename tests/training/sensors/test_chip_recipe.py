from dataclasses import replace
from pathlib import Path

import pytest

from geodamage.errors import OptionError
from training.sensors.chip_recipe import ChipRecipe
from training.sensors.modalities import phases_of

RECIPES = Path(__file__).parents[3] / "training" / "recipes"
NAMES = ["sar", "baseline", "teacher", "iterative"]


def read(name):
    return ChipRecipe.read(RECIPES / f"cross_modal_chips_{name}.toml")


def test_all_recipes_are_tried_here():
    found = {path.stem for path in RECIPES.glob("cross_modal_chips_*.toml")}
    assert found == {f"cross_modal_chips_{name}" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_comes_back_from_its_own_text(name, tmp_path):
    recipe = replace(read(name), widths=(8, 16), lr=1e-5)
    (tmp_path / "x.toml").write_text(recipe.as_toml())
    assert ChipRecipe.read(tmp_path / "x.toml") == recipe


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_how_to_run_it(name):
    path = RECIPES / f"cross_modal_chips_{name}.toml"
    text = path.read_text(encoding="utf-8")
    assert f"training.chips train training/recipes/{path.name} --data" in text
    assert read(name).name == path.stem
    assert max(map(len, text.splitlines())) <= 100


def test_the_recipes_are_the_published_ones():
    baseline, first, second = read("baseline"), read("teacher"), read("iterative")
    for recipe in (baseline, first, second):
        assert (recipe.network, recipe.batch, recipe.lr) == ("resnet34", 512, 0.01)
        assert (recipe.momentum, recipe.gamma, recipe.seed) == (0.9, 0.5, 2019)
        assert (recipe.classes, recipe.class_weights) == (10, True)
        assert (recipe.eo_size, recipe.eo_mean, recipe.eo_deviation) == (30, 0.2913437, 0.12694514)
        assert (recipe.sar_size, recipe.sar_mean) == (48, 0.4062625)
    assert (baseline.epochs, baseline.step_epochs, baseline.mixup) == (100, 20, 0)
    assert (first.epochs, first.step_epochs, first.temperature, first.alpha) == (120, 20, 2, 0.2)
    assert (first.mixup, first.kl_mean, first.kl_class_weights) == (1, "elements", False)
    assert (second.iterations, second.epochs, second.step_epochs) == (5, 20, 50)
    assert (second.alpha, second.sar_alpha, second.kl_class_weights) == (0.2, 0.8, True)
    assert [phase.lr for phase in phases_of(second)[::2]] == [0.01 * 0.5**n for n in range(5)]


def test_the_students_begin_where_the_baselines_end():
    for name in ("teacher", "iterative"):
        assert (read(name).teacher, read(name).init) == (read("sar").name, read("baseline").name)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "x"\nalfa = 1', "unknown key 'alfa'; did you mean 'alpha'"),
        ("alpha = 0.1", "lacks name"),
        ('name = "a/b"', "one word of a path"),
        ('name = "x"\nmethod = "teach"', "did you mean 'teacher'"),
        ('name = "x"\nmethod = "teacher"', "needs a run or checkpoint of the other sensor"),
        ('name = "x"\nteacher = "y"', "'alone' takes none"),
        ('name = "x"\nepochs = 0', "epochs = 0: more than none"),
        ('name = "x"\nlr = nan', "finite"),
        ('name = "x"\nalpha = 1.5', "a share, at most 1"),
        ('name = "x"\nbatch = "8"', "not int"),
        ("name = ", "not TOML"),
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(tmp_path, text, words):
    (tmp_path / "x.toml").write_text(text)
    with pytest.raises(OptionError, match=words) as caught:
        ChipRecipe.read(tmp_path / "x.toml")
    assert "x.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OptionError, match="no such recipe"):
        ChipRecipe.read(tmp_path / "x.toml")
